//! The algorithms themselves, through schemes from the configuration that sign the body and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::super::{CustomScheme, Scheme, Stamp};
use super::{at, headers, key, sign, verify};

fn of_body(algorithm: &str, key: &str) -> Scheme {
    let text = format!("header = \"X-Signature\"\nalgorithm = \"{algorithm}\"\nkey = \"{key}\"");
    toml::from_str::<CustomScheme>(&text).unwrap().scheme("signature").unwrap()
}

/// RFC 4231, test cases 1 to 4, 6 and 7: key, data, HMAC-SHA-256, HMAC-SHA-512.
#[test]
fn hmac_is_that_of_rfc_4231() {
    let large = "aa".repeat(131);
    let cases = [
        (
            "0b".repeat(20),
            b"Hi There".to_vec(),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854",
        ),
        (
            hex::encode("Jefe"),
            b"what do ya want for nothing?".to_vec(),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
        ),
        (
            "aa".repeat(20),
            vec![0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807b946a337bee8942674278859e13292fb",
        ),
        (
            hex::encode((1..=25).collect::<Vec<u8>>()),
            vec![0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063a5f19741120c4f2de2adebeb10a298dd",
        ),
        (
            large.clone(),
            b"Test Using Larger Than Block-Size Key - Hash Key First".to_vec(),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598",
        ),
        (
            large,
            b"This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed before being used by the HMAC algorithm.".to_vec(),
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15134676fb6de0446065c97440fa8c6a58",
        ),
    ];
    for (secret, data, sha256, sha512) in cases {
        for (algorithm, expected) in [("hmac-sha256", sha256), ("hmac-sha512", sha512)] {
            let scheme = of_body(algorithm, "hex");
            let key = key(&scheme, &secret);
            let stamp = Stamp { id: "", time: at(0) };
            assert_eq!(sign(&scheme, &[&key], stamp, &data)["x-signature"], expected);
            let headers = headers(&[("X-Signature", expected)]);
            assert_eq!(verify(&scheme, &[&key], &headers, &data, at(0)), Ok(0), "{expected}");
        }
    }
}

/// RFC 8032, section 7.1, tests 1 to 3 and SHA(abc): secret half, public half, message, signature.
#[test]
fn ed25519_is_that_of_rfc_8032() {
    let cases = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
        (
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ),
    ];
    for (secret, public, message, expected) in cases {
        let message = hex::decode(message).unwrap();
        let signing = of_body("ed25519", "base64");
        let secret = format!("whsk_{}", BASE64.encode(hex::decode(secret).unwrap()));
        let stamp = Stamp { id: "", time: at(0) };
        let signed = sign(&signing, &[&key(&signing, &secret)], stamp, &message);
        assert_eq!(signed["x-signature"], expected);
        let verifying = of_body("ed25519", "hex");
        let public = key(&verifying, public);
        assert_eq!(verify(&verifying, &[&public], &signed, &message, at(0)), Ok(0), "{expected}");
    }
}

/// RFC 8032 section 5.1.7: the second half must be below the group's order, or a signature could be rewritten.
#[test]
fn an_ed25519_signature_cannot_be_rewritten() {
    // 2^252 + 27742317777372353535851937790883648493, the least byte first.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let scheme = of_body("ed25519", "base64");
    let pair = key(&scheme, &format!("whsk_{}", BASE64.encode([7; 32])));
    let stamp = Stamp { id: "", time: at(0) };
    let signed = sign(&scheme, &[&pair], stamp, b"{}");
    let mut bytes = hex::decode(&signed["x-signature"]).unwrap();
    let mut carry = 0;
    for (byte, order) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(order) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    let rewritten = headers(&[("X-Signature", hex::encode(bytes))]);
    assert!(verify(&scheme, &[&pair], &rewritten, b"{}", at(0)).is_err());
}

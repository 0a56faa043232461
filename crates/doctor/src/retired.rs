//! Probe for versions of TLS that RFC 8996 has retired.
//!
//! rustls supports none of them, so the first message is made by hand and only the beginning of the answer is read. Its
//! bytes are those of a record (RFC 2246 and RFC 4346, section 6.2.1) that holds a ClientHello (section 7.4.1.2 in
//! both) with the extensions of RFC 6066 (section 3, server name) and RFC 8422 (section 5.1, curves). The answer of a
//! host to a version that it does not support is in RFC 5246, appendix E.1: an alert, and no ServerHello of that
//! version.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest wait for the host's answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A version of TLS: its name and its bytes.
pub(super) struct Version {
    pub(super) name: &'static str,
    bytes: [u8; 2],
}

/// The retired versions that servers may still support.
pub(super) const RETIRED: [Version; 2] =
    [Version { name: "TLS 1.0", bytes: [3, 1] }, Version { name: "TLS 1.1", bytes: [3, 2] }];

/// The record type of the handshake.
const HANDSHAKE: u8 = 22;

/// The first message of each side.
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;

/// Cipher suites of which every server of that time supports one: AES and 3DES, with ECDHE, DHE or RSA key exchange.
const SUITES: [u16; 9] = [0xc009, 0xc00a, 0xc013, 0xc014, 0x0033, 0x0039, 0x002f, 0x0035, 0x000a];

/// The extensions of the curves x25519, P-256 and P-384, and of uncompressed points.
const CURVES: &[u8] = &[0, 10, 0, 8, 0, 6, 0, 29, 0, 23, 0, 24, 0, 11, 0, 2, 1, 0];

impl Version {
    /// True if the host agrees to this version.
    pub(super) async fn is_spoken(&self, host: &str, addresses: &[SocketAddr]) -> bool {
        let answer = tokio::time::timeout(PATIENCE, answer(self.hello(host), addresses)).await;
        match answer {
            Ok(Ok(answer)) => self.is_agreed(&answer),
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// The ClientHello in its record.
    fn hello(&self, host: &str) -> Vec<u8> {
        let random: [u8; 32] = std::array::from_fn(|_| fastrand::u8(..));
        let no_session: &[u8] = &[0];
        let no_compression: &[u8] = &[1, 0];
        let suites: Vec<u8> = SUITES.iter().flat_map(|suite| suite.to_be_bytes()).collect();
        let extensions = [server_name(host), CURVES.to_vec()].concat();
        let (suites, extensions) = (counted::<2>(&suites), counted::<2>(&extensions));
        let hello = [&self.bytes[..], &random, no_session, &suites, no_compression, &extensions];
        let message = [&[CLIENT_HELLO][..], &counted::<3>(&hello.concat())].concat();
        [&[HANDSHAKE, 3, 1][..], &counted::<2>(&message)].concat()
    }

    /// True if the answer is a ServerHello of this version: behind the record's five bytes and the message's four.
    fn is_agreed(&self, answer: &[u8; 11]) -> bool {
        answer[0] == HANDSHAKE && answer[5] == SERVER_HELLO && answer[9..] == self.bytes
    }
}

/// The beginning of the host's answer; an alert is shorter.
async fn answer(hello: Vec<u8>, addresses: &[SocketAddr]) -> std::io::Result<[u8; 11]> {
    let mut stream = TcpStream::connect(addresses).await?;
    stream.write_all(&hello).await?;
    let mut answer = [0; 11];
    stream.read_exact(&mut answer[..7]).await?;
    if answer[0] == HANDSHAKE {
        stream.read_exact(&mut answer[7..]).await?;
    }
    Ok(answer)
}

/// The server name extension; none for an address.
fn server_name(host: &str) -> Vec<u8> {
    if host.parse::<std::net::IpAddr>().is_ok() {
        return Vec::new();
    }
    let name = [&[0][..], &counted::<2>(host.as_bytes())].concat();
    [&[0, 0][..], &counted::<2>(&counted::<2>(&name))].concat()
}

/// The bytes behind their length, which has `N` bytes.
fn counted<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - N..], bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_that_of_what_follows() {
        let hello = RETIRED[0].hello("a.example");
        let number = |from: usize, to: usize| {
            hello[from..to].iter().fold(0, |sum, byte| sum * 256 + usize::from(*byte))
        };
        assert_eq!(number(3, 5), hello.len() - 5);
        assert_eq!(number(6, 9), hello.len() - 9);
        assert_eq!(hello[9..11], [3, 1]);
        let suites = 44;
        assert_eq!(number(suites, suites + 2), 2 * SUITES.len());
        let extensions = suites + 2 + 2 * SUITES.len() + 2;
        assert_eq!(number(extensions, extensions + 2), hello.len() - extensions - 2);
        assert!(hello.ends_with(CURVES));
    }

    #[test]
    fn only_a_server_hello_of_the_version_is_agreement() {
        let hello = |kind, version| [HANDSHAKE, 3, 1, 0, 80, kind, 0, 0, 76, 3, version];
        let [old, newer] = &RETIRED;
        assert!(old.is_agreed(&hello(SERVER_HELLO, 1)) && newer.is_agreed(&hello(SERVER_HELLO, 2)));
        assert!(
            !old.is_agreed(&hello(SERVER_HELLO, 3)) && !newer.is_agreed(&hello(SERVER_HELLO, 1))
        );
        assert!(!old.is_agreed(&hello(CLIENT_HELLO, 1)));
        let alert = [21, 3, 1, 0, 2, 2, 70, 0, 0, 3, 1];
        assert!(!old.is_agreed(&alert));
    }
}

//! Targets behind TLS: a real nginx, with a certificate that only our own root vouches for.

use serde_json::json;

use crate::harness::bus::{Home, attempts, publish};
use crate::harness::nginx::{Certificates, Nginx, free_port, is_installed};
use crate::harness::sink::Sink;

fn server(port: u16, certificate: &str, sink: &Sink) -> String {
    format!(
        "server {{\nlisten 127.0.0.1:{port} ssl;\nssl_certificate     {certificate}.pem;\nssl_certificate_key leaf.key;\n\
         location / {{ proxy_pass http://{}; }}\n}}\n",
        sink.address
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_trusted_if_a_known_root_vouches_for_it_and_for_this_name() {
    if !is_installed() {
        return;
    }
    let (certificates, mut sink) = (Certificates::make(), Sink::answering(200).await);
    let (good, other) = (free_port(), free_port());
    let http = server(good, "good", &sink) + &server(other, "other", &sink);
    let _nginx = Nginx::start(&certificates, good, &http);
    let home = Home::new();
    let definition = |port: u16| {
        json!({"events": "*", "target": format!("https://127.0.0.1:{port}/in/"), "retries": "github",
            "bearer_token": "k3y-of-the-target"})
    };

    let bus = home.start().await;
    bus.create("good", &definition(good)).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    let refused = attempts(&bus, "good", 1).await.remove(0);
    assert_eq!((refused.outcome, refused.status), ("given_up", None));
    let error = refused.error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    bus.stop().await;
    drop(bus);

    let mut config = home.config();
    config.ca_file = Some(certificates.ca());
    let bus = home.start_with(&config).await;
    bus.create("other", &definition(other)).await.unwrap();
    publish(&bus, json!({"type": "Own", "data": {}})).await;
    assert_eq!(attempts(&bus, "good", 2).await[1].status, Some(200));
    let refused = attempts(&bus, "other", 1).await.remove(0).error.unwrap();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(sink.next().await.header("authorization"), "Bearer k3y-of-the-target");
    assert!(sink.came().is_none(), "nothing is said to who is not trusted");
    bus.stop().await;
    drop(bus);

    let file = home.folder.path().join("bad.pem");
    config.ca_file = Some(file.clone());
    for text in ["", "-----BEGIN CERTIFICATE-----\nbm90aGluZw==\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).unwrap();
        let error = home.try_start_with(&config).await.err().unwrap();
        assert!(format!("{error:#}").contains("ca_file in [bus]"), "{error:#}");
    }
}

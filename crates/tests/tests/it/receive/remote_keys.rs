//! Keys that have to be fetched: key sets and certificates, from servers that are slow, endless, redirecting or lying.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use chrono::Utc;
use contract::catalog::Catalog;
use fixture::senders::{P256, RSA};
use serde_json::{Value, json};
use signature::{Algorithm, PublicKey};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::harness::client::{Answer, Request};
use crate::harness::receiver::Receiver;

/// The behaviour of a key server.
#[derive(Debug, Clone)]
enum Behaviour {
    Answers(String),
    Status(StatusCode),
    Redirects(String),
    Endless,
    Silent,
}

/// A server of keys that counts its requests.
struct KeyServer {
    address: String,
    behaviour: watch::Sender<Behaviour>,
    asked: Arc<AtomicUsize>,
}

type Shared = (watch::Receiver<Behaviour>, Arc<AtomicUsize>);

async fn serve(State((behaviour, asked)): State<Shared>) -> Response {
    asked.fetch_add(1, Ordering::SeqCst);
    let behaviour = behaviour.borrow().clone();
    match behaviour {
        Behaviour::Answers(text) => text.into_response(),
        Behaviour::Status(status) => (status, "no").into_response(),
        Behaviour::Redirects(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Behaviour::Endless => {
            let chunk = || {
                std::future::ready(Some((
                    Ok::<_, std::io::Error>(Bytes::from_static(&[b'{'; 8192])),
                    (),
                )))
            };
            Body::from_stream(futures_util::stream::unfold((), move |()| chunk())).into_response()
        }
        Behaviour::Silent => std::future::pending().await,
    }
}

impl KeyServer {
    async fn start(behaviour: Behaviour) -> KeyServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (sender, receiver) = watch::channel(behaviour);
        let asked = Arc::new(AtomicUsize::new(0));
        let router = Router::new().fallback(serve).with_state((receiver, Arc::clone(&asked)));
        tokio::spawn(async move { axum::serve(listener, router).await });
        KeyServer { address, behaviour: sender, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }
}

/// The public half of [`P256`] as a JSON Web Key, read from the end of its PEM.
fn jwk(kid: &str) -> Value {
    let der: String = P256.lines().filter(|line| !line.starts_with('-')).collect();
    let der = STANDARD.decode(der).unwrap();
    let point = &der[der.len() - 64..];
    let part = |bytes| URL_SAFE_NO_PAD.encode(bytes);
    json!({"kty": "EC", "crv": "P-256", "kid": kid, "x": part(&point[..32]), "y": part(&point[32..])})
}

fn key_set(kids: &[&str]) -> Behaviour {
    let keys: Vec<Value> = kids.iter().map(|kid| jwk(kid)).collect();
    Behaviour::Answers(json!({ "keys": keys }).to_string())
}

fn claims() -> Value {
    let now = Utc::now().timestamp();
    json!({"iss": "https://issuer.example", "aud": "hooks", "email": "pusher@example.com", "iat": now, "exp": now + 600})
}

fn token(kid: &str, claims: &Value) -> String {
    token_of(&json!({"alg": "ES256", "typ": "JWT", "kid": kid}), claims)
}

fn token_of(head: &Value, claims: &Value) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let signed = format!("{}.{}", part(head), part(claims));
    let key = PublicKey::read(P256).unwrap();
    let signature = key.sign(Algorithm::EcdsaP256Sha256, signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn source(server: &KeyServer) -> String {
    format!(
        "[sources.push]\ndialect = \"generic\"\npath = \"/in\"\n[sources.push.places]\nmessage_id = \"/id\"\n\
         [sources.push.jwt]\nkeys_url = \"{}\"\nalgorithms = \"ES256\"\nissuer = \"https://issuer.example\"\n\
         audience = \"hooks\"\nclaims = {{ email = \"pusher@example.com\" }}\n",
        server.url()
    )
}

async fn start(settings: &str) -> Receiver {
    Receiver::start(settings, Catalog::<()>::new(), ()).await
}

async fn post(receiver: &Receiver, token: &str, id: &str) -> Answer {
    receiver.send(&Request::post("/in", format!(r#"{{"id":"{id}"}}"#)).bearer(token)).await
}

fn unavailable(answer: &Answer) {
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), "60");
}

#[tokio::test]
async fn a_token_is_verified_with_keys_that_are_fetched_once() {
    let server = KeyServer::start(key_set(&["k1", "k2"])).await;
    let receiver = start(&source(&server)).await;
    for id in ["1", "2", "3"] {
        assert!(post(&receiver, &token("k1", &claims()), id).await.kept().1);
    }
    assert!(post(&receiver, &token("k2", &claims()), "4").await.kept().1);
    assert_eq!(server.asked(), 1);
    server.behaviour.send_replace(Behaviour::Silent);
    assert!(post(&receiver, &token("k1", &claims()), "5").await.kept().1, "not on its path");
    receiver.stop().await;
}

#[tokio::test]
async fn a_token_that_proves_something_else_is_refused() {
    let server = KeyServer::start(key_set(&["k1"])).await;
    let receiver = start(&source(&server)).await;
    let changed = |name: &str, value: Value| {
        let mut claims = claims();
        claims[name] = value;
        token("k1", &claims)
    };
    let now = Utc::now().timestamp();
    let genuine = token("k1", &claims());
    let (signed, signature) = genuine.rsplit_once('.').unwrap();
    let (_, payload) = signed.split_once('.').unwrap();
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","kid":"k1"}"#);
    for forged in [
        changed("iss", json!("https://other.example")),
        changed("aud", json!("others")),
        changed("aud", json!(["others", "more"])),
        changed("email", json!("someone@example.com")),
        changed("exp", json!(now - 120)),
        changed("exp", json!("soon")),
        changed("nbf", json!(now + 600)),
        changed("iat", json!(now + 600)),
        token_of(&json!({"alg": "HS256", "kid": "k1"}), &claims()),
        token_of(&json!({"alg": "ES384", "kid": "k1"}), &claims()),
        token_of(&json!({"alg": "ES256", "kid": "k1", "crit": ["b64"], "b64": false}), &claims()),
        format!("{none}.{payload}."),
        format!("{none}.{payload}.{signature}"),
        signed.to_owned(),
        format!("{signed}."),
        format!("{genuine}.x"),
        format!("{signed}.{}", signature.chars().rev().collect::<String>()),
        "a.b.c".to_owned(),
        format!("{}.{payload}.{signature}", "e".repeat(20_000)),
        genuine.to_lowercase(),
    ] {
        let answer = post(&receiver, &forged, "forged").await;
        assert!([401, 431].contains(&answer.status), "{} {forged}", answer.status);
    }
    assert!(post(&receiver, &genuine, "1").await.kept().1);
    assert!(post(&receiver, &changed("aud", json!(["x", "hooks"])), "2").await.kept().1);
    assert_eq!(receiver.stop().await.deliveries().await.len(), 2);
}

#[tokio::test]
async fn unknown_key_ids_cause_one_fetch_and_no_genuine_token_is_refused_for_good() {
    let server = KeyServer::start(key_set(&["k1"])).await;
    let receiver = start(&source(&server)).await;
    assert!(post(&receiver, &token("k1", &claims()), "1").await.kept().1);
    for number in 0..20 {
        unavailable(&post(&receiver, &token(&format!("k{}", 100 + number), &claims()), "x").await);
    }
    assert_eq!(server.asked(), 1, "within a minute");
    assert!(post(&receiver, &token("k1", &claims()), "2").await.kept().1);
    receiver.stop().await;
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_no_fault_of_the_request() {
    let elsewhere = KeyServer::start(key_set(&["k1"])).await;
    let huge = format!("{{\"keys\":[{}]}}", " ".repeat(300_000));
    for behaviour in [
        Behaviour::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Behaviour::Status(StatusCode::NO_CONTENT),
        Behaviour::Redirects(elsewhere.url()),
        Behaviour::Endless,
        Behaviour::Answers("<html>".into()),
        Behaviour::Answers("{\"keys\":[]}".into()),
        Behaviour::Answers(huge),
        Behaviour::Silent,
    ] {
        let server = KeyServer::start(behaviour.clone()).await;
        let receiver = start(&source(&server)).await;
        let began = std::time::Instant::now();
        unavailable(&post(&receiver, &token("k1", &claims()), "1").await);
        unavailable(&post(&receiver, &token("k1", &claims()), "1").await);
        assert!(began.elapsed() < Duration::from_secs(15), "{behaviour:?}");
        assert_eq!(server.asked(), 1, "{behaviour:?}: the next one waits for a minute");
        assert!(receiver.stop().await.deliveries().await.is_empty());
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect is followed");
}

#[tokio::test]
async fn other_senders_do_not_wait_for_a_silent_key_server() {
    let server = KeyServer::start(Behaviour::Silent).await;
    let open = "[sources.open]\ndialect = \"generic\"\npath = \"/open\"\nauth = \"none\"\n";
    let receiver = start(&(source(&server) + open)).await;
    let token = token("k1", &claims());
    let waiting = post(&receiver, &token, "1");
    let other = async {
        let answer = receiver.send(&Request::post("/open", "{}")).await;
        (answer, std::time::Instant::now())
    };
    let waited = async {
        let answer = waiting.await;
        (answer, std::time::Instant::now())
    };
    let ((answer, later), (other, sooner)) = tokio::join!(waited, other);
    unavailable(&answer);
    other.taken();
    assert!(sooner < later);
    receiver.stop().await;
}

/// A notification as SNS signs it, with the certificate at this URL.
fn notification(url: &str, message: &str) -> Value {
    let mut body = json!({
        "Type": "Notification", "MessageId": message, "TopicArn": "arn:aws:sns:us-east-2:1:topic", "Message": "hello",
        "Timestamp": "2026-01-31T12:00:00.000Z", "SignatureVersion": "2", "SigningCertURL": url,
    });
    sign(&mut body, &["Message", "MessageId", "Timestamp", "TopicArn", "Type"]);
    body
}

fn sign(body: &mut Value, names: &[&str]) {
    let lines = names.iter().map(|name| format!("{name}\n{}\n", body[*name].as_str().unwrap()));
    let signed: String = lines.collect();
    let key = PublicKey::read(RSA).unwrap();
    let signature = key.sign(Algorithm::RsaSha256, signed.as_bytes()).unwrap();
    body["Signature"] = STANDARD.encode(signature).into();
}

fn sns(server: &KeyServer) -> String {
    let address = &server.address;
    format!(
        "[sources.topic]\ndialect = \"sns\"\npath = \"/sns\"\nclient_ids = [\"arn:aws:sns:us-east-2:1:topic\"]\n\
         [sources.topic.certificate]\nplace = \"/SigningCertURL\"\nhosts = [\"{address}\"]\n\
         [[sources.topic.handshakes]]\nwhen = {{ \"/Type\" = \"SubscriptionConfirmation\", \"/SubscribeURL\" = \"*\" }}\n\
         fetch = \"/SubscribeURL\"\nhosts = [\"{address}\"]\n"
    )
}

async fn sns_post(receiver: &Receiver, body: &Value) -> Answer {
    let request = Request::post("/sns", body.to_string());
    receiver.send(&request.set("Content-Type", "text/plain; charset=UTF-8")).await
}

#[tokio::test]
async fn a_certificate_is_fetched_from_the_senders_hosts_only() {
    let (server, evil) = (
        KeyServer::start(Behaviour::Answers(RSA.into())).await,
        KeyServer::start(Behaviour::Answers(RSA.into())).await,
    );
    let receiver = start(&sns(&server)).await;
    let genuine = notification(&server.url(), "1");
    assert!(sns_post(&receiver, &genuine).await.kept().1);
    assert!(!sns_post(&receiver, &genuine).await.kept().1);
    assert!(sns_post(&receiver, &notification(&server.url(), "2")).await.kept().1);
    assert_eq!(server.asked(), 1, "it is kept");
    let mut changed = genuine.clone();
    changed["Message"] = "goodbye".into();
    for forged in
        [changed, notification(&evil.url(), "3"), notification("http://169.254.169.254/", "4")]
    {
        assert_eq!(sns_post(&receiver, &forged).await.problem(401, "unauthorized"), None);
    }
    assert_eq!(evil.asked(), 0);
    assert_eq!(receiver.stop().await.deliveries().await.len(), 2);
}

/// Someone else's own message, whose lines are dealt out to other members: the signed text stays the same.
#[tokio::test]
async fn the_lines_of_a_signed_message_cannot_be_dealt_out_anew() {
    let server = KeyServer::start(Behaviour::Answers(RSA.into())).await;
    let receiver = start(&sns(&server)).await;
    let (own, victims) = ("arn:aws:sns:us-east-2:2:own", "arn:aws:sns:us-east-2:1:topic");
    let rest = format!("MessageId\nX\nTimestamp\nT\nTopicArn\n{victims}\nType\nNotification");
    let mut genuine = notification(&server.url(), "1");
    genuine["TopicArn"] = own.into();
    genuine["Message"] = format!("evil\n{rest}").into();
    sign(&mut genuine, &["Message", "MessageId", "Timestamp", "TopicArn", "Type"]);
    assert_eq!(sns_post(&receiver, &genuine).await.status, 401, "it is of another topic");
    let mut dealt = genuine.clone();
    dealt["Message"] = "evil".into();
    dealt["MessageId"] = "X".into();
    dealt["Timestamp"] = "T".into();
    dealt["TopicArn"] = victims.into();
    let time = genuine["Timestamp"].as_str().unwrap();
    dealt["Type"] = format!(
        "Notification\nMessageId\n1\nTimestamp\n{time}\nTopicArn\n{own}\nType\nNotification"
    )
    .into();
    assert_eq!(sns_post(&receiver, &dealt).await.status, 401);
    let victims = notification(&server.url(), "3");
    let fold = |change: &dyn Fn(&mut Value)| {
        let mut folded = victims.clone();
        folded["Message"] = "hello\nMessageId\n3".into();
        change(&mut folded);
        folded
    };
    let folded = [
        fold(&|body| drop(body.as_object_mut().unwrap().remove("MessageId"))),
        fold(&|body| body["MessageId"] = json!({"forged": 1})),
        fold(&|body| body["MessageId"] = json!(null)),
    ];
    for folded in folded {
        assert_eq!(sns_post(&receiver, &folded).await.status, 401, "{folded}");
    }
    let mut lines = notification(&server.url(), "2");
    lines["Message"] = "several\nlines\nof text".into();
    sign(&mut lines, &["Message", "MessageId", "Timestamp", "TopicArn", "Type"]);
    assert!(sns_post(&receiver, &lines).await.kept().1, "a message may have lines");
    assert_eq!(receiver.stop().await.deliveries().await.len(), 1);
}

#[tokio::test]
async fn other_certificates_do_not_keep_a_genuine_one_out() {
    let server = KeyServer::start(Behaviour::Answers(RSA.into())).await;
    let receiver = start(&sns(&server)).await;
    server.behaviour.send_replace(Behaviour::Status(StatusCode::NOT_FOUND));
    for number in 0..5 {
        let url = format!("{}/{number}", server.url());
        unavailable(&sns_post(&receiver, &notification(&url, "forged")).await);
        unavailable(&sns_post(&receiver, &notification(&url, "forged")).await);
    }
    assert_eq!(server.asked(), 5, "each is fetched once");
    server.behaviour.send_replace(Behaviour::Answers(format!("{RSA}\n{RSA}")));
    assert!(sns_post(&receiver, &notification(&server.url(), "1")).await.kept().1);
    for number in 5..40 {
        let url = format!("{}/{number}", server.url());
        sns_post(&receiver, &notification(&url, "more")).await;
    }
    assert_eq!(server.asked(), 20, "within a minute");
    assert!(sns_post(&receiver, &notification(&server.url(), "2")).await.kept().1, "it is kept");
    receiver.stop().await;
}

#[tokio::test]
async fn a_subscription_is_confirmed_by_a_fetch() {
    let server = KeyServer::start(Behaviour::Answers(RSA.into())).await;
    let receiver = start(&sns(&server)).await;
    let confirmation = |url: &str, topic: &str| {
        let mut body = json!({
            "Type": "SubscriptionConfirmation", "MessageId": "m", "Token": "t", "TopicArn": topic, "Message": "You have chosen",
            "SubscribeURL": url, "Timestamp": "2026-01-31T12:00:00.000Z", "SignatureVersion": "2", "SigningCertURL": server.url(),
        });
        sign(
            &mut body,
            &["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"],
        );
        body
    };
    let topic = "arn:aws:sns:us-east-2:1:topic";
    let own = format!("http://{}/confirm?Token=t", server.address);
    let answer = sns_post(&receiver, &confirmation(&own, topic)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.asked(), 2, "the certificate and the confirmation");
    let foreign = sns_post(&receiver, &confirmation("http://169.254.169.254/latest", topic)).await;
    assert_eq!(foreign.problem(401, "unauthorized"), None);
    let other = sns_post(&receiver, &confirmation(&own, "arn:aws:sns:us-east-2:2:topic")).await;
    assert_eq!(other.problem(401, "unauthorized"), None, "a topic of somebody else");
    let mut unsigned = confirmation(&own, topic);
    unsigned["Signature"] = "AAAA".into();
    assert_eq!(sns_post(&receiver, &unsigned).await.status, 401);
    assert_eq!(server.asked(), 2);
    server.behaviour.send_replace(Behaviour::Status(StatusCode::FORBIDDEN));
    let answer = sns_post(&receiver, &confirmation(&own, topic)).await;
    answer.problem(503, "unavailable");
    assert!(receiver.stop().await.deliveries().await.is_empty());
}

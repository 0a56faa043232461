//! The pages of the known senders, in Markdown, made from their rows.

use std::fmt::Write as _;

use contract::event::Dialect;
use signature::{Algorithm, KeyType};
use source::{AcceptedBody, HandshakeConfig, KeyPlace, Sender};

use super::sender::limit_in_words;
use super::setup_guide::settings_lines;

/// A page for each sender, in the order of the table.
pub(super) fn sender_pages() -> String {
    let known = Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Generic);
    known.map(|dialect| page(*dialect)).collect::<Vec<_>>().join("\n")
}

fn page(dialect: Dialect) -> String {
    let (name, sender) = (dialect.as_str(), Sender::of(dialect));
    let lines = settings_lines(name, &sender);
    let mut page = format!("### {}\n\n```toml\n{lines}```\n\n", sender.title);
    let mut item = |what: &str, text: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "- {what}: {text}");
    };
    item("On the sender's side", sender.page.clone());
    item("Key", sender.key.clone());
    if let Some(text) = proof(&sender) {
        item("Proof", text);
    }
    item("Found in a delivery", facts(&sender));
    item("Bodies", bodies(&sender));
    for row in &sender.handshakes {
        item("Handshake", handshake(row));
    }
    let status = sender.answer.status.unwrap_or(200);
    let body = match sender.answer.body.as_deref() {
        None => String::new(),
        Some("") => " without a body".into(),
        Some(body) => format!(" `{body}`"),
    };
    let answer = format!(
        "{status}{body}; {}. After a failure it {}",
        limit_in_words(&sender),
        sender.failure
    );
    item("Answer", answer);
    if let Some(note) = &sender.note {
        item("Note", note.trim_end_matches('.').to_owned());
    }
    item("Try it", attempt(name, &sender));
    item("Its documentation", format!("<{}>", sender.docs));
    page
}

fn proof(sender: &Sender) -> Option<String> {
    let mut proofs = Vec::new();
    if let Some(signature) = &sender.signature {
        let place = match &signature.place {
            Some(place) => code(place),
            None => code(&signature.header[0]),
        };
        let algorithms: Vec<&str> = std::iter::once(signature.algorithm)
            .chain(signature.also.iter().map(|kind| kind.algorithm))
            .map(|algorithm| algorithm.as_str())
            .collect();
        proofs.push(format!("{place}, {} of {}", algorithms.join(" or "), code(&signature.signed)));
    }
    if let Some(token) = &sender.jwt {
        let place = token.place.as_deref().unwrap_or("Authorization: Bearer");
        proofs.push(format!("a JSON Web Token in {}", code(place)));
    }
    if let Some(certificate) = &sender.certificate {
        let hosts: Vec<_> = certificate.hosts.iter().map(|host| code(host)).collect();
        let by = format!(
            "by the certificate at {}, from {}",
            code(&certificate.place),
            hosts.join(", ")
        );
        proofs.push(by);
    }
    let is_bearer = sender.signature.is_none() && sender.jwt.is_none();
    if let Some(place) = sender.token.as_deref().or(is_bearer.then_some("bearer")) {
        let places = KeyPlace::parse(place).unwrap_or_default();
        let places: Vec<_> = places.iter().map(ToString::to_string).collect();
        proofs.push(format!("the key in {}", places.join(" or ")));
    }
    (!proofs.is_empty()).then(|| proofs.join("; "))
}

fn facts(sender: &Sender) -> String {
    let places = &sender.places;
    let id = match places.message_id.last().map(String::as_str) {
        None => vec!["a digest of everything that names the event".to_owned()],
        Some("none") if places.message_id.len() == 1 => {
            vec!["none, so that no delivery is taken for a resend".to_owned()]
        }
        _ => places.message_id.iter().map(|place| code(place)).collect(),
    };
    let mut facts = vec![format!("id {}", id.join(", else "))];
    for (what, places) in [
        ("event", &places.event_type),
        ("time", &places.event_time),
        ("account", &places.client_id),
        ("user", &places.user),
    ] {
        let places: Vec<_> = places.iter().map(|place| code(place)).collect();
        if !places.is_empty() {
            facts.push(format!("{what} {}", places.join(", else ")));
        }
    }
    facts.join("; ")
}

fn bodies(sender: &Sender) -> String {
    let name = |body: &AcceptedBody| match body {
        AcceptedBody::Json => "JSON",
        AcceptedBody::Text => "JSON under `text/plain`",
        AcceptedBody::Form => "form fields",
        AcceptedBody::Any => "any other type",
        AcceptedBody::Empty => "none",
    };
    sender.bodies.iter().map(name).collect::<Vec<_>>().join(", ")
}

fn handshake(row: &HandshakeConfig) -> String {
    let when: Vec<String> = row
        .when
        .iter()
        .map(|(place, value)| match value.as_str() {
            "*" => code(place),
            value => format!("{} = {}", code(place), code(value)),
        })
        .collect();
    let mut text = format!("{} with {}", row.method, when.join(" and "));
    if row.proved.unwrap_or(row.method == "POST") {
        text.push_str(", authenticated like a delivery,");
    }
    if let Some(place) = &row.token {
        let _ = write!(text, " and one of handshake_tokens in {}", code(place));
    }
    if let Some(place) = &row.fetch {
        let _ = write!(text, " is confirmed by a fetch of {}", code(place));
    } else if row.answer.is_empty() {
        let _ = write!(text, " is answered {}", row.status);
    } else {
        let _ = write!(text, " is answered {}", code(&row.answer));
    }
    text
}

fn attempt(name: &str, sender: &Sender) -> String {
    if sender.jwt.as_ref().is_some_and(|token| token.keys_url.is_some()) {
        return "by the sender alone: its keys are fetched, and nobody else has them".into();
    }
    let event = &sender.sends.event;
    let event = if event.contains([' ', '/', ':']) { format!("'{event}'") } else { event.clone() };
    let command = format!("`webhook-receiver emit {event} --source {name}`");
    let algorithm = sender.signature.as_ref().map(|signature| signature.algorithm);
    let key_type = algorithm.map_or(KeyType::Secret, Algorithm::key_type);
    let pair = match key_type {
        KeyType::Secret if sender.jwt.is_none() => return command,
        KeyType::Ed25519 => "-algorithm ed25519",
        KeyType::Rsa => "-algorithm RSA -pkeyopt rsa_keygen_bits:2048",
        _ => "-algorithm EC -pkeyopt ec_paramgen_curve:P-256",
    };
    format!(
        "first make a key pair with `openssl genpkey {pair} -out test.key`, put it in `signing_key_files = [\"test.key\"]` for the test, and start the receiver; then {command}"
    )
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sender_has_a_page_with_all_of_its_row() {
        let pages = sender_pages();
        for dialect in Dialect::ALL.iter().filter(|dialect| **dialect != Dialect::Generic) {
            let sender = Sender::of(*dialect);
            assert!(pages.contains(&format!("### {}\n", sender.title)), "{dialect}");
            for text in [&sender.page, &sender.key, &sender.failure, &sender.docs] {
                assert!(pages.contains(text.as_str()), "{dialect}: {text}");
            }
        }
        assert!(!pages.contains("``"[..].repeat(2).as_str()), "no empty code");
    }
}

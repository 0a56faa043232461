//! The arguments of `emit`.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use settings::{EMIT_SIGNING_KEY, EMIT_TOKEN};

use super::hooks::HookArgs;
use super::proof::Tamper;
use super::schedule::Rate;
use super::send_as::SendAs;
use super::set::FieldChange;

const EXAMPLES: &str = "\
Examples:
  One sample event to the configured receiver, as the vendor would send it:
    webhook-receiver emit OrderEvent

  The same order twice more with the same message id; the receiver must answer `duplicate`:
    webhook-receiver emit OrderEvent --set OrderTotal=20.00 --duplicate 2

  Every event, 5000 times, 200 a second whatever the answers take, with a summary for a script:
    webhook-receiver emit --all --count 5000 --rate 200 --concurrency 64 --json

  A body of your own to another machine; look at the request first, then send it:
    webhook-receiver emit OrderEvent --data order.json --token-file stage.key \\
        --to https://hooks.example.com/api/webhooks/ --dry-run

  A signed order from EvolutionX, and forgeries of it, which must be refused:
    webhook-receiver emit order.created --as evolutionx
    webhook-receiver emit order.created --as evolutionx --tamper body

  A Process Hook, with a mock of the vendor's own logic for its callback, and the changes of the hook:
    webhook-receiver emit --hook Autoships.CreateAutoship --user jsmith

Exit code: 0 if every message was answered 2xx, every hook 200 (with --tamper: 401), 1 if any was not, 2 if nothing could be sent.";

const TO_HELP: &str = "\
URL to send to [default: the configured listener and the source's path]

A URL that ends in `/` gets the event's or hook's name appended; in any other, `{event}` or `{hook}` stands for the name, and one without it is \
used as it is. The configured key is sent to the configured listener only: for any other address give the key explicitly.";

const AS_HELP: &str = "\
Send as this dialect's senders do, or sign by this scheme [default: as the source is configured]

A dialect: directscale, evolutionx, github, stripe, twilio and so on; `webhook-receiver connect` lists them. Or rfc9421, for HTTP \
Message Signatures. Without --source, the one configured source of that dialect is used.";

const JSON_HELP: &str = "\
Print one JSON object instead of text

Keys: tampered (the forgery, or null); planned, sent, accepted, interrupted; answers [{status, answer, count, example}], where answer is the `status` field of the \
body and example the first body of a status that is not 2xx; errors [{cause, count}]; latency_ms {p50, p90, p99, max} or \
null; seconds; rate (sent per second); max_lag_ms (the furthest a message fell behind its schedule); message {event, id, url, \
status, body, error} if only one was planned, or null. With --dry-run: requests [{method, url, headers, body}], the body as text.

Of hooks: planned, as_expected, hooks [{hook, url, took_ms, request, callbacks [{hook, user, refusal, request, status, response}], \
before, after, status, answer, error}]; before and after are [{path, was, is}], or null if there is nothing to compare.";

/// Send events as their sender would: samples or your own, once or many times
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct EmitArgs {
    /// Events to send, by name or alias, in any case
    #[arg(value_name = "EVENT", required_unless_present_any = ["all", "hook", "all_hooks"], conflicts_with = "all")]
    pub(super) events: Vec<String>,
    /// Send every event in the catalog
    #[arg(long)]
    pub(super) all: bool,
    #[command(flatten)]
    pub(super) hooks: HookArgs,

    /// Configured source to send as; needed if there are several
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub(super) source: Option<String>,
    #[arg(long, value_name = "URL", help_heading = "Target", help = text::first_line(TO_HELP), long_help = TO_HELP)]
    pub(super) to: Option<String>,
    /// Bearer key to send; a command line is visible to others, so prefer the variable or --token-file
    #[arg(long, value_name = "KEY", env = EMIT_TOKEN, hide_env_values = true, help_heading = "Target")]
    pub(super) token: Option<SecretString>,
    /// File that holds the bearer key; wins over --token
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub(super) token_file: Option<PathBuf>,
    #[arg(long = "as", value_name = "NAME", help_heading = "Target", help = text::first_line(AS_HELP), long_help = AS_HELP)]
    pub(super) send_as: Option<SendAs>,
    /// Key to sign with, as the sender's own page would show it; prefer the variable or --signing-key-file
    #[arg(long, value_name = "KEY", env = EMIT_SIGNING_KEY, hide_env_values = true, help_heading = "Target")]
    pub(super) signing_key: Option<SecretString>,
    /// File that holds the key to sign with; wins over --signing-key
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub(super) signing_key_file: Option<PathBuf>,
    /// Allow http:// to another machine, although the key can be read in transit
    #[arg(long, help_heading = "Target")]
    pub(super) allow_http: bool,
    /// Longest time to wait for a response
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration, help_heading = "Target")]
    pub(super) timeout: Duration,

    /// File with the body, or - for standard input [default: the event's example]
    #[arg(long, value_name = "FILE", help_heading = "Message")]
    pub(super) data: Option<PathBuf>,
    /// Change a field of the body; Outer.Inner and List[0] reach inside, a value that is not JSON is text
    #[arg(long, value_name = "FIELD=VALUE", help_heading = "Message")]
    pub(super) set: Vec<FieldChange>,
    /// Message id [default: a new UUID for each message]
    #[arg(long, value_name = "ID", help_heading = "Message")]
    pub(super) message_id: Option<String>,
    /// Client id [default: the source's first, or `emitter`]
    #[arg(long, value_name = "ID", help_heading = "Message")]
    pub(super) client_id: Option<String>,
    /// User who caused the event [default: none, no header]
    #[arg(long, value_name = "NAME", help_heading = "Message")]
    pub(super) user: Option<String>,
    /// Header to send besides, or instead of the sender's own of this name; may be repeated
    #[arg(long, value_name = "NAME: VALUE", value_parser = parse_header, help_heading = "Message")]
    pub(super) header: Vec<(String, http::HeaderValue)>,
    /// Forge the messages on purpose; every one of them must be refused
    #[arg(long, value_name = "WHAT", help_heading = "Message")]
    pub(super) tamper: Option<Tamper>,
    /// Send what does not fit the event's model, or an event that is not in the catalog
    #[arg(long, help_heading = "Message")]
    pub(super) raw: bool,

    /// Messages of each event, each with an id of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Load")]
    pub(super) count: u64,
    /// Send each message N more times with the same id
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Load")]
    pub(super) duplicate: u64,
    /// Requests per second, started on time even if answers are slow [default: as fast as answers come]
    #[arg(long, value_name = "R", help_heading = "Load")]
    pub(super) rate: Option<Rate>,
    /// Requests in flight at once [default: 1 for one message, otherwise 16]
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u32).range(1..), help_heading = "Load")]
    pub(super) concurrency: Option<u32>,

    /// Print the requests, keys hidden, and send nothing
    #[arg(long, help_heading = "Output")]
    pub(super) dry_run: bool,
    #[arg(long, help_heading = "Output", help = text::first_line(JSON_HELP), long_help = JSON_HELP)]
    pub(super) json: bool,
}

/// A header as `Name: value`.
fn parse_header(text: &str) -> Result<(String, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write NAME: VALUE")?;
    let name = name.trim();
    http::HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| format!("{name:?} is no header's name"))?;
    let value = http::HeaderValue::from_str(value.trim());
    Ok((name.to_owned(), value.map_err(|_| "no header can carry the value".to_owned())?))
}

//! The arguments of `doctor`.

use std::path::PathBuf;

use clap::{Args as _, FromArgMatches as _};
use contract::event::Environment;
use emitter::SendAs;
use secrecy::SecretString;
use settings::EMIT_TOKEN;

const EXAMPLES: &str = "\
Examples:
  The whole path from here to the receiver, with the keys of the settings:
    webhook-receiver doctor https://hooks.example.com/api/webhooks --source directscale

  And check that every event's own URL is routed and handled:
    webhook-receiver doctor https://hooks.example.com/api/webhooks/ --source directscale --events

  From another machine, with the key alone; for a build server:
    webhook-receiver doctor https://hooks.example.com/github --scheme github --key-file github.key --junit doctor.xml

  A receiver that is not this program, without anything that could have an effect there:
    webhook-receiver doctor https://shop.example.com/hooks --scheme shopify --key-file shop.key --foreign

  On the receiver's side: wait for a test from the sender's page, and report what is wrong with it:
    webhook-receiver doctor --expect --source directscale --within 5m

All requests are marked: their event is called webhook-receiver.canary. The receiver authenticates and stores them like any \
delivery, but no handler sees them, and they are deleted within an hour or so.

Exit code: 0 if nothing failed, also with warnings; 1 if a check failed; 2 if it could not run.";

const URL_HELP: &str = "\
URL that the sender posts to

Enter it as on the sender's page. One that ends in `/` gets an event's name appended; in any other, `{event}` stands \
for the name. The keys of the settings are sent there, over https:// or to this machine.";

const SCHEME_HELP: &str = "\
Send as this dialect's senders do, or sign by this scheme [default: as the source is configured]

A dialect: directscale, evolutionx, standard-webhooks, github, stripe, shopify, slack, cloudevents, generic. A scheme by which \
others sign: svix, x, convoy, convoy-advanced, rfc9421.";

const HOOKS_HELP: &str = "\
Base URL at which DirectScale calls Process Hooks [default: the source's own path, on the same host]

The probes of hooks are marked: the receiver authenticates them like any call, but runs nothing, neither a handler nor the \
vendor's own logic.";

const EXPECT_HELP: &str = "\
Wait for the sender's next delivery, and report what is wrong with it

Run it beside the receiver, then fire a test from the sender's page. The report has the delivery's key and \
form, the fit of its body to the event's model, and, if nothing arrives, the requests that were refused meanwhile, with the reasons.";

const FOREIGN_HELP: &str = "\
The receiver is another program: run only checks that cannot have an effect there

Sends only requests that it must refuse, or that any visitor may make. With --allow-effects, also real deliveries.";

const JSON_HELP: &str = "\
Print one JSON object instead of a table

Keys: url; source, or null; sender; requests; seconds; verdict (pass, warn or fail, the worst of all checks); checks [{id, \
group, asks, verdict (pass, warn, fail or skip), seen, why, remedy}], where why and remedy are null unless it warns or fails.
With --expect: delivery, or null; notes [{verdict, text}]; diff, or null; refused [{requestId, at, source, target, eventType, \
messageId, delivery, status, reason, findings}].";

/// Smoke-test a live webhook: reach, identity, signature, duplicates, bodies, time, exposure
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    #[arg(value_name = "URL", required_unless_present = "expect", help = text::first_line(URL_HELP), long_help = URL_HELP)]
    pub(super) url: Option<String>,
    /// Configured source that the URL is for; needed if there are several
    #[arg(long, value_name = "NAME", help_heading = "Target")]
    pub(super) source: Option<String>,
    /// Environment that the URL is for: live or stage; chooses among the sources
    #[arg(long, value_name = "WHICH", value_parser = environment, help_heading = "Target")]
    pub(super) environment: Option<Environment>,
    /// Key to send or to sign with, instead of the settings'; prefer the variable or --key-file
    #[arg(long, value_name = "KEY", env = EMIT_TOKEN, hide_env_values = true, help_heading = "Target")]
    pub(super) token: Option<SecretString>,
    /// File with that key; wins over --token
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub(super) key_file: Option<PathBuf>,
    #[arg(long, value_name = "NAME", help_heading = "Target", help = text::first_line(SCHEME_HELP), long_help = SCHEME_HELP)]
    pub(super) scheme: Option<SendAs>,
    /// Trust these certificates, too: PEM, for an issuer that the sender trusts and this machine does not
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub(super) ca_file: Option<PathBuf>,
    /// Port on which the same host speaks plain HTTP [default: 80 if the URL has no port]
    #[arg(long, value_name = "PORT", help_heading = "Target")]
    pub(super) plain_port: Option<u16>,
    #[arg(long, value_name = "URL", help_heading = "Target", help = text::first_line(HOOKS_HELP), long_help = HOOKS_HELP)]
    pub(super) hooks_url: Option<String>,
    /// Allow http:// to another machine, although the key can be read in transit
    #[arg(long, help_heading = "Target")]
    pub(super) allow_http: bool,

    #[arg(long, conflicts_with = "url", help_heading = "Waiting for a delivery", help = text::first_line(EXPECT_HELP), long_help = EXPECT_HELP)]
    /// Wait for a delivery instead of sending any.
    pub expect: bool,
    /// Event to wait for, by name or alias [default: any]
    #[arg(
        long,
        value_name = "EVENT",
        requires = "expect",
        help_heading = "Waiting for a delivery"
    )]
    pub(super) event: Option<String>,
    /// Longest time to wait for it
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration, help_heading = "Waiting for a delivery")]
    pub(super) within: std::time::Duration,

    /// Check for each event that its URL is routed and its handler registered; without names, for all of them
    #[arg(long, value_name = "EVENT,…", num_args = 0.., require_equals = true, value_delimiter = ',', help_heading = "Checks")]
    pub(super) events: Option<Vec<String>>,
    /// Only these checks or groups, e.g. after a fix
    #[arg(long, value_name = "CHECK,…", value_delimiter = ',', help_heading = "Checks")]
    pub(super) only: Vec<String>,
    #[arg(long, help_heading = "Checks", help = text::first_line(FOREIGN_HELP), long_help = FOREIGN_HELP)]
    pub(super) foreign: bool,
    /// Event whose sample may be sent to a foreign receiver repeatedly, with all its effects there
    #[arg(long, value_name = "EVENT", requires = "foreign", help_heading = "Checks")]
    pub(super) allow_effects: Option<String>,

    /// Print JSON instead of a table.
    #[arg(long, help_heading = "Output", help = text::first_line(JSON_HELP), long_help = JSON_HELP)]
    pub json: bool,
    /// Write the result as JUnit XML, too, for a build server
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub junit: Option<PathBuf>,
}

impl DoctorArgs {
    /// The arguments of a run of these checks against a configured source at a URL.
    ///
    /// # Errors
    /// If the arguments are none.
    pub fn of_source(url: &str, source: &str, only: &[&str]) -> anyhow::Result<Self> {
        let command = DoctorArgs::augment_args(clap::Command::new("doctor").no_binary_name(true));
        let only = only.iter().flat_map(|check| ["--only", check]);
        let line = ["--source", source].into_iter().chain(only).chain(["--", url]);
        Ok(DoctorArgs::from_arg_matches(&command.try_get_matches_from(line)?)?)
    }
}

fn environment(name: &str) -> Result<Environment, String> {
    Environment::from_name(name).ok_or_else(|| "write live or stage".to_owned())
}

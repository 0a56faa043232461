//! The arguments of `emit` that concern hooks.

use std::time::Duration;

use crate::args::first_line;

const HOOK_HELP: &str = "\
Call this hook as the vendor does, and play the vendor's own logic for its callback; may be repeated

The callback API is served for the time of the run at callback_url in [sources.NAME.hooks], which must be on this machine. The \
hooks are called one after the other; --data, --set, --user, --to and --tamper are as for events.";

pub(super) const ANSWER_HELP: &str = "\
What the vendor's own logic answers to a callback: echo, error, a file with the response, or a fault

echo: the hook's sample response, under a new id. error: 500 with the vendor's error body, which the hook must hand on. refuse: 401, \
the token is not taken. hang-up: no answer. cut: half an answer. garbage: 200 with what is not JSON. alien: 200 with JSON that is no \
response. Anything else is a file.";

/// What hooks cannot have: they have no ids of their own, and are called once each.
const NOT_FOR_HOOKS: [&str; 9] = [
    "events",
    "all",
    "speaker",
    "message_id",
    "client_id",
    "count",
    "duplicate",
    "rate",
    "concurrency",
];

/// Which hooks to call, and how the vendor is played.
#[derive(Debug, Clone, clap::Args)]
pub struct HookArgs {
    #[arg(long, value_name = "ID", group = "called", conflicts_with_all = NOT_FOR_HOOKS, help_heading = "Hooks", help = first_line(HOOK_HELP), long_help = HOOK_HELP)]
    pub(super) hook: Vec<String>,
    /// Call every hook in the catalog
    #[arg(long, group = "called", conflicts_with_all = NOT_FOR_HOOKS, help_heading = "Hooks")]
    pub(super) all_hooks: bool,
    #[arg(long, value_name = "WHAT", default_value = "echo", requires = "called", help_heading = "Hooks", help = first_line(ANSWER_HELP), long_help = ANSWER_HELP)]
    pub(super) answer: String,
    /// How long the vendor's own logic takes
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration, requires = "called", help_heading = "Hooks")]
    pub(super) delay: Duration,
    /// How long a callback token is good
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration, requires = "called", help_heading = "Hooks")]
    pub(super) token_life: Duration,
}

impl HookArgs {
    /// Whether hooks are called, not events sent.
    pub fn is_asked(&self) -> bool {
        self.all_hooks || !self.hook.is_empty()
    }
}

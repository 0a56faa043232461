//! The arguments of `emit` that concern hooks.

use std::time::Duration;

const HOOK_HELP: &str = "\
Call this hook as the vendor does, with a mock of the vendor's own logic for its callback; may be repeated

The callback API is served for the time of the run at callback_url in [sources.NAME.hooks], which must be on this machine. The \
hooks are called one after the other; --data, --set, --user, --to and --tamper are as for events.";

pub(super) const ANSWER_HELP: &str = "\
Answer of the vendor's own logic to a callback: echo, error, a file with the response, or a fault

echo: the hook's sample response, under a new id. error: 500 with the vendor's error body, which the hook must forward. refuse: 401, \
the token is refused. hang-up: no answer. cut: half an answer. garbage: 200 with a body that is not JSON. alien: 200 with JSON that is no \
response. Anything else is a file.";

/// The arguments that hooks exclude: hook calls have no ids of their own, and are made once each.
const NOT_FOR_HOOKS: [&str; 9] = [
    "events",
    "all",
    "send_as",
    "message_id",
    "client_id",
    "count",
    "duplicate",
    "rate",
    "concurrency",
];

/// The hooks to call, and the behaviour of the mock vendor.
#[derive(Debug, Clone, clap::Args)]
pub struct HookArgs {
    #[arg(long, value_name = "ID", group = "called", conflicts_with_all = NOT_FOR_HOOKS, help_heading = "Hooks", help = text::first_line(HOOK_HELP), long_help = HOOK_HELP)]
    pub(super) hook: Vec<String>,
    /// Call every hook in the catalog
    #[arg(long, group = "called", conflicts_with_all = NOT_FOR_HOOKS, help_heading = "Hooks")]
    pub(super) all_hooks: bool,
    #[arg(long, value_name = "WHAT", default_value = "echo", requires = "called", help_heading = "Hooks", help = text::first_line(ANSWER_HELP), long_help = ANSWER_HELP)]
    pub(super) answer: String,
    /// Delay of the vendor's own logic
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration, requires = "called", help_heading = "Hooks")]
    pub(super) delay: Duration,
    /// Lifetime of a callback token
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration, requires = "called", help_heading = "Hooks")]
    pub(super) token_life: Duration,
}

impl HookArgs {
    /// True if hooks are called, and no events sent.
    pub fn is_asked(&self) -> bool {
        self.all_hooks || !self.hook.is_empty()
    }
}

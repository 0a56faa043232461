//! What a hook's handler does that changes nothing: the vendor's own logic answers, and the log says so.

use tracing::info;

use super::Context;
use crate::hook::{Hook, HookCall, HookOutcome};

/// Lets the vendor's own logic answer. The shipped catalog gives it every documented hook; put a function of your own in
/// its place.
///
/// # Errors
/// What the vendor's own logic fails with.
pub async fn proceed<H: Hook>(_: Context, call: HookCall<H>) -> HookOutcome<H> {
    info!(hook.id = H::ID, environment = %call.meta.environment, "hook left to the vendor");
    Ok(call.callback.proceed(call.request).await?)
}

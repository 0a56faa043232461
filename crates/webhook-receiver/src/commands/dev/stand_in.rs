//! The stand-in for the vendor beside `dev`'s receiver: it answers callbacks and the Extension API, and delivers the events
//! that are posted to it.

use anyhow::Context as _;
use contract::catalog::Table;
use emitter::hooks::{MockVendor, PostedEvents, ServiceRecord};
use settings::{Config, is_local};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// The calls that wait until they are logged.
const WAITING: usize = 64;

/// A stand-in that answers until it is dropped, so that it outlives the handlers that call it.
pub(super) struct StandIn {
    /// The source that it stands in for.
    pub(super) source: String,
    pub(super) vendor: MockVendor,
}

/// The calls of services that a stand-in answers.
pub(super) struct Calls {
    source: String,
    calls: mpsc::Receiver<ServiceRecord>,
}

impl StandIn {
    /// Binds the `callback_url` of the first source whose hooks call this machine back, or a free port of that address, and
    /// notes it in the settings. None if there is no such source: then the vendor itself is called.
    pub(super) async fn start(
        config: &mut Config,
        table: &Table,
        on_free_port: bool,
    ) -> anyhow::Result<Option<(Self, Calls)>> {
        for (name, source) in &mut config.sources {
            let Some(hooks) = &mut source.hooks else { continue };
            let (Some(mut url), Some(key)) = (hooks.callback_url(name)?, hooks.callback_key(name)?)
            else {
                continue;
            };
            if url.scheme() != "http" || !is_local(&url) {
                continue;
            }
            if on_free_port {
                url.set_port(Some(0)).ok().context("callback_url has no port")?;
            }
            let samples = table
                .hooks()
                .flat_map(|row| row.ids().map(|id| (id.into_owned(), row.example_response)));
            let (sender, calls) = mpsc::channel(WAITING);
            let vendor = MockVendor::stand_in(&url, key, samples, sender).await?;
            hooks.callback_url = Some(vendor.url().as_str().trim_end_matches('/').to_owned());
            let source = name.clone();
            return Ok(Some((StandIn { source: source.clone(), vendor }, Calls { source, calls })));
        }
        Ok(None)
    }
}

impl Calls {
    /// Logs the calls and delivers the posted events, until `stop`.
    pub(super) async fn serve(
        mut self,
        config: &Config,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let posted = PostedEvents::new(config, &self.source)?;
        loop {
            let call = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                call = self.calls.recv() => call,
            };
            let Some(call) = call else { return Ok(()) };
            info!(
                extension.service = call.service,
                extension.method = call.method,
                status = call.answer.0.as_u16(),
                "extension API called: answered by the stand-in"
            );
            if let Some(event) = call.posted_event() {
                tokio::spawn(deliver(posted.clone(), event.clone()));
            }
        }
    }
}

/// Serves the calls of the stand-in, if there is one; if it could not start, the log says so.
pub(super) async fn serve(
    config: &Config,
    calls: anyhow::Result<Option<Calls>>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    match calls {
        Ok(Some(calls)) => calls.serve(config, stop).await,
        Ok(None) => Ok(()),
        Err(error) => {
            let error = format!("{error:#}");
            warn!(
                error,
                "nobody stands in for the vendor, so callbacks and the Extension API fail; stop the other program, or \
                 write a free port in callback_url of the settings file"
            );
            Ok(())
        }
    }
}

async fn deliver(posted: PostedEvents, event: bytes::Bytes) {
    match posted.deliver(event).await {
        Ok(status) if status.is_success() => {
            info!(status = status.as_u16(), "the posted event was delivered");
        }
        Ok(status) => warn!(status = status.as_u16(), "the posted event was refused"),
        Err(error) => warn!(error, "the posted event was not delivered"),
    }
}

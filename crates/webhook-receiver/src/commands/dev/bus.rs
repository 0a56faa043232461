//! The event bus beside `dev`'s receiver.

use ::bus::{BusOptions, serve_bus};
use contract::catalog::Table;
use settings::Config;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::commands::bus;

/// The most targets that it sends to at once: within the usual limit of open files.
const TARGETS: usize = 256;

/// A bus that listens.
pub(super) struct BusBeside {
    listener: TcpListener,
    options: BusOptions,
}

impl BusBeside {
    /// Binds the bus's address, and notes it in the settings.
    pub(super) async fn bind(config: &mut Config) -> anyhow::Result<Self> {
        let listener = bus::bind(config).await?;
        config.bus.listen = listener.local_addr()?;
        let options = BusOptions { targets: TARGETS, ..bus::options(config, 1.0, true) };
        Ok(BusBeside { listener, options })
    }

    /// Serves until `stop`.
    pub(super) async fn serve(
        self,
        config: &Config,
        table: &Table,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        serve_bus(config, table, self.options, self.listener, stop).await
    }
}

/// Makes the outbox.
pub(super) fn make_outbox(config: &Config) -> anyhow::Result<()> {
    ::bus::make_outbox(&config.bus.outbox)
}

/// The commands and pages of the bus are there.
pub(super) const IS_THERE: bool = true;

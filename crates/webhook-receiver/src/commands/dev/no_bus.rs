//! In the place of the event bus, in a build without it.

use contract::catalog::Table;
use settings::Config;
use tokio_util::sync::CancellationToken;

pub(super) struct BusBeside;

impl BusBeside {
    pub(super) async fn bind(_: &mut Config) -> anyhow::Result<Self> {
        Ok(BusBeside)
    }

    pub(super) async fn serve(
        self,
        _: &Config,
        _: &Table,
        _: CancellationToken,
    ) -> anyhow::Result<()> {
        Ok(())
    }
}

pub(super) fn make_outbox(_: &Config) -> anyhow::Result<()> {
    Ok(())
}

pub(super) const IS_THERE: bool = false;

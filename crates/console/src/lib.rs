//! The operators' console: deliveries, refused requests, hooks, keys and the dispatch, with the acts of operators.
//! Also known as a dashboard.
//!
//! All data comes from the inbox's contract, so that every engine has it, and every page is available as JSON.
//!
//! It depends on the receiver, the doctor and the pages; the façade alone depends on it.

mod access;
mod acting;
mod acts;
mod catalog;
mod counts;
mod deliveries;
mod delivery;
mod dispatch;
mod filter;
mod hooks;
mod live;
mod login;
mod overview;
mod refused;
mod retention;
mod sources;
mod visit;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use receiver::serve::ConsoleParts;
use server::origin::local_only;
use settings::{ConfigError, ConsoleConfig, is_loopback, reachable};
use tokio::sync::Semaphore;

use access::Access;
use pages::{Site, Tab};

/// The console, and its navigation.
static SITE: Site = Site {
    brand: "Webhook receiver",
    path: "/console",
    tabs: &[
        Tab { href: "", name: "Overview" },
        Tab { href: "deliveries", name: "Deliveries" },
        Tab { href: "refused", name: "Refused" },
        Tab { href: "hooks", name: "Hooks" },
        Tab { href: "sources", name: "Sources" },
        Tab { href: "catalog", name: "Catalog" },
        Tab { href: "dispatch", name: "Dispatch" },
        Tab { href: "retention", name: "Retention" },
        Tab { href: "acts", name: "Acts" },
    ],
};

/// The pages' state.
struct Console {
    parts: ConsoleParts,
    access: Access,
    /// Permits for live views, each of which asks the inbox several times a second.
    streams: Arc<Semaphore>,
    /// Permits for other long looks.
    long_looks: Semaphore,
    counts: counts::Counts,
    /// What live views share.
    looks: live::Looks,
    /// The forms of acts that were sent lately, each of which counts once.
    nonces: Mutex<VecDeque<String>>,
}

/// The most long looks at once: previews of acts, and those who listen for the next request.
const MOST_LONG_LOOKS: usize = 16;

/// Number of forms that are remembered.
const NONCES: usize = 256;

impl Console {
    /// The address of the receiver, from this machine; of a worker's settings, if it receives nothing itself.
    fn receiver(&self) -> SocketAddr {
        reachable(self.parts.receiver.unwrap_or(self.parts.config.listen))
    }

    /// A number for a form that counts once.
    fn nonce(&self) -> String {
        let mut bytes = [0; 12];
        // Without random numbers a form counts as often as it is sent.
        getrandom::fill(&mut bytes).map_or_else(|_| String::new(), |()| hex::encode(bytes))
    }

    /// Returns false if a form was sent before.
    fn use_nonce(&self, nonce: &str) -> bool {
        let mut nonces = self.nonces.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !nonces.iter().any(|known| known == nonce);
        if is_new {
            nonces.push_back(nonce.to_owned());
            let surplus = nonces.len().saturating_sub(NONCES);
            nonces.drain(..surplus);
        }
        is_new
    }
}

/// Handle of the state in the pages' handlers.
type ConsoleState = axum::extract::State<Arc<Console>>;

/// Checks the settings of the console.
///
/// # Errors
/// If a password hash is none.
pub fn check(settings: &ConsoleConfig) -> Result<(), ConfigError> {
    Access::new(settings).map(drop)
}

/// The routes of the console; none if it has no password and its address is not loopback.
///
/// # Errors
/// If a password hash in the settings is none.
pub fn routes(parts: ConsoleParts) -> anyhow::Result<Option<Router>> {
    let access = Access::new(&parts.config.console)?;
    let is_open = access.is_open();
    if is_open && !is_loopback(parts.address.ip()) {
        return Ok(None);
    }
    let streams = Arc::new(Semaphore::new(live::MOST_STREAMS));
    let console = Arc::new(Console {
        parts,
        access,
        streams,
        long_looks: Semaphore::new(MOST_LONG_LOOKS),
        counts: counts::Counts::default(),
        looks: live::Looks::default(),
        nonces: Mutex::default(),
    });
    let pages = Router::new()
        .merge(overview::routes())
        .merge(deliveries::routes())
        .merge(delivery::routes())
        .merge(acts::routes())
        .merge(refused::routes())
        .merge(hooks::routes())
        .merge(sources::routes())
        .merge(catalog::routes())
        .merge(dispatch::routes())
        .merge(retention::routes())
        .merge(visit::elsewhere())
        .layer(from_fn_with_state(Arc::clone(&console), access::admit))
        .merge(login::routes())
        .merge(pages::assets(SITE.path));
    let pages = pages::protect(pages).with_state(console);
    Ok(Some(if is_open { pages.route_layer(from_fn(local_only)) } else { pages }))
}

//! Chaos: two receivers and two workers on one database under load, and what goes wrong around them.
//!
//! Everything random comes from a seed: the events, the faults and their victims. The interleaving of processes does not.

pub(crate) mod fault;
pub(crate) mod load;
pub(crate) mod node;
pub(crate) mod promise;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use inbox::{InboxUrl, Options};
use tokio::sync::Mutex;

use crate::harness::postgres::{Database, Server};
use load::{Load, Senders};
use node::{Handled, Node};
use promise::Counts;

/// How long the backlog may take: two leases, and a delivery that was lost twice waits longer.
const PATIENCE: Duration = Duration::from_secs(180);

/// The longest that a delivery waits while nothing is wrong.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// Rights of the processes, as the documentation gives them.
const RIGHTS: &str = "GRANT USAGE ON SCHEMA webhook_inbox TO webhook_node;
    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA webhook_inbox TO webhook_node;
    GRANT USAGE ON ALL SEQUENCES IN SCHEMA webhook_inbox TO webhook_node;
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA webhook_inbox TO webhook_node";

/// A server of PostgreSQL for chaos, which syncs what it commits.
pub(crate) struct Stage {
    server: &'static Server,
    has_small_disk: bool,
}

/// Two receivers and two workers, in this order, on a database of their own, under load.
pub(crate) struct Cluster {
    pub(crate) database: Arc<Database>,
    nodes: [Mutex<Node>; 4],
    /// The version that an upgrade brings.
    binary: PathBuf,
    has_small_disk: bool,
    senders: Senders,
}

impl Stage {
    /// A server with a small disk if that is possible; none if PostgreSQL is not installed.
    pub(crate) fn set_up() -> Option<Self> {
        let settings = "-c shared_buffers=64MB";
        let small = Server::start_with_disk(settings, "256m");
        let has_small_disk = small.is_some();
        let server = small.or_else(|| Server::start(settings))?;
        // It lives as long as the process.
        let server: &'static Server = Box::leak(Box::new(server));
        drop(server.database());
        server.run("postgres", "CREATE ROLE webhook_node LOGIN");
        server.run("migrated", RIGHTS);
        Some(Stage { server, has_small_disk })
    }

    /// Starts the processes, of the version `old`, and the load.
    pub(crate) async fn start(&self, load: Load, seed: u64, old: &Path, new: &Path) -> Cluster {
        let server = self.server;
        let space = if self.has_small_disk { " TABLESPACE small" } else { "" };
        let make = move || Arc::new(server.database_on(space));
        let database = tokio::task::spawn_blocking(make).await.unwrap();
        let mut nodes = Vec::new();
        for role in ["receive", "receive", "work", "work"] {
            nodes.push(Node::start(role, old, &database).await);
        }
        let senders = Senders::start(load, [nodes[0].address, nodes[1].address], seed);
        let nodes: Vec<Mutex<Node>> = nodes.into_iter().map(Mutex::new).collect();
        let Ok(nodes) = <[Mutex<Node>; 4]>::try_from(nodes) else { unreachable!("there are four") };
        let has_small_disk = self.has_small_disk;
        Cluster { database, nodes, binary: new.to_owned(), has_small_disk, senders }
    }
}

impl Cluster {
    /// Number of deliveries received in this time that were handled [soon](SOON), by the database's clock, in
    /// milliseconds.
    pub(crate) async fn handled_soon(&self, since: i64, before: i64) -> u64 {
        let count = format!(
            "SELECT count(*) FROM webhook_inbox.delivery d WHERE d.received_at >= {since} AND d.received_at < {before}
            AND EXISTS (SELECT FROM webhook_inbox.attempt a WHERE a.delivery = d.id AND a.outcome = 'done'
                AND a.ended_at < d.received_at + {})",
            SOON.as_millis()
        );
        self.run(&count).await.trim().parse().unwrap()
    }

    /// Ends the load, waits until everything is handled, stops the processes and checks all promises.
    pub(crate) async fn end(self) -> Result<Counts, String> {
        let Cluster { database, nodes, senders, .. } = self;
        let answers = senders.stop().await;
        let backlog = until_nothing_waits(&database).await;
        let mut log: Vec<Handled> = Vec::new();
        let mut warnings = Vec::new();
        for node in nodes {
            let mut node = node.into_inner();
            node.stop().await;
            let seen = std::mem::take(&mut *node.log.lock().unwrap());
            log.extend(seen.handled);
            warnings.extend(seen.warnings.into_iter().map(|line| format!("{}: {line}", node.role)));
        }
        let check = move || {
            backlog?;
            promise::check(&database.run(promise::KEPT), &answers, &log)
        };
        let result = tokio::task::spawn_blocking(check).await.unwrap();
        result.map_err(|violation| format!("{violation}\nlast warnings: {warnings:#?}"))
    }
}

/// Waits until no delivery waits or runs; the error says what does.
async fn until_nothing_waits(database: &Database) -> Result<(), String> {
    let url = InboxUrl::parse(&database.url().into()).unwrap();
    let inbox = inbox::open(&url, Options::command()).await.unwrap();
    let begun = Instant::now();
    loop {
        let counts = inbox.count().await.unwrap();
        let mut unfinished = counts.iter().filter(|(state, n)| !state.has_ended() && *n > 0);
        if unfinished.next().is_none() {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            return Err(format!("still there after {PATIENCE:?}: {counts:?}"));
        }
        // There is no signal for this but the states.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

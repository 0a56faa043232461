//! The faults of a chaos run, each with its cure.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::Cluster;
use super::node::{LEASE, Node, faketime};
use crate::harness::proxy::Link;

/// What happens to the cluster, and is over again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// PostgreSQL is restarted.
    Restart,
    /// PostgreSQL ends at once, and starts some time later.
    Crash,
    /// A process of PostgreSQL is killed, so that it begins anew.
    KillBackend,
    /// All connections are terminated, several times.
    Terminate,
    /// The disk of the tables is full.
    DiskFull,
    /// Nobody may connect.
    Connections,
    /// A table is locked, so that all connections are busy.
    Lock,
    /// A worker is killed, and another starts.
    KillWorker,
    /// A worker is killed again and again.
    KillAgain,
    /// A worker is stopped for longer than its lease, and goes on.
    StopWorker,
    /// A receiver is killed, and another starts.
    KillReceiver,
    /// The network of a process is silent for some time.
    Stall,
    /// The connections of a process are forgotten; new ones work.
    Forget,
    /// The network of a process is cut.
    Cut,
    /// The network of a process is slow.
    Slow,
    /// The clocks of a receiver and a worker are five minutes ahead, for the rest of the run.
    Clocks,
    /// One process after the other is replaced.
    Upgrade,
}

impl Fault {
    pub(crate) const ALL: [Fault; 17] = [
        Fault::Restart,
        Fault::Crash,
        Fault::KillBackend,
        Fault::Terminate,
        Fault::DiskFull,
        Fault::Connections,
        Fault::Lock,
        Fault::KillWorker,
        Fault::KillAgain,
        Fault::StopWorker,
        Fault::KillReceiver,
        Fault::Stall,
        Fault::Forget,
        Fault::Cut,
        Fault::Slow,
        Fault::Clocks,
        Fault::Upgrade,
    ];

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|fault| fault.to_string() == name)
    }

    /// Why it cannot be tried here, if so.
    pub(crate) fn is_missing(self, cluster: &Cluster) -> Option<&'static str> {
        match self {
            Fault::DiskFull if !cluster.has_small_disk => Some("mounting needs root"),
            Fault::Clocks if faketime().is_none() => Some("faketime is not installed"),
            _ => None,
        }
    }

    /// Inflicts it for about `length`, and returns when it is over.
    pub(crate) async fn inflict(self, cluster: &Cluster, random: &mut Rng, length: Duration) {
        let server = cluster.database.server();
        let pick = random.usize(..2);
        match self {
            Fault::Restart => {
                blocking(move || {
                    server.stop("INT");
                    server.start_again();
                })
                .await
            }
            Fault::Crash => {
                blocking(|| server.stop("QUIT")).await;
                sleep(length).await;
                blocking(|| server.start_again()).await;
            }
            Fault::KillBackend => blocking(|| server.kill_a_process()).await,
            Fault::Terminate => {
                for _ in 0..5 {
                    cluster.terminate().await;
                    sleep(length / 5).await;
                }
            }
            Fault::DiskFull => {
                // `dd` ends when the disk is full, and so does COPY.
                let _ = cluster.try_run(FILL).await;
                sleep(length).await;
                cluster.run(MAKE_ROOM).await;
            }
            Fault::Connections => {
                cluster.run("ALTER ROLE webhook_node CONNECTION LIMIT 0").await;
                cluster.terminate().await;
                sleep(length).await;
                cluster.run("ALTER ROLE webhook_node CONNECTION LIMIT -1").await;
            }
            Fault::Lock => {
                let tables = ["delivery", "seen", "attempt", "claimed", "waiting", "control"];
                let table = tables[random.usize(..tables.len())];
                let seconds = length.as_secs_f64();
                let lock = format!("LOCK TABLE webhook_inbox.{table}; SELECT pg_sleep({seconds})");
                cluster.run(&lock).await;
            }
            Fault::KillWorker => {
                let mut worker = cluster.worker(pick).await;
                worker.kill().await;
                sleep(length).await;
                worker.start_again().await;
            }
            Fault::KillAgain => {
                let mut worker = cluster.worker(pick).await;
                for _ in 0..4 {
                    worker.kill().await;
                    worker.start_again().await;
                    sleep(length.mul_f64(random.f64() / 2.0)).await;
                }
            }
            Fault::StopWorker => {
                let worker = cluster.worker(pick).await;
                worker.signal("STOP").await;
                sleep(LEASE + Duration::from_secs(3)).await;
                worker.signal("CONT").await;
            }
            Fault::KillReceiver => {
                let mut receiver = cluster.nodes[pick].lock().await;
                receiver.kill().await;
                receiver.start_again().await;
            }
            Fault::Stall => cluster.link(random, Link::Stalled, length).await,
            Fault::Cut => cluster.link(random, Link::Cut, length).await,
            Fault::Slow => {
                let delay = Duration::from_millis(random.u64(20..200));
                cluster.link(random, Link::Slow(delay), length).await;
            }
            Fault::Forget => cluster.any(random).await.proxy.forget(),
            Fault::Clocks => {
                for mut node in [cluster.nodes[pick].lock().await, cluster.worker(pick).await] {
                    node.stop().await;
                    node.start_ahead(300).await;
                }
                sleep(length).await;
            }
            Fault::Upgrade => {
                for node in &cluster.nodes {
                    let mut node = node.lock().await;
                    node.upgrade(&cluster.binary).await;
                }
            }
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, letter) in format!("{self:?}").char_indices() {
            let hyphen = if place > 0 && letter.is_uppercase() { "-" } else { "" };
            write!(formatter, "{hyphen}{}", letter.to_lowercase())?;
        }
        Ok(())
    }
}

/// Takes all the space of the small disk, in the server's own mounts.
const FILL: &str =
    "COPY (SELECT 1) TO PROGRAM 'dd if=/dev/zero of=../disk/filler bs=8k status=none'";
const MAKE_ROOM: &str = "COPY (SELECT 1) TO PROGRAM 'cat >&2; rm ../disk/filler'";

impl Cluster {
    pub(super) async fn run(&self, statement: &str) -> String {
        let output = self.try_run(statement).await;
        output.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }

    async fn try_run(&self, statement: &str) -> Result<String, String> {
        let (database, statement) = (Arc::clone(&self.database), statement.to_owned());
        spawn_blocking(move || database.try_run(&statement)).await.unwrap()
    }

    /// Ends all connections of the processes.
    async fn terminate(&self) {
        let all =
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'webhook_node'";
        self.run(all).await;
    }

    /// One of the workers that no other fault has.
    async fn worker(&self, pick: usize) -> tokio::sync::MutexGuard<'_, Node> {
        let [first, second] = [&self.nodes[2 + pick], &self.nodes[3 - pick]];
        match (first.try_lock(), second.try_lock()) {
            (Ok(node), _) | (_, Ok(node)) => node,
            _ => first.lock().await,
        }
    }

    /// One of the processes that no other fault has.
    async fn any(&self, random: &mut Rng) -> tokio::sync::MutexGuard<'_, Node> {
        let first = random.usize(..self.nodes.len());
        let free = (0..self.nodes.len())
            .find_map(|next| self.nodes[(first + next) % self.nodes.len()].try_lock().ok());
        free.expect("no fault has all")
    }

    async fn link(&self, random: &mut Rng, link: Link, length: Duration) {
        let node = self.any(random).await;
        node.proxy.set(link);
        sleep(length).await;
        node.proxy.set(Link::Up);
    }
}

async fn blocking(order: impl FnOnce() + Send + 'static) {
    spawn_blocking(order).await.unwrap();
}

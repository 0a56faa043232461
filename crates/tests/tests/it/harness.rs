//! What the tests share: stores, receivers, senders and browsers, and one HTTP client.

pub(crate) mod bus;
pub(crate) mod calls;
// The benchmark uses the rest of it.
#[allow(dead_code)]
pub(crate) mod chaos;
pub(crate) mod client;
pub(crate) mod deliveries;
pub(crate) mod disks;
pub(crate) mod emit;
pub(crate) mod genuine;
pub(crate) mod jobs;
pub(crate) mod killed;
pub(crate) mod nginx;
// The benchmark uses the rest of it.
#[allow(dead_code)]
pub(crate) mod pooler;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod program;
// The chaos run uses the rest of it.
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod receiver;
pub(crate) mod sink;
pub(crate) mod vendor;
pub(crate) mod watched;
pub(crate) mod webdriver;

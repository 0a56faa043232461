//! `dev`: everything on this machine, without settings. The data folder keeps what it generates.

#[cfg_attr(not(feature = "bus"), path = "dev/no_bus.rs")]
mod bus;
mod printed;
mod settings_file;
mod stand_in;

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use contract::catalog::Table;
use contract::event::Dialect;
use receiver::serve::Part;
use settings::{Config, Overrides, SubscriptionConfig};
use tokio_util::sync::CancellationToken;

use super::secret;
use super::serve::{bind, serve};
use crate::app::Program;
use bus::BusBeside;
use printed::Welcome;
use settings_file::SettingsFile;
use stand_in::StandIn;

/// `dev`'s own flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on from now on, loopback only [default: that of the settings file, first 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of the event bus from now on, loopback only [default: that of the settings file, first 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    bus_listen: Option<SocketAddr>,
    /// The folder of the inbox, the outbox, the generated keys and the settings file
    #[arg(long, value_name = "FOLDER", default_value = "data/dev")]
    data: PathBuf,
}

impl Args {
    /// True if the receiver takes a free port; what is beside it has one too then.
    fn is_on_free_ports(&self) -> bool {
        self.listen.is_some_and(|listen| listen.port() == 0)
    }
}

pub(crate) async fn run(args: Args, program: Program) -> anyhow::Result<ExitCode> {
    // Before anything is made; the settings file may say otherwise later.
    args.listen.map_or(Ok(()), stay_here)?;
    args.bus_listen.map_or(Ok(()), stay_here)?;
    // What is printed must work in any folder.
    let data = std::path::absolute(&args.data)?;
    let token = data.join("token");
    keep_key(&token)?;
    keep_key(&data.join("callback-key"))?;
    let file = SettingsFile::keep(&data)?;
    let overrides = Overrides { config: Some(file.path.clone()), listen: args.listen, inbox: None };
    let mut config = settings::load(&overrides)?;
    stay_here(config.listen)?;
    let listener = bind(&config).await?;
    add_bus(&mut config, &args, &data);
    stay_here(config.bus.listen)?;
    let bus = BusBeside::bind(&mut config).await?;
    config.listen = listener.local_addr()?;
    let table = program.table()?;
    let mut takes_free_port = args.is_on_free_ports();
    let mut stand_in = StandIn::start(&mut config, &table, takes_free_port).await;
    // A new folder beside another `dev`: its addresses are nobody's choice yet.
    if stand_in.is_err() && file.is_new {
        takes_free_port = true;
        stand_in = StandIn::start(&mut config, &table, takes_free_port).await;
    }
    // With the addresses in the file, other commands find the receiver and the bus by the file alone.
    file.keep_addresses(config.listen, config.bus.listen)?;
    // The stand-in outlives the receiver, whose last handlers may still call it.
    let (stand_in, calls) = match stand_in {
        Ok(stand_in) => {
            let (stand_in, calls) = stand_in.unzip();
            (stand_in, Ok(calls))
        }
        Err(error) => (None, Err(error)),
    };
    if let (Some(stand_in), true) = (&stand_in, takes_free_port) {
        file.keep_callback_url(&stand_in.source, stand_in.vendor.url())?;
    }
    if file.is_new {
        make_stores(&config).await?;
    }
    subscribe(&mut config, &table, &token);
    let vendor = stand_in.as_ref().map(|stand_in| stand_in.vendor.url());
    let welcome =
        Welcome { config: &config, table: &table, token: &token, file: &file.path, vendor };
    print!("{welcome}");
    let settings = config.clone();
    let beside = async move |stop: CancellationToken| {
        let vendor = stand_in::serve(&settings, calls, stop.clone());
        tokio::try_join!(bus.serve(&settings, &table, stop), vendor).map(|_| ())
    };
    serve(config, program, Part::All(listener), beside).await
}

/// The bus's address and outbox. Beside a receiver on a free port, it has one too.
fn add_bus(config: &mut Config, args: &Args, data: &Path) {
    if let Some(listen) = args.bus_listen {
        config.bus.listen = listen;
    } else if args.is_on_free_ports() {
        config.bus.listen.set_port(0);
    }
    // A file of an earlier version does not name it.
    if config.bus.outbox == settings::BusConfig::default().outbox {
        config.bus.outbox = format!("sqlite:{}", data.join("outbox.db").display());
    }
}

/// Makes the inbox and the outbox before the log begins, which would warn that nothing is known of earlier deliveries.
async fn make_stores(config: &Config) -> anyhow::Result<()> {
    drop(::inbox::open(&super::inbox_url(config)?, ::inbox::Options::receiver(1)).await?);
    bus::make_outbox(config)
}

/// One subscription for each of the vendor's events, which posts it to the receiver. A subscription of that name in the
/// settings is left alone.
fn subscribe(config: &mut Config, table: &Table, token: &Path) {
    let Some(source) = config.sources.get("directscale") else { return };
    let target = format!("http://{}{}/", config.listen, source.path.trim_end_matches('/'));
    let rows = table.events().filter(|row| row.dialect == Dialect::DirectScale && row.version == 1);
    for row in rows {
        let subscription = SubscriptionConfig {
            events: vec![row.name.to_owned()],
            target: target.clone(),
            environment: source.environment,
            bearer_token_file: Some(token.to_owned()),
            description: "to the receiver beside it".into(),
            client_id: Some("dev".into()),
            ..SubscriptionConfig::default()
        };
        config.bus.subscriptions.entry(row.name.to_owned()).or_insert(subscription);
    }
}

fn stay_here(listen: SocketAddr) -> anyhow::Result<()> {
    if !settings::is_loopback(listen.ip()) {
        bail!("dev listens on loopback only; use `serve` with its own keys for {listen}");
    }
    Ok(())
}

/// Makes a key at the first start; only its owner can read it.
fn keep_key(file: &Path) -> anyhow::Result<()> {
    if file.exists() {
        return Ok(());
    }
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut new = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .with_context(|| format!("cannot write {}", file.display()))?;
    writeln!(new, "{}", secret::generate()?)?;
    Ok(())
}

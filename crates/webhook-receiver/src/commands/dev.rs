//! `dev`: everything on this machine, without settings. What it generates is kept in the data folder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::bus::serve_bus;
use anyhow::{Context as _, bail};
use contract::catalog::Table;
use contract::event::Dialect;
use settings::{Config, Overrides, SubscriptionConfig};

use super::serve::{bind, serve};
use super::{bus, secret};
use crate::app::Program;

/// `dev`'s own flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on, loopback only [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address of the event bus, loopback only [default: 127.0.0.1:8090]
    #[arg(long, value_name = "ADDRESS")]
    bus_listen: Option<SocketAddr>,
    /// Where the inbox, the outbox, the generated key and the settings file are kept
    #[arg(long, value_name = "FOLDER", default_value = "data/dev")]
    data: PathBuf,
}

pub(crate) async fn run(args: Args, program: Program) -> anyhow::Result<ExitCode> {
    // Before anything is made; the settings file may say otherwise later.
    args.listen.map_or(Ok(()), stay_here)?;
    args.bus_listen.map_or(Ok(()), stay_here)?;
    // What is printed must work in any folder.
    let data = std::path::absolute(&args.data)?;
    let (token, file) = (data.join("token"), data.join("receiver.toml"));
    keep_key(&token)?;
    keep_key(&data.join("callback-key"))?;
    keep_settings(&file, &data)?;
    let overrides = Overrides { config: Some(file.clone()), listen: args.listen, inbox: None };
    let mut config = settings::load(&overrides)?;
    stay_here(config.listen)?;
    let listener = bind(&config).await?;
    let catalog = program.table()?;
    add_bus(&mut config, &args, &data);
    stay_here(config.bus.listen)?;
    subscribe(&mut config, &catalog, listener.local_addr()?, &token);
    let bus_listener = bus::bind(&config).await?;
    let addresses = (listener.local_addr()?, bus_listener.local_addr()?);
    println!("{}", welcome(addresses, &token, &file));
    let (options, settings) = (bus::options(&config, 1.0, true), config.clone());
    let beside =
        async move |stop| serve_bus(&settings, &catalog, options, bus_listener, stop).await;
    serve(config, program, listener, beside).await
}

/// Where the bus is and what it keeps. Beside a receiver on a free port, it has one too.
fn add_bus(config: &mut Config, args: &Args, data: &Path) {
    if let Some(listen) = args.bus_listen {
        config.bus.listen = listen;
    } else if config.listen.port() == 0 {
        config.bus.listen.set_port(0);
    }
    if config.bus.outbox == settings::BusConfig::default().outbox {
        config.bus.outbox = format!("sqlite:{}", data.join("outbox.db").display());
    }
}

/// One subscription for each of the vendor's events, which posts it to the receiver. What the settings say under its name
/// is left alone.
fn subscribe(config: &mut Config, catalog: &Table, listen: SocketAddr, token: &Path) {
    let Some(source) = config.sources.get("directscale") else { return };
    let target = format!("http://{listen}{}/", source.path.trim_end_matches('/'));
    let rows =
        catalog.events().filter(|row| row.dialect == Dialect::DirectScale && row.version == 1);
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

/// A settings file like any other, so that every other command can be pointed at it.
fn keep_settings(file: &Path, data: &Path) -> anyhow::Result<()> {
    if file.exists() {
        return Ok(());
    }
    let inbox = format!("sqlite:{}", data.join("inbox.db").display());
    let key = |name| data.join(name).display().to_string();
    let (token, callback_key) = (key("token"), key("callback-key"));
    let settings = format!(
        "# Written by `dev`; yours to change.\nlisten = \"127.0.0.1:8080\"\ninbox = {inbox:?}\n\n\
         [sources.directscale]\ndialect = \"directscale\"\nenvironment = \"stage\"\nbearer_token_files = [{token:?}]\n\n\
         # `emit --hook` stands in for the vendor at this address.\n\
         [sources.directscale.hooks]\ncallback_url = \"http://127.0.0.1:8081\"\ncallback_key_file = {callback_key:?}\n\
         record_bodies = true\npages = \"/pages\"\n"
    );
    fs::write(file, settings).with_context(|| format!("cannot write {}", file.display()))
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

fn welcome((address, bus): (SocketAddr, SocketAddr), token: &Path, file: &Path) -> String {
    let (token, file, id) = (quoted(token), quoted(file), uuid::Uuid::new_v4());
    format!(
        r#"
  Swagger    http://{address}/swagger
  Key        in {token}; paste it after Authorize in Swagger
  Bus        http://{bus}/admin, with one subscription for each event, which posts it to the receiver
  Settings   {file}; other commands take them with --config {file}
  Stop       Ctrl-C

  Send every event once, and look at what arrived:

cargo run -- emit --all --config {file} --listen {address}
cargo run -- inbox list --config {file}

  Or let the bus do it, as the vendor would, with its retries:

cargo run -- publish OrderEvent --to http://{bus}

  Call a Process Hook, and see what it changes:

cargo run -- emit --hook Autoships.CreateAutoship --config {file} --listen {address}

  Send the vendor's own sample by hand (twice: the second answer says duplicate):

curl http://{address}/api/webhooks/CreateOrderEvent \
  -H "Authorization: Bearer $(cat {token})" \
  -H 'Content-Type: application/json; charset=UTF-8' \
  -H 'X-Directscale-Message-Id: {id}' \
  -d '{{"OrderNumber":1,"CustomerId":2,"OrderDateUtc":"2021-10-12T18:07:26.557768Z","OrderStatus":"Pending processing","OrderType":"Standard","EventDateUtc":"2021-10-12T18:07:26.557768Z","EventCategory":"OrderEvents","EventType":"CreateOrderEvent"}}'
"#
    )
}

/// The path as one word of a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}

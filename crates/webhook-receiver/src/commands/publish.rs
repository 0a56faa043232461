//! `publish`: publishes events to a running bus.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bus::{PublishReceipt, PublishStatus};
use reqwest::{Client, Url};
use secrecy::ExposeSecret as _;
use serde::Serialize;
use serde_json::value::RawValue;
use settings::{Config, Overrides, reachable};

use super::browse::cells;
use super::{plain, print};

const EXAMPLES: &str = "\
Examples:
  A sample order to everyone who subscribes to it:
    webhook-receiver publish OrderEvent

  An event of your own, about an object, with an id; a second publication is a duplicate:
    echo '{\"EventProperty2\":42}' | webhook-receiver publish CoolEvent --data - --id evt_1 --object cat:7

  A thousand of each:
    webhook-receiver publish OrderEvent DailyEvent --count 1000

Exit code: 0 if every event was accepted or was published before, 1 if another was published under its id, 2 if nothing was published.";

/// The largest number of events in one request.
const BATCH: usize = 500;

/// The flags of `publish`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Events to publish: names of the catalog, or any other with --data
    #[arg(value_name = "EVENT", required = true)]
    events: Vec<String>,
    /// Settings file [default: receiver.toml if there is one]
    #[arg(long, short, env = "RECEIVER_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address of the bus [default: where [bus] listens]
    #[arg(long, value_name = "URL")]
    to: Option<Url>,
    /// File with the body, or - for standard input [default: the catalog's sample]
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Event id [default: a new one for each]
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// Object that the event is about, such as order:1000
    #[arg(long, value_name = "TYPE:ID")]
    object: Option<String>,
    /// Application and user who caused the event
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Publish the event even if it does not fit its model
    #[arg(long)]
    raw: bool,
    /// Number of events of each name
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    count: u32,
    /// Print a JSON list of {id, status, deliveries} instead of a table
    #[arg(long)]
    json: bool,
}

/// An event in the form of the bus's API.
#[derive(Clone, Serialize)]
struct NewEvent<'a> {
    #[serde(rename = "type")]
    event_type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    object_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    raw: bool,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let overrides = Overrides { config: args.config.clone(), ..Overrides::default() };
    let config = settings::load(&overrides)?;
    let data = args.data.as_deref().map(read).transpose()?;
    let one = args.events.len() == 1 && args.count == 1;
    ensure!(args.id.is_none() || one, "--id names one event");
    let object = match &args.object {
        None => None,
        Some(text) => Some(text.split_once(':').context("--object: write TYPE:ID")?),
    };
    let event = |event_type| NewEvent {
        event_type,
        id: args.id.as_deref(),
        data: data.as_deref(),
        object_type: object.map(|(kind, _)| kind),
        object_id: object.map(|(_, id)| id),
        user: args.user.as_deref(),
        raw: args.raw,
    };
    let events: Vec<NewEvent<'_>> =
        (0..args.count).flat_map(|_| args.events.iter().map(|name| event(name))).collect();
    let bus = BusClient::new(&args, &config)?;
    let mut receipts = Vec::new();
    for batch in events.chunks(BATCH) {
        receipts.extend(bus.publish(batch).await?);
    }
    show(&events, &receipts, args.json)?;
    let is_conflict = |receipt: &PublishReceipt| receipt.status == PublishStatus::Conflict;
    Ok(if receipts.iter().any(is_conflict) { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn read(file: &Path) -> anyhow::Result<Box<RawValue>> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().read_to_string(&mut text).map(drop),
        false => std::fs::read_to_string(file).map(|read| text = read),
    };
    read.with_context(|| format!("cannot read --data {}", file.display()))?;
    RawValue::from_string(text).context("--data is not JSON")
}

/// A client of a running bus.
struct BusClient {
    client: Client,
    url: Url,
    key: Option<secrecy::SecretString>,
}

impl BusClient {
    fn new(args: &Args, config: &Config) -> anyhow::Result<Self> {
        let default = format!("http://{}/", reachable(config.bus.listen));
        let base = args.to.clone().map_or_else(|| Url::parse(&default), Ok)?;
        // Plain HTTP goes to this machine alone, so no proxy and no roots of trust.
        let client = Client::builder().timeout(Duration::from_secs(60)).no_proxy();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = if base.scheme() == "http" { client.tls_certs_only([]) } else { client };
        // The configured key is sent to the configured bus only.
        let key = if args.to.is_none() { config.bus.key()? } else { None };
        Ok(BusClient { client: client.build()?, url: base.join("api/events")?, key })
    }

    async fn publish(&self, events: &[NewEvent<'_>]) -> anyhow::Result<Vec<PublishReceipt>> {
        let mut request = self.client.post(self.url.clone());
        if let Some(key) = &self.key {
            request = request.bearer_auth(key.expose_secret());
        }
        let body = serde_json::to_vec(events)?;
        let request = request.header("Content-Type", "application/json").body(body);
        let unreachable =
            || format!("no bus answers at {}; start it with `webhook-receiver bus`", self.url);
        let response = request.send().await.with_context(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.with_context(unreachable)?;
        if !status.is_success() {
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            bail!("the bus answers {status}: {}", problem["detail"].as_str().unwrap_or_default());
        }
        serde_json::from_slice(&body).context("the server that answers is not a bus")
    }
}

fn show(events: &[NewEvent<'_>], receipts: &[PublishReceipt], is_json: bool) -> anyhow::Result<()> {
    if is_json {
        return Ok(print(serde_json::to_string_pretty(receipts)?)?);
    }
    let mut table = plain();
    table.set_header(["STATUS", "EVENT", "ID", "DELIVERIES"]);
    table.add_rows(events.iter().zip(receipts).map(|(event, receipt)| {
        let status = match receipt.status {
            PublishStatus::Accepted => "accepted",
            PublishStatus::Duplicate => "duplicate",
            PublishStatus::Conflict => "conflict",
        };
        let (name, id) = (event.event_type.to_owned(), receipt.id.clone());
        cells([status.to_owned(), name, id, receipt.deliveries.to_string()])
    }));
    Ok(print(table)?)
}

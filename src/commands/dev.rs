//! `dev`: everything on this machine, without settings. Keys are generated once and kept in the data folder.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use webhook_receiver::config::{self, Config};

use super::secret;
use super::serve::{bind, serve};

/// `dev`'s own flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on; loopback only
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the inbox and the generated key are kept
    #[arg(long, value_name = "FOLDER", default_value = "data/dev")]
    data: PathBuf,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    if !config::is_loopback(args.listen.ip()) {
        bail!("dev listens on loopback only; use `serve` with its own keys for {}", args.listen);
    }
    let token = std::path::absolute(args.data.join("token"))?;
    keep_token(&token)?;
    let config = settings(&args)?;
    let listener = bind(&config).await?;
    println!("{}", welcome(listener.local_addr()?, &token));
    serve(config, listener).await
}

fn settings(args: &Args) -> anyhow::Result<Config> {
    let file = format!(
        "inbox = {:?}\n[sources.directscale]\ndialect = \"directscale\"\nenvironment = \"stage\"\nbearer_token_files = [{:?}]\n",
        format!("sqlite:{}", args.data.join("inbox.db").display()),
        args.data.join("token").display().to_string(),
    );
    let mut config = config::parse(&file, [], "dev")?;
    config.listen = args.listen;
    Ok(config)
}

/// Makes the key at the first start; only its owner can read it.
fn keep_token(file: &Path) -> anyhow::Result<()> {
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

fn welcome(address: SocketAddr, token: &Path) -> String {
    let quoted = format!("'{}'", token.display().to_string().replace('\'', r"'\''"));
    let token = token.display();
    format!(
        r#"
  Swagger    http://{address}/swagger
  Key        in {token}; paste it after Authorize in Swagger
  Stop       Ctrl-C

  Send the vendor's own sample, twice: the second answer says duplicate.

curl http://{address}/api/webhooks/CreateOrderEvent \
  -H "Authorization: Bearer $(cat {quoted})" \
  -H 'Content-Type: application/json; charset=UTF-8' \
  -H 'X-Directscale-Message-Id: first-try' \
  -d '{{"OrderNumber":1,"CustomerId":2,"OrderDateUtc":"2021-10-12T18:07:26.557768Z","OrderStatus":"Pending processing","OrderType":"Standard","EventDateUtc":"2021-10-12T18:07:26.557768Z","EventCategory":"OrderEvents","EventType":"CreateOrderEvent"}}'
"#
    )
}

//! `healthcheck`: checks that a running receiver is ready, for containers without curl.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use settings::Overrides;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The flags of `healthcheck`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    settings: Overrides,
}

pub(crate) async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let address = settings::reachable(settings::load(&args.settings)?.listen);
    // Docker defines no exit codes other than 0 and 1.
    Ok(match tokio::time::timeout(TIMEOUT, status(address)).await {
        Ok(Ok(status)) => {
            println!("{status}");
            if status == "200" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(Err(error)) => {
            eprintln!("no receiver answers on {address}: {error}");
            ExitCode::FAILURE
        }
        Err(_) => {
            eprintln!("no answer from {address} in {} s", TIMEOUT.as_secs());
            ExitCode::FAILURE
        }
    })
}

async fn status(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer.split(' ').nth(1).unwrap_or("no status").to_owned())
}

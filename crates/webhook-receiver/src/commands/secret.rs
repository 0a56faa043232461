//! `secret`: generates a strong key, or the hash of a password.

use std::io::{BufRead, IsTerminal};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};

/// The flags of `secret`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    webhook-receiver secret > /run/secrets/directscale\n  \
    webhook-receiver secret --hash          # asks for a password, prints its hash for [docs] or [console]")]
pub(crate) struct Args {
    /// Read a password from standard input and print its Argon2 hash, for [docs] or [console]
    #[arg(long)]
    hash: bool,
}

pub(crate) fn run(args: Args) -> anyhow::Result<ExitCode> {
    if args.hash {
        println!("{}", server::login::hash(&password()?.into())?);
    } else {
        println!("{}", generate()?);
    }
    Ok(ExitCode::SUCCESS)
}

/// A key of 256 random bits, safe in shells and headers.
pub(crate) fn generate() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(hex::encode(bytes))
}

fn password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        eprintln!("Password (shown as you type it; end with Enter):");
    }
    let mut line = String::new();
    stdin.lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    ensure!(password.chars().count() >= 12, "a password has at least 12 characters");
    Ok(password.to_owned())
}

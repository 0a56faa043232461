//! The flags of the command `emit`, as its command line gives them.

use clap::Parser;
use emitter::EmitArgs;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    emit: EmitArgs,
}

/// Parses a command line, whose first word is `emit`.
pub(crate) fn emit_args<'l>(
    line: impl IntoIterator<Item = &'l str>,
) -> Result<EmitArgs, clap::Error> {
    // clap asks for words that it could keep.
    let line: Vec<String> = line.into_iter().map(str::to_owned).collect();
    Ok(Cli::try_parse_from(line)?.emit)
}

//! The body of a message: the event's example or the user's own, changed by `--set`, checked against the model.

use std::io::Read;
use std::path::Path;

use anyhow::Context as _;
use bytes::Bytes;
use contract::catalog::EventRow;
use contract::event::{DecodeError, without_bom};

use super::EmitArgs;

/// The file that `--data` names, byte for byte.
pub(super) fn data(args: &EmitArgs) -> anyhow::Result<Option<Bytes>> {
    let Some(file) = &args.data else { return Ok(None) };
    let bytes = if file == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        std::fs::read(file)
    };
    Ok(Some(bytes.with_context(|| format!("cannot read --data {}", file.display()))?.into()))
}

/// The body of one event or hook, changed by `--set`: the given data, or else the example.
pub(super) fn body(args: &EmitArgs, example: &str, data: Option<&Bytes>) -> anyhow::Result<Bytes> {
    let original = data.cloned().unwrap_or_else(|| Bytes::copy_from_slice(example.as_bytes()));
    changed(args, original).context("the body")
}

fn changed(args: &EmitArgs, original: Bytes) -> anyhow::Result<Bytes> {
    if args.set.is_empty() {
        return Ok(original);
    }
    let mut text = std::str::from_utf8(without_bom(&original))?.to_owned();
    for setting in &args.set {
        text = setting.apply(&text)?;
    }
    Ok(text.into())
}

/// A warning about fields that the event's model does not know; those of the example are normal.
pub(super) fn check(row: &EventRow, body: &Bytes) -> anyhow::Result<Option<String>> {
    let name = row.name;
    let unknown = (row.check)(body).map_err(|error| misfit(name, &error))?;
    let normal = (row.check)(row.example.as_bytes()).unwrap_or_default();
    let new: Vec<&str> =
        unknown.keys().filter(|key| !normal.contains_key(*key)).map(String::as_str).collect();
    let warning = format!("the model of {name} does not know {}", new.join(", "));
    Ok((!new.is_empty()).then_some(warning))
}

/// The error of a body that does not fit its model.
pub(super) fn misfit(name: &str, error: &DecodeError) -> anyhow::Error {
    anyhow::anyhow!("the body does not fit {name}: {error}; --raw sends it all the same")
}

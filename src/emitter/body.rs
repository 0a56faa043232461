//! The bytes of a message: the event's example or the user's own, changed on request, checked against the model.

use std::io::Read;
use std::path::Path;

use anyhow::{Context as _, bail};
use bytes::Bytes;

use super::EmitArgs;
use crate::catalog::Row;

/// What `--data` names, byte for byte.
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

/// The body of one event; fields that its model does not know become a warning.
pub(super) fn body<C>(
    args: &EmitArgs,
    event: &str,
    row: Option<&Row<C>>,
    data: Option<&Bytes>,
    warnings: &mut Vec<String>,
) -> anyhow::Result<Bytes> {
    let original = match (data, row) {
        (Some(data), _) => data.clone(),
        (None, Some(row)) => Bytes::from_static(row.example.as_bytes()),
        (None, None) => {
            bail!("`{event}` is not in the catalog and has no example; give a body with --data")
        }
    };
    let body = changed(args, original).with_context(|| format!("the body of {event}"))?;
    if let (Some(row), false) = (row, args.raw) {
        warnings.extend(check(row, &body)?);
    }
    Ok(body)
}

fn changed(args: &EmitArgs, original: Bytes) -> anyhow::Result<Bytes> {
    if args.set.is_empty() {
        return Ok(original);
    }
    let mut text = std::str::from_utf8(&original)?.to_owned();
    for setting in &args.set {
        text = setting.apply(&text)?;
    }
    Ok(text.into())
}

/// Fields that the model does not know are normal if they are in the example too.
fn check<C>(row: &Row<C>, body: &Bytes) -> anyhow::Result<Option<String>> {
    let name = row.name;
    let unknown = (row.check)(body).map_err(|error| {
        anyhow::anyhow!("the body does not fit {name}: {error}; --raw sends it all the same")
    })?;
    let normal = (row.check)(row.example.as_bytes()).unwrap_or_default();
    let new: Vec<&str> =
        unknown.keys().filter(|key| !normal.contains_key(*key)).map(String::as_str).collect();
    let warning = format!("the model of {name} does not know {}", new.join(", "));
    Ok((!new.is_empty()).then_some(warning))
}

//! The settings file that `dev` writes: one like any other, so that every other command can be pointed at it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use reqwest::Url;

/// A settings file in the data folder.
pub(super) struct SettingsFile {
    pub(super) path: PathBuf,
    /// True if this start has made it.
    pub(super) is_new: bool,
}

impl SettingsFile {
    /// Makes the file at the first start; later it is its owner's to change.
    pub(super) fn keep(data: &Path) -> anyhow::Result<Self> {
        let path = data.join("receiver.toml");
        let is_new = !path.exists();
        if is_new {
            write(&path, &first(data))?;
        }
        Ok(SettingsFile { path, is_new })
    }

    /// Puts the addresses of the receiver and of the bus into the file, unless they are there.
    pub(super) fn keep_addresses(
        &self,
        receiver: SocketAddr,
        bus: SocketAddr,
    ) -> anyhow::Result<()> {
        self.change(|before| {
            let after = with_address(before, "", "listen", &receiver.to_string());
            with_address(&after, "bus", "listen", &bus.to_string())
        })
    }

    /// Puts the address of the stand-in for a source's vendor into the file, unless it is there.
    pub(super) fn keep_callback_url(&self, source: &str, url: &Url) -> anyhow::Result<()> {
        let section = format!("sources.{source}.hooks");
        let url = url.as_str().trim_end_matches('/');
        self.change(|before| with_address(before, &section, "callback_url", url))
    }

    fn change(&self, with: impl Fn(&str) -> String) -> anyhow::Result<()> {
        let before = fs::read_to_string(&self.path)
            .with_context(|| format!("cannot read {}", self.path.display()))?;
        let after = with(&before);
        // A file that is written in another way is left alone.
        if after != before && settings::parse(&after, [], "receiver.toml").is_ok() {
            write(&self.path, &after)?;
        }
        Ok(())
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

fn first(data: &Path) -> String {
    let path = |name| data.join(name).display().to_string();
    let store = |name| format!("sqlite:{}", path(name));
    let (inbox, outbox) = (store("inbox.db"), store("outbox.db"));
    let (token, callback_key) = (path("token"), path("callback-key"));
    format!(
        "# Written by `dev`; yours to change. Only the addresses in it follow its flags.\n\
         listen = \"127.0.0.1:8080\"\ninbox = {inbox:?}\n\n\
         [sources.directscale]\ndialect = \"directscale\"\nenvironment = \"stage\"\nbearer_token_files = [{token:?}]\n\n\
         # `dev` stands in for the vendor at this address, and so does `emit --hook`.\n\
         [sources.directscale.hooks]\ncallback_url = \"http://127.0.0.1:8081\"\ncallback_key_file = {callback_key:?}\n\
         record_bodies = true\npages = \"/pages\"\n\n\
         # Within the usual limit of open files.\n[limits]\nconnections = 500\n\n\
         [bus]\nlisten = \"127.0.0.1:8090\"\noutbox = {outbox:?}\n"
    )
}

/// The settings with this address under a name in a section; in none if its name is empty.
fn with_address(text: &str, section: &str, name: &str, address: &str) -> String {
    let setting = format!("{name} = \"{address}\"");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let (mut here, mut header) = (String::new(), None);
    for (index, line) in lines.iter_mut().enumerate() {
        let trimmed = line.trim();
        if let Some(own) = trimmed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            here = own.to_owned();
            header = header.or((here == section).then_some(index + 1));
        } else if here == section && trimmed.split('=').next().is_some_and(|k| k.trim() == name) {
            *line = setting;
            return lines.join("\n") + "\n";
        }
    }
    match header {
        Some(index) => lines.insert(index, setting),
        None if section.is_empty() => lines.insert(0, setting),
        None => lines.extend([String::new(), format!("[{section}]"), setting]),
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn an_address_is_replaced_where_it_is_and_added_where_it_is_not() {
        for (before, section, after) in [
            (
                "listen = \"x\"\n[bus]\nlisten = \"y\"\n",
                "",
                "listen = \"127.0.0.1:9\"\n[bus]\nlisten = \"y\"\n",
            ),
            (
                "listen = \"x\"\n[bus]\nlisten = \"y\"\n",
                "bus",
                "listen = \"x\"\n[bus]\nlisten = \"127.0.0.1:9\"\n",
            ),
            ("# mine\n[log]\n", "", "listen = \"127.0.0.1:9\"\n# mine\n[log]\n"),
            (
                "[bus]\nqueue = 1\n[log]\n",
                "bus",
                "[bus]\nlisten = \"127.0.0.1:9\"\nqueue = 1\n[log]\n",
            ),
            ("[log]\n", "bus", "[log]\n\n[bus]\nlisten = \"127.0.0.1:9\"\n"),
        ] {
            assert_eq!(with_address(before, section, "listen", "127.0.0.1:9"), after);
        }
    }

    #[test]
    fn what_is_written_first_can_be_used() {
        let settings = settings::parse(&first(Path::new("/tmp/it's here")), [], "dev").unwrap();
        assert_eq!(settings.listen, address(8080));
        assert_eq!(settings.bus.outbox, "sqlite:/tmp/it's here/outbox.db");
    }
}

//! The table of known senders, `senders.toml`: one row each, in the language of the settings.
//!
//! Each part of a row has its readers: the schemes of signatures, the field locators, the handshakes, the
//! setup guides, the emitter, the documentation.
//!
//! It depends on no crate of the engine.

use std::sync::LazyLock;

use toml::{Table, Value};

/// The table as it is written.
pub const TEXT: &str = include_str!("../senders.toml");

static TABLE: LazyLock<Table> =
    LazyLock::new(|| TEXT.parse().expect("a test parses the table of senders"));

static ROWS: LazyLock<Vec<Row>> = LazyLock::new(|| {
    let row = |(name, row): (&'static String, &'static Value)| {
        Some(Row { name, settings: row.as_table()? })
    };
    let mut rows: Vec<Row> = TABLE.iter().filter_map(row).collect();
    rows.sort_by_key(|row| position(row.name));
    rows
});

/// The row of one sender.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The name, which is its dialect's and its scheme's.
    pub name: &'static str,
    /// Its settings.
    pub settings: &'static Table,
}

impl Row {
    /// A part of the row: the value of one setting.
    pub fn part(&self, name: &str) -> Option<Value> {
        self.settings.get(name).cloned()
    }

    /// The row as it is written, with another name in its sections: the same text describes a sender in the settings.
    pub fn text(&self, section: &str) -> String {
        let is_own = |line: &str| {
            let rest = line.trim_start_matches('[').strip_prefix(self.name);
            rest.is_some_and(|rest| rest.starts_with([']', '.']))
        };
        let lines = TEXT[position(self.name)..].lines();
        let lines = lines.take_while(|line| !line.starts_with('[') || is_own(line));
        let renamed = lines.map(|line| match line.find(self.name) {
            Some(index) if line.starts_with('[') => {
                let (before, rest) = line.split_at(index);
                format!("{before}{section}{}\n", &rest[self.name.len()..])
            }
            _ => format!("{line}\n"),
        });
        renamed.collect::<String>().trim_end().to_owned() + "\n"
    }
}

/// The place of a row in the text.
fn position(name: &str) -> usize {
    TEXT.find(&format!("\n[{name}]\n")).map_or(0, |before| before + 1)
}

/// Every row, in the order of the text.
pub fn rows() -> impl Iterator<Item = Row> {
    ROWS.iter().copied()
}

/// The row of the sender called `name`.
pub fn row(name: &str) -> Option<Row> {
    rows().find(|row| row.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_as_it_is_written_is_all_of_it_and_nothing_else() {
        for row in rows() {
            let text = format!("{}\n", row.text("sources.mine"));
            let table: Table = text.parse().expect(row.name);
            assert_eq!(table["sources"]["mine"].as_table(), Some(row.settings), "{}", row.name);
        }
    }

    #[test]
    fn rows_are_in_the_order_of_the_text() {
        let names: Vec<_> = rows().map(|row| row.name).collect();
        assert_eq!(names[..3], ["directscale", "evolutionx", "standard-webhooks"]);
        assert_eq!(names.last(), Some(&"generic"));
    }
}

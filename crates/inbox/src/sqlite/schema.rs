//! The tables and their versions.

use store::Schema;

/// Migration steps, one for each version. A step is never edited once it has shipped; a change is a new step.
const MIGRATIONS: [&str; 8] = [
    include_str!("v1.sql"),
    include_str!("v2.sql"),
    include_str!("v3.sql"),
    include_str!("v4.sql"),
    include_str!("v5.sql"),
    include_str!("v6.sql"),
    include_str!("v7.sql"),
    include_str!("v8.sql"),
];

/// Schema of an inbox file.
pub(super) const SCHEMA: Schema = Schema {
    noun: "inbox",
    owner: "receiver",
    setting: "--inbox",
    application_id: 0x7768_7278, // "whrx" in ASCII
    migrations: &MIGRATIONS,
};

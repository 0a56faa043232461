//! GitHub's events: the ping of a new webhook, and pushes.
//!
//! Source of all fields: GitHub's page on webhook events and payloads. Only what an event is about is required; what
//! the models leave out is kept beside them at the top level and in the raw body.

use contract::event::{Dialect, Event, Id};
use serde::Deserialize;
use utoipa::ToSchema;

/// A webhook was set up, or a test was requested.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = GithubPing)]
pub struct Ping {
    /// A line of wisdom.
    pub zen: Option<String>,
    /// The number of the webhook.
    pub hook_id: Id,
    /// The repository it belongs to; a webhook of an organization has none.
    pub repository: Option<Repository>,
    /// The account that set it up.
    pub sender: Option<Account>,
}

impl Event for Ping {
    const TYPE: &'static str = "ping";
    const DIALECT: Dialect = Dialect::GitHub;

    fn example() -> &'static str {
        r#"{"zen":"Measure twice, cut once.","hook_id":48213377,"repository":{"id":70411,"full_name":"example/shop","private":true,"default_branch":"main"},"sender":{"id":9021,"login":"ada"}}"#
    }
}

/// Commits were pushed to a branch or a tag, or one of them was made or deleted.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = GithubPush)]
pub struct Push {
    /// The full name of the branch or tag, such as `refs/heads/main`.
    #[serde(rename = "ref")]
    pub git_ref: String,
    /// The commit before the push; all zeros if the branch or tag is new.
    pub before: Option<String>,
    /// The commit after the push; all zeros if the branch or tag was deleted.
    pub after: Option<String>,
    /// True if the push created the branch or tag.
    pub created: Option<bool>,
    /// True if the push deleted the branch or tag.
    pub deleted: Option<bool>,
    /// True if the push rewrote the history.
    pub forced: Option<bool>,
    /// A page that shows the difference.
    pub compare: Option<String>,
    /// The pushed commits; very many are cut off.
    pub commits: Option<Vec<Commit>>,
    /// The commit after the push, in full; none if the branch or tag was deleted.
    pub head_commit: Option<Commit>,
    /// The repository.
    pub repository: Option<Repository>,
    /// The person who pushed, from git's configuration.
    pub pusher: Option<Person>,
    /// The GitHub account that pushed.
    pub sender: Option<Account>,
}

impl Event for Push {
    const TYPE: &'static str = "push";
    const DIALECT: Dialect = Dialect::GitHub;

    fn example() -> &'static str {
        r#"{"ref":"refs/heads/main","before":"3f1c0a9d5be27786b1c4e08ad92f6413c07be5aa","after":"b7d24e6019fc853ab06e7d1f42c9853e6af0d11c","created":false,"deleted":false,"forced":false,"compare":"https://github.com/example/shop/compare/3f1c0a9d5be2...b7d24e6019fc","commits":[{"id":"b7d24e6019fc853ab06e7d1f42c9853e6af0d11c","message":"Orders show their discount","timestamp":"2026-03-02T09:14:05+01:00","url":"https://github.com/example/shop/commit/b7d24e6019fc853ab06e7d1f42c9853e6af0d11c","author":{"name":"Ada","email":"ada@example.com"},"added":[],"removed":[],"modified":["src/order.rs"]}],"head_commit":null,"repository":{"id":70411,"full_name":"example/shop","private":true,"default_branch":"main"},"pusher":{"name":"ada","email":"ada@example.com"},"sender":{"id":9021,"login":"ada"}}"#
    }
}

/// A repository.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = GithubRepository)]
pub struct Repository {
    /// The number of the repository.
    pub id: Option<Id>,
    /// Owner and name, with a slash between them.
    pub full_name: Option<String>,
    /// True if only its members see it.
    pub private: Option<bool>,
    /// The branch that is shown first.
    pub default_branch: Option<String>,
}

/// A user's account, or a machine's.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = GithubAccount)]
pub struct Account {
    /// The number of the account.
    pub id: Option<Id>,
    /// The account's name.
    pub login: Option<String>,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = GithubCommit)]
pub struct Commit {
    /// The commit's hash.
    pub id: Option<String>,
    /// The commit's message.
    pub message: Option<String>,
    /// The time of the commit, in ISO 8601.
    pub timestamp: Option<String>,
    /// A page that shows it.
    pub url: Option<String>,
    /// The author.
    pub author: Option<Person>,
    /// Files that are new.
    pub added: Option<Vec<String>>,
    /// Files that are gone.
    pub removed: Option<Vec<String>>,
    /// Files that are changed.
    pub modified: Option<Vec<String>>,
}

/// A person, from git's configuration.
#[derive(Debug, Clone, PartialEq, Deserialize, ToSchema)]
#[schema(as = GithubPerson)]
pub struct Person {
    /// The person's name.
    pub name: Option<String>,
    /// The person's address.
    pub email: Option<String>,
}

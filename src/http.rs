//! The only place where HTTP is spoken: routes, limits, problems, login, documentation.

pub mod answer;
pub mod docs;
pub mod login;
pub mod problem;

//! The vendors' payload models.

pub mod directscale;
pub mod evolutionx;
pub mod github;

//! The vendors' payload models.

pub mod directscale;

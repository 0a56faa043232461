//! Models of the hooks that vendors document, one module for each vendor.

pub mod directscale;

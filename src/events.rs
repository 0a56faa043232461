//! The vendors' payload models.

//! What the fuzz targets share: the sources, requests as text, and a bound on memory.

mod memory;
mod sources;

pub use memory::bounded;
pub use sources::{NOW, config, read, receive, request, source};

//! What this fork does with each event.

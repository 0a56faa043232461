//! DirectScale's Process Hooks, as far as the vendor documents them.
//!
//! Every member is optional unless the hook means nothing without it, and unknown members are kept: the documents
//! disagree with each other and with what is sent.

pub mod associate;
pub mod autoship;
pub mod codes;
pub mod commission;
pub mod coupon;
pub mod line_item;
pub mod new_order;
pub mod order;
pub mod package;
pub mod shared;
pub mod tax;

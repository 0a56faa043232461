//! What is called while associates enrol and are changed, and when something about them is wanted.

use super::Context;
use crate::catalog::Catalog;
use crate::hooks::directscale::associate::{
    GetAssociateServiceAutoshipSettings, GetSecondaryTitle, UpdateAssociate, WriteApplication,
};

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<WriteApplication>()
        .unhandled::<UpdateAssociate>()
        .unhandled::<GetSecondaryTitle>()
        .unhandled::<GetAssociateServiceAutoshipSettings>()
}

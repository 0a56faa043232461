//! Hooks of associates: enrolled and changed, and questions about them.
use webhook_receiver::Catalog;
use webhook_receiver::vendors::directscale::hooks::associate::{
    GetAssociateServiceAutoshipSettings, GetSecondaryTitle, IsEmailAvailable, OnNotificationEvent,
    UpdateAssociate, WriteApplication,
};

use super::Context;

pub(super) fn catalog() -> Catalog<Context> {
    Catalog::new()
        .unhandled::<IsEmailAvailable>()
        .unhandled::<WriteApplication>()
        .unhandled::<UpdateAssociate>()
        .unhandled::<GetSecondaryTitle>()
        .unhandled::<GetAssociateServiceAutoshipSettings>()
        .unhandled::<OnNotificationEvent>()
}

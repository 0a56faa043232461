//! DirectScale's events, one file per family.
//!
//! The vendor does not document which fields may be null, so only the ids without which an event means nothing are
//! required. Two generations sit side by side: the event bus of 2018, whose events have numbers for ids and may lack
//! `EventType`, and the event models of 2021, whose events go by their names.

pub mod associate;
pub mod client;
pub mod daily;
pub mod enrollment;
pub mod hooks;
pub mod inventory;
pub mod order;
pub mod order_lifecycle;
pub mod order_type;
pub mod stock;
pub mod subscription;

#[cfg(test)]
mod tests {
    use contract::event::{Delivery, Event, NetDateTime, needs_object};
    use serde_json::json;

    use super::associate::{CreateAssociateEvent, UpdateAssociateEvent};
    use super::client::ClientEvent;
    use super::enrollment::EnrollmentEvent;
    use super::order::OrderEvent;
    use super::order_lifecycle::{CreateOrderEvent, CreateOrderPaymentEvent};
    use super::order_type::OrderType;
    use super::stock::StockLevelEvent;
    use super::subscription::{CreateSubscriptionEvent, UpdateSubscriptionEvent};

    fn event<T: Event>(json: &str) -> Delivery<T> {
        Delivery::sample(json).unwrap_or_else(|error| panic!("{json}: {error}"))
    }

    #[test]
    fn old_events_have_numbers_and_one_has_a_former_name() {
        let names = [
            (EnrollmentEvent::ALIASES, "0"),
            (OrderEvent::ALIASES, "1"),
            (CreateAssociateEvent::ALIASES, "2"),
            (UpdateAssociateEvent::ALIASES, "3"),
            (CreateSubscriptionEvent::ALIASES, "4"),
            (UpdateSubscriptionEvent::ALIASES, "5"),
            (CreateOrderEvent::ALIASES, "OrderCreated"),
        ];
        for (aliases, name) in names {
            assert_eq!(aliases, [name]);
        }
    }

    #[test]
    fn an_event_around_a_shared_model_is_an_object_too() {
        assert!(needs_object::<UpdateAssociateEvent>() && needs_object::<CreateOrderEvent>());
        assert!(!needs_object::<ClientEvent>());
    }

    #[test]
    fn one_associate_is_the_same_under_all_its_names() {
        let order = event::<OrderEvent>(r#"{"OrderId":"1","DistributorId":"2"}"#);
        let created = event::<CreateOrderEvent>(r#"{"OrderNumber":1,"CustomerId":2}"#);
        assert_eq!(order.order_id, created.order_number);
        assert_eq!(order.distributor_id, created.customer_id);
    }

    #[test]
    fn amounts_are_exact() {
        let order = event::<OrderEvent>(r#"{"OrderId":"1","OrderTotal":12345678901234567.89}"#);
        assert_eq!(order.order_total.unwrap().to_string(), "12345678901234567.89");
        let payment = Delivery::<CreateOrderPaymentEvent>::example().unwrap();
        assert_eq!(payment.amount.unwrap().to_string(), "20.0");
        let as_text = event::<OrderEvent>(r#"{"OrderId":"1","OrderTotal":"1.50"}"#);
        assert_eq!(as_text.order_total.unwrap().to_string(), "1.50");
    }

    #[test]
    fn an_amount_that_does_not_fit_names_its_field() {
        let json = r#"{"OrderId":"1","OrderTotal":0.12345678901234567890123456789}"#;
        assert_eq!(Delivery::<OrderEvent>::sample(json).unwrap_err().path, "OrderTotal");
    }

    #[test]
    fn a_date_that_was_never_set_is_no_instant() {
        for unset in ["0001-01-01T00:00:00", "0001-01-01T00:00:00Z"] {
            let json = format!(r#"{{"DistributorId":"3","EnrollmentDateUtc":"{unset}"}}"#);
            let date = event::<EnrollmentEvent>(&json).enrollment_date_utc.unwrap();
            assert_eq!((date, date.to_utc()), (NetDateTime::Unset, None));
        }
    }

    #[test]
    fn an_order_type_is_a_number_digits_or_a_name() {
        for kind in ["2", "\"2\"", "\"AutoShip\"", "\"Autoship\""] {
            let order =
                event::<CreateOrderEvent>(&format!(r#"{{"OrderNumber":1,"OrderType":{kind}}}"#));
            assert_eq!(order.order_type, Some(OrderType::Autoship), "{kind}");
        }
    }

    #[test]
    fn an_event_type_may_be_a_number() {
        let order = event::<OrderEvent>(r#"{"OrderId":"1","EventType":1}"#);
        assert_eq!(order.event_type.as_ref().and_then(|id| id.as_i64()), Some(1));
    }

    #[test]
    fn the_vendors_own_stock_examples_decode() {
        for (available, status, index) in
            [(188, "In Stock", 3), (3, "Low on Stock", 2), (0, "Out of Stock", 1)]
        {
            let json = json!({
                "ItemID": 7901, "WarehouseID": 2, "Available": available, "Status": status, "StatusIndex": index,
            });
            let stock = event::<StockLevelEvent>(&json.to_string());
            assert_eq!(stock.available, Some(available.into()));
            assert_eq!(stock.status.as_deref(), Some(status));
            assert!(stock.unknown.is_empty());
        }
    }

    #[test]
    fn a_custom_event_is_any_json_value() {
        for json in ["42", "\"text\"", "null", "[1,2]", r#"{"EventProperty2":42}"#] {
            assert_eq!(event::<ClientEvent>(json).0.to_string(), json);
        }
    }
}

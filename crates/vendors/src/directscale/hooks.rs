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

#[cfg(test)]
mod tests {
    use contract::hook::decoded;

    use super::autoship::AutoshipRequest;

    #[test]
    fn an_amount_sent_as_text_stays_text() {
        let json = r#"{"AutoshipInfo":{"LastChargeAmount":"12.50","LineItems":[{"Quantity":"2","Cost":20.00,"Weight":"0.0"}],"TotalCV":1,"SubTotal":"40.00"}}"#;
        let request = decoded::<AutoshipRequest>(json.as_bytes()).unwrap();
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
    }
}

//! B11, registering anew.

#[test]
fn registering_anew_earns_less_than_staying() {
    super::check("churn", 120, 8);
}

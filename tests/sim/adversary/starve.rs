//! A10, small validators starved.

#[test]
fn serving_large_validators_only_does_not_pay() {
    super::check("starve-small", 60, 6);
}

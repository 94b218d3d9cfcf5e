//! A6, bribery.

#[test]
fn a_bribe_buys_no_weight() {
    super::check("bribe", 60, 10);
}

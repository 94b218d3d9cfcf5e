//! B2, relay.

#[test]
fn a_relay_earns_nothing_and_a_bribed_miner_no_more() {
    super::check("relay", 20, 10);
}

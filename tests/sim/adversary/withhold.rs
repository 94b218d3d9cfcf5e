//! C2, the last revealer.

#[test]
fn a_withheld_beacon_moves_no_draw() {
    super::check("withhold-beacon", 100, 8);
}

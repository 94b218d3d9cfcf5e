//! C1, grinding of draws.

#[test]
fn a_ground_beacon_makes_no_draw_friendlier() {
    super::check("grind-beacon", 200, 12);
}

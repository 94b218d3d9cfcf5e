//! C8, the unlucky freeze.

#[test]
fn a_halt_pays_nobody() {
    super::check("halt", 20, 2);
}

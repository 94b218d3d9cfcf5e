//! A8, false accusation.

#[test]
fn an_accused_miner_keeps_its_income() {
    super::check("false-accusation", 60, 6);
}

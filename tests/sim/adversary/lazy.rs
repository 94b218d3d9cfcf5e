//! A7, the lazy validator.

#[test]
fn work_that_is_left_out_is_not_paid() {
    super::check("lazy-audit", 60, 6);
}

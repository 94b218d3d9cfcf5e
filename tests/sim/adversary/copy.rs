//! A1, weight copying.

#[test]
fn copied_weights_earn_next_to_nothing() {
    super::check("copy-weights", 60, 6);
}

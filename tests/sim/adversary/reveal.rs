//! A2, selective reveal.

#[test]
fn whoever_chooses_what_to_reveal_earns_less_than_honest_work() {
    super::check("selective-reveal", 60, 6);
}

//! B8, declared capacity.

#[test]
fn declaring_more_than_one_can_do_earns_less() {
    super::check("overdeclare", 200, 20);
}

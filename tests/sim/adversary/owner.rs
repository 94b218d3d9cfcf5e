//! A11, the owner's abuse.

#[test]
fn outsiders_keep_their_income_while_they_can_leave() {
    super::check("owner", 20, 2);
}

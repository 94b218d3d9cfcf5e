//! C4, equivocation.

#[test]
fn two_votes_in_one_round_cost_the_bond_and_one_does_not() {
    super::check("equivocate", 20, 6);
}

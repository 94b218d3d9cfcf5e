//! A3, a cabal with a minority of the stake.

#[test]
fn a_cabal_gets_no_more_than_its_fair_share() {
    super::check("cabal", 60, 6);
}

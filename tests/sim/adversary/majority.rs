//! A4, a cabal with a majority of the stake.

#[test]
fn a_majority_of_stake_is_no_majority_of_pay() {
    super::check("majority", 60, 6);
}

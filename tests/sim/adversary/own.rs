//! A5, weight on own miners under other keys.

#[test]
fn own_miners_earn_what_median_miners_earn() {
    super::check("own-miners", 60, 6);
}

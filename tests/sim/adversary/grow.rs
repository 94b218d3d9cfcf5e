//! C6, growth as an attack.

#[test]
fn quotas_keep_the_ledger_small() {
    super::check("grow", 60, 2);
}

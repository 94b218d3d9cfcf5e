//! B1, many UIDs of one machine.

#[test]
fn many_uids_of_one_machine_earn_what_one_does() {
    super::check("sybil", 200, 3);
}

//! B9, decoys and clones.

#[test]
fn decoys_and_exact_copies_add_nothing() {
    super::check("decoys", 20, 20);
}

//! The tree worked by hand, and the bounds of proofs.

use super::*;

#[test]
fn paths_are_ordered_as_keys_are_and_none_begins_another() {
    let keys: [&[u8]; 7] = [b"", b"\0", b"\0\0", b"\0\x01", b"a", b"a\0", b"b"];
    for (index, low) in keys.iter().enumerate() {
        assert_eq!(first_difference(low, low), None);
        for high in &keys[index + 1..] {
            let bit = first_difference(low, high).unwrap();
            assert_eq!((path_bit(low, bit), path_bit(high, bit)), (false, true));
            assert_eq!(first_difference(high, low), Some(bit));
            assert!((0..bit).all(|bit| path_bit(low, bit) == path_bit(high, bit)));
        }
    }
}

fn entry(key: &[u8]) -> Entry {
    Entry {
        key: key.to_vec(),
        value: [b"value of ", key].concat(),
    }
}

/// Three entries worked by hand: paths of `a` (0x61) and `b` (0x62) differ in bit 7, `ab` follows `a` at bit 9.
#[test]
fn a_small_tree_is_what_the_module_says() {
    let entries = [entry(b"a"), entry(b"ab"), entry(b"b")];
    let [a, ab, b] =
        [0, 1, 2].map(|index: usize| leaf_digest(&entries[index].key, &value_digest(&entries[index].value)));
    let top = inner_digest(7, &inner_digest(9, &a, &ab), &b);
    assert_eq!(root_of(&entries), root_digest(3, &top));

    let proof = StateProof {
        entry_count: 3,
        steps: vec![Step { bit: 7, other: b }, Step { bit: 9, other: ab }],
        end: End::Found(vec![entry(b"a")]),
    };
    let root = root_of(&entries);
    assert_eq!(proof.verify(&root, b"a"), Ok(Some(b"value of a".as_slice())));
    let both = StateProof {
        entry_count: 3,
        steps: vec![Step { bit: 7, other: b }],
        end: End::Found(entries[..2].to_vec()),
    };
    assert_eq!(both.verify_prefix(&root, b"a"), Ok(&entries[..2]));
    // One of the two alone is not all of the prefix.
    assert!(matches!(
        proof.verify_prefix(&root, b"a"),
        Err(ProofError::Astray { .. })
    ));
}

#[test]
fn the_empty_state_has_nothing() {
    let proof = StateProof {
        entry_count: 0,
        steps: Vec::new(),
        end: End::Nothing,
    };
    assert_eq!(proof.verify(&root_of(&[]), b"a"), Ok(None));
    assert_eq!(proof.verify_prefix(&root_of(&[]), b""), Ok([].as_slice()));
    assert!(proof.verify(&root_of(&[entry(b"b")]), b"a").is_err());
}

#[test]
fn oversized_bytes_are_refused_before_they_are_parsed() {
    let bytes = vec![1; StateProof::BYTES_MAX + 1];
    assert!(matches!(
        StateProof::decode(&bytes),
        Err(ProofError::Codec(CodecError::TooLong { .. }))
    ));
    let long = [0; KEY_BYTES_MAX + 1];
    let proof = StateProof {
        entry_count: 0,
        steps: Vec::new(),
        end: End::Nothing,
    };
    assert_eq!(
        proof.verify(&root_of(&[]), &long),
        Err(ProofError::KeyTooLong {
            found: KEY_BYTES_MAX + 1,
            bound: KEY_BYTES_MAX
        })
    );
}

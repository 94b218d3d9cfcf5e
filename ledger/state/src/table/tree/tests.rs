//! A tree against a map, and proofs of whatever may be asked.

use std::collections::{BTreeMap, BTreeSet};

use agon_protocol::proof::root_of;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn tree(entries: &Map) -> Tree {
    let mut tree = Tree::default();
    for (key, value) in entries {
        assert!(tree.insert(key.as_slice().into(), value.as_slice().into()));
    }
    tree
}

fn listed<'a>(entries: impl Iterator<Item = (&'a Arc<[u8]>, &'a Arc<[u8]>)>) -> Vec<(Vec<u8>, Vec<u8>)> {
    entries
        .map(|(key, value)| (key.to_vec(), value.to_vec()))
        .collect()
}

fn specified_root(entries: &Map) -> Digest {
    let entries = entries.iter().map(|(key, value)| Entry {
        key: key.clone(),
        value: value.clone(),
    });
    root_of(&entries.collect::<Vec<_>>())
}

/// Short keys of few letters: many are neighbours, and many begin another one.
fn key() -> impl Strategy<Value = Vec<u8>> {
    vec(
        prop_oneof![Just(0), Just(1), Just(0x80), Just(0xff), any::<u8>()],
        0..5,
    )
}

fn map() -> impl Strategy<Value = Map> {
    proptest::collection::btree_map(key(), vec(any::<u8>(), 0..4), 0..40)
}

/// Every proof the tree gives for `query` shows what the map has, and no other root takes it.
fn check_query(entries: &Map, tree: &Tree, query: Query<'_>) {
    let root = tree.root();
    let proof = StateProof::decode(&tree.prove(query).encode()).unwrap();
    match query {
        Query::Key(key) => {
            let expected = entries.get(key).map(Vec::as_slice);
            assert_eq!(proof.verify(&root, key), Ok(expected));
            assert!(proof.verify(&Digest([7; 32]), key).is_err());
        }
        Query::Prefix(prefix) => {
            let found = proof.verify_prefix(&root, prefix).unwrap().iter();
            let found: Vec<_> = found
                .map(|entry| (entry.key.clone(), entry.value.clone()))
                .collect();
            let expected = entries.iter().filter(|(key, _)| key.starts_with(prefix));
            assert_eq!(
                found,
                expected
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect::<Vec<_>>()
            );
            assert_eq!(found, listed(tree.scan(prefix)));
        }
    }
}

/// Changes each byte of proof, key and root in turn: none of it may still show anything about that key.
fn check_every_byte_counts(tree: &Tree, key: &[u8]) {
    let (root, bytes) = (tree.root(), tree.prove(Query::Key(key)).encode());
    let shows = |bytes: &[u8], root: &Digest, key: &[u8]| {
        StateProof::decode(bytes).is_ok_and(|proof| proof.verify(root, key).is_ok())
    };
    assert!(shows(&bytes, &root, key));
    for index in 0..bytes.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[index] ^= flip;
            assert!(
                !shows(&changed, &root, key),
                "byte {index} of the proof does not count"
            );
        }
        assert!(!shows(&bytes[..index], &root, key), "a proof cut off at {index}");
    }
    assert!(!shows(&[bytes.as_slice(), &[0]].concat(), &root, key));
    for index in 0..32 {
        let mut other = root;
        other.0[index] ^= 1;
        assert!(
            !shows(&bytes, &other, key),
            "byte {index} of the root does not count"
        );
    }
}

#[test]
fn a_wrong_byte_anywhere_fails() {
    let many: Map = (0..60u16)
        .map(|n| {
            (
                [[5], [(n / 8).to_le_bytes()[0]], [n.to_le_bytes()[0]]].concat(),
                n.to_le_bytes().to_vec(),
            )
        })
        .collect();
    let one: Map = [(b"only".to_vec(), b"value".to_vec())].into();
    for entries in [Map::new(), one, many] {
        let tree = tree(&entries);
        for key in entries.keys() {
            check_every_byte_counts(&tree, key);
            let mut other = key.clone();
            for index in 0..key.len() {
                other[index] ^= 1;
                let bytes = tree.prove(Query::Key(key));
                let shown = bytes.verify(&tree.root(), &other);
                assert!(shown.is_err(), "byte {index} of the key does not count");
                other[index] ^= 1;
            }
        }
        for absent in [
            b"".as_slice(),
            b"only ",
            b"onlx",
            &[5],
            &[5, 3, 200],
            &[4],
            &[255; 9],
        ] {
            check_every_byte_counts(&tree, absent);
        }
    }
}

proptest! {
    #[test]
    fn it_is_the_sorted_map_whatever_came_and_went(entries in map(), other in map(), absent in vec(key(), 8)) {
        let mut changed = tree(&other);
        for (key, value) in &entries {
            changed.insert(key.as_slice().into(), value.as_slice().into());
        }
        for key in other.keys().filter(|key| !entries.contains_key(*key)) {
            prop_assert!(changed.remove(key).is_some());
            prop_assert!(changed.remove(key).is_none());
        }
        let built = tree(&entries);
        prop_assert_eq!(&changed, &built);
        prop_assert_eq!(changed.root(), specified_root(&entries));
        prop_assert_eq!(changed.count(), entries.len() as u64);
        prop_assert_eq!(listed(changed.iter()), entries.clone().into_iter().collect::<Vec<_>>());
        for key in entries.keys().chain(&absent) {
            prop_assert_eq!(changed.get(key).map(|value| value.to_vec()), entries.get(key).cloned());
            check_query(&entries, &changed, Query::Key(key));
            check_query(&entries, &changed, Query::Prefix(key));
            check_query(&entries, &changed, Query::Prefix(&key[..key.len() / 2]));
            let after = entries.range(key.clone()..).map(|(key, value)| (key.clone(), value.clone()));
            prop_assert_eq!(listed(changed.scan_from(key)), after.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_differs_is_what_one_map_lacks_or_has_otherwise(
        entries in map(), later in map(), fresh in any::<bool>(), prefix in key(),
    ) {
        let original = tree(&entries);
        // A copy shares nodes with the original; a tree of its own, like one read from a store, shares none.
        let mut changed = if fresh { tree(&entries) } else { original.clone() };
        for (key, value) in &later {
            if !changed.insert(key.as_slice().into(), value.as_slice().into()) && value.is_empty() {
                changed.remove(key);
            }
        }
        let after: Map = listed(changed.iter()).into_iter().collect();
        let keys: BTreeSet<&Vec<u8>> = entries.keys().chain(after.keys()).collect();
        for prefix in [&[][..], &prefix] {
            let expected: Vec<&Vec<u8>> = keys
                .iter()
                .filter(|key| key.starts_with(prefix) && entries.get(**key) != after.get(**key))
                .copied()
                .collect();
            for mut found in [changed.differing(&original, prefix), original.differing(&changed, prefix)] {
                found.sort();
                let found: Vec<Vec<u8>> = found.iter().map(|key| key.to_vec()).collect();
                prop_assert_eq!(found.iter().collect::<Vec<_>>(), expected.clone());
            }
        }
    }

    #[test]
    fn a_copy_keeps_what_it_had(entries in map(), later in map()) {
        let original = tree(&entries);
        let root = original.root();
        let mut copy = original.clone();
        for (key, value) in &later {
            if !copy.insert(key.as_slice().into(), value.as_slice().into()) && value.is_empty() {
                copy.remove(key);
            }
        }
        prop_assert_eq!(root, specified_root(&entries));
        prop_assert_eq!(&original, &tree(&entries));
        let left: Map = listed(copy.iter()).into_iter().collect();
        prop_assert_eq!(copy.root(), specified_root(&left));
    }

    #[test]
    fn a_proof_shows_nothing_about_another_state(entries in map(), asked in key(), changed in key(), value in vec(any::<u8>(), 4..5)) {
        let before = tree(&entries);
        let mut after = before.clone();
        after.insert(changed.as_slice().into(), value.as_slice().into());
        let proof = before.prove(Query::Key(&asked));
        prop_assert!(proof.verify(&after.root(), &asked).is_err());
    }
}

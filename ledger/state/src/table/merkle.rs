//! The root over all entries of the table.
//!
//! - A leaf is `H(0x00, key length as 4 bytes little-endian, key, value)`.
//! - An inner node is `H(0x01, left, right)`. Nodes are paired from the left, level by level; one without a partner
//!   moves up as it is.
//! - The root is the digest of the number of entries (8 bytes little-endian) and the top node, which is 32 zero
//!   bytes for an empty table.
//!
//! The prefixes keep a leaf from passing for an inner node, the count keeps trees of different sizes apart.

use agon_protocol::codec;
use agon_protocol::id::Digest;

const LEAF: u8 = 0x00;
const INNER: u8 = 0x01;

/// Digest of one entry.
pub(crate) fn leaf(key: &[u8], value: &[u8]) -> Digest {
    let key_len = u32::try_from(key.len()).expect("keys are a few dozen bytes");
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[LEAF]);
    hasher.update(&key_len.to_le_bytes());
    hasher.update(key);
    hasher.update(value);
    Digest(*hasher.finalize().as_bytes())
}

fn inner(left: &Digest, right: &Digest) -> Digest {
    let mut bytes = [INNER; 65];
    let (_, children) = bytes.split_at_mut(1);
    let (left_half, right_half) = children.split_at_mut(32);
    left_half.copy_from_slice(left.as_bytes());
    right_half.copy_from_slice(right.as_bytes());
    Digest(*blake3::hash(&bytes).as_bytes())
}

/// Root over the leaves, given in key order.
pub(crate) fn root(leaves: impl Iterator<Item = Digest>) -> Digest {
    let mut level: Vec<Digest> = leaves.collect();
    let count = level.len() as u64;
    while level.len() > 1 {
        level = level.chunks(2).map(pair).collect();
    }
    let top = level.pop().unwrap_or_default();
    let mut bytes = count.to_le_bytes().to_vec();
    bytes.extend_from_slice(top.as_bytes());
    codec::digest("agon 2026-11 state root", &bytes)
}

fn pair(nodes: &[Digest]) -> Digest {
    match nodes {
        [left, right] => inner(left, right),
        [single] => *single,
        _ => unreachable!("chunks of two have one or two nodes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Digest> {
        (0..count).map(|index| leaf(&[index], &[index, index])).collect()
    }

    #[test]
    fn every_number_of_entries_has_its_own_root() {
        let roots: Vec<Digest> = (0..20).map(|count| root(leaves(count).into_iter())).collect();
        for (index, first) in roots.iter().enumerate() {
            assert!(roots[..index].iter().all(|other| other != first));
        }
    }

    #[test]
    fn a_byte_moved_from_key_to_value_changes_the_leaf() {
        assert_ne!(leaf(b"ab", b"c"), leaf(b"a", b"bc"));
    }

    #[test]
    fn three_leaves_are_paired_from_the_left() {
        let [a, b, c] = [0u8, 1, 2].map(|index| leaf(&[index], &[]));
        let top = inner(&inner(&a, &b), &c);
        let mut bytes = 3u64.to_le_bytes().to_vec();
        bytes.extend_from_slice(top.as_bytes());
        assert_eq!(
            root([a, b, c].into_iter()),
            codec::digest("agon 2026-11 state root", &bytes)
        );
    }
}

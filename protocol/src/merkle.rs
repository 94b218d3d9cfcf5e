//! Binary Merkle trees: one digest for a list, and a short proof that a leaf is at its place in it.
//!
//! Leaves are digests in a domain of the caller's own. A node is the digest of its two children; a node without a
//! sibling moves up as it is. The root covers the number of leaves, so that no list passes for a longer or shorter
//! one and a node never for a leaf (compare RFC 9162, which tells the two apart by a prefix).

use crate::codec;
use crate::id::Digest;

const NODE_CONTEXT: &str = "agon 2026-11 merkle node";
const ROOT_CONTEXT: &str = "agon 2026-11 merkle root";

/// Most digests of a path: no list has more than 2^32 leaves.
pub const PATH_MAX: usize = 32;

/// The root over `leaves`, in their order.
#[must_use]
pub fn root(leaves: &[Digest]) -> Digest {
    let mut level = leaves.to_vec();
    while level.len() > 1 {
        level = parents(&level);
    }
    seal(leaves.len() as u64, level.first())
}

/// The siblings of the leaf at `index`, from the bottom up; `None` when there is no such leaf.
#[must_use]
pub fn path(leaves: &[Digest], index: usize) -> Option<Vec<Digest>> {
    leaves.get(index)?;
    let (mut level, mut place, mut siblings) = (leaves.to_vec(), index, Vec::new());
    while level.len() > 1 {
        siblings.extend(level.get(place ^ 1).copied());
        level = parents(&level);
        place /= 2;
    }
    Some(siblings)
}

/// The root of a list of `count` leaves with `leaf` at `index`, if `path` leads there; `None` when it has the wrong
/// length for that place.
#[must_use]
pub fn root_of(count: u64, index: u64, leaf: Digest, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    let (mut width, mut place, mut node) = (count, index, leaf);
    let mut siblings = path.iter();
    while width > 1 {
        let sibling_exists = place % 2 == 1 || place.saturating_add(1) < width;
        if sibling_exists {
            let sibling = siblings.next()?;
            node = if place % 2 == 1 {
                parent(sibling, &node)
            } else {
                parent(&node, sibling)
            };
        }
        width = width.div_ceil(2);
        place /= 2;
    }
    siblings.next().is_none().then(|| seal(count, Some(&node)))
}

fn parents(level: &[Digest]) -> Vec<Digest> {
    level
        .chunks(2)
        .map(|pair| match pair {
            [left, right] => parent(left, right),
            _ => pair[0],
        })
        .collect()
}

fn parent(left: &Digest, right: &Digest) -> Digest {
    codec::digest(NODE_CONTEXT, &[left.0, right.0].concat())
}

fn seal(count: u64, top: Option<&Digest>) -> Digest {
    let mut bytes = count.to_le_bytes().to_vec();
    bytes.extend(top.map(|top| top.0).unwrap_or_default());
    codec::digest(ROOT_CONTEXT, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(count: u8) -> Vec<Digest> {
        (0..count).map(|index| Digest([index; 32])).collect()
    }

    #[test]
    fn every_leaf_of_every_small_list_is_proven_at_its_place_and_at_no_other() {
        for count in 1..=17u8 {
            let leaves = leaves(count);
            let root = root(&leaves);
            for index in 0..count {
                let path = path(&leaves, usize::from(index)).unwrap();
                for place in 0..count {
                    let found = root_of(count.into(), place.into(), Digest([index; 32]), &path);
                    assert_eq!(
                        found == Some(root),
                        place == index,
                        "{index} at {place} of {count}"
                    );
                }
                assert_ne!(
                    root_of(u64::from(count) + 1, index.into(), Digest([index; 32]), &path),
                    Some(root)
                );
            }
        }
    }

    #[test]
    fn a_path_that_is_too_long_too_short_or_changed_leads_elsewhere() {
        let leaves = leaves(9);
        let root = root(&leaves);
        let path = path(&leaves, 3).unwrap();
        let check = |path: &[Digest]| root_of(9, 3, Digest([3; 32]), path) == Some(root);
        assert!(check(&path));
        assert!(!check(&path[1..]));
        assert!(!check(&[path.clone(), vec![Digest([0; 32])]].concat()));
        for place in 0..path.len() {
            let mut changed = path.clone();
            changed[place].0[7] ^= 1;
            assert!(!check(&changed));
        }
    }

    #[test]
    fn lists_of_other_lengths_have_other_roots_and_there_is_no_leaf_beyond_the_end() {
        let roots: std::collections::BTreeSet<Digest> = (0..40).map(|count| root(&leaves(count))).collect();
        assert_eq!(roots.len(), 40);
        assert_eq!(path(&leaves(3), 3), None);
        assert_eq!(root_of(3, 3, Digest([3; 32]), &[]), None);
        assert_eq!(root_of(0, 0, Digest([0; 32]), &[]), None);
    }
}

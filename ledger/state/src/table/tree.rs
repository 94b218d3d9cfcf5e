//! A sorted map of bytes that knows its root, is cheap to copy, and proves what it holds.
//!
//! The tree is the one that [`agon_protocol::proof`] specifies, kept in memory: leaves are the entries, inner nodes
//! stand for the first bit in which those below them differ. Its shape follows from the keys alone, so it is the
//! same whatever came and went before. The paths are ordered as the keys are, so that the tree is the sorted map
//! as well, and there is no second one beside it.
//!
//! - A copy shares all nodes with the original. Writing one entry makes anew the nodes above it which are shared,
//!   and changes those in place that are not.
//! - A node's digest is computed when a root or a proof is asked for and kept until something below it changes, so
//!   a block costs hashes for the entries it changed and for the nodes above them, whatever it changed how often.
//! - Inner nodes are never stored: a store keeps the entries, and the tree is made anew from them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use agon_protocol::id::Digest;
use agon_protocol::proof::{
    End, Entry, Query, StateProof, Step, first_difference, inner_digest, leaf_digest, path_bit, root_digest,
    value_digest,
};

/// Sorted entries of bytes with a root.
#[derive(Clone, Default)]
pub struct Tree {
    top: Option<Arc<Node>>,
    count: u64,
}

#[derive(Clone)]
enum Node {
    Leaf(Leaf),
    Inner(Inner),
}

#[derive(Clone)]
struct Leaf {
    key: Arc<[u8]>,
    value: Arc<[u8]>,
    digest: OnceLock<Digest>,
}

#[derive(Clone)]
struct Inner {
    bit: u16,
    left: Arc<Node>,
    right: Arc<Node>,
    digest: OnceLock<Digest>,
}

impl Inner {
    /// The child on the side of `key`, to be changed: what is known of this node is forgotten.
    fn child_mut(&mut self, key: &[u8]) -> &mut Arc<Node> {
        self.digest = OnceLock::new();
        match path_bit(key, self.bit) {
            false => &mut self.left,
            true => &mut self.right,
        }
    }

    /// The child on the side of `key`, and the other one.
    fn children(&self, key: &[u8]) -> (&Arc<Node>, &Arc<Node>) {
        match path_bit(key, self.bit) {
            false => (&self.left, &self.right),
            true => (&self.right, &self.left),
        }
    }
}

impl Node {
    /// The leaf where a search for `key` ends, whether or not it has that key.
    fn nearest(&self, key: &[u8]) -> &Leaf {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf,
                Self::Inner(inner) => node = inner.children(key).0,
            }
        }
    }

    fn first(&self) -> &Leaf {
        let mut node = self;
        loop {
            match node {
                Self::Leaf(leaf) => return leaf,
                Self::Inner(inner) => node = &inner.left,
            }
        }
    }

    /// The inner node, if it asks for one of the first `bits` bits.
    fn above(&self, bits: usize) -> Option<&Inner> {
        match self {
            Self::Inner(inner) if usize::from(inner.bit) < bits => Some(inner),
            _ => None,
        }
    }

    /// As deep as keys have bits at most.
    fn digest(&self) -> Digest {
        match self {
            Self::Leaf(leaf) => *leaf
                .digest
                .get_or_init(|| leaf_digest(&leaf.key, &value_digest(&leaf.value))),
            Self::Inner(inner) => *inner
                .digest
                .get_or_init(|| inner_digest(inner.bit, &inner.left.digest(), &inner.right.digest())),
        }
    }
}

impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Leaf(a), Self::Leaf(b)) => a.key == b.key && a.value == b.value,
            (Self::Inner(a), Self::Inner(b)) => {
                let same = |a: &Arc<Self>, b: &Arc<Self>| Arc::ptr_eq(a, b) || a == b;
                a.bit == b.bit && same(&a.left, &b.left) && same(&a.right, &b.right)
            }
            _ => false,
        }
    }
}

impl PartialEq for Tree {
    /// Trees are equal when their entries are, since those give the shape.
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.top == other.top
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tree({} entries)", self.count)
    }
}

impl Tree {
    /// How many entries there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Arc<[u8]>> {
        let leaf = self.top.as_ref()?.nearest(key);
        (*leaf.key == *key).then_some(&leaf.value)
    }

    /// Gives `key` a value; `false` when it had one, which is replaced.
    pub fn insert(&mut self, key: Arc<[u8]>, value: Arc<[u8]>) -> bool {
        let leaf = |key, value| {
            let digest = OnceLock::new();
            Arc::new(Node::Leaf(Leaf { key, value, digest }))
        };
        let Some(top) = &mut self.top else {
            self.top = Some(leaf(key, value));
            self.count = 1;
            return true;
        };
        let Some(bit) = first_difference(&top.nearest(&key).key, &key) else {
            let place = place_mut(top, &key, usize::MAX);
            *place = leaf(key, value);
            return false;
        };
        let place = place_mut(top, &key, usize::from(bit));
        let (below, new) = (Arc::clone(place), leaf(Arc::clone(&key), value));
        let (left, right) = match path_bit(&key, bit) {
            false => (new, below),
            true => (below, new),
        };
        let digest = OnceLock::new();
        *place = Arc::new(Node::Inner(Inner {
            bit,
            left,
            right,
            digest,
        }));
        self.count = self.count.saturating_add(1);
        true
    }

    /// Removes `key`; gives it back if it was there.
    pub fn remove(&mut self, key: &[u8]) -> Option<Arc<[u8]>> {
        let top = self.top.as_mut()?;
        let leaf = top.nearest(key);
        if *leaf.key != *key {
            return None;
        }
        let removed = Arc::clone(&leaf.key);
        self.count = self.count.saturating_sub(1);
        if matches!(**top, Node::Leaf(_)) {
            self.top = None;
            return Some(removed);
        }
        let place = parent_mut(top, key);
        if let Node::Inner(inner) = &**place {
            // The only other way from here takes the place of both.
            *place = Arc::clone(inner.children(key).1);
        }
        Some(removed)
    }

    /// Every entry, in key order.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<[u8]>, &Arc<[u8]>)> {
        leaves(self.top.as_deref()).map(|leaf| (&leaf.key, &leaf.value))
    }

    /// Entries whose keys start with `prefix`, in key order.
    pub fn scan<'a>(
        &'a self,
        prefix: &[u8],
    ) -> impl Iterator<Item = (&'a Arc<[u8]>, &'a Arc<[u8]>)> + use<'a> {
        leaves(self.below(prefix)).map(|leaf| (&leaf.key, &leaf.value))
    }

    /// Keys that start with `prefix` and have an entry in only one of the two trees, or another in each.
    ///
    /// What both trees share is not looked at, so between a tree and its changed copy this costs what was changed.
    #[must_use]
    pub fn differing<'a>(&'a self, other: &'a Self, prefix: &[u8]) -> Vec<&'a Arc<[u8]>> {
        let mut keys = Vec::new();
        let mut open = vec![(self.below(prefix), other.below(prefix))];
        while let Some((a, b)) = open.pop() {
            match (a, b) {
                (Some(a), Some(b)) => differ(a, b, &mut open, &mut keys),
                (one, none) => keys.extend(leaves(one.or(none)).map(|leaf| &leaf.key)),
            }
        }
        keys
    }

    /// The node below which all keys are that start with `prefix`.
    fn below(&self, prefix: &[u8]) -> Option<&Node> {
        let query = Query::Prefix(prefix);
        let below = self.top.as_deref().map(|top| walk(top, query, |_, _| {}));
        below.filter(|node| query.is_met_by(&node.first().key))
    }

    /// Entries whose keys are `key` or come after it, in key order.
    pub fn scan_from<'a>(
        &'a self,
        key: &[u8],
    ) -> impl Iterator<Item = (&'a Arc<[u8]>, &'a Arc<[u8]>)> + use<'a> {
        let open = self.top.as_deref().map(|top| not_before(top, key));
        leaves_of(open.unwrap_or_default()).map(|leaf| (&leaf.key, &leaf.value))
    }

    /// Root over all entries, as [`agon_protocol::proof`] has it.
    ///
    /// Costs hashes for what changed since it was last asked for, and nothing when nothing did.
    #[must_use]
    pub fn root(&self) -> Digest {
        let top = self.top.as_ref().map(|top| top.digest()).unwrap_or_default();
        root_digest(self.count, &top)
    }

    /// Shows what this tree has of what is asked for, or that it has nothing of it.
    #[must_use]
    pub fn prove(&self, query: Query<'_>) -> StateProof {
        let entry_count = self.count;
        let mut steps = Vec::new();
        let mut note = |inner: &Inner, other: &Node| {
            let (bit, other) = (inner.bit, other.digest());
            steps.push(Step { bit, other });
        };
        let end = match self.top.as_deref() {
            None => End::Nothing,
            Some(top) => {
                let mut node = walk(top, query, &mut note);
                if query.is_met_by(&node.first().key) {
                    End::Found(leaves(Some(node)).map(entry).collect())
                } else {
                    while let Node::Inner(inner) = node {
                        note(inner, &inner.right);
                        node = &inner.left;
                    }
                    let Leaf { key, value, .. } = node.first();
                    End::Other {
                        key: key.to_vec(),
                        value: value_digest(value),
                    }
                }
            }
        };
        StateProof {
            entry_count,
            steps,
            end,
        }
    }
}

/// Goes down from `node` as `query` leads, to the node below which all it asks for would be; tells each inner node
/// on the way and the child that is not taken.
fn walk<'a>(mut node: &'a Node, query: Query<'_>, mut note: impl FnMut(&Inner, &Node)) -> &'a Node {
    while let Some(inner) = node.above(query.bits()) {
        let (next, other) = inner.children(query.bytes());
        note(inner, other);
        node = next;
    }
    node
}

/// The place of the first node on the way of `key` that does not ask for one of the first `bits` bits. All above it
/// may be changed.
fn place_mut<'a>(top: &'a mut Arc<Node>, key: &[u8], bits: usize) -> &'a mut Arc<Node> {
    let mut place = top;
    while place.above(bits).is_some() {
        let Node::Inner(inner) = Arc::make_mut(place) else {
            unreachable!("only inner nodes are above anything")
        };
        place = inner.child_mut(key);
    }
    place
}

/// The place of the inner node right above the leaf of `key`, which is there. `top` is not a leaf.
fn parent_mut<'a>(top: &'a mut Arc<Node>, key: &[u8]) -> &'a mut Arc<Node> {
    let is_parent = |node: &Node| match node {
        Node::Inner(inner) => matches!(**inner.children(key).0, Node::Leaf(_)),
        Node::Leaf(_) => true,
    };
    let mut place = top;
    while !is_parent(place) {
        let Node::Inner(inner) = Arc::make_mut(place) else {
            unreachable!("a leaf ends the search")
        };
        place = inner.child_mut(key);
    }
    place
}

/// Two nodes of two trees that are asked for what differs below them.
type Pair<'a> = (Option<&'a Node>, Option<&'a Node>);

/// Compares two nodes: what may differ below them goes to `open`, keys of which it is known to `keys`.
///
/// A node that asks for an earlier bit than the other has all keys of the other on one side, whatever the other's keys
/// are; two that ask for the same bit have them on the same sides. So no key is ever looked for on a wrong side.
fn differ<'a>(a: &'a Node, b: &'a Node, open: &mut Vec<Pair<'a>>, keys: &mut Vec<&'a Arc<[u8]>>) {
    if std::ptr::eq(a, b) {
        return;
    }
    match (a, b) {
        (Node::Leaf(a), Node::Leaf(b)) if a.key == b.key => {
            keys.extend((a.value != b.value).then_some(&a.key))
        }
        (Node::Leaf(a), Node::Leaf(b)) => keys.extend([&a.key, &b.key]),
        (Node::Inner(x), Node::Inner(y)) if x.bit == y.bit => {
            open.push((Some(&x.left), Some(&y.left)));
            open.push((Some(&x.right), Some(&y.right)));
        }
        (Node::Inner(x), _) if b.above(usize::from(x.bit)).is_none() => {
            let (same, other) = x.children(&b.first().key);
            open.push((Some(same), Some(b)));
            open.push((Some(other), None));
        }
        (_, Node::Inner(y)) => {
            let (same, other) = y.children(&a.first().key);
            open.push((Some(a), Some(same)));
            open.push((None, Some(other)));
        }
        (Node::Inner(_), Node::Leaf(_)) => unreachable!("a leaf is above nothing"),
    }
}

/// The nodes below which the keys from `key` on are, the last ones first.
fn not_before<'a>(top: &'a Node, key: &[u8]) -> Vec<&'a Node> {
    let difference = first_difference(&top.nearest(key).key, key);
    let bits = difference.map_or(usize::MAX, usize::from);
    let (mut node, mut open) = (top, Vec::new());
    while let Some(inner) = node.above(bits) {
        if !path_bit(key, inner.bit) {
            open.push(&*inner.right);
        }
        node = inner.children(key).0;
    }
    // All below begin as the key does and differ from it in the same bit.
    if difference.is_none_or(|bit| !path_bit(key, bit)) {
        open.push(node);
    }
    open
}

fn leaves(top: Option<&Node>) -> impl Iterator<Item = &Leaf> {
    leaves_of(top.into_iter().collect())
}

/// All leaves below the nodes, those of the last node first.
fn leaves_of(mut open: Vec<&Node>) -> impl Iterator<Item = &Leaf> {
    std::iter::from_fn(move || {
        loop {
            match open.pop()? {
                Node::Leaf(leaf) => return Some(leaf),
                Node::Inner(inner) => open.extend([&*inner.right, &*inner.left]),
            }
        }
    })
}

fn entry(leaf: &Leaf) -> Entry {
    Entry {
        key: leaf.key.to_vec(),
        value: leaf.value.to_vec(),
    }
}

#[cfg(test)]
mod tests;

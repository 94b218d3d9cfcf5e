//! Snapshots there and back, and what is wrong with those that are refused.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use agon_ledger_replay::audit::{Terms, audit};
use agon_protocol::message::FinalBlock;
use agon_runtime::files;

use super::export::{ExportFolderError, Wanted, export};
use super::import::{ImportError, import};
use super::*;
use crate::archive::{Archive, Recent};
use crate::chain::{Chain, Ledger};
use crate::fixture::{genesis, transfer};
use crate::open;
use crate::verify::verify;

/// A ledger in a folder, as long as it is open.
struct Node {
    folder: Folder,
    chain: Chain,
    _lock: files::DirLock,
}

impl Node {
    /// A new ledger of so many blocks, each with a transfer.
    fn begin(dir: &Path, blocks: u64) -> Self {
        Folder::new(dir).begin(&genesis()).unwrap();
        let mut node = Self::open(dir);
        node.go_on(blocks);
        node
    }

    fn open(dir: &Path) -> Self {
        let folder = Folder::new(dir);
        let lock = files::lock_dir(dir).unwrap();
        let chain = open::open(&folder, &folder.read_genesis().unwrap()).unwrap();
        Self {
            folder,
            chain,
            _lock: lock,
        }
    }

    fn go_on(&mut self, blocks: u64) {
        for _ in 0..blocks {
            let height = self.chain.head().height.0;
            let proposal = self
                .chain
                .propose(vec![transfer(1, height, 2, 1)], 2_000 + height);
            assert_eq!(proposal.refused, []);
            self.chain.commit(FinalBlock::solo(proposal.block)).unwrap();
        }
    }

    fn head(&self) -> Head {
        self.chain.head()
    }

    fn archive(&self) -> Archive {
        let recent = std::sync::Arc::new(Mutex::new(Recent::default()));
        Archive::new(&genesis(), self.chain.blocks(), self.chain.store(), recent).unwrap()
    }

    fn export(&self, wanted: &Wanted, name: &str) -> PathBuf {
        let path = self.folder.dir().with_file_name(name);
        export(&self.folder, wanted, &path, &mut unwatched).unwrap();
        path
    }
}

/// Names of what is in a folder.
fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn import_into(file: &Path, dir: &Path, trust: Option<Digest>) -> Result<import::Imported, ImportError> {
    import(file, dir, trust, &mut unwatched)
}

/// An original of 5 blocks, and a ledger that was imported from its state of block 3.
struct Pair {
    _home: tempfile::TempDir,
    original: Node,
    copy: Node,
}

impl Pair {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut original = Node::begin(&home.path().join("original"), 3);
        let head = original.head();
        let file = original.export(&Wanted::Newest, "file");
        original.go_on(2);
        let dir = home.path().join("copy");
        let imported = import_into(&file, &dir, Some(head.hash)).unwrap();
        assert_eq!((imported.head, imported.power), (head, None));
        assert_eq!(names(home.path()), ["copy", "file", "original"]);
        let copy = Node::open(&dir);
        assert_eq!(copy.head(), head);
        Self {
            _home: home,
            original,
            copy,
        }
    }
}

#[test]
fn an_imported_ledger_goes_on_to_the_roots_of_the_original() {
    let Pair {
        original,
        mut copy,
        _home,
    } = Pair::new();
    for height in 4..=5 {
        let block = original.chain.decided(BlockNumber(height)).unwrap().unwrap();
        copy.chain.commit(block).unwrap();
    }
    assert_eq!(copy.head(), original.head());
    assert_eq!(copy.chain.state().root(), original.chain.state().root());
    let dir = copy.folder.dir().to_owned();
    drop(copy);
    let report = verify(&Folder::new(&dir)).unwrap();
    assert_eq!(
        (report.base_height, report.height, report.transactions),
        (3, 5, 2)
    );
    assert_eq!(Node::open(&dir).head(), original.head());
}

#[test]
fn a_ledger_with_a_snapshot_rebuilds_a_damaged_store() {
    let Pair { mut copy, _home, .. } = Pair::new();
    copy.go_on(3);
    let (head, folder) = (copy.head(), copy.folder.clone());
    drop(copy);
    let state = folder.state();
    for file in fs::read_dir(&state).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            fs::write(path, b"damaged").unwrap();
        }
    }
    assert_eq!(Node::open(folder.dir()).head(), head);
    fs::remove_dir_all(&state).unwrap();
    assert_eq!(Node::open(folder.dir()).head(), head);
    assert_eq!(verify(&folder).unwrap().height, head.height.0);
}

#[test]
fn what_was_before_the_snapshot_is_told_to_be_gone() {
    let Pair { mut copy, _home, .. } = Pair::new();
    copy.go_on(1);
    let mut archive = copy.archive();
    for height in 0..=3 {
        let error = archive.block(BlockNumber(height)).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "block {height} is not kept: this node began from a snapshot, and its blocks begin at 4; ask a node \
                 that keeps older ones"
            )
        );
    }
    assert!(archive.block(BlockNumber(4)).is_ok());
    assert!(archive.event(BlockNumber(3)).is_err());
    for (height, is_kept) in [(2, false), (3, true), (4, true), (5, false)] {
        let made = archive.snapshot(Some(BlockNumber(height)));
        assert_eq!(made.is_ok(), is_kept, "{height}: {:?}", made.err());
    }
}

#[test]
fn a_snapshot_of_a_snapshot_is_the_same_file() {
    let Pair {
        original,
        copy,
        _home,
    } = Pair::new();
    let of_original = original.export(&Wanted::State(BlockNumber(3)), "a");
    let of_copy = copy.export(&Wanted::Newest, "b");
    assert_eq!(fs::read(&of_original).unwrap(), fs::read(&of_copy).unwrap());
    let served = original.archive().snapshot(Some(BlockNumber(3))).unwrap();
    assert_eq!(served.read(0, u64::MAX).unwrap(), fs::read(of_copy).unwrap());
    assert_eq!(served.read(served.bytes, 10).unwrap(), b"");
}

#[test]
fn an_export_is_taken_from_a_running_node() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 2);
    let file = node.export(&Wanted::Newest, "file");
    assert!(file.exists(), "the folder was in use");
}

#[test]
fn heights_that_are_not_there_are_refused_without_a_file() {
    let Pair { copy, _home, .. } = Pair::new();
    let refuse = |wanted: Wanted| {
        let path = copy.folder.dir().with_file_name("none");
        let error = export(&copy.folder, &wanted, &path, &mut unwatched).unwrap_err();
        assert!(!path.exists());
        error
    };
    let error = refuse(Wanted::State(BlockNumber(2)));
    assert!(matches!(error, ExportFolderError::NotKept { .. }), "{error}");
    let error = refuse(Wanted::Blocks(3..=3));
    assert!(matches!(error, ExportFolderError::NotKept { .. }), "{error}");
    let error = refuse(Wanted::State(BlockNumber(9)));
    assert_eq!(error.to_string(), "there is no block 9: the newest is 3");
    let error = refuse(Wanted::Blocks(0..=3));
    assert!(matches!(error, ExportFolderError::Range { .. }), "{error}");
    assert_eq!(
        names(copy.folder.dir().parent().unwrap()),
        ["copy", "file", "original"]
    );
}

#[test]
fn exported_blocks_pass_an_audit_wherever_they_begin() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 4);
    for (first, last) in [(1, 4), (2, 3), (4, 4)] {
        let path = node.export(&Wanted::Blocks(first..=last), &format!("{first}"));
        let report = audit(&path, &Terms::default(), &mut unwatched).unwrap();
        assert_eq!((report.equal, report.end.height), (true, last));
        assert!(report.entries_compared.is_some());
    }
}

/// An import of a good file changed by `change` fails as `expected` says, and leaves nothing behind.
#[track_caller]
fn check_refused(
    change: impl FnOnce(&mut Vec<u8>),
    trust: impl FnOnce(&Node) -> Option<Digest>,
    expected: &str,
) {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 3);
    let file = node.export(&Wanted::Newest, "file");
    let mut bytes = fs::read(&file).unwrap();
    change(&mut bytes);
    fs::write(&file, bytes).unwrap();
    let error = import_into(&file, &home.path().join("new"), trust(&node)).unwrap_err();
    let text = agon_runtime::flags::sentence(&error);
    assert!(text.contains(expected), "{text}");
    assert_eq!(names(home.path()), ["file", "node"]);
}

#[test]
fn a_damaged_snapshot_is_refused_and_leaves_nothing_behind() {
    let hash = |node: &Node| Some(node.head().hash);
    let middle = |bytes: &mut Vec<u8>| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    };
    check_refused(|bytes| bytes[0] ^= 1, hash, "is not a log of this program");
    check_refused(|bytes| bytes[40] ^= 1, hash, "is damaged at byte 12");
    check_refused(middle, hash, "is damaged at byte");
    check_refused(
        |bytes| {
            let at = bytes.len() - 8;
            bytes[at] ^= 1;
        },
        hash,
        "ends too early",
    );
    check_refused(|bytes| bytes.truncate(bytes.len() - 100), hash, "ends too early");
    check_refused(|bytes| bytes.extend([0; 8]), hash, "8 bytes behind its end");
    check_refused(Vec::clear, hash, "ends too early");
}

#[test]
fn a_snapshot_that_nobody_vouches_for_is_refused() {
    check_refused(|_| {}, |_| None, "give --trust HASH, the hash of block 3");
    check_refused(|_| {}, |_| Some(Digest([7; 32])), "which is not the trusted 0707");
    // The block before vouches only where a committee signed for what follows it.
    let parent = |node: &Node| {
        let block = node.chain.decided(BlockNumber(2)).unwrap().unwrap();
        Some(block.block.hash())
    };
    check_refused(|_| {}, parent, "which is not the trusted");
}

#[test]
fn an_export_with_blocks_is_no_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 3);
    let file = node.export(&Wanted::Blocks(1..=3), "file");
    let begin = Some(genesis().digest());
    let error = import_into(&file, &home.path().join("new"), begin).unwrap_err();
    assert!(matches!(error, ImportError::NotASnapshot { .. }), "{error}");
    assert_eq!(names(home.path()), ["file", "node"]);
}

#[test]
fn an_interrupted_import_leaves_nothing_behind() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 1);
    let file = node.export(&Wanted::Newest, "file");
    let stop = &mut |_| Err(agon_ledger_replay::export::Interrupted);
    let error = import(&file, &home.path().join("new"), Some(node.head().hash), stop).unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    assert_eq!(names(home.path()), ["file", "node"]);
}

#[test]
fn what_a_killed_import_left_is_cleared_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 1);
    let file = node.export(&Wanted::Newest, "file");
    let left = home.path().join(".new.import");
    fs::create_dir(&left).unwrap();
    fs::write(left.join("snapshot.bin"), b"half").unwrap();
    import_into(&file, &home.path().join("new"), Some(node.head().hash)).unwrap();
    assert_eq!(names(home.path()), ["file", "new", "node"]);
    assert_eq!(
        names(&home.path().join("new")),
        ["genesis.bin", "genesis.json", "lock", "snapshot.bin"]
    );
}

#[test]
fn a_folder_with_keys_takes_an_import_and_one_with_a_ledger_does_not() {
    let home = tempfile::tempdir().unwrap();
    let node = Node::begin(&home.path().join("node"), 2);
    let (file, hash) = (node.export(&Wanted::Newest, "file"), Some(node.head().hash));
    let dir = home.path().join("new");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("consensus.key"), b"secret").unwrap();
    import_into(&file, &dir, hash).unwrap();
    assert_eq!(fs::read(dir.join("consensus.key")).unwrap(), b"secret");
    assert_eq!(Node::open(&dir).head(), node.head());
    let error = import_into(&file, &dir, hash).unwrap_err();
    assert!(matches!(error, ImportError::Exists { .. }), "{error}");
    let error = import_into(&file, node.folder.dir(), hash).unwrap_err();
    assert!(matches!(error, ImportError::Exists { .. }), "{error}");
}

#[test]
fn a_snapshot_of_another_ledger_beside_the_log_is_refused() {
    let Pair { copy, _home, .. } = Pair::new();
    let folder = copy.folder.clone();
    drop(copy);
    let other = agon_protocol::message::Genesis {
        name: String::from("other"),
        ..genesis()
    };
    folder.write_genesis(&other).unwrap();
    let error = open::open(&folder, &other).unwrap_err();
    let text = agon_runtime::flags::sentence(&error);
    assert!(text.contains("the genesis beside it is"), "{text}");
}

#[test]
fn a_compacted_store_holds_the_same_state() {
    let Pair { mut copy, _home, .. } = Pair::new();
    copy.go_on(5);
    let (head, folder) = (copy.head(), copy.folder.clone());
    drop(copy);
    for _ in 0..2 {
        let compacted = compact::compact(&folder).unwrap();
        assert_eq!(compacted.height, head.height);
        assert!(compacted.bytes_now > 0 && compacted.bytes_before > 0);
    }
    assert_eq!(verify(&folder).unwrap().stored_height, Some(head.height.0));
    assert_eq!(Node::open(folder.dir()).head(), head);
    assert!(!names(folder.dir()).contains(&String::from("state.new")));
}

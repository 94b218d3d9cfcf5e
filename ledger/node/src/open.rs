//! From a folder to a chain: what is there is checked, what is derived is built anew where it has to be.
//!
//! The block log is the truth and the state store a cache of it. A store that sled cannot open, whose checksums are
//! wrong or that does not agree with the log is set aside; it is tried once more without sled's snapshot, which is
//! only an accelerator over sled's own log, and else built by replay of every block, on the genesis or on the
//! ledger's own snapshot. A log that is ahead of the
//! store, as after a crash between the two writes, is applied. A log that ends before the store does has lost
//! blocks that were acknowledged: that is an error, which says what to do, and nothing is touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use agon_ledger_replay::follow::{Head, Position, Reject};
use agon_ledger_state::{Begun, GenesisError, LoadError, State};
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Committee, FinalBlock, Genesis};
use agon_runtime::files;
use agon_runtime::flags::sentence;
use thiserror::Error;
use tracing::{info, warn};

use crate::blocks::{Blocks, BlocksError};
use crate::chain::Chain;
use crate::folder::Folder;
use crate::snapshot::{Base, BaseError};
use crate::store::{SledStore, Store, StoreError};

/// sled's snapshot files, which it makes anew from its log.
const SNAPSHOT_PREFIX: &str = "snap.";

/// Why a ledger cannot be opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// No state follows from the genesis.
    #[error("the genesis is not valid")]
    Genesis(#[from] GenesisError),
    /// The block log cannot be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The snapshot that the blocks begin from cannot be read.
    #[error("read the snapshot that the blocks begin from: restore it from a copy")]
    Snapshot(#[from] BaseError),
    /// A block of the log does not follow from those before it.
    #[error("{} does not hold the blocks of this ledger: restore it from a copy", path.display())]
    Reject {
        /// The log.
        path: PathBuf,
        /// Which block, and why.
        source: Reject,
    },
    /// The log ends before the state.
    #[error(
        "{} ends at block {blocks_height}, but the state of block {state_height} was stored: blocks were lost. {}",
        path.display(),
        way_out(state, *has_committee)
    )]
    BlocksLost {
        /// The log.
        path: PathBuf,
        /// Its newest block.
        blocks_height: BlockNumber,
        /// The folder of the stored state.
        state: PathBuf,
        /// The block of the stored state.
        state_height: BlockNumber,
        /// Whether other nodes have the blocks.
        has_committee: bool,
    },
    /// A freshly built store failed.
    #[error("store the state in {}", path.display())]
    Store {
        /// Its folder.
        path: PathBuf,
        /// What failed.
        source: StoreError,
    },
    /// A damaged store could not be moved out of the way.
    #[error("set {} aside", path.display())]
    Aside {
        /// Its folder.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
}

/// What an operator does about lost blocks.
fn way_out(state: &Path, has_committee: bool) -> String {
    if has_committee {
        format!(
            "The other nodes of the committee have them: remove the folder {} and start the node again, and it \
             fetches them",
            state.display()
        )
    } else {
        format!(
            "No other node has them: restore the file from a copy that does. Where there is none, they are gone, and \
             the ledger goes on without them once the folder {} is removed",
            state.display()
        )
    }
}

/// Why a store is of no use.
#[derive(Debug, Error)]
pub(crate) enum Useless {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("its entries are no state")]
    Entries(#[from] LoadError),
    #[error("its entries have root {found}, its head record says {expected}")]
    Root { found: Digest, expected: Digest },
    #[error("it is of another ledger or another history: block {height} is {expected}, not {found}")]
    History {
        height: BlockNumber,
        found: Digest,
        expected: Digest,
    },
}

/// Opens the ledger of `genesis` in `folder`, which the caller has locked.
///
/// # Errors
///
/// [`OpenError`]; what is damaged and cannot be derived stays as it is.
pub fn open(folder: &Folder, genesis: &Genesis) -> Result<Chain, OpenError> {
    let base = Base::read(folder, genesis)?;
    let blocks = Arc::new(Blocks::open(&folder.blocks(), base)?);
    let (store, loaded) = match usable_store(folder, genesis, &blocks)? {
        Some(usable) => usable,
        None => rebuild(folder, genesis, &blocks)?,
    };
    catch_up(folder, loaded, blocks, store)
}

/// Opens a ledger that is kept in memory.
pub(crate) fn open_in_memory(
    genesis: &Genesis,
    blocks: Arc<Blocks>,
    store: Arc<dyn Store>,
) -> Result<Chain, OpenError> {
    let memory = Folder::new("memory");
    let loaded = match load(&*store) {
        Ok(Some(loaded)) => loaded,
        Ok(None) | Err(_) => fill(&memory, genesis, &blocks, &*store)?,
    };
    catch_up(&memory, loaded, blocks, store)
}

type Usable = (Arc<dyn Store>, Position);

/// The store, if it can be read and agrees with the blocks; else it has been set aside.
fn usable_store(folder: &Folder, genesis: &Genesis, blocks: &Blocks) -> Result<Option<Usable>, OpenError> {
    if !folder.state().exists() {
        return Ok(None);
    }
    for make_way in [set_snapshots_aside, set_rest_aside] {
        match try_store(&folder.state(), genesis, blocks) {
            Ok(Some((_, Position { head, state }))) if head.height > blocks.height() => {
                return Err(OpenError::BlocksLost {
                    path: folder.blocks(),
                    blocks_height: blocks.height(),
                    state: folder.state(),
                    state_height: head.height,
                    has_committee: !state.committee().is_empty(),
                });
            }
            Ok(Some(usable)) => return Ok(Some(usable)),
            Ok(None) => warn!("the state store was never filled"),
            Err(error) => warn!(reason = sentence(&error), "the state store is of no use"),
        }
        make_way(folder).map_err(|source| OpenError::Aside {
            path: folder.state(),
            source,
        })?;
    }
    Ok(None)
}

fn try_store(dir: &Path, genesis: &Genesis, blocks: &Blocks) -> Result<Option<Usable>, Useless> {
    let store: Arc<dyn Store> = Arc::new(SledStore::open(dir)?);
    let Some(loaded) = load(&*store)? else {
        return Ok(None);
    };
    check_history(&loaded.head, genesis, blocks)?;
    Ok(Some((store, loaded)))
}

/// What a store holds, if its head record, its entries and their root agree.
pub(crate) fn load(store: &dyn Store) -> Result<Option<Position>, Useless> {
    let Some(head) = store.head()? else {
        return Ok(None);
    };
    let state = State::from_entries(store.entries()?)?;
    let found = state.root();
    if found != head.state_root {
        return Err(Useless::Root {
            found,
            expected: head.state_root,
        });
    }
    Ok(Some(Position { head, state }))
}

/// Whether `head` is a block of this ledger; one beyond its newest block is for the caller to judge.
fn check_history(head: &Head, genesis: &Genesis, blocks: &Blocks) -> Result<(), Useless> {
    let height = head.height;
    let base = blocks.base();
    let expected = match blocks.read(height) {
        Ok(Some(block)) => block.block.hash(),
        Ok(None) if height <= base.height() => base.hash(genesis),
        // A block that cannot be read is told by the replay, which needs it.
        Ok(None) | Err(_) => return Ok(()),
    };
    if head.hash == expected {
        return Ok(());
    }
    Err(Useless::History {
        height,
        found: head.hash,
        expected,
    })
}

/// Moves sled's snapshot files out of the store, so that sled reads its own log instead.
fn set_snapshots_aside(folder: &Folder) -> io::Result<()> {
    let aside = folder.state_aside();
    if aside.exists() {
        fs::remove_dir_all(&aside)?;
    }
    fs::create_dir(&aside)?;
    for entry in fs::read_dir(folder.state())? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(SNAPSHOT_PREFIX) {
            fs::rename(entry.path(), aside.join(entry.file_name()))?;
        }
    }
    Ok(())
}

/// Moves what is left of the store out of the way.
fn set_rest_aside(folder: &Folder) -> io::Result<()> {
    fs::rename(folder.state(), folder.state_aside().join("state"))?;
    files::sync_dir_of(&folder.state())
}

/// Builds a store in the new folder `dir` by replay of every block; gives the block whose state it holds.
///
/// # Errors
///
/// [`OpenError`].
pub(crate) fn build(
    folder: &Folder,
    genesis: &Genesis,
    blocks: &Blocks,
    dir: &Path,
) -> Result<BlockNumber, OpenError> {
    let store = SledStore::open(dir).map_err(|source| OpenError::Store {
        path: dir.to_owned(),
        source,
    })?;
    Ok(fill(folder, genesis, blocks, &store)?.head.height)
}

/// Builds a new store by replay of every block.
fn rebuild(folder: &Folder, genesis: &Genesis, blocks: &Blocks) -> Result<Usable, OpenError> {
    let path = folder.state();
    let opened = SledStore::open(&path).map_err(|source| OpenError::Store { path, source })?;
    let store: Arc<dyn Store> = Arc::new(opened);
    let loaded = fill(folder, genesis, blocks, &*store)?;
    Ok((store, loaded))
}

/// Replays every block and fills the empty `store` with the state after the newest one.
fn fill(
    folder: &Folder,
    genesis: &Genesis,
    blocks: &Blocks,
    store: &dyn Store,
) -> Result<Position, OpenError> {
    let mut loaded = blocks.base().load(genesis)?;
    note(folder, store, None, &loaded.state)?;
    let mut begun = Vec::new();
    while let Some(block) = blocks.read(loaded.head.height.next())? {
        let of_block = extend(folder, store, &mut loaded, &block)?;
        if !of_block.is_empty() {
            begun.push((loaded.head.height, of_block));
        }
    }
    let entries = loaded.state.entries().collect();
    let stored = store.fill(loaded.head, entries, &begun);
    stored.map_err(|source| OpenError::Store {
        path: folder.state(),
        source,
    })?;
    // What was changed on the way is stored.
    drop(loaded.state.take_changes());
    info!(
        height = loaded.head.height.0,
        "built the state from the block log"
    );
    Ok(loaded)
}

/// Applies the blocks that the store does not have yet.
fn catch_up(
    folder: &Folder,
    mut loaded: Position,
    blocks: Arc<Blocks>,
    store: Arc<dyn Store>,
) -> Result<Chain, OpenError> {
    let failed = |source| OpenError::Store {
        path: folder.state(),
        source,
    };
    let stored = loaded.head.height;
    while let Some(block) = blocks.read(loaded.head.height.next())? {
        let begun = extend(folder, &*store, &mut loaded, &block)?;
        let changes = loaded.state.take_changes();
        store.commit(loaded.head, &changes, &begun).map_err(failed)?;
    }
    if loaded.head.height > stored {
        store.flush().map_err(failed)?;
        let (from, to) = (stored.0 + 1, loaded.head.height.0);
        info!(from, to, "applied blocks that the state did not have yet");
    }
    Ok(Chain::new(loaded.head, loaded.state, blocks, store))
}

fn extend(
    folder: &Folder,
    store: &dyn Store,
    loaded: &mut Position,
    block: &FinalBlock,
) -> Result<Begun, OpenError> {
    let before = loaded.state.committee();
    let begun = loaded.follow(block).map_err(|source| OpenError::Reject {
        path: folder.blocks(),
        source,
    })?;
    note(folder, store, Some(before), &loaded.state)?;
    Ok(begun)
}

/// Keeps the committee of `state` if it is another one than there was before.
fn note(
    folder: &Folder,
    store: &dyn Store,
    before: Option<Committee>,
    state: &State,
) -> Result<(), OpenError> {
    let committee = state.committee();
    if before.unwrap_or_default() == committee {
        return Ok(());
    }
    store
        .note_committee(&committee)
        .map_err(|source| OpenError::Store {
            path: folder.state(),
            source,
        })
}

//! The audit of a stopped node's folder: everything that can be derived from the genesis and the blocks is derived
//! again and compared. A ledger that began from a snapshot is checked from there on; that the snapshot is true was
//! checked against a trusted hash when it was imported.
//!
//! Each block must follow the one before by hash, hold applied transactions only, and lead to the state root its
//! header claims; the sums and the other invariants must hold after each; the stored state must be the one of the
//! block it says it is. The block log is read as it lies there: a block that a crash left half written was never
//! acknowledged and is not looked at.

use agon_ledger_replay::follow::{Head, Position, Reject};
use agon_ledger_state::{Holdings, InvariantBroken, State};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::FinalBlock;
use agon_runtime::files::{self, LockError};
use serde::{Serialize, Serializer};
use thiserror::Error;

use crate::blocks::{self, BlocksError};
use crate::folder::{Folder, FolderError};
use crate::open;
use crate::snapshot::{Base, BaseError};
use crate::store::SledStore;

/// What an audit found in order. Amounts are base units, digests hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the network.
    pub name: String,
    /// Digest of the genesis.
    pub genesis: String,
    /// Height of the state that the blocks begin from: 0 for the genesis, else that of a snapshot.
    pub base_height: u64,
    /// Height of the newest block.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Root of the state after it.
    pub state_root: String,
    /// Transactions in the blocks.
    pub transactions: u64,
    /// Epochs that were run.
    pub epochs: u64,
    /// All base units that were ever created.
    pub issuance: u64,
    /// Where they are; sums to the issuance.
    pub holdings: Sums,
    /// The block whose state is stored: at most one before the newest after a crash, none where the store is
    /// missing and will be built anew.
    pub stored_height: Option<u64>,
}

/// [`Holdings`] and their sum, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sums(pub Holdings);

impl Serialize for Sums {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Holdings {
            free,
            staked,
            locked,
            bonded,
            pending,
            held,
            burned,
        } = self.0;
        let named = [
            ("free", free),
            ("staked", staked),
            ("locked", locked),
            ("bonded", bonded),
            ("pending", pending),
            ("held", held),
            ("burned", burned),
        ];
        let total = ("total", self.0.total());
        serializer.collect_map(
            named
                .into_iter()
                .chain([total])
                .map(|(name, amount)| (name, amount.base_units())),
        )
    }
}

/// What an audit found wrong.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// There is no ledger, or its genesis cannot be read.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A node runs on the folder.
    #[error("only the folder of a stopped node can be verified")]
    Lock(#[from] LockError),
    /// No state follows from the genesis.
    #[error("the genesis is not valid")]
    Genesis(#[from] agon_ledger_state::GenesisError),
    /// The block log cannot be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// The snapshot that the blocks begin from cannot be read.
    #[error("read the snapshot that the blocks begin from: restore it from a copy")]
    Snapshot(#[from] BaseError),
    /// A block does not follow from those before it.
    #[error("the blocks do not follow from each other")]
    Reject(#[from] Reject),
    /// Something that always holds does not.
    #[error("after block {height}")]
    Invariant {
        /// After which block.
        height: BlockNumber,
        /// What does not hold.
        source: InvariantBroken,
    },
    /// The stored state cannot be read.
    #[error("the stored state cannot be read; the node builds it anew when it starts")]
    StoreUnreadable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The stored state is another one.
    #[error(
        "the stored state is of block {height} with hash {} and root {}, the blocks lead to hash {} and root {}",
        stored.hash, stored.state_root, replayed.hash, replayed.state_root
    )]
    StoreDiffers {
        /// The block it says it is of.
        height: BlockNumber,
        /// What the store says.
        stored: Box<Head>,
        /// What the blocks say.
        replayed: Box<Head>,
    },
    /// The stored state is of a block that is not there.
    #[error("the state of block {stored} is stored, but the blocks end at {newest}: blocks were lost")]
    BlocksLost {
        /// The block of the stored state.
        stored: BlockNumber,
        /// The newest block.
        newest: BlockNumber,
    },
}

/// Replays the ledger in `folder` from its genesis and compares everything with what is stored.
///
/// # Errors
///
/// [`VerifyError`] with the first thing that is wrong.
pub fn verify(folder: &Folder) -> Result<Report, VerifyError> {
    let genesis = folder.read_genesis()?;
    let _lock = files::lock_dir(folder.dir())?;
    let stored = stored_head(folder)?;
    let base = Base::read(folder, &genesis)?;
    let mut replay = Replay::new(base.load(&genesis)?, stored);
    if folder.blocks().exists() {
        for block in blocks::scan(&folder.blocks(), base.height().next())? {
            replay.follow(&block?)?;
        }
    }
    let Replay {
        now: Position { head, state },
        stored,
        transactions,
        epochs,
    } = replay;
    if let Some(stored) = stored.filter(|stored| stored.height > head.height) {
        return Err(VerifyError::BlocksLost {
            stored: stored.height,
            newest: head.height,
        });
    }
    Ok(Report {
        name: genesis.name.clone(),
        genesis: genesis.digest().to_string(),
        base_height: base.height().0,
        height: head.height.0,
        hash: head.hash.to_string(),
        state_root: head.state_root.to_string(),
        transactions,
        epochs,
        issuance: state.issuance().base_units(),
        holdings: Sums(state.holdings()),
        stored_height: stored.map(|stored| stored.height.0),
    })
}

/// The head of the stored state, whose entries have been checked against its root.
fn stored_head(folder: &Folder) -> Result<Option<Head>, VerifyError> {
    if !folder.state().exists() {
        return Ok(None);
    }
    let unreadable = |error: open::Useless| VerifyError::StoreUnreadable(Box::new(error));
    let store = SledStore::open(&folder.state()).map_err(|error| unreadable(error.into()))?;
    Ok(open::load(&store).map_err(unreadable)?.map(|loaded| loaded.head))
}

/// A replay in progress.
struct Replay {
    now: Position,
    stored: Option<Head>,
    transactions: u64,
    epochs: u64,
}

impl Replay {
    fn new(now: Position, stored: Option<Head>) -> Self {
        Self {
            now,
            stored,
            transactions: 0,
            epochs: 0,
        }
    }

    fn follow(&mut self, block: &FinalBlock) -> Result<(), VerifyError> {
        self.compare_stored()?;
        let begun = self.now.follow(block)?;
        let invariants = State::check_invariants(&self.now.state);
        invariants.map_err(|source| VerifyError::Invariant {
            height: self.now.head.height,
            source,
        })?;
        self.transactions += block.block.transactions.len() as u64;
        self.epochs += begun.epochs.len() as u64;
        self.compare_stored()
    }

    fn compare_stored(&self) -> Result<(), VerifyError> {
        let replayed = self.now.head;
        match self.stored {
            Some(stored) if stored.height == replayed.height && stored != replayed => {
                let height = stored.height;
                Err(VerifyError::StoreDiffers {
                    height,
                    stored: Box::new(stored),
                    replayed: Box::new(replayed),
                })
            }
            _ => Ok(()),
        }
    }
}

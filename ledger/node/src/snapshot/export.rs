//! A part of a folder's ledger, written into one file.
//!
//! The folder may be that of a running node: only the genesis, the snapshot and the block log are read, which a
//! running node appends to and never changes. The state is replayed from them, so an export is checked before it is
//! written, and takes as long as a replay. A running node hands out recent states faster; see [`super::fetch`].

use std::ops::RangeInclusive;
use std::path::Path;

use agon_ledger_replay::export::{ExportError, Sealed, Step, Watch, Writer};
use agon_ledger_replay::follow::{Head, Position, Reject};
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Committee, FinalBlock, Genesis, Header};
use thiserror::Error;

use super::{Base, BaseError};
use crate::blocks::{self, BlocksError};
use crate::folder::{Folder, FolderError};

/// What is exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The state after the newest block.
    Newest,
    /// The state after the block of this height.
    State(BlockNumber),
    /// These blocks, the state before the first and the state after the last: what an audit needs.
    Blocks(RangeInclusive<u64>),
}

/// An export that was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The newest block of it.
    pub head: Head,
    /// Length of the file.
    pub bytes: u64,
}

/// Why nothing was exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ExportFolderError {
    /// There is no ledger.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What the blocks begin from cannot be read.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The block log cannot be read.
    #[error(transparent)]
    Blocks(#[from] BlocksError),
    /// A block does not follow from those before it.
    #[error("the blocks do not follow from each other")]
    Reject(#[from] Reject),
    /// The file cannot be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// A block that is not there yet.
    #[error("there is no block {asked}: the newest is {newest}")]
    NoSuchBlock {
        /// What was asked for.
        asked: BlockNumber,
        /// The newest block.
        newest: BlockNumber,
    },
    /// A block that is not kept.
    #[error(
        "the state of block {asked} is not kept: this ledger began from a snapshot of block {base}; ask a node that \
         keeps older blocks"
    )]
    NotKept {
        /// What was asked for.
        asked: BlockNumber,
        /// The first state that is kept.
        base: BlockNumber,
    },
    /// No blocks at all.
    #[error("blocks {} to {} are none: write FROM..TO with FROM at least 1", range.start(), range.end())]
    Range {
        /// What was asked for.
        range: RangeInclusive<u64>,
    },
}

/// Writes what is `wanted` of the ledger in `folder` into a new file at `path`.
///
/// # Errors
///
/// [`ExportFolderError`]; no file is left behind.
pub fn export(
    folder: &Folder,
    wanted: &Wanted,
    path: &Path,
    watch: Watch<'_>,
) -> Result<Written, ExportFolderError> {
    let genesis = folder.read_genesis()?;
    let base = Base::read(folder, &genesis)?;
    let plan = Plan::of(wanted, &base)?;
    let mut writer = Writer::create(path, &genesis)?;
    let mut walk = Walk::begin(&base, &genesis)?;
    if plan.state_at == Some(walk.height()) {
        writer.state(&walk.now.state, walk.sealed(), watch)?;
        plan.announce(&mut writer)?;
    }
    if plan.end != Some(walk.height()) && folder.blocks().exists() {
        for block in blocks::scan(&folder.blocks(), base.height().next())? {
            walk.go_on(block?)?;
            write_step(&plan, &walk, &mut writer, watch)?;
            if plan.end == Some(walk.height()) {
                break;
            }
        }
    }
    plan.check_end(walk.height())?;
    writer.state(&walk.now.state, walk.sealed(), watch)?;
    let head = walk.now.head;
    let bytes = writer.finish()?;
    Ok(Written { head, bytes })
}

/// Writes what the plan has at the block that the walk has come to.
fn write_step(plan: &Plan, walk: &Walk, writer: &mut Writer, watch: Watch<'_>) -> Result<(), ExportError> {
    let height = walk.height();
    watch(Step {
        what: "blocks replayed",
        done: height.0,
        total: plan.end.map_or(0, |end| end.0),
    })?;
    if let Some(block) = walk.block.as_ref().filter(|_| plan.has_block(height)) {
        writer.block(block.clone())?;
    }
    if plan.state_at == Some(height) {
        writer.state(&walk.now.state, walk.sealed(), watch)?;
        plan.announce(writer)?;
    }
    Ok(())
}

/// What is written at which height.
struct Plan {
    /// Where a state is written that blocks follow.
    state_at: Option<BlockNumber>,
    /// The blocks that follow it.
    blocks: Option<RangeInclusive<u64>>,
    /// Where the replay ends and a state is written; `None` at the newest block.
    end: Option<BlockNumber>,
}

impl Plan {
    fn of(wanted: &Wanted, base: &Base) -> Result<Self, ExportFolderError> {
        let plan = match wanted {
            Wanted::Newest => Self {
                state_at: None,
                blocks: None,
                end: None,
            },
            Wanted::State(height) => Self {
                state_at: None,
                blocks: None,
                end: Some(*height),
            },
            Wanted::Blocks(range) if range.is_empty() || *range.start() == 0 => {
                return Err(ExportFolderError::Range { range: range.clone() });
            }
            Wanted::Blocks(range) => Self {
                state_at: Some(BlockNumber(range.start().saturating_sub(1))),
                blocks: Some(range.clone()),
                end: Some(BlockNumber(*range.end())),
            },
        };
        let (first, base) = (plan.state_at.or(plan.end), base.height());
        match first {
            Some(asked) if asked < base => Err(ExportFolderError::NotKept { asked, base }),
            _ => Ok(plan),
        }
    }

    fn has_block(&self, height: BlockNumber) -> bool {
        self.blocks
            .as_ref()
            .is_some_and(|blocks| blocks.contains(&height.0))
    }

    fn announce(&self, writer: &mut Writer) -> Result<(), ExportError> {
        match &self.blocks {
            Some(blocks) => writer.blocks(BlockNumber(*blocks.start()), BlockNumber(*blocks.end())),
            None => Ok(()),
        }
    }

    fn check_end(&self, newest: BlockNumber) -> Result<(), ExportFolderError> {
        match self.end {
            Some(asked) if asked != newest => Err(ExportFolderError::NoSuchBlock { asked, newest }),
            _ => Ok(()),
        }
    }
}

/// A replay, and what is needed to seal the state it is at.
struct Walk {
    now: Position,
    sealed_base: Option<Sealed>,
    /// The newest block, and the header and the committee before it.
    block: Option<FinalBlock>,
    parent: Option<Header>,
    committee: Committee,
}

impl Walk {
    fn begin(base: &Base, genesis: &Genesis) -> Result<Self, BaseError> {
        Ok(Self {
            now: base.load(genesis)?,
            sealed_base: base.sealed(),
            block: None,
            parent: None,
            committee: Committee::default(),
        })
    }

    const fn height(&self) -> BlockNumber {
        self.now.head.height
    }

    fn go_on(&mut self, block: FinalBlock) -> Result<(), Reject> {
        self.committee = self.now.state.committee();
        self.now.follow(&block)?;
        let before = self.block.replace(block).map(|before| before.block.header);
        self.parent = before.or_else(|| self.sealed_base.as_ref().map(|base| base.header.clone()));
        // Nobody follows these changes.
        drop(self.now.state.take_changes());
        Ok(())
    }

    fn sealed(&self) -> Option<Sealed> {
        let Some(block) = &self.block else {
            return self.sealed_base.clone();
        };
        Some(Sealed {
            header: block.block.header.clone(),
            parent: self.parent.clone(),
            committee: self.committee.clone(),
            certificate: block.certificate.clone(),
        })
    }
}

//! The replicated state machine, and nothing else.
//!
//! [`State::apply`] is a function of the state and one ordered block. It reads no clock, socket, disk or random
//! source; whatever it needs arrives in the input. Which block is next is the node's business.
//!
//! | file | holds |
//! | --- | --- |
//! | `block`, `effect` | a block from its first rule to its last; the dry run; what a transaction does |
//! | `accounts`, `stake`, `registration`, `subnet`, `dissolution`, `axon`, `weights`, `parameters`, `swaps` | one kind of call each: refusals, check, effect |
//! | `fees`, `replacement` | what any call costs; who makes room for a newcomer |
//! | `committee` | who decides which block is next: candidates, eras, punishment |
//! | `emission`, `supply`, `decay` | what is created, how it is divided and paid |
//! | `epoch` | when epochs run, on what, and what is kept of them |
//! | `evidence` | what validators owe, commit to and show of their work, and what forging it costs |
//! | `table` | entries as bytes, their root, their changes |
//! | `pulse` | the beacon, and the pulses that open sealed weights |
//! | `rows` | rows of what is told, proven from a root |
//! | `genesis`, `load`, `invariants` | the first state, states from a store, what always holds |
//! | `views`, `changes`, `words` | what is told; which of it differs between two states; entries in words |
//!
//! # Invariants
//!
//! - Two states that applied the same blocks in the same order are equal, and so are their roots.
//! - Free balances, stake, locks, what is pending or held and what was burned sum to [`State::issuance`], to the base
//!   unit.
//! - A free balance is nothing or at least the existential deposit.
//! - A refused transaction changes nothing.
//! - No transaction panics, whoever made it: each call is checked in full before it changes anything, and the
//!   check's result is what is carried out.

#![deny(
    clippy::float_arithmetic,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        reason = "a test that overflows fails, as it should"
    )
)]

mod accounts;
mod axon;
mod block;
mod changes;
mod committee;
mod decay;
mod dissolution;
mod effect;
mod emission;
mod epoch;
mod evidence;
mod fees;
mod genesis;
mod invariants;
mod load;
mod neuron;
mod parameters;
mod pulse;
mod refusal;
mod registration;
mod replacement;
mod rows;
mod stake;
mod subnet;
mod supply;
mod swaps;
mod table;
mod views;
mod weights;
mod words;

use agon_protocol::id::Digest;

pub use self::accounts::{Transfer, TransferRefusal};
pub use self::axon::{Announcement, ServeAxonRefusal};
pub use self::block::{Applied, Begun, BlockInput, Checked};
pub use self::changes::NeuronChange;
pub use self::committee::{
    BadProof, Bond, CommitteeReadyRefusal, JoinCommitteeRefusal, LeaveCommitteeRefusal, Leaving,
    NotCandidate, RECENT_BLOCKS, Readiness, ReportEquivocationRefusal, Slash,
};
pub use self::dissolution::{DissolveSubnetRefusal, SubnetDissolution};
pub use self::effect::Effect;
pub use self::emission::{Dust, Payouts};
pub use self::epoch::{EPOCH_RECORDS_MAX, EpochRecord};
pub use self::evidence::{
    AcceptedContest, AcceptedEvidence, AcceptedOpening, COVERAGE_FULL_PPM, CommitEvidenceRefusal,
    ContestFailureRefusal, OpenEvidenceRefusal, OpeningOutcome, Penalty, ReportForgeryRefusal, covered,
};
pub use self::fees::FeeRefusal;
pub use self::genesis::GenesisError;
pub use self::invariants::InvariantBroken;
pub use self::load::LoadError;
pub use self::parameters::{
    NETWORK_TABLE, NetworkParameterId, Parameter, ParameterChange, ParameterId, SUBNET_LOCK_FLOOR, SetBy,
    SetParameterRefusal, TABLE,
};
pub use self::pulse::{AcceptedPulse, PublishPulseRefusal};
pub use self::refusal::{
    EnvelopeRefusal, HotkeyUsed, NotHotkeyOwner, NotOwner, NotRegistered, Refusal, ShortOfFunds,
    UnknownSubnet,
};
pub use self::registration::{RegisterRefusal, Registration};
pub use self::replacement::AtRisk;
pub use self::rows::{Row, RowError, verify_row};
pub use self::stake::{
    AddStakeRefusal, MoveStakeRefusal, RemoveStakeRefusal, STAKE_MIN, SetTakeRefusal, StakeMove,
    StakeTransfer, TakeChange,
};
pub use self::subnet::{CreateSubnetRefusal, StartSubnetRefusal, SubnetCreation};
pub use self::supply::{SUPPLY_MAX, apportion, block_emission};
pub use self::swaps::{
    AnnounceColdkeySwapRefusal, COLDKEY_SWAP_ENTRIES_MAX, ColdkeyHandover, ColdkeySwapAnnouncement,
    DisputeColdkeySwapRefusal, ExecuteColdkeySwapRefusal, HotkeySwap, NoSwap, SwapHotkeyRefusal,
};
pub use self::table::Tree;
pub use self::views::Holdings;
pub use self::weights::{
    AcceptedCommit, AcceptedTimelocked, AcceptedWeights, CommitTimelockedRefusal, CommitWeightsRefusal,
    NoWeigher, RevealWeightsRefusal, SealRefusal, TooSoon,
};
pub use self::words::{EntryWords, entry_words};

use self::table::Table;

/// Everything the ledger knows after a block. A clone shares the entries of the original.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    table: Table,
}

impl State {
    /// Most bytes of the value of any entry.
    pub const VALUE_BYTES_MAX: usize = table::VALUE_BYTES_MAX;

    /// Root over all entries: what a block header commits to.
    ///
    /// Costs hashes for the entries that changed since the last call and for the nodes above them; see [`Tree`].
    #[must_use]
    pub fn root(&self) -> Digest {
        self.table.root()
    }

    /// Entries written (`Some`) or removed (`None`) since the last call, in key order: what a store has to follow.
    ///
    /// The first call on a state from [`State::genesis`] gives all its entries, on one from
    /// [`State::from_entries`] none.
    pub fn take_changes(&mut self) -> Vec<(Vec<u8>, Option<Vec<u8>>)> {
        self.table.take_changes()
    }
}

#[cfg(test)]
mod tests;

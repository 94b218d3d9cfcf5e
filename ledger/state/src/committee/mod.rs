//! The committee: who decides which block is next.
//!
//! A coldkey makes one of its hotkeys a *candidate*: it locks a bond and names a consensus key, which signs that it
//! votes for this hotkey. A candidate is *ready* for a while after its hotkey showed that the consensus key signed
//! the hash of one of the newest [`RECENT_BLOCKS`] blocks. Candidates that are ready, not leaving and bonded with at
//! least the minimum *qualify*.
//!
//! | file | holds |
//! | --- | --- |
//! | `candidacy` | joining, leaving, readiness |
//! | `era` | when the committee is computed anew, and when bonds return |
//! | `powers` | who gets in, and with which power |
//! | `slash` | what a member loses that contradicts itself |
//!
//! # Eras
//!
//! Every `committee_era_blocks` the block of that height computes the committee anew, before anything else in it;
//! the result makes the block after it final. Between two eras the committee changes only when it is first formed.
//!
//! - Members that qualify stay. Those that left or were slashed are dropped. So are those that did not renew their
//!   readiness, the longest silent first, with less than a third of the power together. If no member qualifies, all
//!   stay with the power they have: a committee is never empty once there is one.
//! - Candidates enter in the order of their power, the lower consensus key first among equals. Together they get
//!   less than a third of the new power; who comes when nothing of that is left waits for the next era.
//! - A ledger that one node decides alone has no committee. [`State::form_committee`] makes the first one of all
//!   that qualify; a genesis that names members starts with it.
//!
//! # Power
//!
//! Bond and stake on the hotkey over all subnets, one for each [`POWER_UNIT`] base units, rounded down. With four
//! members or more none has a third of all: see `powers`.

mod candidacy;
mod era;
mod powers;
mod slash;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, ConsensusKey, Digest, Hotkey, Netuid};
use agon_protocol::message::{Committee, CommitteeView, SeatView};
use borsh::{BorshDeserialize, BorshSerialize};

pub use self::candidacy::{
    BadProof, Bond, CommitteeReadyRefusal, JoinCommitteeRefusal, LeaveCommitteeRefusal, Leaving,
    NotCandidate, Readiness,
};
pub use self::slash::{ReportEquivocationRefusal, Slash};
use crate::State;
use crate::parameters::NetworkParameterId;
use crate::subnet::Subnet;
use crate::table::Entry;

/// How many of the newest blocks a candidate can name to show that it follows the ledger.
pub const RECENT_BLOCKS: u64 = 32;

/// Base units of bond or stake for one voting power; the whole supply stays far below [`Committee::POWER_MAX`].
const POWER_UNIT: u64 = 1_000_000;

const _: () = assert!(crate::SUPPLY_MAX.base_units() / POWER_UNIT < Committee::POWER_MAX);

/// A hotkey that is or could be a member, until its bond is returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Candidate {
    pub(crate) consensus_key: ConsensusKey,
    pub(crate) bond: Amount,
    /// Last block in which it counts as ready; 0 when it never did.
    pub(crate) ready_until: BlockNumber,
    /// From when the delay of its bond counts: the block in which it left or was slashed, or the newest era in
    /// which it was still a member.
    pub(crate) leaving: Option<BlockNumber>,
}

impl Candidate {
    fn is_ready(&self, now: BlockNumber) -> bool {
        self.ready_until >= now
    }
}

impl Entry for Candidate {
    type Key = Hotkey;
    const KIND: u8 = 0x28;
    const HELD: Option<fn(&Self) -> u128> = Some(|candidate| candidate.bond.base_units().into());
}

/// What a consensus key is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) enum KeyUse {
    /// It votes for a hotkey.
    By(Hotkey),
    /// It contradicted itself and never votes again.
    Slashed,
}

impl Entry for KeyUse {
    type Key = ConsensusKey;
    const KIND: u8 = 0x29;
}

/// The committee of the next block; no entry where one node decides alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct InForce(pub(crate) Committee);

impl Entry for InForce {
    type Key = ();
    const KIND: u8 = 0x2a;
}

/// One of the newest blocks, at the place of its height modulo [`RECENT_BLOCKS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct RecentBlock {
    pub(crate) height: BlockNumber,
    pub(crate) hash: Digest,
}

impl Entry for RecentBlock {
    type Key = u64;
    const KIND: u8 = 0x2b;
}

impl State {
    /// The committee that makes the next block final; empty where one node decides alone.
    #[must_use]
    pub fn committee(&self) -> Committee {
        let in_force: InForce = self.table.read(&()).unwrap_or_default();
        in_force.0
    }

    /// Members and candidates, and when the committee is computed next.
    #[must_use]
    pub fn committee_view(&self) -> CommitteeView {
        let (height, committee) = (self.height(), self.committee());
        let seat = |(hotkey, candidate): (Hotkey, Candidate)| {
            let member = committee.member(&candidate.consensus_key);
            SeatView {
                hotkey,
                coldkey: self.hotkey_owner(hotkey).expect("a candidate has an owner"),
                consensus_key: candidate.consensus_key,
                bond: candidate.bond,
                power: self.power(hotkey, &candidate),
                voting_power: member.map_or(0, |member| member.power),
                ready_until: candidate.ready_until,
                leaving: candidate.leaving,
            }
        };
        CommitteeView {
            height,
            next_era: self.next_era(height),
            seats: self.table.scan::<Candidate>(()).map(seat).collect(),
        }
    }

    /// Bond and stake as voting power.
    fn power(&self, hotkey: Hotkey, candidate: &Candidate) -> u64 {
        let netuids = self.table.scan::<Subnet>(()).map(|(netuid, _)| netuid);
        let stake = |netuid: Netuid| self.pool(netuid, hotkey).total;
        let all = netuids.map(stake).fold(candidate.bond, Amount::saturating_add);
        all.base_units() / POWER_UNIT
    }

    fn candidate(&self, hotkey: Hotkey) -> Option<Candidate> {
        self.table.read(&hotkey)
    }

    /// Whether a candidate can be a member in the era that opens at `now`.
    fn qualifies(&self, candidate: &Candidate, now: BlockNumber) -> bool {
        candidate.is_ready(now) && self.could_qualify(candidate)
    }

    /// Whether a candidate can be a member once it shows that it is ready.
    fn could_qualify(&self, candidate: &Candidate) -> bool {
        candidate.leaving.is_none()
            && candidate.bond >= self.network_amount(NetworkParameterId::CommitteeBondMin)
    }

    /// Gives the place of a hotkey that was replaced to the one that replaced it. The committee in force shows the
    /// old one until the next era.
    pub(crate) fn rename_candidate(&mut self, hotkey: Hotkey, new_hotkey: Hotkey) {
        let Some(candidate) = self.candidate(hotkey) else {
            return;
        };
        self.table.remove::<Candidate>(&hotkey);
        self.table.write(&new_hotkey, &candidate);
        let key = candidate.consensus_key;
        if let Some(KeyUse::By(_)) = self.table.read(&key) {
            self.table.write(&key, &KeyUse::By(new_hotkey));
        }
    }

    /// Keeps the hash of the block at `height` for candidates to name.
    pub(crate) fn remember_block(&mut self, height: BlockNumber, hash: Digest) {
        self.table
            .write(&(height.0 % RECENT_BLOCKS), &RecentBlock { height, hash });
    }
}

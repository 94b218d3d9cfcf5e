//! Evidence: what a validator owes in a tempo, commits to, shows, and is paid by.
//!
//! | tempo | what happens |
//! | --- | --- |
//! | t opens | the roster fixes beacon, miners, validators and what each validator owes |
//! | t | a validator asks the miners it draws, and commits to a Merkle root over what came of it, once |
//! | t + 1 | the new beacon and the root pick slots and trails; the validator shows their leaves, once |
//! | t + 1 | a miner contests a failure that is claimed of it |
//! | end of t + 1 | what was shown of t is each validator's coverage, by which its dividends are multiplied; rows that it shows count |
//! | until t + reveal period + 2 ends | anyone shows a step of the evidence that does not follow, and it is punished |
//!
//! What a leaf has to say, which slots are picked and what shown slots are worth is [`agon_evidence`]'s; here is who
//! may say it when, and what follows.
//!
//! A tempo whose roster asks for no openings has no evidence, and pays in full. A tempo without a roster, such as a
//! subnet's first, pays no dividends where evidence is on: nobody has shown any work, and the half is held.
//!
//! Records go by the name of the validator's stake pools, which stays when a hotkey is replaced (see `swaps`), so that
//! nobody gets rid of a forgery by a new key.

mod commit;
mod contest;
mod coverage;
mod forgery;
mod opening;
mod roster;
mod view;

use agon_evidence::Context;
use agon_evidence::opening::Shown;
use agon_evidence::trail::Committed;
use agon_protocol::id::{BlockNumber, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::EvidenceCommit;
use borsh::{BorshDeserialize, BorshSerialize};

pub use self::commit::{AcceptedEvidence, CommitEvidenceRefusal};
pub use self::contest::{AcceptedContest, ContestFailureRefusal};
pub(crate) use self::coverage::covered_part;
pub use self::coverage::{COVERAGE_FULL_PPM, covered};
pub(crate) use self::forgery::Barred;
pub use self::forgery::{Penalty, ReportForgeryRefusal};
pub use self::opening::{AcceptedOpening, OpenEvidenceRefusal, OpeningOutcome};
pub(crate) use self::roster::Roster;
use crate::State;
use crate::parameters::ParameterId;
use crate::subnet::Subnet;
use crate::table::Entry;

/// Tempos after the reveal of a tempo's weights in which its evidence can still be punished.
const KEPT_TEMPOS: u64 = 2;

/// A validator's evidence of one tempo. The key ends in the name of the validator's stake pools.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct EvidenceRecord {
    /// The key that drew, asked and is in the roster; the validator may have replaced it since.
    pub(crate) hotkey: Hotkey,
    /// The key that it asks by: that of the session which the commit shows, or the hotkey.
    pub(crate) asker: Hotkey,
    pub(crate) commit: EvidenceCommit,
    /// Block of the commit.
    pub(crate) height: BlockNumber,
    /// What the picked slots show; `None` until they are opened.
    pub(crate) shown: Option<Vec<Shown>>,
    /// Digest of its last leaf, which holds the weights; `None` until it is opened.
    pub(crate) weights: Option<Digest>,
    /// Miners that posted a receipt against a failure that it claims, ascending.
    pub(crate) contested: Vec<Uid>,
    /// Whether it was found to be forged, and punished.
    pub(crate) forged: bool,
}

impl Entry for EvidenceRecord {
    type Key = (Netuid, u64, Hotkey);
    const KIND: u8 = 0x0e;
}

impl EvidenceRecord {
    /// Whether the rules could have written it.
    pub(crate) fn is_valid(&self) -> bool {
        let EvidenceCommit {
            leaf_count,
            claimed_ppm,
            session,
            ..
        } = self.commit;
        (session.is_some() || self.asker == self.hotkey)
            && (1..=commit::LEAVES_MAX).contains(&leaf_count)
            && claimed_ppm <= COVERAGE_FULL_PPM
            && self.shown.is_some() == self.weights.is_some()
            && self.contested.is_sorted_by(|left, right| left < right)
    }
}

/// What evidence is checked against.
struct Foundation {
    commit: EvidenceCommit,
    before: Option<EvidenceCommit>,
    settled: Vec<Uid>,
}

impl Foundation {
    fn committed(&self) -> Committed<'_> {
        Committed {
            commit: &self.commit,
            before: self.before.as_ref(),
            settled: &self.settled,
        }
    }
}

impl State {
    pub(crate) fn roster(&self, netuid: Netuid, tempo: u64) -> Option<Roster> {
        self.table.read(&(netuid, tempo))
    }

    /// What everyone knows of the tempo that a record is of.
    pub(crate) fn evidence_context<'a>(
        &self,
        (netuid, subnet): (Netuid, &'a Subnet),
        roster: &'a Roster,
        tempo: u64,
        (validator, asker): (Hotkey, Hotkey),
    ) -> Context<'a> {
        Context {
            genesis: self.genesis_digest(),
            netuid,
            task: &subnet.task,
            tempo,
            beacon: roster.beacon,
            validator,
            asker,
            roster: &roster.miners,
            at_once: &roster.at_once,
            rounds: roster.rounds,
            miners: roster.miners_per_round,
        }
    }

    /// What a validator committed to of a tempo and of the one before, and who has held its UID since the older of the two
    /// opened.
    fn foundation(
        &self,
        (netuid, tempo, name): (Netuid, u64, Hotkey),
        roster: &Roster,
        record: &EvidenceRecord,
    ) -> Foundation {
        let earlier = tempo.checked_sub(1);
        let before = earlier.and_then(|earlier| self.table.read::<EvidenceRecord>(&(netuid, earlier, name)));
        let opened = earlier
            .and_then(|earlier| self.roster(netuid, earlier))
            .filter(|_| before.is_some());
        Foundation {
            commit: record.commit,
            before: before.map(|before| before.commit),
            settled: self.settled(netuid, opened.as_ref().unwrap_or(roster)),
        }
    }

    /// Drops rosters and evidence that can be neither opened nor punished any more, and bars that are over.
    pub(crate) fn drop_old_evidence(&mut self, netuid: Netuid, subnet: &Subnet) {
        let running = subnet.schedule.tempo;
        let is_old = |tempo: u64| evidence_kept_until(subnet, tempo) < running;
        let rosters = self.table.scan::<Roster>(netuid).map(|(key, _)| key);
        for key in rosters.filter(|(_, tempo)| is_old(*tempo)).collect::<Vec<_>>() {
            self.table.remove::<Roster>(&key);
        }
        let records = self.table.scan::<EvidenceRecord>(netuid).map(|(key, _)| key);
        for key in records.filter(|(_, tempo, _)| is_old(*tempo)).collect::<Vec<_>>() {
            self.table.remove::<EvidenceRecord>(&key);
        }
        let bars = self.table.scan::<Barred>(netuid);
        let over = bars.filter(|(_, barred)| barred.until_tempo <= running);
        for (key, _) in over.collect::<Vec<_>>() {
            self.table.remove::<Barred>(&key);
        }
    }
}

/// The last tempo in which evidence of `tempo` is kept and can be punished.
pub(crate) fn evidence_kept_until(subnet: &Subnet, tempo: u64) -> u64 {
    let reveal_period = subnet.parameters.value(ParameterId::RevealPeriodTempos);
    tempo.saturating_add(reveal_period).saturating_add(KEPT_TEMPOS)
}

//! Commits whose weights open by themselves.
//!
//! When a tempo opens, the ledger fixes the round of the beacon to which weights of the tempo are sealed: the first
//! whose time is not before the planned opening of the tempo in which they are revealed, and a margin later. The plan
//! is that tempos take as long as the one before. A margin, since a tempo that takes longer would have its rows read
//! before it ends; a round that comes late only opens later.
//!
//! A sealed commit is a commit like any other, and what is sealed beside it is opened by the ledger itself, with the
//! pulse of the round, in the reveal tempo: so many a block as the network's `seals_per_block` says, the rest in the next
//! blocks. What opens goes through every rule of a reveal. What does not open, or breaks one, is dropped with an
//! event and leaves a commit to be revealed by hand; so does a beacon that is silent.
//!
//! # Selective reveals
//!
//! A validator whose newest commit that was due in a tempo was not revealed when it ends gets no dividends from it
//! ([`State::unrevealed`]). A reveal settles every commit before it, so the newest stands, and whoever commits to two rows
//! cannot choose between them later. Where the pulse was published and the blocks had no room to open the seal, its
//! maker has done what there was to do.

use std::collections::BTreeSet;
use std::fmt;

use agon_protocol::id::{BlockNumber, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{OpenedSealView, WeightsCommit};
use agon_protocol::timelock::{PulseSignature, SealFault, SealedWeights};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use super::{AcceptedCommit, AcceptedWeights, CommitWeightsRefusal, Commits, RevealWeightsRefusal};
use crate::State;
use crate::parameters::{NetworkParameterId, ParameterId};
use crate::subnet::Subnet;
use crate::table::Entry;

/// Share of a tempo by which a round is later than planned: a sixteenth.
const MARGIN_DIVISOR: u128 = 16;

/// When the running tempo opened, and which rounds open what is sealed on a subnet.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct SealRounds {
    /// Time of the block that opened the running tempo, Unix milliseconds.
    pub(crate) opened_ms: u64,
    /// Tempos and the rounds to which weights of them are sealed: the running tempo, if it has one, and those before it
    /// of which something sealed waits. Tempos ascending.
    pub(crate) rounds: Vec<(u64, u64)>,
}

impl Entry for SealRounds {
    type Key = Netuid;
    const KIND: u8 = 0x11;
}

impl SealRounds {
    /// The round to which weights of `tempo` are sealed.
    pub(crate) fn round_of(&self, tempo: u64) -> Option<u64> {
        let of_tempo = self.rounds.iter().find(|(of, _)| *of == tempo);
        of_tempo.map(|(_, round)| *round)
    }
}

/// What is sealed beside a commit. The key is subnet, tempo of the commit, and UID.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct SealedRow {
    /// The commit.
    pub(crate) digest: Digest,
    pub(crate) sealed: SealedWeights,
}

impl Entry for SealedRow {
    type Key = (Netuid, u64, Uid);
    const KIND: u8 = 0x12;
}

/// Why a sealed commit is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommitTimelockedRefusal {
    /// No commit is taken, sealed or not.
    #[error(transparent)]
    Commit(#[from] CommitWeightsRefusal),
    /// Nothing to seal to.
    #[error("no round of a beacon is fixed for tempo {tempo} of subnet {netuid}: commit to the digest alone")]
    NoRound {
        /// Which subnet.
        netuid: Netuid,
        /// The running tempo.
        tempo: u64,
    },
    /// Everybody could open it.
    #[error(
        "round {round} was made at {time_ms} ms and the newest block is of {now_ms} ms: commit to the digest alone, \
         everybody can open a seal to that round"
    )]
    Late {
        /// The round of the running tempo.
        round: u64,
        /// When its pulse is made, Unix milliseconds.
        time_ms: u64,
        /// Time of the newest block, Unix milliseconds.
        now_ms: u64,
    },
}

impl CommitTimelockedRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Commit(refusal) => refusal.rule(),
            Self::NoRound { .. } => "seal round",
            Self::Late { .. } => "seal time",
        }
    }
}

/// An accepted sealed commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedTimelocked {
    /// The commit.
    pub commit: AcceptedCommit,
    /// The round that opens it.
    pub round: u64,
    /// What is sealed beside it.
    pub sealed: SealedWeights,
}

impl fmt::Display for AcceptedTimelocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let AcceptedCommit {
            netuid,
            uid,
            tempo,
            reveal_tempo,
            ..
        } = self.commit;
        write!(
            f,
            "commits UID {uid} on subnet {netuid} to weights of tempo {tempo}, to be opened in tempo {reveal_tempo} by \
             the pulse of round {}",
            self.round
        )
    }
}

/// Why what is sealed gives no weights.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealRefusal {
    /// It does not open.
    #[error(transparent)]
    Seal(#[from] SealFault),
    /// What it holds breaks a rule of reveals.
    #[error(transparent)]
    Reveal(#[from] RevealWeightsRefusal),
}

impl State {
    pub(crate) fn check_commit_timelocked(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        (commit, sealed): (WeightsCommit, &SealedWeights),
        now: BlockNumber,
    ) -> Result<AcceptedTimelocked, CommitTimelockedRefusal> {
        let commit = self.check_commit_weights(hotkey, netuid, commit, now)?;
        let tempo = commit.tempo;
        let rounds = self.seal_rounds(netuid);
        let fixed = self
            .beacon()
            .zip(rounds.and_then(|rounds| rounds.round_of(tempo)));
        let (beacon, round) = fixed.ok_or(CommitTimelockedRefusal::NoRound { netuid, tempo })?;
        let (time_ms, now_ms) = (beacon.time_ms(round), self.time_ms());
        if now_ms >= time_ms {
            return Err(CommitTimelockedRefusal::Late {
                round,
                time_ms,
                now_ms,
            });
        }
        Ok(AcceptedTimelocked {
            commit,
            round,
            sealed: sealed.clone(),
        })
    }

    pub(crate) fn commit_timelocked(&mut self, accepted: &AcceptedTimelocked) {
        let AcceptedTimelocked { commit, sealed, .. } = accepted;
        self.commit_weights(commit);
        let row = SealedRow {
            digest: commit.commit.0,
            sealed: sealed.clone(),
        };
        self.table.write(&(commit.netuid, commit.tempo, commit.uid), &row);
    }

    pub(crate) fn seal_rounds(&self, netuid: Netuid) -> Option<SealRounds> {
        self.table.read(&netuid)
    }

    /// Notes that a subnet was created, or opened a tempo that began `tempo_blocks` after the one before, and fixes the
    /// tempo's round.
    ///
    /// - **Formula**: the planned opening is as many times the mean block of the tempo before away as there are blocks
    ///   until then; the round is the first that is not before it and a sixteenth of a tempo.
    /// - **Rounding**: up, so the round is rather late.
    pub(crate) fn fix_seal_round(&mut self, netuid: Netuid, subnet: &Subnet, tempo_blocks: u64) {
        let Some(beacon) = self.beacon() else { return };
        let opened_ms = self.time_ms();
        let before = self.seal_rounds(netuid);
        let mut rounds = before
            .as_ref()
            .map_or_else(Vec::new, |before| before.rounds.clone());
        rounds.retain(|(tempo, _)| self.has_seals(netuid, *tempo));
        let elapsed_ms = before.map(|before| opened_ms.saturating_sub(before.opened_ms));
        if let Some(ahead_ms) =
            elapsed_ms.and_then(|elapsed_ms| seal_ahead_ms(subnet, elapsed_ms, tempo_blocks))
        {
            let round = beacon.round_from(opened_ms.saturating_add(ahead_ms));
            rounds.push((subnet.schedule.tempo, round));
        }
        self.table.write(&netuid, &SealRounds { opened_ms, rounds });
    }

    fn has_seals(&self, netuid: Netuid, tempo: u64) -> bool {
        self.table.scan::<SealedRow>((netuid, tempo)).next().is_some()
    }

    /// Rounds for whose pulses something sealed waits.
    pub(crate) fn rounds_in_use(&self) -> BTreeSet<u64> {
        let mut in_use = BTreeSet::new();
        for (netuid, SealRounds { rounds, .. }) in self.table.scan::<SealRounds>(()) {
            let waits = rounds
                .into_iter()
                .filter(|(tempo, _)| self.has_seals(netuid, *tempo));
            in_use.extend(waits.map(|(_, round)| round));
        }
        in_use
    }

    /// Opens what is sealed, due and has its pulse, as much as a block may.
    pub(crate) fn open_seals(&mut self, now: BlockNumber) -> Vec<OpenedSealView> {
        if !self.has_pulses() {
            return Vec::new();
        }
        let count_max = usize::try_from(self.network(NetworkParameterId::SealsPerBlock));
        let due = self.openable_seals(count_max.expect("the table bounds it by 4096"));
        let opened = due
            .into_iter()
            .map(|(key, pulse)| self.open_seal(key, &pulse, now))
            .collect();
        self.drop_idle_pulses();
        opened
    }

    /// Keys of sealed rows that are due and have their pulse, the first `count_max` in the order of subnets.
    fn openable_seals(&self, count_max: usize) -> Vec<((Netuid, u64, Uid), PulseSignature)> {
        let mut openable = Vec::new();
        for (netuid, SealRounds { rounds, .. }) in self.table.scan::<SealRounds>(()) {
            let due = self.due_tempo(&self.expect_subnet(netuid));
            let of_due = rounds.into_iter().find(|(tempo, _)| Some(*tempo) == due);
            let Some((tempo, pulse)) =
                of_due.and_then(|(tempo, round)| Some((tempo, self.kept_pulse(round)?)))
            else {
                continue;
            };
            let left = count_max.saturating_sub(openable.len());
            let sealed = self.table.scan::<SealedRow>((netuid, tempo)).take(left);
            openable.extend(sealed.map(|(key, _)| (key, pulse)));
        }
        openable
    }

    /// The tempo whose commits are revealed in the running one, where there are commits.
    fn due_tempo(&self, subnet: &Subnet) -> Option<u64> {
        let reveal_period = subnet.parameters.value(ParameterId::RevealPeriodTempos);
        let due = subnet.schedule.tempo.checked_sub(reveal_period);
        due.filter(|_| subnet.parameters.is_on(ParameterId::CommitReveal))
    }

    fn open_seal(
        &mut self,
        key: (Netuid, u64, Uid),
        pulse: &PulseSignature,
        now: BlockNumber,
    ) -> OpenedSealView {
        let row: SealedRow = self.table.read(&key).expect("it was found in this very state");
        self.table.remove::<SealedRow>(&key);
        let (netuid, tempo, uid) = key;
        let outcome = self.check_opened((netuid, uid), &row, pulse, now);
        if let Ok(accepted) = &outcome {
            self.reveal_weights(accepted);
        }
        OpenedSealView {
            netuid,
            tempo,
            uid,
            fault: outcome.err().map(|refusal| refusal.to_string()),
        }
    }

    fn check_opened(
        &self,
        (netuid, uid): (Netuid, Uid),
        row: &SealedRow,
        pulse: &PulseSignature,
        now: BlockNumber,
    ) -> Result<AcceptedWeights, SealRefusal> {
        let weights = row.sealed.open(pulse)?;
        let hotkey = self.expect_neuron(netuid, uid).hotkey;
        Ok(self.check_reveal_weights(hotkey, netuid, &weights, now)?)
    }

    /// Drops what is sealed beside commits of a UID that are not open any more.
    pub(crate) fn drop_settled_seals(&mut self, netuid: Netuid, uid: Uid) {
        let Some(SealRounds { rounds, .. }) = self.seal_rounds(netuid) else {
            return;
        };
        let Commits(open) = self.commits(netuid, uid);
        for (tempo, _) in rounds {
            let row: Option<SealedRow> = self.table.read(&(netuid, tempo, uid));
            let is_open = |row: &SealedRow| {
                open.iter()
                    .any(|commit| (commit.tempo, commit.digest) == (tempo, row.digest))
            };
            if row.is_some_and(|row| !is_open(&row)) {
                self.table.remove::<SealedRow>(&(netuid, tempo, uid));
            }
        }
    }

    /// UIDs of which a commit that was due in the running tempo is open when it ends. A reveal settles those before
    /// it, so it is their newest.
    pub(crate) fn unrevealed(&self, netuid: Netuid, subnet: &Subnet) -> BTreeSet<Uid> {
        let Some(due) = self.due_tempo(subnet) else {
            return BTreeSet::new();
        };
        let has_pulse = self
            .seal_rounds(netuid)
            .and_then(|rounds| self.kept_pulse(rounds.round_of(due)?))
            .is_some();
        let open = self.table.scan::<Commits>(netuid);
        let newest_due = open.filter_map(|((_, uid), Commits(commits))| {
            let newest = commits.into_iter().rfind(|commit| commit.tempo == due)?;
            Some((uid, newest.digest))
        });
        let waits_for_room = |uid: Uid, digest: Digest| {
            let row: Option<SealedRow> = self.table.read(&(netuid, due, uid));
            has_pulse && row.is_some_and(|row| row.digest == digest)
        };
        newest_due
            .filter(|(uid, digest)| !waits_for_room(*uid, *digest))
            .map(|(uid, _)| uid)
            .collect()
    }
}

/// From the opening of a tempo to the time before which no round opens its weights, milliseconds; `None` where nothing is
/// committed to.
fn seal_ahead_ms(subnet: &Subnet, elapsed_ms: u64, elapsed_blocks: u64) -> Option<u64> {
    let parameters = &subnet.parameters;
    if !parameters.is_on(ParameterId::CommitReveal) {
        return None;
    }
    let reveal_period = parameters.value(ParameterId::RevealPeriodTempos);
    let reveals = subnet.opening(subnet.schedule.tempo.saturating_add(reveal_period));
    let blocks = reveals.0.saturating_sub(subnet.schedule.tempo_start.0);
    let tempo_blocks = parameters.value(ParameterId::TempoBlocks);
    let times_16 = u128::from(blocks)
        .saturating_mul(MARGIN_DIVISOR)
        .saturating_add(tempo_blocks.into());
    let scaled = times_16.saturating_mul(elapsed_ms.into());
    let divisor = u128::from(elapsed_blocks).saturating_mul(MARGIN_DIVISOR).max(1);
    u64::try_from(scaled.div_ceil(divisor)).ok()
}

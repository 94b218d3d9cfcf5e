//! What a validator must not forget: ratings, who holds which UID, weights on their way, where it stands in a tempo.
//!
//! The state is one file, written whole and atomically after each round, so that a crash at any moment leaves the
//! state after some round. Identity is the hotkey: a UID whose holder or registration changed starts fresh, even
//! when the newcomer serves from the same address.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agon_evidence::fold::Memory;
use agon_protocol::codec::{self, CodecError};
use agon_protocol::id::{BlockNumber, Hotkey, Uid};
use agon_protocol::message::Metagraph;
use agon_runtime::files::{WriteError, write_atomic};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::commit::{Owed, Pending};
use crate::evidence::{Evidence, EvidenceError, Record};

/// Most bytes of the file: 4,096 windows and room.
const BYTES_MAX: usize = 256 * 1024 * 1024;
const FILE_NAME: &str = "state";

/// Who holds a UID, since when.
type Holder = (Hotkey, BlockNumber);

/// A validator's state on one subnet.
#[derive(Clone, Debug, Default, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct State {
    /// The tempo it works in.
    pub tempo: u64,
    /// Number of the next round in that tempo.
    pub round: u32,
    /// Rounds ever judged or abstained from; orders who was asked when.
    pub rounds: u64,
    /// Where the evidence ended when this state was written; what follows is not folded in yet.
    pub evidence_end: u64,
    /// Where in the evidence no record of that tempo comes before.
    pub tempo_began: u64,
    /// What it remembers of its miners.
    pub memory: Memory,
    /// What it remembered when the tempo opened: what the tempo's evidence begins with.
    pub carried: Memory,
    /// UIDs that changed hands since the last round.
    pub forgotten: Vec<Uid>,
    /// Who held each UID when it was last seen.
    pub holders: BTreeMap<Uid, Holder>,
    /// Weights between commit and reveal.
    pub pending: Vec<Pending>,
    /// Evidence between commit and opening.
    pub owed: Vec<Owed>,
}

/// Why the state cannot be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a state.
    #[error(
        "{} is damaged: {source}; move it away to have ratings made again from the evidence, without the weights \
         that are under way", path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: CodecError,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl State {
    /// Reads the state in `dir`, or begins with an empty one.
    ///
    /// # Errors
    ///
    /// [`StateError`].
    pub fn load(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(FILE_NAME);
        match std::fs::read(&path) {
            Ok(bytes) => {
                codec::decode(&bytes, BYTES_MAX).map_err(|source| StateError::Damaged { path, source })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(StateError::Read { path, source }),
        }
    }

    /// Writes the state into `dir`, whole or not at all.
    ///
    /// # Errors
    ///
    /// [`StateError::Write`].
    pub fn save(&self, dir: &Path) -> Result<(), StateError> {
        Ok(write_atomic(&dir.join(FILE_NAME), &codec::encode(self), 0o600)?)
    }

    /// Takes note of who holds which UID now, and forgets everything about UIDs that changed hands or are gone.
    ///
    /// Gives the UIDs that were forgotten.
    pub fn meet(&mut self, metagraph: &Metagraph) -> Vec<Uid> {
        let now: BTreeMap<Uid, Holder> = metagraph
            .neurons
            .iter()
            .map(|neuron| (neuron.uid, (neuron.hotkey, neuron.registered)))
            .collect();
        let changed = self
            .holders
            .iter()
            .filter(|(uid, holder)| !is_same(holder, now.get(uid)));
        let changed: Vec<Uid> = changed.map(|(uid, _)| *uid).collect();
        for uid in &changed {
            self.forget(*uid);
        }
        self.holders = now;
        changed
    }

    fn forget(&mut self, uid: Uid) {
        self.memory.forget(uid);
        if let Err(place) = self.forgotten.binary_search(&uid) {
            self.forgotten.insert(place, uid);
        }
    }

    /// Moves on to `tempo`, of which there is no evidence before `began`; rounds are counted from 0 in each.
    pub fn enter(&mut self, tempo: u64, began: u64) {
        if self.tempo != tempo {
            self.tempo = tempo;
            self.tempo_began = began;
            self.round = 0;
            self.carried = self.memory.clone();
            self.forgotten.clear();
        }
    }

    /// Counts a round, asked or not, so that its number is never drawn again.
    pub const fn count_round(&mut self) {
        self.round = self.round.saturating_add(1);
        self.rounds = self.rounds.saturating_add(1);
    }

    /// Folds judged rounds that are in the evidence but came too late for the written state.
    ///
    /// Gives how many there were.
    ///
    /// # Errors
    ///
    /// [`EvidenceError`] when the evidence cannot be read.
    pub fn catch_up(&mut self, evidence: &Evidence) -> Result<u64, EvidenceError> {
        let mut folded = 0;
        let mut seen: BTreeMap<Uid, Hotkey> = self
            .holders
            .iter()
            .map(|(uid, (hotkey, _))| (*uid, *hotkey))
            .collect();
        // A log that was cut or replaced is shorter than the state remembers; then there is nothing to add.
        let from = self.evidence_end.min(evidence.end());
        self.tempo_began = self.tempo_began.min(from);
        for record in evidence.records_from(from)? {
            let Record::Round(mut round) = record? else {
                continue;
            };
            for miner in &round.miners {
                let before = seen.insert(miner.uid, miner.hotkey);
                if before.is_some_and(|before| before != miner.hotkey) {
                    self.forget(miner.uid);
                }
            }
            self.enter(round.tempo, from);
            (self.round, self.rounds) = (round.round, round.sequence);
            self.memory.fold(&mut round);
            self.forgotten.clear();
            self.count_round();
            folded += 1;
        }
        self.evidence_end = evidence.end();
        self.holders
            .retain(|uid, (hotkey, _)| seen.get(uid).is_none_or(|seen| seen == hotkey));
        for (uid, hotkey) in seen {
            // When it was registered is not in the evidence, so only the key can be told from the next holder's.
            self.holders.entry(uid).or_insert((hotkey, BlockNumber(0)));
        }
        Ok(folded)
    }
}

/// Whether the holder of a UID is still the one who was noted; a block of 0 stands for one that is not known.
fn is_same(noted: &Holder, now: Option<&Holder>) -> bool {
    now.is_some_and(|now| noted.0 == now.0 && (noted.1 == now.1 || noted.1 == BlockNumber(0)))
}

#[cfg(test)]
mod tests {
    use agon_protocol::amount::Amount;
    use agon_protocol::id::{Coldkey, Digest, Netuid};
    use agon_protocol::message::NeuronView;
    use agon_scoring::compare::{Anchor, JudgedAnswer, compare};

    use super::*;

    fn neuron(uid: u16, hotkey: u8, registered: u64) -> NeuronView {
        NeuronView {
            uid: Uid(uid),
            hotkey: Hotkey([hotkey; 32]),
            coldkey: Coldkey([9; 32]),
            axon: None,
            axon_height: BlockNumber(0),
            stake: Amount::ZERO,
            permit: false,
            active: true,
            registered: BlockNumber(registered),
            last_update: BlockNumber(0),
            consensus: 0,
            incentive: 0,
            validator_trust: 0,
            dividends: 0,
            coverage_ppm: 0,
            emission: Amount::ZERO,
            earned: Amount::ZERO,
        }
    }

    fn metagraph(neurons: Vec<NeuronView>) -> Metagraph {
        Metagraph {
            netuid: Netuid(1),
            height: BlockNumber(9),
            hash: Digest([0; 32]),
            tempo: 1,
            neurons,
        }
    }

    fn rated() -> State {
        let answer = |uid| JudgedAnswer {
            uid,
            digest: Some([1; 32]),
            score_ppm: 500_000,
        };
        let comparison = compare(&[answer(0), answer(1)], &Anchor::perfect([2; 32])).unwrap();
        let mut state = State::default();
        state.meet(&metagraph(vec![neuron(0, 10, 5), neuron(1, 11, 5)]));
        state.memory.ratings.record(&comparison);
        state
    }

    fn rated_uids(state: &State) -> Vec<u16> {
        state
            .memory
            .ratings
            .standings()
            .iter()
            .map(|standing| standing.uid)
            .collect()
    }

    #[test]
    fn a_uid_that_changed_hands_starts_fresh() {
        let mut state = rated();
        let changed = state.meet(&metagraph(vec![neuron(0, 12, 8), neuron(1, 11, 5)]));
        assert_eq!(changed, [Uid(0)]);
        assert_eq!(rated_uids(&state), [1]);
        assert_eq!(state.forgotten, [Uid(0)]);
    }

    #[test]
    fn a_hotkey_that_left_and_came_back_starts_fresh() {
        let mut state = rated();
        assert_eq!(
            state.meet(&metagraph(vec![neuron(0, 10, 8), neuron(1, 11, 5)])),
            [Uid(0)]
        );
        assert_eq!(rated_uids(&state), [1]);
    }

    #[test]
    fn a_uid_that_stays_keeps_its_rating() {
        let mut state = rated();
        assert_eq!(
            state.meet(&metagraph(vec![neuron(0, 10, 5), neuron(1, 11, 5)])),
            []
        );
        assert_eq!(rated_uids(&state), [0, 1]);
    }

    #[test]
    fn the_state_survives_a_restart_and_a_damaged_file_is_said_to_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), State::default());
        let state = rated();
        state.save(dir.path()).unwrap();
        assert_eq!(State::load(dir.path()).unwrap(), state);
        std::fs::write(dir.path().join(FILE_NAME), [1, 2, 3]).unwrap();
        assert!(matches!(State::load(dir.path()), Err(StateError::Damaged { .. })));
    }
}

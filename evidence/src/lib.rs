//! What a validator's tempo rests on, and how anyone checks it.
//!
//! During a tempo a validator draws miners, asks them, judges and compares the answers, and makes weights. Each step
//! becomes a leaf of one Merkle tree, whose root goes on the ledger before anyone knows which leaves will be asked
//! for. Then:
//!
//! - the ledger picks slots that the validator's draw obliged it to, and the validator shows their leaves
//!   ([`slots`], [`opening`]); the share that it proves multiplies its dividends ([`coverage`]);
//! - with them it shows some weights down to the signed answers that they rest on ([`trail`]), so that what nobody can
//!   fetch is looked at too;
//! - anyone fetches the whole evidence ([`bundle`]) and recomputes it ([`recompute`]);
//! - a step that does not follow from the rules is shown to the ledger by the leaves it is made of ([`forgery`]).
//!
//! Pure: no clock, no disk, no floats. The ledger, a validator and an auditor call the same functions.

#![deny(clippy::float_arithmetic, clippy::cast_possible_truncation)]

pub mod answer;
pub mod bundle;
pub mod burst;
pub mod coverage;
pub mod fold;
pub mod forgery;
pub mod opening;
pub mod recompute;
pub mod record;
pub mod sections;
pub mod slots;
pub mod trail;
pub mod tree;
pub mod window;

use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::EvidenceView;

/// What everyone knows of the tempo that evidence is of.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The ledger: digest of its genesis.
    pub genesis: Digest,
    /// The subnet.
    pub netuid: Netuid,
    /// Name of its task in that tempo.
    pub task: &'a str,
    /// The tempo.
    pub tempo: u64,
    /// Its beacon.
    pub beacon: Digest,
    /// The validator whose evidence it is.
    pub validator: Hotkey,
    /// The key that it draws and asks by: its session's in the tempo, or its hotkey.
    pub asker: Hotkey,
    /// Who could be drawn when the tempo opened, UIDs ascending; the validator itself may be among them.
    pub roster: &'a [(Uid, Hotkey)],
    /// Answers that each of them said it can give at once, in their order.
    pub at_once: &'a [u16],
    /// Rounds that are owed in the tempo.
    pub rounds: u32,
    /// Miners that are owed in a round, at most.
    pub miners: u32,
}

impl<'a> Context<'a> {
    /// What the ledger says of a tempo, for the evidence of one validator. Before its commit the ledger does not know by
    /// which key it asks, and its hotkey is taken.
    #[must_use]
    pub fn of(view: &'a EvidenceView, genesis: Digest, validator: Hotkey) -> Self {
        Self {
            genesis,
            netuid: view.netuid,
            task: &view.task,
            tempo: view.tempo,
            beacon: view.beacon,
            validator,
            asker: view.of(validator).map_or(validator, |line| line.asker),
            roster: &view.roster,
            at_once: &view.at_once,
            rounds: view.rounds,
            miners: view.miners,
        }
    }

    /// The same for a validator that asks by `asker`.
    #[must_use]
    pub const fn asked_by(self, asker: Hotkey) -> Self {
        Self { asker, ..self }
    }

    /// Who can be drawn by the validator: the roster without itself.
    #[must_use]
    pub fn candidates(&self) -> Vec<Uid> {
        let others = self.roster.iter().filter(|(_, hotkey)| *hotkey != self.validator);
        others.map(|(uid, _)| *uid).collect()
    }

    /// The key that held a UID when the tempo opened.
    #[must_use]
    pub fn holder(&self, uid: Uid) -> Option<Hotkey> {
        let place = self.roster.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        Some(self.roster[place].1)
    }

    /// Answers that a UID said it can give at once; 0 for one that is not in the roster.
    #[must_use]
    pub fn at_once(&self, uid: Uid) -> u16 {
        let place = self.roster.binary_search_by_key(&uid, |(uid, _)| *uid);
        let at_once = place.ok().and_then(|place| self.at_once.get(place));
        at_once.copied().unwrap_or(0)
    }

    /// How many slots the validator owes in the tempo.
    #[must_use]
    pub fn slot_count(&self) -> u32 {
        self.rounds.saturating_mul(self.miners_per_round())
    }

    /// How many miners each of its rounds owes.
    #[must_use]
    pub fn miners_per_round(&self) -> u32 {
        let candidates = u32::try_from(self.candidates().len()).unwrap_or(u32::MAX);
        self.miners.min(candidates)
    }
}

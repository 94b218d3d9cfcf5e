//! Whether an answer leaf is what it says: drawn, asked of the miner that was drawn, and signed by it.

use std::sync::Arc;

use agon_protocol::id::Uid;
use agon_protocol::message::{AnswerLeaf, AnswerResult};
use agon_protocol::sign::{DrawInput, DrawProof, SignError, verify_draw};
use agon_scoring::draw::Draw;
use agon_subnets::Task;
use thiserror::Error;

use crate::Context;
use crate::slots::schedule;

/// A rule that an answer leaf breaks.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Broken {
    /// A field that does not fit the tempo, the round or the draw.
    #[error("{field} is not that of the draw")]
    Field {
        /// Which.
        field: &'static str,
    },
    /// A miner that the round did not draw.
    #[error("uid {uid} was not drawn in round {round}")]
    NotDrawn {
        /// Whom the leaf names.
        uid: Uid,
        /// The round.
        round: u32,
    },
    /// A receipt that the miner did not sign.
    #[error("the receipt is not signed by the miner")]
    Signature,
}

/// The draws of a validator's first rounds of a tempo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draws {
    proofs: Vec<DrawProof>,
    outputs: Vec<[u8; 32]>,
    rounds: Vec<Vec<Uid>>,
}

impl Draws {
    /// Checks the proofs of the rounds 0, 1 and so on, and gives what they draw.
    ///
    /// # Errors
    ///
    /// [`SignError`] when a proof is not by the key that the validator asks by, for its round.
    pub fn check(context: &Context<'_>, proofs: &[DrawProof]) -> Result<Self, SignError> {
        let mut outputs = Vec::with_capacity(proofs.len());
        for (round, proof) in (0u32..).zip(proofs) {
            let input = DrawInput {
                genesis: context.genesis,
                netuid: context.netuid,
                tempo: context.tempo,
                beacon: context.beacon,
                round,
            };
            outputs.push(verify_draw(&context.asker.0, &input, proof)?);
        }
        let count = context.miners_per_round() as usize;
        Ok(Self {
            proofs: proofs.to_vec(),
            rounds: schedule(&context.candidates(), &outputs, count),
            outputs,
        })
    }

    /// Whether the draw of `round` is among them.
    #[must_use]
    pub fn have(&self, round: u32) -> bool {
        (round as usize) < self.proofs.len()
    }

    /// How many rounds' draws there are.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.proofs.len()
    }

    /// The VRF output of `round`, if its draw is among them.
    #[must_use]
    pub fn output(&self, round: u32) -> Option<[u8; 32]> {
        self.outputs.get(round as usize).copied()
    }

    /// The miners of `round` in the order drawn; none when its draw is not among them.
    #[must_use]
    pub fn round(&self, round: u32) -> &[Uid] {
        self.rounds.get(round as usize).map_or(&[], Vec::as_slice)
    }

    /// The miner of a slot; `None` when its round was not drawn.
    #[must_use]
    pub fn miner(&self, context: &Context<'_>, slot: u32) -> Option<Uid> {
        let per_round = context.miners_per_round().max(1);
        let round = self.rounds.get((slot / per_round) as usize)?;
        round.get((slot % per_round) as usize).copied()
    }
}

/// Checks a leaf against the draws of its round and of all before, which `draws` [have](Draws::have).
///
/// # Errors
///
/// [`Broken`] names the rule.
pub fn check(context: &Context<'_>, draws: &Draws, leaf: &AnswerLeaf) -> Result<(), Broken> {
    let header = &leaf.header;
    let round = header.round as usize;
    let (Some(proof), Some(output)) = (draws.proofs.get(round), draws.outputs.get(round)) else {
        return Err(Broken::Field { field: "round" });
    };
    if !draws.rounds[round].contains(&leaf.uid) && !may_be_burst(context, header.round) {
        return Err(Broken::NotDrawn {
            uid: leaf.uid,
            round: header.round,
        });
    }
    let seed = Draw::new(*output).sampling_seed(leaf.uid.0, header.item_index);
    let fields = [
        ("genesis", header.genesis == context.genesis),
        ("netuid", header.netuid == context.netuid),
        ("task", header.task == context.task),
        ("tempo", header.tempo == context.tempo),
        ("beacon", header.beacon == context.beacon),
        ("draw", header.draw == *proof),
        ("sender", header.sender == context.asker),
        ("receiver", Some(header.receiver) == context.holder(leaf.uid)),
        ("seed", header.sampling.seed == seed),
        ("score", leaf.score_ppm <= agon_scoring::compare::PPM),
    ];
    if let Some((field, _)) = fields.into_iter().find(|(_, holds)| !holds) {
        return Err(Broken::Field { field });
    }
    check_result(leaf)
}

/// A round beyond those owed may be a burst, which asks everybody, where the task has bursts.
fn may_be_burst(context: &Context<'_>, round: u32) -> bool {
    let has_bursts = |task: Arc<dyn Task>| task.burst_items().is_some();
    round >= context.rounds && agon_subnets::task(context.task).is_some_and(has_bursts)
}

fn check_result(leaf: &AnswerLeaf) -> Result<(), Broken> {
    let AnswerResult::Answered { receipt, .. } = &leaf.result else {
        return match leaf.score_ppm {
            0 => Ok(()),
            _ => Err(Broken::Field { field: "score" }),
        };
    };
    if receipt.message().miner != leaf.header.receiver {
        return Err(Broken::Field { field: "miner" });
    }
    if receipt.message().challenge != leaf.header.digest() {
        return Err(Broken::Field { field: "challenge" });
    }
    receipt.check_signature().map_err(|_| Broken::Signature)
}

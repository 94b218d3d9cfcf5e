//! A validator's work of a tempo with real keys: draws, challenges, receipts, leaves and the tree over them.
//!
//! What a miner answers does not matter here, so that every answer is the same text; what is signed and hashed is as on
//! a network.

use agon_evidence::Context;
use agon_evidence::answer::Draws;
use agon_protocol::id::{Digest, Hotkey, Uid};
use agon_protocol::message::{
    AnswerLeaf, AnswerResult, ChallengeHeader, Environment, FinishReason, Receipt, Sampling, Signed, Trace,
    answer_digest,
};
use agon_protocol::sign::{DrawInput, DrawProof, Keypair};
use agon_scoring::draw::Draw;

use crate::ledger::{Actor, SUBNET};

/// The task whose name stands in challenges.
pub const TASK: &str = "reading";

/// A tempo as one validator sees it.
#[derive(Clone, Debug)]
pub struct Tempo {
    genesis: Digest,
    number: u64,
    beacon: Digest,
    validator: Keypair,
    miners: Vec<(Uid, Keypair)>,
    roster: Vec<(Uid, Hotkey)>,
    rounds: u32,
    miners_per_round: u32,
    proofs: Vec<DrawProof>,
    outputs: Vec<[u8; 32]>,
}

impl Tempo {
    /// The draws of all rounds that a validator owes in a tempo, over these miners, UIDs ascending.
    #[must_use]
    pub fn draw(
        (genesis, number, beacon): (Digest, u64, Digest),
        validator: &Actor,
        miners: &[(Uid, Actor)],
        (rounds, miners_per_round): (u32, u32),
    ) -> Self {
        let draw = |round| {
            validator.hotkey.draw(&DrawInput {
                genesis,
                netuid: SUBNET,
                tempo: number,
                beacon,
                round,
            })
        };
        let (outputs, proofs) = (0..rounds).map(draw).unzip();
        let key = |(uid, actor): &(Uid, Actor)| (*uid, actor.hotkey.clone());
        let miners: Vec<(Uid, Keypair)> = miners.iter().map(key).collect();
        Self {
            genesis,
            number,
            beacon,
            validator: validator.hotkey.clone(),
            roster: miners.iter().map(|(uid, key)| (*uid, key.hotkey())).collect(),
            miners,
            rounds,
            miners_per_round,
            proofs,
            outputs,
        }
    }

    /// What everyone knows of the tempo.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context {
            genesis: self.genesis,
            netuid: SUBNET,
            task: TASK,
            tempo: self.number,
            beacon: self.beacon,
            validator: self.validator.hotkey(),
            asker: self.validator.hotkey(),
            roster: &self.roster,
            at_once: &[],
            rounds: self.rounds,
            miners: self.miners_per_round,
        }
    }

    /// The draws, checked as the ledger does.
    ///
    /// # Panics
    ///
    /// Never: they were made with the key that they are checked against.
    #[must_use]
    pub fn draws(&self) -> Draws {
        Draws::check(&self.context(), &self.proofs).expect("made with the validator's own key")
    }

    /// Proofs of the draws, the first round first.
    #[must_use]
    pub fn proofs(&self) -> &[DrawProof] {
        &self.proofs
    }

    /// The header of a challenge to a miner in a round.
    #[must_use]
    pub fn header(&self, round: u32, uid: Uid, receiver: Hotkey) -> ChallengeHeader {
        let output = self.outputs[round as usize];
        ChallengeHeader {
            genesis: self.genesis,
            netuid: SUBNET,
            task: TASK.to_owned(),
            tempo: self.number,
            beacon: self.beacon,
            round,
            draw: self.proofs[round as usize],
            item_index: 0,
            sender: self.validator.hotkey(),
            receiver,
            nonce: u64::from(round) << 16 | u64::from(uid.0),
            issued_ms: 0,
            deadline_ms: 10_000,
            prompt: Digest(Draw::new(output).item_seed(0)),
            sampling: Sampling {
                temperature_milli: 700,
                top_p_ppm: 1_000_000,
                top_k: 0,
                seed: Draw::new(output).sampling_seed(uid.0, 0),
            },
            tokens_max: 64,
            tokens_min: 1,
        }
    }

    /// The leaf of an answer that `signer` gave to the challenge for `uid` in a round.
    #[must_use]
    pub fn answered(&self, round: u32, uid: Uid, receiver: Hotkey, signer: &Keypair) -> AnswerLeaf {
        let header = self.header(round, uid, receiver);
        AnswerLeaf {
            uid,
            result: AnswerResult::Answered {
                receipt: Box::new(receipt(&header, signer)),
                first_ms: 20,
                total_ms: 90,
            },
            header,
            audit: None,
            score_ppm: 1_000_000,
        }
    }

    /// The leaf of the honest answer in a slot; `None` when there is no such slot.
    #[must_use]
    pub fn slot(&self, draws: &Draws, slot: u32) -> Option<AnswerLeaf> {
        let context = self.context();
        let uid = draws.miner(&context, slot)?;
        let (_, key) = self.miners.iter().find(|(other, _)| *other == uid)?;
        let round = slot / context.miners_per_round().max(1);
        Some(self.answered(round, uid, key.hotkey(), key))
    }
}

/// A receipt for a challenge.
#[must_use]
pub fn receipt(header: &ChallengeHeader, signer: &Keypair) -> Signed<Receipt> {
    let receipt = Receipt {
        challenge: header.digest(),
        answer: answer_digest("The lamp is in the kitchen."),
        miner: signer.hotkey(),
        prompt_tokens: 90,
        answer_tokens: 7,
        trace: Trace::of(&[1; 7], &[[0; 16]; 7]),
        received_ms: 10,
        first_token_ms: 20,
        finished_ms: 80,
        finish: FinishReason::EndOfText,
        model: Digest([1; 32]),
        environment: Environment {
            dtype: String::from("f32"),
            device: String::from("cpu"),
            libtorch: String::from("2.11.0"),
        },
    };
    Signed::sign(receipt, signer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_leaves_hold() {
        let miners: Vec<(Uid, Actor)> = (0..9).map(|uid| (Uid(uid), Actor::new(1, uid.into()))).collect();
        let tempo = Tempo::draw(
            (Digest([1; 32]), 3, Digest([2; 32])),
            &Actor::new(1, 100),
            &miners,
            (2, 4),
        );
        let draws = tempo.draws();
        for slot in 0..8 {
            let leaf = tempo.slot(&draws, slot).unwrap();
            assert_eq!(
                agon_evidence::answer::check(&tempo.context(), &draws, &leaf),
                Ok(())
            );
        }
        assert!(tempo.slot(&draws, 8).is_none());
    }
}

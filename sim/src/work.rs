//! A validator's work of a tempo with real keys: draws, challenges, receipts, and the evidence that is made of them.
//!
//! Which answers are right is set ([`Answering`]); what is signed, judged and hashed is as on a network.

use std::collections::{BTreeMap, BTreeSet};

use agon_evidence::Context;
use agon_evidence::answer::Draws;
use agon_evidence::bundle::{Bundle, Outcome, policy};
use agon_evidence::fold::Memory;
use agon_evidence::record::{AnswerRecord, ItemRecord, Outcome as Answer, Round};
use agon_protocol::id::{Digest, Hotkey, Uid};
use agon_protocol::message::{
    AnswerLeaf, AnswerResult, Challenge, ChallengeHeader, Environment, Failure, FinishReason, Receipt,
    Sampling, Signed, Trace, answer_digest,
};
use agon_protocol::sign::{DrawInput, DrawProof, Keypair};
use agon_scoring::draw::Draw;
use agon_subnets::reading::Reading;
use agon_subnets::{Given, Item, Task};

use crate::ledger::{Actor, SUBNET};

/// The task whose name stands in challenges.
pub const TASK: &str = "reading";
/// Items that a drawn miner is asked in a round: what a validator asks unless it is told otherwise.
pub const ITEMS: u32 = 3;
/// The text of answers that nobody judges.
pub const TEXT: &str = "kitchen";
/// An answer that is wrong to every question.
const WRONG: &str = "nowhere at all";
/// The slot of validators here, which no miner holds.
const OWN_UID: Uid = Uid(u16::MAX);

/// How miners answer.
#[derive(Clone, Debug, Default)]
pub struct Answering {
    /// Who fails in its slots.
    pub fails: BTreeSet<Uid>,
    /// The share of a miner's answers that are right, spread evenly; 0 where it is not said.
    pub shares: BTreeMap<Uid, f64>,
}

impl Answering {
    fn is_right(&self, uid: Uid, tempo: u64, number: u32) -> bool {
        let (share, number) = (
            self.shares.get(&uid).copied().unwrap_or(0.0),
            (tempo * 1_000 + u64::from(number)) as f64,
        );
        ((number + 1.0) * share).floor() > (number * share).floor()
    }
}

/// A tempo as one validator sees it.
#[derive(Clone, Debug)]
pub struct Tempo {
    genesis: Digest,
    number: u64,
    beacon: Digest,
    validator: Hotkey,
    asker: Keypair,
    miners: Vec<(Uid, Keypair)>,
    roster: Vec<(Uid, Hotkey)>,
    rounds: u32,
    miners_per_round: u32,
    proofs: Vec<DrawProof>,
    outputs: Vec<[u8; 32]>,
}

impl Tempo {
    /// The draws of all rounds that a validator owes in a tempo in which it asks by `asker`, over these miners, UIDs
    /// ascending.
    #[must_use]
    pub fn draw(
        (genesis, number, beacon): (Digest, u64, Digest),
        (validator, asker): (Hotkey, &Keypair),
        miners: &[(Uid, Actor)],
        (rounds, miners_per_round): (u32, u32),
    ) -> Self {
        let draw = |round| {
            asker.draw(&DrawInput {
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
            validator,
            asker: asker.clone(),
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
            validator: self.validator,
            asker: self.asker.hotkey(),
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
        Draws::check(&self.context(), &self.proofs).expect("made with the key that it asks by")
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
            sender: self.asker.hotkey(),
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
                receipt: Box::new(receipt(&header, signer, TEXT)),
                first_ms: 20,
                total_ms: 90,
            },
            header,
            audit: None,
            score_ppm: 1_000_000,
        }
    }

    /// The evidence of a validator that asks in its first `rounds` rounds; and what it remembers then, which was `carried`
    /// before.
    #[must_use]
    pub fn evidence(&self, carried: &Memory, rounds: u32, miners: &Answering) -> (Bundle, Memory) {
        let (draws, context) = (self.draws(), self.context());
        let mut memory = carried.clone();
        let mut judged = Vec::new();
        for number in 0..rounds.min(self.rounds) {
            let mut round = self.round(number, draws.round(number), miners);
            memory.fold(&mut round);
            judged.push(round);
        }
        // Where nobody has earned a weight yet there is nothing to show beside the slots.
        let outcome = Outcome::of(&memory, OWN_UID, &policy(&Reading)).ok();
        let (standings, windows, row) = outcome.map_or_else(Default::default, |outcome| {
            (outcome.standings, outcome.windows, outcome.row)
        });
        let bundle = Bundle {
            genesis: context.genesis,
            netuid: SUBNET,
            tempo: self.number,
            validator: context.validator,
            own_uid: OWN_UID,
            carried: carried.clone(),
            draws: self.proofs.iter().take(judged.len()).copied().collect(),
            rounds: judged,
            forgotten: Vec::new(),
            standings,
            windows,
            row,
        };
        (bundle, memory)
    }

    fn round(&self, number: u32, drawn: &[Uid], miners: &Answering) -> Round {
        let draw = Draw::new(self.outputs[number as usize]);
        let items: Vec<Item> = (0..ITEMS)
            .map(|index| Reading.item(draw.item_seed(index)))
            .collect();
        let asks = (0..)
            .zip(&items)
            .flat_map(|(index, item)| drawn.iter().map(move |uid| (*uid, index, item)));
        let answer = |(uid, index, item)| self.answer((number, uid, index), item, miners);
        let input = DrawInput {
            genesis: self.genesis,
            netuid: SUBNET,
            tempo: self.number,
            beacon: self.beacon,
            round: number,
        };
        Round {
            netuid: SUBNET,
            tempo: self.number,
            round: number,
            sequence: number.into(),
            time_ms: 0,
            is_burst: false,
            forgotten: Vec::new(),
            beacon: self.beacon,
            draw: self.proofs[number as usize],
            audit_draw: self.asker.draw_audits(&input).1,
            answers: asks.map(answer).collect(),
            items: (0..)
                .zip(&items)
                .map(|(index, item)| item_record(draw.item_seed(index), item))
                .collect(),
            miners: Vec::new(),
        }
    }

    fn answer(
        &self,
        (round, uid, index): (u32, Uid, u32),
        item: &Item,
        answering: &Answering,
    ) -> AnswerRecord {
        let mut miners = self.miners.iter();
        let (_, key) = miners
            .find(|(other, _)| *other == uid)
            .expect("miners are drawn of these");
        let header = self.header(round, uid, key.hotkey());
        let draw = Draw::new(self.outputs[round as usize]);
        let challenge = Challenge {
            genesis: header.genesis,
            netuid: header.netuid,
            task: header.task,
            tempo: header.tempo,
            beacon: header.beacon,
            round,
            draw: header.draw,
            item_index: index,
            sender: header.sender,
            receiver: header.receiver,
            nonce: header.nonce << 8 | u64::from(index),
            issued_ms: header.issued_ms,
            deadline_ms: header.deadline_ms,
            prompt: item.prompt.clone(),
            sampling: Sampling {
                seed: draw.sampling_seed(uid.0, index),
                ..header.sampling
            },
            tokens_max: item.tokens_max,
            tokens_min: item.tokens_min,
        };
        let challenge = Signed::sign(challenge, &self.asker);
        let text = match answering.is_right(uid, self.number, round * ITEMS + index) {
            true => item.reference.as_str(),
            false => WRONG,
        };
        let fails = index == 0 && answering.fails.contains(&uid);
        let answered = || Answer::Answered {
            receipt: Box::new(receipt(&challenge.message().header(), key, text)),
            text: text.to_owned(),
            tokens: Vec::new(),
            first_ms: 20,
            total_ms: 90,
        };
        let failed = || Answer::Failed {
            failure: Failure::Late,
            reason: String::new(),
        };
        AnswerRecord {
            uid,
            outcome: if fails { failed() } else { answered() },
            score_ppm: if fails {
                0
            } else {
                Reading.judge(item, &Given::text(text)).score_ppm
            },
            challenge,
            audit: None,
            reason: String::new(),
            strength_ppm: 0,
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

fn item_record(seed: [u8; 32], item: &Item) -> ItemRecord {
    ItemRecord {
        seed,
        kind: item.kind.to_owned(),
        reference: item.reference.clone(),
    }
}

/// A receipt for a challenge that was answered with `text`.
#[must_use]
pub fn receipt(header: &ChallengeHeader, signer: &Keypair, text: &str) -> Signed<Receipt> {
    let receipt = Receipt {
        challenge: header.digest(),
        answer: answer_digest(text),
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
    use agon_protocol::session::SessionInput;

    use super::*;

    #[test]
    fn honest_leaves_hold() {
        let miners: Vec<(Uid, Actor)> = (0..9).map(|uid| (Uid(uid), Actor::new(1, uid.into()))).collect();
        let validator = Actor::new(1, 100).hotkey;
        let input = SessionInput {
            genesis: Digest([1; 32]),
            netuid: SUBNET,
            tempo: 3,
        };
        let tempo = Tempo::draw(
            (Digest([1; 32]), 3, Digest([2; 32])),
            (validator.hotkey(), &validator.session(&input).pair),
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

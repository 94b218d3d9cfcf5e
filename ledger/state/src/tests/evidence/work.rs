//! What a validator did in a tempo, as leaves, and the calls that commit to them and show them.

use agon_evidence::slots::{picks, schedule};
use agon_protocol::message::{
    AnswerLeaf, AnswerResult, Axon, AxonModel, ChallengeHeader, Contest, Environment, EvidenceCommit,
    EvidenceOf, EvidenceOpening, Failure, FinishReason, Forgery, Leaf, Message, OpenedDigest, OpenedLeaf,
    Receipt, Sampling, Trace, WeightsLeaf, answer_digest,
};
use agon_protocol::sign::{DrawInput, DrawProof};
use agon_protocol::{codec, merkle};
use agon_scoring::draw::Draw;

use super::*;
use crate::evidence::Roster;

/// The text of every answer.
pub(crate) const TEXT: &str = "the answer";

/// What a validator does with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Asks the miner and is answered.
    Asks,
    /// Asks the miner, or says so, and is not answered.
    Fails,
    /// Asks nobody.
    Skips,
    /// Asks nobody, and signs a receipt by its own key.
    Forges,
}

/// A validator's evidence of one tempo: its slots, and a row that weights all miners alike.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) of: EvidenceOf,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) draws: Vec<DrawProof>,
    pub(crate) claimed_ppm: u32,
}

/// An announcement of an axon.
pub(crate) fn serve() -> Call {
    Call::ServeAxon {
        netuid: SUBNET,
        axon: Axon {
            ip: [127, 0, 0, 1].into(),
            port: 4_000,
            protocol: Axon::PROTOCOL,
            models: vec![AxonModel::named(Digest([1; 32]), "small")],
        },
    }
}

impl Work {
    /// What validator `key` has to show of the running tempo, when it does this with each slot and its miner.
    pub(crate) fn of(ledger: &Ledger, key: u8, does: impl Fn(u32, Uid) -> Does) -> Self {
        let tempo = ledger.subnet().tempo;
        let roster = ledger.state.roster(SUBNET, tempo).unwrap();
        let inputs: Vec<DrawInput> = (0..roster.rounds)
            .map(|round| draw_input(ledger, &roster, tempo, round))
            .collect();
        let (outputs, draws): (Vec<_>, Vec<_>) = inputs.iter().map(|input| pair(key).draw(input)).unzip();
        let others = roster.miners.iter().filter(|(_, miner)| *miner != hotkey(key));
        let candidates: Vec<Uid> = others.map(|(uid, _)| *uid).collect();
        let rounds = schedule(&candidates, &outputs, roster.miners_per_round as usize);
        let mut leaves = Vec::new();
        for ((input, drawn), (output, proof)) in inputs.iter().zip(&rounds).zip(outputs.iter().zip(&draws)) {
            for uid in drawn {
                let slot = u32::try_from(leaves.len()).unwrap();
                let place = roster.miners.iter().find(|(of, _)| of == uid).unwrap();
                let header = header(input, proof, &Draw::new(*output), key, *place);
                leaves.push(leaf(header, key, *uid, does(slot, *uid)));
            }
        }
        let row = roster.miners.iter().map(|(uid, _)| (*uid, u16::MAX)).collect();
        leaves.push(Leaf::Weights(WeightsLeaf { row }));
        Self {
            of: EvidenceOf {
                netuid: SUBNET,
                validator: hotkey(key),
                tempo,
            },
            leaves,
            draws,
            claimed_ppm: 1_000_000,
        }
    }

    /// The same with another row.
    pub(crate) fn with_row(mut self, row: &[(u16, u16)]) -> Self {
        let row = row.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect();
        *self.leaves.last_mut().unwrap() = Leaf::Weights(WeightsLeaf { row });
        self
    }

    pub(crate) fn evidence(&self) -> EvidenceCommit {
        EvidenceCommit {
            tempo: self.of.tempo,
            root: merkle::root(&self.digests()),
            leaf_count: u32::try_from(self.leaves.len()).unwrap(),
            claimed_ppm: self.claimed_ppm,
            served_at: None,
        }
    }

    pub(crate) fn commit(&self) -> Call {
        Call::CommitEvidence {
            netuid: SUBNET,
            evidence: self.evidence(),
        }
    }

    /// The slots that the running tempo picks.
    pub(crate) fn picked(&self, ledger: &Ledger) -> Vec<u32> {
        let roster = ledger.state.roster(SUBNET, self.of.tempo).unwrap();
        let slot_count = u32::try_from(self.leaves.len()).unwrap() - 1;
        let root = self.evidence().root;
        picks(ledger.subnet().beacon, root, slot_count, roster.openings)
    }

    pub(crate) fn opening(&self, ledger: &Ledger) -> Call {
        self.opening_of(&self.picked(ledger))
    }

    /// Shows these leaves, whichever were picked.
    pub(crate) fn opening_of(&self, slots: &[u32]) -> Call {
        let opening = EvidenceOpening {
            tempo: self.of.tempo,
            draws: self.draws.clone(),
            leaves: slots.iter().map(|slot| self.opened(*slot)).collect(),
            weights: OpenedDigest::last(&self.digests()).unwrap(),
        };
        Call::OpenEvidence {
            netuid: SUBNET,
            opening: Box::new(opening),
        }
    }

    pub(crate) fn opened(&self, slot: u32) -> OpenedLeaf {
        OpenedLeaf::open(&self.leaves, &self.digests(), slot).unwrap()
    }

    /// Shows that the answer of a slot breaks a rule.
    pub(crate) fn answer_report(&self, slot: u32) -> Call {
        self.report(Forgery::Answer {
            answer: self.opened(slot),
            draws: self.draws.clone(),
        })
    }

    pub(crate) fn report(&self, forgery: Forgery) -> Call {
        Call::ReportForgery {
            of: self.of,
            forgery: Box::new(forgery),
        }
    }

    /// The key of the miner that was asked in a slot.
    pub(crate) fn miner(&self, slot: u32) -> u8 {
        let Leaf::Answer(answer) = &self.leaves[slot as usize] else {
            panic!("nobody was asked in slot {slot}");
        };
        key_of(answer.header.receiver)
    }

    /// A contest of what a slot claims, with a receipt that `signer` signs in the miner's name.
    pub(crate) fn contest(&self, slot: u32, signer: u8) -> Call {
        let answer = self.opened(slot);
        let Leaf::Answer(claim) = &answer.leaf else {
            panic!("nobody was asked in slot {slot}");
        };
        let receipt = signed_by(&receipt(&claim.header), signer);
        Call::ContestFailure {
            of: self.of,
            contest: Box::new(Contest { answer, receipt }),
        }
    }

    pub(crate) fn digests(&self) -> Vec<Digest> {
        self.leaves.iter().map(Leaf::digest).collect()
    }
}

fn draw_input(ledger: &Ledger, roster: &Roster, tempo: u64, round: u32) -> DrawInput {
    DrawInput {
        genesis: ledger.state.genesis_digest(),
        netuid: SUBNET,
        tempo,
        beacon: roster.beacon,
        round,
    }
}

fn header(
    input: &DrawInput,
    proof: &DrawProof,
    draw: &Draw,
    sender: u8,
    (uid, receiver): (Uid, Hotkey),
) -> ChallengeHeader {
    ChallengeHeader {
        genesis: input.genesis,
        netuid: input.netuid,
        task: String::from("reading"),
        tempo: input.tempo,
        beacon: input.beacon,
        round: input.round,
        draw: *proof,
        item_index: 0,
        sender: hotkey(sender),
        receiver,
        nonce: 1,
        issued_ms: 0,
        deadline_ms: 1_000,
        prompt: Digest([5; 32]),
        sampling: Sampling {
            temperature_milli: 1_000,
            top_p_ppm: 1_000_000,
            top_k: 0,
            seed: draw.sampling_seed(uid.0, 0),
        },
        tokens_max: 8,
        tokens_min: 0,
    }
}

fn leaf(header: ChallengeHeader, key: u8, uid: Uid, does: Does) -> Leaf {
    let miner = key_of(header.receiver);
    let (result, score_ppm) = match does {
        Does::Asks => (answered(&header, miner), 1_000_000),
        Does::Forges => (answered(&header, key), 1_000_000),
        Does::Fails => (AnswerResult::Failed(Failure::Late), 0),
        Does::Skips => return Leaf::NotAsked,
    };
    Leaf::Answer(Box::new(AnswerLeaf {
        uid,
        header,
        result,
        audit: None,
        score_ppm,
    }))
}

fn key_of(miner: Hotkey) -> u8 {
    (1..=u8::MAX).find(|key| hotkey(*key) == miner).unwrap()
}

/// An answer whose receipt `signer` signs, in the miner's name.
fn answered(header: &ChallengeHeader, signer: u8) -> AnswerResult {
    AnswerResult::Answered {
        receipt: Box::new(signed_by(&receipt(header), signer)),
        first_ms: 20,
        total_ms: 40,
    }
}

fn receipt(header: &ChallengeHeader) -> Receipt {
    Receipt {
        challenge: header.digest(),
        answer: answer_digest(TEXT),
        miner: header.receiver,
        prompt_tokens: 20,
        answer_tokens: 2,
        trace: Trace::of(&[1, 2], &[[0; 16], [1; 16]]),
        received_ms: 10,
        first_token_ms: 20,
        finished_ms: 30,
        finish: FinishReason::EndOfText,
        model: Digest([1; 32]),
        environment: Environment {
            dtype: String::from("f32"),
            device: String::from("cpu"),
            libtorch: String::from("2.7"),
        },
    }
}

/// A receipt with a signature of `signer`, be it the miner or not.
pub(crate) fn signed_by(receipt: &Receipt, signer: u8) -> Signed<Receipt> {
    let bytes = codec::encode(receipt);
    let signature = pair(signer).sign(Receipt::PURPOSE, &bytes);
    Signed::from_parts(bytes, signature).unwrap()
}

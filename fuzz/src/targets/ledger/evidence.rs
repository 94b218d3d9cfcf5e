//! Evidence as the bytes of a script choose it: trees that could be committed to, with leaves that hold and leaves that
//! do not.

use agon_evidence::slots::picks;
use agon_protocol::id::{Digest, Netuid, Uid};
use agon_protocol::merkle;
use agon_protocol::message::{
    AnswerLeaf, AnswerResult, Call, ChallengeHeader, Contest, Environment, EvidenceCommit, EvidenceOf,
    EvidenceOpening, EvidenceView, Failure, FinishReason, Forgery, Leaf, OpenedLeaf, Receipt, RoundCount,
    Sampling, Signed, Trace, TrailRest, WeightsLeaf,
};
use agon_protocol::sign::{DrawInput, DrawProof};

use super::super::sample::{hotkey, pair};
use super::Script;

/// Evidence that a key committed to, or meant to.
pub(super) struct Tree {
    netuid: Netuid,
    tempo: u64,
    leaves: Vec<Leaf>,
    draws: Vec<DrawProof>,
}

impl Tree {
    fn digests(&self) -> Vec<Digest> {
        self.leaves.iter().map(Leaf::digest).collect()
    }

    fn root(&self) -> Digest {
        merkle::root(&self.digests())
    }

    fn opened(&self, index: u32) -> Option<OpenedLeaf> {
        OpenedLeaf::open(&self.leaves, &self.digests(), index)
    }
}

impl Script<'_> {
    /// Commits to evidence, opens the newest tree of a key, reports a leaf of it or contests it.
    pub(super) fn prove(&mut self) -> (u8, Call) {
        let number = self.hotkey();
        match self.numbers.below(5) {
            0 | 1 => self.commit_evidence(number),
            2 => self.open_evidence(number),
            3 => self.contest_failure(number),
            _ => self.report_forgery(number),
        }
    }

    fn commit_evidence(&mut self, number: u8) -> (u8, Call) {
        let netuid = self.netuid();
        let tempo = self.proposer.subnet(netuid).map_or(0, |subnet| subnet.tempo);
        let view = self.proposer.evidence_view(netuid, tempo);
        let tree = self.tree(number, netuid, tempo, view.as_ref());
        let evidence = EvidenceCommit {
            tempo,
            root: tree.root(),
            leaf_count: u32::try_from(tree.leaves.len()).unwrap_or(u32::MAX),
            claimed_ppm: u32::from(self.numbers.word()) * 16,
            served_at: None,
            session: None,
        };
        self.trees.insert(number, tree);
        (number, Call::CommitEvidence { netuid, evidence })
    }

    /// A leaf for every slot that may be owed, and the draw of the first round.
    fn tree(&mut self, number: u8, netuid: Netuid, tempo: u64, view: Option<&EvidenceView>) -> Tree {
        let input = DrawInput {
            genesis: self.genesis.digest(),
            netuid,
            tempo,
            beacon: view.map_or(Digest::default(), |view| view.beacon),
            round: 0,
        };
        let (_, draw) = pair(number).draw(&input);
        let owed = view.map_or(0, |view| view.rounds * view.miners.min(view.roster.len() as u32));
        let mut leaves = vec![Leaf::NotAsked; (owed as usize).max(1)];
        if let Some(view) = view
            && self.numbers.below(2) == 0
        {
            let place = usize::from(self.numbers.byte()) % leaves.len();
            leaves[place] = self.failure(number, &input, draw, view);
        }
        leaves.push(self.weights());
        Tree {
            netuid,
            tempo,
            leaves,
            draws: vec![draw],
        }
    }

    /// Weights of nobody; now and then their table counts what is not there.
    fn weights(&mut self) -> Leaf {
        let is_wrong = self.numbers.below(8) == 7;
        let rounds = vec![RoundCount::default(); usize::from(self.numbers.below(3))];
        Leaf::Weights(WeightsLeaf {
            row: Vec::new(),
            unpaid: if is_wrong { vec![Uid(1)] } else { Vec::new() },
            first_item: u64::from(self.numbers.below(2)),
            rounds,
        })
    }

    /// The last leaf of the newest tree of a key, as if it were of the tempo before.
    fn before(&self, number: u8) -> Option<OpenedLeaf> {
        let tree = self.trees.get(&number)?;
        tree.opened(u32::try_from(tree.leaves.len()).ok()?.checked_sub(1)?)
    }

    /// A miner that did not answer; in some field it may not be what was drawn.
    fn failure(&mut self, number: u8, input: &DrawInput, draw: DrawProof, view: &EvidenceView) -> Leaf {
        let byte = usize::from(self.numbers.byte());
        let (uid, receiver) = match view.roster.len() {
            0 => (Uid(0), hotkey(number)),
            count => view.roster[byte % count],
        };
        let header = ChallengeHeader {
            genesis: input.genesis,
            netuid: input.netuid,
            task: view.task.clone(),
            tempo: input.tempo,
            beacon: input.beacon,
            round: u32::from(self.numbers.below(8) == 7),
            draw,
            item_index: 0,
            sender: hotkey(number),
            receiver,
            nonce: 1,
            issued_ms: 0,
            deadline_ms: 1,
            prompt: Digest::default(),
            sampling: Sampling {
                temperature_milli: 0,
                top_p_ppm: 1_000_000,
                top_k: 0,
                seed: 0,
            },
            tokens_max: 1,
            tokens_min: 0,
        };
        Leaf::Answer(Box::new(AnswerLeaf {
            uid,
            header,
            result: AnswerResult::Failed(Failure::Late),
            audit: None,
            score_ppm: u32::from(self.numbers.below(2)),
        }))
    }

    fn open_evidence(&mut self, number: u8) -> (u8, Call) {
        let wrong = self.numbers.below(8) == 7;
        let Some(tree) = self.trees.get(&number) else {
            return self.commit_evidence(number);
        };
        let view = self.proposer.evidence_view(tree.netuid, tree.tempo);
        let beacon = self.proposer.subnet(tree.netuid).map(|subnet| subnet.beacon);
        let openings = view.map_or(1, |view| view.openings) + u32::from(wrong);
        // The weights follow the slots.
        let last = u32::try_from(tree.leaves.len())
            .unwrap_or(u32::MAX)
            .saturating_sub(1);
        let picked = picks(beacon.unwrap_or_default(), tree.root(), last, openings);
        let Some(weights) = tree.opened(last) else {
            return self.commit_evidence(number);
        };
        let opening = EvidenceOpening {
            tempo: tree.tempo,
            draws: tree.draws.clone(),
            leaves: picked.into_iter().filter_map(|slot| tree.opened(slot)).collect(),
            texts: Vec::new(),
            weights,
            rest: TrailRest {
                best: None,
                before: self.before(number),
            },
            trails: Vec::new(),
        };
        let call = Call::OpenEvidence {
            netuid: tree.netuid,
            opening: Box::new(opening),
        };
        (number, call)
    }

    /// Contests the failure that a tree claims, by the key that it claims it of or by another.
    fn contest_failure(&mut self, number: u8) -> (u8, Call) {
        let signer = self.hotkey();
        let claimed = self.trees.get(&number).and_then(|tree| {
            let index = tree
                .leaves
                .iter()
                .position(|leaf| matches!(leaf, Leaf::Answer(_)))?;
            let answer = tree.opened(u32::try_from(index).ok()?)?;
            let of = EvidenceOf {
                netuid: tree.netuid,
                validator: hotkey(number),
                tempo: tree.tempo,
            };
            Some((of, answer))
        });
        let Some((of, answer)) = claimed else {
            return self.commit_evidence(number);
        };
        let receipt = receipt(&answer.leaf, signer);
        let contest = Box::new(Contest { answer, receipt });
        (signer, Call::ContestFailure { of, contest })
    }

    fn report_forgery(&mut self, number: u8) -> (u8, Call) {
        let (index, is_item) = (u32::from(self.numbers.byte()), self.numbers.below(4) == 3);
        let of_tree = self.trees.get(&number).and_then(|tree| {
            let answer = tree.opened(index % u32::try_from(tree.leaves.len()).ok()?)?;
            let of = EvidenceOf {
                netuid: tree.netuid,
                validator: hotkey(number),
                tempo: tree.tempo,
            };
            Some((of, answer, tree.draws.clone()))
        });
        let Some((of, answer, draws)) = of_tree else {
            return self.commit_evidence(number);
        };
        let forgery = match is_item {
            true => Forgery::Values { item: answer },
            false => Forgery::Answer { answer, draws },
        };
        let call = Call::ReportForgery {
            of,
            forgery: Box::new(forgery),
        };
        (self.coldkey(), call)
    }
}

/// A receipt of `signer` for the challenge of a leaf.
fn receipt(leaf: &Leaf, signer: u8) -> Signed<Receipt> {
    let challenge = match leaf {
        Leaf::Answer(answer) => answer.header.digest(),
        _ => Digest::default(),
    };
    let receipt = Receipt {
        challenge,
        answer: Digest::default(),
        miner: hotkey(signer),
        prompt_tokens: 1,
        answer_tokens: 1,
        trace: Trace::of(&[1], &[[0; 16]]),
        received_ms: 1,
        first_token_ms: 1,
        finished_ms: 1,
        finish: FinishReason::EndOfText,
        model: Digest::default(),
        environment: Environment {
            dtype: String::from("f32"),
            device: String::from("cpu"),
            libtorch: String::from("none"),
        },
    };
    Signed::sign(receipt, pair(signer))
}

//! Contests failures that validators claim of this miner, once a tempo.
//!
//! When half of a tempo is over, the evidence of the tempo before is fetched from every validator that this miner answered
//! then and that serves it. A failure in it for whose challenge there is a receipt is contested; one of each validator is
//! enough, since the ledger then lets the others speak for it. A contest costs a fee, which the coldkey pays.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agon_evidence::Context;
use agon_evidence::tree::Tree;
use agon_ledger_client::evidence::fetch;
use agon_ledger_client::follow::{View, Views};
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::{Digest, Hotkey, Netuid};
use agon_protocol::message::{
    AnswerResult, Call, Contest, EvidenceCommit, EvidenceLine, EvidenceOf, EvidenceView, Leaf, OpenedLeaf,
    Receipt, Signed,
};
use agon_protocol::sign::Keypair;
use agon_runtime::net::Net;
use agon_runtime::shutdown::Shutdown;
use tracing::{info, warn};

use crate::receipts::Receipts;

/// Longest time for one validator's evidence, from the first byte to the contest.
const DEADLINE: Duration = Duration::from_secs(60);

/// What contesting needs.
#[derive(Debug)]
pub struct Contester {
    /// The ledger.
    pub client: LedgerClient,
    /// How validators are reached.
    pub net: Net,
    /// The hotkey.
    pub pair: Keypair,
    /// Digest of the ledger's genesis.
    pub genesis: Digest,
    /// The subnet.
    pub netuid: Netuid,
    /// What was signed.
    pub receipts: Arc<Mutex<Receipts>>,
}

impl Contester {
    /// Contests what is claimed of each tempo, until shutdown.
    pub async fn run(self, mut views: Views, shutdown: Shutdown) {
        let mut looked_at = None;
        loop {
            let view = views.borrow_and_update().clone();
            let tempo = view.filter(takes_contests).as_ref().and_then(due);
            if let Some(tempo) = tempo.filter(|tempo| looked_at != Some(*tempo)) {
                looked_at = Some(tempo);
                tokio::select! {
                    biased;
                    () = shutdown.requested() => return,
                    () = self.contest(tempo) => {}
                }
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                alive = views.changed() => if alive.is_err() { return },
            }
        }
    }

    async fn contest(&self, tempo: u64) {
        let view = match self.client.evidence(self.netuid, tempo).await {
            Ok(view) => Arc::new(view),
            // Such as the tempo before the first that was kept.
            Err(ClientError::NotFound(_)) => return,
            Err(error) => return warn!(tempo, %error, "what validators claim is not looked at"),
        };
        for line in view
            .validators
            .iter()
            .filter(|line| self.is_concerned(tempo, line))
        {
            let found = tokio::time::timeout(DEADLINE, self.claimed(&view, line)).await;
            let outcome = match found {
                Ok(Ok(None)) => "none",
                Ok(Ok(Some(contest))) => self.send(tempo, line.hotkey, contest).await,
                Ok(Err(reason)) => {
                    info!(validator = %line.hotkey, tempo, reason, "evidence cannot be looked at");
                    "unavailable"
                }
                Err(_) => "unavailable",
            };
            metrics::counter!("agon_miner_contests_total", "outcome" => outcome).increment(1);
        }
    }

    /// Whether there is anything that evidence could be contested by.
    fn is_concerned(&self, tempo: u64, line: &EvidenceLine) -> bool {
        let receipts = self.receipts.lock().unwrap_or_else(PoisonError::into_inner);
        !line.is_forged && receipts.have_of(tempo, &line.asker)
    }

    /// A failure that a validator claims against a receipt, if it claims one.
    async fn claimed(
        &self,
        view: &Arc<EvidenceView>,
        line: &EvidenceLine,
    ) -> Result<Option<Contest>, String> {
        let addr = line.commit.served_at.ok_or("it is served nowhere")?;
        let bundle = fetch(&self.net, addr, view.tempo).await;
        let bundle = bundle.map_err(|error| error.to_string())?;
        let (genesis, miner, commit, validator) =
            (self.genesis, self.pair.hotkey(), line.commit, line.hotkey);
        let (view, receipts) = (Arc::clone(view), Arc::clone(&self.receipts));
        let looked = tokio::task::spawn_blocking(move || {
            let context = Context::of(&view, genesis, validator);
            let receipt = |challenge: &Digest| {
                let receipts = receipts.lock().unwrap_or_else(PoisonError::into_inner);
                receipts.of(view.tempo, challenge).cloned()
            };
            claim(Tree::of(&context, &bundle).leaves(), &commit, miner, receipt)
        });
        looked.await.map_err(|error| error.to_string())?
    }

    async fn send(&self, tempo: u64, validator: Hotkey, contest: Contest) -> &'static str {
        let of = EvidenceOf {
            netuid: self.netuid,
            validator,
            tempo,
        };
        let contest = Box::new(contest);
        let call = Call::ContestFailure { of, contest };
        match self.client.send(&self.pair, call).await {
            Ok(included) => {
                info!(%validator, tempo, height = %included.height, "a failure is contested");
                "contested"
            }
            Err(error) => {
                warn!(%validator, tempo, %error, "a failure is not contested");
                "refused"
            }
        }
    }
}

/// Whether the subnet's owner lets failures be contested.
fn takes_contests(view: &View) -> bool {
    view.subnet.parameter("evidence_contests") == Some(1)
}

/// The tempo before the running one, once half of this one is over.
fn due(view: &View) -> Option<u64> {
    view.subnet.tempo.checked_sub(1).filter(|_| view.is_half_over())
}

/// The first failure among the leaves that is claimed of `miner` and for whose challenge `receipt` has its answer.
fn claim(
    leaves: &[Leaf],
    commit: &EvidenceCommit,
    miner: Hotkey,
    receipt: impl Fn(&Digest) -> Option<Signed<Receipt>>,
) -> Result<Option<Contest>, String> {
    let mut failures = (0..).zip(leaves).filter_map(|(index, leaf)| match leaf {
        Leaf::Answer(answer) if answer.header.receiver == miner => match answer.result {
            AnswerResult::Failed(_) => Some((index, receipt(&answer.header.digest())?)),
            AnswerResult::Answered { .. } => None,
        },
        _ => None,
    });
    let Some((index, receipt)) = failures.next() else {
        return Ok(None);
    };
    let digests: Vec<Digest> = leaves.iter().map(Leaf::digest).collect();
    let answer = OpenedLeaf::open(leaves, &digests, index).filter(|answer| answer.is_of(commit));
    let answer = answer.ok_or("it is not what was committed to")?;
    Ok(Some(Contest { answer, receipt }))
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::Uid;
    use agon_protocol::merkle;
    use agon_protocol::message::{AnswerLeaf, ChallengeHeader, Failure, Sampling};
    use agon_protocol::sign::DrawInput;

    use super::*;
    use crate::receipts::tests::receipt;

    /// A claim that miner `key` failed in some round.
    fn failed(key: u8, round: u32) -> Leaf {
        let input = DrawInput {
            genesis: Digest([9; 32]),
            netuid: Netuid(1),
            tempo: 4,
            beacon: Digest([5; 32]),
            round,
        };
        let validator = Keypair::from_mini_secret(&[1; 32]);
        let header = ChallengeHeader {
            genesis: input.genesis,
            netuid: input.netuid,
            task: "reading".into(),
            tempo: input.tempo,
            beacon: input.beacon,
            round,
            draw: validator.draw(&input).1,
            item_index: 0,
            sender: validator.hotkey(),
            receiver: Keypair::from_mini_secret(&[key; 32]).hotkey(),
            nonce: 1,
            issued_ms: 0,
            deadline_ms: 1,
            prompt: Digest([6; 32]),
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
            uid: Uid(u16::from(key)),
            header,
            result: AnswerResult::Failed(Failure::Late),
            audit: None,
            score_ppm: 0,
        }))
    }

    fn challenge(leaf: &Leaf) -> Digest {
        match leaf {
            Leaf::Answer(answer) => answer.header.digest(),
            _ => panic!("a question was asked"),
        }
    }

    fn commit(leaves: &[Leaf]) -> EvidenceCommit {
        let digests: Vec<Digest> = leaves.iter().map(Leaf::digest).collect();
        EvidenceCommit {
            tempo: 4,
            root: merkle::root(&digests),
            leaf_count: u32::try_from(leaves.len()).unwrap(),
            claimed_ppm: 0,
            served_at: None,
            session: None,
        }
    }

    #[test]
    fn the_first_failure_that_a_receipt_contradicts_is_contested() {
        let miner = Keypair::from_mini_secret(&[2; 32]).hotkey();
        let leaves = [
            Leaf::NotAsked,
            failed(3, 0),
            failed(2, 0),
            failed(2, 1),
            failed(2, 2),
        ];
        let signed = [
            challenge(&leaves[1]),
            challenge(&leaves[3]),
            challenge(&leaves[4]),
        ];
        let receipts = |challenge: &Digest| signed.contains(challenge).then(|| receipt(*challenge));
        let contest = claim(&leaves, &commit(&leaves), miner, receipts)
            .unwrap()
            .unwrap();
        assert_eq!((contest.answer.index, contest.receipt), (3, receipt(signed[1])));
        assert_eq!(claim(&leaves, &commit(&leaves), miner, |_| None), Ok(None));
        let other = commit(&leaves[1..]);
        let refused = claim(&leaves, &other, miner, receipts).unwrap_err();
        assert!(refused.contains("committed"), "{refused}");
    }
}

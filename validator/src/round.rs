//! One round as a pure plan: whom to ask what, and what to make of the answers.
//!
//! [`plan`] turns a draw into signed challenges; [`judge`] turns outcomes into scores. Neither asks anybody nor
//! reads a clock, so that a round can be replayed from its evidence.
//!
//! # When a validator abstains
//!
//! A round says nothing about miners when the fault is the validator's own: when every miner it asked is out of
//! reach, or when at least half of them refuse its challenges and not one answers. Then [`judge`] gives a reason instead of scores and
//! ratings stay as they are. Otherwise a refusal counts as a failure to answer like any other, or a miner could
//! refuse what it cannot answer.

mod record;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use agon_evidence::slots::schedule;
use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{Challenge, Metagraph, Receipt, Sampling, Signed};
use agon_protocol::sign::{DrawInput, DrawProof, Keypair};
use agon_scoring::draw::{AuditDraw, Draw};
use agon_scoring::verify::MINER_DOUBT_MAX;
use agon_subnets::{Given, Item, ModelPin, Task};

pub use self::record::Asked;
use crate::audit::Audit;
use crate::query::{Failure, Outcome};

/// Sampling temperature of challenges, in thousandths. Answers are sampled with a seed for each miner, so that
/// honest miners of one model differ now and then while a copy never does.
const TEMPERATURE_MILLI: u32 = 1_000;
/// No token is left out of the draw.
const TOP_P_PPM: u32 = 1_000_000;

/// How much a round asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Miners, at most.
    pub miners: usize,
    /// Items for each of them.
    pub items: u32,
    /// Time for an answer, milliseconds.
    pub deadline_ms: u64,
}

/// What a round is about.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    /// The key by which it draws and asks.
    pub pair: &'a Keypair,
    /// The ledger.
    pub genesis: Digest,
    /// The subnet.
    pub netuid: Netuid,
    /// The running tempo.
    pub tempo: u64,
    /// Its beacon.
    pub beacon: Digest,
    /// Number of the round within the tempo.
    pub round: u32,
    /// The task.
    pub task: &'a dyn Task,
}

impl std::fmt::Debug for Setting<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setting")
            .field("netuid", &self.netuid)
            .field("tempo", &self.tempo)
            .field("round", &self.round)
            .field("task", &self.task.name())
            .finish_non_exhaustive()
    }
}

/// A neuron that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miner {
    /// Its slot.
    pub uid: Uid,
    /// Its key.
    pub hotkey: Hotkey,
    /// Where it serves; `None` when it does not any more.
    pub addr: Option<SocketAddr>,
}

/// The neurons that can be drawn: those of the tempo's roster, without ourselves, where they serve now. Before the
/// ledger has a roster, those that serve now.
#[must_use]
pub fn miners(roster: &[(Uid, Hotkey)], metagraph: &Metagraph, ourselves: Hotkey) -> Vec<Miner> {
    let serving = serving(metagraph, ourselves);
    if roster.is_empty() {
        return serving;
    }
    let addr = |uid, hotkey| {
        let now = serving
            .iter()
            .find(|miner| (miner.uid, miner.hotkey) == (uid, hotkey));
        now.and_then(|miner| miner.addr)
    };
    let others = roster.iter().filter(|(_, hotkey)| *hotkey != ourselves);
    let miner = |&(uid, hotkey): &(Uid, Hotkey)| Miner {
        uid,
        hotkey,
        addr: addr(uid, hotkey),
    };
    others.map(miner).collect()
}

fn serving(metagraph: &Metagraph, ourselves: Hotkey) -> Vec<Miner> {
    let serving = metagraph
        .neurons
        .iter()
        .filter(|neuron| neuron.hotkey != ourselves);
    let miner = |neuron: &agon_protocol::message::NeuronView| {
        let addr = neuron.axon.as_ref()?.socket_addr();
        Some(Miner {
            uid: neuron.uid,
            hotkey: neuron.hotkey,
            addr: Some(addr),
        })
    };
    serving.filter_map(miner).collect()
}

/// One item of a round, with the seed it was made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedItem {
    /// The seed.
    pub seed: [u8; 32],
    /// The item.
    pub item: Item,
}

/// One question to one miner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Whom.
    pub miner: Miner,
    /// Which item.
    pub item_index: u32,
    /// The challenge.
    pub challenge: Signed<Challenge>,
}

/// A planned round.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Proof of its draw.
    pub draw: DrawProof,
    /// Proof of the draw of its audits, which no miner sees before the round is over.
    pub audit_proof: DrawProof,
    /// What that draw decides.
    pub audits: AuditDraw,
    /// Whether it asks everybody at the same moment, each for items of its own.
    pub is_burst: bool,
    /// Its items.
    pub items: Vec<PlannedItem>,
    /// Its questions, by item and then UID in the order drawn.
    pub asks: Vec<Ask>,
}

/// Numbers challenges: each is larger than every one before, across restarts too as long as the clock moves on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NonceCounter(u64);

impl NonceCounter {
    /// The next nonce at `now_ms`: the time with room for 65,536 challenges in each millisecond.
    pub const fn next(&mut self, now_ms: u64) -> u64 {
        let by_time = now_ms << 16;
        self.0 = if self.0 >= by_time {
            self.0.saturating_add(1)
        } else {
            by_time
        };
        self.0
    }
}

/// Whom a round asks which of its items.
pub type Questions = Vec<(Uid, Range<u32>)>;

/// Draws items and seeds, and signs the challenges: to the miners that `burst` names where the round is one, else to those
/// that its draw names.
#[must_use]
pub fn plan(
    setting: &Setting<'_>,
    size: &Size,
    miners: &[Miner],
    burst: Option<Questions>,
    nonces: &mut NonceCounter,
    now_ms: u64,
) -> Plan {
    let (draw, proof) = draw(setting);
    let (audit_output, audit_proof) = setting.pair.draw_audits(&draw_input(setting, setting.round));
    let is_burst = burst.is_some();
    let of_draw = || {
        drawn(setting, size, miners)
            .into_iter()
            .map(|uid| (uid, 0..size.items))
            .collect()
    };
    let questions = burst.unwrap_or_else(of_draw);
    let item_count = questions.iter().map(|(_, items)| items.end).max().unwrap_or(0);
    let planned = |index| {
        let seed = draw.item_seed(index);
        let item = setting.task.item(seed);
        PlannedItem { seed, item }
    };
    let items: Vec<PlannedItem> = (0..item_count).map(planned).collect();
    let mut asks = Vec::new();
    for (item_index, planned) in (0u32..).zip(&items) {
        for (uid, _) in questions.iter().filter(|(_, items)| items.contains(&item_index)) {
            let miner = miners
                .iter()
                .find(|miner| miner.uid == *uid)
                .expect("drawn from these miners");
            let terms = Terms {
                proof,
                item_index,
                seed: draw.sampling_seed(uid.0, item_index),
                nonce: nonces.next(now_ms),
                now_ms,
                deadline_ms: size.deadline_ms,
            };
            let challenge = Signed::sign(challenge(setting, miner, &planned.item, &terms), setting.pair);
            asks.push(Ask {
                miner: *miner,
                item_index,
                challenge,
            });
        }
    }
    Plan {
        draw: proof,
        audit_proof,
        audits: AuditDraw::new(audit_output),
        is_burst,
        items,
        asks,
    }
}

/// The draw of the round, with its proof.
#[must_use]
pub fn draw(setting: &Setting<'_>) -> (Draw, DrawProof) {
    let (output, proof) = setting.pair.draw(&draw_input(setting, setting.round));
    (Draw::new(output), proof)
}

/// The miners of the round, in the order drawn: who was not asked in the tempo yet comes first.
fn drawn(setting: &Setting<'_>, size: &Size, miners: &[Miner]) -> Vec<Uid> {
    let candidates: Vec<Uid> = miners.iter().map(|miner| miner.uid).collect();
    let rounds = 0..=setting.round;
    let outputs: Vec<[u8; 32]> = rounds
        .map(|round| setting.pair.draw(&draw_input(setting, round)).0)
        .collect();
    schedule(&candidates, &outputs, size.miners)
        .pop()
        .unwrap_or_default()
}

/// Proofs of the draws of the tempo's first `rounds` rounds.
#[must_use]
pub fn draws(setting: &Setting<'_>, rounds: u32) -> Vec<DrawProof> {
    (0..rounds)
        .map(|round| setting.pair.draw(&draw_input(setting, round)).1)
        .collect()
}

fn draw_input(setting: &Setting<'_>, round: u32) -> DrawInput {
    DrawInput {
        genesis: setting.genesis,
        netuid: setting.netuid,
        tempo: setting.tempo,
        beacon: setting.beacon,
        round,
    }
}

/// What differs from one challenge of a round to the next.
struct Terms {
    proof: DrawProof,
    item_index: u32,
    seed: u64,
    nonce: u64,
    now_ms: u64,
    deadline_ms: u64,
}

fn challenge(setting: &Setting<'_>, miner: &Miner, item: &Item, terms: &Terms) -> Challenge {
    Challenge {
        genesis: setting.genesis,
        netuid: setting.netuid,
        task: setting.task.name().to_owned(),
        tempo: setting.tempo,
        beacon: setting.beacon,
        round: setting.round,
        draw: terms.proof,
        item_index: terms.item_index,
        sender: setting.pair.hotkey(),
        receiver: miner.hotkey,
        nonce: terms.nonce,
        issued_ms: terms.now_ms,
        deadline_ms: terms.now_ms.saturating_add(terms.deadline_ms),
        prompt: item.prompt.clone(),
        sampling: Sampling {
            temperature_milli: TEMPERATURE_MILLI,
            top_p_ppm: TOP_P_PPM,
            top_k: 0,
            seed: terms.seed,
        },
        tokens_max: item.tokens_max.min(Challenge::TOKENS_MAX),
        tokens_min: item.tokens_min.min(item.tokens_max).min(Challenge::TOKENS_MAX),
    }
}

/// What an answer is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Score {
    /// Parts per million of the reference answer.
    pub score_ppm: u32,
    /// Why.
    pub reason: String,
}

/// What audits say of a round's answers.
#[derive(Clone, Debug, Default)]
pub struct Audits {
    /// The audit of each ask that had one, by its place in the plan.
    pub of_asks: BTreeMap<usize, Audit>,
    /// Miners whose newest audits together say that another model answers, with the doubt in nats.
    pub convicted: BTreeMap<Uid, f64>,
}

/// Scores every outcome, one for each ask, or says why the round is no evidence about miners.
///
/// Where the task pins a model, an answer whose receipt names another, whose audit failed or whose miner is convicted
/// by its audits is worth nothing.
///
/// # Errors
///
/// The reason to abstain, in words.
///
/// # Panics
///
/// When there is not one outcome for each ask: our own mistake.
pub fn judge(
    task: &dyn Task,
    plan: &Plan,
    outcomes: &[Outcome],
    audits: &Audits,
) -> Result<Vec<Score>, String> {
    assert_eq!(plan.asks.len(), outcomes.len(), "one outcome for each ask");
    abstention(plan, outcomes).map_or(Ok(()), Err)?;
    let scores = plan
        .asks
        .iter()
        .zip(outcomes)
        .enumerate()
        .map(|(index, (ask, outcome))| match outcome {
            Outcome::Answered {
                text,
                tokens,
                first_ms,
                total_ms,
                receipt,
            } => {
                let objection = task.model().and_then(|pin| {
                    objection(pin, receipt.message(), audits.of_asks.get(&index), audits, ask)
                });
                if let Some(reason) = objection {
                    return Score { score_ppm: 0, reason };
                }
                let given = Given {
                    text,
                    tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
                    first_ms: *first_ms,
                    total_ms: *total_ms,
                };
                let judgement = task.judge(&plan.items[ask.item_index as usize].item, &given);
                Score {
                    score_ppm: judgement.score_ppm,
                    reason: judgement.reason,
                }
            }
            Outcome::Failed { failure, reason } => Score {
                score_ppm: 0,
                reason: format!("no answer, {}: {reason}", failure.name()),
            },
        });
    Ok(scores.collect())
}

/// Why an answer of a task that pins a model is worth nothing, if it is.
fn objection(
    pin: ModelPin,
    receipt: &Receipt,
    audit: Option<&Audit>,
    audits: &Audits,
    ask: &Ask,
) -> Option<String> {
    if ModelPin::of(&receipt.model.0) != pin {
        return Some(format!(
            "the receipt names model {}, the task pins {pin}",
            receipt.model
        ));
    }
    if let Some(failure) = audit.and_then(|audit| audit.failure.as_ref()) {
        return Some(format!("audit: {failure}"));
    }
    let doubt = audits.convicted.get(&ask.miner.uid)?;
    Some(format!(
        "its newest audits together say that another model answers: doubt {doubt:.1}, at most {MINER_DOUBT_MAX:.1}"
    ))
}

fn abstention(plan: &Plan, outcomes: &[Outcome]) -> Option<String> {
    let asked = miners_of(plan, outcomes, |_| true);
    if asked == 0 {
        return Some("no miner serves".to_owned());
    }
    let failed = |wanted: Failure| {
        miners_of(
            plan,
            outcomes,
            move |outcome| matches!(outcome, Outcome::Failed { failure, .. } if *failure == wanted),
        )
    };
    let refused = failed(Failure::Refused);
    let answered = miners_of(plan, outcomes, |outcome| {
        matches!(outcome, Outcome::Answered { .. })
    });
    // One answer proves that our challenges are good; without this, half the miners could freeze everyone's ratings.
    if answered == 0 && refused * 2 >= asked {
        let reason = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Failed {
                failure: Failure::Refused,
                reason,
            } => Some(reason.as_str()),
            _ => None,
        });
        let reason = reason.unwrap_or_default();
        return Some(format!(
            "{refused} of {asked} miners refuse our challenges, as in: {reason}"
        ));
    }
    let alive = miners_of(plan, outcomes, |outcome| {
        !matches!(
            outcome,
            Outcome::Failed {
                failure: Failure::Unreachable | Failure::Late,
                ..
            }
        )
    });
    (alive == 0).then(|| format!("none of {asked} miners can be reached; is our own network up?"))
}

/// How many distinct miners have an outcome like that.
fn miners_of(plan: &Plan, outcomes: &[Outcome], like: impl Fn(&Outcome) -> bool) -> usize {
    let mut uids: Vec<Uid> = plan
        .asks
        .iter()
        .zip(outcomes)
        .filter(|(_, outcome)| like(outcome))
        .map(|(ask, _)| ask.miner.uid)
        .collect();
    uids.sort_unstable();
    uids.dedup();
    uids.len()
}

#[cfg(test)]
mod tests;

//! Recomputes a validator's tempo from its bundle: draws, judgements, comparisons, ratings, weights.
//!
//! Everything up to the weights follows exactly from what miners signed, except where a task pins a model: there an
//! audit may take an answer's worth away, and the measurements of audits are taken as they stand in the bundle.

use std::collections::BTreeSet;
use std::ops::Range;

use agon_protocol::id::{Digest, Uid};
use agon_protocol::merkle;
use agon_protocol::message::{EvidenceCommit, Forgery, Leaf, OpenedLeaf, StandingLeaf};
use agon_protocol::sign::DrawProof;
use agon_scoring::draw::Draw;
use agon_scoring::weights::WeightPolicy;
use agon_subnets::{Given, Task};

use crate::Context;
use crate::answer::{self, Draws};
use crate::bundle::{Bundle, Outcome, policy};
use crate::burst::burst;
use crate::fold::Memory;
use crate::record::{AnswerRecord, Outcome as Answer, Round};

/// What was recomputed and found equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equal {
    /// Rounds.
    pub rounds: usize,
    /// Answers and failures to answer.
    pub answers: usize,
    /// Answers whose judgement was repeated and is the same.
    pub judged: usize,
    /// Answers that an audit took the worth of, or a miner in doubt.
    pub rejected: usize,
    /// UIDs with a standing.
    pub standings: usize,
    /// Slots that were owed and asked, of those owed.
    pub slots: (usize, usize),
}

/// The first line that does not follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where, as in `round 3, item 0, uid 7: judgement`.
    pub line: String,
    /// What the evidence says.
    pub found: String,
    /// What follows from the rules.
    pub expected: String,
    /// What proves it to the ledger, where the ledger can check it.
    pub forgery: Option<Box<Forgery>>,
}

impl Difference {
    fn at(line: impl Into<String>, found: impl ToString, expected: impl ToString) -> Box<Self> {
        Box::new(Self {
            line: line.into(),
            found: found.to_string(),
            expected: expected.to_string(),
            forgery: None,
        })
    }

    fn proven_by(mut self: Box<Self>, forgery: Option<Forgery>) -> Box<Self> {
        self.forgery = forgery.map(Box::new);
        self
    }
}

/// What the ledger has of a validator's tempo.
#[derive(Clone, Copy, Debug)]
pub struct OnLedger<'a> {
    /// The commit to the evidence.
    pub commit: &'a EvidenceCommit,
    /// The weights as they were revealed, if they were.
    pub revealed: Option<&'a [(Uid, u16)]>,
}

/// Recomputes a bundle and compares it, line by line, with itself and with what the ledger has.
///
/// # Errors
///
/// The first [`Difference`], in the order in which the tempo went.
pub fn recompute(
    context: &Context<'_>,
    on_ledger: &OnLedger<'_>,
    bundle: &Bundle,
) -> Result<Equal, Box<Difference>> {
    check_names(context, bundle)?;
    let tree = Tree::of(context, bundle);
    tree.check(on_ledger.commit)?;
    let Some(task) = agon_subnets::task(context.task) else {
        return Err(Difference::at("task", context.task, "one that this build knows"));
    };
    let draws = Draws::check(context, &bundle.draws)
        .map_err(|error| Difference::at("draws", error, "draws of the validator"))?;
    let mut equal = Equal {
        rounds: bundle.rounds.len(),
        standings: bundle.standings.len(),
        slots: tree.slots(context),
        ..Equal::default()
    };
    let mut memory = bundle.carried.clone();
    for round in &bundle.rounds {
        check_drawn(context, &*task, &memory, &draws, round)?;
        for answer in &round.answers {
            tree.check_answer(context, &draws, &*task, round, answer, &mut equal)?;
        }
        let mut folded = round.clone();
        memory.fold(&mut folded);
        tree.check_values(round, &folded)?;
    }
    bundle.forgotten.iter().for_each(|uid| memory.forget(*uid));
    tree.check_outcome(bundle, &memory, &policy(&*task))?;
    check_revealed(on_ledger, bundle)?;
    Ok(equal)
}

fn check_names(context: &Context<'_>, bundle: &Bundle) -> Result<(), Box<Difference>> {
    let of = (bundle.genesis, bundle.netuid, bundle.tempo, bundle.validator);
    let wanted = (context.genesis, context.netuid, context.tempo, context.validator);
    if of == wanted {
        return Ok(());
    }
    let name = |(genesis, netuid, tempo, validator): (Digest, _, u64, _)| {
        format!("ledger {genesis}, netuid {netuid}, tempo {tempo}, validator {validator}")
    };
    Err(Difference::at("the bundle", name(of), name(wanted)))
}

/// Whether exactly those were asked who had to be, each exactly its items.
fn check_drawn(
    context: &Context<'_>,
    task: &dyn Task,
    memory: &Memory,
    draws: &Draws,
    round: &Round,
) -> Result<(), Box<Difference>> {
    let Some(output) = draws.output(round.round) else {
        return Err(Difference::at(
            format!("round {}", round.round),
            "no draw",
            "a draw of the round",
        ));
    };
    // Who changed hands since the round before has proven nothing yet.
    let mut capacity = memory.capacity.clone();
    round.forgotten.iter().for_each(|uid| capacity.forget(uid.0));
    let burst = burst(context, task, &capacity, round.round, &Draw::new(output));
    if round.is_burst != burst.is_some() {
        let line = format!("round {}: whether it is a burst", round.round);
        return Err(Difference::at(line, round.is_burst, burst.is_some()));
    }
    let items = u32::try_from(round.items.len()).unwrap_or(u32::MAX);
    let of_round = || {
        draws
            .round(round.round)
            .iter()
            .map(|uid| (*uid, 0..items))
            .collect()
    };
    let owed: Vec<(Uid, Range<u32>)> = burst.unwrap_or_else(of_round);
    let each = owed
        .into_iter()
        .flat_map(|(uid, items)| items.map(move |item| (uid, item)));
    let owed: BTreeSet<(Uid, u32)> = each.collect();
    let asked = round
        .answers
        .iter()
        .map(|answer| (answer.uid, answer.challenge.message().item_index));
    let asked: BTreeSet<(Uid, u32)> = asked.collect();
    if asked == owed && round.answers.len() == owed.len() {
        return Ok(());
    }
    let line = format!("round {}: the questions asked", round.round);
    Err(Difference::at(line, format!("{asked:?}"), format!("{owed:?}")))
}

fn check_revealed(on_ledger: &OnLedger<'_>, bundle: &Bundle) -> Result<(), Box<Difference>> {
    let Some(revealed) = on_ledger.revealed else {
        return Ok(());
    };
    // The ledger leaves out who changed hands since the commit.
    let kept = |(uid, _): &&(Uid, u16)| revealed.iter().any(|(other, _)| other == uid);
    let expected: Vec<(Uid, u16)> = bundle.row.iter().filter(kept).copied().collect();
    if revealed == expected {
        return Ok(());
    }
    Err(Difference::at(
        "the weights on the ledger",
        format!("{revealed:?}"),
        format!("{expected:?}"),
    ))
}

/// The leaves with their digests, so that a difference can be shown to the ledger.
struct Tree {
    leaves: Vec<Leaf>,
    digests: Vec<Digest>,
    draws: Vec<DrawProof>,
}

impl Tree {
    fn of(context: &Context<'_>, bundle: &Bundle) -> Self {
        let leaves = bundle.leaves(context);
        Self {
            digests: leaves.iter().map(Leaf::digest).collect(),
            leaves,
            draws: bundle.draws.clone(),
        }
    }

    fn check(&self, commit: &EvidenceCommit) -> Result<(), Box<Difference>> {
        let (root, count) = (merkle::root(&self.digests), self.leaves.len());
        if (root, count) == (commit.root, commit.leaf_count as usize) {
            return Ok(());
        }
        Err(Difference::at(
            "the tree",
            format!("{count} leaves under {root}"),
            format!("{} leaves under {}, as committed", commit.leaf_count, commit.root),
        ))
    }

    fn slots(&self, context: &Context<'_>) -> (usize, usize) {
        let owed = context.slot_count() as usize;
        let slots = self.leaves.iter().take(owed);
        (slots.filter(|leaf| matches!(leaf, Leaf::Answer(_))).count(), owed)
    }

    fn open(&self, is_it: impl Fn(&Leaf) -> bool) -> Option<OpenedLeaf> {
        let index = self.leaves.iter().position(is_it)?;
        OpenedLeaf::open(&self.leaves, &self.digests, u32::try_from(index).ok()?)
    }

    fn open_answer(&self, of: &AnswerRecord) -> Option<OpenedLeaf> {
        self.open(|leaf| is_answer(leaf, of))
    }

    fn open_item(&self, round: u32, item_index: u32) -> Option<OpenedLeaf> {
        self.open(
            |leaf| matches!(leaf, Leaf::Item(item) if (item.round, item.item_index) == (round, item_index)),
        )
    }

    fn open_standing(&self, uid: Uid) -> Option<OpenedLeaf> {
        self.open(|leaf| matches!(leaf, Leaf::Standing(standing) if standing.uid == uid))
    }

    fn check_answer(
        &self,
        context: &Context<'_>,
        draws: &Draws,
        task: &dyn Task,
        round: &Round,
        answer: &AnswerRecord,
        equal: &mut Equal,
    ) -> Result<(), Box<Difference>> {
        equal.answers += 1;
        let challenge = answer.challenge.message();
        let line = format!(
            "round {}, item {}, uid {}",
            round.round, challenge.item_index, answer.uid
        );
        // A path is as long to make as the tree is: it is made for a difference alone.
        if let Some(Leaf::Answer(leaf)) = self.leaves.iter().find(|leaf| is_answer(leaf, answer))
            && let Err(broken) = answer::check(context, draws, leaf)
        {
            let shown = (round.round as usize + 1).min(self.draws.len());
            let forgery = self.open_answer(answer).map(|answer| Forgery::Answer {
                answer,
                draws: self.draws[..shown].to_vec(),
            });
            return Err(
                Difference::at(format!("{line}: the answer"), broken, "a drawn and signed one")
                    .proven_by(forgery),
            );
        }
        let Some(output) = draws.output(round.round) else {
            return Err(Difference::at(line, "no draw", "a draw of the round"));
        };
        let item = task.item(Draw::new(output).item_seed(challenge.item_index));
        if item.prompt != challenge.prompt {
            return Err(Difference::at(
                format!("{line}: the prompt"),
                &challenge.prompt,
                &item.prompt,
            ));
        }
        let Answer::Answered {
            text,
            tokens,
            first_ms,
            total_ms,
            ..
        } = &answer.outcome
        else {
            return Ok(());
        };
        let given = Given {
            text,
            tokens: u32::try_from(tokens.len()).unwrap_or(u32::MAX),
            first_ms: *first_ms,
            total_ms: *total_ms,
        };
        let expected_ppm = task.judge(&item, &given).score_ppm;
        if answer.score_ppm == expected_ppm {
            equal.judged += 1;
            return Ok(());
        }
        if task.model().is_some() && answer.score_ppm == 0 {
            equal.rejected += 1;
            return Ok(());
        }
        let forgery = self.open_answer(answer).map(|answer| Forgery::Judgement {
            answer,
            text: text.clone(),
        });
        let (found, expected) = (format!("{} ppm", answer.score_ppm), format!("{expected_ppm} ppm"));
        Err(Difference::at(format!("{line}: the judgement"), found, expected).proven_by(forgery))
    }

    fn check_values(&self, found: &Round, folded: &Round) -> Result<(), Box<Difference>> {
        for (found, expected) in found.answers.iter().zip(&folded.answers) {
            if found.strength_ppm == expected.strength_ppm {
                continue;
            }
            let challenge = found.challenge.message();
            let line = format!(
                "round {}, item {}, uid {}: the value among all answers",
                challenge.round, challenge.item_index, found.uid
            );
            let item = self.open_item(challenge.round, challenge.item_index);
            let forgery = item.map(|item| Forgery::Values { item });
            let (found, expected) = (found.strength_ppm, expected.strength_ppm);
            return Err(Difference::at(line, found, expected).proven_by(forgery));
        }
        Ok(())
    }

    fn check_outcome(
        &self,
        bundle: &Bundle,
        memory: &Memory,
        policy: &WeightPolicy,
    ) -> Result<(), Box<Difference>> {
        let outcome = Outcome::of(memory, bundle.own_uid, policy)
            .map_err(|error| Difference::at("the weights", "some", error))?;
        for (found, expected) in bundle.standings.iter().zip(&outcome.standings) {
            if found != expected {
                let line = format!("uid {}: the standing", expected.uid);
                let standing = self.open_standing(found.uid);
                let forgery = standing.map(|standing| Forgery::Standing { standing });
                return Err(Difference::at(line, told(found), told(expected)).proven_by(forgery));
            }
        }
        let (found, expected) = (bundle.standings.len(), outcome.standings.len());
        if found != expected {
            return Err(Difference::at("the standings", found, expected));
        }
        self.check_row(bundle, &outcome)
    }

    fn check_row(&self, bundle: &Bundle, outcome: &Outcome) -> Result<(), Box<Difference>> {
        if bundle.row == outcome.row {
            return Ok(());
        }
        let weight = |row: &[(Uid, u16)], uid| row.iter().find(|cell| cell.0 == uid).map_or(0, |cell| cell.1);
        let mut uids: Vec<Uid> = bundle.row.iter().chain(&outcome.row).map(|cell| cell.0).collect();
        uids.sort_unstable();
        let wrong = uids
            .into_iter()
            .find(|uid| weight(&bundle.row, *uid) != weight(&outcome.row, *uid));
        let Some(uid) = wrong else {
            return Err(Difference::at(
                "the weights",
                "uids out of order",
                "uids ascending",
            ));
        };
        let best = bundle.standings.iter().max_by_key(|standing| standing.pay);
        let forgery = (|| {
            Some(Forgery::Weight {
                weights: self.open(|leaf| matches!(leaf, Leaf::Weights(_)))?,
                best: self.open_standing(best?.uid)?,
                standing: self.open_standing(uid)?,
            })
        })();
        let (found, expected) = (weight(&bundle.row, uid), weight(&outcome.row, uid));
        Err(Difference::at(format!("uid {uid}: the weight"), found, expected).proven_by(forgery))
    }
}

/// Whether a leaf is that of this answer.
fn is_answer(leaf: &Leaf, of: &AnswerRecord) -> bool {
    let challenge = of.challenge.message();
    let Leaf::Answer(leaf) = leaf else { return false };
    (leaf.header.round, leaf.header.item_index, leaf.uid) == (challenge.round, challenge.item_index, of.uid)
}

fn told(standing: &StandingLeaf) -> String {
    let StandingLeaf {
        window,
        rating_ppm,
        voices,
        pay,
        ..
    } = standing;
    let answers = window.len();
    format!("{answers} answers, rating {rating_ppm} ppm, {voices} voices, pay {pay}")
}

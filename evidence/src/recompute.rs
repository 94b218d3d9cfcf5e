//! Recomputes a validator's tempo from its bundle: draws, judgements, comparisons, ratings, weights.
//!
//! Everything up to the weights follows exactly from what miners signed, except where a task pins a model: there an
//! audit may take an answer's worth away, and the measurements of audits are taken as they stand in the bundle.

use std::collections::BTreeSet;
use std::ops::Range;

use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::{EvidenceCommit, Forgery, Leaf, StandingLeaf};
use agon_scoring::draw::Draw;
use agon_scoring::rating::Window;
use agon_scoring::weights::WeightPolicy;
use agon_subnets::{Given, Item, Task};

use crate::Context;
use crate::answer::{self, Draws};
use crate::bundle::{BreaksOff, Bundle, Outcome, policy};
use crate::burst::burst;
use crate::fold::Memory;
use crate::forgery;
use crate::record::{AnswerRecord, Outcome as Answer, Round};
use crate::trail::Committed;
use crate::tree::Tree;
use crate::window::worth;

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
    /// The evidence of the tempo before, where the validator committed to it and it was fetched.
    pub before: Option<Before<'a>>,
    /// The weights as they were revealed, if they were.
    pub revealed: Option<&'a [(Uid, u16)]>,
}

/// The evidence that a tempo's windows are carried over from.
#[derive(Clone, Copy, Debug)]
pub struct Before<'a> {
    /// What everyone knows of that tempo.
    pub context: &'a Context<'a>,
    /// The commit to it.
    pub commit: &'a EvidenceCommit,
    /// The evidence.
    pub bundle: &'a Bundle,
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
    let before = on_ledger
        .before
        .map(|before| Tree::of(before.context, before.bundle));
    check_all(context, on_ledger, bundle, before.as_ref())
}

fn check_all(
    context: &Context<'_>,
    on_ledger: &OnLedger<'_>,
    bundle: &Bundle,
    before: Option<&Tree<'_>>,
) -> Result<Equal, Box<Difference>> {
    check_names(context, bundle)?;
    let tree = Tree::of(context, bundle);
    check_tree(&tree, on_ledger.commit)?;
    let Some(task) = agon_subnets::task(context.task) else {
        return Err(Difference::at("task", context.task, "one that this build knows"));
    };
    let draws = Draws::check(context, &bundle.draws)
        .map_err(|error| Difference::at("draws", error, "draws of the validator"))?;
    let subject = Subject {
        context,
        task: &*task,
        draws: &draws,
        bundle,
        tree: &tree,
        before,
        committed: Committed {
            commit: on_ledger.commit,
            before: on_ledger.before.map(|before| before.commit),
            // Who holds a UID since when, the ledger knows best: a report has to hold without it.
            settled: &[],
        },
    };
    if let Some(before) = on_ledger.before {
        subject.check_carried(&before)?;
    }
    let mut equal = Equal {
        rounds: bundle.rounds.len(),
        standings: bundle.standings.len(),
        slots: slots(&tree, context),
        ..Equal::default()
    };
    let mut memory = bundle.carried.clone();
    for round in &bundle.rounds {
        check_drawn(context, &*task, &memory, &draws, round)?;
        for answer in &round.answers {
            subject.check_answer(round, answer, &mut equal)?;
        }
        let mut folded = round.clone();
        memory.fold(&mut folded);
        subject.check_values(round, &folded)?;
    }
    bundle.forgotten.iter().for_each(|uid| memory.forget(*uid));
    subject.check_outcome(&memory, &policy(&*task))?;
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

fn check_tree(tree: &Tree<'_>, commit: &EvidenceCommit) -> Result<(), Box<Difference>> {
    let (root, count) = (tree.root(), tree.leaf_count());
    if (root, count) == (commit.root, commit.leaf_count) {
        return Ok(());
    }
    Err(Difference::at(
        "the tree",
        format!("{count} leaves under {root}"),
        format!("{} leaves under {}, as committed", commit.leaf_count, commit.root),
    ))
}

/// Slots that were asked, and those owed.
fn slots(tree: &Tree<'_>, context: &Context<'_>) -> (usize, usize) {
    let owed = context.slot_count() as usize;
    let slots = tree.leaves().iter().take(owed);
    (slots.filter(|leaf| matches!(leaf, Leaf::Answer(_))).count(), owed)
}

/// A bundle that is recomputed, with what it is recomputed by.
struct Subject<'a> {
    context: &'a Context<'a>,
    task: &'a dyn Task,
    draws: &'a Draws,
    bundle: &'a Bundle,
    tree: &'a Tree<'a>,
    before: Option<&'a Tree<'a>>,
    committed: Committed<'a>,
}

impl Subject<'_> {
    /// The difference, with the first forgery that shows it and that the ledger takes.
    fn proven(
        &self,
        difference: Box<Difference>,
        forgeries: impl IntoIterator<Item = Option<Forgery>>,
    ) -> Box<Difference> {
        let is_taken = |forgery: &Forgery| forgery::check(self.context, &self.committed, forgery).is_ok();
        difference.proven_by(forgeries.into_iter().flatten().find(is_taken))
    }

    /// Whether the tempo begins with what the one before ended with. Who changed hands in between begins with nothing.
    fn check_carried(&self, before: &Before<'_>) -> Result<(), Box<Difference>> {
        if self.before.map(Tree::root) != Some(before.commit.root) {
            let (line, found) = ("the evidence of the tempo before", "another");
            return Err(Difference::at(line, found, "that which was committed to"));
        }
        let report = |uid| self.tree.trail_of(self.context, uid, None, self.before);
        let (difference, report) = match self.bundle.breaks_off(before.bundle) {
            None => return Ok(()),
            Some(BreaksOff::FirstItem { found, expected }) => {
                let any = self.bundle.standings.first();
                let difference = Difference::at("the first item", found, expected);
                (difference, any.and_then(|standing| report(standing.uid)))
            }
            Some(BreaksOff::Window { uid }) => {
                let line = format!("uid {uid}: the window that is carried over");
                (
                    Difference::at(line, "another", "that of the tempo before"),
                    report(uid),
                )
            }
        };
        Err(self.proven(difference, [report]))
    }

    fn check_answer(
        &self,
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
        self.check_signed(round, answer, &line)?;
        let Some(output) = self.draws.output(round.round) else {
            return Err(Difference::at(line, "no draw", "a draw of the round"));
        };
        let item = self.task.item(Draw::new(output).item_seed(challenge.item_index));
        if item.prompt != challenge.prompt {
            let line = format!("{line}: the prompt");
            return Err(Difference::at(line, &challenge.prompt, &item.prompt));
        }
        self.check_judgement(&item, answer, &line, equal)
    }

    fn check_signed(&self, round: &Round, answer: &AnswerRecord, line: &str) -> Result<(), Box<Difference>> {
        let leaf = self.tree.answer_leaf(answer);
        let Some(Err(broken)) = leaf.map(|leaf| answer::check(self.context, self.draws, leaf)) else {
            return Ok(());
        };
        let shown = (round.round as usize + 1).min(self.bundle.draws.len());
        let forgery = self.tree.answer(answer).map(|answer| Forgery::Answer {
            answer,
            draws: self.bundle.draws[..shown].to_vec(),
        });
        let line = format!("{line}: the answer");
        Err(Difference::at(line, broken, "a drawn and signed one").proven_by(forgery))
    }

    fn check_judgement(
        &self,
        item: &Item,
        answer: &AnswerRecord,
        line: &str,
        equal: &mut Equal,
    ) -> Result<(), Box<Difference>> {
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
        let expected_ppm = self.task.judge(item, &given).score_ppm;
        if answer.score_ppm == expected_ppm {
            equal.judged += 1;
            return Ok(());
        }
        if self.task.model().is_some() && answer.score_ppm == 0 {
            equal.rejected += 1;
            return Ok(());
        }
        let forgery = self.tree.answer(answer).map(|answer| Forgery::Judgement {
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
            let item = self.tree.item(challenge.round, challenge.item_index);
            let forgery = item.map(|item| Forgery::Values { item });
            let (found, expected) = (found.strength_ppm, expected.strength_ppm);
            return Err(Difference::at(line, found, expected).proven_by(forgery));
        }
        Ok(())
    }

    fn check_outcome(&self, memory: &Memory, policy: &WeightPolicy) -> Result<(), Box<Difference>> {
        let bundle = self.bundle;
        let outcome = Outcome::of(memory, bundle.own_uid, policy)
            .map_err(|error| Difference::at("the weights", "some", error))?;
        for (place, expected) in outcome.standings.iter().enumerate() {
            self.check_standing(place, expected, &outcome.windows[place])?;
        }
        let (found, expected) = (bundle.standings.len(), outcome.standings.len());
        if found != expected {
            return Err(Difference::at("the standings", found, expected));
        }
        self.check_row(&outcome)
    }

    fn check_standing(
        &self,
        place: usize,
        expected: &StandingLeaf,
        window: &Window,
    ) -> Result<(), Box<Difference>> {
        let (Some(found), Some(shown)) = (self.bundle.standings.get(place), self.bundle.windows.get(place))
        else {
            let line = format!("uid {}: the standing", expected.uid);
            return Err(Difference::at(line, "none", told(expected)));
        };
        if (found, shown) == (expected, window) {
            return Ok(());
        }
        let (shown, window) = (worth(shown), worth(window));
        let item = shown
            .iter()
            .find(|worth| !window.contains(worth))
            .map(|worth| worth.item);
        let standing = self.tree.standing(found.uid);
        let by_itself = standing.map(|standing| Forgery::Standing {
            standing,
            window: shown,
        });
        let by_trail = self.tree.trail_of(self.context, found.uid, item, self.before);
        let line = format!("uid {}: the standing", expected.uid);
        let difference = Difference::at(line, told(found), told(expected));
        Err(self.proven(difference, [by_itself, by_trail]))
    }

    fn check_row(&self, outcome: &Outcome) -> Result<(), Box<Difference>> {
        let row = &self.bundle.row;
        if *row == outcome.row {
            return Ok(());
        }
        let weight = |row: &[(Uid, u16)], uid| row.iter().find(|cell| cell.0 == uid).map_or(0, |cell| cell.1);
        let mut uids: Vec<Uid> = row.iter().chain(&outcome.row).map(|cell| cell.0).collect();
        uids.sort_unstable();
        let wrong = uids
            .into_iter()
            .find(|uid| weight(row, *uid) != weight(&outcome.row, *uid));
        let Some(uid) = wrong else {
            return Err(Difference::at(
                "the weights",
                "uids out of order",
                "uids ascending",
            ));
        };
        let (found, expected) = (weight(row, uid), weight(&outcome.row, uid));
        let difference = Difference::at(format!("uid {uid}: the weight"), found, expected);
        let by_trail = self.tree.trail_of(self.context, uid, None, self.before);
        Err(self.proven(difference, [self.weight_report(uid), by_trail]))
    }

    /// Shows the weight of a UID beside that of the largest pay.
    fn weight_report(&self, uid: Uid) -> Option<Forgery> {
        let best = self.bundle.standings.iter().max_by_key(|standing| standing.pay)?;
        Some(Forgery::Weight {
            weights: self.tree.weights()?,
            best: self.tree.standing(best.uid)?,
            standing: self.tree.standing(uid)?,
        })
    }
}

fn told(standing: &StandingLeaf) -> String {
    let StandingLeaf {
        item_count,
        rating_ppm,
        voices,
        pay,
        ..
    } = standing;
    format!("{item_count} answers, rating {rating_ppm} ppm, {voices} voices, pay {pay}")
}

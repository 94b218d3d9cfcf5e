//! Forgeries: steps of a validator that do not follow from the rules, shown by the leaves they are made of.
//!
//! Every step from a question to a weight is an integer function of few leaves, so the ledger can repeat the one that
//! is in question whatever the stake behind it. A report is accepted when the commit covers its leaves and the step
//! comes out otherwise than they say.

use std::sync::Arc;

use agon_protocol::id::Uid;
use agon_protocol::message::{
    AnswerLeaf, AnswerResult, Forgery, ItemAnswer, ItemLeaf, Leaf, OpenedLeaf, StandingLeaf, Worth,
    answer_digest,
};
use agon_protocol::sign::{SignError, verify_draw};
use agon_scoring::compare::{Anchor, JudgedAnswer, compare};
use agon_scoring::draw::Draw;
use agon_scoring::rating::Standing;
use agon_scoring::weights::{WeightPolicy, pay, scale};
use agon_subnets::{Given, Task};
use thiserror::Error;

use crate::Context;
use crate::answer::{self, Broken, Draws};
use crate::bundle::policy;
use crate::trail::{Committed, Ground, Stop};
use crate::window::{START, link_after, of_worth};

/// A step that does not follow.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Forged {
    /// An answer that breaks a rule.
    #[error("leaf {leaf}: {broken}")]
    Answer {
        /// Its place.
        leaf: u32,
        /// The rule.
        broken: Broken,
    },
    /// A judgement that the task does not give.
    #[error("leaf {leaf}: the answer is judged {found_ppm} ppm, the task gives {expected_ppm}")]
    Judgement {
        /// Place of the answer.
        leaf: u32,
        /// What the validator says.
        found_ppm: u32,
        /// What the task says.
        expected_ppm: u32,
    },
    /// An item that says something else of an answer than the answer itself.
    #[error("leaf {item} has another score or text for the answer of leaf {answer}")]
    Copied {
        /// Place of the answer.
        answer: u32,
        /// Place of the item.
        item: u32,
    },
    /// A standing that does not follow from its window.
    #[error("leaf {leaf}: rating or pay do not follow from the window")]
    Standing {
        /// Its place.
        leaf: u32,
    },
    /// A weight that does not follow from the standings.
    #[error("leaf {leaf}: the weight of uid {uid} is {found}, {expected} follows from the standings")]
    Weight {
        /// Place of the weights.
        leaf: u32,
        /// Whose weight.
        uid: Uid,
        /// What the validator gave.
        found: u16,
        /// What follows.
        expected: u16,
    },
    /// An item whose values do not follow from its scores.
    #[error("leaf {leaf}: the values do not follow from the scores")]
    Values {
        /// Its place.
        leaf: u32,
    },
    /// An item that leaves out a miner that was drawn for it, or has another.
    #[error("leaf {leaf}: the item does not compare just those who were drawn for it")]
    Drawn {
        /// Its place.
        leaf: u32,
    },
    /// An item with another reference than its draw gives.
    #[error("leaf {leaf}: the reference is not that of the item that was drawn")]
    Reference {
        /// Its place.
        leaf: u32,
    },
    /// An answer that is worth something else in the window than in its item.
    #[error("leaf {standing} has another value for an answer than its item, leaf {item}")]
    Entry {
        /// Place of the standing.
        standing: u32,
        /// Place of the item.
        item: u32,
    },
    /// A window without some items of the tempo, or with others.
    #[error("leaf {leaf}: the window does not end in the items that the uid was drawn for")]
    Window {
        /// Place of the standing.
        leaf: u32,
    },
    /// A window that begins with other answers than were carried over.
    #[error("leaf {leaf}: the window does not go on from that of the tempo before")]
    Carried {
        /// Place of the standing.
        leaf: u32,
    },
    /// Items that are not numbered on from the tempo before.
    #[error(
        "leaf {leaf}: the first item has number {found}, which does not follow the last of the tempo before"
    )]
    FirstItem {
        /// Place of the weights.
        leaf: u32,
        /// The number it says.
        found: u64,
    },
    /// A UID without a standing that had one and did not change hands.
    #[error("leaf {leaf} leaves out uid {uid}, which had a standing in the tempo before")]
    LeftOut {
        /// Place of the weights.
        leaf: u32,
        /// Whom.
        uid: Uid,
    },
    /// Weights that no tree can end in.
    #[error("leaf {leaf}: {reason}")]
    Table {
        /// Place of the weights.
        leaf: u32,
        /// What is wrong, in words.
        reason: &'static str,
    },
    /// A leaf in the place of another.
    #[error("leaf {leaf} is not {expected}")]
    Place {
        /// Its place.
        leaf: u32,
        /// What belongs there.
        expected: &'static str,
    },
}

/// Why a report shows no forgery.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoForgery {
    /// A leaf that the commit does not cover.
    #[error("leaf {leaf} is not under the committed root")]
    Root {
        /// Its place.
        leaf: u32,
    },
    /// A leaf of another kind than the step is made of.
    #[error("leaf {leaf} is no {expected}")]
    Kind {
        /// Its place.
        leaf: u32,
        /// What it should be.
        expected: &'static str,
    },
    /// Draws that are not the validator's.
    #[error(transparent)]
    Draw(#[from] SignError),
    /// Leaves that do not belong together.
    #[error("the leaves do not belong together: {reason}")]
    Apart {
        /// In what they differ.
        reason: &'static str,
    },
    /// The step follows from the rules.
    #[error("the step follows from the rules")]
    Follows,
}

/// Repeats the step that a report is about.
///
/// # Errors
///
/// [`NoForgery`] when it follows from the rules, or the report shows nothing.
pub fn check(
    context: &Context<'_>,
    committed: &Committed<'_>,
    forgery: &Forgery,
) -> Result<Forged, NoForgery> {
    let is_of = |leaf: &&OpenedLeaf| leaf.is_of(committed.commit);
    if let Some(leaf) = forgery.leaves().into_iter().find(|leaf| !is_of(leaf)) {
        return Err(NoForgery::Root { leaf: leaf.index });
    }
    match forgery {
        Forgery::Answer { answer, draws } => drawn(context, answer, &Draws::check(context, draws)?),
        Forgery::Judgement { answer, text } => judged(context, answer, text),
        Forgery::Copied { answer, item } => copied(answer, item),
        Forgery::Values { item } => valued(item),
        Forgery::Standing { standing, window } => stood(context, standing, window),
        Forgery::Weight {
            weights,
            best,
            standing,
        } => weighed(weights, best, standing),
        Forgery::Trail {
            draws,
            weights,
            rest,
            trail,
        } => {
            let draws = Draws::check(context, draws)?;
            let ground = Ground::check(context, committed, &draws, weights, rest);
            match ground.and_then(|ground| ground.follow_any(trail)) {
                Ok(()) => Err(NoForgery::Follows),
                Err(Stop::Forged(forged)) => Ok(forged),
                Err(Stop::Lacking(lacking)) => Err(lacking),
            }
        }
    }
}

fn drawn(context: &Context<'_>, opened: &OpenedLeaf, draws: &Draws) -> Result<Forged, NoForgery> {
    let leaf = answer_of(opened)?;
    if !draws.have(leaf.header.round) {
        return Err(NoForgery::Apart {
            reason: "the draw of the answer's round is not shown",
        });
    }
    let broken = answer::check(context, draws, leaf)
        .err()
        .ok_or(NoForgery::Follows)?;
    Ok(Forged::Answer {
        leaf: opened.index,
        broken,
    })
}

fn judged(context: &Context<'_>, opened: &OpenedLeaf, text: &str) -> Result<Forged, NoForgery> {
    let leaf = answer_of(opened)?;
    let output = verify_draw(&context.asker.0, &leaf.header.draw_input(), &leaf.header.draw)?;
    judged_by(context, opened, text, output)
}

/// Judges again, for the draw of the answer's round. Where the task pins a model, an audit may have taken an answer's
/// worth away, so only a score above the task's own is a forgery. A text that the task does not read is not looked at.
pub(crate) fn judged_by(
    context: &Context<'_>,
    opened: &OpenedLeaf,
    text: &str,
    output: [u8; 32],
) -> Result<Forged, NoForgery> {
    let leaf = answer_of(opened)?;
    let AnswerResult::Answered {
        receipt,
        first_ms,
        total_ms,
    } = &leaf.result
    else {
        return Err(NoForgery::Follows);
    };
    let task = task_of(context)?;
    if task.reads_text() && receipt.message().answer != answer_digest(text) {
        return Err(NoForgery::Apart {
            reason: "the text is not that of the receipt",
        });
    }
    let item = task.item(Draw::new(output).item_seed(leaf.header.item_index));
    let given = Given {
        text,
        tokens: receipt.message().trace.token_count,
        first_ms: *first_ms,
        total_ms: *total_ms,
    };
    let expected_ppm = task.judge(&item, &given).score_ppm;
    let follows = match task.model() {
        Some(_) => leaf.score_ppm <= expected_ppm,
        None => leaf.score_ppm == expected_ppm,
    };
    if follows {
        return Err(NoForgery::Follows);
    }
    Ok(Forged::Judgement {
        leaf: opened.index,
        found_ppm: leaf.score_ppm,
        expected_ppm,
    })
}

pub(crate) fn task_of(context: &Context<'_>) -> Result<Arc<dyn Task>, NoForgery> {
    agon_subnets::task(context.task).ok_or(NoForgery::Apart {
        reason: "this build does not know the task",
    })
}

pub(crate) fn copied(opened_answer: &OpenedLeaf, opened_item: &OpenedLeaf) -> Result<Forged, NoForgery> {
    let (answer, item) = (answer_of(opened_answer)?, item_of(opened_item)?);
    if (answer.header.round, answer.header.item_index) != (item.round, item.item_index) {
        return Err(NoForgery::Apart {
            reason: "the answer is to another item",
        });
    }
    let digest = match &answer.result {
        AnswerResult::Answered { receipt, .. } => Some(receipt.message().answer),
        AnswerResult::Failed(_) => None,
    };
    let line = item.answers.iter().find(|line| line.uid == answer.uid);
    if line.is_some_and(|line| (line.digest, line.score_ppm) == (digest, answer.score_ppm)) {
        return Err(NoForgery::Follows);
    }
    Ok(Forged::Copied {
        answer: opened_answer.index,
        item: opened_item.index,
    })
}

pub(crate) fn valued(opened: &OpenedLeaf) -> Result<Forged, NoForgery> {
    let item = item_of(opened)?;
    let expected = item_values(item);
    let found: Vec<(Uid, u32)> = item
        .answers
        .iter()
        .map(|line| (line.uid, line.value_ppm))
        .collect();
    if expected.as_ref() == Some(&found) {
        return Err(NoForgery::Follows);
    }
    Ok(Forged::Values { leaf: opened.index })
}

/// The values of an item's answers, UIDs ascending; `None` when they cannot be compared.
#[must_use]
pub fn item_values(item: &ItemLeaf) -> Option<Vec<(Uid, u32)>> {
    let judged = |line: &ItemAnswer| JudgedAnswer {
        uid: line.uid.0,
        digest: line.digest.map(|digest| digest.0),
        score_ppm: line.score_ppm,
    };
    let answers: Vec<JudgedAnswer> = item.answers.iter().map(judged).collect();
    let comparison = compare(&answers, &Anchor::perfect(item.reference.0)).ok()?;
    let values = comparison.answers().iter();
    Some(values.map(|answer| (Uid(answer.uid), answer.value_ppm)).collect())
}

pub(crate) fn stood(
    context: &Context<'_>,
    opened: &OpenedLeaf,
    window: &[Worth],
) -> Result<Forged, NoForgery> {
    let leaf = standing_of(opened)?;
    if (window.len(), link_after(START, window)) != (leaf.item_count as usize, leaf.values) {
        return Err(NoForgery::Apart {
            reason: "the window is not that of the standing",
        });
    }
    let policy = policy(&*task_of(context)?);
    if pay_of(leaf, window, &policy) == Some((leaf.rating_ppm, leaf.pay)) {
        return Err(NoForgery::Follows);
    }
    Ok(Forged::Standing { leaf: opened.index })
}

/// Rating and pay that follow from a standing's window; `None` when no validator can have it.
fn pay_of(leaf: &StandingLeaf, window: &[Worth], policy: &WeightPolicy) -> Option<(u32, u64)> {
    let window = of_worth(window)?;
    let standing = Standing {
        uid: leaf.uid.0,
        rating_ppm: window.rating_ppm(),
        item_count: window.item_count(),
        verified_count: window.verified_count(),
        voices: leaf.voices,
        work: leaf.work,
    };
    Some((standing.rating_ppm, pay(&standing, policy).ok()?))
}

/// Scales two standings again, of which one has the largest weight.
pub(crate) fn weighed(
    opened_weights: &OpenedLeaf,
    opened_best: &OpenedLeaf,
    opened: &OpenedLeaf,
) -> Result<Forged, NoForgery> {
    let Leaf::Weights(weights) = &opened_weights.leaf else {
        return Err(NoForgery::Kind {
            leaf: opened_weights.index,
            expected: "row of weights",
        });
    };
    let (best, standing) = (standing_of(opened_best)?, standing_of(opened)?);
    let found = |uid| {
        weights
            .row
            .iter()
            .find(|cell| cell.0 == uid)
            .map_or(0, |cell| cell.1)
    };
    if found(best.uid) != u16::MAX || best.uid == standing.uid {
        return Err(NoForgery::Apart {
            reason: "the first standing is not that of the largest weight, or is the second too",
        });
    }
    let mut pays = [(best.uid.0, best.pay), (standing.uid.0, standing.pay)];
    pays.sort_unstable();
    let row = scale(&pays, pays.len());
    let expected = |uid: Uid| row.iter().find(|cell| cell.0 == uid.0).map_or(0, |cell| cell.1);
    if [best.uid, standing.uid]
        .into_iter()
        .all(|uid| found(uid) == expected(uid))
    {
        return Err(NoForgery::Follows);
    }
    Ok(Forged::Weight {
        leaf: opened_weights.index,
        uid: standing.uid,
        found: found(standing.uid),
        expected: expected(standing.uid),
    })
}

fn standing_of(opened: &OpenedLeaf) -> Result<&StandingLeaf, NoForgery> {
    match &opened.leaf {
        Leaf::Standing(leaf) => Ok(leaf),
        _ => Err(NoForgery::Kind {
            leaf: opened.index,
            expected: "standing",
        }),
    }
}

fn answer_of(opened: &OpenedLeaf) -> Result<&AnswerLeaf, NoForgery> {
    match &opened.leaf {
        Leaf::Answer(leaf) => Ok(leaf),
        _ => Err(NoForgery::Kind {
            leaf: opened.index,
            expected: "answer",
        }),
    }
}

fn item_of(opened: &OpenedLeaf) -> Result<&ItemLeaf, NoForgery> {
    match &opened.leaf {
        Leaf::Item(leaf) => Ok(leaf),
        _ => Err(NoForgery::Kind {
            leaf: opened.index,
            expected: "item",
        }),
    }
}

//! An opening: the leaves of the picked slots and the picked trails, checked against the commit and the draws.

use agon_protocol::id::Uid;
use agon_protocol::message::{AnswerResult, EvidenceCommit, EvidenceOpening, Leaf};
use agon_protocol::sign::SignError;
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::Context;
use crate::answer::{self, Broken, Draws};
use crate::forgery::{Forged, NoForgery};
use crate::slots::{Picks, TrailPick};
use crate::trail::{Committed, Ground, Stop};

/// What an opened slot shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Shown {
    /// The miner's signed receipt.
    Answered(Uid),
    /// The validator says that the miner failed to answer.
    Failed(Uid),
    /// Nobody was asked.
    NotAsked,
}

/// Why an opening is not accepted. None of these is a forgery: the validator may try again.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpeningError {
    /// Other leaves than those that were picked.
    #[error("the opening shows {shown} leaves, and not exactly those of the picked slots {picked:?}")]
    Picks {
        /// How many are shown.
        shown: usize,
        /// Those that were picked.
        picked: Vec<u32>,
    },
    /// None for a round whose answers are shown.
    #[error(
        "{found} draws are shown: one for each round that was asked, of {owed} that are owed and those after"
    )]
    Draws {
        /// How many are shown.
        found: usize,
        /// How many are owed.
        owed: u32,
    },
    /// A draw that is not the validator's.
    #[error(transparent)]
    Draw(#[from] SignError),
    /// A leaf that the commit does not cover.
    #[error("the leaf shown for slot {slot} is not under the committed root")]
    Root {
        /// Its slot.
        slot: u32,
    },
    /// More or fewer texts than answers.
    #[error("{texts} texts are shown of {answers} answers: show one of each")]
    Texts {
        /// How many texts are shown.
        texts: usize,
        /// How many answers are.
        answers: usize,
    },
    /// Another text than that of the answer.
    #[error("the answer in slot {slot}: {reason}")]
    Text {
        /// Its slot.
        slot: u32,
        /// What is wrong, in words.
        reason: NoForgery,
    },
    /// The weights, or what all trails rest on, is not shown.
    #[error("the weights: {0}")]
    Ground(NoForgery),
    /// More or fewer trails than were picked.
    #[error("{shown} trails are shown, {picked} were picked")]
    Trails {
        /// How many are shown.
        shown: usize,
        /// How many were picked.
        picked: usize,
    },
    /// A trail that does not show what was picked.
    #[error("trail {number}: {reason}")]
    Trail {
        /// Its number, from 0.
        number: usize,
        /// What is wrong, in words.
        reason: NoForgery,
    },
}

/// What came of an opening that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Every step holds.
    Holds {
        /// What each picked slot shows, in their order.
        shown: Vec<Shown>,
        /// The weights, UIDs ascending.
        row: Vec<(Uid, u16)>,
    },
    /// A step that was committed to does not follow.
    Forged(Forged),
}

/// What ends the check of an opening early.
enum End {
    Forged(Forged),
    Refused(OpeningError),
}

impl From<OpeningError> for End {
    fn from(error: OpeningError) -> Self {
        Self::Refused(error)
    }
}

impl End {
    /// The end at a step that stopped; `refused` says of what.
    fn of(stop: Stop, refused: impl FnOnce(NoForgery) -> OpeningError) -> Self {
        match stop {
            Stop::Forged(forged) => Self::Forged(forged),
            Stop::Lacking(reason) => Self::Refused(refused(reason)),
        }
    }
}

/// Checks an opening against the commit and what was picked.
///
/// # Errors
///
/// [`OpeningError`] when it does not show what was asked for.
pub fn check(
    context: &Context<'_>,
    committed: &Committed<'_>,
    picked: &Picks,
    opening: &EvidenceOpening,
) -> Result<Opened, OpeningError> {
    match check_all(context, committed, picked, opening) {
        Ok(opened) => Ok(opened),
        Err(End::Forged(forged)) => Ok(Opened::Forged(forged)),
        Err(End::Refused(error)) => Err(error),
    }
}

fn check_all(
    context: &Context<'_>,
    committed: &Committed<'_>,
    picked: &Picks,
    opening: &EvidenceOpening,
) -> Result<Opened, End> {
    check_leaves(committed.commit, &picked.slots, opening)?;
    let draws = Draws::check(context, &opening.draws).map_err(OpeningError::from)?;
    let lacks_draw = |round: u32| round < context.rounds && !draws.have(round);
    let mut rounds = opening.leaves.iter().filter_map(|leaf| round_of(&leaf.leaf));
    if rounds.any(lacks_draw) {
        return Err(End::Refused(OpeningError::Draws {
            found: opening.draws.len(),
            owed: context.rounds,
        }));
    }
    let ground = Ground::check(context, committed, &draws, &opening.weights, &opening.rest)
        .map_err(|stop| End::of(stop, OpeningError::Ground))?;
    let shown = check_slots(context, &draws, &ground, opening)?;
    check_trails(&ground, &picked.trails, opening)?;
    let row = ground.sections().weights().row.clone();
    Ok(Opened::Holds { shown, row })
}

fn check_leaves(
    commit: &EvidenceCommit,
    picked: &[u32],
    opening: &EvidenceOpening,
) -> Result<(), OpeningError> {
    let indexes: Vec<u32> = opening.leaves.iter().map(|leaf| leaf.index).collect();
    if indexes != picked {
        return Err(OpeningError::Picks {
            shown: indexes.len(),
            picked: picked.to_vec(),
        });
    }
    if let Some(leaf) = opening.leaves.iter().find(|leaf| !leaf.is_of(commit)) {
        return Err(OpeningError::Root { slot: leaf.index });
    }
    let answers = opening
        .leaves
        .iter()
        .filter(|leaf| is_answered(&leaf.leaf))
        .count();
    if answers != opening.texts.len() {
        return Err(OpeningError::Texts {
            texts: opening.texts.len(),
            answers,
        });
    }
    Ok(())
}

fn is_answered(leaf: &Leaf) -> bool {
    matches!(leaf, Leaf::Answer(answer) if matches!(answer.result, AnswerResult::Answered { .. }))
}

/// Checks every slot, and judges every answer again.
fn check_slots(
    context: &Context<'_>,
    draws: &Draws,
    ground: &Ground<'_>,
    opening: &EvidenceOpening,
) -> Result<Vec<Shown>, End> {
    let mut texts = opening.texts.iter();
    let mut shown = Vec::with_capacity(opening.leaves.len());
    for opened in &opening.leaves {
        let slot = opened.index;
        let text = if is_answered(&opened.leaf) {
            texts.next()
        } else {
            None
        };
        let is = check_slot(context, draws, slot, &opened.leaf).map_err(|broken| {
            let leaf = slot;
            End::Forged(Forged::Answer { leaf, broken })
        })?;
        if let (Leaf::Answer(answer), true) = (&opened.leaf, is != Shown::NotAsked) {
            if !ground.sections().has_items(answer.header.round) {
                let leaf = opening.weights.index;
                let reason = "it counts no items of a round that was asked";
                return Err(End::Forged(Forged::Table { leaf, reason }));
            }
            let text = text.map_or("", String::as_str);
            ground
                .check_judgement(opened, answer, text)
                .map_err(|stop| End::of(stop, |reason| OpeningError::Text { slot, reason }))?;
        }
        shown.push(is);
    }
    Ok(shown)
}

fn check_trails(ground: &Ground<'_>, picked: &[TrailPick], opening: &EvidenceOpening) -> Result<(), End> {
    let count = match ground.sections().standing_count() {
        0 => 0,
        _ => picked.len(),
    };
    if opening.trails.len() != count {
        return Err(End::Refused(OpeningError::Trails {
            shown: opening.trails.len(),
            picked: count,
        }));
    }
    for (number, (pick, trail)) in picked.iter().zip(&opening.trails).enumerate() {
        ground
            .follow_picked(number, pick, trail)
            .map_err(|stop| End::of(stop, |reason| OpeningError::Trail { number, reason }))?;
    }
    Ok(())
}

fn round_of(leaf: &Leaf) -> Option<u32> {
    match leaf {
        Leaf::Answer(answer) => Some(answer.header.round),
        _ => None,
    }
}

/// A slot is proven by the answer of its own miner to its own round's first item. Another true answer in its place is
/// no forgery, and proves nothing.
fn check_slot(context: &Context<'_>, draws: &Draws, slot: u32, leaf: &Leaf) -> Result<Shown, Broken> {
    let Leaf::Answer(answer) = leaf else {
        return Ok(Shown::NotAsked);
    };
    if !draws.have(answer.header.round) {
        return Ok(Shown::NotAsked);
    }
    answer::check(context, draws, answer)?;
    let round = slot / context.miners_per_round().max(1);
    let is_the_slots = draws.miner(context, slot) == Some(answer.uid)
        && (answer.header.round, answer.header.item_index) == (round, 0);
    Ok(match answer.result {
        _ if !is_the_slots => Shown::NotAsked,
        AnswerResult::Answered { .. } => Shown::Answered(answer.uid),
        AnswerResult::Failed(_) => Shown::Failed(answer.uid),
    })
}

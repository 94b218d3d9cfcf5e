//! An opening: the leaves of the picked slots, checked against the commit and the draws.

use agon_protocol::id::Uid;
use agon_protocol::message::{AnswerResult, EvidenceCommit, EvidenceOpening, Leaf};
use agon_protocol::sign::SignError;
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::Context;
use crate::answer::{self, Broken, Draws};

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
    /// More draws than rounds are owed, or none for a round whose answers are shown.
    #[error("{found} draws are shown: one for each round that was asked, of {owed} that are owed")]
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
    /// Weights that the commit does not end with.
    #[error(
        "the weights that are shown are not the last of the {leaf_count} leaves under the committed root"
    )]
    Weights {
        /// How many leaves were committed to.
        leaf_count: u32,
    },
}

/// What came of an opening that is accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Every leaf holds: what each picked slot shows, in their order.
    Holds(Vec<Shown>),
    /// A leaf that was committed to breaks a rule.
    Forged {
        /// Its slot.
        slot: u32,
        /// The rule.
        broken: Broken,
    },
}

/// Checks an opening against the commit and the slots that were picked.
///
/// # Errors
///
/// [`OpeningError`] when it does not show what was asked for.
pub fn check(
    context: &Context<'_>,
    commit: &EvidenceCommit,
    picked: &[u32],
    opening: &EvidenceOpening,
) -> Result<Opened, OpeningError> {
    let wrong_draws = OpeningError::Draws {
        found: opening.draws.len(),
        owed: context.rounds,
    };
    if opening.draws.len() > context.rounds as usize {
        return Err(wrong_draws);
    }
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
    if !opening.weights.is_last_of(commit) {
        return Err(OpeningError::Weights {
            leaf_count: commit.leaf_count,
        });
    }
    let draws = Draws::check(context, &opening.draws)?;
    let lacks_draw = |round: u32| round < context.rounds && !draws.have(round);
    let mut rounds = opening.leaves.iter().filter_map(|leaf| round_of(&leaf.leaf));
    if rounds.any(lacks_draw) {
        return Err(wrong_draws);
    }
    let mut shown = Vec::with_capacity(picked.len());
    for leaf in &opening.leaves {
        match check_slot(context, &draws, leaf.index, &leaf.leaf) {
            Ok(slot) => shown.push(slot),
            Err(broken) => {
                return Ok(Opened::Forged {
                    slot: leaf.index,
                    broken,
                });
            }
        }
    }
    Ok(Opened::Holds(shown))
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

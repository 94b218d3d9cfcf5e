//! The curriculum: stages of growing stories, from two sentences about two people to the task's own mix.

use agon_subnets::draw::Draw;
use agon_subnets::reading::story::{Kind, Profile};
use agon_subnets::reading::{KIND_WEIGHTS, LEVELS, profile};

/// One stage of a course.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// Short name for progress and curve.
    pub name: &'static str,
    /// What its stories are like.
    pub stories: Stories,
    /// How often each of [`Kind::ALL`] is asked, in parts of their sum.
    pub kind_weights: [usize; 3],
}

/// What the stories of a stage are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stories {
    /// All of one profile.
    Of(Profile),
    /// All levels of the task, equally often: what miners are asked.
    TaskMix,
}

impl Stage {
    /// The profile of the next story.
    pub fn profile(&self, draw: &mut Draw) -> Profile {
        match self.stories {
            Stories::Of(profile) => profile,
            Stories::TaskMix => profile(draw.between(1, usize::from(LEVELS)) as u8),
        }
    }

    /// The kind of the next question.
    pub fn kind(&self, draw: &mut Draw) -> Kind {
        Kind::ALL[draw.weighted(&self.kind_weights)]
    }
}

const fn moves(people: usize, sentences: usize) -> Stories {
    stories(people, 0, sentences, false, false)
}

const fn stories(
    people: usize,
    objects: usize,
    sentences: usize,
    exchange: bool,
    distraction: bool,
) -> Stories {
    let sentences_min = if sentences > 2 { sentences - 1 } else { sentences };
    Stories::Of(Profile {
        people,
        places: 6,
        objects,
        sentences_min,
        sentences_max: sentences,
        exchange,
        distraction,
    })
}

const PERSON: [usize; 3] = [1, 0, 0];
const HOLDING: [usize; 3] = [1, 1, 0];
const ALL: [usize; 3] = [1, 1, 2];

const TWO_PEOPLE: Stage = Stage {
    name: "two people",
    stories: moves(2, 2),
    kind_weights: PERSON,
};
const THREE_MOVES: Stage = Stage {
    name: "three moves",
    stories: moves(2, 3),
    kind_weights: PERSON,
};
const TASK_MIX: Stage = Stage {
    name: "task mix",
    stories: Stories::TaskMix,
    kind_weights: KIND_WEIGHTS,
};

/// The first stage alone.
pub const FIRST: &[Stage] = &[TWO_PEOPLE];

/// The task's mix from the first step: a model that is started on it hardly learns to bind.
pub const MIX_ONLY: &[Stage] = &[TASK_MIX];

/// People who move about, and nothing else, before the task's mix.
pub const PEOPLE_ONLY: &[Stage] = &[
    TWO_PEOPLE,
    THREE_MOVES,
    Stage {
        name: "three people",
        stories: moves(3, 5),
        kind_weights: PERSON,
    },
    Stage {
        name: "four people",
        stories: moves(4, 8),
        kind_weights: PERSON,
    },
    TASK_MIX,
];

/// The whole way: people, then who has what, then where things are, then the task's mix.
pub const WHOLE: &[Stage] = &[
    TWO_PEOPLE,
    THREE_MOVES,
    Stage {
        name: "one holds",
        stories: stories(2, 1, 4, false, false),
        kind_weights: HOLDING,
    },
    Stage {
        name: "things carried",
        stories: stories(3, 1, 5, false, false),
        kind_weights: ALL,
    },
    Stage {
        name: "things exchanged",
        stories: stories(3, 1, 6, true, false),
        kind_weights: ALL,
    },
    Stage {
        name: "two things",
        stories: stories(4, 2, 8, true, true),
        kind_weights: ALL,
    },
    TASK_MIX,
];

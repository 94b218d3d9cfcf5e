//! Trails: from weights back to what a miner signed, one step after the other.
//!
//! A trail starts at a UID's standing and shows that
//!
//! 1. its weight follows from its pay and that of the largest weight,
//! 2. rating and pay follow from its window,
//! 3. the window ends in just the items that the UID was drawn for in the tempo, and begins with the newest of the
//!    window that the evidence of the tempo before ends with,
//! 4. one answer of the tempo is worth in the window what it is worth in its item, and that follows from its score,
//! 5. the item compares all who were drawn, each with the answer that it gave,
//! 6. the answer was drawn, asked and signed, and is judged as the task judges it.
//!
//! Where a leaf has to stand is no choice of whoever shows it ([`crate::sections`]).
//!
//! # What is not shown
//!
//! Voices and proven work rest on all windows and bursts, and are believed. Where the validator committed to nothing in
//! the tempo before, what a window begins with is believed too. A window of a UID that may have changed hands since
//! may begin anew at any item.

use agon_protocol::id::Uid;
use agon_protocol::message::{
    AnswerLeaf, AnswerResult, Carried, EvidenceCommit, ItemLeaf, Leaf, OpenedLeaf, StandingLeaf, Trail,
    TrailAnswer, TrailRest, WeightsLeaf, Worth, answer_digest,
};
use agon_scoring::draw::Draw;
use agon_scoring::rating::WINDOW_ITEMS_MAX;

use crate::Context;
use crate::answer::{self, Draws};
use crate::forgery::{self, Forged, NoForgery, task_of};
use crate::sections::{ItemPlace, Sections, next_item, standing_of};
use crate::slots::TrailPick;
use crate::window::{kept_count, link_after};

/// What the ledger has of the evidence in question.
#[derive(Clone, Copy, Debug)]
pub struct Committed<'a> {
    /// The commit.
    pub commit: &'a EvidenceCommit,
    /// The validator's commit of the tempo before, where it made one.
    pub before: Option<&'a EvidenceCommit>,
    /// UIDs that have certainly not changed hands since the oldest of these tempos opened, ascending.
    pub settled: &'a [Uid],
}

/// Why a trail does not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// A step does not follow from what was committed to.
    Forged(Forged),
    /// What is shown is not what was committed to or asked for.
    Lacking(NoForgery),
}

impl From<Forged> for Stop {
    fn from(forged: Forged) -> Self {
        Self::Forged(forged)
    }
}

impl From<NoForgery> for Stop {
    fn from(lacking: NoForgery) -> Self {
        Self::Lacking(lacking)
    }
}

/// What the trails of a tempo have in common, checked.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    context: &'a Context<'a>,
    commit: &'a EvidenceCommit,
    draws: &'a Draws,
    weights: &'a OpenedLeaf,
    sections: Sections<'a>,
    best: Option<&'a OpenedLeaf>,
    before: Option<(&'a EvidenceCommit, &'a WeightsLeaf)>,
    settled: &'a [Uid],
}

impl<'a> Ground<'a> {
    /// Checks the weights, their table, and how they go on from those of the tempo before.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn check(
        context: &'a Context<'a>,
        committed: &Committed<'a>,
        draws: &'a Draws,
        weights: &'a OpenedLeaf,
        rest: &'a TrailRest,
    ) -> Result<Self, Stop> {
        let leaf = weights_of(committed.commit, weights)?;
        let sections = Sections::of(context, committed.commit.leaf_count, leaf).map_err(|reason| {
            let leaf = weights.index;
            Forged::Table { leaf, reason }
        })?;
        if draws.count() < leaf.rounds.len() {
            return Err(apart("the draws of some rounds are not shown").into());
        }
        let before = match (committed.before, &rest.before) {
            (None, _) => None,
            (Some(commit), Some(opened)) => Some((commit, weights_of(commit, opened)?)),
            (Some(_), None) => return Err(apart("the weights of the tempo before are not shown").into()),
        };
        let ground = Self {
            context,
            commit: committed.commit,
            draws,
            weights,
            sections,
            best: rest.best.as_ref(),
            before,
            settled: committed.settled,
        };
        ground.check_best()?;
        ground.check_before()?;
        Ok(ground)
    }

    fn check_best(&self) -> Result<(), Stop> {
        match (self.sections.best(), self.best) {
            (None, None) => Ok(()),
            (Some(place), Some(opened)) => self.standing(opened, place).map(drop),
            _ => Err(apart("the standing of the largest weight is not shown").into()),
        }
    }

    /// Items are numbered on from the tempo before, and nobody who is still there is left out.
    fn check_before(&self) -> Result<(), Stop> {
        let Some((_, before)) = self.before else {
            return Ok(());
        };
        let weights = self.sections.weights();
        let leaf = self.weights.index;
        if next_item(before) != Some(weights.first_item) {
            let found = weights.first_item;
            return Err(Forged::FirstItem { leaf, found }.into());
        }
        let is_here = |uid: Uid| standing_of(weights, self.commit.leaf_count, uid).is_some();
        let mut stood = before
            .row
            .iter()
            .map(|cell| cell.0)
            .chain(before.unpaid.iter().copied());
        match stood.find(|uid| self.is_settled(*uid) && !is_here(*uid)) {
            Some(uid) => Err(Forged::LeftOut { leaf, uid }.into()),
            None => Ok(()),
        }
    }

    fn is_settled(&self, uid: Uid) -> bool {
        self.settled.binary_search(&uid).is_ok()
    }

    /// The table of the weights.
    #[must_use]
    pub const fn sections(&self) -> &Sections<'a> {
        &self.sections
    }

    /// The leaf at its place, if the commit covers it there.
    fn at<'t>(&self, opened: &'t OpenedLeaf, index: u32) -> Result<&'t Leaf, NoForgery> {
        at(self.commit, opened, index)
    }

    fn standing<'t>(&self, opened: &'t OpenedLeaf, place: usize) -> Result<&'t StandingLeaf, Stop> {
        let (uid, index) = self
            .sections
            .standing(place)
            .ok_or(apart("nobody has such a standing"))?;
        match self.at(opened, index)? {
            Leaf::Standing(leaf) if leaf.uid == uid => Ok(leaf),
            _ => Err(misplaced(opened, "the standing of the uid whose turn it is")),
        }
    }

    fn item<'t>(&self, opened: &'t OpenedLeaf, place: &ItemPlace) -> Result<&'t ItemLeaf, Stop> {
        match self.at(opened, place.leaf)? {
            Leaf::Item(leaf) if (leaf.round, leaf.item_index) == (place.round, place.item_index) => Ok(leaf),
            _ => Err(misplaced(opened, "the item whose turn it is")),
        }
    }

    fn answer<'t>(&self, opened: &'t OpenedLeaf, item: &ItemPlace, uid: Uid) -> Result<&'t AnswerLeaf, Stop> {
        let index = self.sections.answer(self.draws, item, uid).ok_or(NOT_DRAWN)?;
        let of = |leaf: &AnswerLeaf| (leaf.header.round, leaf.header.item_index, leaf.uid);
        match self.at(opened, index)? {
            Leaf::Answer(leaf) if of(leaf) == (item.round, item.item_index, uid) => Ok(leaf),
            _ => Err(misplaced(opened, "the answer of the uid to the item")),
        }
    }

    /// Follows the trail that was picked as number `number`.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn follow_picked(&self, number: usize, pick: &TrailPick, trail: &Trail) -> Result<(), Stop> {
        let place = self
            .sections
            .picked(number, pick)
            .ok_or(apart("nobody has a standing"))?;
        let picked = |fresh: &[Worth]| {
            let place = pick.answer.checked_rem(fresh.len() as u64)?;
            fresh.get(usize::try_from(place).ok()?).copied()
        };
        self.follow(trail, place, picked)
    }

    /// Follows a trail from whichever standing to whichever answer it shows.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn follow_any(&self, trail: &Trail) -> Result<(), Stop> {
        let standings = 0..self.sections.standing_count();
        let mut places = standings
            .filter(|place| self.sections.standing(*place).map(|it| it.1) == Some(trail.standing.index));
        let place = places.next().ok_or(apart("the first leaf is no standing"))?;
        let shown = |fresh: &[Worth]| {
            let index = trail.answer.as_ref().map(|shown| shown.item.index);
            let is_it = |worth: &&Worth| self.sections.item(worth.item).map(|item| item.leaf) == index;
            fresh.iter().find(is_it).or(fresh.first()).copied()
        };
        self.follow(trail, place, shown)
    }

    fn follow(
        &self,
        trail: &Trail,
        place: usize,
        pick: impl Fn(&[Worth]) -> Option<Worth>,
    ) -> Result<(), Stop> {
        let leaf = self.standing(&trail.standing, place)?;
        step(forgery::stood(self.context, &trail.standing, &trail.window))?;
        self.check_weight(trail, leaf)?;
        let old = trail
            .window
            .partition_point(|worth| worth.item < self.sections.weights().first_item);
        let (carried, fresh) = trail.window.split_at(old);
        self.check_fresh(&trail.standing, leaf.uid, carried, fresh)?;
        self.check_carried(trail, leaf.uid, carried, fresh.len())?;
        match (pick(fresh), &trail.answer) {
            (None, None) => Ok(()),
            (Some(worth), Some(shown)) => self.check_answer(&trail.standing, leaf.uid, worth, shown),
            _ => Err(apart("not one of the tempo's answers in the window is shown where it has some").into()),
        }
    }

    fn check_weight(&self, trail: &Trail, leaf: &StandingLeaf) -> Result<(), Stop> {
        match self.best {
            None if leaf.pay == 0 => Ok(()),
            None => Err(Forged::Table {
                leaf: self.weights.index,
                reason: "it has no weights where somebody is paid",
            }
            .into()),
            Some(best) if best.index == trail.standing.index => Ok(()),
            Some(best) => step(forgery::weighed(self.weights, best, &trail.standing)),
        }
    }

    /// The window ends in the items of the tempo that the UID was drawn for: in all that a window holds, or where it may
    /// have changed hands in the newest, and then it begins with them.
    fn check_fresh(
        &self,
        opened: &OpenedLeaf,
        uid: Uid,
        carried: &[Worth],
        fresh: &[Worth],
    ) -> Result<(), Stop> {
        let items = self.sections.items_of(self.draws, uid);
        let is_end = items.len().checked_sub(fresh.len()).is_some_and(|first| {
            let shown = fresh.iter().map(|worth| worth.item);
            shown.eq(items[first..].iter().copied())
        });
        let is_all = fresh.len() == items.len().min(WINDOW_ITEMS_MAX);
        let may_begin_anew = carried.is_empty() && !self.is_settled(uid);
        if is_end && (is_all || may_begin_anew) {
            return Ok(());
        }
        let leaf = opened.index;
        Err(Forged::Window { leaf }.into())
    }

    fn check_carried(
        &self,
        trail: &Trail,
        uid: Uid,
        carried: &[Worth],
        fresh_count: usize,
    ) -> Result<(), Stop> {
        let Some((commit, weights)) = self.before else {
            return Ok(());
        };
        let forged = Forged::Carried {
            leaf: trail.standing.index,
        };
        let follows = match standing_of(weights, commit.leaf_count, uid) {
            None => carried.is_empty(),
            Some(index) => {
                let shown = trail.carried.as_ref();
                let Carried { standing, dropped } =
                    shown.ok_or(apart("the window of the tempo before is not shown"))?;
                let Leaf::Standing(before) = at(commit, standing, index)? else {
                    return Err(forged.into());
                };
                let kept = kept_count(before.item_count as usize, fresh_count);
                let is_kept = carried.len() == kept && link_after(*dropped, carried) == before.values;
                is_kept || (carried.is_empty() && !self.is_settled(uid))
            }
        };
        match follows {
            true => Ok(()),
            false => Err(forged.into()),
        }
    }

    fn check_answer(
        &self,
        standing: &OpenedLeaf,
        uid: Uid,
        worth: Worth,
        shown: &TrailAnswer,
    ) -> Result<(), Stop> {
        let TrailAnswer { item, answer, text } = shown;
        let place = self.sections.item(worth.item).ok_or(NOT_DRAWN)?;
        let item_leaf = self.item(item, &place)?;
        let line = item_leaf.answers.iter().find(|line| line.uid == uid);
        if line.map(|line| line.value_ppm) != Some(worth.value_ppm) {
            let (standing, item) = (standing.index, item.index);
            return Err(Forged::Entry { standing, item }.into());
        }
        step(forgery::valued(item))?;
        self.check_item(item, item_leaf)?;
        let leaf = self.answer(answer, &place, uid)?;
        answer::check(self.context, self.draws, leaf).map_err(|broken| {
            let leaf = answer.index;
            Forged::Answer { leaf, broken }
        })?;
        step(forgery::copied(answer, item))?;
        self.check_judgement(answer, leaf, text)
    }

    /// Whether an item has the answers of all who were drawn for it, and the reference that its draw gives.
    fn check_item(&self, opened: &OpenedLeaf, item: &ItemLeaf) -> Result<(), Stop> {
        let leaf = opened.index;
        let mut drawn = self.draws.round(item.round).to_vec();
        drawn.sort_unstable();
        if !item.answers.iter().map(|line| line.uid).eq(drawn) {
            return Err(Forged::Drawn { leaf }.into());
        }
        let output = self.draws.output(item.round).ok_or(NOT_DRAWN)?;
        let asked = task_of(self.context)?.item(Draw::new(output).item_seed(item.item_index));
        if answer_digest(&asked.reference) != item.reference {
            return Err(Forged::Reference { leaf }.into());
        }
        Ok(())
    }

    /// Judges an answer that was drawn and signed again.
    ///
    /// # Errors
    ///
    /// [`Stop`].
    pub fn check_judgement(&self, opened: &OpenedLeaf, leaf: &AnswerLeaf, text: &str) -> Result<(), Stop> {
        match &leaf.result {
            AnswerResult::Failed(_) => Ok(()),
            AnswerResult::Answered { .. } => {
                let output = self.draws.output(leaf.header.round).ok_or(NOT_DRAWN)?;
                step(forgery::judged_by(self.context, opened, text, output))
            }
        }
    }
}

/// The last leaf under a commit, which its weights are.
fn weights_of<'t>(commit: &EvidenceCommit, opened: &'t OpenedLeaf) -> Result<&'t WeightsLeaf, NoForgery> {
    match at(commit, opened, commit.leaf_count.saturating_sub(1))? {
        Leaf::Weights(leaf) => Ok(leaf),
        _ => Err(NoForgery::Kind {
            leaf: opened.index,
            expected: "row of weights",
        }),
    }
}

fn at<'t>(commit: &EvidenceCommit, opened: &'t OpenedLeaf, index: u32) -> Result<&'t Leaf, NoForgery> {
    if opened.index != index {
        return Err(apart("another leaf is shown than the trail leads to"));
    }
    match opened.is_of(commit) {
        true => Ok(&opened.leaf),
        false => Err(NoForgery::Root { leaf: index }),
    }
}

/// Not reached by a window that ends in items its UID was drawn for.
const NOT_DRAWN: NoForgery = apart("the uid was not drawn for the item");

const fn apart(reason: &'static str) -> NoForgery {
    NoForgery::Apart { reason }
}

fn misplaced(opened: &OpenedLeaf, expected: &'static str) -> Stop {
    let leaf = opened.index;
    Forged::Place { leaf, expected }.into()
}

/// A step that was repeated: a forgery ends the trail.
fn step(repeated: Result<Forged, NoForgery>) -> Result<(), Stop> {
    match repeated {
        Ok(forged) => Err(forged.into()),
        Err(NoForgery::Follows) => Ok(()),
        Err(lacking) => Err(lacking.into()),
    }
}

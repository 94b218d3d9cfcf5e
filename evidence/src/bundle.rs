//! A tempo's evidence in full: what a tree is made of, and what is shown of it.

use agon_protocol::id::{Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{EvidenceCommit, EvidenceOpening, Leaf, StandingLeaf};
use agon_protocol::sign::DrawProof;
use agon_scoring::rating::{Standing, Window};
use agon_scoring::weights::{WeightPolicy, WeightsError, pay, weights};
use agon_subnets::Task;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::Context;
use crate::fold::Memory;
use crate::record::Round;
use crate::slots::Picks;
use crate::tree::Tree;
use crate::window::{START, link_after, texts, worth};

/// Most bytes of a bundle that are read.
pub const BYTES_MAX: usize = 256 * 1024 * 1024;
/// Most rounds of a tempo: those whose draws can be shown to the ledger at once.
pub const ROUNDS_MAX: u32 = 64;

/// Everything that a validator's weights of one tempo rest on.
#[derive(Clone, Debug, PartialEq, BorshSerialize, BorshDeserialize)]
pub struct Bundle {
    /// The ledger: digest of its genesis.
    pub genesis: Digest,
    /// The subnet.
    pub netuid: Netuid,
    /// The tempo.
    pub tempo: u64,
    /// The validator.
    pub validator: Hotkey,
    /// Its own slot, which it gives no weight.
    pub own_uid: Uid,
    /// What it remembered when the tempo opened.
    pub carried: Memory,
    /// Proofs of the draws of the rounds 0, 1 and so on, up to the last that was judged.
    pub draws: Vec<DrawProof>,
    /// The rounds that were judged, with their values.
    pub rounds: Vec<Round>,
    /// UIDs that changed hands after the last of them.
    pub forgotten: Vec<Uid>,
    /// Where everyone stood at the end, UIDs ascending.
    pub standings: Vec<StandingLeaf>,
    /// The window of each of them.
    pub windows: Vec<Window>,
    /// The weights that were made of it.
    pub row: Vec<(Uid, u16)>,
}

/// Where a tempo does not go on from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreaksOff {
    /// Its items are not numbered on.
    FirstItem {
        /// The first number.
        found: u64,
        /// The one after the last before.
        expected: u64,
    },
    /// It begins with another window than the one before ended with.
    Window {
        /// Whose.
        uid: Uid,
    },
}

/// What a tempo ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where everyone stands, UIDs ascending.
    pub standings: Vec<StandingLeaf>,
    /// The window of each of them.
    pub windows: Vec<Window>,
    /// The weights, UIDs ascending.
    pub row: Vec<(Uid, u16)>,
}

impl Outcome {
    /// What the rules make of what a validator remembers at the end of a tempo; it gives its own slot no weight.
    ///
    /// # Errors
    ///
    /// [`WeightsError`] when there is nobody to weigh.
    pub fn of(memory: &Memory, own_uid: Uid, policy: &WeightPolicy) -> Result<Self, WeightsError> {
        let mut standings = memory.ratings.standings();
        memory.capacity.measure(&mut standings);
        let others: Vec<Standing> = standings.into_iter().filter(|it| it.uid != own_uid.0).collect();
        let row = weights(&others, policy)?;
        let window = |standing: &Standing| memory.ratings.windows().get(&standing.uid).cloned();
        let windows: Vec<Window> = others.iter().filter_map(window).collect();
        let leaves: Result<Vec<StandingLeaf>, WeightsError> = others
            .iter()
            .zip(&windows)
            .map(|(standing, window)| leaf(window, standing, policy))
            .collect();
        Ok(Self {
            standings: leaves?,
            windows,
            row: row.into_iter().map(|(uid, weight)| (Uid(uid), weight)).collect(),
        })
    }
}

/// How standings turn into weights on a subnet with this task.
#[must_use]
pub fn policy(task: &dyn Task) -> WeightPolicy {
    WeightPolicy {
        pays_work: task.burst_items().is_some(),
        ..WeightPolicy::default()
    }
}

fn leaf(window: &Window, standing: &Standing, policy: &WeightPolicy) -> Result<StandingLeaf, WeightsError> {
    Ok(StandingLeaf {
        uid: Uid(standing.uid),
        item_count: window.item_count(),
        values: link_after(START, &worth(window)),
        texts: texts(window),
        rating_ppm: standing.rating_ppm,
        voices: standing.voices,
        work: standing.work,
        pay: pay(standing, policy)?,
    })
}

impl Bundle {
    /// The commit to this bundle; `session` shows whose session asked, where one did.
    #[must_use]
    pub fn commit(
        &self,
        context: &Context<'_>,
        served_at: Option<std::net::SocketAddr>,
        session: Option<DrawProof>,
    ) -> EvidenceCommit {
        let tree = Tree::of(context, self);
        let slots = context.slot_count() as usize;
        let asked = tree.leaves().iter().take(slots);
        let asked = asked.filter(|leaf| matches!(leaf, Leaf::Answer(_))).count();
        let claimed = asked.saturating_mul(1_000_000) / slots.max(1);
        EvidenceCommit {
            tempo: self.tempo,
            root: tree.root(),
            leaf_count: tree.leaf_count(),
            claimed_ppm: u32::try_from(claimed).unwrap_or(1_000_000),
            served_at,
            session,
        }
    }

    /// What was picked of this bundle; `before` is the tree of the tempo before and its bundle, where the validator
    /// committed to them. `None` when the bundle has no tree that can be opened, or not what was picked.
    #[must_use]
    pub fn open(
        &self,
        context: &Context<'_>,
        picked: &Picks,
        before: Option<&Tree<'_>>,
    ) -> Option<EvidenceOpening> {
        Tree::of(context, self).opening(context, picked, before)
    }

    /// What does not go on from the evidence of the tempo before, if something does not: the number of the first item, or
    /// the window of a UID. Who changed hands in between begins with nothing.
    #[must_use]
    pub fn breaks_off(&self, before: &Self) -> Option<BreaksOff> {
        let rounds = before.rounds.iter().filter(|round| !round.is_burst);
        let items: usize = rounds.map(|round| round.items.len()).sum();
        let expected = before
            .carried
            .ratings
            .items_recorded()
            .saturating_add(items as u64);
        let carried = &self.carried.ratings;
        if carried.items_recorded() != expected {
            return Some(BreaksOff::FirstItem {
                found: carried.items_recorded(),
                expected,
            });
        }
        let mut windows = carried.windows().iter();
        let other = windows.find(|(uid, window)| before.window(Uid(**uid)) != Some(window));
        other.map(|(uid, _)| BreaksOff::Window { uid: Uid(*uid) })
    }

    /// The window of a UID, where it has a standing.
    #[must_use]
    pub fn window(&self, uid: Uid) -> Option<&Window> {
        let place = self.standings.iter().position(|standing| standing.uid == uid)?;
        self.windows.get(place)
    }
}

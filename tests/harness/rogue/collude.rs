//! A validator that works, but judges the answers of its friends as perfect, whatever they say, and weighs by it.
//!
//! Everything else is as the rules have it: it asks whom it drew, its comparisons, ratings and weights follow from its
//! judgements, and its evidence is committed, opened and served. So the one step that does not follow is the judgement,
//! and nothing but the miner's signed answer tells.

use std::collections::BTreeSet;
use std::time::Duration;

use agon_evidence::Context;
use agon_evidence::bundle::{Bundle, Outcome as Weighed, ROUNDS_MAX, policy};
use agon_evidence::burst::burst;
use agon_evidence::record::Round;
use agon_evidence::slots::Picks;
use agon_evidence::tree::Tree;
use agon_ledger_client::follow::View;
use agon_protocol::id::{Digest, Hotkey, Uid};
use agon_protocol::message::{Call, EvidenceView, NeuronView};
use agon_protocol::sign::Keypair;
use agon_runtime::shutdown::{Shutdown, Tasks};
use agon_scoring::compare::PPM;
use agon_subnets::Task;
use agon_validator::asker::Asker;
use agon_validator::bundles::Bundles;
use agon_validator::commit::{self, Due, Owed};
use agon_validator::query::{self, Miners, Outcome};
use agon_validator::round::{self, Asked, Audits, NonceCounter, Plan, Score, Setting, Size};
use agon_validator::{Config, World};
use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Desk;

/// Colludes until shutdown: whatever the miners of `friends` answer is perfect.
///
/// # Errors
///
/// When the ledger does not answer at the start, or evidence cannot be kept or served.
pub async fn run(
    mut config: Config,
    friends: BTreeSet<Hotkey>,
    world: World,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let mut tasks = Tasks::new(shutdown.clone());
    agon_validator::serve_evidence(&mut config, &world.net, &mut tasks, &shutdown).await?;
    let mut colluder = Colluder {
        friends,
        bundles: Bundles::open(&config.dir)?,
        miners: Miners::new(world.net.clone()),
        desk: Desk::open(config, world).await?,
        nonces: NonceCounter::default(),
        terms: None,
        asker: None,
        rounds: Vec::new(),
        next_round: Instant::now(),
    };
    let mut views = colluder.desk.follow(&shutdown);
    let mut answering = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = shutdown.requested() => return Ok(()),
            alive = views.changed() => alive.context("the ledger's views ended")?,
            Some(answered) = answering.join_next() => colluder.judge(answered?),
        }
        let view = views.borrow_and_update().clone();
        if let Some(view) = view {
            colluder.step(&view, &mut answering).await?;
        }
    }
}

/// A round whose answers are in.
#[derive(Debug)]
struct Answered {
    round: u32,
    sequence: u64,
    tempo: u64,
    beacon: Digest,
    time_ms: u64,
    plan: Plan,
    outcomes: Vec<Outcome>,
}

#[derive(Debug)]
struct Colluder {
    desk: Desk,
    friends: BTreeSet<Hotkey>,
    bundles: Bundles,
    miners: Miners,
    nonces: NonceCounter,
    /// What the ledger says of the running tempo.
    terms: Option<EvidenceView>,
    /// The key that it is asked by.
    asker: Option<Asker>,
    /// Judged rounds of the running tempo.
    rounds: Vec<Round>,
    next_round: Instant,
}

impl Colluder {
    /// Does what is due; rounds are asked in `answering`, so that no miner holds up the ledger's windows.
    async fn step(&mut self, view: &View, answering: &mut JoinSet<Answered>) -> anyhow::Result<()> {
        let tempo = view.subnet.tempo;
        if self.desk.state.tempo != tempo {
            self.rounds.clear();
            self.terms = None;
        }
        let Some(neuron) = self.desk.enter(view) else {
            return Ok(());
        };
        if self.terms.is_none() {
            match self.desk.client.evidence(view.subnet.netuid, tempo).await {
                Ok(terms) => {
                    self.asker = Some(Asker::of(&self.desk.config.pair, self.desk.genesis, &terms));
                    self.terms = Some(terms);
                }
                Err(error) => warn!(%error, tempo, "who can be drawn is not known"),
            }
        }
        match self.desk.due(view) {
            Due::Weigh => self.weigh(view, &neuron).await?,
            due => self.desk.settle(due).await,
        }
        self.evidence_step(view).await?;
        if answering.is_empty() {
            self.ask(view, answering);
        }
        Ok(())
    }

    /// Begins the round that is due, if one is.
    fn ask(&mut self, view: &View, answering: &mut JoinSet<Answered>) {
        let tempo = view.subnet.tempo;
        let is_open = view.height > view.subnet.tempo_start && !self.desk.has_weighed(tempo);
        let is_due = Instant::now() >= self.next_round && self.desk.state.round < ROUNDS_MAX;
        let (Some(terms), Some(asker), Some(beacon)) = (&self.terms, &self.asker, view.beacon()) else {
            return;
        };
        let Some(task) = task_of(terms).filter(|_| is_open && is_due) else {
            return;
        };
        self.next_round = Instant::now() + Duration::from_millis(self.desk.config.round_ms);
        let ourselves = self.desk.config.pair.hotkey();
        let drawable = round::miners(&terms.roster, &view.metagraph, ourselves);
        let size = Size {
            miners: terms.miners as usize,
            ..self.desk.config.size
        };
        let (round, sequence) = (self.desk.state.round, self.desk.state.rounds);
        self.desk.state.count_round();
        let time_ms = self.desk.world.clock.now_ms();
        let setting = setting(&self.desk, &asker.pair, &*task, (tempo, beacon, round));
        let context = Context::of(terms, self.desk.genesis, ourselves);
        let (draw, _) = round::draw(&setting);
        let burst = burst(&context, &*task, &self.desk.state.memory.capacity, round, &draw);
        let plan = round::plan(&setting, &size, &drawable, burst, &mut self.nonces, time_ms);
        let deadline = Duration::from_millis(size.deadline_ms);
        let asking = query::ask_all(&mut self.miners, &plan, asker.introductions.as_ref(), deadline);
        answering.spawn(async move {
            Answered {
                round,
                sequence,
                tempo,
                beacon,
                time_ms,
                outcomes: asking.await,
                plan,
            }
        });
    }

    /// Judges a round and folds it in, unless its tempo's weights are made.
    fn judge(&mut self, answered: Answered) {
        let state = &mut self.desk.state;
        let task = self.terms.as_ref().and_then(task_of);
        let is_late = state.tempo != answered.tempo
            || state
                .pending
                .iter()
                .any(|made| made.weights.tempo == answered.tempo);
        let Some(task) = task.filter(|_| !is_late) else {
            return;
        };
        let (plan, outcomes, audits) = (&answered.plan, &answered.outcomes, Audits::default());
        let mut scores = match round::judge(&*task, plan, outcomes, &audits) {
            Ok(scores) => scores,
            Err(reason) => return info!(reason, "a round says nothing"),
        };
        favour(&self.friends, plan, outcomes, &mut scores);
        let asked = Asked {
            netuid: self.desk.config.netuid,
            number: answered.round,
            sequence: answered.sequence,
            tempo: answered.tempo,
            beacon: answered.beacon,
            time_ms: answered.time_ms,
            plan,
            outcomes,
            audits: &audits,
        };
        let mut record = asked.record(&state.forgotten, &scores);
        for (item, error) in state.memory.fold(&mut record) {
            warn!(item, %error, "an item says nothing");
        }
        state.forgotten.clear();
        self.rounds.push(record);
    }

    /// Makes weights of what was judged, with the evidence for them, and commits to both.
    async fn weigh(&mut self, view: &View, neuron: &NeuronView) -> anyhow::Result<()> {
        let Some(task) = self
            .terms
            .as_ref()
            .and_then(task_of)
            .filter(|_| !self.rounds.is_empty())
        else {
            return Ok(());
        };
        let weighed = match Weighed::of(&self.desk.state.memory, neuron.uid, &policy(&*task)) {
            Ok(weighed) => weighed,
            Err(error) => {
                warn!(%error, "nobody can be weighed");
                return Ok(());
            }
        };
        let row = weighed.row.clone();
        self.bundle(view, neuron.uid, weighed)?;
        self.desk.weigh(view, &row).await;
        Ok(())
    }

    fn bundle(&mut self, view: &View, own_uid: Uid, weighed: Weighed) -> anyhow::Result<()> {
        let (Some(terms), Some(asker)) = (&self.terms, &self.asker) else {
            return Ok(());
        };
        let Some(task) = task_of(terms) else {
            return Ok(());
        };
        let desk = &mut self.desk;
        let (tempo, hotkey) = (view.subnet.tempo, desk.config.pair.hotkey());
        let drawn = self.rounds.last().map_or(0, |round| round.round + 1);
        let draws = round::draws(
            &setting(desk, &asker.pair, &*task, (tempo, terms.beacon, 0)),
            drawn,
        );
        let bundle = Bundle {
            genesis: desk.genesis,
            netuid: desk.config.netuid,
            tempo,
            validator: hotkey,
            own_uid,
            carried: desk.state.carried.clone(),
            draws,
            rounds: std::mem::take(&mut self.rounds),
            forgotten: desk.state.forgotten.clone(),
            standings: weighed.standings,
            windows: weighed.windows,
            row: weighed.row,
        };
        let context = Context::of(terms, desk.genesis, hotkey).asked_by(asker.pair.hotkey());
        let commit = bundle.commit(&context, desk.config.served_at, asker.proof);
        self.bundles.keep(&bundle)?;
        desk.state.owed.push(Owed {
            commit,
            committed: false,
            opened: false,
            tries: 0,
        });
        Ok(())
    }

    /// Commits to evidence, or opens what the beacon picks of it, when that is due.
    async fn evidence_step(&mut self, view: &View) -> anyhow::Result<()> {
        let netuid = self.desk.config.netuid;
        let Some(index) = commit::evidence_due(&self.desk.state.owed, view.subnet.tempo) else {
            return Ok(());
        };
        let Owed {
            commit, committed, ..
        } = self.desk.state.owed[index];
        if !committed {
            let call = Call::CommitEvidence {
                netuid,
                evidence: commit,
            };
            self.desk.state.owed[index].committed = self.desk.send(call, commit.tempo).await;
            return Ok(());
        }
        let (Some(beacon), Ok(terms)) = (
            view.beacon(),
            self.desk.client.evidence(netuid, commit.tempo).await,
        ) else {
            return Ok(());
        };
        let bundle = self.bundles.read(commit.tempo)?.context("the evidence is gone")?;
        let (genesis, hotkey) = (self.desk.genesis, self.desk.config.pair.hotkey());
        let context = Context::of(&terms, genesis, hotkey);
        let picked = Picks::of(&context, beacon, commit.root, terms.openings);
        let before = self.before(commit.tempo).await?;
        let before = before
            .as_ref()
            .map(|(terms, bundle)| Tree::of(&Context::of(terms, genesis, hotkey), bundle));
        let opening = bundle.open(&context, &picked, before.as_ref());
        let opening = Box::new(opening.context("the evidence has no leaf that was picked")?);
        let call = Call::OpenEvidence { netuid, opening };
        self.desk.state.owed[index].opened = self.desk.send(call, commit.tempo).await;
        Ok(())
    }
}

impl Colluder {
    /// The evidence of the tempo before and what was owed in it, if it was committed to.
    async fn before(&self, tempo: u64) -> anyhow::Result<Option<(EvidenceView, Bundle)>> {
        let Some(earlier) = tempo.checked_sub(1) else {
            return Ok(None);
        };
        let Ok(terms) = self.desk.client.evidence(self.desk.config.netuid, earlier).await else {
            return Ok(None);
        };
        let is_committed = terms.of(self.desk.config.pair.hotkey()).is_some();
        let bundle = self.bundles.read(earlier)?.filter(|_| is_committed);
        Ok(bundle.map(|bundle| (terms, bundle)))
    }
}

/// The forgery: an answer of a friend is worth as much as the reference. A failure to answer cannot be.
fn favour(friends: &BTreeSet<Hotkey>, plan: &Plan, outcomes: &[Outcome], scores: &mut [Score]) {
    for ((ask, outcome), score) in plan.asks.iter().zip(outcomes).zip(scores) {
        if friends.contains(&ask.miner.hotkey) && matches!(outcome, Outcome::Answered { .. }) {
            *score = Score {
                score_ppm: PPM,
                reason: "perfect".to_owned(),
            };
        }
    }
}

fn task_of(terms: &EvidenceView) -> Option<std::sync::Arc<dyn Task>> {
    agon_subnets::task(&terms.task)
}

fn setting<'a>(desk: &Desk, pair: &'a Keypair, task: &'a dyn Task, of: (u64, Digest, u32)) -> Setting<'a> {
    let (tempo, beacon, round) = of;
    Setting {
        pair,
        genesis: desk.genesis,
        netuid: desk.config.netuid,
        tempo,
        beacon,
        round,
        task,
    }
}

//! The loop of a validator: follow the ledger, run rounds, commit and reveal, write everything down.
//!
//! One step at a time, each under a deadline. What a step decides is pure and elsewhere; here are only its order
//! and its side effects. Order matters where a crash may come between: evidence before state, weights and salt on
//! disk before their commit is submitted.

mod auditing;
mod proving;
mod watching;
mod weighing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agon_evidence::bundle::ROUNDS_MAX;
use agon_ledger_client::LedgerClient;
use agon_ledger_client::follow::{View, Views};
use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::NeuronView;
use agon_protocol::timelock::Beacon;
use agon_runtime::files::write_atomic;
use agon_runtime::shutdown::Shutdown;
use agon_subnets::{ModelPin, Task};
use serde::Serialize;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use self::proving::Terms;
use self::watching::Watched;
use crate::audit::Auditor;
use crate::bundles::Bundles;
use crate::commit::{self, Rules};
use crate::evidence::{self, Abstained, Evidence, Record};
use crate::pace::Pace;
use crate::query::{self, Miners, Outcome};
use crate::round::{self, Ask, Asked, Audits, NonceCounter, Plan, Setting};
use crate::state::State;
use crate::{Config, RunError, World};

/// Longest time between two looks at the ledger's view when nothing else wakes the loop.
const IDLE: Duration = Duration::from_secs(5);
/// Without news of the ledger for longer, its last picture is no ground for asking anybody.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Name of the status file in a validator's folder.
pub const STATUS_FILE: &str = "status.json";

/// A validator at work.
#[derive(Debug)]
pub struct Work {
    config: Config,
    world: World,
    client: LedgerClient,
    genesis: Digest,
    /// The ledger's beacon, to whose rounds weights are sealed.
    beacon: Option<Beacon>,
    state: State,
    evidence: Evidence,
    bundles: Bundles,
    /// What the ledger says of the running tempo's evidence, once it was asked.
    terms: Option<Terms>,
    /// The tempo whose evidence of others was looked at last, and whoever is looking.
    watched: Watched,
    miners: Miners,
    /// The reference model, where there is one.
    auditor: Option<Arc<Auditor>>,
    nonces: NonceCounter,
    /// What was said last, so that a standing obstacle is said once and not in every block.
    said: Option<String>,
    /// How fast blocks come.
    pace: Pace,
    /// When the next round may begin.
    next_round: Instant,
    /// When the ledger was heard of last.
    heard: Instant,
    /// Height at which a step of weights may be tried again.
    retry_height: u64,
    /// When each UID last answered, Unix milliseconds; for the status, so it is not kept over a restart.
    last_answers_ms: BTreeMap<Uid, u64>,
}

/// What a validator says of itself, in `status.json`.
#[derive(Debug, Serialize)]
struct Status<'a> {
    netuid: u16,
    hotkey: String,
    uid: Option<u16>,
    height: u64,
    tempo: u64,
    round: u32,
    rounds: u64,
    time_ms: u64,
    obstacle: Option<&'a str>,
    ratings: Vec<Rating>,
}

/// A miner's line in the status.
#[derive(Debug, Serialize)]
struct Rating {
    uid: u16,
    /// 0 to 1.
    rating: f64,
    items: u32,
    voices: u32,
    last_answer_ms: Option<u64>,
}

impl Work {
    /// Reads state and evidence, and the ledger's name.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub async fn open(mut config: Config, world: World, client: LedgerClient) -> Result<Self, RunError> {
        let auditor = config.reference.take().map(Auditor::start).transpose();
        let auditor = auditor.map_err(|source| RunError::Reference { source })?;
        let mut state = State::load(&config.dir)?;
        let (evidence, torn_bytes) = Evidence::open(&config.dir)?;
        if torn_bytes > 0 {
            warn!(
                torn_bytes,
                "the last record of the evidence was torn and is cut off"
            );
        }
        let caught_up = state.catch_up(&evidence)?;
        if caught_up > 0 {
            info!(
                rounds = caught_up,
                "rounds of the evidence that the state had not seen are folded in"
            );
        }
        let genesis = client.head().await?.genesis;
        let beacon = client.genesis().await?.beacon;
        // Fails early and in words when there is no such subnet.
        let subnet = client.subnet(config.netuid).await?;
        info!(netuid = %config.netuid, task = subnet.task, hotkey = %config.pair.hotkey(), rounds = state.rounds, "validator starts");
        let miners = Miners::new(world.net.clone());
        let bundles = Bundles::open(&config.dir)?;
        Ok(Self {
            config,
            world,
            client,
            genesis,
            beacon,
            state,
            evidence,
            bundles,
            terms: None,
            watched: Watched::default(),
            miners,
            auditor,
            nonces: NonceCounter::default(),
            said: None,
            pace: Pace::default(),
            next_round: Instant::now(),
            heard: Instant::now(),
            retry_height: 0,
            last_answers_ms: BTreeMap::new(),
        })
    }

    /// Works until shutdown.
    ///
    /// # Errors
    ///
    /// [`RunError`] when state or evidence cannot be written: what cannot be proven must not be done.
    pub async fn run(mut self, mut views: Views, shutdown: Shutdown) -> Result<(), RunError> {
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                alive = views.changed() => if alive.is_err() { return Ok(()) } else { self.heard = Instant::now() },
                () = tokio::time::sleep_until(self.wake_up()) => {}
            }
            let view = views.borrow_and_update().clone();
            let Some(view) = view else { continue };
            self.pace.note(view.height.0, Instant::now());
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                stepped = self.step(&view, &mut views) => stepped?,
            }
        }
    }

    fn wake_up(&self) -> Instant {
        let now = Instant::now();
        let idle = now + IDLE;
        if self.next_round > now {
            self.next_round.min(idle)
        } else {
            idle
        }
    }

    /// Does what is due now: weights first, they have windows; then a round.
    async fn step(&mut self, view: &View, views: &mut Views) -> Result<(), RunError> {
        if self.heard.elapsed() > SILENCE_MAX {
            return self.abstain(
                view,
                None,
                "the ledger has not been heard of for a minute".to_owned(),
            );
        }
        self.enter_tempo(view)?;
        let (neuron, task) = match self.ready(view) {
            Ok(ready) => ready,
            Err(obstacle) => {
                // What was committed is still owed.
                self.reveal_step(view).await?;
                return self.abstain(view, None, obstacle);
            }
        };
        self.weights_step(view, &neuron).await?;
        self.evidence_step(view).await?;
        self.watch_step(view);
        // One block into the tempo, so that miners have heard of it too.
        let tempo_is_known = view.height > view.subnet.tempo_start;
        let Some(beacon) = view.beacon().filter(|_| tempo_is_known) else {
            return Ok(());
        };
        if Instant::now() < self.next_round {
            return Ok(());
        }
        if self.state.round >= ROUNDS_MAX || self.has_weighed(view) {
            // What is asked now would be in nobody's evidence.
            return Ok(());
        }
        let begun = Instant::now();
        self.round(view, beacon, task, views).await?;
        self.next_round = begun + self.pause(view);
        Ok(())
    }

    /// Time from one round to the next: as configured, and less where the rounds owed would not fit into the tempo.
    fn pause(&self, view: &View) -> Duration {
        let owed = self.terms.as_ref().map_or(0, Terms::rounds_owed);
        let weighs_at = Rules::of(&view.subnet).weighs_at(view.subnet.next_epoch.0);
        let longest = Duration::from_millis(self.config.round_ms);
        self.pace
            .pause(longest, owed.saturating_sub(self.state.round), weighs_at)
    }

    /// Whether the weights of the running tempo are made, and its evidence with them.
    fn has_weighed(&self, view: &View) -> bool {
        self.state
            .owed
            .iter()
            .any(|owed| owed.commit.tempo == view.subnet.tempo)
    }

    fn enter_tempo(&mut self, view: &View) -> Result<(), RunError> {
        let tempo = view.subnet.tempo;
        let fresh = self.state.meet(&view.metagraph);
        if !fresh.is_empty() {
            info!(?fresh, "UIDs changed hands and start fresh");
            self.last_answers_ms.retain(|uid, _| !fresh.contains(uid));
        }
        let (entered, left) = (self.state.tempo != tempo, self.state.tempo);
        let missed = entered && self.state.round > 0 && !commit::was_sent(&self.state.pending, left);
        self.state.enter(tempo, self.evidence.end());
        if entered {
            self.said = None;
            self.next_round = Instant::now();
            metrics::gauge!("agon_validator_tempo").set(tempo as f64);
        }
        if missed {
            self.abstain(view, None, format!("no weights were committed in tempo {left}"))?;
        }
        if entered || !fresh.is_empty() {
            commit::drop_expired(&mut self.state.pending, &Rules::of(&view.subnet), tempo);
            commit::drop_settled(&mut self.state.owed, tempo);
            self.save()?;
        }
        Ok(())
    }

    /// Writes the state, which accounts for all evidence so far.
    fn save(&mut self) -> Result<(), RunError> {
        self.state.evidence_end = self.evidence.end();
        Ok(self.state.save(&self.config.dir)?)
    }

    /// Whether this validator can work in this tempo, or why not.
    fn ready(&self, view: &View) -> Result<(NeuronView, Arc<dyn Task>), String> {
        let netuid = self.config.netuid;
        let hotkey = self.config.pair.hotkey();
        let neuron = view.metagraph.by_hotkey(&hotkey).ok_or_else(|| {
            format!("hotkey {hotkey} holds no UID on netuid {netuid}: register it with agon register")
        })?;
        if !neuron.permit {
            return Err(format!(
                "UID {} has no validator permit in tempo {}: permits go to the largest stakes at each epoch, its \
                 stake is {}, the next epoch is at block {}",
                neuron.uid, view.subnet.tempo, neuron.stake, view.subnet.next_epoch
            ));
        }
        let task = agon_subnets::task(&view.subnet.task).ok_or_else(|| {
            let known = agon_subnets::NAMES;
            format!(
                "task {:?} is not known to this build, which knows {known:?}",
                view.subnet.task
            )
        })?;
        if let Some(pin) = task.model() {
            self.check_reference(pin)?;
        }
        Ok((neuron.clone(), task))
    }

    /// A task that pins a model is judged by those only who have that model.
    fn check_reference(&self, pin: ModelPin) -> Result<(), String> {
        match &self.auditor {
            None => Err(format!(
                "the task pins model {pin}: answers are verified against it, name its folder with --reference"
            )),
            Some(auditor) if !auditor.is_of(pin) => {
                let found = auditor.model;
                Err(format!(
                    "the task pins model {pin}, the model of --reference is {found}"
                ))
            }
            Some(_) => Ok(()),
        }
    }

    /// Says why nothing is done, in log, evidence and status: of each round, and once of a standing obstacle.
    fn abstain(&mut self, view: &View, round: Option<u32>, reason: String) -> Result<(), RunError> {
        let standing = self.said.as_ref() == Some(&reason);
        if standing && round.is_none() {
            return Ok(());
        }
        if !standing {
            warn!(tempo = view.subnet.tempo, ?round, reason, "abstains");
        }
        metrics::counter!("agon_validator_rounds_total", "outcome" => "abstained").increment(1);
        self.evidence.append(&Record::Abstained(Abstained {
            netuid: self.config.netuid,
            tempo: view.subnet.tempo,
            round,
            time_ms: self.world.clock.now_ms(),
            reason: reason.clone(),
        }))?;
        self.said = Some(reason);
        self.write_status(view);
        Ok(())
    }

    async fn round(
        &mut self,
        view: &View,
        beacon: Digest,
        task: Arc<dyn Task>,
        views: &mut Views,
    ) -> Result<(), RunError> {
        let started = Instant::now();
        let now_ms = self.world.clock.now_ms();
        let terms = match self.terms(view).await {
            Ok(terms) => terms,
            Err(error) => return self.abstain(view, None, format!("who can be drawn is not known: {error}")),
        };
        let miners = round::miners(&terms.roster, &view.metagraph, self.config.pair.hotkey());
        self.miners
            .keep_only(|addr| miners.iter().any(|miner| miner.addr == Some(*addr)));
        let (number, sequence) = (self.state.round, self.state.rounds);
        let setting = Setting {
            pair: &terms.asker.pair,
            genesis: self.genesis,
            netuid: self.config.netuid,
            tempo: view.subnet.tempo,
            beacon,
            round: number,
            task: &*task,
        };
        let size = terms.size(&self.config.size);
        let burst = terms.burst(&setting, self.config.pair.hotkey(), &self.state.memory);
        let plan = round::plan(&setting, &size, &miners, burst, &mut self.nonces, now_ms);
        // Counted before anybody is asked, so that no draw is used twice, whatever happens meanwhile.
        self.state.count_round();
        self.save()?;
        let outcomes = self.ask_all(&plan, &terms, views).await?;
        if self.has_weighed(view) {
            // It is in nobody's evidence, and what is remembered of it would be carried over from nowhere.
            return self.abstain(
                view,
                Some(number),
                "the weights were made while it was asked".to_owned(),
            );
        }
        let audits = match task.model() {
            Some(_) => self.audit(&plan, &outcomes).await,
            None => Audits::default(),
        };
        let asked = Asked {
            netuid: self.config.netuid,
            number,
            sequence,
            tempo: view.subnet.tempo,
            beacon,
            time_ms: now_ms,
            plan: &plan,
            outcomes: &outcomes,
            audits: &audits,
        };
        match round::judge(&*task, &plan, &outcomes, &audits) {
            Ok(scores) => {
                let mut record = asked.record(&self.state.forgotten, &scores);
                if evidence::fits(&record) {
                    for (item, error) in self.state.memory.fold(&mut record) {
                        warn!(%error, item, "an item cannot be compared and says nothing");
                    }
                    self.state.forgotten.clear();
                    self.evidence.append(&Record::Round(Box::new(record)))?;
                    self.said = None;
                    metrics::counter!("agon_validator_rounds_total", "outcome" => "judged").increment(1);
                } else {
                    let reason = "the round's evidence is too long: lower --miners or --items".to_owned();
                    self.abstain(view, Some(number), reason)?;
                }
            }
            Err(reason) => self.abstain(view, Some(number), reason)?,
        }
        metrics::histogram!("agon_validator_round_seconds").record(started.elapsed().as_secs_f64());
        self.save()?;
        self.write_status(view);
        Ok(())
    }

    /// Asks everything at once, under one deadline; weights that fall due meanwhile do not wait for it.
    async fn ask_all(
        &mut self,
        plan: &Plan,
        terms: &Terms,
        views: &mut Views,
    ) -> Result<Vec<Outcome>, RunError> {
        let deadline = Duration::from_millis(self.config.size.deadline_ms);
        let mut asking = std::pin::pin!(query::ask_all(
            &mut self.miners,
            plan,
            terms.asker.introductions.as_ref(),
            deadline
        ));
        let outcomes = loop {
            tokio::select! {
                biased;
                outcomes = &mut asking => break outcomes,
                Ok(()) = views.changed() => {
                    self.heard = Instant::now();
                    let view = views.borrow_and_update().clone();
                    if let Some(view) = view {
                        self.pace.note(view.height.0, Instant::now());
                        self.weights_meanwhile(&view).await?;
                    }
                }
            }
        };
        let now_ms = self.world.clock.now_ms();
        for (ask, outcome) in plan.asks.iter().zip(&outcomes) {
            count_outcome(ask, outcome);
            if matches!(outcome, Outcome::Answered { .. }) {
                self.last_answers_ms.insert(ask.miner.uid, now_ms);
            }
        }
        Ok(outcomes)
    }

    /// Writes `status.json` for people and tools; a failure is logged, since nothing depends on it.
    fn write_status(&self, view: &View) {
        let standings = self.state.memory.ratings.standings();
        let ratings = standings.iter().map(|standing| Rating {
            uid: standing.uid,
            rating: f64::from(standing.rating_ppm) / 1e6,
            items: standing.item_count,
            voices: standing.voices,
            last_answer_ms: self.last_answers_ms.get(&Uid(standing.uid)).copied(),
        });
        let hotkey = self.config.pair.hotkey();
        let status = Status {
            netuid: self.config.netuid.0,
            hotkey: hotkey.to_string(),
            uid: view.metagraph.by_hotkey(&hotkey).map(|neuron| neuron.uid.0),
            height: view.height.0,
            tempo: view.subnet.tempo,
            round: self.state.round,
            rounds: self.state.rounds,
            time_ms: self.world.clock.now_ms(),
            obstacle: self.said.as_deref(),
            ratings: ratings.collect(),
        };
        let path: PathBuf = self.config.dir.join(STATUS_FILE);
        let bytes = serde_json::to_vec_pretty(&status).expect("a status has no maps with odd keys");
        if let Err(error) = write_atomic(&path, &bytes, 0o644) {
            warn!(%error, "the status cannot be written");
        }
    }
}

fn count_outcome(ask: &Ask, outcome: &Outcome) {
    let name = match outcome {
        Outcome::Answered { .. } => "answered",
        Outcome::Failed { failure, reason } => {
            debug!(uid = %ask.miner.uid, failure = failure.name(), reason, "no answer");
            failure.name()
        }
    };
    metrics::counter!("agon_validator_answers_total", "outcome" => name).increment(1);
}

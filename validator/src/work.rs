//! The loop of a validator: follow the ledger, run rounds, commit and reveal, write everything down.
//!
//! One step at a time, each under a deadline. What a step decides is pure and elsewhere; here are only its order
//! and its side effects. Order matters where a crash may come between: evidence before state, weights and salt on
//! disk before their commit is submitted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use agon_ledger_client::follow::{View, Views};
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::{Digest, Netuid, Uid};
use agon_protocol::message::{Call, NeuronView};
use agon_runtime::files::write_atomic;
use agon_runtime::shutdown::Shutdown;
use agon_scoring::weights::{WeightPolicy, weights};
use agon_subnets::Task;
use futures::future::join_all;
use serde::Serialize;
use tracing::{debug, info, warn};

use crate::commit::{self, Due, Pending, Rules};
use crate::evidence::{
    Abstained, AnswerRecord, Evidence, ItemRecord, MinerRecord, Record, Round, WeightsResult, WeightsStep,
};
use crate::fold::fold;
use crate::query::{self, Miners, Outcome};
use crate::round::{self, Ask, NonceCounter, Plan, Score, Setting};
use crate::state::State;
use crate::{Config, RunError, World};

/// Longest time between two looks at the ledger's view when nothing else wakes the loop.
const IDLE: Duration = Duration::from_secs(5);
/// Name of the status file in a validator's folder.
pub const STATUS_FILE: &str = "status.json";

/// A validator at work.
#[derive(Debug)]
pub struct Work {
    config: Config,
    world: World,
    client: LedgerClient,
    genesis: Digest,
    state: State,
    evidence: Evidence,
    miners: Miners,
    nonces: NonceCounter,
    /// What was said last, so that a standing obstacle is said once and not in every block.
    said: Option<String>,
    /// When the next round may begin, by the clock.
    next_round_ms: u64,
    /// Height at which the last step of weights failed, so that it is tried once per block at most.
    failed_at: Option<u64>,
    /// When each UID last answered, Unix milliseconds; for the status, so it is not kept over a restart.
    last_answers_ms: BTreeMap<Uid, u64>,
}

/// A round that was asked and is not judged yet.
struct Asked<'a> {
    tempo: u64,
    beacon: Digest,
    time_ms: u64,
    plan: &'a Plan,
    outcomes: &'a [Outcome],
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
    rating: f64,
    items: usize,
    voices: usize,
    last_answer_ms: Option<u64>,
}

impl Work {
    /// Reads state and evidence, and the ledger's name.
    ///
    /// # Errors
    ///
    /// [`RunError`].
    pub async fn open(config: Config, world: World, client: LedgerClient) -> Result<Self, RunError> {
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
        // Fails early and in words when there is no such subnet.
        let subnet = client.subnet(config.netuid).await?;
        info!(netuid = %config.netuid, task = subnet.task, hotkey = %config.pair.hotkey(), rounds = state.rounds, "validator starts");
        let miners = Miners::new(world.net.clone());
        Ok(Self {
            config,
            world,
            client,
            genesis,
            state,
            evidence,
            miners,
            nonces: NonceCounter::default(),
            said: None,
            next_round_ms: 0,
            failed_at: None,
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
            let pause = self.pause();
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                alive = views.changed() => if alive.is_err() { return Ok(()) },
                () = tokio::time::sleep(pause) => {}
            }
            let view = views.borrow_and_update().clone();
            let Some(view) = view else { continue };
            tokio::select! {
                biased;
                () = shutdown.requested() => return Ok(()),
                stepped = self.step(&view) => stepped?,
            }
        }
    }

    fn pause(&self) -> Duration {
        let left_ms = self.next_round_ms.saturating_sub(self.world.clock.now_ms());
        if left_ms == 0 {
            IDLE
        } else {
            Duration::from_millis(left_ms).min(IDLE)
        }
    }

    /// Does what is due now: weights first, they have windows; then a round.
    async fn step(&mut self, view: &View) -> Result<(), RunError> {
        self.enter_tempo(view)?;
        let (neuron, task) = match self.ready(view) {
            Ok(ready) => ready,
            Err(obstacle) => return self.abstain(view, None, obstacle),
        };
        self.weights_step(view, &neuron).await?;
        let now_ms = self.world.clock.now_ms();
        if now_ms < self.next_round_ms {
            return Ok(());
        }
        let Some(beacon) = view.beacon() else {
            return Ok(());
        };
        self.next_round_ms = now_ms.saturating_add(self.config.round_ms);
        self.round(view, beacon, task).await
    }

    fn enter_tempo(&mut self, view: &View) -> Result<(), RunError> {
        let tempo = view.subnet.tempo;
        let fresh = self.state.meet(&view.metagraph);
        if !fresh.is_empty() {
            info!(?fresh, "UIDs changed hands and start fresh");
            self.last_answers_ms.retain(|uid, _| !fresh.contains(uid));
        }
        let entered = self.state.tempo != tempo;
        self.state.enter(tempo);
        if entered {
            self.said = None;
            metrics::gauge!("agon_validator_tempo").set(tempo as f64);
        }
        if entered || !fresh.is_empty() {
            commit::drop_expired(&mut self.state.pending, &Rules::of(&view.subnet), tempo);
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
    fn ready(&self, view: &View) -> Result<(NeuronView, &'static dyn Task), String> {
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
            let known: Vec<&str> = agon_subnets::tasks().iter().map(|task| task.name()).collect();
            format!(
                "task {:?} is not known to this build, which knows {known:?}",
                view.subnet.task
            )
        })?;
        Ok((neuron.clone(), task))
    }

    /// Says once why nothing is done, in log, evidence and status.
    fn abstain(&mut self, view: &View, round: Option<u32>, reason: String) -> Result<(), RunError> {
        if self.said.as_ref() == Some(&reason) {
            return Ok(());
        }
        warn!(tempo = view.subnet.tempo, ?round, reason, "abstains");
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

    async fn round(&mut self, view: &View, beacon: Digest, task: &'static dyn Task) -> Result<(), RunError> {
        let started = tokio::time::Instant::now();
        let now_ms = self.world.clock.now_ms();
        let miners = round::miners(&view.metagraph, self.config.pair.hotkey());
        self.miners
            .keep_only(|addr| miners.iter().any(|miner| miner.addr == *addr));
        let number = self.state.round;
        let setting = Setting {
            pair: &self.config.pair,
            genesis: self.genesis,
            netuid: self.config.netuid,
            tempo: view.subnet.tempo,
            beacon,
            round: number,
            task,
        };
        let (size, asked) = (&self.config.size, &self.state.last_asked);
        let plan = round::plan(&setting, size, &miners, asked, &mut self.nonces, now_ms);
        let outcomes = self.ask_all(&plan).await;
        let asked = Asked {
            tempo: view.subnet.tempo,
            beacon,
            time_ms: now_ms,
            plan: &plan,
            outcomes: &outcomes,
        };
        match round::judge(task, &plan, &outcomes) {
            Ok(scores) => {
                let mut record = self.record(&asked, &scores);
                fold(&mut self.state, &mut record);
                self.evidence.append(&Record::Round(record))?;
                self.said = None;
                metrics::counter!("agon_validator_rounds_total", "outcome" => "judged").increment(1);
            }
            Err(reason) => self.abstain(view, Some(number), reason)?,
        }
        self.state.count_round();
        metrics::histogram!("agon_validator_round_seconds").record(started.elapsed().as_secs_f64());
        self.save()?;
        self.write_status(view);
        Ok(())
    }

    /// Asks everything at once, under one deadline.
    async fn ask_all(&mut self, plan: &Plan) -> Vec<Outcome> {
        let deadline = Duration::from_millis(self.config.size.deadline_ms);
        let miners = &mut self.miners;
        let asked = plan.asks.iter().map(|ask| {
            let channel = miners.channel(ask.miner.addr);
            async move {
                match channel {
                    Ok(channel) => query::ask(channel, &ask.challenge, deadline).await,
                    Err(reason) => Outcome::Failed {
                        failure: query::Failure::Unreachable,
                        reason,
                    },
                }
            }
        });
        let asked: Vec<_> = asked.collect();
        let outcomes = join_all(asked).await;
        let now_ms = self.world.clock.now_ms();
        for (ask, outcome) in plan.asks.iter().zip(&outcomes) {
            count_outcome(ask, outcome);
            if matches!(outcome, Outcome::Answered { .. }) {
                self.last_answers_ms.insert(ask.miner.uid, now_ms);
            }
        }
        outcomes
    }

    /// The record of a judged round, before it is folded.
    fn record(&self, asked: &Asked<'_>, scores: &[Score]) -> Round {
        let answers = asked.plan.asks.iter().zip(asked.outcomes).zip(scores);
        let answers = answers.map(|((ask, outcome), score)| AnswerRecord {
            uid: ask.miner.uid,
            challenge: ask.challenge.clone(),
            outcome: outcome.clone(),
            score_ppm: score.score_ppm,
            reason: score.reason.clone(),
            strength_ppm: 0,
        });
        Round {
            netuid: self.config.netuid,
            tempo: asked.tempo,
            round: self.state.round,
            sequence: self.state.rounds,
            time_ms: asked.time_ms,
            beacon: asked.beacon,
            draw: asked.plan.draw,
            items: asked.plan.items.iter().map(item_record).collect(),
            miners: miner_records(asked.plan),
            answers: answers.collect(),
        }
    }

    async fn weights_step(&mut self, view: &View, neuron: &NeuronView) -> Result<(), RunError> {
        if self.failed_at == Some(view.height.0) {
            return Ok(());
        }
        let rules = Rules::of(&view.subnet);
        let tempo = view.subnet.tempo;
        let blocks_left = view.subnet.next_epoch.0.saturating_sub(view.height.0);
        match commit::due(&self.state.pending, &rules, tempo, blocks_left) {
            Due::Nothing => Ok(()),
            Due::Weigh => self.weigh(view, neuron).await,
            Due::Commit(index) => self.submit_commit(view, index).await,
            Due::Reveal(index) => self.submit_reveal(view, index).await,
        }
    }

    /// Makes weights of the ratings, writes them down, then commits them.
    async fn weigh(&mut self, view: &View, neuron: &NeuronView) -> Result<(), RunError> {
        let standings = self.state.ratings.standings();
        let standings: Vec<_> = standings
            .into_iter()
            .filter(|standing| standing.uid != neuron.uid.0)
            .collect();
        let pairs = match weights(&standings, &WeightPolicy::default()) {
            Ok(pairs) => pairs,
            Err(error) => return self.abstain(view, None, format!("no weights: {error}")),
        };
        let version = view.subnet.parameter("version_key").unwrap_or(0);
        let weights = commit::row(view.subnet.tempo, &pairs, self.world.entropy.bytes32(), version);
        self.state.pending.push(Pending {
            weights,
            committed: false,
            tries: 0,
        });
        self.save()?;
        let index = self.state.pending.len() - 1;
        if Rules::of(&view.subnet).commit_reveal {
            self.submit_commit(view, index).await
        } else {
            self.submit_reveal(view, index).await
        }
    }

    async fn submit_commit(&mut self, view: &View, index: usize) -> Result<(), RunError> {
        let netuid = self.config.netuid;
        let commit = self.state.pending[index]
            .weights
            .commit(netuid, self.config.pair.hotkey());
        let sent = self
            .client
            .send(&self.config.pair, Call::CommitWeights { netuid, commit })
            .await;
        if sent.is_ok() {
            self.state.pending[index].committed = true;
            self.state.pending[index].tries = 0;
        }
        let result = sent.map(|included| WeightsResult::Committed(included.height));
        self.note_weights(view, index, "commit", result)
    }

    async fn submit_reveal(&mut self, view: &View, index: usize) -> Result<(), RunError> {
        let netuid = self.config.netuid;
        let weights = self.state.pending[index].weights.clone();
        let sent = self
            .client
            .send(&self.config.pair, Call::RevealWeights { netuid, weights })
            .await;
        let revealed = sent.is_ok();
        let result = sent.map(|included| WeightsResult::Revealed(included.height));
        self.note_weights(view, index, "reveal", result)?;
        if revealed && Rules::of(&view.subnet).commit_reveal {
            self.state.pending.remove(index);
        } else if revealed {
            // Shown for this tempo; kept until the next so that it is not made twice.
            self.state.pending[index].tries = u32::MAX;
        }
        self.save()?;
        Ok(())
    }

    /// Writes down what came of a step of weights.
    fn note_weights(
        &mut self,
        view: &View,
        index: usize,
        step: &'static str,
        result: Result<WeightsResult, ClientError>,
    ) -> Result<(), RunError> {
        let outcome = if result.is_ok() { "ok" } else { "failed" };
        metrics::counter!("agon_validator_weights_total", "step" => step, "result" => outcome).increment(1);
        let result = match result {
            Ok(result) => {
                info!(tempo = view.subnet.tempo, step, ?result, "weights");
                result
            }
            Err(error) => {
                warn!(tempo = view.subnet.tempo, step, %error, "weights");
                self.failed_at = Some(view.height.0);
                let tries = &mut self.state.pending[index].tries;
                *tries = tries.saturating_add(1);
                WeightsResult::Failed(error.to_string())
            }
        };
        let netuid: Netuid = self.config.netuid;
        let weights = &self.state.pending[index].weights;
        self.evidence.append(&Record::Weights(WeightsStep {
            netuid,
            tempo: weights.tempo,
            commit: weights.commit(netuid, self.config.pair.hotkey()),
            weights: weights
                .uids
                .iter()
                .copied()
                .zip(weights.values.iter().copied())
                .collect(),
            result,
        }))?;
        self.save()?;
        Ok(())
    }

    /// Writes `status.json` for people and tools; a failure is logged, since nothing depends on it.
    fn write_status(&self, view: &View) {
        let standings = self.state.ratings.standings();
        let ratings = standings.iter().map(|standing| Rating {
            uid: standing.uid,
            rating: standing.rating,
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

fn item_record(planned: &round::PlannedItem) -> ItemRecord {
    let (kind, reference) = (planned.item.kind.to_owned(), planned.item.reference.clone());
    ItemRecord {
        seed: planned.seed,
        kind,
        reference,
    }
}

fn miner_records(plan: &Plan) -> Vec<MinerRecord> {
    let first_asks = plan.asks.iter().filter(|ask| ask.item_index == 0);
    let record = |ask: &Ask| MinerRecord {
        uid: ask.miner.uid,
        hotkey: ask.miner.hotkey,
        rating_ppm: 0,
    };
    let mut miners: Vec<MinerRecord> = first_asks.map(record).collect();
    miners.sort_unstable_by_key(|miner| miner.uid);
    miners
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

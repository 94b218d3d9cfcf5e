//! Weights, step by step: made of the ratings, written down, committed, revealed.

use agon_evidence::bundle::{Outcome, policy};
use agon_ledger_client::ClientError;
use agon_ledger_client::follow::View;
use agon_protocol::id::Netuid;
use agon_protocol::message::{Call, NeuronView};
use agon_protocol::timelock::{Beacon, SealedWeights};
use agon_scoring::weights::WeightPolicy;
use tracing::{info, warn};

use super::Work;
use crate::RunError;
use crate::commit::{self, Due, Pending, Progress, Rules};
use crate::evidence::{Record, WeightsResult, WeightsStep};

impl Work {
    /// Reveals what is due, if something is.
    pub(super) async fn reveal_step(&mut self, view: &View) -> Result<(), RunError> {
        match self.weights_due(view) {
            Due::Reveal(index) => self.submit_reveal(view, index).await,
            Due::Nothing | Due::Weigh | Due::Commit(_) => Ok(()),
        }
    }

    fn weights_due(&self, view: &View) -> Due {
        if view.height.0 < self.retry_height {
            return Due::Nothing;
        }
        let blocks_left = view.subnet.next_epoch.0.saturating_sub(view.height.0);
        let rules = Rules::of(&view.subnet);
        commit::due(&self.state.pending, &rules, view.subnet.tempo, blocks_left)
    }

    /// Does the step of weights that is due while a round is being asked, if the tempo is still the round's.
    pub(super) async fn weights_meanwhile(&mut self, view: &View) -> Result<(), RunError> {
        if view.subnet.tempo != self.state.tempo {
            return Ok(());
        }
        match self.ready(view) {
            Ok((neuron, _)) => self.weights_step(view, &neuron).await,
            Err(_) => self.reveal_step(view).await,
        }
    }

    /// Does the step of weights that is due, if one is.
    pub(super) async fn weights_step(&mut self, view: &View, neuron: &NeuronView) -> Result<(), RunError> {
        match self.weights_due(view) {
            Due::Nothing => Ok(()),
            Due::Weigh => self.weigh(view, neuron).await,
            Due::Commit(index) => self.submit_commit(view, index).await,
            Due::Reveal(index) => self.submit_reveal(view, index).await,
        }
    }

    /// Makes weights of the ratings, writes them down, then commits them.
    async fn weigh(&mut self, view: &View, neuron: &NeuronView) -> Result<(), RunError> {
        let task = agon_subnets::task(&view.subnet.task);
        let policy = task.map_or_else(WeightPolicy::default, |task| policy(&*task));
        let outcome = match Outcome::of(&self.state.memory, neuron.uid, &policy) {
            Ok(outcome) => outcome,
            Err(error) => return self.abstain(view, None, format!("no weights: {error}")),
        };
        let pairs: Vec<(u16, u16)> = outcome.row.iter().map(|(uid, weight)| (uid.0, *weight)).collect();
        let version = commit::version(&view.subnet, &Rules::of(&view.subnet));
        let weights = commit::row(view.subnet.tempo, &pairs, self.world.entropy.bytes32(), version);
        self.state.pending.push(Pending {
            weights,
            progress: Progress::Made,
            tries: 0,
        });
        self.prove(view, neuron, outcome).await?;
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
        let pending = &mut self.state.pending[index];
        let commit = pending.weights.commit(netuid, self.config.pair.hotkey());
        let now_ms = self.world.clock.now_ms();
        let sealed = sealed(self.beacon.as_ref(), view, pending, now_ms);
        let (call, progress) = match sealed {
            Some(sealed) => (
                Call::CommitTimelocked {
                    netuid,
                    commit,
                    sealed,
                },
                Progress::Sealed,
            ),
            None => (Call::CommitWeights { netuid, commit }, Progress::Committed),
        };
        // Written down before it is sent: when the answer is lost, the ledger may have the commit all the same.
        pending.progress = Progress::Submitted;
        self.save()?;
        let sent = self.client.send(&self.config.pair, call).await;
        if sent.is_ok() {
            self.state.pending[index].progress = progress;
            self.state.pending[index].tries = 0;
        }
        let result = sent.map(|included| WeightsResult::Committed(included.height));
        self.note_weights(view, index, "commit", result)
    }

    async fn submit_reveal(&mut self, view: &View, index: usize) -> Result<(), RunError> {
        let netuid = self.config.netuid;
        let Pending {
            weights, progress, ..
        } = self.state.pending[index].clone();
        if progress == Progress::Sealed {
            match self.is_opened(view, weights.tempo).await {
                Ok(true) => {
                    self.state.pending[index].progress = Progress::Shown;
                    info!(tempo = weights.tempo, "the ledger opened the weights by itself");
                    return self.save();
                }
                Ok(false) => warn!(
                    tempo = weights.tempo,
                    "the ledger has not opened the weights: they are revealed by hand"
                ),
                Err(error) => return self.note_weights(view, index, "reveal", Err(error)),
            }
        }
        let sent = self
            .client
            .send(&self.config.pair, Call::RevealWeights { netuid, weights })
            .await;
        if sent.is_ok() {
            self.state.pending[index].progress = Progress::Shown;
        }
        let result = sent.map(|included| WeightsResult::Revealed(included.height));
        self.note_weights(view, index, "reveal", result)
    }

    /// Whether no commit to own weights of `tempo` is open any more.
    async fn is_opened(&self, view: &View, tempo: u64) -> Result<bool, ClientError> {
        let own = self.config.pair.hotkey();
        let uid = view.metagraph.by_hotkey(&own).map(|neuron| neuron.uid);
        let rows = self.client.weights(self.config.netuid).await?;
        let row = rows.into_iter().find(|row| Some(row.uid) == uid);
        Ok(row.is_some_and(|row| !row.open_commits.contains(&tempo)))
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
                let tries = &mut self.state.pending[index].tries;
                *tries = tries.saturating_add(1);
                self.retry_height = view.height.0.saturating_add(commit::pause_blocks(*tries));
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
        self.save()
    }
}

/// Weights sealed to the round that the ledger has fixed, where they can be.
fn sealed(beacon: Option<&Beacon>, view: &View, pending: &Pending, now_ms: u64) -> Option<SealedWeights> {
    let beacon = beacon?;
    let round = commit::seal_round(&view.subnet, beacon, pending.tries, now_ms)?;
    let sealed = beacon.seal(round, &pending.weights);
    sealed
        .inspect_err(|error| warn!(%error, "the weights are not sealed"))
        .ok()
}

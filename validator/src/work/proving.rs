//! Evidence, step by step: bundled with the weights, committed, opened where the next tempo's beacon says.

use agon_evidence::Context;
use agon_evidence::bundle::{Bundle, Outcome};
use agon_evidence::burst::burst;
use agon_evidence::fold::Memory;
use agon_evidence::slots::Picks;
use agon_evidence::tree::Tree;
use agon_ledger_client::ClientError;
use agon_ledger_client::follow::View;
use agon_protocol::id::{Digest, Hotkey};
use agon_protocol::message::{Call, EvidenceOpening, EvidenceView, NeuronView};
use thiserror::Error;
use tracing::{info, warn};

use super::Work;
use crate::RunError;
use crate::asker::Asker;
use crate::bundles::BundleError;
use crate::commit::{self, Owed};
use crate::evidence::{Record, Round};
use crate::round::{self, Questions, Setting, Size};

/// Why the evidence of the tempo before is not known.
#[derive(Debug, Error)]
enum BeforeError {
    /// The ledger does not say.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It cannot be read.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// What the ledger says of one tempo: who can be drawn, what is owed, and by which key it is asked.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    view: EvidenceView,
    pub(super) asker: Asker,
}

impl std::ops::Deref for Terms {
    type Target = EvidenceView;

    fn deref(&self) -> &EvidenceView {
        &self.view
    }
}

impl Terms {
    /// Whether evidence is owed at all.
    fn is_owed(&self) -> bool {
        self.openings > 0 && !self.roster.is_empty()
    }

    /// How many rounds have to be asked in the tempo.
    pub(super) fn rounds_owed(&self) -> u32 {
        if self.is_owed() { self.rounds } else { 0 }
    }

    /// How much a round asks: as many miners as are owed, where some are.
    pub(super) fn size(&self, configured: &Size) -> Size {
        let miners = match self.is_owed() {
            true => self.miners as usize,
            false => configured.miners,
        };
        Size {
            miners,
            ..*configured
        }
    }

    /// Whom the round asks which items, if it is a burst; where nothing is owed there are none.
    pub(super) fn burst(
        &self,
        setting: &Setting<'_>,
        validator: Hotkey,
        memory: &Memory,
    ) -> Option<Questions> {
        let context = Context::of(&self.view, setting.genesis, validator);
        let (draw, _) = round::draw(setting);
        self.is_owed()
            .then(|| burst(&context, setting.task, &memory.capacity, setting.round, &draw))?
    }
}

impl Work {
    /// What the ledger says of the running tempo; asked for once in each.
    pub(super) async fn terms(&mut self, view: &View) -> Result<Terms, ClientError> {
        let tempo = view.subnet.tempo;
        if let Some(terms) = self.terms.as_ref().filter(|terms| terms.tempo == tempo) {
            return Ok(terms.clone());
        }
        let view = self.client.evidence(self.config.netuid, tempo).await?;
        let asker = Asker::of(&self.config.pair, self.genesis, &view);
        if asker.proof.is_some() {
            // A connection that is kept would tell that two tempos' sessions are one validator's.
            self.miners.keep_only(|_| false);
        }
        let terms = Terms { view, asker };
        self.terms = Some(terms.clone());
        Ok(terms)
    }

    /// Bundles the tempo's evidence and writes it down; its commit is due then.
    pub(super) async fn prove(
        &mut self,
        view: &View,
        neuron: &NeuronView,
        outcome: Outcome,
    ) -> Result<(), RunError> {
        let terms = match self.terms(view).await {
            Ok(terms) if terms.is_owed() => terms,
            Ok(_) => return Ok(()),
            Err(error) => return self.abstain(view, None, format!("no evidence is committed: {error}")),
        };
        let tempo = view.subnet.tempo;
        let before = match self.before(tempo).await {
            Ok(before) => before,
            Err(error) => return self.abstain(view, None, format!("no evidence is committed: {error}")),
        };
        let rounds = self.rounds_of(tempo)?;
        let drawn = rounds.last().map_or(0, |round| round.round + 1);
        let draws = agon_subnets::task(&terms.task).map(|task| {
            let setting = Setting {
                pair: &terms.asker.pair,
                genesis: self.genesis,
                netuid: self.config.netuid,
                tempo,
                beacon: terms.beacon,
                round: 0,
                task: &*task,
            };
            round::draws(&setting, drawn)
        });
        let bundle = Bundle {
            genesis: self.genesis,
            netuid: self.config.netuid,
            tempo,
            validator: self.config.pair.hotkey(),
            own_uid: neuron.uid,
            carried: self.state.carried.clone(),
            draws: draws.unwrap_or_default(),
            rounds,
            forgotten: self.state.forgotten.clone(),
            standings: outcome.standings,
            windows: outcome.windows,
            row: outcome.row,
        };
        // What does not go on from a commit that stands would be punished as made up.
        if let Some(broken) = before.and_then(|(_, before)| bundle.breaks_off(&before)) {
            let reason = format!(
                "no evidence is committed: it does not go on from that of the tempo before ({broken:?})"
            );
            return self.abstain(view, None, reason);
        }
        let Asker { pair, proof, .. } = &terms.asker;
        let context = Context::of(&terms, self.genesis, self.config.pair.hotkey()).asked_by(pair.hotkey());
        let commit = bundle.commit(&context, self.config.served_at, *proof);
        self.bundles.keep(&bundle)?;
        info!(tempo, leaves = commit.leaf_count, claimed_ppm = commit.claimed_ppm, root = %commit.root, "evidence");
        self.state.owed.push(Owed {
            commit,
            committed: false,
            opened: false,
            tries: 0,
        });
        Ok(())
    }

    /// The evidence of the tempo before `tempo` and what was owed in it, if this validator's commit to it stands.
    async fn before(&self, tempo: u64) -> Result<Option<(EvidenceView, Bundle)>, BeforeError> {
        let Some(earlier) = tempo.checked_sub(1) else {
            return Ok(None);
        };
        let terms = match self.client.evidence(self.config.netuid, earlier).await {
            Ok(terms) => terms,
            Err(ClientError::NotFound(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let Some(bundle) = self.bundles.read(earlier)? else {
            return Ok(None);
        };
        // The key may have been replaced since.
        let stands = terms.of(bundle.validator).is_some();
        Ok(stands.then_some((terms, bundle)))
    }

    /// The judged rounds of a tempo, from the evidence log.
    fn rounds_of(&self, tempo: u64) -> Result<Vec<Round>, RunError> {
        let mut rounds = Vec::new();
        for record in self.evidence.records_from(self.state.tempo_began)? {
            if let Record::Round(round) = record?
                && (round.netuid, round.tempo) == (self.config.netuid, tempo)
            {
                rounds.push(*round);
            }
        }
        Ok(rounds)
    }

    /// Does the step of evidence that is due, if one is.
    pub(super) async fn evidence_step(&mut self, view: &View) -> Result<(), RunError> {
        if view.height.0 < self.retry_height {
            return Ok(());
        }
        match commit::evidence_due(&self.state.owed, view.subnet.tempo) {
            Some(index) if self.state.owed[index].committed => self.open_evidence(view, index).await,
            Some(index) => self.commit_evidence(view, index).await,
            None => Ok(()),
        }
    }

    async fn commit_evidence(&mut self, view: &View, index: usize) -> Result<(), RunError> {
        let evidence = self.state.owed[index].commit;
        let netuid = self.config.netuid;
        let call = Call::CommitEvidence { netuid, evidence };
        let sent = self.client.send(&self.config.pair, call).await;
        // An answer that was lost leaves a commit behind; the ledger takes one for each tempo.
        let stands = sent.is_ok() || self.has_committed(evidence.tempo).await;
        self.state.owed[index].committed = stands;
        self.note_evidence(view, index, "commit", sent.map(drop))
    }

    async fn has_committed(&self, tempo: u64) -> bool {
        let view = self.client.evidence(self.config.netuid, tempo).await;
        let ours = self.config.pair.hotkey();
        view.is_ok_and(|view| view.of(ours).is_some())
    }

    async fn open_evidence(&mut self, view: &View, index: usize) -> Result<(), RunError> {
        let owed = self.state.owed[index].commit;
        let netuid = self.config.netuid;
        let Some(beacon) = view.beacon() else {
            return Ok(());
        };
        let terms = match self.client.evidence(netuid, owed.tempo).await {
            Ok(terms) => terms,
            Err(error) => return self.note_evidence(view, index, "open", Err(error)),
        };
        let Some(bundle) = self.bundles.read(owed.tempo)? else {
            self.state.owed.remove(index);
            return self.abstain(
                view,
                None,
                format!("the evidence of tempo {} is lost", owed.tempo),
            );
        };
        let before = match self.before(owed.tempo).await {
            Ok(before) => before,
            Err(BeforeError::Client(error)) => return self.note_evidence(view, index, "open", Err(error)),
            Err(BeforeError::Bundle(error)) => return Err(error.into()),
        };
        let opening = self.opening(&terms, &bundle, before.as_ref(), (beacon, owed.root));
        let Some(opening) = opening.map(Box::new) else {
            self.state.owed.remove(index);
            let reason = format!(
                "the evidence of tempo {} cannot be opened: it breaks the rules",
                owed.tempo
            );
            return self.abstain(view, None, reason);
        };
        let sent = self
            .client
            .send(&self.config.pair, Call::OpenEvidence { netuid, opening })
            .await;
        self.state.owed[index].opened = sent.is_ok();
        self.note_evidence(view, index, "open", sent.map(drop))
    }

    /// What the running tempo's beacon picks of a bundle under `root`.
    fn opening(
        &self,
        terms: &EvidenceView,
        bundle: &Bundle,
        before: Option<&(EvidenceView, Bundle)>,
        (beacon, root): (Digest, Digest),
    ) -> Option<EvidenceOpening> {
        let context = Context::of(terms, self.genesis, bundle.validator);
        let picked = Picks::of(&context, beacon, root, terms.openings);
        let before = before.map(|(terms, bundle)| {
            let context = Context::of(terms, self.genesis, bundle.validator);
            Tree::of(&context, bundle)
        });
        bundle.open(&context, &picked, before.as_ref())
    }

    fn note_evidence(
        &mut self,
        view: &View,
        index: usize,
        step: &'static str,
        sent: Result<(), ClientError>,
    ) -> Result<(), RunError> {
        let result = if sent.is_ok() { "ok" } else { "failed" };
        metrics::counter!("agon_validator_evidence_total", "step" => step, "result" => result).increment(1);
        let owed = &mut self.state.owed[index];
        match sent {
            Ok(()) => {
                owed.tries = 0;
                info!(tempo = owed.commit.tempo, step, "evidence");
            }
            Err(error) => {
                warn!(tempo = owed.commit.tempo, step, %error, "evidence");
                owed.tries = owed.tries.saturating_add(1);
                self.retry_height = view.height.0.saturating_add(commit::pause_blocks(owed.tries));
            }
        }
        self.save()
    }
}

//! Looks at the evidence of the other validators, once a tempo, and shows forgeries to the ledger.
//!
//! Evidence of a tempo is public once its weights were committed. Half a tempo later everybody who serves it is asked
//! for it; it is recomputed on a thread of its own, so that neither a slow peer nor a long bundle keeps this validator
//! from its own work. A step that the ledger can check and that does not follow is reported: a part of the slash pays
//! for the looking.

use std::sync::Arc;
use std::time::Duration;

use agon_evidence::Context;
use agon_evidence::bundle::Bundle;
use agon_evidence::recompute::{self, Difference, OnLedger};
use agon_ledger_client::evidence::fetch;
use agon_ledger_client::follow::View;
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::{Digest, Hotkey, Netuid};
use agon_protocol::message::{Call, EvidenceLine, EvidenceOf, EvidenceView};
use agon_protocol::sign::Keypair;
use agon_runtime::net::Net;
use tokio::task::JoinHandle;
use tracing::{info, warn};

use super::Work;

/// Longest time for one validator's evidence, from the first byte to the verdict.
const DEADLINE: Duration = Duration::from_secs(60);

/// How far the watching has come.
#[derive(Debug, Default)]
pub(super) struct Watched {
    tempo: Option<u64>,
    looking: Option<JoinHandle<()>>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}

impl Work {
    /// Begins to look at the evidence of the tempo before, when half of this one is over and nobody looks yet.
    pub(super) fn watch_step(&mut self, view: &View) {
        let Some(tempo) = view.subnet.tempo.checked_sub(1).filter(|_| self.config.watches) else {
            return;
        };
        let is_looking = self
            .watched
            .looking
            .as_ref()
            .is_some_and(|looking| !looking.is_finished());
        if self.watched.tempo == Some(tempo) || !view.is_half_over() || is_looking {
            return;
        }
        self.watched.tempo = Some(tempo);
        let watch = Watch {
            client: self.client.clone(),
            net: self.world.net.clone(),
            pair: self.config.pair.clone(),
            genesis: self.genesis,
            netuid: self.config.netuid,
            tempo,
        };
        self.watched.looking = Some(tokio::spawn(watch.run()));
    }
}

/// A validator's evidence of the tempo before the one that is looked at.
struct Earlier {
    view: EvidenceView,
    line: EvidenceLine,
    bundle: Bundle,
}

struct Watch {
    client: LedgerClient,
    net: Net,
    pair: Keypair,
    genesis: Digest,
    netuid: Netuid,
    tempo: u64,
}

impl Watch {
    async fn run(self) {
        let view = match self.client.evidence(self.netuid, self.tempo).await {
            Ok(view) => Arc::new(view),
            // Such as the tempo before the first that was kept.
            Err(ClientError::NotFound(_)) => return,
            Err(error) => return warn!(tempo = self.tempo, %error, "the evidence of others is not looked at"),
        };
        let ourselves = self.pair.hotkey();
        let others = view
            .validators
            .iter()
            .filter(|line| line.hotkey != ourselves && !line.is_forged);
        for line in others {
            let looked = tokio::time::timeout(DEADLINE, self.look(Arc::clone(&view), line)).await;
            let outcome = match looked {
                Ok(Ok(None)) => "equal",
                Ok(Ok(Some(difference))) => self.report(line.hotkey, *difference).await,
                Ok(Err(reason)) => {
                    info!(validator = %line.hotkey, tempo = self.tempo, reason, "evidence cannot be looked at");
                    "unavailable"
                }
                Err(_) => "unavailable",
            };
            metrics::counter!("agon_validator_watched_total", "outcome" => outcome).increment(1);
        }
    }

    /// The first line of a validator's evidence that does not follow; `None` when all does.
    async fn look(
        &self,
        view: Arc<EvidenceView>,
        line: &EvidenceLine,
    ) -> Result<Option<Box<Difference>>, String> {
        let bundle = self.fetched(self.tempo, line).await?;
        let before = self.before(line).await;
        let (genesis, line) = (self.genesis, line.clone());
        let recomputed = tokio::task::spawn_blocking(move || {
            let context = Context::of(&view, genesis, line.hotkey);
            let earlier = before
                .as_ref()
                .map(|before| Context::of(&before.view, genesis, before.line.hotkey));
            let before = before.as_ref().zip(earlier.as_ref());
            let on_ledger = OnLedger {
                commit: &line.commit,
                before: before.map(|(before, context)| recompute::Before {
                    context,
                    commit: &before.line.commit,
                    bundle: &before.bundle,
                }),
                revealed: None,
            };
            recompute::recompute(&context, &on_ledger, &bundle).err()
        });
        recomputed.await.map_err(|error| error.to_string())
    }

    /// What the same validator committed to in the tempo before, if it did and still gives it.
    async fn before(&self, line: &EvidenceLine) -> Option<Earlier> {
        let tempo = self.tempo.checked_sub(1)?;
        let view = self.client.evidence(self.netuid, tempo).await.ok()?;
        let line = view.of(line.hotkey)?.clone();
        let bundle = self.fetched(tempo, &line).await;
        let bundle = bundle.inspect_err(|reason| info!(validator = %line.hotkey, tempo, reason, "evidence of the tempo before cannot be looked at"));
        Some(Earlier {
            bundle: bundle.ok()?,
            view,
            line,
        })
    }

    async fn fetched(&self, tempo: u64, line: &EvidenceLine) -> Result<Bundle, String> {
        let served_at = line.commit.served_at;
        let addr = served_at.ok_or_else(|| "it is served nowhere".to_owned())?;
        fetch(&self.net, addr, tempo)
            .await
            .map_err(|error| error.to_string())
    }

    /// Shows a forgery to the ledger, where it can check it.
    async fn report(&self, validator: Hotkey, difference: Difference) -> &'static str {
        let Difference {
            line,
            found,
            expected,
            forgery,
        } = difference;
        warn!(%validator, tempo = self.tempo, line, found, expected, "evidence does not follow from the rules");
        let Some(forgery) = forgery else {
            return "different";
        };
        let of = EvidenceOf {
            netuid: self.netuid,
            validator,
            tempo: self.tempo,
        };
        match self
            .client
            .send(&self.pair, Call::ReportForgery { of, forgery })
            .await
        {
            Ok(included) => info!(%validator, height = %included.height, "the forgery is reported"),
            // Another validator may have been sooner.
            Err(error) => info!(%validator, %error, "the forgery is not reported"),
        }
        "forged"
    }
}

//! Audits: whether answers came from the model that the task pins, checked against a reference.
//!
//! Which answers are audited, and which window of activation codes is opened, comes from a draw of its own, whose
//! proof the miners do not see before it is in the evidence: the draw of a round travels with its challenges and
//! would tell a miner when to be honest. What an audit measures becomes a [`Tally`]; tallies of a miner's newest
//! audits add up, so that doubts too small to reject a short answer still come together.

use std::sync::Arc;

pub use agon_evidence::record::{AUDITS_KEPT, Audit, Tallies};
use agon_protocol::id::Digest;
use agon_protocol::message::{
    Challenge, Code, FinishReason, OpenedWindow, Receipt, Sampling, Trace, tokens_digest,
};
use agon_scoring::draw::AuditDraw;
use agon_scoring::verify::{ANSWER_DOUBT_MAX, Limits, Tally};
use agon_subnets::ModelPin;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use crate::query::Outcome;
use crate::round::Ask;

/// Checks that wait for the reference; a round's audits are asked for one after the other.
const QUEUE_MAX: usize = 16;

/// What a reference is asked about one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// The prompt.
    pub prompt: String,
    /// How tokens were to be chosen.
    pub sampling: Sampling,
    /// The end of the text could not be chosen before this many tokens.
    pub tokens_min: u32,
    /// The tokens given, the end of the text included.
    pub tokens: Vec<u32>,
    /// What ended the answer.
    pub finish: FinishReason,
    /// Activation codes that were opened, by the index of their token, ascending.
    pub codes: Vec<(u32, Code)>,
}

/// What a reference says of a claim.
#[derive(Clone, Debug, PartialEq)]
pub struct Measured {
    /// Distance of each token, in logits.
    pub margins: Vec<f32>,
    /// Distance of each opened code, 0 to 1.
    pub codes: Vec<f32>,
    /// The text of the tokens.
    pub text: String,
}

/// Why a claim was not measured.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MeasureError {
    /// No honest miner makes such a claim.
    #[error("{0}")]
    Impossible(String),
    /// The reference failed; says nothing about the miner.
    #[error("the reference model failed: {0}")]
    Broken(String),
}

/// A model that answers are compared with. Blocks while it computes.
pub trait Reference: Send {
    /// Measures how far a claim is from what the model computes.
    ///
    /// # Errors
    ///
    /// [`MeasureError`].
    fn measure(&mut self, claim: &Claim) -> Result<Measured, MeasureError>;
}

/// A reference that is loaded, and what honest distances from it are.
pub struct Pinned {
    /// Digest of the model.
    pub model: Digest,
    /// What honest distances look like.
    pub limits: Limits,
    /// Number formats in which answers are admitted.
    pub formats: Vec<String>,
    /// The model.
    pub reference: Box<dyn Reference>,
    /// Parts per million of answers that are audited.
    pub share_ppm: u32,
}

impl std::fmt::Debug for Pinned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pinned")
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// The reference on a thread of its own.
#[derive(Debug)]
pub struct Auditor {
    /// The pinned model.
    pub model: Digest,
    limits: Limits,
    formats: Vec<String>,
    share_ppm: u32,
    requests: mpsc::Sender<(Claim, oneshot::Sender<Result<Measured, MeasureError>>)>,
}

impl Auditor {
    /// Puts a reference on a thread.
    ///
    /// # Errors
    ///
    /// What the system says when it has no thread left.
    pub fn start(pinned: Pinned) -> std::io::Result<Arc<Self>> {
        let Pinned {
            model,
            limits,
            formats,
            mut reference,
            share_ppm,
        } = pinned;
        let (requests, mut waiting) = mpsc::channel::<(Claim, oneshot::Sender<_>)>(QUEUE_MAX);
        std::thread::Builder::new()
            .name("agon-reference".to_owned())
            .spawn(move || {
                while let Some((claim, reply)) = waiting.blocking_recv() {
                    // Who asked may have given up meanwhile.
                    let _ = reply.send(reference.measure(&claim));
                }
            })?;
        Ok(Arc::new(Self {
            model,
            limits,
            formats,
            share_ppm,
            requests,
        }))
    }

    /// Whether this is the model that a task pins.
    #[must_use]
    pub fn is_of(&self, pin: ModelPin) -> bool {
        ModelPin::of(&self.model.0) == pin
    }

    /// Whether an answer is drawn for an audit; of a miner in doubt every answer is.
    #[must_use]
    pub fn selects(&self, draw: &AuditDraw, ask: &Ask, is_in_doubt: bool) -> bool {
        is_in_doubt || draw.ppm(ask.miner.uid.0, ask.item_index) < self.share_ppm
    }

    /// The doubt about a miner after `newest` and some audits more, if it is enough to reject it.
    #[must_use]
    pub fn conviction<'a>(&self, tallies: impl IntoIterator<Item = &'a Tally>) -> Option<f64> {
        self.limits.conviction(tallies)
    }

    /// Audits one answer with the windows that its miner opened; `None` when the reference could not say.
    pub async fn audit(
        &self,
        challenge: &Challenge,
        answer: &Answered<'_>,
        windows: Vec<OpenedWindow>,
    ) -> Option<Audit> {
        let trace = &answer.receipt.trace;
        if trace.token_count as usize != answer.tokens.len() || trace.tokens != tokens_digest(answer.tokens) {
            return Some(Audit::failed(windows, "the tokens are not those of the receipt"));
        }
        let format = &answer.receipt.environment.dtype;
        if !self.formats.contains(format) {
            let failure = format!(
                "the receipt names the number format {format:?}, {:?} are admitted",
                self.formats
            );
            return Some(Audit::failed(windows, failure));
        }
        if let Some(window) = windows.iter().find(|window| !window.is_of(trace)) {
            let failure = format!(
                "window {} of codes is not what the receipt committed to",
                window.index
            );
            return Some(Audit::failed(windows, failure));
        }
        let claim = Claim {
            prompt: challenge.prompt.clone(),
            sampling: challenge.sampling,
            tokens_min: challenge.tokens_min,
            tokens: answer.tokens.to_vec(),
            finish: answer.receipt.finish,
            codes: windows.iter().flat_map(OpenedWindow::tokens).collect(),
        };
        let (reply, measured) = oneshot::channel();
        self.requests.send((claim, reply)).await.ok()?;
        match measured.await.ok()? {
            Ok(measured) => Some(self.judge(&measured, answer.text, windows)),
            Err(MeasureError::Impossible(reason)) => Some(Audit::failed(windows, reason)),
            Err(MeasureError::Broken(reason)) => {
                tracing::warn!(reason, "an answer could not be audited");
                None
            }
        }
    }

    fn judge(&self, measured: &Measured, text: &str, windows: Vec<OpenedWindow>) -> Audit {
        if measured.text.trim() != text.trim() {
            return Audit::failed(windows, "the text is not that of the tokens");
        }
        let tally = self.limits.tally(&measured.margins, &measured.codes);
        let failure = self.limits.rejection(&tally).map(|doubt| {
            format!(
                "another model than the pinned one answered: doubt {doubt:.1}, at most {ANSWER_DOUBT_MAX:.1}, over {} \
                 tokens",
                tally.margins.count
            )
        });
        Audit {
            tally,
            windows,
            failure,
        }
    }
}

/// An answer as it is audited.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// The text.
    pub text: &'a str,
    /// The tokens.
    pub tokens: &'a [u32],
    /// The miner's statement.
    pub receipt: &'a Receipt,
}

impl<'a> Answered<'a> {
    /// The answer in an outcome, if there is one.
    #[must_use]
    pub fn of(outcome: &'a Outcome) -> Option<Self> {
        match outcome {
            Outcome::Answered {
                text,
                tokens,
                receipt,
                ..
            } => Some(Self {
                text,
                tokens,
                receipt: receipt.message(),
            }),
            Outcome::Failed { .. } => None,
        }
    }
}

/// Which window of an answer's codes is to be opened: one, drawn; none when it has none.
#[must_use]
pub fn window(draw: &AuditDraw, ask: &Ask, trace: &Trace) -> Option<u32> {
    draw.below(ask.miner.uid.0, ask.item_index, trace.windows())
}

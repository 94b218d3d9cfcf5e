//! The reference model of the library's audits: the one that the task pins, on libtorch.

use agon_model::{Claim, DeviceChoice, Dtype, FinishReason, LoadOptions, Sampling, Verifier};
use agon_protocol::id::Digest;
use agon_protocol::message;
use agon_validator::args::ReferenceArgs;
use agon_validator::audit::{self, MeasureError, Measured, Pinned, Reference};
use agon_validator::calibration::{Calibrated, Calibration};
use anyhow::Context;
use tracing::info;

/// Parts per million of a percent.
const PPM_PER_PERCENT: u32 = 10_000;

/// A model on libtorch that answers are compared with.
struct ModelReference(Verifier);

/// Loads the model and its calibration, if one was named.
pub(crate) fn pinned(args: &ReferenceArgs) -> anyhow::Result<Option<Pinned>> {
    let Some(dir) = &args.reference else {
        return Ok(None);
    };
    agon_model::start();
    let loading = || format!("load the reference model {}", dir.display());
    let model = Digest(agon_model::digest_of(dir).with_context(loading)?);
    let Calibrated { limits, formats } = Calibration::read(&args.calibrations, &model)?;
    let options = LoadOptions {
        device: DeviceChoice::Auto,
        dtype: only(&formats)?,
        ..LoadOptions::default()
    };
    let verifier = Verifier::load(dir, &options, |_| {}).with_context(loading)?;
    info!(name = verifier.info().name, %model, "reference model loaded");
    Ok(Some(Pinned {
        model,
        limits,
        formats,
        reference: Box::new(ModelReference(verifier)),
        share_ppm: args.audit_percent * PPM_PER_PERCENT,
    }))
}

impl Reference for ModelReference {
    fn measure(&mut self, claim: &audit::Claim) -> Result<Measured, MeasureError> {
        let claim = Claim {
            prompt: &claim.prompt,
            sampling: sampling(&claim.sampling),
            tokens_min: claim.tokens_min,
            tokens: &claim.tokens,
            reason: reason(claim.finish),
            codes: &claim.codes,
        };
        match self.0.check(&claim) {
            Ok(distances) => Ok(Measured {
                margins: distances.margins,
                codes: distances.codes,
                text: distances.text,
            }),
            Err(error) if error.is_the_claims_fault() => Err(MeasureError::Impossible(error.to_string())),
            Err(error) => Err(MeasureError::Broken(error.to_string())),
        }
    }
}

/// The format in which the reference has to be held, where one alone was measured.
fn only(formats: &[String]) -> anyhow::Result<Option<Dtype>> {
    match formats {
        [format] => Ok(Some(format.parse().context("read the calibration's formats")?)),
        _ => Ok(None),
    }
}

/// The sampling of a challenge in the model's units.
fn sampling(sampling: &message::Sampling) -> Sampling {
    Sampling {
        temperature: sampling.temperature_milli as f32 / 1_000.0,
        top_p: sampling.top_p_ppm as f32 / 1_000_000.0,
        top_k: sampling.top_k,
        seed: sampling.seed,
    }
}

fn reason(finish: message::FinishReason) -> FinishReason {
    match finish {
        message::FinishReason::EndOfText => FinishReason::EndOfText,
        message::FinishReason::Stop => FinishReason::Stop,
        message::FinishReason::Length => FinishReason::Length,
        message::FinishReason::Deadline => FinishReason::Deadline,
    }
}

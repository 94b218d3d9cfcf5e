//! `calibrate`: measures how far honest answers of a model are from each other.
//!
//! Answers are made in every setting an honest miner may choose on this machine and checked in every one that a
//! validator may choose. The limits are those of the worst pair.

use agon_model::{
    Arithmetic, DeviceChoice, Distances, Dtype, Engine, LoadOptions, Request, Sampling, Verifier, compare,
};
use agon_protocol::id::Digest;
use agon_scoring::verify::{Limit, Limits};
use agon_subnets::{ModelPin, Task, inference::Inference};
use agon_validator::args::CalibrateArgs;
use agon_validator::calibration::{Calibration, Pair, QUANTILE};
use anyhow::Context;
use tracing::info;

/// Tokens that a sample of calibrating prompts and answers takes at most.
const CONTEXT_TOKENS: usize = 1_024;
/// Least cap of margins, in logits: what is behind by a quarter of a logit is behind for good.
const MARGIN_CAP_MIN: f64 = 0.25;
/// Least cap of distances of codes.
const CODE_CAP_MIN: f64 = 0.05;
/// The caps are this many times the quantile of honest distances, so that they stand out from them.
const CAP_FACTOR: f64 = 2.0;

/// How a model is held.
#[derive(Clone, Copy, Debug)]
struct Setting {
    device: DeviceChoice,
    dtype: Dtype,
    arithmetic: Arithmetic,
    threads: usize,
    slots: usize,
}

impl Setting {
    fn options(&self, queue_max: usize) -> LoadOptions {
        LoadOptions {
            device: self.device,
            dtype: Some(self.dtype),
            arithmetic: self.arithmetic,
            slots: self.slots,
            context_tokens_max: CONTEXT_TOKENS,
            queue_max,
            threads: self.threads,
        }
    }

    fn name(&self) -> String {
        let Self {
            device,
            dtype,
            arithmetic,
            threads,
            slots,
        } = self;
        let by = match arithmetic {
            Arithmetic::Auto => "",
            Arithmetic::Kernels => " by the kernels",
            Arithmetic::Libtorch => " by libtorch",
        };
        format!("{dtype} on {device}{by}, {threads} threads, {slots} at a time")
    }
}

/// Everything a miner may choose on this machine.
fn miners() -> Vec<Setting> {
    let cpu = |dtype, arithmetic, threads, slots| Setting {
        device: DeviceChoice::Cpu,
        dtype,
        arithmetic,
        threads,
        slots,
    };
    let mut settings = vec![
        cpu(Dtype::F32, Arithmetic::Kernels, 1, 1),
        cpu(Dtype::F32, Arithmetic::Kernels, 2, 8),
        cpu(Dtype::Bf16, Arithmetic::Kernels, 1, 1),
        cpu(Dtype::Bf16, Arithmetic::Kernels, 2, 8),
        cpu(Dtype::Bf16, Arithmetic::Kernels, 1, 32),
        // What a CPU without the kernels' instructions computes with.
        cpu(Dtype::F32, Arithmetic::Libtorch, 2, 8),
        cpu(Dtype::Bf16, Arithmetic::Libtorch, 1, 1),
    ];
    settings.extend((0..agon_model::start().cuda_devices).map(|index| Setting {
        device: DeviceChoice::Cuda(index),
        dtype: Dtype::Bf16,
        arithmetic: Arithmetic::Libtorch,
        threads: 1,
        slots: 8,
    }));
    settings
}

/// Everything a validator may choose.
fn references() -> Vec<Setting> {
    miners()
        .into_iter()
        .filter(|setting| setting.slots != 32 && setting.threads == 1)
        .collect()
}

/// What was measured between two settings.
struct Measured {
    pair: Pair,
    margins: Vec<f64>,
    codes: Vec<f64>,
}

#[expect(
    clippy::print_stdout,
    reason = "the calibration is the product of the command"
)]
pub(crate) fn run(args: &CalibrateArgs) -> anyhow::Result<()> {
    agon_model::start();
    let digest = agon_model::digest_of(&args.model)?;
    let requests = requests(&ModelPin::of(&digest), args.answers);
    let mut measured = Vec::new();
    for reference in references() {
        let mut verifier = Verifier::load(&args.model, &reference.options(1), |_| {})
            .with_context(|| format!("load {}", args.model.display()))?;
        for miner in miners() {
            let engine = Engine::load(&args.model, &miner.options(requests.len()), |_| {})?;
            let distances = compare(&engine, &mut verifier, &requests, || ())?;
            engine.shutdown();
            let result = summed_up(&miner, &reference, &distances);
            tell(&result.pair);
            measured.push(result);
        }
    }
    let name = args
        .model
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let model = Digest(digest);
    let calibration = calibration(name, &model, measured);
    let path = calibration.write(&args.out, &model)?;
    if args.json {
        println!("{}", serde_json::to_string(&calibration)?);
    } else {
        println!("written to {}", path.display());
    }
    Ok(())
}

/// What validators ask: the items of the task that pins the model, each with a seed of its own.
fn requests(pin: &ModelPin, count: u16) -> Vec<Request> {
    let task = Inference::new(*pin);
    let request = |index: u16| {
        let mut seed = [0xca; 32];
        seed[..2].copy_from_slice(&index.to_le_bytes());
        let item = task.item(seed);
        Request {
            prompt: item.prompt,
            tokens_max: item.tokens_max,
            tokens_min: item.tokens_min,
            sampling: Sampling {
                temperature: 1.0,
                seed: u64::from(index),
                ..Sampling::default()
            },
            ..Request::default()
        }
    };
    (0..count).map(request).collect()
}

fn summed_up(miner: &Setting, reference: &Setting, distances: &[Distances]) -> Measured {
    let all = |of: fn(&Distances) -> &Vec<f32>| -> Vec<f64> {
        distances.iter().flat_map(of).copied().map(f64::from).collect()
    };
    let margins = all(|distances| &distances.margins);
    let codes = all(|distances| &distances.codes);
    let pair = Pair {
        answers: miner.name(),
        reference: reference.name(),
        tokens: margins.len(),
        tokens_differing: margins.iter().filter(|margin| **margin > 0.0).count(),
        margin_quantile: quantile(&margins),
        margin_max: margins.iter().copied().fold(0.0, f64::max),
        code_quantile: quantile(&codes),
        code_max: codes.iter().copied().fold(0.0, f64::max),
    };
    Measured { pair, margins, codes }
}

fn tell(pair: &Pair) {
    let Pair {
        answers,
        reference,
        tokens,
        tokens_differing,
        margin_max,
        code_max,
        ..
    } = pair;
    info!(
        answers,
        reference, tokens, tokens_differing, margin_max, code_max, "measured"
    );
}

/// The smallest value that a share of [`QUANTILE`] of all values does not exceed.
fn quantile(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * QUANTILE).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

fn calibration(name: String, model: &Digest, measured: Vec<Measured>) -> Calibration {
    let largest = |of: fn(&Pair) -> f64| measured.iter().map(|one| of(&one.pair)).fold(0.0, f64::max);
    let margin_cap = (CAP_FACTOR * largest(|pair| pair.margin_quantile)).max(MARGIN_CAP_MIN);
    let code_cap = (CAP_FACTOR * largest(|pair| pair.code_quantile)).clamp(CODE_CAP_MIN, 1.0);
    let margins: Vec<Vec<f64>> = measured.iter().map(|one| one.margins.clone()).collect();
    let codes: Vec<Vec<f64>> = measured.iter().map(|one| one.codes.clone()).collect();
    let limits = Limits {
        margin: Limit::measured(margin_cap, &margins),
        code: Limit::measured(code_cap, &codes),
    };
    Calibration {
        name,
        model: model.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        margin: (&limits.margin).into(),
        code: (&limits.code).into(),
        pairs: measured.into_iter().map(|one| one.pair).collect(),
    }
}

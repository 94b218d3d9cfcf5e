//! `calibrate`: measures how far honest answers of a model are from each other.
//!
//! Answers are made in every setting an honest miner may choose on this machine and checked in every one that a
//! validator may choose. The limits are those of the worst pair.

use agon_model::{
    Arithmetic, DeviceChoice, Distances, Dtype, Engine, LoadOptions, Request, Sampling, Verifier, compare,
};
use agon_protocol::id::Digest;
use agon_subnets::{ModelPin, Task, inference::Inference};
use agon_validator::args::CalibrateArgs;
use agon_validator::calibration::{Calibration, Honest, Pair, limits, quantile};
use anyhow::Context;
use tracing::info;

/// Tokens that a sample of calibrating prompts and answers takes at most.
const CONTEXT_TOKENS: usize = 1_024;

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

/// Everything a miner may choose on this machine, in the admitted number formats.
fn miners(formats: &[Dtype]) -> Vec<Setting> {
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
    for index in 0..agon_model::start().cuda_devices {
        settings.extend([Dtype::F32, Dtype::Bf16].map(|dtype| Setting {
            device: DeviceChoice::Cuda(index),
            dtype,
            arithmetic: Arithmetic::Libtorch,
            threads: 1,
            slots: 8,
        }));
    }
    settings.retain(|setting| formats.contains(&setting.dtype));
    settings
}

/// Everything a validator may choose.
fn references(formats: &[Dtype]) -> Vec<Setting> {
    miners(formats)
        .into_iter()
        .filter(|setting| setting.slots != 32 && setting.threads == 1)
        .collect()
}

/// What was measured between two settings.
struct Measured {
    pair: Pair,
    honest: Honest,
}

#[expect(
    clippy::print_stdout,
    reason = "the calibration is the product of the command"
)]
pub(crate) fn run(args: &CalibrateArgs) -> anyhow::Result<()> {
    agon_model::start();
    let digest = agon_model::digest_of(&args.model)?;
    let formats: Vec<Dtype> = args
        .formats
        .iter()
        .map(|format| format.parse())
        .collect::<Result<_, _>>()?;
    let requests = requests(&ModelPin::of(&digest), args.answers);
    let mut measured = Vec::new();
    for reference in references(&formats) {
        let mut verifier = Verifier::load(&args.model, &reference.options(1), |_| {})
            .with_context(|| format!("load {}", args.model.display()))?;
        for miner in miners(&formats) {
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
    let calibration = calibration(name, &model, &formats, measured);
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
    let honest = Honest { margins, codes };
    Measured { pair, honest }
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

fn calibration(name: String, model: &Digest, formats: &[Dtype], measured: Vec<Measured>) -> Calibration {
    let (pairs, honest): (Vec<Pair>, Vec<Honest>) =
        measured.into_iter().map(|one| (one.pair, one.honest)).unzip();
    let limits = limits(&honest);
    Calibration {
        name,
        model: model.0.iter().map(|byte| format!("{byte:02x}")).collect(),
        margin: (&limits.margin).into(),
        code: (&limits.code).into(),
        formats: formats.iter().map(Dtype::to_string).collect(),
        pairs,
    }
}

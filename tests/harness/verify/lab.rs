//! Where answers are made and measured: one pinned model, its calibration, and the copies that cheats serve.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use agon_model::{
    Answer, Claim, Code, DISTANCE_MAX, DeviceChoice, Distances, Dtype, Engine, LoadOptions, MARGIN_MAX,
    Request, Sampling, Verifier,
};
use agon_protocol::codec;
use agon_protocol::id::Digest;
use agon_protocol::message::WINDOW_TOKENS;
use agon_scoring::draw::AuditDraw;
use agon_scoring::verify::{Limits, Tally};
use agon_subnets::{ModelPin, Task, inference::Inference};
use agon_validator::calibration::{Calibration, Honest, limits};
use anyhow::Context;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Tokens of every answer: two windows of codes.
pub(super) const ANSWER_TOKENS: u32 = 64;
/// Answers in each setting from which limits are measured.
const CALIBRATING_ANSWERS: usize = 300;

/// How many trials a run has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Honest answers of each setting.
    pub honest_answers: usize,
    /// Trials of each cheat that is to be caught.
    pub trials: usize,
    /// Trials of each kind behind a curve.
    pub curve_trials: usize,
    /// Miners whose mixed answers are followed.
    pub streams: usize,
}

impl Size {
    /// The sizes that `docs/verification.md` tells of.
    pub const FULL: Self = Self {
        honest_answers: 640,
        trials: 1_000,
        curve_trials: 200,
        streams: 2_000,
    };
    /// Sizes for a look.
    pub const QUICK: Self = Self {
        honest_answers: 64,
        trials: 100,
        curve_trials: 60,
        streams: 400,
    };
    /// Sizes for a test that runs with all others.
    pub const TEST: Self = Self {
        honest_answers: 16,
        trials: 30,
        curve_trials: 20,
        streams: 200,
    };
}

/// What a run is about.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Folder of the pinned model.
    pub model: PathBuf,
    /// Folder of a smaller model with the same tokenizer.
    pub smaller: PathBuf,
    /// Folder of calibrations.
    pub calibrations: PathBuf,
    /// Fixes items, seeds and draws.
    pub seed: u64,
    /// How many trials.
    pub size: Size,
}

/// How an engine holds its model on a CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) dtype: Dtype,
    pub(super) threads: usize,
    /// Answers at a time.
    pub(super) slots: usize,
}

impl Setting {
    /// The most exact and the quickest one: what a cheat that wants to pass would choose.
    pub(super) const EXACT: Self = Self {
        dtype: Dtype::F32,
        threads: 1,
        slots: 32,
    };

    fn options(self, queue_max: usize) -> LoadOptions {
        LoadOptions {
            device: DeviceChoice::Cpu,
            dtype: Some(self.dtype),
            slots: self.slots,
            queue_max,
            threads: self.threads,
            ..LoadOptions::default()
        }
    }
}

/// The room in which rows are measured.
#[derive(Debug)]
pub struct Lab {
    /// What it is about.
    pub settings: Settings,
    /// What honest distances are, as it ships.
    pub(super) limits: Limits,
    /// What they are where answers in f32 alone are admitted; measured when it is asked for.
    exact_limits: OnceLock<Limits>,
    task: Inference,
    copies: tempfile::TempDir,
}

impl Lab {
    /// Opens the pinned model and its calibration.
    ///
    /// # Errors
    ///
    /// When a folder is not there, or the model has no calibration.
    pub fn open(settings: Settings) -> anyhow::Result<Self> {
        agon_model::start();
        let digest = agon_model::digest_of(&settings.model)
            .with_context(|| format!("read the model {}", settings.model.display()))?;
        Ok(Self {
            limits: Calibration::read(&settings.calibrations, &Digest(digest))?.limits,
            exact_limits: OnceLock::new(),
            task: Inference::new(ModelPin::of(&digest)),
            copies: tempfile::tempdir()?,
            settings,
        })
    }

    /// A generator for one purpose of this run.
    pub(super) fn random(&self, purpose: &str) -> ChaCha20Rng {
        ChaCha20Rng::from_seed(self.secret(purpose))
    }

    /// What stands for the output of a validator's VRF, for one purpose of this run.
    pub(super) fn secret(&self, purpose: &str) -> [u8; 32] {
        let seed = self.settings.seed;
        codec::digest(
            "agon 2026-11 verify-bench",
            format!("{seed} {purpose}").as_bytes(),
        )
        .0
    }

    /// What validators ask, for one purpose: items of the task that pins the model, each with a seed of its own.
    pub(super) fn requests(&self, purpose: &str, count: usize) -> Vec<Request> {
        let mut random = self.random(purpose);
        let mut request = || {
            let mut item_seed = [0; 32];
            random.fill_bytes(&mut item_seed);
            Request {
                prompt: self.task.item(item_seed).prompt,
                tokens_max: ANSWER_TOKENS,
                tokens_min: ANSWER_TOKENS,
                sampling: Sampling {
                    temperature: 1.0,
                    seed: random.next_u64(),
                    ..Sampling::default()
                },
                ..Request::default()
            }
        };
        (0..count).map(|_| request()).collect()
    }

    /// The limits that `agon-validator calibrate --formats f32` would come to, from fewer answers.
    pub(super) fn exact_limits(&self) -> anyhow::Result<&Limits> {
        if let Some(limits) = self.exact_limits.get() {
            return Ok(limits);
        }
        let requests = self.requests("calibration in f32", CALIBRATING_ANSWERS);
        let mut reference = self.reference(Dtype::F32)?;
        let mut pairs = Vec::new();
        for (threads, slots) in [(1, 32), (2, 8)] {
            let setting = Setting {
                dtype: Dtype::F32,
                threads,
                slots,
            };
            let answers = generate(&self.settings.model, setting, &requests)?;
            pairs.push(honest(&self.measure(&mut reference, &requests, &answers)?));
        }
        Ok(self.exact_limits.get_or_init(|| limits(&pairs)))
    }

    /// Numbers in a hidden state of the pinned model.
    pub(super) fn width(&self) -> anyhow::Result<usize> {
        let path = self.settings.model.join("config.json");
        let config: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
        let width = config["hidden_size"]
            .as_u64()
            .context("config.json has no hidden_size")?;
        Ok(usize::try_from(width)?)
    }

    /// A folder for a copy of the model; `make` fills it once.
    pub(super) fn copy(
        &self,
        name: &str,
        make: impl FnOnce(&Path, &Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let dir = self.copies.path().join(name);
        if !dir.exists() {
            std::fs::create_dir(&dir)?;
            make(&self.settings.model, &dir)?;
        }
        Ok(dir)
    }

    /// The reference of a validator that holds the pinned model in this number format.
    pub(super) fn reference(&self, dtype: Dtype) -> anyhow::Result<Verifier> {
        let setting = Setting {
            dtype,
            threads: 1,
            slots: 1,
        };
        Ok(Verifier::load(&self.settings.model, &setting.options(1), |_| ())?)
    }

    /// How far answers are from what the reference computes, all codes opened.
    pub(super) fn measure(
        &self,
        reference: &mut Verifier,
        requests: &[Request],
        answers: &[Answer],
    ) -> anyhow::Result<Vec<Distances>> {
        let pairs = requests.iter().zip(answers);
        pairs
            .map(|(request, answer)| measure(reference, request, answer))
            .collect()
    }

    /// What audits of answers come to, each with one window of codes that is drawn for `purpose`, as in
    /// `validator::audit`.
    pub(super) fn audits(&self, limits: &Limits, distances: &[Distances], purpose: &str) -> Vec<Tally> {
        let draw = AuditDraw::new(self.secret(purpose));
        let indexed = (0..).zip(distances);
        indexed
            .map(|(index, distances)| tally(limits, distances, &draw, index))
            .collect()
    }
}

fn tally(limits: &Limits, distances: &Distances, draw: &AuditDraw, index: u32) -> Tally {
    let codes: Vec<&[f32]> = distances.codes.chunks(WINDOW_TOKENS).collect();
    let window = draw.below(0, index, codes.len() as u32);
    let opened = window.map_or(&[][..], |window| codes[window as usize]);
    limits.tally(&distances.margins, opened)
}

fn honest(distances: &[Distances]) -> Honest {
    let all = |of: fn(&Distances) -> &Vec<f32>| -> Vec<f64> {
        distances.iter().flat_map(of).copied().map(f64::from).collect()
    };
    Honest {
        margins: all(|distances| &distances.margins),
        codes: all(|distances| &distances.codes),
    }
}

/// Lets an engine answer all requests.
pub(super) fn generate(dir: &Path, setting: Setting, requests: &[Request]) -> anyhow::Result<Vec<Answer>> {
    let engine = Engine::load(dir, &setting.options(requests.len()), |_| ())
        .with_context(|| format!("load the model {}", dir.display()))?;
    let running: Vec<_> = requests
        .iter()
        .map(|request| engine.submit(request.clone()))
        .collect::<Result<_, _>>()?;
    let answers = running
        .into_iter()
        .map(|generation| generation.wait())
        .collect::<Result<_, _>>()?;
    engine.shutdown();
    Ok(answers)
}

/// A claim that no honest miner makes is as far away as can be.
fn measure(reference: &mut Verifier, request: &Request, answer: &Answer) -> anyhow::Result<Distances> {
    let codes: Vec<(u32, Code)> = (0..).zip(answer.trace.codes.iter().copied()).collect();
    match reference.check(&claim(request, answer, &codes)) {
        Ok(distances) => Ok(distances),
        Err(error) if error.is_the_claims_fault() => Ok(Distances {
            margins: vec![MARGIN_MAX; answer.trace.tokens.len()],
            codes: vec![DISTANCE_MAX; answer.trace.tokens.len()],
            text: String::new(),
        }),
        Err(error) => Err(error.into()),
    }
}

/// What a miner says it computed.
pub(super) fn claim<'a>(request: &'a Request, answer: &'a Answer, codes: &'a [(u32, Code)]) -> Claim<'a> {
    Claim {
        prompt: &request.prompt,
        sampling: request.sampling,
        tokens_min: request.tokens_min,
        tokens: &answer.trace.tokens,
        reason: answer.finish.reason,
        codes,
    }
}

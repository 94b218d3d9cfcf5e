//! VER-2 to VER-4: how many tokens it takes until a cheat is told from an honest miner.
//!
//! A trial is one miner's answers in a row. A curve asks how well the doubt after so many tokens separates trials of
//! a cheat from honest ones, wherever a threshold lies; a share of catches asks what the shipped thresholds do.

use agon_model::{Distances, Dtype, Request};
use agon_scoring::verify::{Limits, Tally};

use super::figure::{Bound, Figure, Row};
use super::lab::{ANSWER_TOKENS, Lab, Setting};
use super::miner::Miner;
use super::stats::{Estimate, auc, share};

/// Where curves are read.
const CURVE_TOKENS: [usize; 5] = [32, 64, 128, 200, 300];
/// Answers of one trial of a curve.
const CURVE_ANSWERS: usize = 10;
/// Tokens by which weights of 4 bits are to be told by their tokens alone.
const FOUR_BITS_TOKENS: usize = 300;
/// Tokens by which they are to be told with codes: two windows.
const FOUR_BITS_CODE_TOKENS: usize = 64;
/// Area under the curve for weights of 4 bits.
const FOUR_BITS_AUC_MIN: f64 = 0.999;
/// Area that counts as told, for weights of 8 bits.
const EIGHT_BITS_AUC: f64 = 0.99;
/// Share of other models, prompts and contexts that is to be caught by one answer.
const OTHERS_CAUGHT_MIN: f64 = 0.999;
/// Share of drafted answers that is to be caught by two.
const DRAFTS_CAUGHT_MIN: f64 = 0.99;

/// One miner's answers in a row, joined.
#[derive(Clone, Debug, Default)]
struct Trial {
    margins: Vec<f32>,
    codes: Vec<f32>,
}

impl Trial {
    fn of(answers: &[Distances]) -> Self {
        let join = |of: fn(&Distances) -> &Vec<f32>| answers.iter().flat_map(of).copied().collect();
        Self {
            margins: join(|answer| &answer.margins),
            codes: join(|answer| &answer.codes),
        }
    }
}

/// Which answers are admitted, and what honest ones among them look like.
struct Policy<'a> {
    name: &'static str,
    limits: &'a Limits,
    honest: &'a [Trial],
}

/// What doubt is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Means {
    Tokens,
    TokensAndCodes,
}

impl Means {
    const ALL: [Self; 2] = [Self::Tokens, Self::TokensAndCodes];

    const fn name(self) -> &'static str {
        match self {
            Self::Tokens => "tokens alone",
            Self::TokensAndCodes => "tokens and codes",
        }
    }
}

impl Policy<'_> {
    /// How well doubts after so many tokens tell cheats from honest miners.
    fn area(&self, cheats: &[Trial], tokens: usize, means: Means) -> Estimate {
        let doubt = |trial: &Trial| {
            let codes = match means {
                Means::Tokens => &[],
                Means::TokensAndCodes => &trial.codes[..tokens],
            };
            self.limits
                .doubt(&self.limits.tally(&trial.margins[..tokens], codes))
        };
        let doubts = |trials: &[Trial]| -> Vec<f64> { trials.iter().map(doubt).collect() };
        auc(&doubts(self.honest), &doubts(cheats))
    }

    /// The area at each place of the curve.
    fn curve(&self, bits: u32, cheats: &[Trial], means: Means) -> Vec<Figure> {
        let at = |tokens: usize| {
            let what = format!(
                "{bits} bits, {}, {tokens} tokens: area by {}",
                self.name,
                means.name()
            );
            let estimate = self.area(cheats, tokens, means);
            Figure::new(what, estimate, self.honest.len() + cheats.len())
                .bound(area_bound(bits, tokens, means))
        };
        CURVE_TOKENS.map(at).to_vec()
    }

    /// The first half window at whose end the area reaches [`EIGHT_BITS_AUC`]; infinite where none of the measured
    /// does.
    fn tokens_needed(&self, cheats: &[Trial], means: Means) -> Figure {
        let most = CURVE_ANSWERS * ANSWER_TOKENS as usize;
        let needed = (16..=most)
            .step_by(16)
            .find(|&tokens| self.area(cheats, tokens, means).value >= EIGHT_BITS_AUC);
        let what = format!(
            "8 bits, {}, tokens of {most} to an area of {EIGHT_BITS_AUC} by {}",
            self.name,
            means.name()
        );
        let needed = needed.map_or(f64::INFINITY, |tokens| tokens as f64);
        Figure::plain(what, needed, self.honest.len() + cheats.len())
    }
}

/// Only weights of 4 bits are held against a bound.
fn area_bound(bits: u32, tokens: usize, means: Means) -> Bound {
    match (bits, tokens, means) {
        (4, FOUR_BITS_TOKENS, Means::Tokens) | (4, FOUR_BITS_CODE_TOKENS, Means::TokensAndCodes) => {
            Bound::AtLeast(FOUR_BITS_AUC_MIN)
        }
        _ => Bound::None,
    }
}

/// VER-2.
pub(super) fn quantised(lab: &Lab) -> anyhow::Result<Row> {
    let count = lab.settings.size.curve_trials;
    let coarse = Setting {
        dtype: Dtype::Bf16,
        ..Setting::EXACT
    };
    let exact = trials(lab, Miner::Honest(Setting::EXACT), count)?;
    let mixed = [
        &exact[..count / 2],
        &trials(lab, Miner::Honest(coarse), count - count / 2)?,
    ]
    .concat();
    let policies = [
        Policy {
            name: "f32 and bf16",
            limits: &lab.limits,
            honest: &mixed,
        },
        Policy {
            name: "f32 alone",
            limits: lab.exact_limits()?,
            honest: &exact,
        },
    ];
    let cheats = [
        (4, trials(lab, Miner::Quantised(4), count)?),
        (8, trials(lab, Miner::Quantised(8), count)?),
    ];
    let mut figures = Vec::new();
    for policy in &policies {
        for (bits, cheats) in &cheats {
            figures.extend(
                Means::ALL
                    .into_iter()
                    .flat_map(|means| policy.curve(*bits, cheats, means)),
            );
        }
        figures.extend(Means::ALL.map(|means| policy.tokens_needed(&cheats[1].1, means)));
    }
    Ok(Row {
        id: "VER-2",
        title: "weights of few bits: area under the curve, by admitted formats and tokens",
        figures,
    })
}

/// VER-3.
pub(super) fn others(lab: &Lab) -> anyhow::Result<Row> {
    let mut figures = Vec::new();
    for miner in [
        Miner::Smaller,
        Miner::FineTuned,
        Miner::OtherTemplate,
        Miner::Truncated,
    ] {
        let caught = Caught::of(lab, miner, 1)?;
        let by_audit = caught.by_audit(lab, &lab.limits, "audit");
        figures.push(by_audit.bound(Bound::AtLeast(OTHERS_CAUGHT_MIN)));
        figures.push(caught.by_tokens(lab));
    }
    for answers in [1, 4] {
        let caught = Caught::of(lab, Miner::Moved, answers)?;
        figures.push(caught.by_audit(lab, &lab.limits, "audit"));
        figures.push(caught.by_audit(lab, lab.exact_limits()?, "audit, f32 alone"));
    }
    Ok(Row {
        id: "VER-3",
        title: "other models, prompts and contexts: caught within one answer of 64 tokens",
        figures,
    })
}

/// VER-4.
pub(super) fn drafted(lab: &Lab) -> anyhow::Result<Row> {
    let caught = Caught::of(lab, Miner::Drafting, 2)?;
    let by_audit = caught.by_audit(lab, &lab.limits, "audit");
    Ok(Row {
        id: "VER-4",
        title: "drafts of a smaller model with the pinned model's codes: caught within 128 tokens",
        figures: vec![
            by_audit.bound(Bound::AtLeast(DRAFTS_CAUGHT_MIN)),
            caught.by_tokens(lab),
        ],
    })
}

/// Trials of a cheat, each of so many answers, and how many of them are caught.
struct Caught {
    miner: Miner,
    answers: usize,
    distances: Vec<Distances>,
}

impl Caught {
    fn of(lab: &Lab, miner: Miner, answers: usize) -> anyhow::Result<Self> {
        let count = lab.settings.size.trials;
        let requests = lab.requests(&format!("{miner:?} caught"), count * answers);
        Ok(Self {
            miner,
            answers,
            distances: measured(lab, miner, &requests)?,
        })
    }

    /// By tokens and the codes of one drawn window of each answer, as in an audit.
    fn by_audit(&self, lab: &Lab, limits: &Limits, means: &str) -> Figure {
        self.figure(
            limits,
            &lab.audits(limits, &self.distances, "audits of cheats"),
            means,
        )
    }

    fn by_tokens(&self, lab: &Lab) -> Figure {
        let mut audits = lab.audits(&lab.limits, &self.distances, "audits of cheats");
        for audit in &mut audits {
            audit.codes = Tally::default().codes;
        }
        self.figure(&lab.limits, &audits, "tokens alone")
    }

    /// Caught is a trial of which one answer is rejected, or all together are.
    fn figure(&self, limits: &Limits, audits: &[Tally], means: &str) -> Figure {
        let is_caught = |audits: &&[Tally]| {
            audits.iter().any(|audit| limits.rejection(audit).is_some())
                || limits.conviction(*audits).is_some()
        };
        let trials = audits.len() / self.answers;
        let hits = audits.chunks(self.answers).filter(is_caught).count();
        let tokens = self.answers * ANSWER_TOKENS as usize;
        let what = format!("{}, {tokens} tokens: caught by {means}", self.miner.name());
        Figure::new(what, share(hits, trials), trials)
    }
}

fn trials(lab: &Lab, miner: Miner, count: usize) -> anyhow::Result<Vec<Trial>> {
    let requests = lab.requests(&format!("{miner:?} trials"), count * CURVE_ANSWERS);
    let distances = measured(lab, miner, &requests)?;
    Ok(distances.chunks(CURVE_ANSWERS).map(Trial::of).collect())
}

fn measured(lab: &Lab, miner: Miner, requests: &[Request]) -> anyhow::Result<Vec<Distances>> {
    let answers = miner.answer(lab, requests)?;
    let mut reference = lab.reference(Dtype::F32)?;
    lab.measure(&mut reference, requests, &answers)
}

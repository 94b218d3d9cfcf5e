//! VER-2 to VER-4: how many tokens it takes until a cheat is told from an honest miner.
//!
//! A trial is one miner's answers in a row. A curve asks how well the doubt after so many tokens separates trials of
//! a cheat from honest ones, wherever a threshold lies; a share of catches asks what the shipped thresholds do.

use agon_model::{Distances, Dtype, Request};
use agon_scoring::verify::Tally;

use super::figure::{Bound, Figure, Row};
use super::lab::{ANSWER_TOKENS, Lab, Setting};
use super::miner::Miner;
use super::stats::{Estimate, auc, share};

/// Where curves are read.
const CURVE_TOKENS: [usize; 5] = [32, 64, 128, 200, 300];
/// Tokens by which weights of 4 bits are to be told by their tokens alone.
const FOUR_BITS_TOKENS: usize = 300;
/// Tokens by which they are to be told with codes: two windows.
const FOUR_BITS_CODE_TOKENS: usize = 64;
/// Area under the curve for weights of 4 bits.
const FOUR_BITS_AUC_MIN: f64 = 0.999;
/// Area that counts as told, for weights of 8 bits.
const EIGHT_BITS_AUC: f64 = 0.99;
/// Most answers in a row for weights of 8 bits.
const EIGHT_BITS_ANSWERS: usize = 20;
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
        Self {
            margins: answers
                .iter()
                .flat_map(|answer| answer.margins.iter().copied())
                .collect(),
            codes: answers
                .iter()
                .flat_map(|answer| answer.codes.iter().copied())
                .collect(),
        }
    }

    /// Doubt after so many tokens, from the tokens alone or with all their codes.
    fn doubt(&self, lab: &Lab, tokens: usize, with_codes: bool) -> f64 {
        let codes = if with_codes { &self.codes[..tokens] } else { &[] };
        lab.limits
            .doubt(&lab.limits.tally(&self.margins[..tokens], codes))
    }
}

/// VER-2.
pub(super) fn quantised(lab: &Lab) -> anyhow::Result<Row> {
    let size = lab.settings.size.trials;
    let honest = honest_trials(lab, size, EIGHT_BITS_ANSWERS)?;
    let four = trials(lab, Miner::Quantised(4), size, answers_for(FOUR_BITS_TOKENS))?;
    let eight = trials(lab, Miner::Quantised(8), size, EIGHT_BITS_ANSWERS)?;
    let mut figures = Vec::new();
    for (bits, cheats) in [(4, &four), (8, &eight)] {
        for with_codes in [false, true] {
            for tokens in CURVE_TOKENS {
                let figure = curve(lab, &honest, cheats, bits, tokens, with_codes);
                figures.push(figure.bound(area_bound(bits, tokens, with_codes)));
            }
        }
    }
    for with_codes in [false, true] {
        figures.push(tokens_needed(lab, &honest, &eight, with_codes));
    }
    Ok(Row {
        id: "VER-2",
        title: "weights of few bits: area under the curve by tokens",
        figures,
    })
}

fn area_bound(bits: u32, tokens: usize, with_codes: bool) -> Bound {
    let is_held = match with_codes {
        false => tokens == FOUR_BITS_TOKENS,
        true => tokens == FOUR_BITS_CODE_TOKENS,
    };
    if bits == 4 && is_held {
        Bound::AtLeast(FOUR_BITS_AUC_MIN)
    } else {
        Bound::None
    }
}

fn curve(
    lab: &Lab,
    honest: &[Trial],
    cheats: &[Trial],
    bits: u32,
    tokens: usize,
    with_codes: bool,
) -> Figure {
    let means = if with_codes {
        "tokens and codes"
    } else {
        "tokens alone"
    };
    let what = format!("{bits}-bit weights, {tokens} tokens: area by {means}");
    Figure::new(
        what,
        area(lab, honest, cheats, tokens, with_codes),
        honest.len() + cheats.len(),
    )
}

fn area(lab: &Lab, honest: &[Trial], cheats: &[Trial], tokens: usize, with_codes: bool) -> Estimate {
    let doubts = |trials: &[Trial]| -> Vec<f64> {
        trials
            .iter()
            .map(|trial| trial.doubt(lab, tokens, with_codes))
            .collect()
    };
    auc(&doubts(honest), &doubts(cheats))
}

/// The first window at whose end the area reaches [`EIGHT_BITS_AUC`]; infinite where none of the measured does.
fn tokens_needed(lab: &Lab, honest: &[Trial], cheats: &[Trial], with_codes: bool) -> Figure {
    let most = EIGHT_BITS_ANSWERS * ANSWER_TOKENS as usize;
    let needed = (32..=most)
        .step_by(32)
        .find(|&tokens| area(lab, honest, cheats, tokens, with_codes).value >= EIGHT_BITS_AUC);
    let means = if with_codes {
        "tokens and codes"
    } else {
        "tokens alone"
    };
    let what = format!("8-bit weights: tokens to an area of {EIGHT_BITS_AUC} by {means}, of {most}");
    Figure::plain(
        what,
        needed.map_or(f64::INFINITY, |tokens| tokens as f64),
        cheats.len(),
    )
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
        figures.extend(caught(lab, miner, 1, OTHERS_CAUGHT_MIN)?);
    }
    Ok(Row {
        id: "VER-3",
        title: "other models, prompts and contexts: rejected within one answer of 64 tokens",
        figures,
    })
}

/// VER-4.
pub(super) fn drafted(lab: &Lab) -> anyhow::Result<Row> {
    Ok(Row {
        id: "VER-4",
        title: "drafts of a smaller model with the pinned model's codes: caught within 128 tokens",
        figures: caught(lab, Miner::Drafting, 2, DRAFTS_CAUGHT_MIN)?,
    })
}

/// The share of trials of so many answers that is caught, with the codes of one drawn window of each answer, which is
/// held against a bound, and from the tokens alone.
fn caught(lab: &Lab, miner: Miner, answers: usize, at_least: f64) -> anyhow::Result<Vec<Figure>> {
    let count = lab.settings.size.trials;
    let requests = lab.requests(&format!("{miner:?} caught"), count * answers);
    let distances = measured(lab, miner, &requests)?;
    let audits = lab.audits(&distances, "audits of cheats");
    let without_codes: Vec<Tally> = audits
        .iter()
        .map(|tally| Tally {
            margins: tally.margins,
            ..Tally::default()
        })
        .collect();
    let figure = |audits: &[Tally], means: &str| {
        let hits = audits
            .chunks(answers)
            .filter(|audits| is_caught(lab, audits))
            .count();
        Figure::new(
            format!("{}: caught by {means}", miner.name()),
            share(hits, count),
            count,
        )
    };
    Ok(vec![
        figure(&audits, "audit").bound(Bound::AtLeast(at_least)),
        figure(&without_codes, "tokens alone"),
    ])
}

/// Whether one of the answers is rejected, or all of them together are.
fn is_caught(lab: &Lab, audits: &[Tally]) -> bool {
    audits.iter().any(|tally| lab.limits.rejection(tally).is_some())
        || lab.limits.conviction(audits).is_some()
}

fn answers_for(tokens: usize) -> usize {
    tokens.div_ceil(ANSWER_TOKENS as usize)
}

/// Trials of honest miners: half of them in the number format of the reference, half in the other.
fn honest_trials(lab: &Lab, count: usize, answers: usize) -> anyhow::Result<Vec<Trial>> {
    let coarse = Setting {
        dtype: Dtype::Bf16,
        ..Setting::EXACT
    };
    let mut all = trials(lab, Miner::Honest(Setting::EXACT), count / 2, answers)?;
    all.extend(trials(lab, Miner::Honest(coarse), count - count / 2, answers)?);
    Ok(all)
}

fn trials(lab: &Lab, miner: Miner, count: usize, answers: usize) -> anyhow::Result<Vec<Trial>> {
    let requests = lab.requests(&format!("{miner:?} trials"), count * answers);
    let distances = measured(lab, miner, &requests)?;
    Ok(distances.chunks(answers).map(Trial::of).collect())
}

fn measured(lab: &Lab, miner: Miner, requests: &[Request]) -> anyhow::Result<Vec<Distances>> {
    let answers = miner.answer(lab, requests)?;
    let mut reference = lab.reference(Dtype::F32)?;
    lab.measure(&mut reference, requests, &answers)
}

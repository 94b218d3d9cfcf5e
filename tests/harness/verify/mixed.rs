//! VER-5: a miner that answers some requests with a cheaper model is found.
//!
//! Audits of honest and of cheap answers are measured once; then streams of answers are drawn from them, with the
//! share of cheap ones that the row asks for, and audited by the validator's own draw and memory.

use agon_model::Dtype;
use agon_protocol::id::Uid;
use agon_scoring::draw::AuditDraw;
use agon_scoring::verify::Tally;
use agon_validator::audit::Tallies;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use super::figure::{Bound, Figure, Row};
use super::lab::{Lab, Setting};
use super::miner::Miner;
use super::stats::{mean, share};

/// Parts per million of answers by the cheaper model, and of answers that are audited.
const CHEAP_PPM: u32 = 50_000;
const AUDITED_PPM: u32 = 50_000;
/// A stream is given up after so many answers.
const ANSWERS_MAX: u32 = 20_000;
/// Answers by which most streams are to be found out.
const ANSWERS: u32 = 1_000;
const FOUND_MIN: f64 = 0.90;
const MEAN_ANSWERS_MAX: f64 = 1_300.0;

pub(super) fn row(lab: &Lab) -> anyhow::Result<Row> {
    let honest = audits(lab, Miner::Honest(Setting::EXACT))?;
    let cheap = audits(lab, Miner::Smaller)?;
    let count = lab.settings.size.streams;
    let mut random = lab.random("streams");
    let found: Vec<u32> = (0..count)
        .map(|index| stream(lab, index, &honest, &cheap, &mut random))
        .collect();
    let by = found.iter().filter(|&&answers| answers <= ANSWERS).count();
    let answers: Vec<f64> = found.iter().copied().map(f64::from).collect();
    Ok(Row {
        id: "VER-5",
        title: "5 % of answers by the smaller rung, 5 % of answers audited",
        figures: vec![
            Figure::new("answers until one is rejected, mean", mean(&answers), count)
                .bound(Bound::AtMost(MEAN_ANSWERS_MAX)),
            Figure::new(format!("found within {ANSWERS} answers"), share(by, count), count)
                .bound(Bound::AtLeast(FOUND_MIN)),
        ],
    })
}

/// What audits of one miner's answers come to, each with a drawn window of codes.
fn audits(lab: &Lab, miner: Miner) -> anyhow::Result<Vec<Tally>> {
    let requests = lab.requests(&format!("{miner:?} mixed"), lab.settings.size.trials);
    let answers = miner.answer(lab, &requests)?;
    let mut reference = lab.reference(Dtype::F32)?;
    let distances = lab.measure(&mut reference, &requests, &answers)?;
    Ok(lab.audits(&lab.limits, &distances, "mixed windows"))
}

/// Answers of one miner until one of them is rejected, or all that were audited lately are.
fn stream(lab: &Lab, index: usize, honest: &[Tally], cheap: &[Tally], random: &mut ChaCha20Rng) -> u32 {
    let draw = AuditDraw::new(lab.secret(&format!("stream {index}")));
    let mut kept = Tallies::default();
    for answer in 0..ANSWERS_MAX {
        let from = if random.next_u32() % 1_000_000 < CHEAP_PPM {
            cheap
        } else {
            honest
        };
        let tally = from[random.next_u32() as usize % from.len()];
        if draw.ppm(0, answer) >= AUDITED_PPM {
            continue;
        }
        kept.add(Uid(0), tally);
        if lab.limits.rejection(&tally).is_some() || lab.limits.conviction(kept.of(Uid(0))).is_some() {
            return answer + 1;
        }
    }
    ANSWERS_MAX
}

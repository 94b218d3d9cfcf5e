//! VER-1: honest answers, over number formats, threads and batch shapes, are not taken for others.

use agon_model::{Distances, Dtype};
use agon_scoring::verify::Limits;
use agon_validator::audit::AUDITS_KEPT;

use super::figure::{Bound, Figure, Row};
use super::lab::{Lab, Setting};
use super::miner::Miner;
use super::stats::share;

/// Share of honest answers that may be rejected.
const FALSE_ALARMS_MAX: f64 = 0.001;

/// The number formats in which miners and validators hold the model.
const DTYPES: [Dtype; 2] = [Dtype::F32, Dtype::Bf16];

/// What one validator found about one honest miner.
#[derive(Clone, Copy, Debug, Default)]
struct Found {
    audits: usize,
    rejected: usize,
    is_condemned: bool,
}

pub(super) fn row(lab: &Lab) -> anyhow::Result<Row> {
    let mut references = [lab.reference(DTYPES[0])?, lab.reference(DTYPES[1])?];
    let (mut by_reference, mut exact) = ([Vec::new(), Vec::new()], Vec::new());
    for (index, setting) in settings().into_iter().enumerate() {
        let requests = lab.requests(&format!("honest {index}"), lab.settings.size.honest_answers);
        let answers = Miner::Honest(setting).answer(lab, &requests)?;
        for ((dtype, reference), of_reference) in DTYPES.iter().zip(&mut references).zip(&mut by_reference) {
            let distances = lab.measure(reference, &requests, &answers)?;
            of_reference.push(found(lab, &lab.limits, &distances));
            if (*dtype, setting.dtype) == (Dtype::F32, Dtype::F32) {
                exact.push(found(lab, lab.exact_limits()?, &distances));
            }
        }
    }
    let mut figures = Vec::new();
    for (dtype, of_reference) in DTYPES.iter().zip(&by_reference) {
        let (rejected, audits) = totals(of_reference);
        let what = format!("honest answers rejected, checked in {dtype}");
        figures.push(Figure::new(what, share(rejected, audits), audits));
    }
    figures.extend(bounded("f32 and bf16 admitted", &by_reference.concat()));
    figures.extend(bounded("f32 alone admitted", &exact));
    Ok(Row {
        id: "VER-1",
        title: "honest answers over f32 and bf16, 1 and 2 threads, 1, 8 and 32 at a time",
        figures,
    })
}

/// The figures that are held against bounds.
fn bounded(policy: &str, found: &[Found]) -> [Figure; 2] {
    let (rejected, audits) = totals(found);
    let condemned = found.iter().filter(|found| found.is_condemned).count();
    [
        Figure::new(
            format!("honest answers rejected, {policy}"),
            share(rejected, audits),
            audits,
        )
        .bound(Bound::AtMost(FALSE_ALARMS_MAX)),
        Figure::new(
            format!("honest miners condemned, {policy}"),
            share(condemned, found.len()),
            found.len(),
        )
        .bound(Bound::AtMost(0.0)),
    ]
}

/// Every way in which an honest miner may hold the model.
pub(super) fn settings() -> Vec<Setting> {
    let of_dtype = |dtype| {
        [1, 2].into_iter().flat_map(move |threads| {
            [1, 8, 32].map(|slots| Setting {
                dtype,
                threads,
                slots,
            })
        })
    };
    DTYPES.into_iter().flat_map(of_dtype).collect()
}

/// Audits all answers of one miner in their order, with the newest ones taken together after each.
fn found(lab: &Lab, limits: &Limits, distances: &[Distances]) -> Found {
    let tallies = lab.audits(limits, distances, "honest audits");
    let newest = |end: usize| &tallies[end.saturating_sub(AUDITS_KEPT)..end];
    Found {
        audits: tallies.len(),
        rejected: tallies
            .iter()
            .filter(|tally| limits.rejection(tally).is_some())
            .count(),
        is_condemned: (1..=tallies.len()).any(|end| limits.conviction(newest(end)).is_some()),
    }
}

fn totals(all: &[Found]) -> (usize, usize) {
    let sum = |of: fn(&Found) -> usize| all.iter().map(of).sum();
    (sum(|found| found.rejected), sum(|found| found.audits))
}

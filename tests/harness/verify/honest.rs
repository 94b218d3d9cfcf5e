//! VER-1: honest answers, over number formats, threads and batch shapes, are not taken for others.

use agon_model::{Distances, Dtype};
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
    let mut figures = Vec::new();
    let mut all = Vec::new();
    for reference in DTYPES {
        let mut verifier = lab.reference(reference)?;
        let mut of_reference = Vec::new();
        for (index, setting) in settings().into_iter().enumerate() {
            let requests = lab.requests(&format!("honest {index}"), lab.settings.size.honest_answers);
            let answers = Miner::Honest(setting).answer(lab, &requests)?;
            let distances = lab.measure(&mut verifier, &requests, &answers)?;
            of_reference.push(found(lab, &distances));
        }
        let (rejected, audits) = totals(&of_reference);
        let what = format!("honest answers rejected, checked in {reference}");
        figures.push(Figure::new(what, share(rejected, audits), audits));
        all.extend(of_reference);
    }
    let (rejected, audits) = totals(&all);
    let rejected = Figure::new("honest answers rejected", share(rejected, audits), audits);
    figures.push(rejected.bound(Bound::AtMost(FALSE_ALARMS_MAX)));
    let condemned = all.iter().filter(|found| found.is_condemned).count();
    let condemned = Figure::new("honest miners condemned", share(condemned, all.len()), all.len());
    figures.push(condemned.bound(Bound::AtMost(0.0)));
    Ok(Row {
        id: "VER-1",
        title: "honest answers over f32 and bf16, 1 and 2 threads, 1, 8 and 32 at a time",
        figures,
    })
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
fn found(lab: &Lab, distances: &[Distances]) -> Found {
    let tallies = lab.audits(distances, "honest audits");
    let newest = |end: usize| &tallies[end.saturating_sub(AUDITS_KEPT)..end];
    Found {
        audits: tallies.len(),
        rejected: tallies
            .iter()
            .filter(|tally| lab.limits.rejection(tally).is_some())
            .count(),
        is_condemned: (1..=tallies.len()).any(|end| lab.limits.conviction(newest(end)).is_some()),
    }
}

fn totals(all: &[Found]) -> (usize, usize) {
    let sum = |of: fn(&Found) -> usize| all.iter().map(of).sum();
    (sum(|found| found.rejected), sum(|found| found.audits))
}

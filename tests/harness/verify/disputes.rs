//! VER-7: a validator that accuses an honest miner loses, and one that accuses a cheat wins.
//!
//! The accused answers are measured again by two judges that the draw chose among validators of different number
//! formats. What the loser pays is the ledger's and not measured here.

use agon_model::Dtype;
use agon_scoring::dispute::{Verdict, judges, verdict};
use agon_scoring::verify::Tally;

use super::figure::{Bound, Figure, Row};
use super::honest;
use super::lab::Lab;
use super::miner::Miner;
use super::stats::share;

/// Accusations of each kind.
const ACCUSED: usize = 100;
/// Answers that an accusation names.
const ANSWERS: usize = 4;
/// Validators with a permit; those with an even UID hold the model in f32, the others in bf16.
const VALIDATORS: [u16; 8] = [0, 1, 2, 3, 4, 5, 6, 7];
/// Who accuses, and the UID of the accused.
const ACCUSER: u16 = 0;
const ACCUSED_UID: u16 = 100;

pub(super) fn row(lab: &Lab) -> anyhow::Result<Row> {
    let settings = honest::settings();
    let per_setting = ACCUSED.div_ceil(settings.len());
    let mut honest = Vec::new();
    for (index, setting) in settings.into_iter().enumerate() {
        honest.extend(verdicts(lab, Miner::Honest(setting), per_setting, index)?);
    }
    honest.truncate(ACCUSED);
    let cheats = verdicts(lab, Miner::Quantised(4), ACCUSED, 0)?;
    let count = |verdicts: &[Verdict], wanted| verdicts.iter().filter(|&&found| found == wanted).count();
    let figure = |what: &str, hits| Figure::new(what, share(hits, ACCUSED), ACCUSED);
    Ok(Row {
        id: "VER-7",
        title: "accusations by one validator, judged by two that are drawn",
        figures: vec![
            figure("honest miners cleared", count(&honest, Verdict::Dismissed)).bound(Bound::AtLeast(1.0)),
            figure(
                "accusations of 4-bit weights upheld",
                count(&cheats, Verdict::Upheld),
            ),
        ],
    })
}

/// How disputes about one kind of miner end.
fn verdicts(lab: &Lab, miner: Miner, count: usize, index: usize) -> anyhow::Result<Vec<Verdict>> {
    let requests = lab.requests(&format!("disputes {index}"), count * ANSWERS);
    let answers = miner.answer(lab, &requests)?;
    let measured = |dtype| -> anyhow::Result<Vec<Tally>> {
        let distances = lab.measure(&mut lab.reference(dtype)?, &requests, &answers)?;
        Ok(lab.audits(&lab.limits, &distances, "disputes"))
    };
    let of_formats = [measured(Dtype::F32)?, measured(Dtype::Bf16)?];
    let judge = |dispute: usize| {
        let output = lab.secret(&format!("judges {miner:?} {dispute}"));
        let drawn = judges(&output, &VALIDATORS, ACCUSER, ACCUSED_UID).expect("there are seven others");
        let named = dispute * ANSWERS..(dispute + 1) * ANSWERS;
        let reruns = drawn.map(|uid| Some(of_formats[usize::from(uid % 2)][named.clone()].to_vec()));
        verdict(&lab.limits, &reruns)
    };
    Ok((0..count).map(judge).collect())
}

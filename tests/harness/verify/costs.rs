//! VER-6: what verification costs: bytes on the wire, the miner's time for codes, the validator's time for audits.
//!
//! Times are of this process on this machine, all in one run, and only their ratios are held against bounds.

use std::time::Instant;

use agon_model::{Answer, CODE_BYTES, Dtype, Request, activation_code};
use agon_protocol::grpc::v1;
use agon_protocol::message::{OpenedWindow, WINDOW_TOKENS};
use prost::Message as _;

use super::figure::{Bound, Figure, Row};
use super::lab::{ANSWER_TOKENS, Lab, Setting, generate};
use super::stats::mean;

/// Bytes with each token that may be sent.
const TOKEN_BYTES_MAX: f64 = 16.0;
/// Share of a miner's time that codes may take.
const CODES_SHARE_MAX: f64 = 0.03;
/// Share of the time of generation that a validator may take.
const VALIDATOR_SHARE_MAX: f64 = 0.05;
/// Share of answers that are audited unless the operator says otherwise.
const AUDITED_SHARE: f64 = 0.05;
/// Passes over the same work, of which the quickest counts: the machine has other things to do.
const PASSES: usize = 3;
/// Answers that are timed.
const ANSWERS: usize = 64;
/// Width of the state whose codes are timed beside the model's own: that of models of a few billion parameters.
const WIDE: usize = 4_096;

pub(super) fn row(lab: &Lab) -> anyhow::Result<Row> {
    let mut figures = bytes(lab)?;
    figures.extend(times(lab, &lab.requests("costs", ANSWERS))?);
    Ok(Row {
        id: "VER-6",
        title: "bytes and time",
        figures,
    })
}

/// Bytes that travel for verification alone, the tokens' ids among them, since a text alone needs none: the part of
/// the row that is no matter of time.
///
/// # Errors
///
/// When the model cannot answer.
pub fn bytes(lab: &Lab) -> anyhow::Result<Vec<Figure>> {
    let requests = lab.requests("costs", ANSWERS);
    let answers = generate(&lab.settings.model, Setting::EXACT, &requests)?;
    let sent = |answer: &Answer, windows: f64| {
        let ids = v1::Tokens {
            ids: answer.trace.tokens.clone(),
        };
        (ids.encoded_len() as f64 + windows * window_bytes(answer)) / answer.trace.tokens.len() as f64
    };
    let per_answer =
        |windows: f64| -> Vec<f64> { answers.iter().map(|answer| sent(answer, windows)).collect() };
    let count = answers.len();
    Ok(vec![
        Figure::plain(
            "bytes a token, one answer in 20 audited",
            mean(&per_answer(AUDITED_SHARE)).value,
            count,
        )
        .bound(Bound::AtMost(TOKEN_BYTES_MAX)),
        Figure::plain(
            "bytes a token, this answer audited",
            mean(&per_answer(1.0)).value,
            count,
        )
        .bound(Bound::AtMost(TOKEN_BYTES_MAX)),
        Figure::plain("bytes of code a token that a miner keeps", CODE_BYTES as f64, 1),
    ])
}

/// Bytes of an answer's first window as it is opened on the wire.
fn window_bytes(answer: &Answer) -> f64 {
    let opened = OpenedWindow::open(&answer.trace.codes, 0);
    opened.map_or(0.0, |window| v1::Window::from(&window).encoded_len() as f64)
}

fn times(lab: &Lab, requests: &[Request]) -> anyhow::Result<Vec<Figure>> {
    let one = Setting {
        slots: 1,
        ..Setting::EXACT
    };
    let mut reference = lab.reference(Dtype::F32)?;
    let answers = generate(&lab.settings.model, Setting::EXACT, requests)?;
    let tokens = (requests.len() * ANSWER_TOKENS as usize) as f64;
    let checking = quickest(|| lab.measure(&mut reference, requests, &answers).map(|_| ()))?;
    let mut figures = Vec::new();
    for setting in [one, Setting::EXACT] {
        let generating = quickest(|| generate(&lab.settings.model, setting, requests).map(|_| ()))?;
        let at_a_time = format!("{} at a time", setting.slots);
        figures.push(
            Figure::plain(
                format!("codes' share of a miner's time, {at_a_time}"),
                code_seconds(lab.width()?) * tokens / generating,
                ANSWERS,
            )
            .bound(Bound::AtMost(CODES_SHARE_MAX)),
        );
        figures.push(
            Figure::plain(
                format!("validator's share, one answer in 20 audited, {at_a_time}"),
                AUDITED_SHARE * checking / generating,
                ANSWERS,
            )
            .bound(Bound::AtMost(VALIDATOR_SHARE_MAX)),
        );
        figures.push(Figure::plain(
            format!("time of an audit by that of its answer, {at_a_time}"),
            checking / generating,
            ANSWERS,
        ));
    }
    figures.push(Figure::plain(
        format!("microseconds for the code of a state of {WIDE}"),
        code_seconds(WIDE) * 1e6,
        1,
    ));
    Ok(figures)
}

/// Seconds of the quickest of some passes.
fn quickest(mut work: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut least = f64::INFINITY;
    for _ in 0..PASSES {
        let begun = Instant::now();
        work()?;
        least = least.min(begun.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// Seconds that the code of one state takes.
fn code_seconds(width: usize) -> f64 {
    let states = WINDOW_TOKENS * 64;
    let numbers: Vec<f32> = (0..width + states)
        .map(|index| (index as f32 * 0.7).sin())
        .collect();
    let begun = Instant::now();
    for start in 0..states {
        std::hint::black_box(activation_code(&numbers[start..start + width]));
    }
    begun.elapsed().as_secs_f64() / states as f64
}

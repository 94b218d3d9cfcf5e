//! Ways to answer: what the task asks for, and what is cheaper.

use agon_model::{Answer, Request, Verifier};

use super::finetune::fine_tune;
use super::lab::{Lab, Setting, claim, generate};
use crate::quantise::{perturb, quantise};

/// How far, by the root of the mean square, weights are moved, in thousandths.
const MOVED_MILLI: u32 = 30;
/// What another template puts before the prompt: words that the shipped models know.
const TEMPLATE: &str = "Read the story and answer with one word. ";

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miner {
    /// The pinned model, held so.
    Honest(Setting),
    /// The pinned model with weights of so many bits.
    Quantised(u32),
    /// The pinned model, trained on.
    FineTuned,
    /// The pinned model with all weights moved by chance, a little.
    Moved,
    /// A smaller model.
    Smaller,
    /// The pinned model, with other words around the prompt.
    OtherTemplate,
    /// The pinned model, which reads the second half of the prompt only.
    Truncated,
    /// A smaller model, with codes that the pinned one computed from its tokens.
    Drafting,
}

impl Miner {
    /// For people.
    pub(super) fn name(self) -> String {
        match self {
            Self::Honest(setting) => format!(
                "honest, {} {} threads {} at a time",
                setting.dtype, setting.threads, setting.slots
            ),
            Self::Quantised(bits) => format!("{bits}-bit weights"),
            Self::FineTuned => "fine-tune".to_owned(),
            Self::Moved => format!("weights moved by {} %", f64::from(MOVED_MILLI) / 10.0),
            Self::Smaller => "smaller rung".to_owned(),
            Self::OtherTemplate => "other template".to_owned(),
            Self::Truncated => "truncated context".to_owned(),
            Self::Drafting => "smaller rung drafts, pinned model's codes".to_owned(),
        }
    }

    /// Answers requests.
    pub(super) fn answer(self, lab: &Lab, requests: &[Request]) -> anyhow::Result<Vec<Answer>> {
        let pinned = &lab.settings.model;
        match self {
            Self::Honest(setting) => generate(pinned, setting, requests),
            Self::Quantised(bits) => {
                let dir = lab.copy(&format!("{bits}-bit"), |from, to| quantise(from, to, bits))?;
                generate(&dir, Setting::EXACT, requests)
            }
            Self::FineTuned => generate(&lab.copy("fine-tune", fine_tune)?, Setting::EXACT, requests),
            Self::Moved => {
                let seed = lab.settings.seed;
                let dir = lab.copy("moved", |from, to| perturb(from, to, MOVED_MILLI, seed))?;
                generate(&dir, Setting::EXACT, requests)
            }
            Self::Smaller => generate(&lab.settings.smaller, Setting::EXACT, requests),
            Self::OtherTemplate => {
                let template = |prompt: &str| format!("{TEMPLATE}{prompt}");
                generate(pinned, Setting::EXACT, &reworded(requests, template))
            }
            Self::Truncated => generate(pinned, Setting::EXACT, &reworded(requests, second_half)),
            Self::Drafting => {
                let drafts = generate(&lab.settings.smaller, Setting::EXACT, requests)?;
                let mut pinned = lab.reference(Setting::EXACT.dtype)?;
                proven(&mut pinned, requests, drafts)
            }
        }
    }
}

fn reworded(requests: &[Request], word: impl Fn(&str) -> String) -> Vec<Request> {
    let reword = |request: &Request| Request {
        prompt: word(&request.prompt),
        ..request.clone()
    };
    requests.iter().map(reword).collect()
}

/// The later half of the words.
fn second_half(prompt: &str) -> String {
    let words: Vec<&str> = prompt.split(' ').collect();
    words[words.len() / 2..].join(" ")
}

/// Puts the pinned model's codes in place of those of the model that wrote the drafts.
fn proven(
    pinned: &mut Verifier,
    requests: &[Request],
    mut drafts: Vec<Answer>,
) -> anyhow::Result<Vec<Answer>> {
    for (request, draft) in requests.iter().zip(&mut drafts) {
        let codes = pinned.codes(&claim(request, draft, &[]))?;
        draft.trace.codes = codes;
    }
    Ok(drafts)
}

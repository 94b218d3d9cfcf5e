//! `agon-miner fit`: whether a model fits a device and how fast it can be, said before it is fetched.

use std::fmt::Write;

use agon_model::{DeviceProbe, Need, Plan};
use serde_json::{Value, json};

/// What was found out about a model and a device.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// The model, as it was asked for.
    pub model: String,
    /// What the model is.
    pub plan: Plan,
    /// What it needs.
    pub need: Need,
    /// What the device has.
    pub device: DeviceProbe,
}

/// The answer in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As asked for.
    Fits,
    /// With so many slots of the same context.
    FewerSlots(u64),
    /// With one slot of so many tokens.
    ShorterContext(u64),
    /// Not even its parameters, or no context worth serving.
    TooLarge,
    /// The system does not say how much memory is free.
    Unknown,
}

/// Share of the free memory that is counted on: other programs take some, and allocators lose some. In percent.
const USABLE_PERCENT: u64 = 95;
/// A context below this holds no challenge with its answer.
const CONTEXT_LEAST: u64 = 256;

/// What of so much free memory is counted on.
#[must_use]
pub const fn usable_bytes(free_bytes: u64) -> u64 {
    free_bytes / 100 * USABLE_PERCENT
}

impl Fit {
    /// Whether it fits.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let Some(free) = self.device.free_bytes else {
            return Verdict::Unknown;
        };
        let usable = usable_bytes(free);
        let slots = self.need.slots_that_fit(usable);
        let context = self.need.context_that_fits(usable);
        if self.need.bytes() <= usable {
            Verdict::Fits
        } else if slots > 0 {
            Verdict::FewerSlots(slots)
        } else if context >= CONTEXT_LEAST.min(self.need.context_tokens as u64) {
            Verdict::ShorterContext(context)
        } else {
            Verdict::TooLarge
        }
    }

    /// Tokens each second, at most, of one request and of all slots together, with contexts half full.
    #[must_use]
    pub fn speeds(&self) -> (f64, f64) {
        let half = self.need.context_tokens / 2;
        let of = |requests: usize| {
            self.plan
                .tokens_per_second(&self.need, requests, half, self.device.bandwidth)
        };
        (of(1), of(self.need.slots))
    }

    /// The report for people, some lines.
    #[must_use]
    pub fn text(&self) -> String {
        let Fit {
            model,
            plan,
            need,
            device,
        } = self;
        let (one, all) = self.speeds();
        let mut text = format!("{model} {}\n", self.verdict_text());
        let mut line = |words: std::fmt::Arguments<'_>| {
            // Writing to a text cannot fail.
            let _ = writeln!(text, "  {words}");
        };
        line(format_args!(
            "{}, {:.1} M parameters, context of {} tokens, {} in files",
            plan.architecture,
            plan.parameters as f64 / 1e6,
            plan.context_tokens,
            gigabytes(plan.stored_bytes)
        ));
        line(format_args!(
            "needs {}: {} of parameters in {}, {} of cache ({} slots of {} tokens), {} to work",
            gigabytes(need.bytes()),
            gigabytes(need.parameter_bytes),
            need.dtype,
            gigabytes(need.cache_bytes),
            need.slots,
            need.context_tokens,
            gigabytes(need.working_bytes)
        ));
        line(format_args!(
            "{} has {} free of {}, read at {:.1} GB/s",
            device.device,
            device.free_bytes.map_or_else(|| "?".to_owned(), gigabytes),
            device.total_bytes.map_or_else(|| "?".to_owned(), gigabytes),
            device.bandwidth / 1e9
        ));
        line(format_args!(
            "memory allows at most {one:.1} tokens/s for one request, {all:.0} tokens/s for {} together",
            need.slots
        ));
        text
    }

    fn verdict_text(&self) -> String {
        let device = &self.device.device;
        match self.verdict() {
            Verdict::Fits => format!("fits {device}"),
            Verdict::FewerSlots(slots) => format!("fits {device} with --slots {slots}"),
            Verdict::ShorterContext(context) => {
                format!("fits {device} with --slots 1 --context {context}")
            }
            Verdict::TooLarge => format!("does not fit {device}"),
            Verdict::Unknown => format!("may fit {device}, which does not say how much memory is free"),
        }
    }

    /// The report for programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let (one, all) = self.speeds();
        let (word, slots, context) = match self.verdict() {
            Verdict::Fits => (
                "fits",
                Some(self.need.slots as u64),
                Some(self.need.context_tokens as u64),
            ),
            Verdict::FewerSlots(slots) => ("fewer_slots", Some(slots), Some(self.need.context_tokens as u64)),
            Verdict::ShorterContext(context) => ("shorter_context", Some(1), Some(context)),
            Verdict::TooLarge => ("too_large", None, None),
            Verdict::Unknown => ("unknown", None, None),
        };
        json!({
            "model": self.model,
            "verdict": word,
            "slots_that_fit": slots,
            "context_that_fits": context,
            "architecture": self.plan.architecture.to_string(),
            "parameters": self.plan.parameters,
            "context_tokens": self.plan.context_tokens,
            "stored_bytes": self.plan.stored_bytes,
            "dtype": self.need.dtype.to_string(),
            "needed_bytes": self.need.bytes(),
            "parameter_bytes": self.need.parameter_bytes,
            "cache_bytes": self.need.cache_bytes,
            "working_bytes": self.need.working_bytes,
            "device": self.device.device,
            "free_bytes": self.device.free_bytes,
            "total_bytes": self.device.total_bytes,
            "bandwidth_bytes_per_second": self.device.bandwidth.round(),
            "tokens_per_second_one": round(one),
            "tokens_per_second_all": round(all),
        })
    }
}

/// Three digits are more than the bound is worth.
fn round(speed: f64) -> f64 {
    (speed * 10.0).round() / 10.0
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use agon_model::{DeviceChoice, LoadOptions};
    use std::path::Path;

    /// A shipped model on a device with so many bytes free.
    fn fit(free_bytes: Option<u64>) -> Fit {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/large");
        let plan = Plan::of_folder(&dir).unwrap();
        let options = LoadOptions {
            device: DeviceChoice::Cpu,
            slots: 4,
            context_tokens_max: 4096,
            ..LoadOptions::default()
        };
        let device = DeviceProbe {
            device: "cpu".to_owned(),
            free_bytes,
            total_bytes: free_bytes,
            bandwidth: 1e10,
        };
        Fit {
            model: "large".to_owned(),
            need: plan.need(&options).unwrap(),
            plan,
            device,
        }
    }

    #[track_caller]
    fn check(free_bytes: Option<u64>, verdict: Verdict, text: &str) {
        let fit = fit(free_bytes);
        assert_eq!(fit.verdict(), verdict);
        assert_eq!(fit.text().lines().next(), Some(text));
    }

    #[test]
    fn the_verdict_says_what_would_fit_instead() {
        let need = fit(None).need;
        let slot_bytes = need.cache_bytes / need.slots as u64;
        let free = |slots: u64| {
            let used = need.parameter_bytes + need.working_bytes + slots * slot_bytes;
            Some((used / USABLE_PERCENT + 1) * 100)
        };
        check(free(4), Verdict::Fits, "large fits cpu");
        check(free(2), Verdict::FewerSlots(2), "large fits cpu with --slots 2");
        check(Some(0), Verdict::TooLarge, "large does not fit cpu");
        check(
            None,
            Verdict::Unknown,
            "large may fit cpu, which does not say how much memory is free",
        );
    }

    #[test]
    fn more_requests_together_are_faster_than_one() {
        let (one, all) = fit(None).speeds();
        assert!(all > 2.0 * one && one > 0.0);
        assert_eq!(fit(None).json()["verdict"], "unknown");
    }
}

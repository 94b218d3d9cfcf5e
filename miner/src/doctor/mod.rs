//! `agon-miner doctor`: whether everything that serving needs is there, a line for each, with the next step.
//!
//! | module | looks at |
//! | --- | --- |
//! | [`machine`] | libtorch, device, memory, models, expected speed |
//! | [`network`] | ledger, clock, registration, validators, balance, the axon and whether it can be reached |
//!
//! Nothing is changed, loaded or fetched, and one check that fails does not hide the others.

pub mod machine;
pub mod network;

use std::fmt::Write;

use serde_json::{Value, json};

/// How one thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// As it should be.
    Ok,
    /// Serving works, but something is worth a look.
    Warn,
    /// Serving does not work like this.
    Fail,
}

impl Standing {
    /// Its name in the report.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it stands.
    pub standing: Standing,
    /// What was found.
    pub found: String,
    /// What to do, unless it is as it should be.
    pub next: Option<String>,
}

impl Check {
    /// As it should be.
    #[must_use]
    pub fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            standing: Standing::Ok,
            found: found.into(),
            next: None,
        }
    }

    /// Worth a look.
    #[must_use]
    pub fn warn(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            name,
            standing: Standing::Warn,
            found: found.into(),
            next: Some(next.into()),
        }
    }

    /// In the way.
    #[must_use]
    pub fn fail(name: &'static str, found: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            name,
            standing: Standing::Fail,
            found: found.into(),
            next: Some(next.into()),
        }
    }
}

/// All that was looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report(pub Vec<Check>);

impl Report {
    /// How many checks stand so.
    #[must_use]
    pub fn count(&self, standing: Standing) -> usize {
        self.0.iter().filter(|check| check.standing == standing).count()
    }

    /// For people: a line for each check, and the next step under it.
    #[must_use]
    pub fn text(&self) -> String {
        let width = self.0.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let mut text = String::new();
        for check in &self.0 {
            // Writing to a text cannot fail.
            let _ = writeln!(
                text,
                "{:4}  {:width$}  {}",
                check.standing.name(),
                check.name,
                check.found
            );
            if let Some(next) = &check.next {
                let _ = writeln!(text, "{:4}  {:width$}  -> {next}", "", "");
            }
        }
        text
    }

    /// For programs.
    #[must_use]
    pub fn json(&self) -> Value {
        let checks = self.0.iter().map(|check| {
            json!({
                "check": check.name,
                "standing": check.standing.name(),
                "found": check.found,
                "next": check.next,
            })
        });
        json!({
            "ok": self.count(Standing::Fail) == 0,
            "warnings": self.count(Standing::Warn),
            "failures": self.count(Standing::Fail),
            "checks": checks.collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_for_each_check_how_it_stands_and_what_to_do() {
        let report = Report(vec![
            Check::ok("clock", "12 ms behind the node"),
            Check::warn("permits", "nobody may ask", "wait"),
            Check::fail("port", "closed", "open it"),
        ]);
        let text = "ok    clock    12 ms behind the node\n\
                    warn  permits  nobody may ask\n               -> wait\n\
                    fail  port     closed\n               -> open it\n";
        assert_eq!(report.text(), text);
        let json = report.json();
        assert_eq!(
            (json["ok"].clone(), json["failures"].clone()),
            (json!(false), json!(1))
        );
        assert_eq!(json["checks"][2]["next"], "open it");
    }
}

//! Whether the weights of every validator follow from its evidence: recomputed tempo by tempo, as `agon audit` does.

use std::collections::BTreeMap;

use agon_ledger_client::LedgerClient;
use agon_protocol::id::{Hotkey, Netuid};
use serde::Serialize;

use super::attacks::Attack;
use super::stage::Actor;
use crate::audit::evidence::{EQUAL, NO_EVIDENCE, NOT_EQUAL, Source, Verdict, recomputed};
use crate::output::{Align, Table};

/// What was found of one validator over the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Its name in the localnet.
    pub name: String,
    /// Its key.
    pub hotkey: String,
    /// The attack that it joined for, if it did.
    pub attack: Option<&'static str>,
    /// `equal` when the evidence of every tempo is, `not equal` when that of one is not, `no evidence` when it committed
    /// to none.
    pub verdict: &'static str,
    /// Tempos whose evidence is equal.
    pub equal: usize,
    /// Tempos of which it has no evidence that could be recomputed.
    pub without: usize,
    /// Tempos in whose evidence the ledger found a forgery.
    pub forged: Vec<u64>,
    /// The first line that does not follow, if one does not.
    pub false_line: Option<FalseLine>,
}

/// A line of evidence that does not follow from the rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FalseLine {
    /// Tempo that the evidence is of.
    pub tempo: u64,
    /// Where, as in `round 3, item 0, uid 7: the judgement`.
    pub line: String,
    /// What the evidence says.
    pub found: String,
    /// What follows from the rules.
    pub expected: String,
    /// The step by which the ledger can be shown it, if there is one.
    pub forgery: Option<&'static str>,
}

/// The audits of a run.
#[derive(Default)]
pub struct Audits {
    tempos: BTreeMap<u64, Vec<Verdict>>,
}

impl std::fmt::Debug for Audits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tempos.keys()).finish()
    }
}

impl Audits {
    /// Recomputes the evidence of every validator that committed to some of `tempo`.
    ///
    /// # Errors
    ///
    /// When the ledger does not answer.
    pub async fn audit(&mut self, client: &LedgerClient, netuid: Netuid, tempo: u64) -> anyhow::Result<()> {
        let source = Source::Node(client.clone());
        let (verdicts, _) = recomputed(&source, (netuid, tempo), |_| true, None).await?;
        self.tempos.insert(tempo, verdicts);
        Ok(())
    }

    /// What was found of each validator among `actors`.
    #[must_use]
    pub fn of(&self, actors: &[Actor]) -> Vec<Audit> {
        let validators = actors.iter().filter(|actor| !actor.is_miner());
        let audit = |actor: &Actor| {
            let attack = actor.member.attack.map(Attack::name);
            self.of_validator(&actor.member.name, actor.hotkey, attack)
        };
        validators.map(audit).collect()
    }

    fn of_validator(&self, name: &str, hotkey: Hotkey, attack: Option<&'static str>) -> Audit {
        let hotkey = hotkey.to_string();
        let verdicts: Vec<(u64, &Verdict)> = self
            .tempos
            .iter()
            .flat_map(|(tempo, verdicts)| verdicts.iter().map(|verdict| (*tempo, verdict)))
            .filter(|(_, verdict)| verdict.validator == hotkey)
            .collect();
        let count = |wanted| verdicts.iter().filter(|(_, it)| it.verdict == wanted).count();
        let (equal, different) = (count(EQUAL), count(NOT_EQUAL));
        let false_line = verdicts.iter().find(|(_, verdict)| verdict.verdict == NOT_EQUAL);
        let forged = verdicts.iter().filter(|(_, verdict)| verdict.ledger == "forged");
        Audit {
            name: name.to_owned(),
            attack,
            verdict: match (equal, different) {
                (_, 1..) => NOT_EQUAL,
                (1.., 0) => EQUAL,
                (0, 0) => NO_EVIDENCE,
            },
            equal,
            without: self.tempos.len() - equal - different,
            forged: forged.map(|(tempo, _)| *tempo).collect(),
            false_line: false_line.map(|(tempo, verdict)| FalseLine::of(*tempo, verdict)),
            hotkey,
        }
    }
}

impl FalseLine {
    fn of(tempo: u64, verdict: &Verdict) -> Self {
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        Self {
            tempo,
            line: text(&verdict.line),
            found: text(&verdict.found),
            expected: text(&verdict.expected),
            forgery: verdict.forgery,
        }
    }
}

/// The audits for people.
#[must_use]
pub fn table(audits: &[Audit]) -> Table {
    let mut table = Table::new(&[
        ("validator", Align::Left),
        ("evidence", Align::Left),
        ("equal", Align::Right),
        ("without", Align::Right),
        ("slashed for", Align::Left),
        ("first line that does not follow", Align::Left),
    ]);
    for audit in audits {
        let forged: Vec<String> = audit.forged.iter().map(u64::to_string).collect();
        let line = audit.false_line.as_ref().map(|it| {
            format!(
                "tempo {}, {}: {}, not {}",
                it.tempo, it.line, it.found, it.expected
            )
        });
        table.row([
            audit.name.clone(),
            audit.verdict.to_owned(),
            audit.equal.to_string(),
            audit.without.to_string(),
            match forged.is_empty() {
                true => "-".to_owned(),
                false => format!("tempo {}", forged.join(", ")),
            },
            line.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Hotkey = Hotkey([7; 32]);

    fn verdict(verdict: &'static str, line: Option<&str>) -> Verdict {
        Verdict {
            line: line.map(str::to_owned),
            ..Verdict::blank(KEY, verdict)
        }
    }

    fn audits(tempos: Vec<Vec<Verdict>>) -> Audit {
        let audits = Audits {
            tempos: (3..).zip(tempos).collect(),
        };
        audits.of_validator("validator-0", KEY, None)
    }

    #[test]
    fn who_never_committed_has_no_evidence() {
        let audit = audits(vec![Vec::new(), Vec::new()]);
        assert_eq!((audit.verdict, audit.equal, audit.without), (NO_EVIDENCE, 0, 2));
    }

    #[test]
    fn one_false_tempo_makes_the_run_unequal_and_its_first_line_is_named() {
        let (equal, unequal) = (verdict(EQUAL, None), |line| verdict(NOT_EQUAL, Some(line)));
        let audit = audits(vec![vec![equal.clone()], vec![unequal("a")], vec![unequal("b")]]);
        assert_eq!((audit.verdict, audit.equal, audit.without), (NOT_EQUAL, 1, 0));
        let line = audit.false_line.unwrap();
        assert_eq!((line.tempo, line.line.as_str()), (4, "a"));
        let honest = audits(vec![vec![equal], Vec::new()]);
        assert_eq!(
            (honest.verdict, honest.without, honest.false_line),
            (EQUAL, 1, None)
        );
    }
}

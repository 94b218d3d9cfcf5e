//! The audit of an export: its blocks are replayed on its state, and every figure is compared.
//!
//! An audit needs the export and this code, no node and no network. It says "equal" only if every block follows the
//! one before, holds applied transactions only and leads to the root in its header, if every certificate has the
//! power it needs, and, where the export holds the state after the last block, if that is the replayed one entry by
//! entry. Otherwise it says where the two first part: at which block, and at which entry where that can be known.
//!
//! What it cannot say: whether the export is of the ledger one means. Compare a hash of the report with one from a
//! source that is trusted; [`Terms::trust`] does.

use std::cmp::Ordering;
use std::ops::RangeInclusive;
use std::path::Path;

use agon_ledger_state::{State, entry_words};
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::FinalBlock;
use agon_runtime::flags::sentence;
use serde::Serialize;
use thiserror::Error;

use crate::export::{Anchor, ExportError, Part, Reader, Step, Watch};
use crate::follow::{self, Head, Position, Power, Reject};

/// Letters of a value around the first one that differs.
const SHOWN_CHARS: usize = 240;

/// What an audit is asked.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// Heights of the blocks that have to be in the export; all that are there when `None`.
    pub blocks: Option<RangeInclusive<u64>>,
    /// The hash of a block that is known to be of the ledger: one of those audited, or the one before.
    pub trust: Option<Digest>,
}

/// What an audit found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether everything is as the export says.
    pub equal: bool,
    /// Name of the network.
    pub name: String,
    /// Digest of the genesis, in hex.
    pub genesis: String,
    /// The block before the audited ones.
    pub start: Place,
    /// The last block that is as it should be.
    pub end: Place,
    /// Blocks replayed.
    pub blocks: u64,
    /// Transactions in them.
    pub transactions: u64,
    /// Epochs that they ran.
    pub epochs: u64,
    /// What the committee signed; `None` where one node decides alone.
    pub certificates: Option<Certificates>,
    /// Entries of the state after the last block that were compared one by one; `None` where the export does not
    /// hold that state.
    pub entries_compared: Option<u64>,
    /// Whether the hash that was trusted is one of those seen; `None` when none was given.
    pub trusted: Option<bool>,
    /// Where export and replay first part.
    pub difference: Option<Difference>,
}

/// A block and the root after it. Digests are in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Height of the block.
    pub height: u64,
    /// Its hash.
    pub hash: String,
    /// Root of the state after it.
    pub state_root: String,
}

/// Certificates that were checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Certificates {
    /// How many.
    pub checked: u64,
    /// The power behind the one with the smallest share.
    pub least: Power,
}

/// Where export and replay part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Height of the first block that is not as it should be.
    pub height: u64,
    /// What is wrong with it.
    pub reason: String,
    /// The first entry that differs, where the export holds entries to compare with.
    pub entry: Option<EntryDifference>,
}

/// An entry that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntryDifference {
    /// After which block the entries were compared.
    pub height: u64,
    /// The key in hex.
    pub key: String,
    /// What it is of.
    pub entry: String,
    /// What the replay has; `None` for no such entry.
    pub replayed: Option<String>,
    /// What the export has; `None` for no such entry.
    pub exported: Option<String>,
}

/// Why there is no verdict.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AuditError {
    /// The export cannot be read.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// The export has no blocks.
    #[error("the export has no blocks to replay: make one with `agon-node export --blocks FROM..TO`")]
    NoBlocks,
    /// The state before the blocks is missing.
    #[error("the blocks begin at {first}, but the export has no state after block {}", first.0.saturating_sub(1))]
    NoState {
        /// The first block.
        first: BlockNumber,
    },
    /// Other blocks than those asked for.
    #[error(
        "the export holds blocks {} to {}, not {} to {}: export those, or ask for these",
        found.start(), found.end(), asked.start(), asked.end()
    )]
    OtherBlocks {
        /// Those that are there.
        found: RangeInclusive<u64>,
        /// Those that were asked for.
        asked: RangeInclusive<u64>,
    },
}

/// Replays the export at `path`.
///
/// # Errors
///
/// [`AuditError`] when there is no verdict; a difference is a verdict.
pub fn audit(path: &Path, terms: &Terms, watch: Watch<'_>) -> Result<Report, AuditError> {
    audit_to_state(path, terms, watch).map(|(report, _)| report)
}

/// As [`audit`], with the state after the last block where everything is as the export says.
///
/// # Errors
///
/// As [`audit`].
pub fn audit_to_state(
    path: &Path,
    terms: &Terms,
    watch: Watch<'_>,
) -> Result<(Report, Option<State>), AuditError> {
    let mut reader = Reader::open(path)?;
    let mut audit = match Audit::begin(&mut reader, terms, watch)? {
        Ok(audit) => audit,
        Err(report) => return Ok((*report, None)),
    };
    audit.replay(&mut reader, watch)?;
    audit.compare(&mut reader, watch)?;
    let state = audit.difference.is_none().then(|| audit.now.state.clone());
    Ok((audit.report(&reader), state))
}

/// An audit in progress.
struct Audit<'a> {
    terms: &'a Terms,
    heights: RangeInclusive<u64>,
    start: Head,
    /// Goes on by the headers' word after a difference, so that entries can be compared at the end.
    now: Position,
    /// The last block that is as it should be.
    good: Head,
    blocks: u64,
    transactions: u64,
    epochs: u64,
    certificates: Option<Certificates>,
    entries_compared: Option<u64>,
    is_trusted_seen: bool,
    difference: Option<Difference>,
    /// Whether the replay went on behind the difference, up to the last block.
    is_at_end: bool,
}

impl<'a> Audit<'a> {
    /// Reads the state before the blocks; a report instead where that state is no good.
    fn begin(
        reader: &mut Reader,
        terms: &'a Terms,
        watch: Watch<'_>,
    ) -> Result<Result<Self, Box<Report>>, AuditError> {
        let (start, first, last) = match reader.part()? {
            None => return Err(AuditError::NoBlocks),
            Some(Part::Blocks { first, last }) => (reader.begin().clone(), first, last),
            Some(Part::State(anchor)) => {
                let read = match reader.state(&anchor, watch) {
                    Err(error) if error.is_contradiction() => {
                        return Ok(Err(Box::new(bad_start(reader, &anchor, &error))));
                    }
                    read => read?,
                };
                match reader.part()? {
                    Some(Part::Blocks { first, last }) => (read.position, first, last),
                    _ => return Err(AuditError::NoBlocks),
                }
            }
        };
        if first != start.head.height.next() {
            return Err(AuditError::NoState { first });
        }
        let heights = first.0..=last.0;
        match &terms.blocks {
            Some(asked) if *asked != heights => {
                let (found, asked) = (heights, asked.clone());
                return Err(AuditError::OtherBlocks { found, asked });
            }
            _ => {}
        }
        Ok(Ok(Self {
            terms,
            heights,
            start: start.head,
            good: start.head,
            is_trusted_seen: terms.trust == Some(start.head.hash),
            now: start,
            blocks: 0,
            transactions: 0,
            epochs: 0,
            certificates: None,
            entries_compared: None,
            difference: None,
            is_at_end: true,
        }))
    }

    fn replay(&mut self, reader: &mut Reader, watch: Watch<'_>) -> Result<(), AuditError> {
        let total = self.heights.end() - self.heights.start() + 1;
        for done in 1..=total {
            let block = reader.block()?;
            match &self.difference {
                None => self.follow(&block),
                Some(_) if self.is_at_end => force(&mut self.now, &block),
                Some(_) => {}
            }
            let what = "blocks";
            watch(Step { what, done, total }).map_err(ExportError::from)?;
        }
        Ok(())
    }

    fn follow(&mut self, block: &FinalBlock) {
        let before = self.now.head;
        // The state of before, which is a cheap copy: a block that is rejected leaves nothing of use.
        let state = self.now.state.clone();
        let power = follow::check_certificate(&state, block);
        let followed = power.and_then(|power| self.now.follow(block).map(|begun| (power, begun)));
        match followed {
            Ok((power, begun)) => {
                self.good = self.now.head;
                self.blocks += 1;
                self.transactions += block.block.transactions.len() as u64;
                self.epochs += begun.epochs.len() as u64;
                self.is_trusted_seen |= self.terms.trust == Some(self.good.hash);
                self.count(power);
            }
            Err(reject) => {
                self.difference = Some(Difference {
                    height: before.height.next().0,
                    reason: sentence(&reject),
                    entry: None,
                });
                // After anything else the headers do not say how to go on.
                self.is_at_end = matches!(reject, Reject::StateRoot { .. } | Reject::NextCommittee { .. });
                if self.is_at_end {
                    self.now = Position { head: before, state };
                    force(&mut self.now, block);
                }
            }
        }
    }

    fn count(&mut self, power: Option<Power>) {
        let Some(power) = power else { return };
        let counted = self.certificates.get_or_insert(Certificates {
            checked: 0,
            least: power,
        });
        counted.checked += 1;
        if share_is_less(power, counted.least) {
            counted.least = power;
        }
    }

    /// Reads what follows the blocks, and compares the state after the last one.
    fn compare(&mut self, reader: &mut Reader, watch: Watch<'_>) -> Result<(), AuditError> {
        while let Some(part) = reader.part()? {
            match part {
                Part::State(anchor) => self.compare_state(reader, &anchor, watch)?,
                Part::Blocks { first, last } => {
                    for _ in first.0..=last.0 {
                        reader.block()?;
                    }
                }
            }
        }
        Ok(())
    }

    fn compare_state(
        &mut self,
        reader: &mut Reader,
        anchor: &Anchor,
        watch: Watch<'_>,
    ) -> Result<(), AuditError> {
        let is_last = anchor.height.0 == *self.heights.end();
        let compared = is_last && self.is_at_end;
        let state = compared.then_some(&self.now.state);
        let entry = first_difference(reader, anchor, state, watch)?;
        if !compared {
            return Ok(());
        }
        self.entries_compared = Some(anchor.entries);
        let head = anchor.head(reader.begin());
        let is_other_head = self.difference.is_none() && head != self.now.head;
        match (&mut self.difference, entry) {
            (Some(difference), entry) => difference.entry = entry,
            (difference, Some(entry)) => {
                *difference = Some(Difference {
                    height: anchor.height.0,
                    reason: String::from("the exported state is not the one that the blocks lead to"),
                    entry: Some(entry),
                });
            }
            (difference, None) if is_other_head => {
                *difference = Some(Difference {
                    height: anchor.height.0,
                    reason: format!(
                        "the exported state says it follows block {}, the last block is {}",
                        head.hash, self.now.head.hash
                    ),
                    entry: None,
                });
            }
            _ => {}
        }
        Ok(())
    }

    fn report(self, reader: &Reader) -> Report {
        Report {
            equal: self.difference.is_none(),
            name: reader.genesis().name.clone(),
            genesis: reader.genesis().digest().to_string(),
            start: place(&self.start),
            end: place(&self.good),
            blocks: self.blocks,
            transactions: self.transactions,
            epochs: self.epochs,
            certificates: self.certificates,
            entries_compared: self.entries_compared,
            trusted: self.terms.trust.map(|_| self.is_trusted_seen),
            difference: self.difference,
        }
    }
}

/// Goes on by the word of a header that the replay contradicts.
fn force(now: &mut Position, block: &FinalBlock) {
    let block = &block.block;
    let input = follow::input_of(&now.head, &now.state, block);
    now.state.apply(input);
    now.head = Head {
        height: block.header.height,
        hash: block.hash(),
        time_ms: block.header.time_ms,
        state_root: block.header.state_root,
    };
}

/// The report of an export whose first state is no good.
fn bad_start(reader: &Reader, anchor: &Anchor, error: &ExportError) -> Report {
    let head = anchor.head(reader.begin());
    Report {
        equal: false,
        name: reader.genesis().name.clone(),
        genesis: reader.genesis().digest().to_string(),
        start: place(&head),
        end: place(&head),
        blocks: 0,
        transactions: 0,
        epochs: 0,
        certificates: None,
        entries_compared: None,
        trusted: None,
        difference: Some(Difference {
            height: head.height.0,
            reason: sentence(error),
            entry: None,
        }),
    }
}

/// Reads all entries of an exported state; gives the first that differs from `state`.
fn first_difference(
    reader: &mut Reader,
    anchor: &Anchor,
    state: Option<&State>,
    watch: Watch<'_>,
) -> Result<Option<EntryDifference>, AuditError> {
    let mut replayed = state.map(|state| state.entries().peekable());
    let mut found = None;
    for done in 1..=anchor.entries {
        let (key, value) = reader.entry()?;
        if let (Some(replayed), None) = (&mut replayed, &found) {
            found = match replayed.peek().map(|(own, _)| own.cmp(&key)) {
                Some(Ordering::Less) => replayed.next().map(|own| (own.0, Some(own.1), None)),
                Some(Ordering::Equal) => {
                    let own = replayed.next().map(|(_, own)| own);
                    (own.as_ref() != Some(&value)).then_some((key, own, Some(value)))
                }
                Some(Ordering::Greater) | None => Some((key, None, Some(value))),
            };
        }
        let (what, total) = ("entries", anchor.entries);
        watch(Step { what, done, total }).map_err(ExportError::from)?;
    }
    let missing = || {
        let (key, own) = replayed?.next()?;
        Some((key, Some(own), None))
    };
    Ok(found.or_else(missing).map(|(key, replayed, exported)| {
        difference_in_words(anchor.height, &key, replayed.as_deref(), exported.as_deref())
    }))
}

fn difference_in_words(
    height: BlockNumber,
    key: &[u8],
    replayed: Option<&[u8]>,
    exported: Option<&[u8]>,
) -> EntryDifference {
    let entry = entry_words(key, None).key;
    let in_words = |value| entry_words(key, Some(value)).value;
    let (replayed, exported) = (replayed.and_then(in_words), exported.and_then(in_words));
    let (replayed, exported) = match (replayed, exported) {
        (Some(a), Some(b)) => {
            let (a, b) = around_first_difference(&a, &b);
            (Some(a), Some(b))
        }
        one => (one.0.map(|text| cut(&text, 0)), one.1.map(|text| cut(&text, 0))),
    };
    EntryDifference {
        height: height.0,
        key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
        entry,
        replayed,
        exported,
    }
}

/// Both texts cut to what is around the first letter that differs.
fn around_first_difference(a: &str, b: &str) -> (String, String) {
    let same = a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count();
    let from = same.saturating_sub(SHOWN_CHARS / 2);
    (cut(a, from), cut(b, from))
}

/// A few letters of `text` from one on, with marks where some are left out.
fn cut(text: &str, from: usize) -> String {
    let kept: String = text.chars().skip(from).take(SHOWN_CHARS).collect();
    let before = if from > 0 { ".." } else { "" };
    let behind = if text.chars().count() > from + SHOWN_CHARS {
        ".."
    } else {
        ""
    };
    format!("{before}{kept}{behind}")
}

fn share_is_less(a: Power, b: Power) -> bool {
    u128::from(a.signed) * u128::from(b.total) < u128::from(b.signed) * u128::from(a.total)
}

fn place(head: &Head) -> Place {
    Place {
        height: head.height.0,
        hash: head.hash.to_string(),
        state_root: head.state_root.to_string(),
    }
}

#[cfg(test)]
mod tests;

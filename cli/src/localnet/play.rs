//! A run from its first process to its last: sets the stage, follows the ledger, ends everything, verifies.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use agon_ledger_client::LedgerClient;
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Hotkey, Netuid, Uid};
use agon_protocol::message::{EpochView, EventView};
use agon_runtime::{Clock, Shutdown};
use anyhow::Context;
use futures::{StreamExt, pin_mut};
use serde_json::Value;
use tokio::process::Command;

use super::audits::Audits;
use super::board::{Board, Row, table};
use super::income::incomes;
use super::nodes::node_name;
use super::report::{Event, Neuron, Report, Summary};
use super::stage::{Actor, Ledger, Stage};
use super::text::{Started, epoch_text, summary_text};
use super::troupe::{Exits, Troupe};
use crate::session::told;

/// How long after an error the end of a process may be noticed.
const EXIT_NOTICED: Duration = Duration::from_millis(500);

/// How a run ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All tempos are over.
    Over,
    /// Somebody asked.
    Asked,
}

/// What is known of a run so far.
#[derive(Debug, Default)]
struct Run {
    netuid: Netuid,
    /// All base units before the first transaction; none before the ledger was open.
    issuance_before: Option<Amount>,
    /// The first tempo in which somebody holds a permit.
    counted_from: Option<u64>,
    tempos: u64,
    epochs_paid: u64,
    seconds_to_first_paid_epoch: Option<f64>,
    rows: Vec<Row>,
    audits: Audits,
}

/// A run from its first process to its last.
#[derive(Debug)]
pub struct Play<'a> {
    /// How many count until it ends; 0 runs on.
    tempos: u64,
    stage: &'a Stage<'a>,
    actors: &'a [Actor],
    report: Report,
    run: Run,
}

impl<'a> Play<'a> {
    /// A run of `actors` on `stage` that ends after `tempos`, or runs on with 0.
    #[must_use]
    pub fn new(tempos: u64, stage: &'a Stage<'a>, actors: &'a [Actor], report: Report) -> Self {
        Self {
            tempos,
            stage,
            actors,
            report,
            run: Run::default(),
        }
    }

    /// Plays to the end and gives how it ended, and how many tempos counted.
    ///
    /// # Errors
    ///
    /// When a process ends unasked, the ledger goes away or refuses, or does not verify at the end. No process is
    /// left either way.
    pub async fn play(mut self, shutdown: &Shutdown) -> anyhow::Result<(End, u64)> {
        let (mut troupe, mut exits) = Troupe::new(self.stage.folder.logs());
        let ended = self.act(&mut troupe, &mut exits, shutdown).await;
        self.report.step("stopping every process");
        troupe.stop().await;
        let end = ended?;
        if let Some(issuance_before) = self.run.issuance_before {
            self.conclude(issuance_before, troupe.resident_bytes_peak())
                .await?;
        }
        Ok((end, self.run.tempos))
    }

    async fn act(
        &mut self,
        troupe: &mut Troupe,
        exits: &mut Exits,
        shutdown: &Shutdown,
    ) -> anyhow::Result<End> {
        tokio::select! {
            biased;
            () = shutdown.requested() => Ok(End::Asked),
            Some(exit) = exits.recv() => Err(exit.into_error()),
            played = self.perform(troupe) => match played {
                Ok(()) => Ok(End::Over),
                Err(error) => Err(cause(error, exits).await),
            },
        }
    }

    async fn perform(&mut self, troupe: &mut Troupe) -> anyhow::Result<()> {
        let ledger = self.stage.ledger(troupe, self.actors).await?;
        self.report
            .step(&format!("ledger open at {}", ledger.client.uri()));
        self.run.issuance_before = Some(ledger.issuance);
        let task = self.stage.task().await?;
        let netuid = ledger.open_subnet(self.actors, task).await?;
        self.run.netuid = netuid;
        self.report.step(&format!(
            "subnet {netuid} created and started, {} neurons registered",
            self.actors.len()
        ));
        self.stage.enter(troupe, self.actors, &ledger, netuid)?;
        troupe.weigh();
        self.report.step("processes started, models are being loaded");
        let axons = ledger.announced(netuid, self.actors).await?;
        self.report.step("every miner serves");
        ledger.stake(netuid, self.actors).await?;
        self.tell_started(&ledger, &axons)?;
        self.watch(&ledger).await
    }

    fn tell_started(
        &mut self,
        ledger: &Ledger,
        axons: &BTreeMap<Hotkey, (Uid, SocketAddr)>,
    ) -> anyhow::Result<()> {
        let named = self
            .actors
            .iter()
            .map(|actor| (&actor.member.name, axons.get(&actor.hotkey)));
        let miners: BTreeMap<String, String> = named
            .filter_map(|(name, axon)| axon.map(|(_, address)| (name.clone(), address.to_string())))
            .collect();
        let best = self.actors.iter().find_map(|actor| axons.get(&actor.hotkey));
        let started = Started {
            ledger: ledger.client.uri(),
            folder: self.stage.folder,
            netuid: self.run.netuid,
            uid: best.map_or(Uid(0), |(uid, _)| *uid),
            miners: &miners,
        };
        let text = started.to_string();
        let event = Event::Started {
            ledger: ledger.client.uri().to_owned(),
            folder: self.stage.folder.dir().display().to_string(),
            netuid: self.run.netuid.0,
            miners,
            seconds: self.report.seconds(),
        };
        self.report.tell(&event, || text)
    }

    /// Follows the ledger's blocks until all tempos are over.
    async fn watch(&mut self, ledger: &Ledger) -> anyhow::Result<()> {
        let board = Board::new(
            ledger.client.clone(),
            self.run.netuid,
            self.actors,
            self.stage.folder,
        );
        let blocks = ledger.client.events(BlockNumber(0)).await.map_err(told)?;
        pin_mut!(blocks);
        loop {
            let block = blocks
                .next()
                .await
                .context("the node ended its stream of blocks")?
                .map_err(told)?;
            let tempos = self.run.tempos;
            let is_over = self.see(&block, &board).await?;
            if self.run.tempos > tempos {
                self.audit(&ledger.client, is_over).await?;
            }
            if is_over {
                return Ok(());
            }
        }
    }

    /// Recomputes the evidence of the tempo before the one that was counted last: its weights are revealed now and its
    /// coverage is known. At the end, that of the last one too.
    async fn audit(&mut self, client: &LedgerClient, is_over: bool) -> anyhow::Result<()> {
        let first = self.run.counted_from.context("a tempo that counts is counted")?;
        let last = first + self.run.tempos - 1;
        let settled = last.checked_sub(1).filter(|settled| *settled >= first);
        for tempo in settled.into_iter().chain(is_over.then_some(last)) {
            self.run.audits.audit(client, self.run.netuid, tempo).await?;
        }
        Ok(())
    }

    /// Takes note of a block; true when all tempos are over.
    async fn see(&mut self, block: &EventView, board: &Board) -> anyhow::Result<bool> {
        let netuid = self.run.netuid;
        let epoch = block.epochs.iter().find(|epoch| epoch.netuid == netuid);
        if epoch.is_none() && !self.report.wants_rows() {
            return Ok(false);
        }
        let (rows, permitted) = board.read().await?;
        self.run.rows = rows;
        let is_over = match epoch {
            None => false,
            Some(epoch) => self.see_epoch(epoch, block.height, permitted)?,
        };
        self.report.draw(
            &format!("block {}, {}", block.height, self.progress()),
            &self.run.rows,
        )?;
        Ok(is_over)
    }

    fn see_epoch(&mut self, epoch: &EpochView, height: BlockNumber, permitted: bool) -> anyhow::Result<bool> {
        if !epoch.miners_paid.is_zero() {
            self.run.epochs_paid += 1;
            let seconds = self.report.seconds();
            self.run.seconds_to_first_paid_epoch.get_or_insert(seconds);
        }
        self.report
            .tell(&Event::of_epoch(epoch, height.0), || epoch_text(epoch, height))?;
        let tempo = epoch.tempo;
        let Some(first) = self.run.counted_from.filter(|first| *first <= tempo) else {
            if permitted {
                self.run.counted_from.get_or_insert(tempo.saturating_add(1));
            }
            return Ok(false);
        };
        self.run.tempos = tempo - first + 1;
        let event = Event::Tempo {
            tempo,
            counted: self.run.tempos,
            rows: &self.run.rows,
        };
        let is_live = self.report.is_live();
        self.report.tell(&event, || match is_live {
            true => String::new(),
            false => table(&self.run.rows, Clock::system().now_ms()).to_string() + "\n",
        })?;
        Ok(self.tempos != 0 && self.run.tempos >= self.tempos)
    }

    fn progress(&self) -> String {
        match (self.run.counted_from, self.tempos) {
            (None, _) => "warming up: permits are given when the tempo ends".to_owned(),
            (Some(_), 0) => format!("{} tempos over; Ctrl-C ends", self.run.tempos),
            (Some(_), all) => format!("{} of {all} tempos over", self.run.tempos),
        }
    }

    /// Verifies the ledger and tells how it all ended.
    async fn conclude(&mut self, issuance_before: Amount, resident_bytes_peak: u64) -> anyhow::Result<()> {
        let verify = self.verify(1).await?;
        for number in 2..=self.stage.nodes {
            let other = self.verify(number).await?;
            let name = node_name(number);
            anyhow::ensure!(
                other["ok"] == Value::Bool(true),
                "the ledger of {name} does not verify: {}",
                other["error"]
            );
        }
        let issuance_after = verify["issuance"].as_u64();
        let summary = Summary {
            neurons: self.run.rows.iter().map(Neuron::from).collect(),
            attacks: incomes(self.actors, &self.run.rows),
            audits: self.run.audits.of(self.actors),
            tempos: self.run.tempos,
            epochs_paid: self.run.epochs_paid,
            seconds_to_first_paid_epoch: self.run.seconds_to_first_paid_epoch,
            seconds: self.report.seconds(),
            resident_bytes_peak,
            issuance_before: issuance_before.base_units(),
            issuance_after,
            holdings: verify["holdings"].clone(),
            holdings_match: issuance_after.is_some()
                && verify["holdings"]["total"].as_u64() == issuance_after,
            verify,
        };
        let text = summary_text(&summary, &self.run.rows);
        let judgement = judge(&summary);
        self.report.tell(&Event::Summary(Box::new(summary)), || text)?;
        judgement
    }

    async fn verify(&self, number: u16) -> anyhow::Result<Value> {
        let mut verify = Command::new(&self.stage.programs.node);
        verify
            .args(["verify", "--json", "--dir"])
            .arg(self.stage.folder.node(number));
        let output = verify
            .kill_on_drop(true)
            .output()
            .await
            .context("start agon-node verify")?;
        serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "agon-node verify failed: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })
    }
}

/// A process that is gone is the cause of most errors and says more than they do, but is noticed a moment later.
async fn cause(error: anyhow::Error, exits: &mut Exits) -> anyhow::Error {
    match tokio::time::timeout(EXIT_NOTICED, exits.recv()).await {
        Ok(Some(exit)) => exit.into_error(),
        _ => error,
    }
}

/// What a ledger must be at the end.
fn judge(summary: &Summary) -> anyhow::Result<()> {
    anyhow::ensure!(
        summary.verify["ok"] == Value::Bool(true),
        "the ledger does not verify: {}",
        summary.verify["error"]
    );
    anyhow::ensure!(
        summary.holdings_match,
        "what all hold does not sum to the issuance: {}",
        summary.holdings
    );
    let mut honest = summary.audits.iter().filter(|audit| audit.attack.is_none());
    if let Some((name, line)) = honest.find_map(|audit| Some((&audit.name, audit.false_line.as_ref()?))) {
        anyhow::bail!(
            "the evidence of {name} of tempo {} does not follow: {}",
            line.tempo,
            line.line
        );
    }
    Ok(())
}

//! `agon localnet`: a whole subnet on this machine, made of the real programs.
//!
//! | file | holds |
//! | --- | --- |
//! | `cast` | who takes part |
//! | `programs` | where programs and models are |
//! | `stage` | wallets, ledger, subnet, registration, stake |
//! | `troupe` | the processes: started, watched, ended |
//! | `board` | the table: who earns what |
//! | `report` | what is told, to people or to programs |
//!
//! Whatever ends the run, Ctrl-C, a process that crashes, the last tempo, an error, every process is ended before
//! this one returns.

pub mod board;
pub mod cast;
pub mod programs;
pub mod report;
pub mod stage;
pub mod troupe;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Hotkey, Netuid};
use agon_protocol::message::{EpochView, EventView};
use agon_runtime::{Clock, Shutdown};
use anyhow::Context;
use clap::Args;
use futures::{StreamExt, pin_mut};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use self::board::{Board, Row, table};
use self::programs::{Models, Programs};
use self::report::{Event, Neuron, Report, Summary};
use self::stage::{Actor, Folder, Ledger, Stage};
use self::troupe::{Exits, Troupe};
use crate::output::{note, units};
use crate::session::{Session, told};

const EXAMPLES: &str = "Examples:
  agon localnet
  agon localnet --miners 4 --validators 2 --tempos 2
  agon localnet --tempos 0 --dir ./net          runs on until Ctrl-C
  agon localnet --json | tail -n 1

Tempos are counted from the first in which validators hold permits; the warm-up before it is not \
counted. Weights of a tempo are revealed in the next one, so the first that pays miners is the second \
that counts.

With six miners or more the last three cheat: one answers garbage, one truncates, one is often \
offline. The others serve the models of the ladder: large, medium and small.

With --json there is one line for each event on standard output: started, epoch, tempo, and summary \
as the last. Everything else is said on standard error.

It ends with 0 once all tempos are over (or on Ctrl-C with --tempos 0), the ledger verifies, and what \
all hold sums to the issuance.";

/// Flags of `agon localnet`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct LocalnetArgs {
    /// How many miners
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    miners: u16,
    /// How many validators
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=16))]
    validators: u16,
    /// Tempos until it ends; 0 runs on
    #[arg(long, value_name = "COUNT", default_value_t = 4)]
    tempos: u64,
    /// Time between blocks, milliseconds; a tempo has 40 blocks
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(20..=20_000))]
    block_ms: u64,
    /// Folder for keys, ledger, evidence and logs; stays [default: a temporary one]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Keep the temporary folder
    #[arg(long)]
    keep: bool,
    /// Folder of the models, with large, medium and small in it [default: models, here or above this program]
    #[arg(long, value_name = "DIR")]
    models: Option<PathBuf>,
}

/// How a run ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// All tempos are over.
    Over,
    /// Somebody asked.
    Asked,
}

/// Runs `agon localnet`.
///
/// # Errors
///
/// When a program or model is missing, a process ends unasked, the ledger does not verify, or somebody asked for the
/// end before all tempos were over. The folder then stays.
pub async fn run(session: &Session, args: &LocalnetArgs) -> anyhow::Result<()> {
    let began = Instant::now();
    let shutdown = Shutdown::on_signals().context("listen for signals")?;
    let cast = cast::cast(args.validators, args.miners);
    let programs = Programs::find(&cast)?;
    let models = Models::find(args.models.as_deref())?;
    let folder = open_folder(args.dir.as_deref())?;
    let stage = Stage {
        folder: &folder,
        programs: &programs,
        models: &models,
        block_ms: args.block_ms,
    };
    let actors = stage.actors(cast)?;
    let report = Report::new(session.json, began);
    let played = Play {
        args,
        stage: &stage,
        actors: &actors,
        report,
        run: Run::default(),
    }
    .play(&shutdown)
    .await;
    leave_folder(args, &folder, played.is_ok())?;
    let (end, tempos) = played?;
    let all = args.tempos;
    anyhow::ensure!(
        end == End::Over || all == 0,
        "ended by a signal after {tempos} of {all} tempos"
    );
    Ok(())
}

/// An empty folder: the one that was named, or a new temporary one.
fn open_folder(named: Option<&Path>) -> anyhow::Result<Folder> {
    let dir = match named {
        None => tempfile::Builder::new()
            .prefix("agon-localnet-")
            .tempdir()
            .context("make a temporary folder")?
            .keep(),
        Some(dir) => {
            std::fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
            let mut entries = std::fs::read_dir(dir).with_context(|| format!("read {}", dir.display()))?;
            anyhow::ensure!(
                entries.next().is_none(),
                "{} is not empty: name another folder with --dir",
                dir.display()
            );
            std::path::absolute(dir)?
        }
    };
    let folder = Folder::new(dir);
    folder.create()?;
    Ok(folder)
}

/// Removes what nobody asked to keep; after a failure everything stays.
fn leave_folder(args: &LocalnetArgs, folder: &Folder, went_well: bool) -> anyhow::Result<()> {
    let dir = folder.dir();
    if went_well && args.dir.is_none() && !args.keep {
        return std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()));
    }
    note(format!("everything stays in {}", dir.display()));
    Ok(())
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
}

/// A run from its first process to its last.
struct Play<'a> {
    args: &'a LocalnetArgs,
    stage: &'a Stage<'a>,
    actors: &'a [Actor],
    report: Report,
    run: Run,
}

impl Play<'_> {
    /// Plays to the end and gives how it ended, and how many tempos counted.
    async fn play(mut self, shutdown: &Shutdown) -> anyhow::Result<(End, u64)> {
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
            played = self.perform(troupe) => {
                // A process that is gone is the cause of most errors, and says more than they do.
                match (played, exits.try_recv()) {
                    (Err(_), Ok(exit)) => Err(exit.into_error()),
                    (played, _) => played.map(|()| End::Over),
                }
            }
        }
    }

    async fn perform(&mut self, troupe: &mut Troupe) -> anyhow::Result<()> {
        let ledger = self.stage.ledger(troupe, self.actors).await?;
        self.report
            .step(&format!("ledger open at {}", ledger.client.uri()));
        self.run.issuance_before = Some(ledger.issuance);
        let netuid = ledger.open_subnet(self.actors).await?;
        self.run.netuid = netuid;
        self.report.step(&format!(
            "subnet {netuid} created and started, {} neurons registered",
            self.actors.len()
        ));
        self.stage
            .enter(troupe, self.actors, ledger.client.uri(), netuid)?;
        troupe.weigh();
        self.report.step("processes started, models are being loaded");
        let axons = ledger.announced(netuid, self.actors).await?;
        self.report.step("every miner serves");
        ledger.stake(netuid, self.actors).await?;
        self.tell_started(&ledger, &axons)?;
        self.watch(&ledger).await
    }

    fn tell_started(&mut self, ledger: &Ledger, axons: &BTreeMap<Hotkey, SocketAddr>) -> anyhow::Result<()> {
        let address = |actor: &Actor| {
            axons
                .get(&actor.hotkey)
                .map(|address| (actor.member.name.clone(), address.to_string()))
        };
        let miners: BTreeMap<String, String> = self.actors.iter().filter_map(address).collect();
        let (uri, dir) = (ledger.client.uri(), self.stage.folder.dir().display());
        let text = started_text(uri, self.stage.folder, self.run.netuid, &miners);
        let event = Event::Started {
            ledger: uri.to_owned(),
            folder: dir.to_string(),
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
            if self.see(&block, &board).await? {
                return Ok(());
            }
        }
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
        Ok(self.args.tempos != 0 && self.run.tempos >= self.args.tempos)
    }

    fn progress(&self) -> String {
        match (self.run.counted_from, self.args.tempos) {
            (None, _) => "warming up: permits are given when the tempo ends".to_owned(),
            (Some(_), 0) => format!("{} tempos over; Ctrl-C ends", self.run.tempos),
            (Some(_), all) => format!("{} of {all} tempos over", self.run.tempos),
        }
    }

    /// Verifies the ledger and tells how it all ended.
    async fn conclude(&mut self, issuance_before: Amount, resident_bytes_peak: u64) -> anyhow::Result<()> {
        let verify = self.verify().await?;
        let issuance_after = verify["issuance"].as_u64();
        let summary = Summary {
            neurons: self.run.rows.iter().map(Neuron::from).collect(),
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

    async fn verify(&self) -> anyhow::Result<Value> {
        let mut verify = Command::new(&self.stage.programs.node);
        verify
            .args(["verify", "--json", "--dir"])
            .arg(self.stage.folder.node());
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
    Ok(())
}

fn started_text(uri: &str, folder: &Folder, netuid: Netuid, miners: &BTreeMap<String, String>) -> String {
    let dir = folder.dir().display();
    let miners: Vec<String> = miners
        .iter()
        .map(|(name, address)| format!("{name} {address}"))
        .collect();
    format!(
        "ledger   {uri}\nminers   {}\nfolder   {dir}\nlogs     {}\n\
         try      agon metagraph --netuid {netuid} --ledger {uri}\n\
         \x20        agon explain --netuid {netuid} --uid 3 --ledger {uri}\n\
         \x20        agon evidence show --dir {}\n\
         \x20        agon balance --wallet miner-0 --wallets-dir {} --ledger {uri}\n",
        miners.join(", "),
        folder.logs().display(),
        folder.member("validator-0").display(),
        folder.wallets().display(),
    )
}

fn epoch_text(epoch: &EpochView, height: BlockNumber) -> String {
    format!(
        "epoch of tempo {} in block {height}: miners {}, validators {}, owner {}, held {}",
        epoch.tempo,
        units(epoch.miners_paid),
        units(epoch.validators_paid),
        units(epoch.owner_paid),
        units(epoch.held)
    )
}

fn summary_text(summary: &Summary, rows: &[Row]) -> String {
    let Summary {
        tempos,
        epochs_paid,
        seconds,
        resident_bytes_peak,
        ..
    } = summary;
    let first = match summary.seconds_to_first_paid_epoch {
        Some(first) => format!("the first paid epoch came after {first:.1} s"),
        None => "no epoch paid miners".to_owned(),
    };
    let verified = match &summary.verify["ok"] {
        Value::Bool(true) => "the ledger verifies, and what all hold sums to the issuance".to_owned(),
        _ => format!("the ledger does not verify: {}", summary.verify["error"]),
    };
    let rows = match rows.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", table(rows, Clock::system().now_ms())),
    };
    format!(
        "{rows}{tempos} tempos, {epochs_paid} paid epochs, {seconds:.1} s; {first}\n\
         memory at most {} MB in all processes together\n{verified}",
        resident_bytes_peak / 1_000_000
    )
}

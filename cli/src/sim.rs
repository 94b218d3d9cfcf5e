//! `agon sim`: what cheating pays in a simulated subnet, with the rules against it and without.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use agon_sim::attack::{Attack, Defence};
use agon_sim::attacks::{ATTACKS, ELSEWHERE, find};
use agon_sim::cost::{Cost, evidence_cost};
use agon_sim::estimate::Estimate;
use agon_sim::report::{chart, page, with_interval};
use agon_sim::run::{AttackReport, Plan, Verdict, run as run_attack};
use anyhow::{Context, bail};
use clap::{ArgGroup, Args, ValueEnum};
use serde::Serialize;

use crate::output::{Align, Table, note, print_json};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  agon sim --list
  agon sim --attack copy-weights
  agon sim --attack A1 --epochs 400 --seeds 20 --plot copy.svg
  agon sim --all --report attacks.html
  agon sim --cost
  agon sim --all --explore --json            a line for each row, other stakes and sizes included

Off is the subnet as published designs have it: the attack has to pay there what was published or measured, or its \
case is void. On is Agon's rules: the figure has to keep to the bound with its whole 95 % interval. Figures depend on \
--epochs, --seeds and --first-seed and on nothing else.

A bound that is known to be missed is called open, and the page says why.

Exit codes: 0 every bound holds or is open, 1 one is missed or a case is void, 2 usage.";

/// Flags of `agon sim`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, group = ArgGroup::new("what").required(true).args(["attack", "all", "list", "cost"]))]
pub struct SimArgs {
    /// The attack of this name or row
    #[arg(long, value_name = "NAME")]
    attack: Option<String>,
    /// Every attack
    #[arg(long)]
    all: bool,
    /// Name the attacks, and those that are tried elsewhere
    #[arg(long)]
    list: bool,
    /// What the defences cost those who keep to the rules
    #[arg(long)]
    cost: bool,
    /// Epochs of each run
    #[arg(long, value_name = "N", default_value_t = 200)]
    epochs: u32,
    /// Runs of each case, each with a seed of its own
    #[arg(long, value_name = "N", default_value_t = 50)]
    seeds: u32,
    /// The first of those seeds
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    first_seed: u64,
    /// Only without the rules, or only with them [default: both]
    #[arg(long, value_name = "SIDE")]
    defence: Option<Side>,
    /// Other tables of stake and sizes of subnets as well
    #[arg(long)]
    explore: bool,
    /// Draw the attack's chart into this file
    #[arg(long, value_name = "FILE.svg", requires = "attack", conflicts_with_all = ["all", "list"])]
    plot: Option<PathBuf>,
    /// Write one page with every table and chart into this file
    #[arg(long, value_name = "FILE.html", conflicts_with = "list")]
    report: Option<PathBuf>,
}

/// Whether the rules against the attack are in force.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    /// Agon's rules
    On,
    /// As published designs have it
    Off,
}

impl From<Side> for Defence {
    fn from(side: Side) -> Self {
        match side {
            Side::On => Self::On,
            Side::Off => Self::Off,
        }
    }
}

/// Runs `agon sim`.
///
/// # Errors
///
/// When the attack is not known, a file cannot be written, or a bound is missed.
pub fn run(session: &Session, args: &SimArgs) -> anyhow::Result<()> {
    if args.list {
        return list(session);
    }
    let plan = plan(args)?;
    if args.cost {
        let cost = evidence_cost(&plan);
        return session.show(&cost, || cost_table(&cost).to_string());
    }
    let mut reports = Vec::new();
    for attack in chosen(args)? {
        let report = run_attack(attack, &plan, args.defence.map(Defence::from));
        show(session, args, &report)?;
        reports.push(report);
    }
    if let Some(path) = &args.report {
        write(path, &page(&reports, &how(args)))?;
    }
    verdict(&reports)
}

fn plan(args: &SimArgs) -> anyhow::Result<Plan> {
    let threads = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let plan = Plan::new(args.epochs, args.seeds)?.from_seed(args.first_seed);
    Ok(plan.exploring(args.explore).on_threads(threads))
}

fn chosen(args: &SimArgs) -> anyhow::Result<Vec<&'static dyn Attack>> {
    let Some(name) = &args.attack else {
        return Ok(ATTACKS.to_vec());
    };
    let found = find(name).with_context(|| format!("there is no attack {name:?}: see `agon sim --list`"))?;
    Ok(vec![found])
}

fn show(session: &Session, args: &SimArgs, report: &AttackReport) -> anyhow::Result<()> {
    if let Some(path) = &args.plot {
        write(path, &chart(report))?;
    }
    match report.line() {
        Some(line) if args.all && session.json => print_json(&line),
        _ => session.show(report, || table(report)),
    }
}

fn table(report: &AttackReport) -> String {
    let mut table = Table::new(&[
        ("case", Align::Left),
        ("off", Align::Left),
        ("expected", Align::Left),
        ("on", Align::Left),
        ("bound", Align::Left),
        ("", Align::Left),
    ]);
    for case in &report.cases {
        let figure = |estimate: &Option<_>| estimate.as_ref().map(with_interval).unwrap_or_default();
        table.row([
            case.label.clone(),
            figure(&case.off),
            case.off_bound.to_string(),
            figure(&case.on),
            case.on_bound.to_string(),
            case.verdict().name().to_owned(),
        ]);
    }
    let AttackReport {
        attack, row, about, ..
    } = report;
    format!("{row} {attack}: {about}\n{}.\n\n{table}\n", report.figure)
}

fn how(args: &SimArgs) -> String {
    let SimArgs {
        epochs,
        seeds,
        first_seed,
        ..
    } = args;
    let explore = if args.explore { " --explore" } else { "" };
    format!(
        "{epochs} epochs, {seeds} seeds: agon sim --all --epochs {epochs} --seeds {seeds} --first-seed {first_seed}{explore}"
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))?;
    note(format_args!("wrote {}", path.display()));
    Ok(())
}

fn cost_table(cost: &Cost) -> Table {
    let mut table = Table::new(&[("evidence costs the honest", Align::Left), ("", Align::Right)]);
    let whole = |figure: f64| format!("{figure:.0}");
    let percent = |estimate: &Estimate| format!("{:.3} %", 100.0 * estimate.mean);
    let Cost {
        validators, miners, ..
    } = cost;
    for (name, figure) in [
        ("transactions of a validator in a tempo", whole(cost.transactions)),
        ("their bytes", whole(cost.transaction_bytes)),
        ("bytes of state for each", whole(cost.state_bytes)),
        (
            "income that honest validators lose together",
            percent(&cost.income_lost),
        ),
        (
            "income moved between honest validators",
            percent(&cost.income_moved),
        ),
    ] {
        table.row([name.to_owned(), figure]);
    }
    table.row([
        format!("on a ledger of {validators} validators, {miners} miners"),
        String::new(),
    ]);
    table
}

fn verdict(reports: &[AttackReport]) -> anyhow::Result<()> {
    let fails = |report: &&AttackReport| matches!(report.verdict(), Verdict::Missed | Verdict::Void);
    let failing: Vec<&str> = reports.iter().filter(fails).map(|report| report.attack).collect();
    if failing.is_empty() {
        return Ok(());
    }
    bail!("a bound is missed or a case is void: {}", failing.join(", "))
}

/// An attack in the list.
#[derive(Debug, Serialize)]
struct Listed {
    row: &'static str,
    attack: Option<&'static str>,
    about: &'static str,
    tried_in: &'static str,
}

fn list(session: &Session) -> anyhow::Result<()> {
    let simulated = ATTACKS.iter().map(|attack| Listed {
        row: attack.row(),
        attack: Some(attack.name()),
        about: attack.about(),
        tried_in: "agon sim",
    });
    let elsewhere = ELSEWHERE.iter().map(|row| Listed {
        row: row.row,
        attack: None,
        about: row.about,
        tried_in: row.tried_in,
    });
    let listed: Vec<Listed> = simulated.chain(elsewhere).collect();
    session.show(&listed, || list_table(&listed))
}

fn list_table(listed: &[Listed]) -> String {
    let mut table = Table::new(&[
        ("row", Align::Left),
        ("attack", Align::Left),
        ("tried in", Align::Left),
        ("what the attacker does", Align::Left),
    ]);
    for line in listed {
        table.row([
            line.row.to_owned(),
            line.attack.unwrap_or("-").to_owned(),
            line.tried_in.to_owned(),
            line.about.to_owned(),
        ]);
    }
    table.to_string()
}

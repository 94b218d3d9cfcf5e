//! `agon subnet` and `agon register`: subnets, their parameters, and how a hotkey gets a UID.

pub mod params;

use agon_ledger_state::SUBNET_LOCK_FLOOR;
use agon_protocol::amount::Amount;
use agon_protocol::id::Netuid;
use agon_protocol::message::{Call, SubnetView};
use agon_runtime::flags::ExitWith;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::keys::ColdkeyFlags;
use crate::output::{Align, Table, note, short, units, yes};
use crate::session::{Caution, Session, SubmitFlags, submit, told};

const EXAMPLES: &str = "Examples:
  agon subnet list
  agon subnet create --wallet owner --task reading
  agon subnet start --wallet owner --netuid 1
  agon subnet set --wallet owner --netuid 1 tempo_blocks=40 immunity_blocks=400
  agon subnet dissolve --wallet owner --netuid 1 --dry-run
  agon subnet params                 every parameter: meaning, bounds, defaults
  agon subnet params --netuid 1      and its values there

A new value of a parameter is announced and comes into force when a later tempo opens.";

const REGISTER_EXAMPLES: &str = "Examples:
  agon register --netuid 1 --wallet mine --hotkey gpu0
  agon register --netuid 1 --wallet mine --hotkey gpu0 --price-max 0.01 --yes

The price is burned. It rises with each registration and halves with time.";

/// How much more than the price of this moment a registration may cost without a limit of one's own, percent: one
/// registration of somebody else may come in between.
const PRICE_MARGIN_PERCENT: u64 = 130;

/// Flags of `agon subnet`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct SubnetArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every subnet
    List,
    /// Show one subnet: where it stands, and its parameters
    Show(Which),
    /// Create a subnet for a task and become its owner; locks an amount
    Create(Create),
    /// Let a subnet earn emission
    Start(Start),
    /// End a subnet: stake and what is left of the lock go back
    Dissolve(Start),
    /// Set parameters of a subnet
    Set(Set),
    /// Explain parameters: meaning, bounds, defaults, and one subnet's values
    Params(params::Params),
}

#[derive(Debug, Args)]
struct Which {
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Name of the task
    #[arg(long, value_name = "NAME")]
    task: String,
    /// Most that may be locked, in whole units
    #[arg(long, value_name = "AMOUNT", default_value_t = SUBNET_LOCK_FLOOR)]
    lock_max: Amount,
    /// Take a task that this build does not know
    #[arg(long)]
    unknown_task: bool,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Set {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    #[command(flatten)]
    which: Which,
    /// Parameters and their new values; switches take 0 and 1
    #[arg(value_name = "NAME=VALUE", required = true, value_parser = assignment)]
    assignments: Vec<Assignment>,
    #[command(flatten)]
    submit: SubmitFlags,
}

/// Flags of `agon register`.
#[derive(Debug, Args)]
#[command(after_help = REGISTER_EXAMPLES)]
pub struct RegisterArgs {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey that gets the UID: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY", default_value = "default")]
    hotkey: String,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
    /// Most that may be burned, in whole units [default: a third above the price of this moment]
    #[arg(long, value_name = "AMOUNT")]
    price_max: Option<Amount>,
    #[command(flatten)]
    submit: SubmitFlags,
}

/// A parameter and its new value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assignment {
    name: String,
    value: u64,
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or("write NAME=VALUE, as in tempo_blocks=40")?;
    let value = value.replace('_', "");
    let value = value
        .parse()
        .map_err(|_| format!("{value:?} is not a whole number"))?;
    Ok(Assignment {
        name: name.to_owned(),
        value,
    })
}

/// Runs `agon subnet`.
///
/// # Errors
///
/// When the ledger refuses it or cannot be reached.
pub async fn run(session: &Session, args: &SubnetArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::List => list(session).await,
        Command::Show(which) => show(session, which.netuid).await,
        Command::Create(args) => create(session, args).await,
        Command::Start(args) => start(session, args).await,
        Command::Dissolve(args) => dissolve(session, args).await,
        Command::Set(args) => set(session, args).await,
        Command::Params(args) => params::params(session, args).await,
    }
}

/// Runs `agon register`.
///
/// # Errors
///
/// When the ledger refuses it or cannot be reached.
pub async fn register(session: &Session, args: &RegisterArgs) -> anyhow::Result<()> {
    let RegisterArgs {
        coldkey,
        hotkey,
        netuid,
        price_max,
        submit: flags,
    } = args;
    let hotkey = coldkey.hotkey(hotkey)?;
    let price_max = match price_max {
        Some(limit) => *limit,
        None => {
            let subnet = session.client()?.subnet(*netuid).await.map_err(told)?;
            subnet.registration_price.mul_ratio(PRICE_MARGIN_PERCENT, 100)
        }
    };
    let pair = coldkey.coldkey()?;
    let call = Call::Register {
        netuid: *netuid,
        hotkey,
        price_max,
    };
    submit(session, *flags, &pair, call, Caution::Ask).await.map(drop)
}

async fn list(session: &Session) -> anyhow::Result<()> {
    let subnets = session.client()?.subnets().await.map_err(told)?;
    let values: Vec<Value> = subnets.iter().map(subnet_json).collect();
    session.show(&values, || list_table(&subnets).to_string())
}

fn list_table(subnets: &[SubnetView]) -> Table {
    let mut table = Table::new(&[
        ("netuid", Align::Right),
        ("task", Align::Left),
        ("started", Align::Left),
        ("neurons", Align::Right),
        ("price", Align::Right),
        ("tempo", Align::Right),
        ("next epoch", Align::Right),
        ("owner", Align::Left),
    ]);
    for subnet in subnets {
        table.row([
            subnet.netuid.to_string(),
            subnet.task.clone(),
            yes(subnet.started),
            subnet.neuron_count.to_string(),
            subnet.registration_price.to_string(),
            subnet.tempo.to_string(),
            subnet.next_epoch.to_string(),
            short(subnet.owner),
        ]);
    }
    table
}

async fn show(session: &Session, netuid: Netuid) -> anyhow::Result<()> {
    let subnet = session.client()?.subnet(netuid).await.map_err(told)?;
    session.show(&subnet_json(&subnet), || {
        format!("{}\n\n{}", record_text(&subnet), params::values_text(&subnet))
    })
}

fn record_text(subnet: &SubnetView) -> String {
    let started = if subnet.started {
        "yes"
    } else {
        "no: agon subnet start lets it earn"
    };
    let lines = [
        ("subnet", subnet.netuid.to_string()),
        ("task", subnet.task.clone()),
        ("owner", subnet.owner.to_string()),
        ("started", started.to_owned()),
        (
            "tempo",
            format!("{}, opened by block {}", subnet.tempo, subnet.tempo_start),
        ),
        ("seal round", seal_round_text(subnet)),
        (
            "next epoch",
            format!("block {}; the newest is {}", subnet.next_epoch, subnet.height),
        ),
        ("neurons", subnet.neuron_count.to_string()),
        ("UID price", subnet.registration_price.to_string()),
        ("held", format!("{} that nobody earned yet", units(subnet.held))),
    ];
    lines.map(|(name, value)| format!("{name:<11}{value}")).join("\n")
}

/// By which pulse the ledger opens weights of the running tempo.
fn seal_round_text(subnet: &SubnetView) -> String {
    match subnet.seal_round {
        Some(round) => {
            format!("{round}: the beacon's pulse of it opens the weights that are sealed in this tempo")
        }
        None => String::from("none: weights of this tempo are revealed by hand"),
    }
}

async fn create(session: &Session, args: &Create) -> anyhow::Result<()> {
    check_task(&args.task, args.unknown_task)?;
    let pair = args.coldkey.coldkey()?;
    let call = Call::CreateSubnet {
        task: args.task.clone(),
        lock_max: args.lock_max,
    };
    let included = submit(session, args.submit, &pair, call, Caution::Ask).await?;
    if included.is_some() {
        let subnets = session.client()?.subnets().await.map_err(told)?;
        let newest = subnets
            .iter()
            .filter(|subnet| subnet.owner == pair.coldkey())
            .map(|subnet| subnet.netuid)
            .max();
        if let Some(netuid) = newest {
            note(format!(
                "next: agon subnet start --netuid {netuid} --wallet {}",
                args.coldkey.wallet
            ));
        }
    }
    Ok(())
}

/// A misspelt task would lock an amount for a subnet that nobody can serve.
fn check_task(task: &str, unknown_task: bool) -> anyhow::Result<()> {
    if unknown_task || agon_subnets::task(task).is_some() {
        return Ok(());
    }
    let known = agon_subnets::NAMES;
    let advice =
        format!("this build knows no task {task:?}, only {known:?}; add --unknown-task to take it anyway");
    Err(ExitWith::usage(advice).into())
}

async fn start(session: &Session, args: &Start) -> anyhow::Result<()> {
    let pair = args.coldkey.coldkey()?;
    let call = Call::StartSubnet {
        netuid: args.which.netuid,
    };
    submit(session, args.submit, &pair, call, Caution::None)
        .await
        .map(drop)
}

async fn dissolve(session: &Session, args: &Start) -> anyhow::Result<()> {
    let pair = args.coldkey.coldkey()?;
    let call = Call::DissolveSubnet {
        netuid: args.which.netuid,
    };
    submit(session, args.submit, &pair, call, Caution::Ask)
        .await
        .map(drop)
}

async fn set(session: &Session, args: &Set) -> anyhow::Result<()> {
    let pair = args.coldkey.coldkey()?;
    for Assignment { name, value } in &args.assignments {
        let call = Call::SetParameter {
            netuid: args.which.netuid,
            name: name.clone(),
            value: *value,
        };
        submit(session, args.submit, &pair, call, Caution::None).await?;
    }
    Ok(())
}

pub(crate) fn subnet_json(subnet: &SubnetView) -> Value {
    json!({
        "netuid": subnet.netuid.0,
        "height": subnet.height.0,
        "owner": subnet.owner.to_string(),
        "task": subnet.task,
        "started": subnet.started,
        "tempo": subnet.tempo,
        "tempo_start": subnet.tempo_start.0,
        "seal_round": subnet.seal_round,
        "beacon": subnet.beacon.to_string(),
        "next_epoch": subnet.next_epoch.0,
        "registration_price": subnet.registration_price.base_units(),
        "neuron_count": subnet.neuron_count,
        "held": subnet.held.base_units(),
        "parameters": subnet.parameters,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_a_name_and_a_whole_number() {
        let expected = Assignment {
            name: "tempo_blocks".into(),
            value: 1_000,
        };
        assert_eq!(assignment("tempo_blocks=1_000"), Ok(expected));
        for text in [
            "tempo_blocks",
            "tempo_blocks=",
            "tempo_blocks=-1",
            "tempo_blocks=1.5",
        ] {
            assert!(assignment(text).is_err(), "{text} was read");
        }
    }

    #[test]
    fn a_task_nobody_knows_needs_a_second_word() {
        assert!(check_task("reading", false).is_ok());
        assert!(check_task("redaing", false).is_err());
        assert!(check_task("redaing", true).is_ok());
    }
}

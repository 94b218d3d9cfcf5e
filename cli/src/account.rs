//! `agon balance`, `agon transfer` and `agon stake`: what an account holds, and how it moves.

use agon_ledger_client::LedgerClient;
use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid};
use agon_protocol::message::{AccountView, Call, ColdkeySwapView, ColdkeyView, OwnedHotkeyView, StakeView};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::keys::ColdkeyFlags;
use crate::output::{Align, Table};
use crate::session::{Caution, Session, SubmitFlags, submit, told};

/// Hotkeys that people are shown; programs get all.
const HOTKEYS_SHOWN: usize = 16;

const BALANCE_EXAMPLES: &str = "Examples:
  agon balance --wallet mine
  agon balance 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --json

Told as well: its hotkeys with the takes they keep, and who was announced to take over from it.";

const SHOW_EXAMPLES: &str = "Examples:
  agon stake show --wallet house
  agon stake show 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --json";

const TRANSFER_EXAMPLES: &str = "Examples:
  agon transfer --wallet mine --to 5Grw... --amount 12.5
  agon transfer --wallet mine --to 5Grw... --amount 12.5 --dry-run

Amounts are whole units with up to nine decimals.";

const STAKE_EXAMPLES: &str = "Examples:
  agon stake add --netuid 1 --wallet house --hotkey v0 --amount 1000
  agon stake remove --netuid 1 --wallet house --hotkey v0 --amount all
  agon stake move --netuid 1 --wallet house --hotkey v0 --to-hotkey v1 --amount 250
  agon stake take --wallet house --hotkey v0 --percent 12.5
  agon stake show --wallet house

A hotkey's take is the share of its dividends that its coldkey keeps before the stakers share the rest.";

/// Flags of `agon balance` and `agon stake show`.
#[derive(Debug, Args)]
#[command(after_help = BALANCE_EXAMPLES)]
pub struct BalanceArgs {
    /// Address of a coldkey [default: that of the wallet]
    address: Option<Coldkey>,
    #[command(flatten)]
    coldkey: ColdkeyFlags,
}

/// Flags of `agon transfer`.
#[derive(Debug, Args)]
#[command(after_help = TRANSFER_EXAMPLES)]
pub struct TransferArgs {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Address of the coldkey that receives
    #[arg(long, value_name = "ADDRESS")]
    to: Coldkey,
    /// How much, in whole units
    #[arg(long, value_name = "AMOUNT")]
    amount: Amount,
    #[command(flatten)]
    submit: SubmitFlags,
}

/// Flags of `agon stake`.
#[derive(Debug, Args)]
#[command(after_help = STAKE_EXAMPLES)]
pub struct StakeArgs {
    #[command(subcommand)]
    command: StakeCommand,
}

#[derive(Debug, Subcommand)]
enum StakeCommand {
    /// Put free balance behind a hotkey on a subnet
    Add(AddStake),
    /// Take stake back into free balance
    Remove(RemoveStake),
    /// Move stake to another hotkey, another subnet, or both
    Move(MoveStake),
    /// Set the share of its dividends that a hotkey keeps from those who stake on it
    Take(SetTake),
    /// Show what a coldkey has staked, where
    #[command(after_help = SHOW_EXAMPLES)]
    Show(BalanceArgs),
}

#[derive(Debug, Args)]
struct Pool {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey to stake on: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY", default_value = "default")]
    hotkey: String,
    /// Number of the subnet
    #[arg(long, value_name = "N")]
    netuid: Netuid,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct AddStake {
    #[command(flatten)]
    pool: Pool,
    /// How much, in whole units
    #[arg(long, value_name = "AMOUNT")]
    amount: Amount,
}

#[derive(Debug, Args)]
struct RemoveStake {
    #[command(flatten)]
    pool: Pool,
    /// How much, in whole units, or `all`
    #[arg(long, value_name = "AMOUNT", value_parser = part)]
    amount: Part,
}

#[derive(Debug, Args)]
struct MoveStake {
    #[command(flatten)]
    pool: Pool,
    /// Hotkey that it goes to: its name in the wallet, or an address [default: the same]
    #[arg(long, value_name = "HOTKEY")]
    to_hotkey: Option<String>,
    /// Number of the subnet that it goes to [default: the same]
    #[arg(long, value_name = "N")]
    to_netuid: Option<Netuid>,
    /// How much, in whole units, or `all`
    #[arg(long, value_name = "AMOUNT", value_parser = part)]
    amount: Part,
}

#[derive(Debug, Args)]
struct SetTake {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey whose take it is: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY", default_value = "default")]
    hotkey: String,
    /// The share in percent, with up to four decimals
    #[arg(long, value_name = "PERCENT", value_parser = ppm)]
    percent: u32,
    #[command(flatten)]
    submit: SubmitFlags,
}

/// Parts per million of a percentage.
fn ppm(text: &str) -> Result<u32, String> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_number = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 3 || decimals.len() > 4 || !is_number(whole) || !is_number(decimals)
    {
        return Err(format!(
            "{text:?} is no percentage: write 18 or 12.5, with four decimals at most"
        ));
    }
    let ppm = format!("{whole}{decimals:0<4}").parse().unwrap_or(u32::MAX);
    match ppm {
        0..=1_000_000 => Ok(ppm),
        _ => Err(format!("{text} % is more than all")),
    }
}

/// Some of a stake, or all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Some(Amount),
    All,
}

fn part(text: &str) -> Result<Part, String> {
    if text == "all" {
        return Ok(Part::All);
    }
    text.parse().map(Part::Some).map_err(|error| format!("{error}"))
}

/// Runs `agon balance`.
///
/// # Errors
///
/// When wallet or ledger cannot be read.
pub async fn balance(session: &Session, args: &BalanceArgs) -> anyhow::Result<()> {
    let account = account(session, args).await?;
    let coldkey = session.client()?.coldkey(Coldkey(account.account.0)).await;
    let coldkey = coldkey.map_err(told)?;
    session.show(&balance_json(&account, &coldkey), || {
        balance_text(&account, &coldkey)
    })
}

fn balance_json(account: &AccountView, coldkey: &ColdkeyView) -> Value {
    let mut value = account_json(account);
    let height = |height: Option<BlockNumber>| height.map(|height| height.0);
    let hotkeys = coldkey.hotkeys.iter().map(|owned| {
        json!({
            "hotkey": owned.hotkey.to_string(),
            "take_ppm": owned.take_ppm,
            "take_changed": height(owned.take_changed),
            "raise_from": owned.raise_from.0,
        })
    });
    value["hotkeys"] = hotkeys.collect();
    value["hotkey_count"] = coldkey.hotkey_count.into();
    value["swap"] = coldkey.swap.map_or(Value::Null, |swap| {
        json!({
            "new_coldkey": swap.new_coldkey.to_string(),
            "due": swap.due.0,
            "disputed": height(swap.disputed),
            "announce_from": height(swap.announce_from),
        })
    });
    value
}

fn balance_text(account: &AccountView, coldkey: &ColdkeyView) -> String {
    let staked: Amount = account.stakes.iter().map(|stake| stake.amount).sum();
    let AccountView {
        account: address,
        free,
        ..
    } = account;
    let total = free.saturating_add(staked);
    let mut lines = vec![format!(
        "address  {address}\nfree     {free}\nstaked   {staked}\ntotal    {total}"
    )];
    lines.extend(coldkey.hotkeys.iter().take(HOTKEYS_SHOWN).map(hotkey_text));
    let shown = coldkey.hotkeys.len().min(HOTKEYS_SHOWN) as u64;
    if coldkey.hotkey_count > shown {
        let more = coldkey.hotkey_count - shown;
        lines.push(format!("hotkey   and {more} more: --json lists them"));
    }
    lines.extend(coldkey.swap.map(|swap| swap_text(&swap, coldkey.height)));
    lines.join("\n")
}

fn hotkey_text(owned: &OwnedHotkeyView) -> String {
    let OwnedHotkeyView { hotkey, take_ppm, .. } = owned;
    let (whole, decimals) = (take_ppm / 10_000, take_ppm % 10_000);
    let percent = format!("{whole}.{decimals:04}");
    let percent = percent.trim_end_matches('0').trim_end_matches('.');
    match owned.take_changed {
        Some(height) => format!("hotkey   {hotkey}  take {percent} % since block {height}"),
        None => format!("hotkey   {hotkey}  take {percent} %, never set"),
    }
}

/// What is coming, as of the block at `now`.
fn swap_text(swap: &ColdkeySwapView, now: BlockNumber) -> String {
    let ColdkeySwapView { new_coldkey, due, .. } = swap;
    match (swap.disputed, swap.announce_from) {
        (Some(disputed), Some(from)) => {
            format!(
                "swap     to {new_coldkey} was disputed at block {disputed}; the next can be announced at block {from}"
            )
        }
        _ if *due <= now.next() => {
            format!("swap     to {new_coldkey} is due: either of the two coldkeys can carry it out")
        }
        _ => {
            let blocks = due.0.saturating_sub(now.0);
            format!(
                "swap     to {new_coldkey} is announced and due at block {due}, in {blocks} blocks; `agon wallet swap-coldkey dispute` cancels it"
            )
        }
    }
}

/// Runs `agon transfer`.
///
/// # Errors
///
/// When the ledger refuses it or cannot be reached.
pub async fn transfer(session: &Session, args: &TransferArgs) -> anyhow::Result<()> {
    let call = Call::Transfer {
        to: args.to,
        amount: args.amount,
    };
    let pair = args.coldkey.coldkey()?;
    submit(session, args.submit, &pair, call, Caution::Ask)
        .await
        .map(drop)
}

/// Runs `agon stake`.
///
/// # Errors
///
/// When the ledger refuses it or cannot be reached.
pub async fn stake(session: &Session, args: &StakeArgs) -> anyhow::Result<()> {
    match &args.command {
        StakeCommand::Add(args) => add(session, args).await,
        StakeCommand::Remove(args) => remove(session, args).await,
        StakeCommand::Move(args) => move_stake(session, args).await,
        StakeCommand::Take(args) => take(session, args).await,
        StakeCommand::Show(args) => show(session, args).await,
    }
}

async fn add(session: &Session, AddStake { pool, amount }: &AddStake) -> anyhow::Result<()> {
    let hotkey = pool.coldkey.hotkey(&pool.hotkey)?;
    let call = Call::AddStake {
        netuid: pool.netuid,
        hotkey,
        amount: *amount,
    };
    let pair = pool.coldkey.coldkey()?;
    submit(session, pool.submit, &pair, call, Caution::Ask)
        .await
        .map(drop)
}

async fn remove(session: &Session, RemoveStake { pool, amount }: &RemoveStake) -> anyhow::Result<()> {
    let hotkey = pool.coldkey.hotkey(&pool.hotkey)?;
    let amount = part_of(session, pool, hotkey, *amount).await?;
    let call = Call::RemoveStake {
        netuid: pool.netuid,
        hotkey,
        amount,
    };
    let pair = pool.coldkey.coldkey()?;
    submit(session, pool.submit, &pair, call, Caution::Ask)
        .await
        .map(drop)
}

async fn move_stake(session: &Session, args: &MoveStake) -> anyhow::Result<()> {
    let pool = &args.pool;
    let hotkey = pool.coldkey.hotkey(&pool.hotkey)?;
    let to_hotkey = match &args.to_hotkey {
        Some(name) => pool.coldkey.hotkey(name)?,
        None => hotkey,
    };
    let call = Call::MoveStake {
        from: (pool.netuid, hotkey),
        to: (args.to_netuid.unwrap_or(pool.netuid), to_hotkey),
        amount: part_of(session, pool, hotkey, args.amount).await?,
    };
    let pair = pool.coldkey.coldkey()?;
    submit(session, pool.submit, &pair, call, Caution::Ask)
        .await
        .map(drop)
}

async fn take(session: &Session, args: &SetTake) -> anyhow::Result<()> {
    let call = Call::SetTake {
        hotkey: args.coldkey.hotkey(&args.hotkey)?,
        take_ppm: args.percent,
    };
    let pair = args.coldkey.coldkey()?;
    submit(session, args.submit, &pair, call, Caution::None)
        .await
        .map(drop)
}

/// How much of the stake of the wallet's coldkey on `hotkey` is meant.
async fn part_of(session: &Session, pool: &Pool, hotkey: Hotkey, part: Part) -> anyhow::Result<Amount> {
    match part {
        Part::Some(amount) => Ok(amount),
        Part::All => {
            let owner = pool.coldkey.open()?.coldkey_public()?;
            staked(&session.client()?, owner, pool.netuid, hotkey).await
        }
    }
}

async fn staked(
    client: &LedgerClient,
    owner: Coldkey,
    netuid: Netuid,
    hotkey: Hotkey,
) -> anyhow::Result<Amount> {
    let account = client.account(owner.into()).await.map_err(told)?;
    let stake = account
        .stakes
        .iter()
        .find(|stake| stake.netuid == netuid && stake.hotkey == hotkey);
    let stake = stake.ok_or_else(|| {
        anyhow::anyhow!(
            "{owner} has no stake on {hotkey} in subnet {netuid}: agon stake show lists what it has"
        )
    })?;
    Ok(stake.amount)
}

async fn show(session: &Session, args: &BalanceArgs) -> anyhow::Result<()> {
    let account = account(session, args).await?;
    session.show(&account_json(&account), || {
        let columns = [
            ("netuid", Align::Right),
            ("hotkey", Align::Left),
            ("stake", Align::Right),
        ];
        let mut table = Table::new(&columns);
        for StakeView {
            netuid,
            hotkey,
            amount,
        } in &account.stakes
        {
            table.row([netuid.to_string(), hotkey.to_string(), amount.to_string()]);
        }
        format!("stake of {}\n{table}", account.account)
    })
}

async fn account(session: &Session, args: &BalanceArgs) -> anyhow::Result<AccountView> {
    let coldkey = args.coldkey.coldkey_public(args.address)?;
    session.client()?.account(coldkey.into()).await.map_err(told)
}

pub(crate) fn stake_json(stake: &StakeView) -> Value {
    let StakeView {
        netuid,
        hotkey,
        amount,
    } = stake;
    json!({ "netuid": netuid.0, "hotkey": hotkey.to_string(), "amount": amount.base_units() })
}

pub(crate) fn account_json(account: &AccountView) -> Value {
    json!({
        "address": account.account.to_string(),
        "nonce": account.nonce,
        "free": account.free.base_units(),
        "stakes": account.stakes.iter().map(stake_json).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_read_to_parts_per_million() {
        assert_eq!(ppm("18"), Ok(180_000));
        assert_eq!(ppm("12.5"), Ok(125_000));
        assert_eq!(ppm("0.0001"), Ok(1));
        assert_eq!(ppm("100"), Ok(1_000_000));
        for text in ["", "100.0001", "101", "1.00001", "-1", ".5", "1e2", "9999999999"] {
            assert!(ppm(text).is_err(), "{text} was read");
        }
    }

    #[test]
    fn a_part_is_an_amount_or_all() {
        assert_eq!(part("all"), Ok(Part::All));
        assert_eq!(part("0.5"), Ok(Part::Some(Amount::from_base_units(500_000_000))));
        assert!(part("everything").is_err());
    }
}

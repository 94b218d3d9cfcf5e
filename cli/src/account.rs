//! `agon balance`, `agon transfer` and `agon stake`: what an account holds, and how it moves.

use agon_ledger_client::LedgerClient;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Coldkey, Hotkey, Netuid};
use agon_protocol::message::{AccountView, Call, StakeView};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::keys::ColdkeyFlags;
use crate::output::{Align, Table};
use crate::session::{Caution, Session, SubmitFlags, submit, told};

const BALANCE_EXAMPLES: &str = "Examples:
  agon balance --wallet mine
  agon balance 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --json";

const TRANSFER_EXAMPLES: &str = "Examples:
  agon transfer --wallet mine --to 5Grw... --amount 12.5
  agon transfer --wallet mine --to 5Grw... --amount 12.5 --dry-run

Amounts are whole units with up to nine decimals.";

const STAKE_EXAMPLES: &str = "Examples:
  agon stake add --netuid 1 --wallet house --hotkey v0 --amount 1000
  agon stake remove --netuid 1 --wallet house --hotkey v0 --amount all
  agon stake show --wallet house";

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
    /// Show what a coldkey has staked, where
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
    session.show(&account_json(&account), || {
        let staked: Amount = account.stakes.iter().map(|stake| stake.amount).sum();
        let AccountView {
            account: address,
            free,
            ..
        } = &account;
        format!(
            "address  {address}\nfree     {free}\nstaked   {staked}\ntotal    {}",
            free.saturating_add(staked)
        )
    })
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
    let amount = match amount {
        Part::Some(amount) => *amount,
        Part::All => {
            let owner = pool.coldkey.open()?.coldkey_public()?;
            staked(&session.client()?, owner, pool.netuid, hotkey).await?
        }
    };
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

pub(crate) fn account_json(account: &AccountView) -> Value {
    let stake = |stake: &StakeView| {
        let StakeView {
            netuid,
            hotkey,
            amount,
        } = stake;
        json!({ "netuid": netuid.0, "hotkey": hotkey.to_string(), "amount": amount.base_units() })
    };
    json!({
        "address": account.account.to_string(),
        "nonce": account.nonce,
        "free": account.free.base_units(),
        "stakes": account.stakes.iter().map(stake).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_an_amount_or_all() {
        assert_eq!(part("all"), Ok(Part::All));
        assert_eq!(part("0.5"), Ok(Part::Some(Amount::from_base_units(500_000_000))));
        assert!(part("everything").is_err());
    }
}

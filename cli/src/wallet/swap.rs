//! `agon wallet swap-hotkey` and `agon wallet swap-coldkey`: keys that take the place of others on the ledger.

use agon_protocol::id::Coldkey;
use agon_protocol::message::Call;
use clap::{Args, Subcommand};

use crate::keys::ColdkeyFlags;
use crate::session::{Caution, Session, SubmitFlags, submit};

const HOTKEY_EXAMPLES: &str = "Examples:
  agon wallet hotkey --wallet mine --hotkey gpu0-new          make the new key first
  agon wallet swap-hotkey --wallet mine --hotkey gpu0 --new-hotkey gpu0-new --dry-run
  agon wallet swap-hotkey --wallet mine --hotkey gpu0 --new-hotkey gpu0-new

The new hotkey takes over UIDs, stake and everything else of the old one, which is used up for good.";

const COLDKEY_EXAMPLES: &str = "Examples:
  agon wallet swap-coldkey announce --wallet old --new-coldkey 5Grw...
  agon wallet swap-coldkey dispute --wallet old              whoever announced it, it is off
  agon wallet swap-coldkey execute --wallet old              when it is due
  agon wallet swap-coldkey execute --wallet new --coldkey 5Fhn...

A swap is announced, due some days later, and disputed until then by the old coldkey. Either of the two carries it \
out; where a coldkey has much, that takes several times.";

/// Flags of `agon wallet swap-hotkey`.
#[derive(Debug, Args)]
#[command(after_help = HOTKEY_EXAMPLES)]
pub(super) struct SwapHotkey {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Hotkey that goes: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY")]
    hotkey: String,
    /// Hotkey that comes, never used as one before: its name in the wallet, or an address
    #[arg(long, value_name = "HOTKEY")]
    new_hotkey: String,
    #[command(flatten)]
    submit: SubmitFlags,
}

/// Flags of `agon wallet swap-coldkey`.
#[derive(Debug, Args)]
#[command(after_help = COLDKEY_EXAMPLES)]
pub(super) struct SwapColdkey {
    #[command(subcommand)]
    command: ColdkeyCommand,
}

#[derive(Debug, Subcommand)]
enum ColdkeyCommand {
    /// Announce that another coldkey will take over all that this one has
    Announce(Announce),
    /// Cancel the announced swap of this coldkey
    Dispute(Dispute),
    /// Carry out an announced swap that is due
    Execute(Execute),
}

#[derive(Debug, Args)]
struct Announce {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Address of the coldkey that takes over
    #[arg(long, value_name = "ADDRESS")]
    new_coldkey: Coldkey,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Dispute {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    #[command(flatten)]
    submit: SubmitFlags,
}

#[derive(Debug, Args)]
struct Execute {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Address of the coldkey that hands over [default: that of the wallet]
    #[arg(long = "coldkey", value_name = "ADDRESS")]
    old_coldkey: Option<Coldkey>,
    #[command(flatten)]
    submit: SubmitFlags,
}

pub(super) async fn hotkey(session: &Session, args: &SwapHotkey) -> anyhow::Result<()> {
    let call = Call::SwapHotkey {
        hotkey: args.coldkey.hotkey(&args.hotkey)?,
        new_hotkey: args.coldkey.hotkey(&args.new_hotkey)?,
    };
    send(session, &args.coldkey, args.submit, call).await
}

pub(super) async fn coldkey(session: &Session, args: &SwapColdkey) -> anyhow::Result<()> {
    match &args.command {
        ColdkeyCommand::Announce(args) => {
            let new_coldkey = args.new_coldkey;
            let call = Call::AnnounceColdkeySwap { new_coldkey };
            send(session, &args.coldkey, args.submit, call).await
        }
        ColdkeyCommand::Dispute(args) => {
            send(session, &args.coldkey, args.submit, Call::DisputeColdkeySwap).await
        }
        ColdkeyCommand::Execute(args) => {
            let coldkey = args.coldkey.coldkey_public(args.old_coldkey)?;
            let call = Call::ExecuteColdkeySwap { coldkey };
            send(session, &args.coldkey, args.submit, call).await
        }
    }
}

async fn send(
    session: &Session,
    coldkey: &ColdkeyFlags,
    flags: SubmitFlags,
    call: Call,
) -> anyhow::Result<()> {
    let pair = coldkey.coldkey()?;
    submit(session, flags, &pair, call, Caution::Ask).await.map(drop)
}

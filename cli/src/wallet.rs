//! `agon wallet`: keys on disk, and texts signed with them.

mod exchange;
mod swap;

use std::path::{Path, PathBuf};

use agon_protocol::derive::Mnemonic;
use agon_protocol::id::{Account, Coldkey};
use agon_protocol::sign::{self, Purpose, Signature};
use agon_protocol::wallet::{ColdkeyProtection, Existing, HotkeySummary, Wallet, WalletSummary};
use agon_runtime::Entropy;
use agon_runtime::flags::WalletsDirFlag;
use anyhow::Context;
use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::keys::{ColdkeyFlags, PasswordFlags, open_wallet, read_secret};
use crate::output::{Align, Table};
use crate::session::Session;

const EXAMPLES: &str = "Examples:
  agon wallet create --wallet mine --hotkey gpu0      a coldkey with a password, and a hotkey
  agon wallet hotkey --wallet mine --hotkey gpu1      one more hotkey
  agon wallet public --wallet mine 5Grw...            on a host that serves: no coldkey there
  agon wallet regenerate --wallet mine                from words, typed unseen
  agon wallet import --wallet mine --file ~/.bittensor/wallets/mine/coldkey
  agon wallet export --wallet mine --to coldkey
  agon wallet sign --wallet mine 'it is me'
  agon wallet verify --address 5Grw... --signature 0x.. 'it is me'

A wallet is a folder: coldkey (owns stake, encrypted), coldkeypub.txt, hotkeys/ (sign online, plain).
Write the words down: nothing else brings a key back.";

/// Keys on disk.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct WalletArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a wallet with a new coldkey and a new hotkey, and print their words once
    Create(Create),
    /// Make a new hotkey in a wallet, and print its words once
    Hotkey(NewHotkey),
    /// Make a wallet that knows its coldkey's address only, for a host that serves with hotkeys
    Public(Public),
    /// Make a coldkey or hotkey again from its words, seed or secret URI
    Regenerate(Regenerate),
    /// Take a key from a file of another wallet
    Import(exchange::Import),
    /// Write a key to a file that other wallets read
    Export(exchange::Export),
    /// Replace a hotkey by a new one, everywhere on the ledger
    SwapHotkey(swap::SwapHotkey),
    /// Hand over all that a coldkey has to another: announce, dispute, execute
    SwapColdkey(swap::SwapColdkey),
    /// List wallets and their hotkeys
    List(WalletsDirFlag),
    /// Show one wallet's keys
    Show(Show),
    /// Sign a text with the coldkey, or with a hotkey
    Sign(Sign),
    /// Check a signature over a text; exit code 1 when it does not hold
    Verify(Verify),
}

#[derive(Debug, Args)]
struct Create {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Name of the first hotkey
    #[arg(long, value_name = "NAME", default_value = "default")]
    hotkey: String,
    /// Make no hotkey: for a wallet that only holds and owns
    #[arg(long, conflicts_with = "hotkey")]
    no_hotkey: bool,
    /// Keep the coldkey plain, and marked so: for local networks and tests
    #[arg(long)]
    unprotected: bool,
}

#[derive(Debug, Args)]
struct NewHotkey {
    #[command(flatten)]
    wallet: WalletName,
    /// Name of the new hotkey
    #[arg(long, value_name = "NAME")]
    hotkey: String,
}

#[derive(Debug, Args)]
struct Public {
    #[command(flatten)]
    wallet: WalletName,
    /// The coldkey's address
    address: Coldkey,
}

#[derive(Debug, Args)]
struct Regenerate {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Make this hotkey again, instead of the coldkey
    #[arg(long, value_name = "NAME")]
    hotkey: Option<String>,
    /// File with words, 0x seed or secret URI [default: the terminal, or standard input]
    #[arg(long, value_name = "FILE")]
    words_file: Option<PathBuf>,
    /// Keep the coldkey plain, and marked so: for local networks and tests
    #[arg(long, conflicts_with = "hotkey")]
    unprotected: bool,
    /// Replace a key that is there; without its words it is gone for good
    #[arg(long)]
    replace: bool,
}

#[derive(Debug, Args)]
struct Show {
    #[command(flatten)]
    wallet: WalletName,
}

#[derive(Debug, Args)]
struct Sign {
    #[command(flatten)]
    coldkey: ColdkeyFlags,
    /// Sign with this hotkey, instead of the coldkey
    #[arg(long, value_name = "NAME")]
    hotkey: Option<String>,
    /// The text
    text: String,
}

#[derive(Debug, Args)]
struct Verify {
    /// Address of the key that should have signed
    #[arg(long, value_name = "ADDRESS")]
    address: Account,
    /// The signature, 128 hex digits
    #[arg(long, value_name = "HEX")]
    signature: Signature,
    /// The text
    text: String,
}

/// A wallet by its name.
#[derive(Debug, Args)]
struct WalletName {
    /// Name of the wallet
    #[arg(long, value_name = "NAME", default_value = "default")]
    wallet: String,
    #[command(flatten)]
    wallets: WalletsDirFlag,
}

impl WalletName {
    fn open(&self) -> anyhow::Result<Wallet> {
        open_wallet(&self.wallets.dir()?, &self.wallet)
    }
}

/// Runs `agon wallet`.
///
/// # Errors
///
/// What is wrong with the folder, the key or the password; for swaps the ledger's refusal.
pub async fn run(session: &Session, args: &WalletArgs) -> anyhow::Result<()> {
    match &args.command {
        Command::Create(args) => create(session, args),
        Command::Hotkey(args) => hotkey(session, args),
        Command::Public(args) => public(session, args),
        Command::Regenerate(args) => regenerate(session, args),
        Command::Import(args) => exchange::import(session, args),
        Command::Export(args) => exchange::export(session, args),
        Command::SwapHotkey(args) => swap::hotkey(session, args).await,
        Command::SwapColdkey(args) => swap::coldkey(session, args).await,
        Command::List(args) => list(session, args),
        Command::Show(args) => show(session, args),
        Command::Sign(args) => sign(session, args),
        Command::Verify(args) => verify(session, args),
    }
}

/// How a new coldkey is kept; holds its password.
enum Protection {
    Password(Zeroizing<String>),
    Unprotected,
}

impl Protection {
    fn choose(unprotected: bool, flags: &PasswordFlags) -> anyhow::Result<Self> {
        if unprotected {
            Ok(Self::Unprotected)
        } else {
            flags.choose().map(Self::Password)
        }
    }

    fn of_coldkey(&self) -> ColdkeyProtection<'_> {
        match self {
            Self::Password(password) => ColdkeyProtection::password(password),
            Self::Unprotected => ColdkeyProtection::Unprotected,
        }
    }
}

/// A key that was just made.
#[derive(Debug, Serialize)]
struct NewKey {
    kind: &'static str,
    name: String,
    address: String,
    words: Option<String>,
}

fn create(session: &Session, args: &Create) -> anyhow::Result<()> {
    let ColdkeyFlags {
        wallet,
        wallets,
        password,
    } = &args.coldkey;
    let wallets = wallets.dir()?;
    let mut rng = Entropy::os().rng();
    make_wallets_dir(&wallets)?;
    let protection = Protection::choose(args.unprotected, password)?;
    let (made, words) = Wallet::create(&wallets, wallet, protection.of_coldkey(), &mut rng)?;
    let mut keys = vec![new_key("coldkey", wallet, made.coldkey_public()?.into(), &words)];
    if !args.no_hotkey {
        let (hotkey, words) = made.create_hotkey(&args.hotkey, &mut rng)?;
        keys.push(new_key("hotkey", &args.hotkey, hotkey.into(), &words));
    }
    show_new(session, &made, &keys)
}

fn hotkey(session: &Session, args: &NewHotkey) -> anyhow::Result<()> {
    let wallet = args.wallet.open()?;
    let (hotkey, words) = wallet.create_hotkey(&args.hotkey, &mut Entropy::os().rng())?;
    show_new(
        session,
        &wallet,
        &[new_key("hotkey", &args.hotkey, hotkey.into(), &words)],
    )
}

fn public(session: &Session, args: &Public) -> anyhow::Result<()> {
    let wallets = args.wallet.wallets.dir()?;
    make_wallets_dir(&wallets)?;
    let wallet = Wallet::create_public(&wallets, &args.wallet.wallet, args.address)?;
    show_new(
        session,
        &wallet,
        &[known_key("coldkey", wallet.name(), args.address.into())],
    )
}

fn regenerate(session: &Session, args: &Regenerate) -> anyhow::Result<()> {
    let existing = if args.replace {
        Existing::Replace
    } else {
        Existing::Refuse
    };
    let uri = read_secret(args.words_file.as_deref())?;
    if let Some(name) = &args.hotkey {
        let wallet = args.coldkey.open()?;
        let hotkey = wallet.regenerate_hotkey(name, &uri, existing)?;
        return show_new(session, &wallet, &[known_key("hotkey", name, hotkey.into())]);
    }
    let ColdkeyFlags {
        wallet,
        wallets,
        password,
    } = &args.coldkey;
    let wallets = wallets.dir()?;
    make_wallets_dir(&wallets)?;
    let protection = Protection::choose(args.unprotected, password)?;
    let mut rng = Entropy::os().rng();
    let made = Wallet::regenerate(
        &wallets,
        wallet,
        &uri,
        protection.of_coldkey(),
        existing,
        &mut rng,
    )?;
    let key = known_key("coldkey", wallet, made.coldkey_public()?.into());
    show_new(session, &made, &[key])
}

fn list(session: &Session, args: &WalletsDirFlag) -> anyhow::Result<()> {
    let dir = args.dir()?;
    let wallets = Wallet::list(&dir).with_context(|| format!("list the wallets in {}", dir.display()))?;
    let entries: Vec<Value> = wallets.iter().map(summary_json).collect();
    session.show(&entries, || match wallets.is_empty() {
        true => format!(
            "no wallets in {}; make one with agon wallet create",
            dir.display()
        ),
        false => summary_table(&wallets).to_string(),
    })
}

fn show(session: &Session, args: &Show) -> anyhow::Result<()> {
    let wallet = args.wallet.open()?;
    let summary = WalletSummary {
        name: wallet.name().to_owned(),
        coldkey: wallet.coldkey_public(),
        hotkeys: wallet.hotkeys(),
    };
    let mut value = summary_json(&summary);
    let keeps = match wallet.coldkey_is_encrypted() {
        Ok(true) => "encrypted",
        Ok(false) => "plain",
        Err(_) => "not on this host",
    };
    value["folder"] = json!(wallet.folder());
    value["coldkey_is"] = json!(keeps);
    session.show(&value, || {
        let table = summary_table(std::slice::from_ref(&summary));
        format!(
            "{table}\nthe coldkey is {keeps}; folder {}",
            wallet.folder().display()
        )
    })
}

fn sign(session: &Session, args: &Sign) -> anyhow::Result<()> {
    let pair = match &args.hotkey {
        None => args.coldkey.coldkey()?,
        Some(name) => args.coldkey.open()?.hotkey(name)?,
    };
    let signature = pair.sign(Purpose::Text, args.text.as_bytes());
    let address = Account(pair.public());
    let value = json!({ "address": address.to_string(), "signature": format!("0x{signature}") });
    session.show(&value, || format!("0x{signature}"))
}

fn verify(session: &Session, args: &Verify) -> anyhow::Result<()> {
    sign::verify(
        &args.address.0,
        Purpose::Text,
        args.text.as_bytes(),
        &args.signature,
    )?;
    let address = args.address;
    session.show(&json!({ "address": address.to_string(), "valid": true }), || {
        format!("signed by {address}")
    })
}

/// The wallet library makes a wallet's folder, not the folder of all wallets.
fn make_wallets_dir(dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("create {}", dir.display()))
}

fn new_key(kind: &'static str, name: &str, address: Account, words: &Mnemonic) -> NewKey {
    NewKey {
        words: Some(words.phrase().to_string()),
        ..known_key(kind, name, address)
    }
}

fn known_key(kind: &'static str, name: &str, address: Account) -> NewKey {
    NewKey {
        kind,
        name: name.to_owned(),
        address: address.to_string(),
        words: None,
    }
}

fn show_new(session: &Session, wallet: &Wallet, keys: &[NewKey]) -> anyhow::Result<()> {
    let value = json!({ "wallet": wallet.name(), "folder": wallet.folder(), "keys": keys });
    session.show(&value, || {
        let mut text: String = keys.iter().map(key_lines).collect();
        if keys.iter().any(|key| key.words.is_some()) {
            text.push_str("Write the words down and keep them apart: nothing else brings the keys back.\n");
        }
        text + &format!("folder {}", wallet.folder().display())
    })
}

fn key_lines(key: &NewKey) -> String {
    let NewKey {
        kind,
        name,
        address,
        words,
    } = key;
    let words = words
        .as_ref()
        .map_or(String::new(), |words| format!("  words  {words}\n"));
    format!("{kind} {name}  {address}\n{words}")
}

fn summary_json(summary: &WalletSummary) -> Value {
    let hotkeys = match &summary.hotkeys {
        Ok(hotkeys) => hotkeys.iter().map(hotkey_json).collect(),
        Err(error) => json!({ "error": error.to_string() }),
    };
    let mut value = json!({ "wallet": summary.name, "hotkeys": hotkeys });
    match &summary.coldkey {
        Ok(coldkey) => value["coldkey"] = json!(coldkey.to_string()),
        Err(error) => value["error"] = json!(error.to_string()),
    }
    value
}

fn hotkey_json(summary: &HotkeySummary) -> Value {
    match &summary.hotkey {
        Ok(hotkey) => json!({ "hotkey": summary.name, "address": hotkey.to_string() }),
        Err(error) => json!({ "hotkey": summary.name, "error": error.to_string() }),
    }
}

fn summary_table(wallets: &[WalletSummary]) -> Table {
    let mut table = Table::new(&[
        ("wallet", Align::Left),
        ("key", Align::Left),
        ("address", Align::Left),
    ]);
    for wallet in wallets {
        let coldkey = wallet
            .coldkey
            .as_ref()
            .map_or_else(ToString::to_string, ToString::to_string);
        table.row([wallet.name.clone(), "coldkey".to_owned(), coldkey]);
        match &wallet.hotkeys {
            Err(error) => table.row([wallet.name.clone(), "hotkeys".to_owned(), error.to_string()]),
            Ok(hotkeys) => {
                for HotkeySummary { name, hotkey } in hotkeys {
                    let address = hotkey
                        .as_ref()
                        .map_or_else(ToString::to_string, ToString::to_string);
                    table.row([wallet.name.clone(), format!("hotkey {name}"), address]);
                }
            }
        }
    }
    table
}

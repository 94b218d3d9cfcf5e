//! A small ledger in memory, for the unit tests of this crate.

use std::sync::{Arc, Mutex};

use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, Coldkey};
use agon_protocol::message::{Call, Genesis, GenesisAccount, Preset, Signed, Transaction};
use agon_protocol::sign::Keypair;

use crate::archive::Recent;
use crate::blocks::Blocks;
use crate::clerk::Clerk;
use crate::open;
use crate::relay::Relay;
use crate::store::{MemoryStore, Store};

/// Whole units that each funded account starts with.
pub(crate) const FUNDS_UNITS: u64 = 1_000;

pub(crate) fn pair(number: u8) -> Keypair {
    Keypair::from_mini_secret(&[number; 32])
}

pub(crate) fn coldkey(number: u8) -> Coldkey {
    Coldkey(pair(number).public())
}

pub(crate) fn units(units: u64) -> Amount {
    Amount::from_units(units).unwrap()
}

/// A genesis that funds accounts 1 to 4.
pub(crate) fn genesis() -> Genesis {
    let account = |number| GenesisAccount {
        coldkey: coldkey(number),
        amount: units(FUNDS_UNITS),
    };
    Genesis {
        name: String::from("test"),
        preset: Preset::Localnet,
        time_ms: 1_000,
        block_emission: units(1),
        committee: Vec::new(),
        beacon: None,
        accounts: (1..=4).map(account).collect(),
    }
}

pub(crate) fn call(number: u8, nonce: u64, call: Call) -> Signed<Transaction> {
    let signer = Account(pair(number).public());
    Signed::sign(
        Transaction {
            genesis: genesis().digest(),
            signer,
            nonce,
            call,
        },
        &pair(number),
    )
}

pub(crate) fn transfer(from: u8, nonce: u64, to: u8, amount_units: u64) -> Signed<Transaction> {
    call(
        from,
        nonce,
        Call::Transfer {
            to: coldkey(to),
            amount: units(amount_units),
        },
    )
}

/// A clerk and what it shares.
pub(crate) struct Ledger {
    pub(crate) clerk: Clerk,
    pub(crate) blocks: Arc<Blocks>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) recent: Arc<Mutex<Recent>>,
}

pub(crate) fn ledger() -> Ledger {
    let recent = Arc::new(Mutex::new(Recent::default()));
    let chain = open::open_in_memory(
        &genesis(),
        Arc::new(Blocks::in_memory()),
        Arc::new(MemoryStore::default()),
    );
    let chain = chain.unwrap();
    let (blocks, store) = (chain.blocks(), chain.store());
    let (clerk, _) = Clerk::new(chain, Arc::clone(&recent), Relay::default());
    Ledger {
        clerk,
        blocks,
        store,
        recent,
    }
}

pub(crate) fn clerk() -> Clerk {
    ledger().clerk
}

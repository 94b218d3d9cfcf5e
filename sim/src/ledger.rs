//! A subnet on the real state machine: blocks of signed transactions, one after the other.
//!
//! Height is the only time, a millisecond a block unless a ledger says otherwise. A block's hash is taken to be a digest of its height, since no header is made of it.

use std::collections::BTreeMap;

use agon_ledger_state::{Applied, BlockInput, EpochRecord, Refusal, State};
use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::id::{Account, BlockNumber, Digest, Netuid, Uid};
use agon_protocol::message::{
    Call, Genesis, GenesisAccount, Preset, Signed, SubnetView, Transaction, Weights,
};
use agon_protocol::sign::Keypair;
use agon_protocol::timelock::Beacon;

/// The subnet.
pub const SUBNET: Netuid = Netuid(1);
/// Whole units that each coldkey has at first.
const FUNDS: u64 = 200_000;
/// Most blocks until an epoch: a run that waits longer has gone wrong.
const BLOCKS_MAX: u32 = 10_000;

/// A person: a coldkey and one hotkey.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Holds and pays.
    pub coldkey: Keypair,
    /// Signs as a neuron.
    pub hotkey: Keypair,
}

impl Actor {
    /// The actor of a number under a seed.
    #[must_use]
    pub fn new(seed: u64, number: u64) -> Self {
        Self {
            coldkey: pair(seed, number, "coldkey"),
            hotkey: pair(seed, number, "hotkey"),
        }
    }
}

/// A key pair of its own for every seed, number and purpose.
#[must_use]
pub fn pair(seed: u64, number: u64, purpose: &str) -> Keypair {
    let material = [&seed.to_le_bytes(), &number.to_le_bytes(), purpose.as_bytes()].concat();
    Keypair::from_mini_secret(&blake3::derive_key("agon.sim.v1 key", &material))
}

/// A ledger with one started subnet, and a block being filled.
#[derive(Clone, Debug)]
pub struct Ledger {
    state: State,
    queue: Vec<Signed<Transaction>>,
    /// From one block to the next.
    block_ms: u64,
    /// Bytes of each entry of the state.
    entry_bytes: BTreeMap<Vec<u8>, usize>,
    /// Transactions that were applied, and their bytes.
    applied: (u64, u64),
}

impl Ledger {
    /// A ledger of these actors, the first of whom owns the subnet, which is started under these parameters.
    ///
    /// # Panics
    ///
    /// When a parameter is unknown or out of bounds, or there are more actors than the supply has funds for: the
    /// simulation's own mistake.
    #[must_use]
    pub fn new(actors: &[Actor], parameters: &[(&str, u64)]) -> Self {
        Self::timed(actors, parameters, None, 1)
    }

    /// The same with a beacon for weights that open by themselves, and a block each `block_ms`.
    ///
    /// # Panics
    ///
    /// As [`Ledger::new`], and when the beacon cannot be one.
    #[must_use]
    pub fn timed(
        actors: &[Actor],
        parameters: &[(&str, u64)],
        beacon: Option<Beacon>,
        block_ms: u64,
    ) -> Self {
        let genesis = Genesis {
            name: String::from("simulation"),
            preset: Preset::Localnet,
            time_ms: 0,
            block_emission: units(1),
            committee: Vec::new(),
            accounts: actors.iter().map(account).collect(),
            beacon,
        };
        let mut ledger = Self {
            state: State::genesis(&genesis).expect("funds are within the supply, and the beacon is one"),
            queue: Vec::new(),
            block_ms,
            entry_bytes: BTreeMap::new(),
            applied: (0, 0),
        };
        let owner = &actors[0].coldkey;
        ledger.must(owner, create());
        ledger.must(owner, Call::StartSubnet { netuid: SUBNET });
        for (name, value) in parameters {
            ledger.must(owner, set(name, *value));
        }
        ledger.block();
        for _ in 0..=ledger
            .state
            .network(agon_ledger_state::NetworkParameterId::NoticeTempos)
        {
            ledger.close_tempo();
        }
        ledger
    }

    /// The state after the newest block.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The subnet's record.
    ///
    /// # Panics
    ///
    /// Never: the subnet was made with the ledger.
    #[must_use]
    pub fn subnet(&self) -> SubnetView {
        self.state.subnet(SUBNET).expect("made with the ledger")
    }

    /// Number of the running tempo.
    #[must_use]
    pub fn tempo(&self) -> u64 {
        self.subnet().tempo
    }

    /// Bytes of all entries, keys included, that the state holds.
    #[must_use]
    pub fn state_bytes(&self) -> u64 {
        let of_entry = |(key, bytes): (&Vec<u8>, &usize)| (key.len() + bytes) as u64;
        self.entry_bytes.iter().map(of_entry).sum()
    }

    /// Transactions that were applied since the beginning, and their bytes with signatures.
    #[must_use]
    pub const fn applied(&self) -> (u64, u64) {
        self.applied
    }

    /// Puts a signed call into the next block.
    pub fn submit(&mut self, signer: &Keypair, call: Call) {
        let account = Account(signer.public());
        let of_signer = |tx: &&Signed<Transaction>| tx.message().signer == account;
        let waiting = self.queue.iter().filter(of_signer).count() as u64;
        let transaction = Transaction {
            genesis: self.state.genesis_digest(),
            signer: account,
            nonce: self.state.account(&account).nonce + waiting,
            call,
        };
        self.queue.push(Signed::sign(transaction, signer));
    }

    /// Applies the next block.
    pub fn block(&mut self) -> Applied {
        let transactions = std::mem::take(&mut self.queue);
        let height = self.state.height();
        let applied = self.state.apply(BlockInput {
            height: height.next(),
            parent: hash_of(height, &self.state),
            time_ms: height.0 * self.block_ms,
            forms_committee: false,
            transactions: &transactions,
        });
        for (transaction, outcome) in transactions.iter().zip(&applied.outcomes) {
            if outcome.is_ok() {
                self.applied.0 += 1;
                self.applied.1 += codec::encode(transaction).len() as u64;
            }
        }
        for (key, value) in self.state.take_changes() {
            match value {
                Some(value) => self.entry_bytes.insert(key, value.len()),
                None => self.entry_bytes.remove(&key),
            };
        }
        applied
    }

    /// Applies a block with one call and gives its refusal, if it was refused.
    ///
    /// # Errors
    ///
    /// The ledger's [`Refusal`].
    pub fn try_call(&mut self, signer: &Keypair, call: Call) -> Result<(), Refusal> {
        self.submit(signer, call);
        self.block().outcomes.pop().unwrap_or(Ok(()))
    }

    /// Applies a block with one call that the rules allow.
    ///
    /// # Panics
    ///
    /// When the ledger refuses it: the simulation's own mistake.
    pub fn must(&mut self, signer: &Keypair, call: Call) {
        let name = call.name();
        if let Err(refusal) = self.try_call(signer, call) {
            panic!("{name} was refused: {refusal}");
        }
    }

    /// Applies blocks until one runs the subnet's epoch, and gives what the ledger keeps of it, if anybody holds a UID.
    ///
    /// # Panics
    ///
    /// When no epoch runs within ten thousand blocks: tempos are shorter.
    pub fn close_tempo(&mut self) -> Option<EpochRecord> {
        for _ in 0..BLOCKS_MAX {
            let applied = self.block();
            if let Some(epoch) = applied.begun.epochs.iter().find(|epoch| epoch.netuid == SUBNET) {
                return self.state.epoch_record(SUBNET, epoch.tempo);
            }
        }
        panic!("no epoch within {BLOCKS_MAX} blocks");
    }
}

fn account(actor: &Actor) -> GenesisAccount {
    GenesisAccount {
        coldkey: actor.coldkey.coldkey(),
        amount: units(FUNDS),
    }
}

fn hash_of(height: BlockNumber, state: &State) -> Digest {
    match height.0 {
        0 => state.genesis_digest(),
        _ => codec::digest("agon 2026-11 test block", &height.0.to_be_bytes()),
    }
}

/// An amount of whole units, of which few exist.
///
/// # Panics
///
/// When it is more than an amount can hold.
#[must_use]
pub fn units(units: u64) -> Amount {
    Amount::from_units(units).expect("fewer than the supply")
}

fn create() -> Call {
    Call::CreateSubnet {
        task: String::from("reading"),
        lock_max: units(1_000),
    }
}

/// The call that announces a parameter of the subnet.
#[must_use]
pub fn set(name: &str, value: u64) -> Call {
    Call::SetParameter {
        netuid: SUBNET,
        name: name.to_owned(),
        value,
    }
}

/// The call that gives an actor a UID.
#[must_use]
pub fn register(actor: &Actor) -> Call {
    Call::Register {
        netuid: SUBNET,
        hotkey: actor.hotkey.hotkey(),
        price_max: units(1_000),
    }
}

/// The call that stakes an actor's own units on its hotkey.
#[must_use]
pub fn stake(actor: &Actor, amount: Amount) -> Call {
    Call::AddStake {
        netuid: SUBNET,
        hotkey: actor.hotkey.hotkey(),
        amount,
    }
}

/// Weights of a tempo, of one row.
#[must_use]
pub fn weights(tempo: u64, row: &[(u16, u16)]) -> Weights {
    Weights {
        tempo,
        uids: row.iter().map(|(uid, _)| Uid(*uid)).collect(),
        values: row.iter().map(|(_, value)| *value).collect(),
        salt: [7; 32],
        version: 0,
    }
}

/// The call that commits to weights.
#[must_use]
pub fn commit(actor: &Actor, weights: &Weights) -> Call {
    Call::CommitWeights {
        netuid: SUBNET,
        commit: weights.commit(SUBNET, actor.hotkey.hotkey()),
    }
}

/// The call that reveals weights.
#[must_use]
pub fn reveal(weights: &Weights) -> Call {
    Call::RevealWeights {
        netuid: SUBNET,
        weights: weights.clone(),
    }
}

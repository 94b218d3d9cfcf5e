//! Behaviour of whole states, block by block.
//!
//! Keys are named by a number. Coldkeys 1 to 9 start with [`FUNDS`] each; hotkeys are 101 and up.

mod changes;
mod committee;
mod dissolving;
mod epochs;
mod evidence;
mod fees;
mod golden;
mod money;
mod properties;
mod rows;
mod slots;
mod staking;
mod swaps;
mod timelock;
mod weighing;

use std::collections::BTreeMap;

use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    Call, EpochView, Genesis, GenesisAccount, NeuronView, OpenedSealView, Preset, Signed, SubnetView,
    Transaction, Weights,
};
use agon_protocol::sign::Keypair;

use crate::{Begun, Checked, Refusal, State};

/// Free balance of each coldkey at genesis, in whole units.
const FUNDS: u64 = 10_000;

/// The subnet most tests are about.
const SUBNET: Netuid = Netuid(1);

fn pair(key: u8) -> Keypair {
    Keypair::from_mini_secret(&[key; 32])
}

fn coldkey(key: u8) -> Coldkey {
    pair(key).coldkey()
}

fn hotkey(key: u8) -> Hotkey {
    pair(key).hotkey()
}

fn units(units: u64) -> Amount {
    Amount::from_units(units).unwrap()
}

fn base(base_units: u64) -> Amount {
    Amount::from_base_units(base_units)
}

fn genesis() -> Genesis {
    let account = |key| GenesisAccount {
        coldkey: coldkey(key),
        amount: units(FUNDS),
    };
    Genesis {
        name: String::from("test"),
        preset: Preset::Localnet,
        time_ms: 0,
        block_emission: units(1),
        committee: Vec::new(),
        beacon: None,
        accounts: (1..=9).map(account).collect(),
    }
}

/// What a block's hash is taken to be; a state never sees its own.
fn block_hash(height: BlockNumber) -> Digest {
    agon_protocol::codec::digest("agon 2026-11 test block", &height.0.to_be_bytes())
}

/// A state, and blocks for it. Every block's invariants are checked.
#[derive(Clone)]
struct Ledger {
    state: State,
    /// What each coldkey has paid in fees.
    fees: BTreeMap<Coldkey, Amount>,
    /// What was sealed and came due since the test looked last.
    opened: Vec<OpenedSealView>,
    /// Time from one block to the next.
    block_ms: u64,
}

impl Ledger {
    fn new() -> Self {
        Self::of(&genesis())
    }

    fn of(genesis: &Genesis) -> Self {
        Self {
            state: State::genesis(genesis).unwrap(),
            fees: BTreeMap::new(),
            opened: Vec::new(),
            block_ms: 1,
        }
    }

    /// A ledger with the times of a public network.
    fn mainnet() -> Self {
        Self::of(&Genesis {
            preset: Preset::Mainnet,
            ..genesis()
        })
    }

    /// What a call would do in the next block.
    fn effect(&self, key: u8, call: Call) -> String {
        self.state.check(&self.tx(key, call)).unwrap().effect.to_string()
    }

    /// A ledger whose coldkey 1 owns [`SUBNET`], started, with tempos of 10 blocks, no rate limits and no evidence.
    fn with_subnet() -> Self {
        Self::new().and_subnet()
    }

    /// This ledger with the subnet of [`Ledger::with_subnet`].
    fn and_subnet(mut self) -> Self {
        let ledger = &mut self;
        ledger.ok(1, create());
        ledger.ok(1, Call::StartSubnet { netuid: SUBNET });
        for (name, value) in [
            ("tempo_blocks", 10),
            ("weights_rate_limit_blocks", 0),
            ("axon_rate_limit_blocks", 0),
            // The tests of evidence turn it on.
            ("evidence_openings", 0),
        ] {
            ledger.ok(1, set(name, value));
        }
        ledger.close_tempo();
        self
    }

    /// Opens the next block and gives the epochs it ran.
    fn begin(&mut self) -> Vec<EpochView> {
        let height = self.state.height();
        let parent = match height.0 {
            0 => self.state.genesis_digest(),
            _ => block_hash(height),
        };
        let Begun { epochs, opened } =
            self.state
                .begin_block(height.next(), parent, height.0 * self.block_ms);
        self.opened.extend(opened);
        assert_eq!(
            self.state.check_invariants(),
            Ok(()),
            "after the epochs of block {}",
            height.next()
        );
        epochs
    }

    fn tx(&self, key: u8, call: Call) -> Signed<Transaction> {
        let signer = Account(pair(key).public());
        let nonce = self.state.account(&signer).nonce;
        Signed::sign(
            Transaction {
                genesis: self.state.genesis_digest(),
                signer,
                nonce,
                call,
            },
            &pair(key),
        )
    }

    /// Applies a call to the block that was begun last.
    fn transact(&mut self, key: u8, call: Call) -> Result<(), Refusal> {
        let tx = self.tx(key, call);
        let (root, entries) = (self.state.root(), self.state.clone());
        let outcome = self.state.transact(&tx);
        match &outcome {
            Err(_) => assert_eq!(
                (self.state.root(), &self.state),
                (root, &entries),
                "a refused transaction changed something"
            ),
            Ok(Checked { fee, payer, .. }) => {
                let paid = self.fees.entry(*payer).or_default();
                *paid = paid.saturating_add(*fee);
            }
        }
        assert_eq!(self.state.check_invariants(), Ok(()));
        outcome.map(drop)
    }

    /// A block with one call, which must not be refused.
    #[track_caller]
    fn ok(&mut self, key: u8, call: Call) {
        self.begin();
        let name = call.name();
        if let Err(refusal) = self.transact(key, call) {
            panic!("{name} by key {key} was refused: {refusal}");
        }
    }

    /// A block with one call that must be refused by `rule`; gives the sentence. The dry run must say the same.
    #[track_caller]
    fn refused(&mut self, key: u8, call: Call, rule: &str) -> String {
        self.begin();
        self.refused_now(key, call, rule)
    }

    /// As [`Ledger::refused`], in the block that was begun last.
    #[track_caller]
    fn refused_now(&mut self, key: u8, call: Call, rule: &str) -> String {
        let name = call.name();
        let refusal = self
            .transact(key, call)
            .expect_err(&format!("{name} by key {key} was not refused"));
        assert_eq!(refusal.rule(), rule, "{refusal}");
        refusal.to_string()
    }

    fn advance(&mut self, blocks: u64) -> Vec<EpochView> {
        (0..blocks).flat_map(|_| self.begin()).collect()
    }

    /// Begins blocks until one runs the epoch of [`SUBNET`]; that block is open afterwards.
    fn close_tempo(&mut self) -> EpochView {
        for _ in 0..1_000 {
            if let Some(epoch) = self.begin().into_iter().find(|epoch| epoch.netuid == SUBNET) {
                return epoch;
            }
        }
        panic!("no epoch within 1000 blocks");
    }

    fn register(&mut self, coldkey: u8, hotkeys: impl IntoIterator<Item = u8>) {
        for key in hotkeys {
            self.ok(coldkey, register(key));
        }
    }

    /// The free balance as it would be without fees, so that tests of other rules need not know them.
    fn free(&self, key: u8) -> Amount {
        let fees = self.fees.get(&coldkey(key)).copied().unwrap_or_default();
        self.state.account(&coldkey(key).into()).free.saturating_add(fees)
    }

    /// What was burned besides fees.
    fn burned(&self) -> Amount {
        let fees: Amount = self.fees.values().copied().sum();
        self.state.burned().saturating_sub(fees)
    }

    fn subnet(&self) -> SubnetView {
        self.state.subnet(SUBNET).unwrap()
    }

    fn neuron(&self, uid: u16) -> NeuronView {
        self.state.metagraph(SUBNET).unwrap().neurons[usize::from(uid)].clone()
    }

    /// Weights of the running tempo, of tempo 0 where the subnet is gone.
    fn weights(&self, row: &[(u16, u16)]) -> Weights {
        let tempo = self.state.subnet(SUBNET).map_or(0, |subnet| subnet.tempo);
        weights(tempo, row)
    }
}

fn weights(tempo: u64, row: &[(u16, u16)]) -> Weights {
    Weights {
        tempo,
        uids: row.iter().map(|(uid, _)| Uid(*uid)).collect(),
        values: row.iter().map(|(_, value)| *value).collect(),
        salt: [7; 32],
        version: 0,
    }
}

fn create() -> Call {
    Call::CreateSubnet {
        task: String::from("reading"),
        lock_max: units(1_000),
    }
}

fn set(name: &str, value: u64) -> Call {
    Call::SetParameter {
        netuid: SUBNET,
        name: name.to_owned(),
        value,
    }
}

fn register(key: u8) -> Call {
    Call::Register {
        netuid: SUBNET,
        hotkey: hotkey(key),
        price_max: units(100),
    }
}

fn stake(key: u8, amount: Amount) -> Call {
    Call::AddStake {
        netuid: SUBNET,
        hotkey: hotkey(key),
        amount,
    }
}

fn unstake(key: u8, amount: Amount) -> Call {
    Call::RemoveStake {
        netuid: SUBNET,
        hotkey: hotkey(key),
        amount,
    }
}

fn commit(key: u8, weights: &Weights) -> Call {
    Call::CommitWeights {
        netuid: SUBNET,
        commit: weights.commit(SUBNET, hotkey(key)),
    }
}

fn reveal(weights: &Weights) -> Call {
    Call::RevealWeights {
        netuid: SUBNET,
        weights: weights.clone(),
    }
}

fn transfer(to: u8, amount: Amount) -> Call {
    Call::Transfer {
        to: coldkey(to),
        amount,
    }
}

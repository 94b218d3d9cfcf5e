//! A ledger in a folder, and a subnet of 256 UIDs whose hotkeys write to it.

#![allow(dead_code, reason = "each bench uses its part")]

use agon_ledger_node::chain::{Chain, Ledger};
use agon_ledger_node::folder::Folder;
use agon_ledger_node::open;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    Call, FinalBlock, Genesis, GenesisAccount, Preset, Signed, Transaction, Weights,
};
use agon_protocol::sign::Keypair;

pub(crate) const UIDS: u16 = 256;
pub(crate) const NETUID: Netuid = Netuid(1);

pub(crate) fn units(units: u64) -> Amount {
    Amount::from_units(units).unwrap()
}

pub(crate) fn pair(number: u16) -> Keypair {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    Keypair::from_mini_secret(&seed)
}

/// A ledger and those who write to it: key 0 owns the subnet and all hotkeys, keys 1 to 256 are the hotkeys; any further
/// ones have a balance.
pub(crate) struct Bench {
    pub(crate) chain: Chain,
    pub(crate) genesis: Digest,
    pub(crate) pairs: Vec<Keypair>,
    nonces: Vec<u64>,
    pub(crate) waiting: Vec<Signed<Transaction>>,
}

impl Bench {
    pub(crate) fn begin(folder: &Folder, tempo_blocks: u64, accounts: u16) -> Self {
        let pairs: Vec<Keypair> = (0..=UIDS + accounts).map(pair).collect();
        let further = pairs[usize::from(UIDS) + 1..].iter();
        let further = further.map(|pair| GenesisAccount {
            coldkey: pair.coldkey(),
            amount: units(100),
        });
        let genesis = Genesis {
            name: String::from("disk"),
            preset: Preset::Localnet,
            time_ms: 0,
            block_emission: units(1),
            accounts: std::iter::once(GenesisAccount {
                coldkey: Coldkey(pairs[0].public()),
                amount: units(1_000_000),
            })
            .chain(further)
            .collect(),
            committee: Vec::new(),
            beacon: None,
        };
        folder.begin(&genesis).unwrap();
        let mut bench = Self {
            chain: open::open(folder, &genesis).unwrap(),
            genesis: genesis.digest(),
            nonces: vec![0; pairs.len()],
            pairs,
            waiting: Vec::new(),
        };
        bench.set_up(tempo_blocks);
        bench
    }

    fn set_up(&mut self, tempo_blocks: u64) {
        self.owner(Call::CreateSubnet {
            task: String::from("reading"),
            lock_max: units(10_000),
        });
        for (name, value) in [
            ("registration_bump_ppm", 1_000_000),
            ("max_validators", UIDS.into()),
            ("weights_rate_limit_blocks", 0),
            ("tempo_blocks", tempo_blocks),
        ] {
            let name = name.to_owned();
            self.owner(Call::SetParameter {
                netuid: NETUID,
                name,
                value,
            });
        }
        self.owner(Call::StartSubnet { netuid: NETUID });
        // The parameters come into force.
        self.tempos(3);
        for number in 1..=usize::from(UIDS) {
            let hotkey = self.hotkey(number);
            self.owner(Call::Register {
                netuid: NETUID,
                hotkey,
                price_max: units(100),
            });
            let amount = units(10 + number as u64 % 7);
            self.owner(Call::AddStake {
                netuid: NETUID,
                hotkey,
                amount,
            });
            if self.waiting.len() > 200 {
                self.block();
            }
        }
        // The permits come.
        self.tempos(2);
    }

    pub(crate) fn hotkey(&self, number: usize) -> Hotkey {
        Hotkey(self.pairs[number].public())
    }

    fn owner(&mut self, call: Call) {
        self.send(0, call);
    }

    pub(crate) fn send(&mut self, number: usize, call: Call) {
        let pair = &self.pairs[number];
        let transaction = Transaction {
            genesis: self.genesis,
            signer: Account(pair.public()),
            nonce: self.nonces[number],
            call,
        };
        self.nonces[number] += 1;
        self.waiting.push(Signed::sign(transaction, pair));
    }

    pub(crate) fn height(&self) -> u64 {
        self.chain.head().height.0
    }

    pub(crate) fn tempo(&self) -> u64 {
        self.chain.state().subnet(NETUID).map_or(0, |subnet| subnet.tempo)
    }

    /// Makes one block of what waits.
    pub(crate) fn block(&mut self) {
        let time_ms = self.height() * 12_000;
        let proposal = self.chain.propose(std::mem::take(&mut self.waiting), time_ms);
        assert!(proposal.refused.is_empty(), "{}", proposal.refused[0].1);
        self.chain.check(&proposal.block).unwrap();
        self.chain.commit(FinalBlock::solo(proposal.block)).unwrap();
    }

    pub(crate) fn tempos(&mut self, count: u64) {
        self.block();
        let until = self.tempo() + count;
        while self.tempo() < until {
            self.block();
        }
    }

    pub(crate) fn weights(&self, number: usize, tempo: u64) -> Weights {
        let others = (0..UIDS).filter(|uid| usize::from(*uid) + 1 != number);
        let value = |uid: u16| 1 + (u64::from(uid) * 37 + number as u64 * 11 + tempo * 5) as u16 % 60_000;
        Weights {
            tempo,
            uids: others.clone().map(Uid).collect(),
            values: others.map(value).collect(),
            salt: [number as u8; 32],
            version: 0,
        }
    }

    /// Makes blocks until `height`: in the first blocks of each tempo everybody reveals the weights of the last one
    /// and commits new ones, in blocks of 64 neurons.
    pub(crate) fn run_until(&mut self, height: u64, committed: &mut Option<u64>) {
        while self.height() < height {
            let tempo = self.tempo();
            if *committed == Some(tempo) {
                self.block();
                continue;
            }
            let before = committed.replace(tempo);
            for numbers in (1..=usize::from(UIDS)).collect::<Vec<_>>().chunks(64) {
                for number in numbers {
                    if let Some(before) = before {
                        let weights = self.weights(*number, before);
                        self.send(
                            *number,
                            Call::RevealWeights {
                                netuid: NETUID,
                                weights,
                            },
                        );
                    }
                    let commit = self.weights(*number, tempo).commit(NETUID, self.hotkey(*number));
                    self.send(
                        *number,
                        Call::CommitWeights {
                            netuid: NETUID,
                            commit,
                        },
                    );
                }
                self.block();
            }
        }
    }
}

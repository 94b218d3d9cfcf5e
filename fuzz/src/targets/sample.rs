//! A small ledger that seeds are made of: a genesis with a committee of one, a subnet with neurons, weights, an
//! epoch that paid, and the blocks of all that.

use std::sync::OnceLock;

use agon_ledger_replay::follow::{Position, input};
use agon_ledger_state::State;
use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::merkle;
use agon_protocol::message::{
    Axon, AxonModel, Block, Call, Carried, Certificate, Committee, EvidenceCommit, FinalBlock, Genesis,
    GenesisAccount, GenesisMember, Header, Leaf, Member, OpenedLeaf, Preset, Signed, Trail, TrailAnswer,
    Transaction, Weights, Worth, commit_signature,
};
use agon_protocol::sign::Keypair;
use agon_protocol::timelock::{Beacon, BeaconSecret};

/// Keys that have a number; others do not come up.
pub(super) const KEYS: u8 = 32;
/// Number of the committee's consensus key.
pub(super) const VOTER: u8 = 31;

/// The key of a number below [`KEYS`]. Making one costs more than looking it up.
pub(super) fn pair(number: u8) -> &'static Keypair {
    static PAIRS: OnceLock<Vec<Keypair>> = OnceLock::new();
    let make = || {
        (0..KEYS)
            .map(|it| Keypair::from_mini_secret(&[it + 1; 32]))
            .collect()
    };
    &PAIRS.get_or_init(make)[usize::from(number % KEYS)]
}

pub(super) fn coldkey(number: u8) -> Coldkey {
    pair(number).coldkey()
}

pub(super) fn hotkey(number: u8) -> Hotkey {
    pair(number).hotkey()
}

pub(super) fn units(units: u64) -> Amount {
    Amount::from_units(units).expect("a sample's amounts fit")
}

/// Makes the pulses of every sample's ledger.
pub(super) fn beacon_secret() -> BeaconSecret {
    BeaconSecret::from_seed(&[9; 32])
}

/// A genesis that funds keys 0 to 7, with a beacon.
pub(super) fn genesis(preset: Preset, committee: Vec<GenesisMember>) -> Genesis {
    let account = |number| GenesisAccount {
        coldkey: coldkey(number),
        amount: units(10_000),
    };
    Genesis {
        name: String::from("fuzz"),
        preset,
        time_ms: 1_000,
        block_emission: units(1),
        accounts: (0..8).map(account).collect(),
        committee,
        beacon: Some(Beacon {
            public_key: beacon_secret().public_key(),
            first_ms: 0,
            period_ms: Beacon::PERIOD_MS_MIN,
        }),
    }
}

/// Hotkey 16 of coldkey 0, voting with key 31.
pub(super) fn member() -> GenesisMember {
    GenesisMember {
        hotkey: hotkey(16),
        coldkey: coldkey(0),
        consensus_key: pair(VOTER).consensus_key(),
        bond: units(1_000),
    }
}

pub(super) fn sign(genesis: Digest, number: u8, nonce: u64, call: Call) -> Signed<Transaction> {
    let pair = pair(number);
    let signer = Account(pair.public());
    let transaction = Transaction {
        genesis,
        signer,
        nonce,
        call,
    };
    Signed::sign(transaction, pair)
}

/// A ledger and what it went through.
pub(super) struct Sample {
    pub(super) genesis: Genesis,
    pub(super) now: Position,
    pub(super) blocks: Vec<FinalBlock>,
    /// The state after each block, that of the genesis first.
    pub(super) states: Vec<State>,
}

impl Sample {
    fn begin(committee: Vec<GenesisMember>) -> Self {
        let genesis = genesis(Preset::Localnet, committee);
        let now = Position::genesis(&genesis).expect("the sample's genesis is valid");
        let states = vec![now.state.clone()];
        Self {
            genesis,
            now,
            blocks: Vec::new(),
            states,
        }
    }

    /// A block with these calls; those that are refused are left out.
    pub(super) fn block(&mut self, calls: &[(u8, Call)]) {
        let genesis = self.genesis.digest();
        let mut trial = self.now.state.clone();
        let Position { head, state } = &self.now;
        trial.begin_block(head.height.next(), head.hash, head.time_ms + 1_000);
        let mut transactions = Vec::new();
        for (number, call) in calls {
            let nonce = trial.account(&Account(pair(*number).public())).nonce;
            let transaction = sign(genesis, *number, nonce, call.clone());
            if trial.transact(&transaction).is_ok() {
                transactions.push(transaction);
            }
        }
        let mut next = state.clone();
        next.apply(input(head, head.time_ms + 1_000, &transactions));
        let header = Header {
            height: head.height.next(),
            parent: head.hash,
            time_ms: head.time_ms + 1_000,
            transactions: Block::transactions_digest(&transactions),
            state_root: next.root(),
            next_committee: next.committee().digest(),
        };
        let certificate = (!state.committee().is_empty()).then(|| certified(&header, genesis));
        let block = Block { header, transactions };
        let block = FinalBlock { block, certificate };
        self.now
            .follow(&block)
            .expect("the sample's blocks follow each other");
        self.blocks.push(block);
        self.states.push(self.now.state.clone());
    }
}

/// A certificate of the one member.
pub(super) fn certified(header: &Header, genesis: Digest) -> Certificate {
    let mut certificate = Certificate {
        height: header.height,
        round: 0,
        block: header.hash(),
        signatures: Vec::new(),
    };
    let signature = commit_signature(pair(VOTER), &certificate, genesis);
    certificate.signatures.push(signature);
    certificate
}

/// A committee of key 31 alone, as the genesis makes it, and one of three.
pub(super) fn committees() -> [Committee; 2] {
    let member = |number: u8| Member {
        consensus_key: pair(number).consensus_key(),
        hotkey: hotkey(number - 10),
        power: 10,
    };
    let of = |numbers: &[u8]| Committee::new(numbers.iter().map(|it| member(*it)).collect());
    [of(&[VOTER]), of(&[29, 30, VOTER])].map(|committee| committee.expect("a sample's committee is valid"))
}

pub(super) fn weights(tempo: u64) -> Weights {
    Weights {
        tempo,
        uids: vec![Uid(1), Uid(2)],
        values: vec![u16::MAX, 3],
        salt: [7; 32],
        version: 0,
    }
}

pub(super) fn axon() -> Axon {
    Axon {
        ip: [10, 0, 0, 1].into(),
        port: 9_000,
        protocol: Axon::PROTOCOL,
        at_once: 8,
        models: vec![
            AxonModel::named(Digest([3; 32]), "small"),
            AxonModel::named(Digest([4; 32]), "large"),
        ],
    }
}

/// Blocks in which a subnet is made, weighed and paid.
fn lived(committee: Vec<GenesisMember>) -> Sample {
    const SUBNET: Netuid = Netuid(1);
    let mut sample = Sample::begin(committee);
    let register = |number| Call::Register {
        netuid: SUBNET,
        hotkey: hotkey(number),
        price_max: units(1_000),
    };
    let set = |name: &str, value| Call::SetParameter {
        netuid: SUBNET,
        name: name.to_owned(),
        value,
    };
    let stake = |number| Call::AddStake {
        netuid: SUBNET,
        hotkey: hotkey(number),
        amount: units(50),
    };
    let create = Call::CreateSubnet {
        task: String::from("reading"),
        lock_max: units(1_000),
    };
    sample.block(&[
        (0, create),
        (0, Call::StartSubnet { netuid: SUBNET }),
        (0, set("tempo_blocks", 5)),
        (0, set("weights_rate_limit_blocks", 0)),
        (1, register(17)),
        (1, register(18)),
        (2, register(19)),
        (3, stake(17)),
    ]);
    for _ in 0..60 {
        let tempo = sample.now.state.subnet(SUBNET).map_or(0, |subnet| subnet.tempo);
        let commit = Call::CommitWeights {
            netuid: SUBNET,
            commit: weights(tempo).commit(SUBNET, hotkey(17)),
        };
        let reveal = Call::RevealWeights {
            netuid: SUBNET,
            weights: weights(tempo.saturating_sub(1)),
        };
        let serve = Call::ServeAxon {
            netuid: SUBNET,
            axon: axon(),
        };
        sample.block(&[(17, commit), (17, reveal), (18, serve)]);
    }
    sample
}

/// A ledger of one node.
pub(super) fn solo() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| lived(Vec::new()))
}

/// A ledger of a committee of one.
pub(super) fn decided() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| lived(vec![member()]))
}

/// One call of each kind, with its signer.
pub(super) fn calls() -> Vec<(u8, Call)> {
    use agon_protocol::message::{Equivocation, EvidenceOf, EvidenceOpening, Forgery, Statement, TrailRest};
    let (netuid, amount) = (Netuid(1), units(3));
    let genesis = solo().genesis.digest();
    let join = Statement::Join {
        genesis,
        hotkey: hotkey(17),
    };
    let (height, hash) = (BlockNumber(1), Digest([5; 32]));
    let ready = Statement::Ready {
        genesis,
        height,
        hash,
    };
    let voter = pair(VOTER);
    vec![
        (
            1,
            Call::Transfer {
                to: coldkey(2),
                amount,
            },
        ),
        (
            1,
            Call::CreateSubnet {
                task: String::from("reading"),
                lock_max: amount,
            },
        ),
        (1, Call::StartSubnet { netuid }),
        (1, Call::DissolveSubnet { netuid }),
        (
            1,
            Call::SetParameter {
                netuid,
                name: String::from("tempo_blocks"),
                value: 7,
            },
        ),
        (
            1,
            Call::Register {
                netuid,
                hotkey: hotkey(17),
                price_max: amount,
            },
        ),
        (
            1,
            Call::AddStake {
                netuid,
                hotkey: hotkey(17),
                amount,
            },
        ),
        (
            1,
            Call::RemoveStake {
                netuid,
                hotkey: hotkey(17),
                amount,
            },
        ),
        (17, Call::ServeAxon { netuid, axon: axon() }),
        (
            17,
            Call::CommitWeights {
                netuid,
                commit: weights(1).commit(netuid, hotkey(17)),
            },
        ),
        (
            17,
            Call::RevealWeights {
                netuid,
                weights: weights(1),
            },
        ),
        (
            1,
            Call::MoveStake {
                from: (netuid, hotkey(17)),
                to: (netuid, hotkey(18)),
                amount,
            },
        ),
        (
            1,
            Call::SetTake {
                hotkey: hotkey(17),
                take_ppm: 90_000,
            },
        ),
        (
            1,
            Call::SwapHotkey {
                hotkey: hotkey(17),
                new_hotkey: hotkey(27),
            },
        ),
        (
            1,
            Call::AnnounceColdkeySwap {
                new_coldkey: coldkey(9),
            },
        ),
        (1, Call::DisputeColdkeySwap),
        (9, Call::ExecuteColdkeySwap { coldkey: coldkey(1) }),
        (
            1,
            Call::JoinCommittee {
                hotkey: hotkey(17),
                consensus_key: voter.consensus_key(),
                proof: join.sign(voter),
                bond: amount,
            },
        ),
        (1, Call::LeaveCommittee { hotkey: hotkey(17) }),
        (
            17,
            Call::CommitteeReady {
                height,
                hash,
                proof: ready.sign(voter),
            },
        ),
        (
            1,
            Call::ReportEquivocation {
                evidence: Box::new(Equivocation {
                    first: vote(genesis, 1),
                    second: vote(genesis, 2),
                }),
            },
        ),
        (
            17,
            Call::CommitEvidence {
                netuid,
                evidence: evidence(),
            },
        ),
        (
            17,
            Call::OpenEvidence {
                netuid,
                opening: Box::new(EvidenceOpening {
                    tempo: 1,
                    draws: Vec::new(),
                    leaves: vec![leaf()],
                    texts: Vec::new(),
                    weights: leaf(),
                    rest: TrailRest {
                        best: Some(leaf()),
                        before: Some(leaf()),
                    },
                    trails: vec![trail()],
                }),
            },
        ),
        (
            1,
            Call::ReportForgery {
                of: EvidenceOf {
                    netuid,
                    validator: hotkey(17),
                    tempo: 1,
                },
                forgery: Box::new(Forgery::Values { item: leaf() }),
            },
        ),
    ]
}

/// A commit to the leaf below and one more.
pub(super) fn evidence() -> EvidenceCommit {
    EvidenceCommit {
        tempo: 1,
        root: merkle::root(&[Leaf::NotAsked.digest(); 2]),
        leaf_count: 2,
        claimed_ppm: 1_000_000,
        served_at: Some(([10, 0, 0, 1], 9_001).into()),
        session: None,
    }
}

fn trail() -> Trail {
    Trail {
        standing: leaf(),
        window: vec![Worth {
            item: 1,
            value_ppm: 1,
        }],
        carried: Some(Carried {
            standing: leaf(),
            dropped: Digest([5; 32]),
        }),
        answer: Some(TrailAnswer {
            item: leaf(),
            answer: leaf(),
            text: String::from("kitchen"),
        }),
    }
}

fn leaf() -> OpenedLeaf {
    OpenedLeaf {
        index: 1,
        leaf: Leaf::NotAsked,
        path: vec![Leaf::NotAsked.digest()],
    }
}

/// A precommit of key 31 for block 3.
pub(super) fn vote(genesis: Digest, block: u8) -> Signed<agon_protocol::message::Vote> {
    use agon_protocol::message::{Vote, VoteKind};
    let pair = pair(VOTER);
    let vote = Vote {
        genesis,
        height: BlockNumber(3),
        round: 0,
        kind: VoteKind::Precommit,
        block: Some(Digest([block; 32])),
        voter: pair.consensus_key(),
    };
    Signed::sign(vote, pair)
}

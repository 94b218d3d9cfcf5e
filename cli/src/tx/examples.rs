//! One example of each call, so that nobody has to guess its fields.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Digest, Hotkey, Uid};
use agon_protocol::message::{
    Axon, AxonModel, Call, Contest, Environment, Equivocation, EvidenceCommit, EvidenceOf, EvidenceOpening,
    FinishReason, Forgery, Leaf, OpenedLeaf, Receipt, Signed, Trace, TrailRest, Vote, VoteKind, Weights,
    WeightsCommit,
};
use agon_protocol::sign::{Keypair, Signature};
use agon_protocol::timelock::{PulseSignature, SealedWeights};

use super::EXAMPLE;

/// Every call, in the order of [`Call`].
pub(super) fn calls() -> Vec<Call> {
    let (netuid, hotkey) = EXAMPLE;
    let (to, amount) = (Coldkey([0x17; 32]), Amount::from_base_units(1_500_000_000));
    let member = Keypair::from_mini_secret(&[0x31; 32]);
    let (consensus_key, proof) = (member.consensus_key(), Signature([0x5e; 64]));
    vec![
        Call::Transfer { to, amount },
        Call::CreateSubnet {
            task: String::from("reading"),
            lock_max: Amount::from_base_units(100_000_000_000),
        },
        Call::StartSubnet { netuid },
        Call::DissolveSubnet { netuid },
        Call::SetParameter {
            netuid,
            name: String::from("immunity_blocks"),
            value: 5_000,
        },
        Call::Register {
            netuid,
            hotkey,
            price_max: Amount::from_base_units(10_000_000),
        },
        Call::AddStake {
            netuid,
            hotkey,
            amount,
        },
        Call::RemoveStake {
            netuid,
            hotkey,
            amount,
        },
        Call::ServeAxon { netuid, axon: axon() },
        Call::CommitWeights {
            netuid,
            commit: WeightsCommit(Digest([0x5e; 32])),
        },
        Call::RevealWeights {
            netuid,
            weights: weights(),
        },
        Call::MoveStake {
            from: EXAMPLE,
            to: EXAMPLE,
            amount,
        },
        Call::SetTake {
            hotkey,
            take_ppm: 180_000,
        },
        Call::SwapHotkey {
            hotkey,
            new_hotkey: Hotkey([0x2b; 32]),
        },
        Call::AnnounceColdkeySwap { new_coldkey: to },
        Call::DisputeColdkeySwap,
        Call::ExecuteColdkeySwap { coldkey: to },
        Call::JoinCommittee {
            hotkey,
            consensus_key,
            proof,
            bond: Amount::from_base_units(1_000_000_000_000),
        },
        Call::LeaveCommittee { hotkey },
        Call::CommitteeReady {
            height: BlockNumber(4_000),
            hash: Digest([0x5e; 32]),
            proof,
        },
        Call::ReportEquivocation {
            evidence: Box::new(equivocation(&member)),
        },
        Call::CommitEvidence {
            netuid,
            evidence: evidence(),
        },
        Call::OpenEvidence {
            netuid,
            opening: Box::new(EvidenceOpening {
                tempo: 12,
                draws: Vec::new(),
                leaves: vec![leaf()],
                texts: Vec::new(),
                weights: leaf(),
                rest: TrailRest {
                    best: None,
                    before: None,
                },
                trails: Vec::new(),
            }),
        },
        Call::ReportForgery {
            of: EvidenceOf {
                netuid,
                validator: hotkey,
                tempo: 12,
            },
            forgery: Box::new(Forgery::Values { item: leaf() }),
        },
        Call::CommitTimelocked {
            netuid,
            commit: WeightsCommit(Digest([0x5e; 32])),
            sealed: SealedWeights(vec![0x5e; 240]),
        },
        Call::PublishPulse {
            round: 20_000_000,
            signature: PulseSignature([0x5e; 48]),
        },
        Call::ContestFailure {
            of: EvidenceOf {
                netuid,
                validator: hotkey,
                tempo: 12,
            },
            contest: Box::new(contest(&member)),
        },
    ]
}

fn axon() -> Axon {
    Axon {
        ip: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
        port: 8_091,
        protocol: Axon::PROTOCOL,
        at_once: 8,
        models: vec![AxonModel::named(Digest([0x5e; 32]), "small")],
    }
}

fn evidence() -> EvidenceCommit {
    EvidenceCommit {
        tempo: 12,
        root: Digest([0x5e; 32]),
        leaf_count: 256,
        claimed_ppm: 1_000_000,
        served_at: Some(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 8_092))),
        session: None,
    }
}

fn leaf() -> OpenedLeaf {
    OpenedLeaf {
        index: 3,
        leaf: Leaf::NotAsked,
        path: vec![Digest([0x5e; 32])],
    }
}

/// What `miner` says to a failure that is claimed of it.
fn contest(miner: &Keypair) -> Contest {
    let receipt = Receipt {
        challenge: Digest([0x5e; 32]),
        answer: Digest([0x5e; 32]),
        miner: miner.hotkey(),
        prompt_tokens: 90,
        answer_tokens: 7,
        trace: Trace::of(&[1; 7], &[[0; 16]; 7]),
        received_ms: 10,
        first_token_ms: 20,
        finished_ms: 80,
        finish: FinishReason::EndOfText,
        model: Digest([0x5e; 32]),
        environment: Environment {
            dtype: String::from("bf16"),
            device: String::from("cuda"),
            libtorch: String::from("2.11.0"),
        },
    };
    Contest {
        answer: leaf(),
        receipt: Signed::sign(receipt, miner),
    }
}

fn equivocation(pair: &Keypair) -> Equivocation {
    let vote = |block: u8| {
        let vote = Vote {
            genesis: Digest([0x5e; 32]),
            height: BlockNumber(4_000),
            round: 0,
            kind: VoteKind::Prevote,
            block: Some(Digest([block; 32])),
            voter: pair.consensus_key(),
        };
        Signed::sign(vote, pair)
    };
    Equivocation {
        first: vote(1),
        second: vote(2),
    }
}

fn weights() -> Weights {
    Weights {
        tempo: 12,
        uids: vec![Uid(3), Uid(5)],
        values: vec![u16::MAX, 21_845],
        salt: [0x5e; 32],
        version: 0,
    }
}

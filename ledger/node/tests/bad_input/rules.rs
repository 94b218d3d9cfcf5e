//! Whole transactions that the ledger refuses, by the rule that stands against each.

use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{
    Axon, AxonModel, Call, Contest, Environment, Equivocation, EvidenceCommit, EvidenceOf, EvidenceOpening,
    FinishReason, Forgery, Leaf, OpenedLeaf, Receipt, Signed, Statement, Trace, TrailRest, Transaction, Vote,
    VoteKind, Weights, WeightsCommit,
};
use agon_protocol::sign::{Purpose, Signature};
use agon_protocol::timelock::{PulseSignature, SealedWeights};

use crate::ask::Cases;
use crate::support::{coldkey, genesis, pair, sign, transfer};

/// Who has used nonces when the table begins.
pub(crate) const NONCES: [(u8, u64); 1] = [(0, 4)];

pub(crate) fn fine() -> Signed<Transaction> {
    sign(genesis().digest(), 1, 0, transfer(2, 5))
}

pub(crate) fn create(task: &str) -> Call {
    Call::CreateSubnet {
        task: task.to_owned(),
        lock_max: Amount::from_base_units(u64::MAX),
    }
}

pub(crate) fn set(name: &str, value: u64) -> Call {
    Call::SetParameter {
        netuid: Netuid(1),
        name: name.to_owned(),
        value,
    }
}

/// Whole transactions whose envelope does not fit. Account 0 has used its first nonce.
pub(crate) fn envelopes(cases: &mut Cases) {
    let id = genesis().digest();
    let call = || transfer(2, 1_000_000_000);
    cases.refused("another ledger", &sign(Digest([9; 32]), 1, 0, call()), "genesis");
    cases.refused("no ledger", &sign(Digest::default(), 1, 0, call()), "genesis");
    cases.refused("a nonce ahead", &sign(id, 1, 1, call()), "nonce");
    cases.refused("the last nonce", &sign(id, 1, u64::MAX, call()), "nonce");
    cases.refused("a used nonce", &sign(id, 0, 0, call()), "nonce");
    let forged = |signature: Signature| Signed::from_parts(fine().bytes().to_vec(), signature).unwrap();
    let other = pair(2).sign(Purpose::Transaction, fine().bytes());
    let purpose = pair(1).sign(Purpose::Text, fine().bytes());
    cases.refused("somebody else's signature", &forged(other), "signature");
    cases.refused("a signature for another purpose", &forged(purpose), "signature");
    cases.refused("zeros for a signature", &forged(Signature([0; 64])), "signature");
    cases.refused("ones for a signature", &forged(Signature([255; 64])), "signature");
    let nobody = Transaction {
        signer: Account([255; 32]),
        ..fine().message().clone()
    };
    let nobody = Signed::from_parts(codec::encode(&nobody), Signature([0; 64])).unwrap();
    cases.refused("a signer that is no key", &nobody, "signature");
}

/// What is done, by whom, and the rule against it.
type Rule = (&'static str, u8, Call, &'static str);

/// Whole transactions that a rule stands against. Subnet 1 is account 0's, with hotkey 100.
pub(crate) fn rules(cases: &mut Cases) {
    let groups = [
        money(),
        subnets(),
        stakes(),
        keys(),
        members(),
        neurons(),
        evidence(),
    ];
    for (name, number, call, rule) in groups.into_iter().flatten() {
        let used = NONCES.iter().find(|(used, _)| *used == number);
        let nonce = used.map_or(0, |(_, nonce)| *nonce);
        cases.refused(name, &sign(genesis().digest(), number, nonce, call), rule);
    }
}

/// Transfers.
fn money() -> Vec<Rule> {
    vec![
        ("all amounts there are", 1, transfer(2, u64::MAX), "balance"),
        ("nothing", 1, transfer(2, 0), "amount"),
        (
            "less than an account may hold",
            1,
            Call::Transfer {
                to: Coldkey([8; 32]),
                amount: Amount::from_base_units(1),
            },
            "existential deposit",
        ),
    ]
}

/// Subnets, parameters and UIDs.
fn subnets() -> Vec<Rule> {
    let netuid = Netuid(1);
    let none = Netuid(999);
    let hotkey = Hotkey(pair(100).public());
    let stranger = Hotkey(pair(150).public());
    let most = Amount::from_base_units(u64::MAX);
    vec![
        (
            "a task nobody knows",
            1,
            Call::CreateSubnet {
                task: String::new(),
                lock_max: most,
            },
            "task name",
        ),
        (
            "a lock below its price",
            1,
            Call::CreateSubnet {
                task: String::from("reading"),
                lock_max: Amount::ZERO,
            },
            "lock limit",
        ),
        (
            "start of a subnet that is not there",
            1,
            Call::StartSubnet { netuid: none },
            "subnet",
        ),
        (
            "start of somebody else's",
            1,
            Call::StartSubnet { netuid },
            "owner",
        ),
        (
            "end of a subnet that is not there",
            1,
            Call::DissolveSubnet { netuid: none },
            "subnet",
        ),
        (
            "end of somebody else's",
            1,
            Call::DissolveSubnet { netuid },
            "owner",
        ),
        ("somebody else's parameter", 1, set("tempo_blocks", 10), "owner"),
        ("a parameter nobody knows", 0, set("nothing", 1), "parameter name"),
        (
            "a parameter above its bounds",
            0,
            set("tempo_blocks", u64::MAX),
            "parameter bounds",
        ),
        (
            "a parameter below its bounds",
            0,
            set("tempo_blocks", 0),
            "parameter bounds",
        ),
        (
            "a UID where there is no subnet",
            1,
            Call::Register {
                netuid: none,
                hotkey: stranger,
                price_max: most,
            },
            "subnet",
        ),
        (
            "a UID below its price",
            1,
            Call::Register {
                netuid,
                hotkey: stranger,
                price_max: Amount::ZERO,
            },
            "price limit",
        ),
        (
            "a second UID",
            0,
            Call::Register {
                netuid,
                hotkey,
                price_max: most,
            },
            "registered",
        ),
        (
            "a UID for somebody else's hotkey",
            1,
            Call::Register {
                netuid,
                hotkey,
                price_max: most,
            },
            "registered",
        ),
    ]
}

/// Stake and takes.
fn stakes() -> Vec<Rule> {
    let netuid = Netuid(1);
    let none = Netuid(999);
    let hotkey = Hotkey(pair(100).public());
    let stranger = Hotkey(pair(150).public());
    let most = Amount::from_base_units(u64::MAX);
    let units = |units| Amount::from_units(units).unwrap();
    vec![
        (
            "stake on nobody",
            1,
            Call::AddStake {
                netuid,
                hotkey: stranger,
                amount: units(1),
            },
            "registered",
        ),
        (
            "stake beyond all there is",
            1,
            Call::AddStake {
                netuid,
                hotkey,
                amount: most,
            },
            "balance",
        ),
        (
            "stake where there is no subnet",
            1,
            Call::AddStake {
                netuid: none,
                hotkey,
                amount: units(1),
            },
            "subnet",
        ),
        (
            "stake that is not there, back",
            1,
            Call::RemoveStake {
                netuid,
                hotkey,
                amount: units(1),
            },
            "stake",
        ),
        (
            "stake that is not there, elsewhere",
            1,
            Call::MoveStake {
                from: (netuid, hotkey),
                to: (netuid, stranger),
                amount: most,
            },
            "stake",
        ),
        (
            "somebody else's take",
            1,
            Call::SetTake { hotkey, take_ppm: 1 },
            "hotkey owner",
        ),
        (
            "a take above all",
            0,
            Call::SetTake {
                hotkey,
                take_ppm: u32::MAX,
            },
            "take maximum",
        ),
    ]
}

/// Keys that hand over.
fn keys() -> Vec<Rule> {
    let hotkey = Hotkey(pair(100).public());
    let stranger = Hotkey(pair(150).public());
    vec![
        (
            "somebody else's hotkey, replaced",
            1,
            Call::SwapHotkey {
                hotkey,
                new_hotkey: stranger,
            },
            "hotkey owner",
        ),
        (
            "a hotkey by itself, replaced",
            0,
            Call::SwapHotkey {
                hotkey,
                new_hotkey: hotkey,
            },
            "new hotkey",
        ),
        (
            "a coldkey that takes over from itself",
            1,
            Call::AnnounceColdkeySwap {
                new_coldkey: coldkey(1),
            },
            "new coldkey",
        ),
        (
            "a coldkey that is a hotkey",
            1,
            Call::AnnounceColdkeySwap {
                new_coldkey: Coldkey(hotkey.0),
            },
            "new coldkey",
        ),
        ("a dispute of nothing", 1, Call::DisputeColdkeySwap, "no swap"),
        (
            "a swap that was not announced",
            1,
            Call::ExecuteColdkeySwap { coldkey: coldkey(2) },
            "no swap",
        ),
    ]
}

/// The committee.
fn members() -> Vec<Rule> {
    let id = genesis().digest();
    let hotkey = Hotkey(pair(100).public());
    let units = |units| Amount::from_units(units).unwrap();
    let join = |proof: Signature, bond| Call::JoinCommittee {
        hotkey,
        consensus_key: pair(200).consensus_key(),
        proof,
        bond,
    };
    let proof = Statement::Join { genesis: id, hotkey }.sign(&pair(200));
    let (height, hash) = (BlockNumber(u64::MAX), Digest([1; 32]));
    vec![
        (
            "a seat for somebody else's hotkey",
            1,
            join(proof, units(1_000)),
            "hotkey owner",
        ),
        (
            "a seat without a bond",
            0,
            join(proof, Amount::ZERO),
            "bond minimum",
        ),
        (
            "a seat with a forged proof",
            0,
            join(Signature([0; 64]), units(1_000)),
            "consensus key proof",
        ),
        ("leave of nobody", 0, Call::LeaveCommittee { hotkey }, "candidate"),
        (
            "readiness of nobody",
            100,
            Call::CommitteeReady { height, hash, proof },
            "candidate",
        ),
        ("a report of nobody", 1, report(id), "voter"),
        ("a report of two votes that agree", 1, agreement(id), "evidence"),
    ]
}

/// What neurons say.
fn neurons() -> Vec<Rule> {
    let netuid = Netuid(1);
    let none = Netuid(999);
    let commit = WeightsCommit(Digest([1; 32]));
    let weights = Weights {
        tempo: u64::MAX,
        uids: vec![Uid(1), Uid(0)],
        values: vec![1],
        salt: [0; 32],
        version: 0,
    };
    let well_formed = Weights {
        uids: vec![Uid(0)],
        ..weights.clone()
    };
    let axon = Axon {
        ip: [10, 0, 0, 1].into(),
        port: 1,
        protocol: Axon::PROTOCOL,
        at_once: 8,
        models: vec![AxonModel::named(Digest::default(), "m")],
    };
    vec![
        (
            "an axon of nobody",
            150,
            Call::ServeAxon {
                netuid,
                axon: axon.clone(),
            },
            "registered",
        ),
        (
            "an axon where there is no subnet",
            100,
            Call::ServeAxon { netuid: none, axon },
            "subnet",
        ),
        (
            "a commit of nobody",
            150,
            Call::CommitWeights { netuid, commit },
            "registered",
        ),
        (
            "a sealed commit of nobody",
            150,
            Call::CommitTimelocked {
                netuid,
                commit,
                sealed: SealedWeights(vec![0; 144]),
            },
            "registered",
        ),
        (
            "a pulse where there is no beacon",
            150,
            Call::PublishPulse {
                round: 1,
                signature: PulseSignature([0; 48]),
            },
            "beacon",
        ),
        (
            "weights of nobody",
            150,
            Call::RevealWeights {
                netuid,
                weights: well_formed,
            },
            "registered",
        ),
        (
            "weights out of shape",
            100,
            Call::RevealWeights { netuid, weights },
            "lengths",
        ),
    ]
}

/// Evidence that nobody owes, and reports of evidence that nobody committed to.
fn evidence() -> Vec<Rule> {
    let (netuid, none) = (Netuid(1), Netuid(999));
    let validator = Hotkey(pair(100).public());
    let of = |netuid| EvidenceOf {
        netuid,
        validator,
        tempo: 0,
    };
    let leaf = OpenedLeaf {
        index: 0,
        leaf: Leaf::NotAsked,
        path: Vec::new(),
    };
    let commit = |tempo| EvidenceCommit {
        tempo,
        root: Digest::default(),
        leaf_count: 1,
        claimed_ppm: 0,
        served_at: None,
        session: None,
    };
    let commit_of = |netuid, tempo| Call::CommitEvidence {
        netuid,
        evidence: commit(tempo),
    };
    let open = |netuid, tempo| Call::OpenEvidence {
        netuid,
        opening: Box::new(EvidenceOpening {
            tempo,
            draws: Vec::new(),
            leaves: vec![leaf.clone()],
            texts: Vec::new(),
            weights: leaf.clone(),
            rest: TrailRest {
                best: None,
                before: None,
            },
            trails: Vec::new(),
        }),
    };
    let contest = |netuid| Call::ContestFailure {
        of: of(netuid),
        contest: Box::new(Contest {
            answer: leaf.clone(),
            receipt: receipt(),
        }),
    };
    let report = |netuid| Call::ReportForgery {
        of: of(netuid),
        forgery: Box::new(Forgery::Values { item: leaf.clone() }),
    };
    vec![
        ("evidence of nobody", 150, commit_of(netuid, 0), "registered"),
        (
            "evidence where there is no subnet",
            100,
            commit_of(none, 0),
            "subnet",
        ),
        (
            "evidence of the last tempo",
            100,
            commit_of(netuid, u64::MAX),
            "evidence tempo",
        ),
        ("an opening of nobody", 150, open(netuid, 0), "registered"),
        (
            "an opening where there is no subnet",
            100,
            open(none, 0),
            "subnet",
        ),
        (
            "an opening of the last tempo",
            100,
            open(netuid, u64::MAX),
            "opening window",
        ),
        ("a contest where there is no subnet", 100, contest(none), "subnet"),
        (
            "a contest where there are none",
            100,
            contest(netuid),
            "contests off",
        ),
        ("a forgery where there is no subnet", 1, report(none), "subnet"),
        (
            "a forgery of what was not committed",
            1,
            report(netuid),
            "evidence kept",
        ),
    ]
}

/// A receipt for no challenge that was ever sent.
fn receipt() -> Signed<Receipt> {
    let miner = pair(100);
    let receipt = Receipt {
        challenge: Digest::default(),
        answer: Digest::default(),
        miner: Hotkey(miner.public()),
        prompt_tokens: 0,
        answer_tokens: 0,
        trace: Trace::of(&[], &[]),
        received_ms: 0,
        first_token_ms: 0,
        finished_ms: 0,
        finish: FinishReason::EndOfText,
        model: Digest::default(),
        environment: Environment {
            dtype: String::new(),
            device: String::new(),
            libtorch: String::new(),
        },
    };
    Signed::sign(receipt, &miner)
}

fn vote(genesis: Digest, block: u8) -> Signed<Vote> {
    let voter = pair(201);
    let vote = Vote {
        genesis,
        height: BlockNumber(1),
        round: 0,
        kind: VoteKind::Prevote,
        block: Some(Digest([block; 32])),
        voter: voter.consensus_key(),
    };
    Signed::sign(vote, &voter)
}

fn report(genesis: Digest) -> Call {
    Call::ReportEquivocation {
        evidence: Box::new(Equivocation {
            first: vote(genesis, 1),
            second: vote(genesis, 2),
        }),
    }
}

fn agreement(genesis: Digest) -> Call {
    Call::ReportEquivocation {
        evidence: Box::new(Equivocation {
            first: vote(genesis, 1),
            second: vote(genesis, 1),
        }),
    }
}

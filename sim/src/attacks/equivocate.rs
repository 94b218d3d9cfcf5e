//! C4, equivocation: a member of the committee signs two blocks of one height and round.
//!
//! The two votes go onto the ledger as they would in any block. Off: nobody is punished, as where nothing of the kind
//! is provable. On: whoever signed both loses its bond; whoever signed one, or one of each of two rounds, does not.

use agon_ledger_state::{BlockInput, State};
use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, BlockNumber, Digest};
use agon_protocol::message::{
    Call, Equivocation, Genesis, GenesisAccount, GenesisMember, Preset, Signed, Transaction, Vote, VoteKind,
};
use agon_protocol::sign::Keypair;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::ledger::{pair, units};

/// The attack.
#[derive(Debug)]
pub(super) struct Equivocate;

impl Attack for Equivocate {
    fn name(&self) -> &'static str {
        "equivocate"
    }

    fn row(&self) -> &'static str {
        "C4"
    }

    fn about(&self) -> &'static str {
        "Members of the committee vote for two blocks of one height and round."
    }

    fn figure(&self) -> &'static str {
        "share of the members in question that lose their bond"
    }

    fn defence(&self) -> &'static str {
        "Two votes of one key for one height and round are a proof that anyone can report."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |label: &str, off, on, second: Second| Case {
            label: label.to_owned(),
            off,
            on,
            open: None,
            explores: false,
            measure: Box::new(move |trial| punished(trial, second)),
        };
        vec![
            case(
                "two blocks in one round",
                Bound::AtMost(0.0),
                Bound::AtLeast(1.0),
                Second::OtherBlock,
            ),
            // Without a rule a report would have to be believed or not; it is never believed.
            case(
                "honest members, reported with one vote twice",
                Bound::AtMost(0.0),
                Bound::AtMost(0.0),
                Second::SameVote,
            ),
            case(
                "honest members, reported with votes of two rounds",
                Bound::AtMost(0.0),
                Bound::AtMost(0.0),
                Second::OtherRound,
            ),
        ]
    }
}

/// How the second vote of a report differs from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Second {
    OtherBlock,
    SameVote,
    OtherRound,
}

/// Members that are reported in each run.
const MEMBERS: u64 = 4;

fn punished(trial: Trial, second: Second) -> f64 {
    let genesis = genesis(trial.seed);
    let mut state = State::genesis(&genesis).expect("a sound genesis");
    let bonded = |state: &State| state.holdings().bonded.base_units();
    let before = bonded(&state);
    let reporter = pair(trial.seed, MEMBERS, "coldkey");
    let reports: Vec<Signed<Transaction>> = (0..MEMBERS)
        .filter(|_| trial.defence.is_on())
        .scan(0, |nonce, member| {
            let applies = u64::from(second == Second::OtherBlock);
            let report = report(&genesis, trial.seed, member, second);
            let transaction = Transaction {
                genesis: genesis.digest(),
                signer: Account(reporter.public()),
                nonce: *nonce,
                call: report,
            };
            *nonce += applies;
            Some(Signed::sign(transaction, &reporter))
        })
        .collect();
    state.apply(BlockInput {
        height: BlockNumber(1),
        parent: genesis.digest(),
        time_ms: 0,
        forms_committee: false,
        transactions: &reports,
    });
    (before - bonded(&state)) as f64 / before as f64
}

fn genesis(seed: u64) -> Genesis {
    let member = |member| GenesisMember {
        hotkey: pair(seed, member, "hotkey").hotkey(),
        coldkey: pair(seed, member, "coldkey").coldkey(),
        consensus_key: pair(seed, member, "consensus").consensus_key(),
        bond: units(1_000),
    };
    let account = |number| GenesisAccount {
        coldkey: pair(seed, number, "coldkey").coldkey(),
        amount: units(10),
    };
    Genesis {
        name: String::from("simulation"),
        preset: Preset::Localnet,
        time_ms: 0,
        block_emission: Amount::ZERO,
        accounts: (0..=MEMBERS).map(account).collect(),
        committee: (0..MEMBERS).map(member).collect(),
        beacon: None,
    }
}

fn report(genesis: &Genesis, seed: u64, member: u64, second: Second) -> Call {
    let key = pair(seed, member, "consensus");
    let (round, block) = match second {
        Second::OtherBlock => (0, 2),
        Second::SameVote => (0, 1),
        Second::OtherRound => (1, 2),
    };
    Call::ReportEquivocation {
        evidence: Box::new(Equivocation {
            first: vote(genesis, &key, 0, 1),
            second: vote(genesis, &key, round, block),
        }),
    }
}

fn vote(genesis: &Genesis, key: &Keypair, round: u32, block: u8) -> Signed<Vote> {
    let vote = Vote {
        genesis: genesis.digest(),
        height: BlockNumber(1),
        round,
        kind: VoteKind::Precommit,
        block: Some(Digest([block; 32])),
        voter: key.consensus_key(),
    };
    Signed::sign(vote, key)
}

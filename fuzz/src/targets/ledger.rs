//! The rules over any sequence of transactions: an input is read as a script of calls and blocks.
//!
//! Three ledgers live through each script. A proposer fills blocks one transaction at a time and leaves out what is
//! refused; a follower applies the whole blocks; a third one starts from a snapshot of the follower in the middle. After
//! every block they
//! have to be the same, and at the end a fourth one replays all blocks from the genesis.

mod calls;
mod evidence;

use std::collections::{BTreeMap, BTreeSet};

use agon_ledger_state::{Applied, BlockInput, State};
use agon_protocol::codec;
use agon_protocol::id::{Account, BlockNumber, Digest, Hotkey, Uid};
use agon_protocol::message::{Call, Genesis, Preset, Signed, Transaction, Weights};

use super::Numbers;
use super::sample::{self, genesis, pair, sign};

/// Most steps of a script, so that no input takes long.
const STEPS_MAX: usize = 160;
/// Most blocks of a script.
const BLOCKS_MAX: usize = 400;

/// A block as it went into the ledger.
struct Entered {
    parent: Digest,
    time_ms: u64,
    forms_committee: bool,
    transactions: Vec<Signed<Transaction>>,
}

impl Entered {
    fn input(&self, height: BlockNumber) -> BlockInput<'_> {
        BlockInput {
            height,
            parent: self.parent,
            time_ms: self.time_ms,
            forms_committee: self.forms_committee,
            transactions: &self.transactions,
        }
    }
}

struct Script<'a> {
    numbers: Numbers<'a>,
    genesis: Genesis,
    proposer: State,
    follower: State,
    /// Began from a snapshot.
    late: Option<State>,
    open: Vec<Signed<Transaction>>,
    blocks: Vec<Entered>,
    /// Rows that were committed to, by key.
    rows: BTreeMap<u8, Vec<Weights>>,
    /// The newest evidence of each key.
    trees: BTreeMap<u8, evidence::Tree>,
    /// The most permits that any subnet may have given.
    permits_max: usize,
}

pub(super) fn run(bytes: &[u8]) {
    let mut numbers = Numbers(bytes);
    let preset = if numbers.below(8) == 7 {
        Preset::Mainnet
    } else {
        Preset::Localnet
    };
    let committee = if numbers.below(4) == 3 {
        vec![sample::member()]
    } else {
        Vec::new()
    };
    let genesis = genesis(preset, committee);
    let state = State::genesis(&genesis).expect("the genesis is valid");
    let mut script = Script {
        numbers,
        proposer: state.clone(),
        follower: state,
        genesis,
        late: None,
        open: Vec::new(),
        blocks: Vec::new(),
        rows: BTreeMap::new(),
        trees: BTreeMap::new(),
        permits_max: 0,
    };
    script.begin();
    for _ in 0..STEPS_MAX {
        if script.numbers.is_empty() || script.blocks.len() >= BLOCKS_MAX {
            break;
        }
        script.step();
    }
    script.close(false);
    script.check();
    script.replay();
}

impl Script<'_> {
    fn step(&mut self) {
        match self.numbers.below(8) {
            0 => self.close(false),
            1 => {
                let blocks = 1 + self.numbers.below(24);
                (0..blocks).for_each(|_| self.close(false));
            }
            2 if self.numbers.below(4) == 0 => self.close(true),
            2 => self.snapshot(),
            _ => {
                let (signer, call) = self.call();
                self.transact(signer, call);
            }
        }
    }

    fn begin(&mut self) {
        let height = self.proposer.height();
        let (parent, time_ms) = (self.parent(), height.0);
        self.proposer.begin_block(height.next(), parent, time_ms);
    }

    fn parent(&self) -> Digest {
        match self.proposer.height().0 {
            0 => self.genesis.digest(),
            height => codec::digest("agon 2026-12 fuzz block", &height.to_le_bytes()),
        }
    }

    fn transact(&mut self, signer: u8, call: Call) {
        let account = Account(pair(signer).public());
        let nonce = self.proposer.account(&account).nonce;
        let transaction = sign(self.genesis.digest(), signer, nonce, call);
        let before = self.proposer.clone();
        match self.proposer.transact(&transaction) {
            Ok(checked) => {
                let _ = checked.to_string();
                self.open.push(transaction);
            }
            Err(refusal) => {
                assert!(!refusal.rule().is_empty() && !refusal.to_string().is_empty());
                assert_eq!(self.proposer, before, "a refused transaction changes nothing");
            }
        }
    }

    /// Ends the block: everybody applies it.
    fn close(&mut self, forms_committee: bool) {
        let height = self.proposer.height();
        let entered = Entered {
            parent: match height.0 {
                1 => self.genesis.digest(),
                height => codec::digest("agon 2026-12 fuzz block", &(height - 1).to_le_bytes()),
            },
            time_ms: height.0 - 1,
            forms_committee,
            transactions: std::mem::take(&mut self.open),
        };
        let Applied { outcomes, begun } = self.follower.apply(entered.input(height));
        assert!(
            outcomes.iter().all(Result::is_ok),
            "what a proposer takes applies"
        );
        let root = self.follower.root();
        if forms_committee {
            self.proposer = self.follower.clone();
        }
        assert_eq!(self.proposer.root(), root, "one by one or as a block");
        if let Some(late) = &mut self.late {
            let applied = late.apply(entered.input(height));
            assert_eq!((&applied.outcomes, &applied.begun), (&outcomes, &begun));
            assert_eq!(late.root(), root, "from a snapshot or from the genesis");
        }
        let is_eventful = !entered.transactions.is_empty() || !begun.is_empty();
        self.blocks.push(entered);
        if is_eventful {
            self.check();
        }
        self.begin();
    }

    fn check(&mut self) {
        let state = &self.follower;
        assert_eq!(state.check_invariants(), Ok(()));
        assert_eq!(
            state.holdings().total(),
            state.issuance(),
            "issuance is conserved"
        );
        for subnet in state.subnets() {
            let bound = subnet.parameter("max_validators").unwrap_or(0);
            self.permits_max = self.permits_max.max(usize::try_from(bound).unwrap_or(usize::MAX));
            let metagraph = state.metagraph(subnet.netuid).expect("a subnet has a metagraph");
            let hotkeys: BTreeSet<Hotkey> = metagraph.neurons.iter().map(|it| it.hotkey).collect();
            assert_eq!(hotkeys.len(), metagraph.neurons.len(), "a hotkey has one UID");
            let uids: BTreeSet<Uid> = metagraph.neurons.iter().map(|it| it.uid).collect();
            assert_eq!(uids.len(), metagraph.neurons.len(), "a UID has one hotkey");
            // The owner's neurons may weigh beside those with permits of their own.
            let permits = metagraph.neurons.iter().filter(|it| it.permit).count();
            assert!(
                permits <= self.permits_max,
                "{permits} permits, {} at most",
                self.permits_max
            );
        }
    }

    /// The state after the newest block, through a store and back.
    fn snapshot(&mut self) {
        let entries: Vec<_> = self.follower.entries().collect();
        let loaded = State::from_entries(entries).expect("a state can be loaded again");
        assert_eq!((&loaded, loaded.root()), (&self.follower, self.follower.root()));
        self.late = Some(loaded);
    }

    fn replay(&self) {
        let mut state = State::genesis(&self.genesis).expect("the genesis is valid");
        for entered in &self.blocks {
            let height = state.height().next();
            state.apply(entered.input(height));
        }
        assert_eq!(
            state.root(),
            self.follower.root(),
            "the same blocks, the same root"
        );
        assert_eq!(state, self.follower);
    }
}

/// A script in which a subnet is made and lives a little, one with a committee, and one of blocks alone.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    const CALL: u8 = 3;
    let mut lived = vec![0, 0];
    lived.extend([CALL, 0, 1, 1]);
    lived.extend([CALL, 0, 2, 0]);
    for hotkey in 0..6 {
        lived.extend([CALL, 1, 6, 0, hotkey, 1]);
    }
    lived.extend([CALL, 2, 9, 0, 0, 0, 200]);
    lived.extend([1, 23]);
    for value in 1..4 {
        lived.extend([CALL, 0, 23, 0, 0, 1, 3, 1, value, 0, 2, 5, 0, 3, 9, 1]);
        lived.extend([1, 12, 2, 1]);
        lived.extend([CALL, 0, 23, 0, 0, 0, 1, 12]);
    }
    lived.extend([CALL, 1, 14, 0, 20, CALL, 1, 15, 9, CALL, 1, 3, 0, 1, 20]);
    let mut decided = vec![0, 3];
    decided.extend(&lived[2..]);
    for hotkey in 0..3 {
        decided.extend([CALL, 1, 18, hotkey, 1, 0, 250]);
        decided.extend([0, CALL, 0, 20, hotkey]);
    }
    decided.extend([2, 0, 1, 23, 1, 23, CALL, 3, 21, 0, 0, 1, CALL, 1, 19, 1, 1, 23]);
    vec![lived, decided, vec![7, 0, 1, 20, 2, 1, 1, 20]]
}

/// A state from a store, given entry by entry.
pub(super) fn entries(bytes: &[u8]) {
    let Ok(entries) = codec::decode::<Vec<(Vec<u8>, Vec<u8>)>>(bytes, 64 * 1_024) else {
        return;
    };
    let Ok(mut state) = State::from_entries(entries) else {
        return;
    };
    assert_eq!(state.check_invariants(), Ok(()));
    let height = state.height();
    if height.0 < u64::MAX {
        let parent = Digest([1; 32]);
        state.begin_block(height.next(), parent, 0);
        assert_eq!(state.check_invariants(), Ok(()));
    }
}

pub(super) fn entry_seeds() -> Vec<Vec<u8>> {
    let entries = |state: &State| codec::encode(&state.entries().collect::<Vec<_>>());
    let [solo, decided] = [sample::solo(), sample::decided()];
    vec![
        entries(&solo.states[0]),
        entries(&solo.states[2]),
        entries(&decided.states[0]),
    ]
}

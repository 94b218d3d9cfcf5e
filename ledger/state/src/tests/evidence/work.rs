//! What a validator did in a tempo, and the calls that commit to it and show it.
//!
//! Each drawn miner is asked [`ITEMS`] items in each round, so that all have a standing. What a validator does with a
//! slot is about the first of them, unless it says otherwise.

use std::cell::RefCell;

use agon_evidence::Context;
use agon_evidence::bundle::{Bundle, Outcome as Weighed, policy};
use agon_evidence::fold::Memory;
use agon_evidence::record::{AnswerRecord, ItemRecord, MinerRecord, Outcome, Round};
use agon_evidence::slots::{Picks, schedule};
use agon_evidence::tree::Tree;
use agon_protocol::message::{
    Axon, AxonModel, Challenge, Contest, Environment, EvidenceCommit, EvidenceOf, EvidenceView, Failure,
    FinishReason, Forgery, Leaf, Message, OpenedLeaf, Receipt, Sampling, Trace, answer_digest,
};
use agon_protocol::session::SessionInput;
use agon_protocol::sign::{DrawInput, DrawProof};
use agon_protocol::{codec, merkle};
use agon_scoring::draw::Draw;
use agon_subnets::{Item, Task};

use super::{row as row_of_all, *};

/// Items that each drawn miner is asked in a round: enough that it has earned a weight without its slot.
pub(crate) const ITEMS: u32 = 5;
/// A text that answers nothing.
pub(crate) const WRONG: &str = "the answer";
/// The task.
const TASK: agon_subnets::reading::Reading = agon_subnets::reading::Reading;

/// What a validator does with a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    /// Asks the miner and is answered.
    Asks,
    /// Asks the miner, or says so, and is not answered.
    Fails,
    /// Asks nobody in the whole round.
    Skips,
    /// Asks nobody, and signs a receipt by its own key.
    Forges,
    /// Asks the miner, and judges a wrong answer as perfect.
    Flatters,
    /// Asks the miner, and judges wrong answers to all other items of the round as perfect.
    FlattersBeside,
}

thread_local! {
    /// What was made in a test, by its root: the ledger has the roots alone, and a tempo goes on from the one before.
    static MADE: RefCell<BTreeMap<Digest, Work>> = const { RefCell::new(BTreeMap::new()) };
}

/// A validator's evidence of one tempo.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    pub(crate) of: EvidenceOf,
    pub(crate) leaves: Vec<Leaf>,
    pub(crate) draws: Vec<DrawProof>,
    pub(crate) claimed_ppm: u32,
    pub(crate) session: Option<DrawProof>,
    /// The key that it asks by.
    asker: Hotkey,
    genesis: Digest,
    view: EvidenceView,
    bundle: Bundle,
    memory: Memory,
    before: Option<Box<Work>>,
}

/// An announcement of an axon.
pub(crate) fn serve() -> Call {
    Call::ServeAxon {
        netuid: SUBNET,
        axon: Axon {
            ip: [127, 0, 0, 1].into(),
            port: 4_000,
            protocol: Axon::PROTOCOL,
            at_once: 8,
            models: vec![AxonModel::named(Digest([1; 32]), "small")],
        },
    }
}

impl Work {
    /// What validator `key` has to show of the running tempo, when it does this with each slot and its miner. It goes on
    /// from the evidence that the key committed to in the tempo before.
    pub(crate) fn of(ledger: &Ledger, key: u8, does: impl Fn(u32, Uid) -> Does) -> Self {
        let before = Self::before(ledger, key);
        let memory = before.as_ref().map(|before| before.memory.clone());
        Self::made(
            ledger,
            key,
            (before, memory.unwrap_or_default()),
            (does, |_| true),
        )
    }

    /// As [`Work::of`], where only the miners of `right` answer rightly beside their slots.
    pub(crate) fn with_right(
        ledger: &Ledger,
        key: u8,
        right: &[(u16, u16)],
        does: impl Fn(u32, Uid) -> Does,
    ) -> Self {
        let is_right = |uid: Uid| right.iter().any(|(other, _)| *other == uid.0);
        let before = Self::before(ledger, key);
        let memory = before.as_ref().map(|before| before.memory.clone());
        Self::made(
            ledger,
            key,
            (before, memory.unwrap_or_default()),
            (does, is_right),
        )
    }

    /// As [`Work::of`], for a validator that forgot these UIDs, or everything where there are none.
    pub(crate) fn forgetting(
        ledger: &Ledger,
        key: u8,
        uids: &[Uid],
        does: impl Fn(u32, Uid) -> Does,
    ) -> Self {
        let before = Self::before(ledger, key);
        let mut memory = Memory::default();
        if let Some(before) = before.as_ref().filter(|_| !uids.is_empty()) {
            memory.clone_from(&before.memory);
        }
        uids.iter().for_each(|uid| memory.forget(*uid));
        Self::made(ledger, key, (before, memory), (does, |_| true))
    }

    /// What a key committed to in the tempo before.
    fn before(ledger: &Ledger, key: u8) -> Option<Self> {
        let tempo = ledger.subnet().tempo.checked_sub(1)?;
        let view = ledger.state.evidence_view(SUBNET, tempo)?;
        let root = view.of(hotkey(key))?.commit.root;
        MADE.with_borrow(|made| made.get(&root).cloned())
    }

    fn made(
        ledger: &Ledger,
        key: u8,
        (before, mut memory): (Option<Self>, Memory),
        (does, is_right): (impl Fn(u32, Uid) -> Does, impl Fn(Uid) -> bool),
    ) -> Self {
        let tempo = ledger.subnet().tempo;
        let view = ledger.state.evidence_view(SUBNET, tempo).unwrap();
        let genesis = ledger.state.genesis_digest();
        let session = view
            .in_sessions
            .then(|| pair(key).session(&session_input(ledger, tempo)));
        let asker = session
            .as_ref()
            .map_or_else(|| pair(key), |session| session.pair.clone());
        let context = Context::of(&view, genesis, hotkey(key)).asked_by(asker.hotkey());
        let carried = memory.clone();
        let asked = Asked::by(&context, (key, asker.clone()));
        let rounds = asked.rounds(&mut memory, does, is_right);
        let own_uid = ledger.state.uid_of(SUBNET, hotkey(key)).unwrap_or(Uid(u16::MAX));
        let weighed = weighed(&memory, own_uid);
        let bundle = Bundle {
            genesis,
            netuid: SUBNET,
            tempo,
            validator: hotkey(key),
            own_uid,
            carried,
            draws: asked.draws.clone(),
            rounds,
            forgotten: Vec::new(),
            standings: weighed.standings,
            windows: weighed.windows,
            row: weighed.row,
        };
        let work = Self {
            of: EvidenceOf {
                netuid: SUBNET,
                validator: hotkey(key),
                tempo,
            },
            leaves: Tree::of(&context, &bundle).leaves().to_vec(),
            draws: asked.draws,
            claimed_ppm: 1_000_000,
            session: session.map(|session| session.proof),
            asker: asker.hotkey(),
            genesis,
            view,
            bundle,
            memory,
            before: before.map(Box::new),
        };
        MADE.with_borrow_mut(|made| made.insert(work.evidence().root, work.clone()));
        work
    }

    /// The row that it gives.
    pub(crate) fn row(&self) -> Vec<(u16, u16)> {
        let cells = self.bundle.row.iter();
        cells.map(|(uid, weight)| (uid.0, *weight)).collect()
    }

    /// The row that it gives, to be committed to and revealed; where it gives none, all miners alike.
    pub(crate) fn weights(&self, ledger: &Ledger) -> Weights {
        match self.row() {
            row if row.is_empty() => row_of_all(ledger),
            row => ledger.weights(&row),
        }
    }

    /// The key of the miner that was asked in a slot.
    pub(crate) fn miner(&self, slot: u32) -> u8 {
        let Leaf::Answer(answer) = &self.leaves[slot as usize] else {
            panic!("nobody was asked in slot {slot}");
        };
        key_of(answer.header.receiver)
    }

    /// A contest of what a slot claims, with a receipt that `signer` signs in the miner's name.
    pub(crate) fn contest(&self, slot: u32, signer: u8) -> Call {
        let answer = self.opened(slot);
        let Leaf::Answer(claim) = &answer.leaf else {
            panic!("nobody was asked in slot {slot}");
        };
        let receipt = receipt(claim.header.digest(), claim.header.receiver, WRONG);
        Call::ContestFailure {
            of: self.of,
            contest: Box::new(Contest {
                receipt: signed_by(&receipt, signer),
                answer,
            }),
        }
    }

    fn context(&self) -> Context<'_> {
        Context::of(&self.view, self.genesis, self.of.validator).asked_by(self.asker)
    }

    pub(crate) fn evidence(&self) -> EvidenceCommit {
        EvidenceCommit {
            tempo: self.of.tempo,
            root: merkle::root(&self.digests()),
            leaf_count: u32::try_from(self.leaves.len()).unwrap(),
            claimed_ppm: self.claimed_ppm,
            served_at: None,
            session: self.session,
        }
    }

    pub(crate) fn commit(&self) -> Call {
        Call::CommitEvidence {
            netuid: SUBNET,
            evidence: self.evidence(),
        }
    }

    /// What the running tempo picks.
    pub(crate) fn picks(&self, ledger: &Ledger) -> Picks {
        let beacon = ledger.subnet().beacon;
        Picks::of(&self.context(), beacon, self.evidence().root, self.view.openings)
    }

    /// The slots that the running tempo picks.
    pub(crate) fn picked(&self, ledger: &Ledger) -> Vec<u32> {
        self.picks(ledger).slots
    }

    pub(crate) fn opening(&self, ledger: &Ledger) -> Call {
        self.opening_of(ledger, &self.picked(ledger))
    }

    /// Shows these slots, whichever were picked, and the trails that were.
    pub(crate) fn opening_of(&self, ledger: &Ledger, slots: &[u32]) -> Call {
        let picks = Picks {
            slots: slots.to_vec(),
            ..self.picks(ledger)
        };
        let context = self.before.as_ref().map(|before| before.context());
        let before = self.before.as_ref().zip(context.as_ref());
        let before = before.map(|(before, context)| Tree::of(context, &before.bundle));
        let mut opening = self
            .bundle
            .open(&self.context(), &picks, before.as_ref())
            .unwrap();
        opening.draws.clone_from(&self.draws);
        opening.leaves = slots.iter().map(|slot| self.opened(*slot)).collect();
        Call::OpenEvidence {
            netuid: SUBNET,
            opening: Box::new(opening),
        }
    }

    pub(crate) fn opened(&self, slot: u32) -> OpenedLeaf {
        OpenedLeaf::open(&self.leaves, &self.digests(), slot).unwrap()
    }

    /// Shows that the answer of a slot breaks a rule.
    pub(crate) fn answer_report(&self, slot: u32) -> Call {
        self.report(Forgery::Answer {
            answer: self.opened(slot),
            draws: self.draws.clone(),
        })
    }

    pub(crate) fn report(&self, forgery: Forgery) -> Call {
        Call::ReportForgery {
            of: self.of,
            forgery: Box::new(forgery),
        }
    }

    fn digests(&self) -> Vec<Digest> {
        self.leaves.iter().map(Leaf::digest).collect()
    }
}

/// What sessions of a tempo are of.
pub(crate) fn session_input(ledger: &Ledger, tempo: u64) -> SessionInput {
    SessionInput {
        genesis: ledger.state.genesis_digest(),
        netuid: SUBNET,
        tempo,
    }
}

/// What a memory is weighed as; nothing where nobody has earned a weight.
fn weighed(memory: &Memory, own_uid: Uid) -> Weighed {
    Weighed::of(memory, own_uid, &policy(&TASK)).unwrap_or(Weighed {
        standings: Vec::new(),
        windows: Vec::new(),
        row: Vec::new(),
    })
}

/// The questions of a tempo.
struct Asked<'a> {
    context: &'a Context<'a>,
    key: u8,
    asker: Keypair,
    draws: Vec<DrawProof>,
    outputs: Vec<[u8; 32]>,
    schedule: Vec<Vec<Uid>>,
}

impl<'a> Asked<'a> {
    fn by(context: &'a Context<'a>, (key, asker): (u8, Keypair)) -> Self {
        let inputs = (0..context.rounds).map(|round| input(context, round));
        let (outputs, draws): (Vec<_>, Vec<_>) = inputs.map(|input| asker.draw(&input)).unzip();
        let schedule = schedule(&context.candidates(), &outputs, context.miners as usize);
        Self {
            context,
            key,
            asker,
            draws,
            outputs,
            schedule,
        }
    }

    /// The rounds that were not skipped, folded into `memory`.
    fn rounds(
        &self,
        memory: &mut Memory,
        does: impl Fn(u32, Uid) -> Does,
        is_right: impl Fn(Uid) -> bool,
    ) -> Vec<Round> {
        let mut rounds = Vec::new();
        for (number, drawn) in (0..).zip(&self.schedule) {
            let slots = (number * self.context.miners_per_round()..).zip(drawn);
            let does: Vec<(Uid, Does)> = slots.map(|(slot, uid)| (*uid, does(slot, *uid))).collect();
            if does.iter().any(|(_, does)| *does == Does::Skips) {
                continue;
            }
            let mut round = self.round(number, &does, &is_right);
            assert_eq!(memory.fold(&mut round), []);
            rounds.push(round);
        }
        rounds
    }

    fn item(&self, round: u32, index: u32) -> Item {
        TASK.item(Draw::new(self.outputs[round as usize]).item_seed(index))
    }

    fn round(&self, number: u32, does: &[(Uid, Does)], is_right: impl Fn(Uid) -> bool) -> Round {
        let item = |index| {
            let Item { kind, reference, .. } = self.item(number, index);
            ItemRecord {
                seed: Draw::new(self.outputs[number as usize]).item_seed(index),
                kind: kind.to_owned(),
                reference,
            }
        };
        let miner = |(uid, _): &(Uid, Does)| MinerRecord {
            uid: *uid,
            hotkey: self.context.holder(*uid).unwrap(),
            rating_ppm: 0,
        };
        let asks = (0..ITEMS).flat_map(|item| does.iter().map(move |(uid, does)| (*uid, *does, item)));
        Round {
            netuid: SUBNET,
            tempo: self.context.tempo,
            round: number,
            sequence: number.into(),
            time_ms: 1,
            is_burst: false,
            forgotten: Vec::new(),
            beacon: self.context.beacon,
            draw: self.draws[number as usize],
            audit_draw: self.asker.draw_audits(&input(self.context, number)).1,
            items: (0..ITEMS).map(item).collect(),
            miners: does.iter().map(miner).collect(),
            answers: asks
                .map(|(uid, does, item)| self.answer(number, uid, item, (does, is_right(uid))))
                .collect(),
        }
    }

    fn answer(&self, round: u32, uid: Uid, item_index: u32, (does, is_right): (Does, bool)) -> AnswerRecord {
        let item = self.item(round, item_index);
        let challenge = self.challenge(round, uid, item_index, &item);
        let miner = key_of(challenge.message().receiver);
        let right = || answered(&challenge, miner, &item.reference);
        let wrong = || answered(&challenge, miner, WRONG);
        let failed = || Outcome::Failed {
            failure: Failure::Late,
            reason: String::new(),
        };
        let (outcome, score_ppm) = match (does, item_index) {
            (Does::Fails, 0) => (failed(), 0),
            (Does::Forges, 0) => (answered(&challenge, self.key, &item.reference), 1_000_000),
            (Does::Flatters, 0) | (Does::FlattersBeside, 1..) => (wrong(), 1_000_000),
            (_, 1..) if !is_right => (wrong(), 0),
            _ => (right(), 1_000_000),
        };
        AnswerRecord {
            uid,
            score_ppm,
            challenge,
            outcome,
            audit: None,
            reason: String::new(),
            strength_ppm: 0,
        }
    }

    fn challenge(&self, round: u32, uid: Uid, item_index: u32, item: &Item) -> Signed<Challenge> {
        let context = self.context;
        let challenge = Challenge {
            genesis: context.genesis,
            netuid: context.netuid,
            task: context.task.to_owned(),
            tempo: context.tempo,
            beacon: context.beacon,
            round,
            draw: self.draws[round as usize],
            item_index,
            sender: self.asker.hotkey(),
            receiver: context.holder(uid).unwrap(),
            nonce: 1,
            issued_ms: 0,
            deadline_ms: 1_000,
            prompt: item.prompt.clone(),
            sampling: Sampling {
                temperature_milli: 1_000,
                top_p_ppm: 1_000_000,
                top_k: 0,
                seed: Draw::new(self.outputs[round as usize]).sampling_seed(uid.0, item_index),
            },
            tokens_max: item.tokens_max,
            tokens_min: item.tokens_min,
        };
        Signed::sign(challenge, &self.asker)
    }
}

fn input(context: &Context<'_>, round: u32) -> DrawInput {
    DrawInput {
        genesis: context.genesis,
        netuid: context.netuid,
        tempo: context.tempo,
        beacon: context.beacon,
        round,
    }
}

fn key_of(miner: Hotkey) -> u8 {
    (1..=u8::MAX).find(|key| hotkey(*key) == miner).unwrap()
}

/// An answer whose receipt `signer` signs, in the miner's name.
fn answered(challenge: &Signed<Challenge>, signer: u8, text: &str) -> Outcome {
    let receipt = receipt(challenge.digest(), challenge.message().receiver, text);
    Outcome::Answered {
        text: text.to_owned(),
        tokens: vec![1, 2],
        first_ms: 20,
        total_ms: 40,
        receipt: Box::new(signed_by(&receipt, signer)),
    }
}

fn receipt(challenge: Digest, miner: Hotkey, text: &str) -> Receipt {
    Receipt {
        challenge,
        answer: answer_digest(text),
        miner,
        prompt_tokens: 20,
        answer_tokens: 2,
        trace: Trace::of(&[1, 2], &[[0; 16], [1; 16]]),
        received_ms: 10,
        first_token_ms: 20,
        finished_ms: 30,
        finish: FinishReason::EndOfText,
        model: Digest([1; 32]),
        environment: Environment {
            dtype: String::from("f32"),
            device: String::from("cpu"),
            libtorch: String::from("2.7"),
        },
    }
}

/// A receipt with a signature of `signer`, be it the miner or not.
pub(crate) fn signed_by(receipt: &Receipt, signer: u8) -> Signed<Receipt> {
    let bytes = codec::encode(receipt);
    let signature = pair(signer).sign(Receipt::PURPOSE, &bytes);
    Signed::from_parts(bytes, signature).unwrap()
}

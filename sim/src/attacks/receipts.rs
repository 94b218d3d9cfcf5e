//! C5, forged, altered and replayed receipts: a validator shows work that it did not do.
//!
//! Leaves are made with real keys and then altered in six ways. Off: the validator is believed, and whatever parses is
//! taken. On: `agon-evidence` checks the leaf as the ledger does at an opening.

use agon_evidence::answer::{Draws, check};
use agon_protocol::codec;
use agon_protocol::id::{Digest, Uid};
use agon_protocol::message::{AnswerLeaf, AnswerResult, Receipt, Signed};
use agon_protocol::sign::Signature;

use crate::attack::{Attack, Bound, Case, Trial};
use crate::ledger::Actor;
use crate::random::Random;
use crate::work::{TEXT, Tempo, receipt};

/// The attack.
#[derive(Debug)]
pub(super) struct Receipts;

impl Attack for Receipts {
    fn name(&self) -> &'static str {
        "receipts"
    }

    fn row(&self) -> &'static str {
        "C5"
    }

    fn about(&self) -> &'static str {
        "A validator alters, replays and forges receipts."
    }

    fn figure(&self) -> &'static str {
        "share of the receipts that are taken"
    }

    fn defence(&self) -> &'static str {
        "A leaf holds for one draw, one challenge and one miner's signature."
    }

    fn cases(&self) -> Vec<Case> {
        let case = |way: Way| Case {
            label: format!("{way:?}").to_lowercase(),
            off: Bound::AtLeast(0.5),
            on: Bound::AtMost(0.0),
            open: None,
            explores: false,
            measure: Box::new(move |trial| taken(way, trial)),
        };
        Way::ALL.map(case).into()
    }
}

/// How a receipt is false.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One byte of what was signed is another.
    Altered,
    /// One byte of the signature is another.
    Resigned,
    /// A receipt for another round's challenge of the same miner.
    Replayed,
    /// A leaf of an earlier tempo.
    Outdated,
    /// The challenge was sent to a friend that was not drawn, who signed.
    Befriended,
    /// Another miner signed.
    Borrowed,
}

impl Way {
    const ALL: [Self; 6] = [
        Self::Altered,
        Self::Resigned,
        Self::Replayed,
        Self::Outdated,
        Self::Befriended,
        Self::Borrowed,
    ];
}

const MINERS: u16 = 24;
const ROUNDS: u32 = 4;
const MINERS_PER_ROUND: u32 = 6;
/// Receipts for each epoch of the plan.
const RECEIPTS: u32 = 2;

fn taken(way: Way, trial: Trial) -> f64 {
    let mut random = Random::new("receipts", trial.seed);
    let bench = Bench::new(trial.seed, &mut random);
    let count = RECEIPTS * trial.epochs;
    let mut taken = 0_u32;
    for _ in 0..count {
        let leaf = bench.forge(way, &mut random);
        let is_taken = leaf.is_some_and(|leaf| {
            !trial.defence.is_on() || check(&bench.tempo.context(), &bench.draws, &leaf).is_ok()
        });
        taken += u32::from(is_taken);
    }
    f64::from(taken) / f64::from(count)
}

struct Bench {
    tempo: Tempo,
    before: Tempo,
    draws: Draws,
    draws_before: Draws,
    miners: Vec<(Uid, Actor)>,
}

impl Bench {
    fn new(seed: u64, random: &mut Random) -> Self {
        let miners: Vec<(Uid, Actor)> = (0..MINERS)
            .map(|uid| (Uid(uid), Actor::new(seed, uid.into())))
            .collect();
        let validator = Actor::new(seed, MINERS.into());
        let genesis = Digest(random.bytes());
        let mut draw = |tempo| {
            let beacon = Digest(random.bytes());
            Tempo::draw(
                (genesis, tempo, beacon),
                (validator.hotkey.hotkey(), &validator.hotkey),
                &miners,
                (ROUNDS, MINERS_PER_ROUND),
            )
        };
        let (before, tempo) = (draw(6), draw(7));
        Self {
            draws: tempo.draws(),
            draws_before: before.draws(),
            tempo,
            before,
            miners,
        }
    }

    /// A leaf that is false in this way; `None` when its bytes no longer parse.
    fn forge(&self, way: Way, random: &mut Random) -> Option<AnswerLeaf> {
        let slot = u32::try_from(random.below((ROUNDS * MINERS_PER_ROUND) as usize)).ok()?;
        let mut leaf = self.tempo.slot(&self.draws, slot)?;
        match way {
            Way::Altered => altered(&mut leaf, random, Part::Message)?,
            Way::Resigned => altered(&mut leaf, random, Part::Signature)?,
            Way::Replayed => self.replay(&mut leaf),
            Way::Outdated => leaf = self.before.slot(&self.draws_before, slot)?,
            Way::Befriended => leaf = self.befriend(&leaf, random),
            Way::Borrowed => self.borrow(&mut leaf),
        }
        Some(leaf)
    }

    fn replay(&self, leaf: &mut AnswerLeaf) {
        let round = (leaf.header.round + 1) % ROUNDS;
        let signer = &self.miners[usize::from(leaf.uid.0)].1.hotkey;
        let other = self.tempo.header(round, leaf.uid, leaf.header.receiver);
        put(leaf, receipt(&other, signer, TEXT));
    }

    /// The leaf of a miner that this round did not draw.
    fn befriend(&self, leaf: &AnswerLeaf, random: &mut Random) -> AnswerLeaf {
        let round = leaf.header.round;
        let slots = round * MINERS_PER_ROUND..(round + 1) * MINERS_PER_ROUND;
        let drawn: Vec<Option<Uid>> = slots
            .map(|slot| self.draws.miner(&self.tempo.context(), slot))
            .collect();
        let friends: Vec<&(Uid, Actor)> = self
            .miners
            .iter()
            .filter(|(uid, _)| !drawn.contains(&Some(*uid)))
            .collect();
        let (uid, friend) = friends[random.below(friends.len())];
        self.tempo
            .answered(round, *uid, friend.hotkey.hotkey(), &friend.hotkey)
    }

    fn borrow(&self, leaf: &mut AnswerLeaf) {
        let other = (usize::from(leaf.uid.0) + 1) % self.miners.len();
        let signed = receipt(&leaf.header, &self.miners[other].1.hotkey, TEXT);
        put(leaf, signed);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Message,
    Signature,
}

/// Changes one bit of the receipt; `None` when it is no receipt any more.
fn altered(leaf: &mut AnswerLeaf, random: &mut Random, part: Part) -> Option<()> {
    let AnswerResult::Answered { receipt, .. } = &leaf.result else {
        return None;
    };
    let (mut bytes, mut signature): (Vec<u8>, Signature) = (receipt.bytes().to_vec(), *receipt.signature());
    let flipped = match part {
        Part::Message => {
            let place = random.below(bytes.len());
            &mut bytes[place]
        }
        Part::Signature => &mut signature.0[random.below(64)],
    };
    *flipped ^= 1 << random.below(8);
    let receipt: Signed<Receipt> = Signed::from_parts(bytes, signature).ok()?;
    // A leaf comes as bytes, and has to be read before it is looked at.
    put(leaf, receipt);
    codec::decode(&codec::encode(leaf), usize::MAX)
        .ok()
        .map(|read| *leaf = read)
}

fn put(leaf: &mut AnswerLeaf, signed: Signed<Receipt>) {
    if let AnswerResult::Answered { receipt, .. } = &mut leaf.result {
        **receipt = signed;
    }
}

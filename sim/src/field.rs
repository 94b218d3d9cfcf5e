//! A subnet on the ledger, tempo after tempo: rows committed and revealed, evidence committed and opened.
//!
//! Evidence is real: draws and receipts are signed, leaves are under a root, and the ledger picks, checks and counts.
//! Modelled is what each validator does about the slots that it owes ([`Conduct`]).

use agon_evidence::slots::picks;
use agon_ledger_state::EpochRecord;
use agon_protocol::id::Digest;
use agon_protocol::id::Uid;
use agon_protocol::merkle;
use agon_protocol::message::{
    AnswerResult, Axon, AxonModel, Call, EvidenceCommit, EvidenceOpening, Failure, Leaf, OpenedDigest,
    OpenedLeaf, SubnetView, Weights, WeightsLeaf,
};

use crate::epochs::FULL_PPM;
use crate::evidence::Conduct;
use crate::ledger::{Actor, Ledger, SUBNET, commit, register, reveal, stake, units, weights};
use crate::work::Tempo;

/// A subnet of validators and miners.
#[derive(Clone, Debug)]
pub struct Field {
    /// The ledger.
    pub ledger: Ledger,
    /// Hold the first UIDs.
    pub validators: Vec<Actor>,
    /// Hold the UIDs after.
    pub miners: Vec<Actor>,
    rows: Vec<Weights>,
    /// What each validator committed to of the tempo before.
    evidence: Vec<Option<Committed>>,
}

/// The evidence of a tempo that waits to be opened.
#[derive(Clone, Debug)]
struct Committed {
    tempo: Tempo,
    leaves: Vec<Leaf>,
    digests: Vec<Digest>,
    commit: EvidenceCommit,
}

impl Field {
    /// Registers a validator for each number of whole units of stake, then miners, which announce axons. Actor 0, the
    /// owner, takes no part. Prices do not rise, and tempos have 10 blocks unless `parameters` say otherwise.
    #[must_use]
    pub fn new(seed: u64, stakes: &[u64], miner_count: usize, parameters: &[(&str, u64)]) -> Self {
        let count = (stakes.len() + miner_count) as u64;
        let actors: Vec<Actor> = (0..=count).map(|number| Actor::new(seed, number)).collect();
        let plain = [("tempo_blocks", 10), ("registration_bump_ppm", 1_000_000)];
        let mut ledger = Ledger::new(&actors, &[&plain, parameters].concat());
        let (validators, miners) = actors[1..].split_at(stakes.len());
        for actor in &actors[1..] {
            ledger.submit(&actor.coldkey, register(actor));
        }
        ledger.block();
        for (actor, amount) in validators.iter().zip(stakes) {
            ledger.submit(&actor.coldkey, stake(actor, units(*amount)));
        }
        for actor in miners {
            ledger.submit(&actor.hotkey, serve());
        }
        ledger.close_tempo();
        Self {
            ledger,
            validators: validators.to_vec(),
            miners: miners.to_vec(),
            rows: Vec::new(),
            evidence: Vec::new(),
        }
    }

    /// The owner of the subnet.
    #[must_use]
    pub fn owner(seed: u64) -> Actor {
        Actor::new(seed, 0)
    }

    /// Runs a tempo in which each validator reveals its row of the tempo before and commits to this one. What the
    /// ledger refuses is left out.
    pub fn tempo(&mut self, rows: &[Vec<(u16, u16)>]) -> Option<EpochRecord> {
        self.submit_rows(rows);
        self.ledger.close_tempo()
    }

    /// As [`Field::tempo`], and each validator opens its evidence of the tempo before and commits to that of this one.
    pub fn tempo_with_evidence(
        &mut self,
        rows: &[Vec<(u16, u16)>],
        conducts: &[Conduct],
    ) -> Option<EpochRecord> {
        self.tempo_beside_evidence(rows, rows, conducts)
    }

    /// As [`Field::tempo_with_evidence`], where the evidence gives the rows of `shown`.
    pub fn tempo_beside_evidence(
        &mut self,
        rows: &[Vec<(u16, u16)>],
        shown: &[Vec<(u16, u16)>],
        conducts: &[Conduct],
    ) -> Option<EpochRecord> {
        self.submit_rows(rows);
        self.submit_evidence(shown, conducts);
        self.ledger.close_tempo()
    }

    fn submit_rows(&mut self, rows: &[Vec<(u16, u16)>]) {
        for (actor, weights) in self.validators.iter().zip(&self.rows) {
            self.ledger.submit(&actor.hotkey, reveal(weights));
        }
        let tempo = self.ledger.tempo();
        self.rows = rows.iter().map(|row| weights(tempo, row)).collect();
        for (actor, weights) in self.validators.iter().zip(&self.rows) {
            self.ledger.submit(&actor.hotkey, commit(actor, weights));
        }
    }

    fn submit_evidence(&mut self, shown: &[Vec<(u16, u16)>], conducts: &[Conduct]) {
        let subnet = self.ledger.subnet();
        for (actor, committed) in self.validators.iter().zip(&self.evidence) {
            if let Some(committed) = committed {
                self.ledger.submit(&actor.hotkey, opening(committed, &subnet));
            }
        }
        let made = self.validators.iter().zip(shown.iter().zip(conducts));
        self.evidence = made
            .map(|(actor, (row, conduct))| self.work(&subnet, actor, row, conduct))
            .collect();
        for (actor, committed) in self.validators.iter().zip(&self.evidence) {
            if let Some(committed) = committed {
                let call = Call::CommitEvidence {
                    netuid: SUBNET,
                    evidence: committed.commit,
                };
                self.ledger.submit(&actor.hotkey, call);
            }
        }
    }

    /// A validator's evidence of the running tempo; `None` when it makes none.
    fn work(
        &self,
        subnet: &SubnetView,
        validator: &Actor,
        row: &[(u16, u16)],
        conduct: &Conduct,
    ) -> Option<Committed> {
        let first = u16::try_from(self.validators.len()).expect("few UIDs");
        let miners: Vec<(Uid, Actor)> = (first..).map(Uid).zip(self.miners.iter().cloned()).collect();
        let owed = ["evidence_rounds", "evidence_miners"].map(|name| parameter(subnet, name));
        let of = (self.ledger.state().genesis_digest(), subnet.tempo, subnet.beacon);
        let tempo = Tempo::draw(of, validator, &miners, (owed[0], owed[1]));
        let (mut leaves, claimed_ppm) = leaves(&tempo, conduct, first)?;
        let row = row.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect();
        leaves.push(Leaf::Weights(WeightsLeaf { row }));
        let digests: Vec<Digest> = leaves.iter().map(Leaf::digest).collect();
        let commit = EvidenceCommit {
            tempo: subnet.tempo,
            root: merkle::root(&digests),
            leaf_count: u32::try_from(leaves.len()).expect("at most 64 rounds of 256"),
            claimed_ppm,
            served_at: None,
        };
        Some(Committed {
            tempo,
            leaves,
            digests,
            commit,
        })
    }
}

fn parameter(subnet: &SubnetView, name: &str) -> u32 {
    let value = subnet.parameter(name).expect("the table has it");
    u32::try_from(value).expect("the table bounds it by 256")
}

/// What a validator of this conduct has to show, slot by slot, and what it claims.
fn leaves(tempo: &Tempo, conduct: &Conduct, first_miner: u16) -> Option<(Vec<Leaf>, u32)> {
    let (draws, context) = (tempo.draws(), tempo.context());
    let slot_count = context.slot_count();
    let (asked, claimed_ppm) = match conduct {
        Conduct::Silent => return None,
        Conduct::Part(share) => (
            (share * f64::from(slot_count)) as u32,
            (share * f64::from(FULL_PPM)) as u32,
        ),
        Conduct::Honest | Conduct::Accuses(_) | Conduct::AccusesUnseen(_) | Conduct::Idle => {
            (slot_count, FULL_PPM)
        }
    };
    let leaf = |slot: u32| {
        let Some(mut leaf) = tempo.slot(&draws, slot).filter(|_| slot < asked) else {
            return Leaf::NotAsked;
        };
        let miner = usize::from(leaf.uid.0 - first_miner);
        let fails = match conduct {
            Conduct::Idle => true,
            Conduct::Accuses(accused) | Conduct::AccusesUnseen(accused) => accused.contains(&miner),
            Conduct::Honest | Conduct::Part(_) | Conduct::Silent => false,
        };
        if fails {
            leaf.result = AnswerResult::Failed(Failure::Late);
            leaf.score_ppm = 0;
        }
        Leaf::Answer(Box::new(leaf))
    };
    Some(((0..slot_count).map(leaf).collect(), claimed_ppm))
}

/// The call that shows what the running tempo's beacon picked.
fn opening(committed: &Committed, subnet: &SubnetView) -> Call {
    let Committed {
        tempo,
        leaves,
        digests,
        commit,
    } = committed;
    let count = parameter(subnet, "evidence_openings");
    let picked = picks(subnet.beacon, commit.root, tempo.context().slot_count(), count);
    let open = |index: &u32| OpenedLeaf::open(leaves, digests, *index).expect("a leaf for each slot");
    Call::OpenEvidence {
        netuid: SUBNET,
        opening: Box::new(EvidenceOpening {
            tempo: commit.tempo,
            draws: tempo.proofs().to_vec(),
            leaves: picked.iter().map(open).collect(),
            weights: OpenedDigest::last(digests).expect("the weights are a leaf"),
        }),
    }
}

fn serve() -> Call {
    Call::ServeAxon {
        netuid: SUBNET,
        axon: Axon {
            ip: [127, 0, 0, 1].into(),
            port: 9_000,
            protocol: Axon::PROTOCOL,
            models: vec![AxonModel::named(Digest([1; 32]), "large")],
        },
    }
}

#[cfg(test)]
mod tests {
    use agon_protocol::amount::Amount;

    use super::*;
    use crate::attack::Defence;
    use crate::epochs::{Epochs, upscaled};
    use crate::miners::{Climate, Miners};
    use crate::random::Random;

    const VALIDATORS: usize = 5;
    const MINERS: usize = 9;

    fn field(seed: u64, openings: u64) -> Field {
        let stakes: Vec<u64> = (1..=VALIDATORS as u64).map(|place| 20_000 * place).collect();
        let parameters = [("weights_rate_limit_blocks", 0), ("evidence_openings", openings)];
        Field::new(seed, &stakes, MINERS, &parameters)
    }

    fn shares(amounts: &[Amount]) -> Vec<f64> {
        let total: u64 = amounts.iter().map(|amount| amount.base_units()).sum();
        let share = |amount: &Amount| amount.base_units() as f64 / total as f64;
        amounts.iter().map(share).collect()
    }

    /// Runs the same rows on a ledger and through epochs alone, with the coverage that the ledger found.
    #[track_caller]
    fn check_agreement(openings: u64, conducts: &[Conduct]) -> Vec<u32> {
        let mut field = field(1, openings);
        let stakes: Vec<u64> = (1..=VALIDATORS as u64)
            .map(|place| 20_000_000_000_000 * place)
            .collect();
        let mut epochs = Epochs::new(&stakes, MINERS, Defence::On);
        let mut random = Random::new("agreement", 1);
        let climate = Climate {
            noise: 0.3,
            drift: 0.2,
            churn: 0.0,
        };
        let mut miners = Miners::new(MINERS, climate, &mut random);
        let mut revealed: Option<Vec<Vec<f64>>> = None;
        let mut coverage = Vec::new();
        for tempo in 0..6 {
            miners.age(&mut random);
            let rows = miners.measured_by(VALIDATORS, &mut random);
            let stored: Vec<_> = rows.iter().map(|row| upscaled(row, VALIDATORS)).collect();
            let record = field.tempo_with_evidence(&stored, conducts).unwrap();
            coverage = record.coverage_ppm[..VALIDATORS].to_vec();
            if let Some(rows) = &mut revealed {
                for (row, _) in rows
                    .iter_mut()
                    .zip(conducts)
                    .filter(|(_, it)| **it == Conduct::Silent)
                {
                    row.clear();
                }
                let paid = epochs.step_covered(rows, &coverage);
                let payouts = record.payouts;
                for (uid, share) in shares(&payouts.validators).iter().enumerate().take(VALIDATORS) {
                    let expected = 2.0 * paid.validators[uid];
                    assert!((share - expected).abs() < 2e-4, "tempo {tempo}, validator {uid}");
                }
                for (uid, share) in shares(&payouts.miners).iter().enumerate().skip(VALIDATORS) {
                    let expected = 2.0 * paid.miners[uid - VALIDATORS];
                    assert!((share - expected).abs() < 2e-4, "tempo {tempo}, miner {uid}");
                }
            }
            revealed = Some(rows);
        }
        coverage
    }

    #[test]
    fn epochs_alone_pay_what_the_ledger_pays() {
        assert_eq!(
            check_agreement(0, &[const { Conduct::Honest }; VALIDATORS]),
            [FULL_PPM; VALIDATORS]
        );
    }

    #[test]
    fn the_ledger_covers_work_as_it_is_modelled() {
        let conducts = [
            Conduct::Honest,
            Conduct::Honest,
            Conduct::Silent,
            Conduct::Part(0.5),
            Conduct::Honest,
        ];
        let coverage = check_agreement(16, &conducts);
        assert_eq!(
            (coverage[0], coverage[1], coverage[4]),
            (FULL_PPM, FULL_PPM, FULL_PPM)
        );
        assert_eq!(coverage[2], 0);
        // 16 of 36 slots are picked, the first 18 of which were asked; no more is paid than was claimed.
        assert!((200_000..=500_000).contains(&coverage[3]), "{coverage:?}");
    }

    /// What the cases of attacks on weights rest on that reveal another row than the evidence gives.
    #[test]
    fn a_row_counts_only_if_the_evidence_shows_it() {
        let mut field = field(3, 16);
        let fair = upscaled(&[1.0; MINERS], VALIDATORS);
        let mut rows = vec![fair.clone(); VALIDATORS];
        // The largest stake favours one miner, and has true evidence all the same.
        rows[VALIDATORS - 1] = vec![(u16::try_from(VALIDATORS).unwrap(), u16::MAX)];
        let (shown, conducts) = (vec![fair; VALIDATORS], [const { Conduct::Honest }; VALIDATORS]);
        let records: Vec<_> = (0..3)
            .filter_map(|_| field.tempo_beside_evidence(&rows, &shown, &conducts))
            .collect();
        let last = records.last().unwrap();
        assert_eq!(
            last.coverage_ppm[..VALIDATORS],
            [FULL_PPM, FULL_PPM, FULL_PPM, FULL_PPM, 0]
        );
        assert!(last.inputs.weights[VALIDATORS - 1].is_empty());
        let incentive = &last.outputs.incentive[VALIDATORS..];
        assert!(
            incentive.iter().all(|share| *share == incentive[0]),
            "{incentive:?}"
        );

        // Who shows what it reveals is counted.
        let records: Vec<_> = (0..3)
            .filter_map(|_| field.tempo_with_evidence(&rows, &conducts))
            .collect();
        let last = records.last().unwrap();
        assert_eq!(last.coverage_ppm[..VALIDATORS], [FULL_PPM; VALIDATORS]);
        assert_eq!(last.inputs.weights[VALIDATORS - 1].len(), 1);
    }

    #[test]
    fn bytes_and_transactions_are_counted() {
        let ledger = field(2, 0).ledger;
        let (count, bytes) = ledger.applied();
        // Creation, start, four parameters; a registration for each neuron, a stake for each validator, and an axon
        // for each miner.
        assert_eq!(count, 6 + 2 * (VALIDATORS + MINERS) as u64);
        assert!(bytes > 100 * count && ledger.state_bytes() > 10_000);
    }
}

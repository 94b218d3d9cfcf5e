//! A subnet on the ledger, tempo after tempo: rows committed and revealed, evidence committed and opened.
//!
//! Evidence is real: draws and receipts are signed, leaves are under a root, and the ledger picks, checks and counts.
//! Modelled is what each validator does about the slots that it owes ([`Conduct`]).

use agon_evidence::bundle::Bundle;
use agon_evidence::fold::Memory;
use agon_evidence::slots::Picks;
use agon_evidence::tree::Tree;
use agon_ledger_state::EpochRecord;
use agon_protocol::id::Digest;
use agon_protocol::id::Uid;
use agon_protocol::message::{Axon, AxonModel, Call, EvidenceCommit, SubnetView, Weights};
use agon_protocol::session::{Session, SessionInput};

use crate::epochs::FULL_PPM;
use crate::evidence::Conduct;
use crate::ledger::{Actor, Ledger, SUBNET, commit, register, reveal, stake, units, weights};
use crate::work::{Answering, Tempo};

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
    made: Vec<Vec<(u16, u16)>>,
    /// What each validator committed to of the tempo before.
    evidence: Vec<Option<Committed>>,
}

/// The evidence of a tempo that waits to be opened.
#[derive(Clone, Debug)]
struct Committed {
    tempo: Tempo,
    bundle: Bundle,
    commit: EvidenceCommit,
    /// What the validator remembers after it.
    memory: Memory,
    /// The tempo before and its evidence, where there is some.
    before: Option<(Tempo, Bundle)>,
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
            made: Vec::new(),
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
    ///
    /// Miners answer each validator so that its evidence gives about the row that is asked for; that row is then the
    /// one it commits to ([`Field::rows`]). Who has no evidence commits to the row that is asked for.
    pub fn tempo_with_evidence(
        &mut self,
        rows: &[Vec<(u16, u16)>],
        conducts: &[Conduct],
    ) -> Option<EpochRecord> {
        self.tempo_beside_evidence(rows, rows, conducts)
    }

    /// As [`Field::tempo_with_evidence`], where the evidence gives about the rows of `shown`, and who is asked for
    /// another row commits to that.
    pub fn tempo_beside_evidence(
        &mut self,
        rows: &[Vec<(u16, u16)>],
        shown: &[Vec<(u16, u16)>],
        conducts: &[Conduct],
    ) -> Option<EpochRecord> {
        let openings = self.make_evidence(shown, conducts);
        let made = rows.iter().zip(shown).zip(&self.evidence);
        let rows: Vec<Vec<(u16, u16)>> = made
            .map(|((row, shown), evidence)| match evidence {
                Some(evidence) if row == shown && !evidence.bundle.row.is_empty() => {
                    plain(&evidence.bundle.row)
                }
                _ => row.clone(),
            })
            .collect();
        self.submit_rows(&rows);
        self.made = rows;
        self.submit_evidence(openings);
        self.ledger.close_tempo()
    }

    /// The rows that validators committed to in the tempo before the running one.
    #[must_use]
    pub fn rows(&self) -> &[Vec<(u16, u16)>] {
        &self.made
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

    /// Makes the evidence of this tempo, and gives the calls that open that of the one before.
    fn make_evidence(&mut self, shown: &[Vec<(u16, u16)>], conducts: &[Conduct]) -> Vec<Option<Call>> {
        let subnet = self.ledger.subnet();
        let committed = self.evidence.iter().map(Option::as_ref);
        let openings = committed
            .map(|committed| committed.map(|it| opening(it, &subnet)))
            .collect();
        let mut before = std::mem::take(&mut self.evidence).into_iter();
        let made = self.validators.iter().zip(shown.iter().zip(conducts));
        self.evidence = made
            .map(|(actor, asked)| self.work(&subnet, actor, asked, before.next().flatten()))
            .collect();
        openings
    }

    fn submit_evidence(&mut self, openings: Vec<Option<Call>>) {
        for (actor, opening) in self.validators.iter().zip(openings) {
            if let Some(opening) = opening {
                self.ledger.submit(&actor.hotkey, opening);
            }
        }
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
        (row, conduct): (&Vec<(u16, u16)>, &Conduct),
        before: Option<Committed>,
    ) -> Option<Committed> {
        let first = u16::try_from(self.validators.len()).expect("few UIDs");
        let miners: Vec<(Uid, Actor)> = (first..).map(Uid).zip(self.miners.iter().cloned()).collect();
        let owed = ["evidence_rounds", "evidence_miners"].map(|name| parameter(subnet, name));
        let of = (self.ledger.state().genesis_digest(), subnet.tempo, subnet.beacon);
        let session = session_of(validator, subnet, of.0);
        let asker = session
            .as_ref()
            .map_or(&validator.hotkey, |session| &session.pair);
        let keys = (validator.hotkey.hotkey(), asker);
        let tempo = Tempo::draw(of, keys, &miners, (owed[0], owed[1]));
        let (rounds, claimed_ppm) = asked(conduct, owed[0])?;
        let fails = |uid: &Uid| match conduct {
            Conduct::Idle => true,
            Conduct::Accuses(accused) | Conduct::AccusesUnseen(accused) => {
                accused.contains(&usize::from(uid.0 - first))
            }
            Conduct::Honest | Conduct::Part(_) | Conduct::Silent => false,
        };
        let uids = || miners.iter().map(|(uid, _)| *uid);
        let answering = Answering {
            fails: uids().filter(fails).collect(),
            shares: uids().map(|uid| (uid, share_for(row, uid))).collect(),
        };
        let carried = before
            .as_ref()
            .map(|before| before.memory.clone())
            .unwrap_or_default();
        let (bundle, memory) = tempo.evidence(&carried, rounds, &answering);
        let commit = EvidenceCommit {
            claimed_ppm,
            ..bundle.commit(&tempo.context(), None, session.map(|session| session.proof))
        };
        Some(Committed {
            tempo,
            bundle,
            commit,
            memory,
            before: before.map(|before| (before.tempo, before.bundle)),
        })
    }
}

/// The session by which a validator asks in the running tempo, where it is asked so.
fn session_of(validator: &Actor, subnet: &SubnetView, genesis: Digest) -> Option<Session> {
    let input = SessionInput {
        genesis,
        netuid: SUBNET,
        tempo: subnet.tempo,
    };
    (parameter(subnet, "evidence_sessions") == 1).then(|| validator.hotkey.session(&input))
}

fn parameter(subnet: &SubnetView, name: &str) -> u32 {
    let value = subnet.parameter(name).expect("the table has it");
    u32::try_from(value).expect("the table bounds it by 256")
}

/// The share of right answers that gives a miner about this weight, since pay goes by the square of it.
fn share_for(row: &[(u16, u16)], uid: Uid) -> f64 {
    let weight = row.iter().find(|cell| cell.0 == uid.0).map_or(0, |cell| cell.1);
    let largest = row.iter().map(|cell| cell.1).max().unwrap_or(1).max(1);
    (f64::from(weight) / f64::from(largest)).sqrt()
}

fn plain(row: &[(Uid, u16)]) -> Vec<(u16, u16)> {
    row.iter().map(|(uid, weight)| (uid.0, *weight)).collect()
}

/// In how many of the rounds owed a validator of this conduct asks, and what it claims.
fn asked(conduct: &Conduct, owed: u32) -> Option<(u32, u32)> {
    match conduct {
        Conduct::Silent => None,
        Conduct::Part(share) => Some((
            (share * f64::from(owed)) as u32,
            (share * f64::from(FULL_PPM)) as u32,
        )),
        Conduct::Honest | Conduct::Accuses(_) | Conduct::AccusesUnseen(_) | Conduct::Idle => {
            Some((owed, FULL_PPM))
        }
    }
}

/// The call that shows what the running tempo's beacon picked.
fn opening(committed: &Committed, subnet: &SubnetView) -> Call {
    let Committed {
        tempo,
        bundle,
        commit,
        before,
        ..
    } = committed;
    let context = tempo.context();
    let count = parameter(subnet, "evidence_openings");
    let picked = Picks::of(&context, subnet.beacon, commit.root, count);
    let before = before
        .as_ref()
        .map(|(tempo, bundle)| Tree::of(&tempo.context(), bundle));
    let opening = bundle.open(&context, &picked, before.as_ref());
    Call::OpenEvidence {
        netuid: SUBNET,
        opening: Box::new(opening.expect("made by the rules")),
    }
}

fn serve() -> Call {
    Call::ServeAxon {
        netuid: SUBNET,
        axon: Axon {
            ip: [127, 0, 0, 1].into(),
            port: 9_000,
            protocol: Axon::PROTOCOL,
            at_once: 8,
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
                let silent = rows
                    .iter_mut()
                    .zip(conducts)
                    .filter(|(_, it)| **it == Conduct::Silent);
                silent.for_each(|(row, _)| row.clear());
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
            revealed = Some(field.rows().iter().map(|row| over_miners(row)).collect());
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

    fn over_miners(row: &[(u16, u16)]) -> Vec<f64> {
        let weight = |uid: usize| {
            row.iter()
                .find(|cell| usize::from(cell.0) == uid)
                .map_or(0, |cell| cell.1)
        };
        (VALIDATORS..VALIDATORS + MINERS)
            .map(|uid| weight(uid).into())
            .collect()
    }

    /// What the cases of attacks on weights rest on that reveal another row than the evidence gives.
    #[test]
    fn a_row_counts_only_if_the_evidence_shows_it() {
        let mut beside = field(3, 16);
        let fair = upscaled(&[1.0; MINERS], VALIDATORS);
        let mut rows = vec![fair.clone(); VALIDATORS];
        // The largest stake favours one miner, and has true evidence all the same.
        rows[VALIDATORS - 1] = vec![(u16::try_from(VALIDATORS).unwrap(), u16::MAX)];
        let (shown, conducts) = (vec![fair; VALIDATORS], [const { Conduct::Honest }; VALIDATORS]);
        let records: Vec<_> = (0..3)
            .filter_map(|_| beside.tempo_beside_evidence(&rows, &shown, &conducts))
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
        let mut field = field(3, 16);
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

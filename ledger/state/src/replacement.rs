//! Who has to go when a full subnet registers somebody.
//!
//! As Subtensor does (runtime 425): the owner's oldest UIDs are never replaced. Of the others the best candidate is
//! the one with the lowest emission in the newest epoch, then the earliest registration, then the lowest UID, found
//! once among UIDs out of immunity and once among immune ones. If more UIDs than the subnet must keep are out of
//! immunity, the candidate out of immunity goes, else the immune one; without any, registration is refused.
//!
//! A replaced UID is cleared everywhere: scores, permit, axon, its own weights, bonds and commits, and bonds on it;
//! weights on it become 0. Stake on the replaced hotkey stays where it is and can be withdrawn.
//!
//! # Departure from the reference
//!
//! - A UID that was never judged stays immune until it has been, so that nobody loses a UID because validators were
//!   away. Judged is who an epoch's counted row has a weight on, be it 0, or who had been there for a whole tempo when
//!   such a row was made: silence then is a vote of 0, as it is for consensus, and a UID that answers nobody does not
//!   stay immune for ever.

use agon_protocol::id::{BlockNumber, Hotkey, Netuid, Uid};
use agon_scoring::epoch::{EpochInputs, EpochOutputs};

use crate::State;
use crate::neuron::{HotkeyUid, Neuron, owner_uids};
use crate::parameters::ParameterId;
use crate::subnet::Subnet;
use crate::weights::{BondRow, Commits, WeightRow};

/// A UID that can be replaced, and what stands before that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AtRisk {
    /// The UID.
    pub uid: Uid,
    /// Who holds it.
    pub hotkey: Hotkey,
    /// Its emission in the newest epoch, base units: what is compared first.
    pub emission: u64,
    /// Block of its registration: what is compared among equals.
    pub registered: BlockNumber,
    /// Whether it is replaced only if too few others can be.
    pub immune: bool,
    /// Blocks of its immunity period that are left, the next one included; 0 for one that is immune because it was
    /// never judged.
    pub immunity_left_blocks: u64,
    /// Whether an epoch has judged it.
    pub judged: bool,
}

impl State {
    /// The UIDs of a subnet in the order in which registrations would replace them, if they all came with the next
    /// block; those come last that cannot be replaced before others lose their immunity. The owner's protected UIDs
    /// are left out. `None` when there is no such subnet.
    #[must_use]
    pub fn at_risk(&self, netuid: Netuid) -> Option<Vec<AtRisk>> {
        let subnet: Subnet = self.table.read(&netuid)?;
        let (now, neurons) = (self.height().next(), self.neurons(netuid));
        let candidates = Candidates::of(&subnet, &neurons, now);
        let min_non_immune = subnet.parameters.value(ParameterId::MinNonImmuneUids);
        let order = candidates.order(min_non_immune);
        Some(order.map(|uid| at_risk(&subnet, &neurons, uid, now)).collect())
    }

    pub(crate) fn clear_uid(&mut self, netuid: Netuid, uid: Uid, hotkey: Hotkey) {
        self.table.remove::<HotkeyUid>(&(netuid, hotkey));
        self.table.remove::<WeightRow>(&(netuid, uid));
        self.table.remove::<BondRow>(&(netuid, uid));
        self.write_commits(netuid, uid, &Commits::default());
        let rows: Vec<_> = self.table.scan::<WeightRow>(netuid).collect();
        for (key, mut row) in rows {
            row.forget(uid);
            self.table.write(&key, &row);
        }
        let rows: Vec<_> = self.table.scan::<BondRow>(netuid).collect();
        for (key, mut row) in rows {
            row.0.retain(|(on, _)| *on != uid);
            self.write_bonds(key, &row);
        }
    }
}

fn at_risk(subnet: &Subnet, neurons: &[Neuron], uid: Uid, now: BlockNumber) -> AtRisk {
    let neuron = &neurons[usize::from(uid.0)];
    let period_blocks = subnet.parameters.value(ParameterId::ImmunityBlocks);
    let end = neuron.registered.0.saturating_add(period_blocks);
    AtRisk {
        uid,
        hotkey: neuron.hotkey,
        emission: neuron.scores.emission,
        registered: neuron.registered,
        immune: neuron.is_immune(now, &subnet.parameters),
        immunity_left_blocks: end.saturating_sub(now.0),
        judged: neuron.judged,
    }
}

/// Who could be replaced, the weakest first.
pub(crate) struct Candidates {
    non_immune: Vec<Uid>,
    immune: Vec<Uid>,
}

impl Candidates {
    pub(crate) fn of(subnet: &Subnet, neurons: &[Neuron], now: BlockNumber) -> Self {
        let protected_count = subnet.parameters.value(ParameterId::OwnerProtectedUids);
        let mut protected = owner_uids(subnet, neurons);
        protected.truncate(usize::try_from(protected_count).expect("the table bounds it by 10"));

        let open = (0..=u16::MAX)
            .map(Uid)
            .zip(neurons)
            .filter(|(uid, _)| !protected.contains(uid));
        let (immune, non_immune): (Vec<_>, Vec<_>) =
            open.partition(|(_, neuron)| neuron.is_immune(now, &subnet.parameters));
        Self {
            non_immune: weakest_first(non_immune),
            immune: weakest_first(immune),
        }
    }

    pub(crate) fn non_immune_count(&self) -> u64 {
        self.non_immune.len() as u64
    }

    pub(crate) fn choose(&self, min_non_immune: u64) -> Option<Uid> {
        let candidates = if self.non_immune_count() > min_non_immune {
            &self.non_immune
        } else {
            &self.immune
        };
        candidates.first().copied()
    }

    /// Each replacement makes one of the first kind fewer, and newcomers are immune.
    fn order(self, min_non_immune: u64) -> impl Iterator<Item = Uid> {
        let spare = self.non_immune_count().saturating_sub(min_non_immune);
        let spare = usize::try_from(spare).expect("no more than there are UIDs");
        let (first, last) = self.non_immune.split_at(spare);
        [first, &self.immune, last].concat().into_iter()
    }
}

/// Lowest emission, then earliest registration, then lowest UID.
fn weakest_first(mut candidates: Vec<(Uid, &Neuron)>) -> Vec<Uid> {
    candidates.sort_by_key(|(uid, neuron)| (neuron.scores.emission, neuron.registered, *uid));
    candidates.into_iter().map(|(uid, _)| uid).collect()
}

/// Notes which neurons the rows of an epoch judged.
pub(crate) fn note_judged(neurons: &mut [Neuron], inputs: &EpochInputs, outputs: &EpochOutputs) {
    let counted: Vec<usize> = (0..neurons.len())
        .filter(|index| is_counted(*index, inputs, outputs))
        .collect();
    for index in 0..neurons.len() {
        let judged = neurons[index].judged || {
            let judges = |by: &usize| judges(neurons, *by, index, inputs);
            counted.iter().any(judges)
        };
        neurons[index].judged = judged;
    }
}

fn is_counted(index: usize, inputs: &EpochInputs, outputs: &EpochOutputs) -> bool {
    let is_owner = inputs.owner_uid.is_some_and(|uid| usize::from(uid) == index);
    let may_weigh = inputs.validator_permit[index] || is_owner;
    may_weigh && outputs.active[index] && outputs.stake_weight[index] > 0 && !inputs.weights[index].is_empty()
}

/// Whether the row of `by` says something about who holds `uid` now.
fn judges(neurons: &[Neuron], by: usize, uid: usize, inputs: &EpochInputs) -> bool {
    let (made, registered) = (neurons[by].weighed.0, neurons[uid].registered.0);
    let had_time = made >= registered.saturating_add(inputs.tempo);
    let names = || inputs.weights[by].iter().any(|(on, _)| usize::from(*on) == uid);
    by != uid && made > registered && (had_time || names())
}

#[cfg(test)]
mod tests {
    use agon_protocol::id::Coldkey;
    use agon_protocol::message::Preset;

    use super::*;
    use crate::parameters::Parameters;

    const OWNER: Coldkey = Coldkey([1; 32]);
    const NOW: BlockNumber = BlockNumber(1_000);
    /// Registered long ago, or lately: the immunity period is 100 blocks.
    const OLD: u64 = 500;
    const NEW: u64 = 950;

    fn subnet() -> Subnet {
        let mut parameters = Parameters::of_preset(Preset::Mainnet);
        parameters.set(ParameterId::ImmunityBlocks, 100);
        Subnet::new(OWNER, parameters)
    }

    fn neuron(owner: Coldkey, emission: u64, registered: u64) -> Neuron {
        let mut neuron = Neuron::new(Hotkey([0; 32]), owner, BlockNumber(registered));
        neuron.scores.emission = emission;
        neuron.judged = true;
        neuron
    }

    /// Who goes among neurons of `(emission, registered)` that are not the owner's.
    #[track_caller]
    fn check_replaced(neurons: &[(u64, u64)], expected: Option<u16>) {
        let other = Coldkey([2; 32]);
        let neurons: Vec<Neuron> = neurons
            .iter()
            .map(|(emission, registered)| neuron(other, *emission, *registered))
            .collect();
        let candidates = Candidates::of(&subnet(), &neurons, NOW);
        assert_eq!(candidates.choose(10), expected.map(Uid));
    }

    #[test]
    fn who_was_never_judged_stays_immune() {
        let mut neurons = vec![neuron(Coldkey([2; 32]), 100, OLD); 12];
        neurons[4].scores.emission = 0;
        let chosen = |neurons: &[Neuron]| Candidates::of(&subnet(), neurons, NOW).choose(10);
        assert_eq!(chosen(&neurons), Some(Uid(4)));
        neurons[4].judged = false;
        assert_eq!(chosen(&neurons), Some(Uid(0)), "eleven others can go");
        assert_eq!(
            chosen(&neurons[1..]),
            Some(Uid(3)),
            "ten others have to stay, so the immune one goes"
        );
        let mut without_immunity = subnet();
        without_immunity.parameters.set(ParameterId::ImmunityBlocks, 0);
        let candidates = Candidates::of(&without_immunity, &neurons, NOW);
        assert_eq!(candidates.choose(10), Some(Uid(4)));
    }

    #[test]
    fn the_order_takes_those_out_of_immunity_down_to_the_bound_then_the_immune() {
        let mut neurons = vec![neuron(Coldkey([2; 32]), 100, OLD); 12];
        neurons[7].scores.emission = 3;
        neurons[9].scores.emission = 2;
        neurons.extend([5, 4].map(|emission| neuron(Coldkey([2; 32]), emission, NEW)));
        let order: Vec<u16> = Candidates::of(&subnet(), &neurons, NOW)
            .order(10)
            .map(|uid| uid.0)
            .collect();
        assert_eq!(order, [9, 7, 13, 12, 0, 1, 2, 3, 4, 5, 6, 8, 10, 11]);
    }

    fn with(count: usize, rest: &[(u64, u64)]) -> Vec<(u64, u64)> {
        [vec![(100, OLD); count], rest.to_vec()].concat()
    }

    #[test]
    fn more_than_ten_must_be_out_of_immunity_before_one_of_them_goes() {
        check_replaced(&with(11, &[(0, NEW)]), Some(0));
        check_replaced(&with(10, &[(0, NEW)]), Some(10));
        check_replaced(&with(10, &[(500, NEW), (400, NEW)]), Some(11));
        check_replaced(&with(10, &[]), None);
        check_replaced(&with(11, &[]), Some(0));
        check_replaced(&[(5, NEW), (4, NEW)], Some(1));
    }

    #[test]
    fn immunity_ends_with_its_last_block() {
        check_replaced(&with(10, &[(0, 900)]), Some(10));
        check_replaced(&with(10, &[(0, 901), (9, 902)]), Some(10));
        // At block 1000 the UID of block 901 is immune, that of block 900 is not: it makes eleven, and is weakest.
        check_replaced(&with(10, &[(0, 900), (0, 901)]), Some(10));
        check_replaced(&with(9, &[(0, 900), (7, 901)]), Some(10));
    }

    #[test]
    fn lowest_emission_goes_then_earliest_registration_then_lowest_uid() {
        check_replaced(&with(11, &[(99, OLD), (98, OLD)]), Some(12));
        check_replaced(&with(11, &[(98, OLD), (98, OLD - 1)]), Some(12));
        check_replaced(&with(11, &[(98, OLD), (98, OLD)]), Some(11));
    }

    #[test]
    fn the_owners_oldest_uid_stays() {
        let other = Coldkey([2; 32]);
        let mut neurons = vec![neuron(other, 100, OLD); 12];
        neurons[3] = neuron(OWNER, 0, OLD);
        neurons[7] = neuron(OWNER, 50, OLD);
        let chosen = |neurons: &[Neuron]| Candidates::of(&subnet(), neurons, NOW).choose(10);
        assert_eq!(owner_uids(&subnet(), &neurons), [Uid(3), Uid(7)]);
        assert_eq!(
            chosen(&neurons),
            Some(Uid(7)),
            "one UID is protected, the lower of equally old ones"
        );
        neurons[7].registered = BlockNumber(OLD - 1);
        assert_eq!(chosen(&neurons), Some(Uid(3)));
        neurons[5] = neuron(OWNER, 0, OLD - 2);
        assert_eq!(chosen(&neurons), Some(Uid(3)));
        // Eleven that may go are needed beside the protected one.
        assert_eq!(chosen(&neurons[1..]), None);
    }
}

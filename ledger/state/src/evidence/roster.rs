//! The roster: who can be drawn in a tempo, who draws, and how much is owed.

use agon_protocol::id::{BlockNumber, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::Axon;
use agon_protocol::session::Ring;
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::neuron::Neuron;
use crate::parameters::{ParameterId, Parameters};
use crate::subnet::Subnet;
use crate::table::Entry;

/// What a tempo's draws are over and oblige to, as it was when the tempo opened.
///
/// Nobody who comes or changes its key later is in it, so neither miners nor validators can choose a key after the
/// beacon is known.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Roster {
    /// The tempo's beacon.
    pub(crate) beacon: Digest,
    /// Height of the block that opened the tempo.
    pub(crate) height: BlockNumber,
    /// Neurons that serve, UIDs ascending.
    pub(crate) miners: Vec<(Uid, Hotkey)>,
    /// Answers that each of them said it can give at once, in their order.
    pub(crate) at_once: Vec<u16>,
    /// Neurons with a permit, UIDs ascending.
    pub(crate) validators: Vec<(Uid, Hotkey)>,
    /// Rounds that each validator owes.
    pub(crate) rounds: u32,
    /// Miners that each round owes, at most.
    pub(crate) miners_per_round: u32,
    /// Slots that are picked of each validator's evidence; 0 = the tempo needs none.
    pub(crate) openings: u32,
    /// Whether validators ask in sessions. Fixed before the beacon is known, so that nobody chooses between two draws.
    pub(crate) in_sessions: bool,
}

impl Entry for Roster {
    type Key = (Netuid, u64);
    const KIND: u8 = 0x0d;
}

impl Roster {
    pub(super) fn of(subnet: &Subnet, neurons: &[Neuron]) -> Self {
        let pick = |is_in: fn(&Neuron) -> bool| {
            let slots = (0..=u16::MAX).map(Uid).zip(neurons);
            slots
                .filter(|(_, neuron)| is_in(neuron))
                .map(|(uid, neuron)| (uid, neuron.hotkey))
                .collect()
        };
        let count = |id| count_of(&subnet.parameters, id);
        let validators: Vec<(Uid, Hotkey)> = pick(|neuron| neuron.permit);
        let wants_sessions = subnet.parameters.is_on(ParameterId::EvidenceSessions);
        Self {
            beacon: subnet.schedule.beacon,
            height: subnet.schedule.tempo_start,
            miners: pick(|neuron| neuron.axon.is_some()),
            at_once: neurons
                .iter()
                .filter_map(|neuron| Some(neuron.axon.as_ref()?.at_once))
                .collect(),
            in_sessions: wants_sessions && validators.len() <= Ring::MEMBERS_MAX,
            validators,
            rounds: count(ParameterId::EvidenceRounds),
            miners_per_round: count(ParameterId::EvidenceMiners),
            openings: count(ParameterId::EvidenceOpenings),
        }
    }

    /// Whether the rules could have written it.
    pub(crate) fn is_valid(&self) -> bool {
        let is_ascending = |list: &[(Uid, Hotkey)]| list.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let within = |id: ParameterId, value: u32| (id.row().min..=id.row().max).contains(&value.into());
        is_ascending(&self.miners)
            && is_ascending(&self.validators)
            && self.at_once.len() == self.miners.len()
            && self
                .at_once
                .iter()
                .all(|at_once| (1..=Axon::AT_ONCE_MAX).contains(at_once))
            && within(ParameterId::EvidenceRounds, self.rounds)
            && within(ParameterId::EvidenceMiners, self.miners_per_round)
            && within(ParameterId::EvidenceOpenings, self.openings)
            && (!self.in_sessions || self.validators.len() <= Ring::MEMBERS_MAX)
    }

    /// The UID that a miner had when the tempo opened, if it served.
    pub(super) fn uid_of(&self, miner: Hotkey) -> Option<Uid> {
        let mut miners = self.miners.iter();
        miners.find(|(_, hotkey)| *hotkey == miner).map(|(uid, _)| *uid)
    }

    /// The key by which the holder of a UID draws, if it had a permit when the tempo opened.
    pub(crate) fn drawer(&self, uid: Uid) -> Option<Hotkey> {
        let place = self.validators.binary_search_by_key(&uid, |(uid, _)| *uid);
        place.ok().map(|place| self.validators[place].1)
    }
}

impl Roster {
    /// Whether `neuron` has certainly held `uid` with the same key since the tempo opened: it registered before, and its
    /// key is in the roster or was never put in the place of another.
    fn has_settled(&self, uid: Uid, neuron: &Neuron, was_swapped: bool) -> bool {
        let is_in_roster = self.miners.binary_search(&(uid, neuron.hotkey)).is_ok();
        neuron.registered < self.height && (is_in_roster || !was_swapped)
    }
}

fn count_of(parameters: &Parameters, id: ParameterId) -> u32 {
    u32::try_from(parameters.value(id)).expect("the table bounds it by 256")
}

impl State {
    /// UIDs that have certainly not changed hands since the tempo of `roster` opened, ascending.
    pub(super) fn settled(&self, netuid: Netuid, roster: &Roster) -> Vec<Uid> {
        let was_swapped = |neuron: &Neuron| self.pool_name(neuron.hotkey) != Some(neuron.hotkey);
        let neurons = self.neurons(netuid);
        let slots = (0..=u16::MAX).map(Uid).zip(&neurons);
        let settled = slots.filter(|(uid, neuron)| roster.has_settled(*uid, neuron, was_swapped(neuron)));
        settled.map(|(uid, _)| uid).collect()
    }

    /// Writes the roster of the tempo that was just opened.
    pub(crate) fn open_roster(&mut self, netuid: Netuid, subnet: &Subnet, neurons: &[Neuron]) {
        let roster = Roster::of(subnet, neurons);
        self.table.write(&(netuid, subnet.schedule.tempo), &roster);
    }
}

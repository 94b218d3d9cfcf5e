//! Coverage at an epoch: by what each UID's dividends are multiplied.

use std::collections::BTreeMap;

use agon_evidence::coverage::{Account, PPM, coverage};
use agon_protocol::amount::Amount;
use agon_protocol::id::{Hotkey, Netuid};

use super::EvidenceRecord;
use crate::State;
use crate::neuron::Neuron;
use crate::parameters::ParameterId;
use crate::subnet::Subnet;

/// Coverage that leaves dividends as they are, in parts per million.
pub const COVERAGE_FULL_PPM: u32 = PPM;

/// Dividends multiplied by coverage: what the validators' half is divided by.
///
/// - **Shape**: one entry per UID, in UID order.
/// - **Units**: base units and parts per million.
/// - **Rounding**: down.
#[must_use]
pub fn covered(dividends: &[u64], coverage_ppm: &[u32]) -> Vec<u64> {
    let each = dividends.iter().zip(coverage_ppm);
    each.map(|(dividend, ppm)| covered_part(*dividend, *ppm))
        .collect()
}

/// The part of a dividend that coverage leaves, rounded down.
pub(crate) fn covered_part(dividend: u64, coverage_ppm: u32) -> u64 {
    let share_ppm = coverage_ppm.min(PPM).into();
    Amount::from_base_units(dividend)
        .mul_ratio(share_ppm, PPM.into())
        .base_units()
}

impl State {
    /// Coverage of each UID for the epoch that ends the running tempo, in parts per million: what was shown of the
    /// evidence of the tempo before. Full for all where that tempo needed none.
    pub(crate) fn coverage_ppm(&self, netuid: Netuid, subnet: &Subnet, neurons: &[Neuron]) -> Vec<u32> {
        let running = subnet.schedule.tempo;
        let tempo = running.checked_sub(1);
        let roster = tempo.and_then(|tempo| self.roster(netuid, tempo));
        let openings = match &roster {
            Some(roster) => roster.openings.into(),
            None => subnet.parameters.value(ParameterId::EvidenceOpenings),
        };
        if openings == 0 {
            return vec![COVERAGE_FULL_PPM; neurons.len()];
        }
        let shown = tempo.map_or_else(BTreeMap::new, |tempo| self.shown_coverage(netuid, tempo, running));
        let of_neuron = |neuron: &Neuron| {
            let name = self.pool_name(neuron.hotkey)?;
            shown.get(&name).copied()
        };
        neurons
            .iter()
            .map(|neuron| of_neuron(neuron).unwrap_or(0))
            .collect()
    }

    /// Coverage in `tempo` of all who committed to evidence of it and do not pay for a forgery in `running`, by the
    /// name of their stake pools.
    fn shown_coverage(&self, netuid: Netuid, tempo: u64, running: u64) -> BTreeMap<Hotkey, u32> {
        let records = self.table.scan::<EvidenceRecord>((netuid, tempo));
        let is_free = |name: Hotkey| {
            self.barred_until(netuid, self.hotkey_named(name), running)
                .is_none()
        };
        let (names, accounts): (Vec<Hotkey>, Vec<Account>) = records
            .filter(|((_, _, name), record)| !record.forged && is_free(*name))
            .map(|((_, _, name), record)| (name, account(record)))
            .unzip();
        names.into_iter().zip(coverage(&accounts)).collect()
    }
}

fn account(record: EvidenceRecord) -> Account {
    Account {
        claimed_ppm: record.commit.claimed_ppm,
        shown: record.shown.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dividends_are_multiplied_and_rounded_down() {
        assert_eq!(covered(&[10, 10, 10], &[PPM, 500_000, 0]), [10, 5, 0]);
        assert_eq!(covered(&[3, u64::MAX], &[999_999, PPM]), [2, u64::MAX]);
    }
}

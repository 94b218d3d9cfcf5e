//! Subnets and their parameters.

use super::{LIST_MAX, amount, digest, key, list, narrow, netuid, text, v1};
use crate::id::{BlockNumber, Coldkey};
use crate::message::{AnnouncedView, MessageError, SubnetView, at_most};

impl From<SubnetView> for v1::Subnet {
    fn from(view: SubnetView) -> Self {
        Self {
            height: view.height.0,
            netuid: view.netuid.0.into(),
            owner: view.owner.0.to_vec(),
            task: view.task,
            started: view.started,
            tempo: view.tempo,
            tempo_start: view.tempo_start.0,
            beacon: view.beacon.0.to_vec(),
            seal_round: view.seal_round,
            next_epoch: view.next_epoch.0,
            registration_price: view.registration_price.base_units(),
            neuron_count: view.neuron_count.into(),
            held: view.held.base_units(),
            parameters: view.parameters,
            announced: view.announced.into_iter().map(Into::into).collect(),
            epoch_due: view.epoch_due.0,
            locked: view.locked.base_units(),
            owner_emitted: view.owner_emitted.base_units(),
            stake_average: view.stake_average.base_units(),
        }
    }
}

impl From<AnnouncedView> for v1::Announced {
    fn from(view: AnnouncedView) -> Self {
        Self {
            name: view.name,
            value: view.value,
            tempo: view.tempo,
            height: view.height.0,
        }
    }
}

impl TryFrom<v1::Announced> for AnnouncedView {
    type Error = MessageError;

    fn try_from(wire: v1::Announced) -> Result<Self, MessageError> {
        Ok(Self {
            name: text("name", wire.name)?,
            value: wire.value,
            tempo: wire.tempo,
            height: BlockNumber(wire.height),
        })
    }
}

impl TryFrom<v1::Subnet> for SubnetView {
    type Error = MessageError;

    fn try_from(wire: v1::Subnet) -> Result<Self, MessageError> {
        at_most("parameters", wire.parameters.len(), LIST_MAX)?;
        Ok(Self {
            height: BlockNumber(wire.height),
            netuid: netuid(wire.netuid)?,
            owner: Coldkey(key("owner", &wire.owner)?),
            task: text("task", wire.task)?,
            started: wire.started,
            tempo: wire.tempo,
            tempo_start: BlockNumber(wire.tempo_start),
            beacon: digest("beacon", &wire.beacon)?,
            seal_round: wire.seal_round,
            next_epoch: BlockNumber(wire.next_epoch),
            registration_price: amount(wire.registration_price),
            neuron_count: narrow("neuron_count", wire.neuron_count)?,
            held: amount(wire.held),
            parameters: wire.parameters,
            announced: list("announced", wire.announced)?,
            epoch_due: BlockNumber(wire.epoch_due),
            locked: amount(wire.locked),
            owner_emitted: amount(wire.owner_emitted),
            stake_average: amount(wire.stake_average),
        })
    }
}

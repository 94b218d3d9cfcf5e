//! Metagraphs: neurons, axons, weights, who is at risk.

use std::net::IpAddr;

use super::{LIST_MAX, amount, digest, key, list, narrow, netuid, text, uid, v1};
use crate::id::{BlockNumber, Coldkey, Hotkey};
use crate::message::{
    self, AtRiskView, MessageError, Metagraph, MetagraphChanges, NeuronView, UidAtRisk, WeightRowView,
    at_most,
};

impl From<Metagraph> for v1::Metagraph {
    fn from(view: Metagraph) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            height: view.height.0,
            hash: view.hash.0.to_vec(),
            tempo: view.tempo,
            neurons: view.neurons.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Metagraph> for Metagraph {
    type Error = MessageError;

    fn try_from(wire: v1::Metagraph) -> Result<Self, MessageError> {
        Ok(Self {
            netuid: netuid(wire.netuid)?,
            height: BlockNumber(wire.height),
            hash: digest("hash", &wire.hash)?,
            tempo: wire.tempo,
            neurons: list("neurons", wire.neurons)?,
        })
    }
}

impl From<AtRiskView> for v1::AtRiskReply {
    fn from(view: AtRiskView) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            height: view.height.0,
            free_uids: view.free_uids.into(),
            uids: view.uids.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::AtRiskReply> for AtRiskView {
    type Error = MessageError;

    fn try_from(wire: v1::AtRiskReply) -> Result<Self, MessageError> {
        Ok(Self {
            netuid: netuid(wire.netuid)?,
            height: BlockNumber(wire.height),
            free_uids: narrow("free_uids", wire.free_uids)?,
            uids: list("uids", wire.uids)?,
        })
    }
}

impl From<UidAtRisk> for v1::AtRisk {
    fn from(view: UidAtRisk) -> Self {
        Self {
            uid: view.uid.0.into(),
            hotkey: view.hotkey.0.to_vec(),
            emission: view.emission.base_units(),
            registered: view.registered.0,
            immune: view.immune,
            immunity_left_blocks: view.immunity_left_blocks,
            judged: view.judged,
        }
    }
}

impl TryFrom<v1::AtRisk> for UidAtRisk {
    type Error = MessageError;

    fn try_from(wire: v1::AtRisk) -> Result<Self, MessageError> {
        Ok(Self {
            uid: uid(wire.uid)?,
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            emission: amount(wire.emission),
            registered: BlockNumber(wire.registered),
            immune: wire.immune,
            immunity_left_blocks: wire.immunity_left_blocks,
            judged: wire.judged,
        })
    }
}

impl From<MetagraphChanges> for v1::MetagraphChanges {
    fn from(view: MetagraphChanges) -> Self {
        Self {
            since: view.since.map(|since| since.0),
            metagraph: Some(view.metagraph.into()),
        }
    }
}

impl TryFrom<v1::MetagraphChanges> for MetagraphChanges {
    type Error = MessageError;

    fn try_from(wire: v1::MetagraphChanges) -> Result<Self, MessageError> {
        let metagraph = wire.metagraph.ok_or_else(|| MessageError::Invalid {
            field: "metagraph",
            reason: String::from("it is missing"),
        })?;
        Ok(Self {
            since: wire.since.map(BlockNumber),
            metagraph: metagraph.try_into()?,
        })
    }
}

impl From<NeuronView> for v1::Neuron {
    fn from(view: NeuronView) -> Self {
        Self {
            uid: view.uid.0.into(),
            hotkey: view.hotkey.0.to_vec(),
            coldkey: view.coldkey.0.to_vec(),
            axon: view.axon.map(Into::into),
            axon_height: view.axon_height.0,
            stake: view.stake.base_units(),
            permit: view.permit,
            active: view.active,
            registered: view.registered.0,
            last_update: view.last_update.0,
            consensus: view.consensus.into(),
            incentive: view.incentive.into(),
            validator_trust: view.validator_trust.into(),
            dividends: view.dividends.into(),
            coverage_ppm: view.coverage_ppm,
            emission: view.emission.base_units(),
            earned: view.earned.base_units(),
        }
    }
}

impl TryFrom<v1::Neuron> for NeuronView {
    type Error = MessageError;

    fn try_from(wire: v1::Neuron) -> Result<Self, MessageError> {
        Ok(Self {
            uid: uid(wire.uid)?,
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            coldkey: Coldkey(key("coldkey", &wire.coldkey)?),
            axon: wire.axon.map(TryInto::try_into).transpose()?,
            axon_height: BlockNumber(wire.axon_height),
            stake: amount(wire.stake),
            permit: wire.permit,
            active: wire.active,
            registered: BlockNumber(wire.registered),
            last_update: BlockNumber(wire.last_update),
            consensus: narrow("consensus", wire.consensus)?,
            incentive: narrow("incentive", wire.incentive)?,
            validator_trust: narrow("validator_trust", wire.validator_trust)?,
            dividends: narrow("dividends", wire.dividends)?,
            coverage_ppm: wire.coverage_ppm,
            emission: amount(wire.emission),
            earned: amount(wire.earned),
        })
    }
}

impl From<message::Axon> for v1::Axon {
    fn from(axon: message::Axon) -> Self {
        let ip = match axon.ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        Self {
            ip,
            port: axon.port.into(),
            protocol: axon.protocol,
            at_once: axon.at_once.into(),
            models: axon.models.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Axon> for message::Axon {
    type Error = MessageError;

    fn try_from(wire: v1::Axon) -> Result<Self, MessageError> {
        let ip = if let Ok(octets) = <[u8; 4]>::try_from(wire.ip.as_slice()) {
            IpAddr::from(octets)
        } else if let Ok(octets) = <[u8; 16]>::try_from(wire.ip.as_slice()) {
            IpAddr::from(octets)
        } else {
            let reason = format!("{} bytes instead of 4 or 16", wire.ip.len());
            return Err(MessageError::Invalid { field: "ip", reason });
        };
        let axon = Self {
            ip,
            port: narrow("port", wire.port)?,
            protocol: wire.protocol,
            at_once: narrow("at_once", wire.at_once)?,
            models: list("models", wire.models)?,
        };
        axon.validate()?;
        Ok(axon)
    }
}

impl From<message::AxonModel> for v1::AxonModel {
    fn from(model: message::AxonModel) -> Self {
        Self {
            digest: model.digest.0.to_vec(),
            name: model.name,
        }
    }
}

impl TryFrom<v1::AxonModel> for message::AxonModel {
    type Error = MessageError;

    fn try_from(wire: v1::AxonModel) -> Result<Self, MessageError> {
        Ok(Self {
            digest: digest("digest", &wire.digest)?,
            name: text("name", wire.name)?,
        })
    }
}

impl From<WeightRowView> for v1::WeightRow {
    fn from(view: WeightRowView) -> Self {
        let cells = view
            .weights
            .into_iter()
            .map(|(uid, value)| (u32::from(uid.0), u32::from(value)));
        let (uids, values) = cells.unzip();
        Self {
            uid: view.uid.0.into(),
            uids,
            values,
            open_commits: view.open_commits,
        }
    }
}

impl TryFrom<v1::WeightRow> for WeightRowView {
    type Error = MessageError;

    fn try_from(wire: v1::WeightRow) -> Result<Self, MessageError> {
        at_most("uids", wire.uids.len(), LIST_MAX)?;
        at_most("open_commits", wire.open_commits.len(), LIST_MAX)?;
        if wire.uids.len() != wire.values.len() {
            let reason = format!("{} values for {} uids", wire.values.len(), wire.uids.len());
            return Err(MessageError::Invalid {
                field: "values",
                reason,
            });
        }
        let cells = wire.uids.into_iter().zip(wire.values);
        let weights = cells.map(|(to, value)| Ok((uid(to)?, narrow("value", value)?)));
        Ok(Self {
            uid: uid(wire.uid)?,
            weights: weights.collect::<Result<_, MessageError>>()?,
            open_commits: wire.open_commits,
        })
    }
}

//! Axon announcements: where a hotkey serves, at most one in a while.

use agon_protocol::id::{BlockNumber, Hotkey, Netuid, Uid};
use agon_protocol::message::Axon;
use thiserror::Error;

use crate::State;
use crate::parameters::ParameterId;
use crate::refusal::{NotRegistered, UnknownSubnet};

/// Why an announcement is refused. Whether the address can be reached at all is a rule of the message's form.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServeAxonRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// The hotkey has no UID.
    #[error(transparent)]
    Registered(#[from] NotRegistered),
    /// Too soon after the last one.
    #[error(
        "the axon of UID {uid} was announced at block {last}: the next change is allowed at block {allowed}"
    )]
    RateLimit {
        /// The UID.
        uid: Uid,
        /// Block of the newest announcement.
        last: BlockNumber,
        /// First block that takes another.
        allowed: BlockNumber,
    },
}

impl ServeAxonRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Registered(_) => NotRegistered::RULE,
            Self::RateLimit { .. } => "rate limit",
        }
    }
}

/// An accepted announcement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Which subnet.
    pub netuid: Netuid,
    /// Whose.
    pub uid: Uid,
    /// Where and what it serves.
    pub axon: Axon,
    /// The block of the announcement.
    pub height: BlockNumber,
}

impl State {
    pub(crate) fn check_serve_axon(
        &self,
        hotkey: Hotkey,
        netuid: Netuid,
        axon: &Axon,
        now: BlockNumber,
    ) -> Result<Announcement, ServeAxonRefusal> {
        let subnet = self.existing_subnet(netuid)?;
        let (uid, neuron) = self.registered_neuron(netuid, hotkey)?;
        let limit_blocks = subnet.parameters.value(ParameterId::AxonRateLimitBlocks);
        let last = neuron.axon_height;
        let allowed = BlockNumber(last.0.saturating_add(limit_blocks));
        if neuron.axon.is_some() && now < allowed {
            return Err(ServeAxonRefusal::RateLimit { uid, last, allowed });
        }
        Ok(Announcement {
            netuid,
            uid,
            axon: axon.clone(),
            height: now,
        })
    }

    pub(crate) fn announce_axon(&mut self, announcement: &Announcement) {
        let key = (announcement.netuid, announcement.uid);
        let mut neuron = self.expect_neuron(key.0, key.1);
        neuron.axon = Some(announcement.axon.clone());
        neuron.axon_height = announcement.height;
        self.table.write(&key, &neuron);
    }
}

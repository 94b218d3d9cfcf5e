//! What happens: the newest block, events, refusals.

use super::{amount, digest, key, list, narrow, netuid, text, v1};
use crate::id::{Account, BlockNumber, Uid};
use crate::message::{
    self, EpochView, EventView, MessageError, OpenedSealView, RefusalView, TransactionView,
};

impl From<RefusalView> for v1::Refusal {
    fn from(view: RefusalView) -> Self {
        Self {
            rule: view.rule,
            message: view.message,
        }
    }
}

impl TryFrom<v1::Refusal> for RefusalView {
    type Error = MessageError;

    fn try_from(wire: v1::Refusal) -> Result<Self, MessageError> {
        Ok(Self {
            rule: text("rule", wire.rule)?,
            message: text("message", wire.message)?,
        })
    }
}

impl From<message::Head> for v1::Head {
    fn from(head: message::Head) -> Self {
        Self {
            genesis: head.genesis.0.to_vec(),
            name: head.name,
            height: head.height.0,
            hash: head.hash.0.to_vec(),
            time_ms: head.time_ms,
            state_root: head.state_root.0.to_vec(),
            issuance: head.issuance.base_units(),
            block_ms: head.block_ms,
            burned: head.burned.base_units(),
            subnet_lock: head.subnet_lock.base_units(),
            clock_ms: head.clock_ms,
        }
    }
}

impl TryFrom<v1::Head> for message::Head {
    type Error = MessageError;

    fn try_from(wire: v1::Head) -> Result<Self, MessageError> {
        Ok(Self {
            genesis: digest("genesis", &wire.genesis)?,
            name: text("name", wire.name)?,
            height: BlockNumber(wire.height),
            hash: digest("hash", &wire.hash)?,
            time_ms: wire.time_ms,
            state_root: digest("state_root", &wire.state_root)?,
            issuance: amount(wire.issuance),
            block_ms: wire.block_ms,
            burned: amount(wire.burned),
            subnet_lock: amount(wire.subnet_lock),
            clock_ms: wire.clock_ms,
        })
    }
}

impl From<EventView> for v1::Event {
    fn from(view: EventView) -> Self {
        Self {
            height: view.height.0,
            hash: view.hash.0.to_vec(),
            time_ms: view.time_ms,
            transactions: view.transactions.into_iter().map(Into::into).collect(),
            epochs: view.epochs.into_iter().map(Into::into).collect(),
            opened: view.opened.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Event> for EventView {
    type Error = MessageError;

    fn try_from(wire: v1::Event) -> Result<Self, MessageError> {
        Ok(Self {
            height: BlockNumber(wire.height),
            hash: digest("hash", &wire.hash)?,
            time_ms: wire.time_ms,
            transactions: list("transactions", wire.transactions)?,
            epochs: list("epochs", wire.epochs)?,
            opened: list("opened", wire.opened)?,
        })
    }
}

impl From<TransactionView> for v1::TransactionOutcome {
    fn from(view: TransactionView) -> Self {
        Self {
            digest: view.digest.0.to_vec(),
            signer: view.signer.0.to_vec(),
            call: view.call,
            refusal: view.refusal.map(Into::into),
        }
    }
}

impl TryFrom<v1::TransactionOutcome> for TransactionView {
    type Error = MessageError;

    fn try_from(wire: v1::TransactionOutcome) -> Result<Self, MessageError> {
        Ok(Self {
            digest: digest("digest", &wire.digest)?,
            signer: Account(key("signer", &wire.signer)?),
            call: text("call", wire.call)?,
            refusal: wire.refusal.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<EpochView> for v1::EpochOutcome {
    fn from(view: EpochView) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            tempo: view.tempo,
            miners_paid: view.miners_paid.base_units(),
            validators_paid: view.validators_paid.base_units(),
            owner_paid: view.owner_paid.base_units(),
            held: view.held.base_units(),
            burned: view.burned.base_units(),
        }
    }
}

impl TryFrom<v1::EpochOutcome> for EpochView {
    type Error = MessageError;

    fn try_from(wire: v1::EpochOutcome) -> Result<Self, MessageError> {
        Ok(Self {
            netuid: netuid(wire.netuid)?,
            tempo: wire.tempo,
            miners_paid: amount(wire.miners_paid),
            validators_paid: amount(wire.validators_paid),
            owner_paid: amount(wire.owner_paid),
            held: amount(wire.held),
            burned: amount(wire.burned),
        })
    }
}

impl From<OpenedSealView> for v1::OpenedSeal {
    fn from(view: OpenedSealView) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            tempo: view.tempo,
            uid: view.uid.0.into(),
            fault: view.fault,
        }
    }
}

impl TryFrom<v1::OpenedSeal> for OpenedSealView {
    type Error = MessageError;

    fn try_from(wire: v1::OpenedSeal) -> Result<Self, MessageError> {
        Ok(Self {
            netuid: netuid(wire.netuid)?,
            tempo: wire.tempo,
            uid: Uid(narrow("uid", wire.uid)?),
            fault: wire.fault.map(|fault| text("fault", fault)).transpose()?,
        })
    }
}

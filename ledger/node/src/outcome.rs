//! What an epoch paid, as the node keeps it to tell about old blocks.

use agon_protocol::amount::Amount;
use agon_protocol::id::Netuid;
use agon_protocol::message::EpochView;
use borsh::{BorshDeserialize, BorshSerialize};

/// [`EpochView`] with canonical bytes. Derived: a replay of the blocks gives the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct EpochOutcome {
    pub(crate) netuid: Netuid,
    pub(crate) tempo: u64,
    pub(crate) miners_paid: Amount,
    pub(crate) validators_paid: Amount,
    pub(crate) owner_paid: Amount,
    pub(crate) held: Amount,
}

impl From<EpochView> for EpochOutcome {
    fn from(view: EpochView) -> Self {
        let EpochView {
            netuid,
            tempo,
            miners_paid,
            validators_paid,
            owner_paid,
            held,
        } = view;
        Self {
            netuid,
            tempo,
            miners_paid,
            validators_paid,
            owner_paid,
            held,
        }
    }
}

impl From<EpochOutcome> for EpochView {
    fn from(outcome: EpochOutcome) -> Self {
        let EpochOutcome {
            netuid,
            tempo,
            miners_paid,
            validators_paid,
            owner_paid,
            held,
        } = outcome;
        Self {
            netuid,
            tempo,
            miners_paid,
            validators_paid,
            owner_paid,
            held,
        }
    }
}

//! Checks of axons.

use super::{signed, v1};
use crate::id::BlockNumber;
use crate::message::{AxonCheck, AxonCheckView, AxonReach, MessageError, Signed};

impl From<&Signed<AxonCheck>> for v1::CheckAxonRequest {
    fn from(check: &Signed<AxonCheck>) -> Self {
        Self {
            check: check.bytes().to_vec(),
            signature: check.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::CheckAxonRequest> for Signed<AxonCheck> {
    type Error = MessageError;

    fn try_from(wire: v1::CheckAxonRequest) -> Result<Self, MessageError> {
        signed(wire.check, &wire.signature)
    }
}

impl From<AxonCheckView> for v1::CheckAxonReply {
    fn from(view: AxonCheckView) -> Self {
        let reach = match view.reach {
            AxonReach::Serving => v1::AxonReach::Serving,
            AxonReach::Other => v1::AxonReach::Other,
            AxonReach::Closed => v1::AxonReach::Closed,
            AxonReach::Silent => v1::AxonReach::Silent,
            AxonReach::NotPublic => v1::AxonReach::NotPublic,
        };
        Self {
            reach: reach.into(),
            axon: Some(view.axon.into()),
            axon_height: view.axon_height.0,
            elapsed_ms: view.elapsed_ms,
        }
    }
}

impl TryFrom<v1::CheckAxonReply> for AxonCheckView {
    type Error = MessageError;

    fn try_from(wire: v1::CheckAxonReply) -> Result<Self, MessageError> {
        let reach = match v1::AxonReach::try_from(wire.reach) {
            Ok(v1::AxonReach::Serving) => AxonReach::Serving,
            Ok(v1::AxonReach::Other) => AxonReach::Other,
            Ok(v1::AxonReach::Closed) => AxonReach::Closed,
            Ok(v1::AxonReach::Silent) => AxonReach::Silent,
            Ok(v1::AxonReach::NotPublic) => AxonReach::NotPublic,
            Ok(v1::AxonReach::Unspecified) | Err(_) => {
                return Err(MessageError::Invalid {
                    field: "reach",
                    reason: format!("{} means nothing", wire.reach),
                });
            }
        };
        let axon = wire.axon.ok_or(MessageError::Missing { field: "axon" })?;
        Ok(Self {
            reach,
            axon: axon.try_into()?,
            axon_height: BlockNumber(wire.axon_height),
            elapsed_ms: wire.elapsed_ms,
        })
    }
}

//! What a light client asks for: the genesis, headers, rows and their proofs.

use super::{LIGHT_HEADERS_MAX, key, netuid, uid, v1};
use crate::codec;
use crate::id::{Account, Hotkey, Netuid, Uid};
use crate::light::LightHeader;
use crate::message::{self, MessageError, at_most};
use crate::proof::{ProofTarget, RowProof};

impl From<ProofTarget> for v1::get_proof_request::Target {
    fn from(target: ProofTarget) -> Self {
        let neuron = |netuid: Netuid, uid: Uid| v1::NeuronTarget {
            netuid: netuid.0.into(),
            uid: uid.0.into(),
        };
        match target {
            ProofTarget::Account(account) => Self::Account(account.0.to_vec()),
            ProofTarget::Subnet(netuid) => Self::Subnet(netuid.0.into()),
            ProofTarget::Neuron(netuid, uid) => Self::Neuron(neuron(netuid, uid)),
            ProofTarget::Weights(netuid, uid) => Self::Weights(neuron(netuid, uid)),
            ProofTarget::Stake(account, netuid, hotkey) => Self::Stake(v1::StakeTarget {
                account: account.0.to_vec(),
                netuid: netuid.0.into(),
                hotkey: hotkey.0.to_vec(),
            }),
            ProofTarget::Epoch(netuid, tempo) => Self::Epoch(v1::EpochTarget {
                netuid: netuid.0.into(),
                tempo,
            }),
        }
    }
}

impl TryFrom<v1::get_proof_request::Target> for ProofTarget {
    type Error = MessageError;

    fn try_from(wire: v1::get_proof_request::Target) -> Result<Self, MessageError> {
        use v1::get_proof_request::Target;
        Ok(match wire {
            Target::Account(account) => Self::Account(Account(key("account", &account)?)),
            Target::Subnet(number) => Self::Subnet(netuid(number)?),
            Target::Neuron(at) => Self::Neuron(netuid(at.netuid)?, uid(at.uid)?),
            Target::Weights(at) => Self::Weights(netuid(at.netuid)?, uid(at.uid)?),
            Target::Stake(at) => Self::Stake(
                Account(key("account", &at.account)?),
                netuid(at.netuid)?,
                Hotkey(key("hotkey", &at.hotkey)?),
            ),
            Target::Epoch(at) => Self::Epoch(netuid(at.netuid)?, at.tempo),
        })
    }
}

impl TryFrom<v1::GetHeadersReply> for Vec<LightHeader> {
    type Error = MessageError;

    fn try_from(wire: v1::GetHeadersReply) -> Result<Self, MessageError> {
        at_most("headers", wire.headers.len(), LIGHT_HEADERS_MAX)?;
        let decode = |bytes: &Vec<u8>| Ok(codec::decode(bytes, LightHeader::BYTES_MAX)?);
        wire.headers.iter().map(decode).collect()
    }
}

/// The header and the proofs of a row, from the bytes that a node sent in chunks.
///
/// # Errors
///
/// [`MessageError`] when either is too long or malformed; neither is verified.
pub fn proven(header: &[u8], proof: &[u8]) -> Result<(LightHeader, RowProof), MessageError> {
    let header = codec::decode(header, LightHeader::BYTES_MAX)?;
    Ok((header, codec::decode(proof, RowProof::BYTES_MAX)?))
}

impl TryFrom<v1::GetGenesisReply> for message::Genesis {
    type Error = MessageError;

    fn try_from(wire: v1::GetGenesisReply) -> Result<Self, MessageError> {
        Ok(codec::decode(&wire.genesis, Self::BYTES_MAX)?)
    }
}

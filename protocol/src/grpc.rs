//! Generated gRPC stubs, and the one place where wire messages become working types.
//!
//! Everything that came over the wire passes a `TryFrom` here, which bounds and validates it; behind this edge
//! everything is valid. Working types become wire messages by `From`.

pub mod trace;

use std::net::IpAddr;

use crate::amount::Amount;
use crate::codec;
use crate::id::{Account, BlockNumber, Coldkey, ConsensusKey, Digest, Hotkey, Netuid, Uid};
use crate::light::LightHeader;
use crate::message::{
    self, AccountView, AnnouncedView, AtRiskView, CommitteeView, EpochView, EventView, Message, MessageError,
    Metagraph, MetagraphChanges, NeuronView, RefusalView, SeatView, Signed, StakeView, SubnetView,
    TransactionView, UidAtRisk, WeightRowView, at_most,
};
use crate::proof::{ProofTarget, RowProof};
use crate::sign::Signature;

/// The generated messages, clients and servers of `proto/agon/v1`.
#[expect(missing_docs, reason = "generated code, documented in proto/")]
pub mod v1 {
    tonic::include_proto!("agon.v1");
}

/// The compiled schemas, for the reflection service.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

/// Request metadata that names the sender's hotkey.
pub const SENDER_METADATA: &str = "agon-hotkey";
/// Request metadata that names the miner a request is meant for.
pub const RECEIVER_METADATA: &str = "agon-receiver";

/// Most bytes a message to or from a miner may have: a signed challenge and its framing.
pub const MINER_MESSAGE_BYTES_MAX: usize = message::Challenge::BYTES_MAX + 1024;
/// Most bytes a message to or from a ledger node may have: a block, or a metagraph of 4,096 neurons.
pub const LEDGER_MESSAGE_BYTES_MAX: usize = message::Block::BYTES_MAX + 1024;

/// Most headers of one reply.
pub const LIGHT_HEADERS_MAX: usize = 1_000;

/// Most entries of any list in a reply of a node; more than any honest node sends.
const LIST_MAX: usize = 65_536;
/// Most bytes of a name or sentence in a reply of a node.
const TEXT_BYTES_MAX: usize = 4_096;

fn key(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], MessageError> {
    bytes.try_into().map_err(|_| MessageError::Invalid {
        field,
        reason: format!("{} bytes instead of 32", bytes.len()),
    })
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, MessageError> {
    key(field, bytes).map(Digest)
}

fn narrow(field: &'static str, value: u32) -> Result<u16, MessageError> {
    u16::try_from(value).map_err(|_| MessageError::TooLarge {
        field,
        value: value.into(),
        bound: u16::MAX.into(),
    })
}

fn netuid(value: u32) -> Result<Netuid, MessageError> {
    narrow("netuid", value).map(Netuid)
}

fn uid(value: u32) -> Result<Uid, MessageError> {
    narrow("uid", value).map(Uid)
}

fn amount(base_units: u64) -> Amount {
    Amount::from_base_units(base_units)
}

fn text(field: &'static str, text: String) -> Result<String, MessageError> {
    at_most(field, text.len(), TEXT_BYTES_MAX)?;
    Ok(text)
}

/// Converts a bounded list, item by item.
fn list<W, T>(field: &'static str, items: Vec<W>) -> Result<Vec<T>, MessageError>
where
    T: TryFrom<W, Error = MessageError>,
{
    at_most(field, items.len(), LIST_MAX)?;
    items.into_iter().map(T::try_from).collect()
}

/// Takes a signed message out of its two wire fields.
///
/// # Errors
///
/// [`MessageError`] when bytes or signature break a limit; the signature is not checked.
pub fn signed<T: Message>(bytes: Vec<u8>, signature: &[u8]) -> Result<Signed<T>, MessageError> {
    let signature = Signature::try_from(signature)?;
    Signed::from_parts(bytes, signature)
}

impl From<&Signed<message::Challenge>> for v1::AskRequest {
    fn from(signed: &Signed<message::Challenge>) -> Self {
        Self {
            challenge: signed.bytes().to_vec(),
            signature: signed.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::AskRequest> for Signed<message::Challenge> {
    type Error = MessageError;

    fn try_from(wire: v1::AskRequest) -> Result<Self, MessageError> {
        signed(wire.challenge, &wire.signature)
    }
}

impl From<&Signed<message::Receipt>> for v1::SignedReceipt {
    fn from(signed: &Signed<message::Receipt>) -> Self {
        Self {
            receipt: signed.bytes().to_vec(),
            signature: signed.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::SignedReceipt> for Signed<message::Receipt> {
    type Error = MessageError;

    fn try_from(wire: v1::SignedReceipt) -> Result<Self, MessageError> {
        signed(wire.receipt, &wire.signature)
    }
}

impl From<&Signed<message::Transaction>> for v1::SubmitRequest {
    fn from(signed: &Signed<message::Transaction>) -> Self {
        Self {
            transaction: signed.bytes().to_vec(),
            signature: signed.signature().0.to_vec(),
        }
    }
}

impl TryFrom<v1::SubmitRequest> for Signed<message::Transaction> {
    type Error = MessageError;

    fn try_from(wire: v1::SubmitRequest) -> Result<Self, MessageError> {
        signed(wire.transaction, &wire.signature)
    }
}

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
        })
    }
}

impl From<AccountView> for v1::Account {
    fn from(view: AccountView) -> Self {
        Self {
            account: view.account.0.to_vec(),
            nonce: view.nonce,
            free: view.free.base_units(),
            stakes: view.stakes.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Account> for AccountView {
    type Error = MessageError;

    fn try_from(wire: v1::Account) -> Result<Self, MessageError> {
        Ok(Self {
            account: Account(key("account", &wire.account)?),
            nonce: wire.nonce,
            free: amount(wire.free),
            stakes: list("stakes", wire.stakes)?,
        })
    }
}

impl From<StakeView> for v1::Stake {
    fn from(view: StakeView) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            hotkey: view.hotkey.0.to_vec(),
            amount: view.amount.base_units(),
        }
    }
}

impl TryFrom<v1::Stake> for StakeView {
    type Error = MessageError;

    fn try_from(wire: v1::Stake) -> Result<Self, MessageError> {
        Ok(Self {
            netuid: netuid(wire.netuid)?,
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            amount: amount(wire.amount),
        })
    }
}

impl From<CommitteeView> for v1::Committee {
    fn from(view: CommitteeView) -> Self {
        Self {
            height: view.height.0,
            next_era: view.next_era.0,
            seats: view.seats.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Committee> for CommitteeView {
    type Error = MessageError;

    fn try_from(wire: v1::Committee) -> Result<Self, MessageError> {
        Ok(Self {
            height: BlockNumber(wire.height),
            next_era: BlockNumber(wire.next_era),
            seats: list("seats", wire.seats)?,
        })
    }
}

impl From<SeatView> for v1::Seat {
    fn from(view: SeatView) -> Self {
        Self {
            hotkey: view.hotkey.0.to_vec(),
            coldkey: view.coldkey.0.to_vec(),
            consensus_key: view.consensus_key.0.to_vec(),
            bond: view.bond.base_units(),
            power: view.power,
            voting_power: view.voting_power,
            ready_until: view.ready_until.0,
            leaving: view.leaving.map(|since| since.0),
        }
    }
}

impl TryFrom<v1::Seat> for SeatView {
    type Error = MessageError;

    fn try_from(wire: v1::Seat) -> Result<Self, MessageError> {
        Ok(Self {
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            coldkey: Coldkey(key("coldkey", &wire.coldkey)?),
            consensus_key: ConsensusKey(key("consensus_key", &wire.consensus_key)?),
            bond: amount(wire.bond),
            power: wire.power,
            voting_power: wire.voting_power,
            ready_until: BlockNumber(wire.ready_until),
            leaving: wire.leaving.map(BlockNumber),
        })
    }
}

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
            model: axon.model.0.to_vec(),
            model_name: axon.model_name,
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
            model: digest("model", &wire.model)?,
            model_name: wire.model_name,
        };
        axon.validate()?;
        Ok(axon)
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

impl TryFrom<v1::GetProofReply> for (LightHeader, RowProof) {
    type Error = MessageError;

    fn try_from(wire: v1::GetProofReply) -> Result<Self, MessageError> {
        let header = codec::decode(&wire.header, LightHeader::BYTES_MAX)?;
        Ok((header, codec::decode(&wire.proof, RowProof::BYTES_MAX)?))
    }
}

impl TryFrom<v1::GetGenesisReply> for message::Genesis {
    type Error = MessageError;

    fn try_from(wire: v1::GetGenesisReply) -> Result<Self, MessageError> {
        Ok(codec::decode(&wire.genesis, Self::BYTES_MAX)?)
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

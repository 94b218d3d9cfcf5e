//! gRPC messages: what is not valid stops at the edge, and what passes it can be told again.

use std::fmt::Debug;

use agon_protocol::codec;
use agon_protocol::grpc::v1;
use agon_protocol::id::{Account, BlockNumber, Digest, Netuid};
use agon_protocol::light::LightHeader;
use agon_protocol::message::{
    self, AccountView, AtRiskView, AxonCheck, AxonCheckView, AxonReach, CODE_BYTES, Challenge, ColdkeyView,
    CommitteeView, EventView, Metagraph, MetagraphChanges, OpenedWindow, RefusalView, Signed, SubnetView,
    Trace, Transaction, TransactionView, WeightRowView,
};
use agon_protocol::proof::ProofTarget;
use prost::Message;

use super::sample::{self, pair};

/// A wish of a hotkey of the sample.
pub(super) fn axon_check() -> Signed<AxonCheck> {
    let check = AxonCheck {
        genesis: sample::solo().genesis.digest(),
        netuid: Netuid(1),
        hotkey: pair(17).hotkey(),
        issued_ms: 9,
    };
    Signed::sign(check, pair(17))
}

/// What is done with the bytes of one kind of message.
type Kind = fn(&[u8]);

/// By the first byte of an input.
const KINDS: [Kind; 22] = [
    both::<v1::SubmitRequest, Signed<Transaction>>,
    back_by_ref::<v1::AskRequest, Signed<Challenge>>,
    back_by_ref::<v1::SignedReceipt, Signed<message::Receipt>>,
    back::<v1::Refusal, RefusalView>,
    back::<v1::Head, message::Head>,
    back::<v1::Account, AccountView>,
    back::<v1::Committee, CommitteeView>,
    back::<v1::Subnet, SubnetView>,
    back::<v1::Metagraph, Metagraph>,
    back::<v1::MetagraphChanges, MetagraphChanges>,
    back::<v1::AtRiskReply, AtRiskView>,
    back::<v1::WeightRow, WeightRowView>,
    back::<v1::Event, EventView>,
    back::<v1::Axon, message::Axon>,
    target,
    once::<v1::GetHeadersReply, Vec<LightHeader>>,
    proven,
    once::<v1::GetGenesisReply, message::Genesis>,
    back::<v1::ColdkeyReply, ColdkeyView>,
    window,
    back_by_ref::<v1::CheckAxonRequest, Signed<AxonCheck>>,
    back::<v1::CheckAxonReply, AxonCheckView>,
];

pub(super) fn run(bytes: &[u8]) {
    if let Some((kind, bytes)) = bytes.split_first() {
        KINDS[usize::from(*kind) % KINDS.len()](bytes);
    }
}

/// The working type, if the bytes are one.
fn once<W, T>(bytes: &[u8])
where
    W: Message + Default,
    T: TryFrom<W>,
{
    if let Ok(wire) = W::decode(bytes) {
        let _ = T::try_from(wire);
    }
}

/// The working type, told and taken again.
fn back<W, T>(bytes: &[u8])
where
    W: Message + Default + From<T>,
    T: TryFrom<W> + Clone + Debug + PartialEq,
{
    let Ok(wire) = W::decode(bytes) else { return };
    let Ok(value) = T::try_from(wire) else { return };
    let again = W::decode(W::from(value.clone()).encode_to_vec().as_slice());
    let again = again.ok().and_then(|wire| T::try_from(wire).ok());
    assert_eq!(again.as_ref(), Some(&value));
}

/// As [`back`], where the wire message is made of a reference.
fn back_by_ref<W, T>(bytes: &[u8])
where
    W: Message + Default + for<'a> From<&'a T>,
    T: TryFrom<W> + Debug + PartialEq,
{
    let Ok(wire) = W::decode(bytes) else { return };
    let Ok(value) = T::try_from(wire) else { return };
    assert_eq!(T::try_from(W::from(&value)).ok().as_ref(), Some(&value));
}

/// A submission, alone and as one of a relay's.
fn both<W, T>(bytes: &[u8])
where
    W: Message + Default + for<'a> From<&'a T>,
    T: TryFrom<W> + Debug + PartialEq,
{
    back_by_ref::<W, T>(bytes);
    if let Ok(relay) = v1::RelayRequest::decode(bytes) {
        let transactions = relay
            .transactions
            .into_iter()
            .map(Signed::<Transaction>::try_from);
        let _ = transactions.filter(Result::is_ok).count();
    }
}

/// Codes of an answer of two windows and a bit.
fn codes() -> Vec<[u8; CODE_BYTES]> {
    (0..70).map(|token| [token; CODE_BYTES]).collect()
}

/// A window is of an answer only if it is the one that the answer has.
fn window(bytes: &[u8]) {
    back_by_ref::<v1::Window, OpenedWindow>(bytes);
    let wire = v1::Window::decode(bytes).ok();
    let Some(Ok(window)) = wire.map(OpenedWindow::try_from) else {
        return;
    };
    let codes = codes();
    let tokens: Vec<u32> = (0..70).collect();
    if window.is_of(&Trace::of(&tokens, &codes)) {
        assert_eq!(OpenedWindow::open(&codes, window.index), Some(window));
    }
}

fn proven(bytes: &[u8]) {
    if let Ok(chunk) = v1::ProofChunk::decode(bytes) {
        let _ = agon_protocol::grpc::proven(&chunk.header, &chunk.data);
    }
}

fn target(bytes: &[u8]) {
    let Ok(wire) = v1::GetProofRequest::decode(bytes) else {
        return;
    };
    let Some(Ok(target)) = wire.target.map(ProofTarget::try_from) else {
        return;
    };
    let again = v1::get_proof_request::Target::from(target);
    assert_eq!(ProofTarget::try_from(again).ok(), Some(target));
    let _ = sample::solo().now.state.prove(&target);
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let sample = sample::solo();
    let state = &sample.now.state;
    let netuid = Netuid(1);
    let metagraph = state.metagraph(netuid).expect("the sample has a subnet");
    let transaction = sample::sign(sample.genesis.digest(), 1, 0, sample::calls().swap_remove(0).1);
    let submit = v1::SubmitRequest::from(&transaction);
    let head = message::Head {
        genesis: sample.genesis.digest(),
        name: sample.genesis.name.clone(),
        height: BlockNumber(5),
        hash: sample.now.head.hash,
        time_ms: 7,
        state_root: state.root(),
        issuance: state.issuance(),
        burned: state.burned(),
        subnet_lock: state.subnet_lock(),
        block_ms: 1_000,
        clock_ms: 8,
    };
    let refusal = RefusalView {
        rule: String::from("envelope.nonce_used"),
        message: String::from("nonce 3 was used"),
    };
    let event = EventView {
        height: BlockNumber(5),
        hash: Digest([4; 32]),
        time_ms: 7,
        transactions: vec![TransactionView {
            digest: transaction.digest(),
            signer: Account(pair(1).public()),
            call: String::from("transfer"),
            refusal: Some(refusal.clone()),
        }],
        epochs: vec![agon_protocol::message::EpochView::default()],
        opened: vec![agon_protocol::message::OpenedSealView {
            netuid,
            tempo: 4,
            uid: agon_protocol::id::Uid(2),
            fault: Some(String::from("the seal is shorter than its key")),
        }],
    };
    let target = ProofTarget::Weights(netuid, agon_protocol::id::Uid(0));
    let header = LightHeader {
        header: sample.blocks[0].block.header.clone(),
        certificate: sample::decided().blocks[0].certificate.clone(),
        next_committee: None,
    };
    let signed = |bytes: Vec<u8>| (bytes, vec![7; 64]);
    let (challenge, signature) = signed(super::canonical::challenge_seeds().swap_remove(0));
    let ask = v1::AskRequest { challenge, signature };
    let (receipt, signature) = signed(super::canonical::receipt_seeds().swap_remove(0));
    let receipt = v1::SignedReceipt { receipt, signature };
    let at_risk = v1::AtRiskReply {
        netuid: 1,
        height: 3,
        free_uids: 4,
        uids: vec![v1::AtRisk {
            uid: 2,
            hotkey: vec![3; 32],
            ..v1::AtRisk::default()
        }],
    };
    let changes = MetagraphChanges {
        since: Some(BlockNumber(3)),
        metagraph: metagraph.clone(),
    };
    let checked = AxonCheckView {
        reach: AxonReach::Closed,
        axon: sample::axon(),
        axon_height: BlockNumber(3),
        elapsed_ms: 4,
    };
    let weights = state.weights(netuid).and_then(|rows| rows.into_iter().next());
    let opened = OpenedWindow::open(&codes(), 1);
    let messages: [Vec<u8>; 22] = [
        submit.encode_to_vec(),
        ask.encode_to_vec(),
        receipt.encode_to_vec(),
        v1::Refusal::from(refusal).encode_to_vec(),
        v1::Head::from(head).encode_to_vec(),
        v1::Account::from(state.account(&Account(pair(3).public()))).encode_to_vec(),
        v1::Committee::from(sample::decided().now.state.committee_view()).encode_to_vec(),
        v1::Subnet::from(state.subnet(netuid).expect("the sample has a subnet")).encode_to_vec(),
        v1::Metagraph::from(metagraph).encode_to_vec(),
        v1::MetagraphChanges::from(changes).encode_to_vec(),
        at_risk.encode_to_vec(),
        weights
            .map(|row| v1::WeightRow::from(row).encode_to_vec())
            .unwrap_or_default(),
        v1::Event::from(event).encode_to_vec(),
        v1::Axon::from(sample::axon()).encode_to_vec(),
        v1::GetProofRequest {
            target: Some(target.into()),
            height: Some(3),
        }
        .encode_to_vec(),
        v1::GetHeadersReply {
            headers: vec![codec::encode(&header)],
        }
        .encode_to_vec(),
        v1::ProofChunk {
            header: codec::encode(&header),
            data: state.prove(&target).expect("a small row").encode(),
            bytes: 0,
        }
        .encode_to_vec(),
        v1::GetGenesisReply {
            genesis: codec::encode(&sample.genesis),
        }
        .encode_to_vec(),
        v1::ColdkeyReply::from(state.coldkey(sample::coldkey(1), 4)).encode_to_vec(),
        opened
            .as_ref()
            .map(|it| v1::Window::from(it).encode_to_vec())
            .unwrap_or_default(),
        v1::CheckAxonRequest::from(&axon_check()).encode_to_vec(),
        v1::CheckAxonReply::from(checked).encode_to_vec(),
    ];
    let relay = v1::RelayRequest {
        transactions: vec![submit],
    };
    let numbered = (0_u8..).zip(messages).chain([(0, relay.encode_to_vec())]);
    numbered
        .map(|(kind, message)| [vec![kind], message].concat())
        .collect()
}

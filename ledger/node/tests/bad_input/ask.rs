//! One kind of bad input, how it is sent, and what should be said to it.

use agon_protocol::grpc::v1;
use agon_protocol::message::{Signed, Transaction};
use prost::Message as _;
use prost::bytes::{Buf, BufMut, Bytes};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

/// Requests and replies as they are on the wire.
#[derive(Clone, Copy, Default)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}

/// What is to be said.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A status, with these words in its message.
    Status(Code, &'static str),
    /// A reply that names this rule of the ledger.
    Refusal(&'static str),
}

/// One kind of bad input.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) method: &'static str,
    pub(crate) body: Vec<u8>,
    pub(crate) answer: Answer,
}

/// Sends one request and says what is wrong with the answer, if anything is.
pub(crate) async fn ask(channel: &Channel, case: &Case) -> Result<(), String> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let path: PathAndQuery = format!("/agon.v1.Ledger/{}", case.method).parse().unwrap();
    let reply = grpc.unary(Request::new(case.body.clone()), path, Raw).await;
    let said = match (reply, &case.answer) {
        (Err(status), Answer::Status(code, words)) => {
            if status.code() == *code && status.message().contains(words) {
                return Ok(());
            }
            format!("{:?}: {}", status.code(), status.message())
        }
        (Ok(reply), Answer::Refusal(rule)) => {
            // The refusal has the same place in both replies but for its number.
            let bytes = reply.into_inner();
            let refusal = match case.method {
                "DryRun" => v1::DryRunReply::decode(bytes).unwrap().refusal,
                _ => v1::SubmitReply::decode(bytes).unwrap().refusal,
            };
            match refusal {
                Some(refusal) if refusal.rule == *rule && !refusal.message.is_empty() => return Ok(()),
                other => format!("{other:?}"),
            }
        }
        (Ok(reply), _) => format!("a reply of {} bytes", reply.into_inner().len()),
        (Err(status), _) => format!("{:?}: {}", status.code(), status.message()),
    };
    Err(format!(
        "{} {}: expected {:?}, said {said}",
        case.method, case.name, case.answer
    ))
}

pub(crate) fn invalid(words: &'static str) -> Answer {
    Answer::Status(Code::InvalidArgument, words)
}

pub(crate) fn not_found(words: &'static str) -> Answer {
    Answer::Status(Code::NotFound, words)
}

/// The table in the making.
#[derive(Default)]
pub(crate) struct Cases(pub(crate) Vec<Case>);

impl Cases {
    pub(crate) fn add(
        &mut self,
        method: &'static str,
        name: impl Into<String>,
        body: Vec<u8>,
        answer: Answer,
    ) {
        let name = name.into();
        self.0.push(Case {
            name,
            method,
            body,
            answer,
        });
    }

    /// For both of the calls that take a transaction.
    pub(crate) fn both(&mut self, name: &str, request: &v1::SubmitRequest, answer: &Answer) {
        for method in ["Submit", "DryRun"] {
            self.add(method, name, request.encode_to_vec(), answer.clone());
        }
    }

    /// A transaction of so many bytes, with a signature of the right length.
    pub(crate) fn bytes(&mut self, name: &str, transaction: Vec<u8>, answer: &Answer) {
        let signature = vec![7; 64];
        let request = v1::SubmitRequest {
            transaction,
            signature,
        };
        self.both(name, &request, answer);
    }

    pub(crate) fn refused(&mut self, name: &str, transaction: &Signed<Transaction>, rule: &'static str) {
        self.both(
            name,
            &v1::SubmitRequest::from(transaction),
            &Answer::Refusal(rule),
        );
    }

    pub(crate) fn query<M: prost::Message>(
        &mut self,
        method: &'static str,
        name: &str,
        request: &M,
        answer: Answer,
    ) {
        self.add(method, name, request.encode_to_vec(), answer);
    }
}

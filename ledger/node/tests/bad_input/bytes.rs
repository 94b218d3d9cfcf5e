//! Bytes that are no message, no transaction, or one out of its limits.

use agon_protocol::grpc::v1;
use agon_protocol::id::{Digest, Netuid, Uid};
use agon_protocol::message::{Axon, AxonModel, Call, Weights};
use tonic::Code;

use crate::ask::{Answer, Cases, invalid};
use crate::rules::{create, fine, set};
use crate::support::{genesis, sign};

/// Bytes that are no transaction.
pub(crate) fn malformed(cases: &mut Cases) {
    let fine = fine().bytes().to_vec();
    let versioned = |version: u8| [&[version], &fine[1..]].concat();
    cases.bytes("no bytes", Vec::new(), &invalid("no bytes"));
    cases.bytes("a version alone", vec![1], &invalid("malformed"));
    for version in [0, 2, 255] {
        cases.bytes(
            &format!("version {version}"),
            versioned(version),
            &invalid("encoding version"),
        );
    }
    for len in [2, 33, fine.len() / 2, fine.len() - 1] {
        cases.bytes(
            &format!("cut to {len} bytes"),
            fine[..len].to_vec(),
            &invalid("malformed"),
        );
    }
    cases.bytes(
        "a byte too many",
        [fine.as_slice(), &[0]].concat(),
        &invalid("malformed"),
    );
    cases.bytes("twice the same", fine.repeat(2), &invalid("malformed"));
    cases.bytes("zeros", vec![0; 200], &invalid("encoding version"));
    cases.bytes("ones", vec![1; 200], &invalid("malformed"));
    cases.bytes(
        "256 KiB and a byte",
        vec![1; 256 * 1024 + 1],
        &invalid("262144 at most"),
    );
    let mut unknown = fine.clone();
    // Version, genesis, signer and nonce come before the call.
    unknown[1 + 32 + 32 + 8] = 200;
    cases.bytes("an unknown call", unknown, &invalid("malformed"));
    for (name, signature) in [
        ("no signature", 0),
        ("63 bytes", 63),
        ("65 bytes", 65),
        ("10000 bytes", 10_000),
    ] {
        let request = v1::SubmitRequest {
            transaction: fine.clone(),
            signature: vec![0; signature],
        };
        cases.both(&format!("signature: {name}"), &request, &invalid("signature"));
    }
}

/// A call as somebody would send it whose program checks nothing: signed, and out of its limits.
pub(crate) fn limits(cases: &mut Cases) {
    let weights = |uids: usize, values: usize| Call::RevealWeights {
        netuid: Netuid(1),
        weights: Weights {
            tempo: 0,
            uids: vec![Uid(0); uids],
            values: vec![1; values],
            salt: [0; 32],
            version: 0,
        },
    };
    let axon = |ip: [u8; 4], port: u16, model_name: &str| Call::ServeAxon {
        netuid: Netuid(1),
        axon: Axon {
            ip: ip.into(),
            port,
            protocol: Axon::PROTOCOL,
            at_once: 8,
            models: vec![AxonModel::named(Digest::default(), model_name)],
        },
    };
    // A name that is too long is cut where it is made, but not by others.
    let models = |count: usize, name: &str| Call::ServeAxon {
        netuid: Netuid(1),
        axon: Axon {
            ip: [10, 0, 0, 1].into(),
            port: 1,
            protocol: Axon::PROTOCOL,
            at_once: 8,
            models: vec![
                AxonModel {
                    digest: Digest::default(),
                    name: name.to_owned(),
                };
                count
            ],
        },
    };
    let long = "n".repeat(65);
    let calls = [
        (
            "a task of 65 bytes",
            create(&long),
            "task bytes is 65, 64 at most",
        ),
        (
            "a parameter of 65 bytes",
            set(&long, 1),
            "name bytes is 65, 64 at most",
        ),
        ("4097 uids", weights(4_097, 1), "uids is 4097, 4096 at most"),
        ("4097 values", weights(1, 4_097), "values is 4097, 4096 at most"),
        ("port 0", axon([10, 0, 0, 1], 0, "m"), "nobody can reach"),
        ("no address", axon([0, 0, 0, 0], 1, "m"), "nobody can reach"),
        (
            "a multicast address",
            axon([224, 0, 0, 1], 1, "m"),
            "nobody can reach",
        ),
        ("no model", models(0, "m"), "an axon serves at least one model"),
        ("five models", models(5, "m"), "models is 5, 4 at most"),
        ("a model twice", models(2, "m"), "is there twice"),
        (
            "a model name of 65 bytes",
            models(1, &long),
            "model name bytes is 65",
        ),
    ];
    for (name, call, words) in calls {
        let transaction = sign(genesis().digest(), 1, 0, call);
        cases.both(name, &v1::SubmitRequest::from(&transaction), &invalid(words));
    }
    // Lengths that lie, and text that is none. The task's length and bytes are the last before the amount.
    let created = sign(genesis().digest(), 1, 0, create("reading")).bytes().to_vec();
    let at = created.len() - 8 - "reading".len() - 4;
    for (name, length) in [("u32::MAX", u32::MAX), ("1 GiB", 1 << 30), ("one more", 8)] {
        let mut lying = created.clone();
        lying[at..at + 4].copy_from_slice(&length.to_le_bytes());
        cases.bytes(
            &format!("a text whose length says {name}"),
            lying,
            &invalid("malformed"),
        );
    }
    let mut no_text = created;
    no_text[at + 4] = 0xff;
    cases.bytes("a text that is not UTF-8", no_text, &invalid("malformed"));
}

/// Bytes that are no message at all, for every call that has a field.
pub(crate) fn wire(cases: &mut Cases) {
    let methods = [
        "Submit",
        "Relay",
        "DryRun",
        "GetAccount",
        "GetColdkey",
        "GetSubnet",
        "GetMetagraph",
        "GetMetagraphChanges",
        "GetAtRisk",
        "GetWeights",
        "GetEvidence",
        "GetEpoch",
        "GetBlock",
        "GetHeaders",
        "GetProof",
        "GetSnapshot",
        "Events",
    ];
    // What the gRPC specification asks for where a message cannot be parsed.
    let unparsed = || Answer::Status(Code::Internal, "failed to decode Protobuf message");
    for method in methods {
        cases.add(method, "a number that does not end", vec![0x08, 0xff], unparsed());
        cases.add(method, "a field of an unknown form", vec![0x0f, 0x01], unparsed());
        cases.add(
            method,
            "a length beyond the end",
            vec![0x0a, 0x7f, 0x00],
            unparsed(),
        );
    }
    let methods = methods
        .into_iter()
        .chain(["GetHead", "GetCommittee", "ListSubnets", "GetGenesis"]);
    for method in methods {
        let answer = Answer::Status(Code::OutOfRange, "decoded message length too large");
        cases.add(method, "a message of 1 MiB", vec![0; 1024 * 1024], answer);
    }
    let unknown = || Answer::Status(Code::Unimplemented, "");
    cases.add("SetBalance", "a call that is not there", Vec::new(), unknown());
    cases.add("", "a call without a name", Vec::new(), unknown());
}

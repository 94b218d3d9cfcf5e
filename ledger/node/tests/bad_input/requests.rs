//! Requests that can be read and cannot be answered.

use agon_protocol::grpc::v1;
use agon_protocol::id::{Digest, Netuid};
use agon_protocol::message::{AxonCheck, Signed};
use tonic::Code;

use crate::ask::{Answer, Cases, invalid, not_found};
use crate::support::{genesis, pair, sign, transfer};

/// Questions about what is not there, or cannot be.
pub(crate) fn queries(cases: &mut Cases) {
    const FAR: u64 = 1 << 40;
    for len in [0, 1, 31, 33, 64, 4_096] {
        let request = v1::GetAccountRequest {
            account: vec![1; len],
        };
        cases.query(
            "GetAccount",
            &format!("{len} bytes"),
            &request,
            invalid("an account has 32 bytes"),
        );
    }
    for len in [0, 31, 33] {
        let request = v1::GetColdkeyRequest {
            coldkey: vec![1; len],
        };
        cases.query(
            "GetColdkey",
            &format!("{len} bytes"),
            &request,
            invalid("an account has 32 bytes"),
        );
    }
    for (netuid, answer) in [
        (65_536, invalid("65535 at most")),
        (u32::MAX, invalid("65535 at most")),
        (999, not_found("there is no subnet 999")),
    ] {
        let name = format!("netuid {netuid}");
        cases.query(
            "GetSubnet",
            &name,
            &v1::GetSubnetRequest { netuid },
            answer.clone(),
        );
        cases.query(
            "GetWeights",
            &name,
            &v1::GetWeightsRequest { netuid },
            answer.clone(),
        );
        cases.query(
            "GetAtRisk",
            &name,
            &v1::GetAtRiskRequest { netuid },
            answer.clone(),
        );
        cases.query(
            "GetEvidence",
            &name,
            &v1::GetEvidenceRequest { netuid, tempo: 0 },
            answer.clone(),
        );
        let request = v1::GetMetagraphRequest { netuid, height: None };
        cases.query("GetMetagraph", &name, &request, answer.clone());
        let request = v1::GetMetagraphChangesRequest { netuid, since: 0 };
        cases.query("GetMetagraphChanges", &name, &request, answer.clone());
        let answer = if netuid == 999 {
            not_found("has not run")
        } else {
            answer
        };
        cases.query(
            "GetEpoch",
            &name,
            &v1::GetEpochRequest { netuid, tempo: 0 },
            answer,
        );
    }
    let request = v1::GetEpochRequest {
        netuid: 1,
        tempo: u64::MAX,
    };
    cases.query("GetEpoch", "the last tempo", &request, not_found("has not run"));
    let request = v1::GetEvidenceRequest {
        netuid: 1,
        tempo: u64::MAX,
    };
    cases.query(
        "GetEvidence",
        "the last tempo",
        &request,
        not_found("has not opened"),
    );
    for height in [FAR, u64::MAX] {
        let name = format!("height {height}");
        let unborn = || not_found("there is no block");
        cases.query("GetBlock", &name, &v1::GetBlockRequest { height }, unborn());
        let request = v1::GetMetagraphRequest {
            netuid: 1,
            height: Some(height),
        };
        cases.query("GetMetagraph", &name, &request, unborn());
        let request = v1::GetMetagraphChangesRequest {
            netuid: 1,
            since: height,
        };
        cases.query("GetMetagraphChanges", &name, &request, unborn());
        let request = v1::GetHeadersRequest {
            from: height,
            to: u64::MAX,
        };
        cases.query("GetHeaders", &name, &request, unborn());
        let request = v1::GetSnapshotRequest { height: Some(height) };
        cases.query("GetSnapshot", &name, &request, unborn());
        let request = v1::GetProofRequest {
            height: Some(height),
            target: Some(v1::get_proof_request::Target::Subnet(1)),
        };
        cases.query("GetProof", &name, &request, unborn());
    }
    cases.query(
        "GetBlock",
        "the genesis",
        &v1::GetBlockRequest { height: 0 },
        not_found("there is no block 0"),
    );
    let request = v1::GetMetagraphRequest {
        netuid: 999,
        height: Some(1),
    };
    cases.query(
        "GetMetagraph",
        "of an earlier height",
        &request,
        not_found("there was no subnet 999"),
    );
    for (from, to, answer) in [
        (5, 4, invalid("the second height has to be the higher one")),
        (u64::MAX, 0, invalid("the second height has to be the higher one")),
        (0, 4, not_found("height 0 is the genesis")),
    ] {
        let request = v1::GetHeadersRequest { from, to };
        cases.query("GetHeaders", &format!("{from} to {to}"), &request, answer);
    }
}

/// Proofs of what has no form.
pub(crate) fn proofs(cases: &mut Cases) {
    use v1::get_proof_request::Target;
    let at = |netuid, uid| v1::NeuronTarget { netuid, uid };
    let targets = [
        ("nothing", None, "target is missing"),
        (
            "an account of 0 bytes",
            Some(Target::Account(Vec::new())),
            "account is not valid",
        ),
        (
            "an account of 31 bytes",
            Some(Target::Account(vec![0; 31])),
            "account is not valid",
        ),
        (
            "an account of 33 bytes",
            Some(Target::Account(vec![0; 33])),
            "account is not valid",
        ),
        (
            "subnet 65536",
            Some(Target::Subnet(65_536)),
            "netuid is 65536, 65535 at most",
        ),
        (
            "a neuron of subnet 65536",
            Some(Target::Neuron(at(65_536, 0))),
            "netuid is 65536",
        ),
        (
            "neuron 65536",
            Some(Target::Neuron(at(1, 65_536))),
            "uid is 65536, 65535 at most",
        ),
        (
            "weights of subnet 65536",
            Some(Target::Weights(at(65_536, 0))),
            "netuid is 65536",
        ),
        (
            "weights of neuron 65536",
            Some(Target::Weights(at(1, u32::MAX))),
            "uid is 4294967295",
        ),
        (
            "an epoch of subnet 65536",
            Some(Target::Epoch(v1::EpochTarget {
                netuid: 65_536,
                tempo: 0,
            })),
            "netuid is 65536",
        ),
    ];
    for (name, target, words) in targets {
        let request = v1::GetProofRequest { target, height: None };
        cases.query("GetProof", name, &request, invalid(words));
    }
    let request = v1::GetProofRequest {
        target: Some(Target::Subnet(1)),
        height: Some(0),
    };
    cases.query(
        "GetProof",
        "the genesis",
        &request,
        not_found("height 0 is the genesis"),
    );
}

/// Transactions from a peer that is none.
pub(crate) fn relays(cases: &mut Cases) {
    let fine = v1::SubmitRequest::from(&sign(Digest([9; 32]), 1, 0, transfer(2, 5)));
    let with = |transactions: Vec<v1::SubmitRequest>| v1::RelayRequest { transactions };
    let many = with(vec![v1::SubmitRequest::default(); 1_001]);
    cases.query(
        "Relay",
        "1001 transactions",
        &many,
        invalid("1001 transactions, 1000 at most"),
    );
    let hollow = with(vec![fine.clone(), v1::SubmitRequest::default()]);
    cases.query("Relay", "one without a signature", &hollow, invalid("signature"));
    let cut = v1::SubmitRequest {
        transaction: fine.transaction[..40].to_vec(),
        ..fine.clone()
    };
    cases.query(
        "Relay",
        "one that is cut",
        &with(vec![fine.clone(), cut]),
        invalid("malformed"),
    );
    let long = v1::SubmitRequest {
        transaction: vec![1; 256 * 1024 + 1],
        ..fine
    };
    cases.query(
        "Relay",
        "one that is too long",
        &with(vec![long]),
        invalid("262144 at most"),
    );
}

/// Wishes to have an axon tried, of what is none.
pub(crate) fn axon_checks(cases: &mut Cases) {
    let fine = |genesis: Digest| {
        let check = AxonCheck {
            genesis,
            netuid: Netuid(1),
            hotkey: pair(1).hotkey(),
            issued_ms: 1,
        };
        v1::CheckAxonRequest::from(&Signed::sign(check, &pair(1)))
    };
    let here = fine(genesis().digest());
    let cut = v1::CheckAxonRequest {
        check: here.check[..40].to_vec(),
        ..here.clone()
    };
    let long = v1::CheckAxonRequest {
        check: vec![1; 129],
        ..here.clone()
    };
    let unsigned = v1::CheckAxonRequest {
        signature: vec![7; 63],
        ..here.clone()
    };
    let elsewhere = Answer::Status(Code::FailedPrecondition, "the check is for ledger");
    for (name, request, answer) in [
        ("nothing", v1::CheckAxonRequest::default(), invalid("signature")),
        ("one that is cut", cut, invalid("malformed")),
        ("one that is too long", long, invalid("128 at most")),
        ("a signature of 63 bytes", unsigned, invalid("signature")),
        ("another ledger", fine(Digest([9; 32])), elsewhere),
        (
            "long ago",
            here,
            Answer::Status(Code::OutOfRange, "set the clock"),
        ),
    ] {
        cases.query("CheckAxon", name, &request, answer);
    }
}

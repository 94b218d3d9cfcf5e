//! Sessions over real sockets: introduced, asked by, and refused by the rule that stands against them.

use agon_protocol::grpc::v1::IntroduceRequest;
use agon_protocol::grpc::v1::introductions_client::IntroductionsClient;
use agon_protocol::session::{Certificate, Ring, Session, SessionInput};

use super::*;

fn input(tempo: u64) -> SessionInput {
    SessionInput {
        genesis: Digest([9; 32]),
        netuid: Netuid(1),
        tempo,
    }
}

/// The validators of the tempo: the bench's and another.
pub(super) fn ring(tempo: u64) -> Ring {
    Ring::new(input(tempo), [validator(1).hotkey(), validator(3).hotkey()]).unwrap()
}

fn validator(seed: u8) -> Keypair {
    Keypair::from_mini_secret(&[seed; 32])
}

fn session(seed: u8, tempo: u64) -> (Session, Certificate) {
    let session = validator(seed).session(&input(tempo));
    let certificate = ring(tempo).certify(&validator(seed), &session).unwrap();
    (session, certificate)
}

async fn introduce(bench: &Bench, certificate: Vec<u8>) -> Result<(), Status> {
    let channel = Net::tcp().channel(&format!("http://{}", bench.addr), ChannelOptions::default());
    let mut client = IntroductionsClient::new(channel.unwrap());
    client.introduce(IntroduceRequest { certificate }).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_validators_ask_in_sessions_and_are_alike() {
    for seed in [1, 3] {
        let mut bench = Bench::new().await;
        let (Session { pair, .. }, certificate) = session(seed, 4);
        bench.validator = pair;
        assert_eq!(
            bench.refusal("who").await,
            (Code::PermissionDenied, "permit".into())
        );
        introduce(&bench, certificate.to_bytes()).await.unwrap();
        introduce(&bench, certificate.to_bytes()).await.unwrap();
        let (text, receipt) = whole(bench.ask("who").await.unwrap()).await;
        assert_eq!(text, format!("{} 500000", bench.validator.hotkey()));
        assert!(receipt.is_some());
        bench.shutdown.request();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_introduction_is_refused_by_its_rule() {
    let bench = Bench::new().await;
    let (own, first) = session(1, 4);
    introduce(&bench, first.to_bytes()).await.unwrap();
    let second = Session {
        pair: validator(8),
        ..own
    };
    let second = ring(4).certify(&validator(1), &second).unwrap();
    let mut altered = session(3, 4).1;
    altered.responses.swap(0, 1);
    let cases = [
        (vec![1, 2, 3], (Code::InvalidArgument, "malformed")),
        (session(1, 5).1.to_bytes(), (Code::Unavailable, "no_sessions")),
        (second.to_bytes(), (Code::AlreadyExists, "second_session")),
        (altered.to_bytes(), (Code::PermissionDenied, "certificate")),
    ];
    for (bytes, (code, rule)) in cases {
        let refusal = introduce(&bench, bytes).await.unwrap_err();
        assert_eq!(named(&refusal), (code, rule.to_owned()));
    }
    let too_long = vec![0; 2 * grpc::INTRODUCTION_BYTES_MAX];
    assert!(introduce(&bench, too_long).await.is_err());
    bench.shutdown.request();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_s_certificates_are_verified_up_to_a_number() {
    let bench = Bench::new().await;
    let mut altered = session(3, 4).1;
    altered.responses.swap(0, 1);
    let mut rules = Vec::new();
    for _ in 0..200 {
        let refusal = introduce(&bench, altered.to_bytes()).await.unwrap_err();
        rules.push(named(&refusal).1);
        if rules.last().is_some_and(|rule| rule == "introductions_full") {
            break;
        }
    }
    let (last, verified) = rules.split_last().unwrap();
    assert_eq!(last, "introductions_full");
    assert!(verified.len() >= 16 && verified.iter().all(|rule| rule == "certificate"));
    bench.shutdown.request();
}

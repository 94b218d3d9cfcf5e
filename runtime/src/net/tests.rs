//! Sockets on loopback, and with feature `simulation` the same calls over simulated links.

use futures::StreamExt;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;
use crate::Shutdown;

const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Answers health checks on `incoming` until `shutdown`.
async fn serve_health(incoming: Incoming, shutdown: Shutdown) {
    let (_, health) = tonic_health::server::health_reporter();
    let served = server()
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, shutdown.requested());
    served.await.unwrap();
}

async fn ask_health(channel: Channel) -> Result<(), Status> {
    HealthClient::new(channel)
        .check(HealthCheckRequest::default())
        .await
        .map(drop)
}

async fn accept(incoming: &mut Incoming) -> Connection {
    incoming.next().await.unwrap().unwrap()
}

#[tokio::test]
async fn every_accepted_socket_sends_small_writes_at_once() {
    let mut incoming = Net::tcp().listen(LOOPBACK).await.unwrap();
    for _ in 0..3 {
        let client = TcpStream::connect(incoming.local_addr()).await.unwrap();
        let connection = accept(&mut incoming).await;
        assert!(connection.nodelay().unwrap());
        assert_eq!(connection.peer_addr(), client.local_addr().unwrap());
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_are_closed_until_a_place_is_free() {
    let mut incoming = Net::tcp().listen_capped(LOOPBACK, 1).await.unwrap();
    let _first = TcpStream::connect(incoming.local_addr()).await.unwrap();
    let occupied = accept(&mut incoming).await;

    let mut second = TcpStream::connect(incoming.local_addr()).await.unwrap();
    let mut byte = [0];
    tokio::select! {
        biased;
        _ = incoming.next() => panic!("a connection beyond the limit was let in"),
        read = second.read(&mut byte) => assert!(matches!(read, Ok(0) | Err(_))),
    }

    drop(occupied);
    let _third = TcpStream::connect(incoming.local_addr()).await.unwrap();
    accept(&mut incoming).await;
}

#[tokio::test]
async fn an_address_that_holds_its_part_leaves_room_for_others() {
    let limits = Limits {
        connections_max: 4,
        per_address_max: 1,
        known_only: 1,
    };
    let mut incoming = Net::tcp().listen_within(LOOPBACK, limits).await.unwrap();
    let to = incoming.local_addr();
    let from = |last: u8| async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        socket.connect(to).await.unwrap()
    };
    let _one = from(1).await;
    let _first = accept(&mut incoming).await;
    let mut too_many = from(1).await;
    let _two = from(2).await;
    let second = accept(&mut incoming).await;
    assert_eq!(second.peer_addr().ip(), std::net::IpAddr::from([127, 0, 0, 2]));
    assert!(matches!(too_many.read(&mut [0]).await, Ok(0) | Err(_)));
    incoming.known().note([127, 0, 0, 5].into());
    let _three = from(3).await;
    let _third = accept(&mut incoming).await;
    let _stranger = from(4).await;
    let _friend = from(5).await;
    let fourth = accept(&mut incoming).await;
    assert_eq!(fourth.peer_addr().ip(), std::net::IpAddr::from([127, 0, 0, 5]));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_begin_to_speak_is_given_up() {
    let mut incoming = Net::tcp().listen(LOOPBACK).await.unwrap();
    let _silent = TcpStream::connect(incoming.local_addr()).await.unwrap();
    let mut connection = accept(&mut incoming).await;
    let error = connection.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_channel_made_before_its_server_connects_when_it_is_used() {
    let incoming = Net::tcp().listen(LOOPBACK).await.unwrap();
    let uri = format!("http://{}", incoming.local_addr());
    let channel = Net::tcp().channel(&uri, ChannelOptions::default()).unwrap();
    let shutdown = Shutdown::new();
    let served = tokio::spawn(serve_health(incoming, shutdown.clone()));
    ask_health(channel.clone()).await.unwrap();

    drop(channel);
    shutdown.request();
    served.await.unwrap();
}

#[tokio::test]
async fn a_missing_server_is_unavailable_and_has_its_exit_code() {
    let gone = Net::tcp().listen(LOOPBACK).await.unwrap().local_addr();
    let channel = Net::tcp()
        .channel(&format!("http://{gone}"), ChannelOptions::default())
        .unwrap();
    let status = ask_health(channel).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(crate::flags::exit_code(&status), crate::flags::EXIT_UNREACHABLE);
    assert!(
        crate::flags::sentence(&status).contains("refused"),
        "{}",
        crate::flags::sentence(&status)
    );
}

#[test]
fn addresses_are_whole_and_bounded() {
    for good in [
        "http://127.0.0.1:9944",
        "http://[::1]:1",
        "http://miner-3.example:65535/",
    ] {
        parse_uri(good).unwrap();
    }
    for bad in [
        "",
        "127.0.0.1:9944",
        "https://a:1",
        "http://a",
        "http://:1",
        "http://a:65536",
        "http://a b:1",
        "\u{0}",
    ] {
        assert!(matches!(parse_uri(bad), Err(NetError::BadUri { .. })), "{bad:?}");
    }
    let long = format!("http://{}:1", "a".repeat(URI_BYTES_MAX));
    assert!(matches!(parse_uri(&long), Err(NetError::UriTooLong { .. })));
}

#[cfg(feature = "simulation")]
mod simulated {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::Clock;

    const ADDR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 9_000);
    const EPOCH_MS: u64 = 1_700_000_000_000;

    /// Health checks after 1, 2 and 60 s, the link cut during the second: what came back, and when.
    fn run(seed: u64) -> Vec<(bool, u64)> {
        let mut sim = turmoil::Builder::new()
            .simulation_duration(Duration::from_secs(120))
            .min_message_latency(Duration::from_millis(5))
            .max_message_latency(Duration::from_millis(80))
            .rng_seed(seed)
            .build();
        let clock = Clock::simulated(EPOCH_MS);
        sim.host("miner", || async {
            serve_health(Net::simulated().listen(ADDR).await?, Shutdown::new()).await;
            Ok(())
        });
        let log = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&log);
        sim.client("validator", async move {
            let options = ChannelOptions {
                timeout: Duration::from_millis(500),
                ..ChannelOptions::default()
            };
            let channel = Net::simulated().channel("http://miner:9000", options)?;
            for second in [1, 2, 60] {
                clock.sleep_until_ms(EPOCH_MS + second * 1_000).await;
                if second == 2 {
                    turmoil::partition("validator", "miner");
                }
                let answered = ask_health(channel.clone()).await.is_ok();
                turmoil::repair("validator", "miner");
                written.lock().unwrap().push((answered, clock.now_ms()));
            }
            Ok(())
        });
        sim.run().unwrap();
        drop(sim);
        Arc::into_inner(log).unwrap().into_inner().unwrap()
    }

    #[test]
    fn a_cut_link_fails_and_a_mended_one_answers_at_repeatable_times() {
        let log = run(7);
        assert_eq!(
            log.iter().map(|(answered, _)| *answered).collect::<Vec<_>>(),
            [true, false, true]
        );
        assert!(
            log.iter()
                .all(|(_, at_ms)| (EPOCH_MS..EPOCH_MS + 61_000).contains(at_ms)),
            "{log:?}"
        );
        assert_eq!(run(7), log);
        assert_ne!(run(8), log);
    }

    #[test]
    fn all_hosts_of_a_simulation_have_one_time_and_a_restart_keeps_it() {
        let mut sim = turmoil::Builder::new()
            .simulation_duration(Duration::from_secs(60))
            .build();
        let clock = Clock::simulated(EPOCH_MS);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (host_clock, host_seen) = (clock.clone(), Arc::clone(&seen));
        sim.host("restarted", move || {
            host_seen.lock().unwrap().push(host_clock.now_ms());
            std::future::pending()
        });
        sim.client("steady", async move {
            clock.sleep_until_ms(EPOCH_MS + 5_000).await;
            Ok(())
        });
        sim.run().unwrap();
        sim.bounce("restarted");
        let seen = seen.lock().unwrap();
        assert!(
            matches!(seen[..], [EPOCH_MS, later] if (5_000..5_010).contains(&(later - EPOCH_MS))),
            "{seen:?}"
        );
    }
}

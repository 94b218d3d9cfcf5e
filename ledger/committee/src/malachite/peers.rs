//! What the log says of the other nodes: one line when a peer that was named is waited for, one when it is there, and
//! a warning with its name when it stays away.
//!
//! The engine itself reports each attempt to reach a peer as an error, which is what a start of several machines one
//! after the other looks like; those lines are kept out of the log (see `agon_runtime::telemetry`).

use std::time::Duration;

use agon_runtime::Clock;
use malachitebft_app_channel::NetworkRequest;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::settings::multiaddr;

/// How often the connections are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long a peer may be away before that is a warning.
const AWAY_MS_MAX: u64 = 60_000;

/// What was said of a peer last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Here,
    Waiting { since_ms: u64 },
    Away,
}

/// Follows the connections to `peers` for as long as the engine runs.
pub(super) async fn watch(requests: mpsc::Sender<NetworkRequest>, peers: Vec<String>, clock: Clock) {
    let mut said = vec![Said::Nothing; peers.len()];
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(connected) = connected(&requests).await else {
            return;
        };
        let here = here(&peers, connected);
        for ((peer, said), is_here) in peers.iter().zip(&mut said).zip(here) {
            *said = said.follow(peer, is_here, clock.now_ms());
        }
    }
}

impl Said {
    /// Says what is new.
    fn follow(self, peer: &str, is_here: bool, now_ms: u64) -> Self {
        match (self, is_here) {
            (Self::Here, true) => self,
            (_, true) => {
                info!(peer, "connected to a peer");
                Self::Here
            }
            (Self::Nothing | Self::Here, false) => {
                info!(peer, "waiting for a peer");
                Self::Waiting { since_ms: now_ms }
            }
            (Self::Waiting { since_ms }, false) if now_ms.saturating_sub(since_ms) > AWAY_MS_MAX => {
                warn!(
                    peer,
                    seconds = AWAY_MS_MAX / 1_000,
                    "a peer stays away: is its node up, and this the address of its --listen-peers?"
                );
                Self::Away
            }
            (_, false) => self,
        }
    }
}

/// Addresses of the peers that are connected now; `None` once the engine is gone.
async fn connected(requests: &mpsc::Sender<NetworkRequest>) -> Option<Vec<String>> {
    let (reply, told) = oneshot::channel();
    requests.send(NetworkRequest::DumpState(reply)).await.ok()?;
    let state = told.await.ok()?;
    let peers = state.map(|state| state.peers).unwrap_or_default();
    Some(peers.into_values().map(|peer| peer.address.to_string()).collect())
}

/// Which of `peers` are among the connections. One that a peer opened comes from another port of its machine, and one
/// through a name or another network shows neither: then it is only their number that counts.
fn here(peers: &[String], mut connections: Vec<String>) -> Vec<bool> {
    let mut here = vec![false; peers.len()];
    let same_port =
        |connection: &str, peer: &str| connection == peer || connection.starts_with(&format!("{peer}/"));
    let same_host = |connection: &str, peer: &str| host(connection) == host(peer);
    let any = |_: &str, _: &str| true;
    for matches in [same_port as fn(&str, &str) -> bool, same_host, any] {
        for (here, peer) in here.iter_mut().zip(peers).filter(|(here, _)| !**here) {
            let Some(peer) = multiaddr(peer) else { continue };
            if let Some(found) = connections.iter().position(|it| matches(it, &peer)) {
                connections.swap_remove(found);
                *here = true;
            }
        }
    }
    here
}

/// `/ip4/HOST` of an address.
fn host(address: &str) -> Vec<&str> {
    address.split('/').take(3).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(connections: &[&str], expected: [bool; 3]) {
        let peers = ["10.0.0.2:9945", "10.0.0.3:9945", "third.example:9945"].map(String::from);
        let connections = connections.iter().map(|it| String::from(*it)).collect();
        assert_eq!(here(&peers, connections), expected);
    }

    #[test]
    fn a_peer_is_known_by_its_port_its_host_or_its_being_there() {
        check(&[], [false, false, false]);
        check(&["/ip4/10.0.0.3/tcp/9945"], [false, true, false]);
        check(&["/ip4/10.0.0.3/tcp/9945/p2p/12D3"], [false, true, false]);
        check(&["/ip4/10.0.0.3/tcp/50123"], [false, true, false]);
        check(
            &[
                "/ip4/192.0.2.9/tcp/50123",
                "/ip4/10.0.0.2/tcp/9945",
                "/ip4/10.0.0.3/tcp/9",
            ],
            [true, true, true],
        );
    }

    #[test]
    fn a_peer_that_stays_away_is_warned_of_once() {
        let mut said = Said::Nothing;
        for (is_here, now_ms, expected) in [
            (false, 0, Said::Waiting { since_ms: 0 }),
            (false, AWAY_MS_MAX, Said::Waiting { since_ms: 0 }),
            (false, AWAY_MS_MAX + 1, Said::Away),
            (false, 3 * AWAY_MS_MAX, Said::Away),
            (true, 3 * AWAY_MS_MAX, Said::Here),
            (
                false,
                4 * AWAY_MS_MAX,
                Said::Waiting {
                    since_ms: 4 * AWAY_MS_MAX,
                },
            ),
        ] {
            said = said.follow("10.0.0.2:9945", is_here, now_ms);
            assert_eq!(said, expected);
        }
    }
}

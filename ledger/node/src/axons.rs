//! Tries a hotkey's axon from where this node stands, for a miner who cannot see its own port from outside.
//!
//! A node that connects to what strangers name could be used to scan and to strike others. So it is bound thrice:
//!
//! - **Who**: a hotkey that holds a UID, by its signature, made a moment ago.
//! - **Where**: the address that the ledger has of that hotkey, which cost a registration and a fee. Addresses of
//!   private networks are not tried, unless the node was told so or listens on loopback itself.
//! - **How often**: each hotkey and each address once in `PAUSE`, `AT_ONCE_MAX` in all at a time.
//!
//! What is sent is one gRPC health check; what is told is how far it came, in one of five words.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use agon_ledger_state::State;
use agon_protocol::id::{BlockNumber, Digest, Hotkey};
use agon_protocol::message::{Axon, AxonCheck, AxonCheckView, AxonReach, Signed};
use agon_runtime::net::{ChannelOptions, Net};
use agon_runtime::{Clock, flags};
use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::Status;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// How long a hotkey, and an address, is left alone after it was tried.
const PAUSE: Duration = Duration::from_secs(10);
/// Axons that are tried at a time.
const AT_ONCE_MAX: usize = 4;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// How old a wish may be, and how far ahead, milliseconds.
const AGE_MS_MAX: u64 = 30_000;
/// Hotkeys and addresses that are remembered: more than can be tried in a pause.
const REMEMBERED_MAX: usize = 1_024;
/// Bytes of the answer to a health check; an honest one has two.
const ANSWER_BYTES_MAX: usize = 64;
/// What a miner is called in a health check.
const MINER: &str = "agon.v1.Miner";

/// Why an axon is not tried.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum AxonCheckError {
    /// The wish is for another ledger.
    #[error("the check is for ledger {found}, this is {genesis}")]
    Ledger { found: Digest, genesis: Digest },
    /// The wish is not of now.
    #[error("issued at {issued_ms}, it is {now_ms} here; at most {AGE_MS_MAX} ms apart: set the clock")]
    Stale { issued_ms: u64, now_ms: u64 },
    /// The hotkey has no UID, or no axon.
    #[error("hotkey {hotkey} has announced no axon on netuid {netuid}")]
    NoAxon { hotkey: Hotkey, netuid: u16 },
    /// The signature is another's.
    #[error("{0}")]
    Signature(String),
    /// It was tried a moment ago, or too many are being tried.
    #[error("{0}; try again in {pause_s} s", pause_s = PAUSE.as_secs())]
    Busy(&'static str),
}

impl From<AxonCheckError> for Status {
    fn from(error: AxonCheckError) -> Self {
        let words = error.to_string();
        match error {
            AxonCheckError::Ledger { .. } => Self::failed_precondition(words),
            AxonCheckError::Stale { .. } => Self::out_of_range(words),
            AxonCheckError::NoAxon { .. } => Self::not_found(words),
            AxonCheckError::Signature(_) => Self::unauthenticated(words),
            AxonCheckError::Busy(_) => Self::resource_exhausted(words),
        }
    }
}

/// Which addresses are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Those that everybody can reach.
    Public,
    /// Those, and loopback: all of this network is on one machine.
    Loopback,
    /// All.
    Any,
}

impl Addresses {
    /// What a node tries that listens on `listen`, and was or was not told to try private addresses.
    #[must_use]
    pub fn of(listen: SocketAddr, tries_private: bool) -> Self {
        match (tries_private, listen.ip().is_loopback()) {
            (true, _) => Self::Any,
            (false, true) => Self::Loopback,
            (false, false) => Self::Public,
        }
    }

    fn takes(self, ip: IpAddr) -> bool {
        match self {
            Self::Any => true,
            Self::Loopback => ip.to_canonical().is_loopback() || is_public(ip),
            Self::Public => is_public(ip),
        }
    }
}

/// Tries axons.
#[derive(Debug)]
pub(crate) struct AxonChecks {
    genesis: Digest,
    addresses: Addresses,
    net: Net,
    clock: Clock,
    slots: Semaphore,
    tried: Mutex<Tried>,
}

impl AxonChecks {
    pub(crate) fn new(genesis: Digest, addresses: Addresses, net: Net, clock: Clock) -> Self {
        Self {
            genesis,
            addresses,
            net,
            clock,
            slots: Semaphore::new(AT_ONCE_MAX),
            tried: Mutex::default(),
        }
    }

    /// This node's clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Tries the axon of whoever signed `wish`.
    ///
    /// The checks are in the order of their cost; a place is taken before the signature is verified, so that a flood
    /// of forged wishes costs no more than the places there are.
    pub(crate) async fn check(
        &self,
        wish: Signed<AxonCheck>,
        state: &State,
    ) -> Result<AxonCheckView, AxonCheckError> {
        let (axon, axon_height) = self.admit(wish.message(), state)?;
        let _slot = self
            .slots
            .try_acquire()
            .map_err(|_| AxonCheckError::Busy("other axons are being tried"))?;
        let hotkey = wish.message().hotkey;
        wish.check_signature()
            .map_err(|error| AxonCheckError::Signature(flags::sentence(&error)))?;
        let started = Instant::now();
        let reach = if self.addresses.takes(axon.ip) {
            self.tried
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .note(hotkey, axon.ip, started)?;
            self.reach(axon.socket_addr()).await
        } else {
            AxonReach::NotPublic
        };
        Ok(AxonCheckView {
            reach,
            axon,
            axon_height,
            elapsed_ms: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX),
        })
    }

    fn admit(&self, wish: &AxonCheck, state: &State) -> Result<(Axon, BlockNumber), AxonCheckError> {
        if wish.genesis != self.genesis {
            return Err(AxonCheckError::Ledger {
                found: wish.genesis,
                genesis: self.genesis,
            });
        }
        let (issued_ms, now_ms) = (wish.issued_ms, self.now_ms());
        if issued_ms.abs_diff(now_ms) > AGE_MS_MAX {
            return Err(AxonCheckError::Stale { issued_ms, now_ms });
        }
        state
            .axon(wish.netuid, wish.hotkey)
            .ok_or(AxonCheckError::NoAxon {
                hotkey: wish.hotkey,
                netuid: wish.netuid.0,
            })
    }

    async fn reach(&self, address: SocketAddr) -> AxonReach {
        match tokio::time::timeout(PATIENCE, self.ask(address)).await {
            Ok(reach) => reach,
            Err(_) => AxonReach::Silent,
        }
    }

    async fn ask(&self, address: SocketAddr) -> AxonReach {
        let options = ChannelOptions {
            connect_timeout: PATIENCE,
            timeout: PATIENCE,
            keepalive: None,
        };
        let Ok(channel) = self.net.channel(&format!("http://{address}"), options) else {
            return AxonReach::NotPublic;
        };
        let request = HealthCheckRequest {
            service: MINER.to_owned(),
        };
        let mut client = HealthClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
        match client.check(request).await {
            Ok(reply) if reply.get_ref().status() == ServingStatus::Serving => AxonReach::Serving,
            Ok(_) => AxonReach::Other,
            Err(status) => reach_of(&status),
        }
    }
}

/// What a failed check means: the port was closed, nothing came, or something else than a miner spoke.
fn reach_of(status: &Status) -> AxonReach {
    let mut link = std::error::Error::source(status);
    while let Some(error) = link {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            match io.kind() {
                std::io::ErrorKind::ConnectionRefused => return AxonReach::Closed,
                std::io::ErrorKind::TimedOut
                | std::io::ErrorKind::HostUnreachable
                | std::io::ErrorKind::NetworkUnreachable => return AxonReach::Silent,
                _ => {}
            }
        }
        link = error.source();
    }
    match status.code() {
        tonic::Code::DeadlineExceeded | tonic::Code::Cancelled => AxonReach::Silent,
        _ => AxonReach::Other,
    }
}

/// Who was tried, and when.
#[derive(Debug, Default)]
struct Tried {
    hotkeys: BTreeMap<Hotkey, Instant>,
    addresses: BTreeMap<IpAddr, Instant>,
}

impl Tried {
    /// Notes that a hotkey's address is tried now, unless either was a moment ago.
    fn note(&mut self, hotkey: Hotkey, ip: IpAddr, now: Instant) -> Result<(), AxonCheckError> {
        let is_recent = |at: &Instant| now.saturating_duration_since(*at) < PAUSE;
        self.hotkeys.retain(|_, at| is_recent(at));
        self.addresses.retain(|_, at| is_recent(at));
        if self.hotkeys.contains_key(&hotkey) {
            return Err(AxonCheckError::Busy("this axon was tried a moment ago"));
        }
        if self.addresses.contains_key(&ip) {
            return Err(AxonCheckError::Busy("this address was tried a moment ago"));
        }
        if self.hotkeys.len() >= REMEMBERED_MAX {
            return Err(AxonCheckError::Busy("many axons were tried a moment ago"));
        }
        self.hotkeys.insert(hotkey, now);
        self.addresses.insert(ip, now);
        Ok(())
    }
}

/// Whether an address is one of the public internet, as IANA's registries of special purposes have it.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let is_special = ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_documentation()
        || ip.is_multicast()
        || matches!(
            (a, b, c),
            (0 | 240..=255, _, _) | (100, 64..=127, _) | (192, 0, 0) | (198, 18..=19, _)
        );
    !is_special
}

/// Only what is given out for hosts, 2000::/3, without the parts that carry other addresses or are for papers.
fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    let carries_others = a == 0x2002 || (a == 0x2001 && b < 0x0200);
    let is_documentation = (a == 0x2001 && b == 0x0db8) || (a == 0x3fff && b < 0x1000);
    a & 0xe000 == 0x2000 && !carries_others && !is_documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ip: &str, public: bool) {
        assert_eq!(is_public(ip.parse().unwrap()), public, "{ip}");
    }

    #[test]
    fn only_addresses_of_the_public_internet_are_public() {
        for ip in [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "2606:4700::1",
            "::ffff:8.8.8.8",
        ] {
            check(ip, true);
        }
        for ip in [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.8",
            "192.168.1.1",
            "198.18.0.1",
            "203.0.113.7",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::1",
            "fc00::1",
            "fe80::1",
            "ff02::1",
        ] {
            check(ip, false);
        }
    }

    #[test]
    fn loopback_is_tried_only_where_all_of_the_network_is() {
        let at = |listen: &str, tries_private| Addresses::of(listen.parse().unwrap(), tries_private);
        let takes = |addresses: Addresses, ip: &str| addresses.takes(ip.parse().unwrap());
        assert!(takes(at("127.0.0.1:9944", false), "127.0.0.1"));
        assert!(!takes(at("127.0.0.1:9944", false), "10.0.0.1"));
        assert!(!takes(at("0.0.0.0:9944", false), "127.0.0.1"));
        assert!(takes(at("0.0.0.0:9944", true), "10.0.0.1"));
        assert!(takes(at("0.0.0.0:9944", false), "8.8.8.8"));
    }

    #[test]
    fn neither_a_hotkey_nor_an_address_is_tried_twice_in_a_pause() {
        let (mut tried, now) = (Tried::default(), Instant::now());
        let ip = |last| IpAddr::from([8, 8, 8, last]);
        assert_eq!(tried.note(Hotkey([1; 32]), ip(1), now), Ok(()));
        assert!(tried.note(Hotkey([1; 32]), ip(2), now).is_err());
        assert!(tried.note(Hotkey([2; 32]), ip(1), now).is_err());
        assert_eq!(tried.note(Hotkey([2; 32]), ip(2), now), Ok(()));
        assert_eq!(tried.note(Hotkey([1; 32]), ip(1), now + PAUSE), Ok(()));
    }

    #[test]
    fn no_more_axons_are_remembered_than_there_is_room_for() {
        let (mut tried, now) = (Tried::default(), Instant::now());
        let other = |index: u32| {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&index.to_le_bytes());
            (Hotkey(key), IpAddr::from((0x0800_0000 + index).to_be_bytes()))
        };
        for index in 0..REMEMBERED_MAX as u32 {
            let (hotkey, ip) = other(index);
            assert_eq!(tried.note(hotkey, ip, now), Ok(()));
        }
        let (hotkey, ip) = other(u32::MAX / 32);
        assert!(tried.note(hotkey, ip, now).is_err());
    }
}

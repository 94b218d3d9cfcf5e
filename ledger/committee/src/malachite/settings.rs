//! The engine's configuration, from ours.

use std::time::Duration;

use malachitebft_app_channel::app::config::{
    ConsensusConfig, DiscoveryConfig, NodeConfig, P2pConfig, ValueSyncConfig,
};

use super::sync::SYNC_BLOCKS;
use crate::pending::PROPOSAL_BYTES_MAX;
use crate::{CommitteeError, Config};

/// How often a node tells its peers where it stands, which is how one that lags learns of it.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// The engine's configuration.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    name: String,
    consensus: ConsensusConfig,
    sync: ValueSyncConfig,
}

impl NodeConfig for Settings {
    fn moniker(&self) -> &str {
        &self.name
    }

    fn consensus(&self) -> &ConsensusConfig {
        &self.consensus
    }

    fn consensus_mut(&mut self) -> &mut ConsensusConfig {
        &mut self.consensus
    }

    fn value_sync(&self) -> &ValueSyncConfig {
        &self.sync
    }

    fn value_sync_mut(&mut self) -> &mut ValueSyncConfig {
        &mut self.sync
    }
}

/// The engine's configuration.
pub(super) fn settings(config: &Config) -> Result<Settings, CommitteeError> {
    let not_one = |peer: &str| CommitteeError::Peer {
        peer: peer.to_owned(),
    };
    let mut p2p = P2pConfig {
        listen_addr: multiaddr(&config.listen.to_string())
            .and_then(|addr| addr.parse().ok())
            .ok_or_else(|| not_one(&config.listen.to_string()))?,
        discovery: DiscoveryConfig {
            // Operators often run several nodes behind one address, and a node that was restarted comes back at once.
            max_connections_per_ip: 64,
            ip_throttle_duration: Duration::from_millis(100),
            ..DiscoveryConfig::default()
        },
        ..P2pConfig::default()
    };
    for peer in &config.peers {
        let addr = multiaddr(peer).and_then(|addr| addr.parse().ok());
        p2p.persistent_peers.push(addr.ok_or_else(|| not_one(peer))?);
    }
    p2p.pubsub_max_size.0 = 2 * PROPOSAL_BYTES_MAX as u64;
    let consensus = ConsensusConfig {
        p2p,
        ..ConsensusConfig::default()
    };
    let sync = ValueSyncConfig {
        status_update_interval: STATUS_EVERY,
        request_timeout: Duration::from_secs(5),
        batch_size: SYNC_BLOCKS,
        ..ValueSyncConfig::default()
    };
    Ok(Settings {
        name: config.name.clone(),
        consensus,
        sync,
    })
}

/// `HOST:PORT` as the engine writes addresses.
pub(super) fn multiaddr(peer: &str) -> Option<String> {
    let (host, port) = peer.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let kind = match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(_)) => "ip4",
        Ok(std::net::IpAddr::V6(_)) => "ip6",
        Err(_) if host.is_empty() || host.contains('/') => return None,
        Err(_) => "dns",
    };
    Some(format!("/{kind}/{host}/tcp/{port}"))
}

//! Announces the axon on the ledger and keeps it fresh.
//!
//! The ledger's record is compared with what this miner serves whenever the metagraph was read or the models changed; a
//! difference, or a record older than `FRESH_BLOCKS`, is announced again. A refusal is said in full and tried again later, since
//! its cause (a rate limit, a registration under way) may pass.

use std::time::Duration;

use agon_ledger_client::follow::Views;
use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::id::{BlockNumber, Netuid};
use agon_protocol::message::{Axon, Call, Metagraph, NeuronView};
use agon_protocol::sign::Keypair;
use agon_runtime::shutdown::Shutdown;
use tracing::{info, warn};

use crate::backend::Backend;
use crate::models::{self, Models};

/// An announcement older than this is repeated, so that readers can tell a living miner from a gone one.
const FRESH_BLOCKS: u64 = 1_000;
/// Pause after a refusal or failure.
const PAUSE: Duration = Duration::from_secs(5);

/// Announces `axon` with the models served until shutdown, whenever the ledger's record is missing, different or old.
pub async fn keep_announced<B: Backend>(
    client: LedgerClient,
    (pair, netuid, mut axon): (Keypair, Netuid, Axon),
    models: Models<B>,
    mut views: Views,
    shutdown: Shutdown,
) {
    let mut announced = BlockNumber(0);
    let mut changes = models.changes();
    loop {
        axon.models = models::announced(&changes.borrow_and_update().clone());
        let view = views.borrow_and_update().clone();
        // A metagraph that was read before our own announcement says nothing about it.
        let view = view.filter(|view| view.metagraph.height >= announced);
        let wanting = view.is_some_and(|view| is_wanting(&view.metagraph, &pair, &axon));
        if wanting {
            match client
                .send(
                    &pair,
                    Call::ServeAxon {
                        netuid,
                        axon: axon.clone(),
                    },
                )
                .await
            {
                Ok(included) => {
                    announced = included.height;
                    info!(height = %included.height, address = %axon.socket_addr(), "announced");
                }
                Err(error) => warn!(%error, retry_ms = PAUSE.as_millis() as u64, "not announced"),
            }
        }
        let next = async {
            if wanting {
                tokio::time::sleep(PAUSE).await;
            }
            tokio::select! {
                changed = views.changed() => changed.is_ok(),
                changed = changes.changed() => changed.is_ok(),
            }
        };
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            alive = next => if !alive { return },
        }
    }
}

/// Whether the ledger's record of this miner should be written again.
fn is_wanting(metagraph: &Metagraph, pair: &Keypair, axon: &Axon) -> bool {
    let Some(neuron) = metagraph.by_hotkey(&pair.hotkey()) else {
        warn!(hotkey = %pair.hotkey(), netuid = %metagraph.netuid, "this hotkey holds no UID any more");
        return false;
    };
    is_stale(neuron, axon, metagraph.height.0)
}

fn is_stale(neuron: &NeuronView, axon: &Axon, height: u64) -> bool {
    neuron.axon.as_ref() != Some(axon) || height.saturating_sub(neuron.axon_height.0) > FRESH_BLOCKS
}

/// Checks once, before anything is served, that the hotkey holds a UID.
///
/// # Errors
///
/// [`ClientError::NotFound`] with the command that registers it, and the others.
pub async fn check_registered(
    client: &LedgerClient,
    pair: &Keypair,
    netuid: Netuid,
) -> Result<NeuronView, ClientError> {
    let metagraph = client.metagraph(netuid, None).await?;
    metagraph.by_hotkey(&pair.hotkey()).cloned().ok_or_else(|| {
        ClientError::NotFound(format!(
            "hotkey {} holds no UID on netuid {netuid}; register it with: agon register --netuid {netuid} \
             --wallet WALLET --hotkey HOTKEY",
            pair.hotkey()
        ))
    })
}

//! Keeps one subnet's record and metagraph fresh, for roles that act on them.
//!
//! The follower reads the event stream and reads the subnet again whenever an epoch ran, while the tempo's beacon
//! is not known yet, and after at most [`REFRESH_BLOCKS`] blocks. When the node goes away it tries again with
//! growing pauses; the last view stands meanwhile, and its height says how old it is.

use std::sync::Arc;
use std::time::Duration;

use agon_protocol::id::{BlockNumber, Digest, Netuid};
use agon_protocol::message::{EventView, Metagraph, SubnetView};
use agon_runtime::shutdown::Shutdown;
use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::{ClientError, LedgerClient};

/// Pause after the first failure; doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(200);
/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// Longest silence of the event stream before the node counts as gone.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// The subnet is read again after at most this many blocks, for neurons that came and went between epochs.
pub const REFRESH_BLOCKS: u64 = 16;

/// One subnet as it was last read, at the newest height that was heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Height of the newest block heard of.
    pub height: BlockNumber,
    /// The subnet's record.
    pub subnet: Arc<SubnetView>,
    /// Its neurons.
    pub metagraph: Arc<Metagraph>,
}

impl View {
    /// The running tempo's beacon, or `None` in the block before it is known.
    #[must_use]
    pub fn beacon(&self) -> Option<Digest> {
        Some(self.subnet.beacon).filter(|beacon| *beacon != Digest::default())
    }

    /// Whether half of the running tempo is over: by then whoever shows evidence of the tempo before serves it.
    #[must_use]
    pub fn is_half_over(&self) -> bool {
        let start = self.subnet.tempo_start.0;
        let blocks = self.subnet.next_epoch.0.saturating_sub(start);
        self.height.0.saturating_sub(start) >= blocks / 2
    }
}

/// Where views appear; empty until the subnet was read for the first time.
pub type Views = watch::Receiver<Option<View>>;

/// Follows one subnet of one ledger.
#[derive(Debug)]
pub struct Follower {
    client: LedgerClient,
    netuid: Netuid,
    view: watch::Sender<Option<View>>,
}

impl Follower {
    /// A follower that has not read anything yet.
    #[must_use]
    pub fn new(client: LedgerClient, netuid: Netuid) -> Self {
        Self {
            client,
            netuid,
            view: watch::Sender::new(None),
        }
    }

    /// Where the newest view appears.
    #[must_use]
    pub fn views(&self) -> Views {
        self.view.subscribe()
    }

    /// Follows until shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        let mut pause = PAUSE_MIN;
        loop {
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                error = self.follow(&mut pause) => {
                    warn!(%error, pause_ms = pause.as_millis() as u64, "the ledger is out of reach");
                }
            }
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = tokio::time::sleep(pause) => {}
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Follows until something fails, and says what.
    async fn follow(&self, pause: &mut Duration) -> ClientError {
        let stream = match self.client.events(BlockNumber(0)).await {
            Ok(stream) => stream,
            Err(error) => return error,
        };
        if let Err(error) = self.refresh().await {
            return error;
        }
        *pause = PAUSE_MIN;
        self.read(std::pin::pin!(stream)).await
    }

    async fn read(
        &self,
        mut stream: impl Stream<Item = Result<EventView, ClientError>> + Unpin,
    ) -> ClientError {
        let mut stale_blocks = 0;
        loop {
            let event = match tokio::time::timeout(SILENCE_MAX, stream.next()).await {
                Err(_) => return silence(),
                Ok(None) => return ended(self.client.uri()),
                Ok(Some(Err(error))) => return error,
                Ok(Some(Ok(event))) => event,
            };
            stale_blocks += 1;
            if stale_blocks >= REFRESH_BLOCKS || self.must_refresh(&event) {
                if let Err(error) = self.refresh().await {
                    return error;
                }
                stale_blocks = 0;
            }
            self.advance(event.height);
        }
    }

    fn must_refresh(&self, event: &EventView) -> bool {
        let epoch = event.epochs.iter().any(|epoch| epoch.netuid == self.netuid);
        epoch
            || self
                .view
                .borrow()
                .as_ref()
                .is_none_or(|view| view.beacon().is_none())
    }

    fn advance(&self, height: BlockNumber) {
        self.view.send_if_modified(|view| match view {
            Some(view) if view.height < height => {
                view.height = height;
                true
            }
            _ => false,
        });
    }

    async fn refresh(&self) -> Result<(), ClientError> {
        let subnet = self.client.subnet(self.netuid).await?;
        let metagraph = self.client.metagraph(self.netuid, None).await?;
        let tempo_before = self.view.borrow().as_ref().map(|view| view.subnet.tempo);
        if tempo_before != Some(subnet.tempo) {
            let permitted = metagraph.neurons.iter().filter(|neuron| neuron.permit).count();
            info!(netuid = %self.netuid, tempo = subnet.tempo, height = %subnet.height, permitted, "tempo");
        }
        let height = subnet.height.max(metagraph.height);
        let view = View {
            height,
            subnet: Arc::new(subnet),
            metagraph: Arc::new(metagraph),
        };
        self.view.send_replace(Some(view));
        Ok(())
    }
}

fn silence() -> ClientError {
    ClientError::Deadline {
        call: "Events",
        deadline_ms: SILENCE_MAX.as_millis() as u64,
    }
}

fn ended(uri: &str) -> ClientError {
    ClientError::Unreachable {
        uri: uri.to_owned(),
        reason: "the event stream ended".to_owned(),
    }
}

//! Transactions on their way to the other nodes of a committee.
//!
//! The engine carries no transactions, so each node sends every one that enters its mempool to its peers, once, in
//! the order in which they entered; so an account's transactions arrive with their nonces in a row. A peer that has
//! one already does nothing with it. Whatever waits for many blocks is sent again, for peers that were away.

use std::time::Duration;

use agon_protocol::grpc::v1;
use agon_protocol::grpc::v1::ledger_client::LedgerClient;
use agon_protocol::message::{Message, Signed, Transaction};
use agon_runtime::Shutdown;
use agon_runtime::net::{ChannelOptions, Net};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tracing::debug;

/// Transactions that wait for one peer; more are not sent to it.
const WAITING_MAX: usize = 8_192;
/// Transactions of one request to a peer.
pub(crate) const BATCH_MAX: usize = 1_000;
/// Bytes after which a request to a peer takes no more transactions.
const BATCH_BYTES: usize = 256 * 1_024;
/// Most bytes of such a request.
pub(crate) const REQUEST_BYTES_MAX: usize = BATCH_BYTES + 2 * <Transaction as Message>::BYTES_MAX;
/// How long a request waits for more to go along: a request costs both nodes about what a transaction does, and no
/// block is made so soon.
const GATHER: Duration = Duration::from_millis(3);
/// Longest wait for a peer to take a request.
const DEADLINE: Duration = Duration::from_secs(5);
/// First and longest wait before a peer that does not answer is tried again.
const RETRY: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// Where new transactions are handed over: one queue for each peer.
#[derive(Debug, Default)]
pub(crate) struct Relay(Vec<mpsc::Sender<Signed<Transaction>>>);

impl Relay {
    /// Queues for `peers` peers, and their other ends.
    pub(crate) fn to(peers: usize) -> (Self, Vec<mpsc::Receiver<Signed<Transaction>>>) {
        let (senders, receivers) = (0..peers).map(|_| mpsc::channel(WAITING_MAX)).unzip();
        (Self(senders), receivers)
    }

    /// Sends a transaction to every peer that has room for it.
    pub(crate) fn offer(&self, transaction: &Signed<Transaction>) {
        for peer in &self.0 {
            // One that is away gets it again later, or from another peer.
            let _ = peer.try_send(transaction.clone());
        }
    }

    /// Whether there is anybody to send to.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Sends what waits for the peer at `uri` until `shutdown`, a batch at a time; one that does not arrive is sent again.
pub(crate) async fn feed(
    net: Net,
    uri: String,
    mut waiting: mpsc::Receiver<Signed<Transaction>>,
    shutdown: Shutdown,
) -> Result<(), String> {
    let channel = net
        .channel(&uri, ChannelOptions::default())
        .map_err(|error| format!("the peer {uri} is no address: {error}"))?;
    let mut stub = LedgerClient::new(channel);
    let mut requested = std::pin::pin!(shutdown.requested());
    let deliver = async {
        while let Some(batch) = next_batch(&mut waiting).await {
            let mut retry = RETRY[0];
            while let Err(reason) = send(&mut stub, &batch).await {
                debug!(uri, reason, "a peer took no transactions");
                tokio::time::sleep(retry).await;
                retry = (retry * 2).min(RETRY[1]);
            }
        }
    };
    tokio::select! {
        biased;
        () = &mut requested => {}
        () = deliver => {}
    }
    Ok(())
}

/// The transactions that wait a moment after the first did, as many as fit a request; `None` once there can be no more.
async fn next_batch(waiting: &mut mpsc::Receiver<Signed<Transaction>>) -> Option<v1::RelayRequest> {
    let mut transactions = vec![request(&waiting.recv().await?)];
    tokio::time::sleep(GATHER).await;
    let mut bytes = length(&transactions);
    while bytes < BATCH_BYTES && transactions.len() < BATCH_MAX {
        let Ok(transaction) = waiting.try_recv() else {
            break;
        };
        let next = request(&transaction);
        bytes += next.transaction.len() + next.signature.len();
        transactions.push(next);
    }
    Some(v1::RelayRequest { transactions })
}

fn length(transactions: &[v1::SubmitRequest]) -> usize {
    transactions
        .iter()
        .map(|it| it.transaction.len() + it.signature.len())
        .sum()
}

fn request(transaction: &Signed<Transaction>) -> v1::SubmitRequest {
    v1::SubmitRequest {
        transaction: transaction.bytes().to_vec(),
        signature: transaction.signature().0.to_vec(),
    }
}

async fn send(stub: &mut LedgerClient<Channel>, batch: &v1::RelayRequest) -> Result<(), String> {
    let call = stub.relay(batch.clone());
    match tokio::time::timeout(DEADLINE, call).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(status)) => Err(status.to_string()),
        Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
    }
}

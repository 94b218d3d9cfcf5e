//! Transfers of all accounts, and what was said about them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agon_protocol::id::Digest;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::{ACCOUNTS, Client, account, sign, transfer};

/// How long a client waits before it asks another node.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a committee that can go on may take for it, on a machine that does much else.
pub(crate) const WITHIN: Duration = Duration::from_secs(90);

/// Transactions that were acknowledged, and the blocks that hold them, by account and nonce.
pub(crate) type Acknowledged = BTreeMap<(u8, u64), (Digest, u64)>;

/// What clients of a ledger know.
#[derive(Default)]
pub(crate) struct Told(Mutex<Acknowledged>);

impl Told {
    pub(crate) fn acknowledged(&self) -> Acknowledged {
        self.0.lock().unwrap().clone()
    }
}

/// Clients at work, one for each account, until they are told to stop.
pub(crate) struct Load {
    stop: watch::Sender<bool>,
    count: watch::Receiver<u64>,
    tasks: JoinSet<()>,
}

impl Load {
    pub(crate) fn start(nodes: &[SocketAddr], genesis: Digest, told: &Arc<Told>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let (counter, count) = watch::channel(0);
        let counter = Arc::new(counter);
        let mut tasks = JoinSet::new();
        for number in 0..ACCOUNTS {
            let customer = Customer {
                number,
                genesis,
                nodes: nodes.iter().map(|address| Client::at(*address)).collect(),
                told: Arc::clone(told),
                counter: Arc::clone(&counter),
            };
            let mut stopped = stopped.clone();
            tasks.spawn(async move {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => {}
                    () = customer.trade() => {}
                }
            });
        }
        Self { stop, count, tasks }
    }

    /// Waits for `more` acknowledgements.
    pub(crate) async fn progress(&mut self, more: u64) {
        let wanted = *self.count.borrow() + more;
        let reached = self.count.wait_for(|count| *count >= wanted);
        let reached = tokio::time::timeout(WITHIN, reached).await;
        assert!(
            reached.is_ok(),
            "the chain does not go on: no {more} acknowledgements in {WITHIN:?}"
        );
    }

    pub(crate) async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

/// One account and the nodes it can ask.
struct Customer {
    number: u8,
    genesis: Digest,
    nodes: Vec<Client>,
    told: Arc<Told>,
    counter: Arc<watch::Sender<u64>>,
}

impl Customer {
    /// Transfers at one node, until it fails; then at the next.
    async fn trade(self) {
        for at in usize::from(self.number).. {
            let mut client = self.nodes[at % self.nodes.len()].clone();
            if let Some(nonce) = self.nonce(&mut client).await {
                self.trade_at(&mut client, nonce).await;
            }
            // A node that refuses connections would be asked without end.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn nonce(&self, client: &mut Client) -> Option<u64> {
        let request = agon_protocol::grpc::v1::GetAccountRequest {
            account: account(self.number).0.to_vec(),
        };
        let reply = tokio::time::timeout(PATIENCE, client.stub.get_account(request)).await;
        Some(reply.ok()?.ok()?.into_inner().nonce)
    }

    /// The transaction of a nonce is always the same, so that one whose reply was lost can be sent again.
    async fn trade_at(&self, client: &mut Client, from_nonce: u64) {
        for nonce in from_nonce.. {
            let call = transfer((self.number + 1) % ACCOUNTS, 1 + nonce);
            let transaction = sign(self.genesis, self.number, nonce, call);
            let submitted = tokio::time::timeout(PATIENCE, client.submit(&transaction)).await;
            let Ok(Ok(reply)) = submitted else { return };
            if reply.refusal.is_some() {
                return;
            }
            let acknowledged = (transaction.digest(), reply.height);
            self.told
                .0
                .lock()
                .unwrap()
                .insert((self.number, nonce), acknowledged);
            self.counter.send_modify(|count| *count += 1);
        }
    }
}

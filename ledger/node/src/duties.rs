//! What a member's node does for its hotkey, by transactions: it shows that it follows the ledger before its
//! readiness runs out, and reports who said two things in one round.

use std::time::Duration;

use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{Call, Equivocation, Signed, Statement, Transaction};
use agon_protocol::sign::Keypair;
use agon_runtime::Shutdown;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::bulletin::Reader;
use crate::clerk::{Clerk, News};
use crate::desk::Desk;
use crate::mempool::Verdict;

/// Longest wait for a block to take a transaction.
const VERDICT_WITHIN: Duration = Duration::from_secs(30);
/// Blocks after which something that was not taken is tried again.
const AGAIN_BLOCKS: u64 = 5;

/// A member's keys on one ledger, and where its transactions go.
pub(crate) struct Duties {
    pub(crate) genesis: Digest,
    pub(crate) hotkey: Keypair,
    pub(crate) consensus: Keypair,
    pub(crate) clerk: Desk<Clerk>,
    pub(crate) news: Reader<News>,
}

impl Duties {
    /// Does what is due until `shutdown`.
    pub(crate) async fn attend(self, mut found: mpsc::Receiver<Equivocation>, shutdown: Shutdown) {
        let mut requested = std::pin::pin!(shutdown.requested());
        let mut next = BlockNumber(0);
        loop {
            let news = tokio::select! {
                biased;
                () = &mut requested => return,
                Some(evidence) = found.recv() => {
                    self.send("report an equivocation", Call::ReportEquivocation { evidence: Box::new(evidence) }).await;
                    continue;
                }
                news = self.news.wait_for(|news| news.head.height >= next) => news,
            };
            let Some(news) = news else { return };
            next = news.head.height.next();
            if let Some(call) = self.readiness(&news) {
                self.send("renew readiness", call).await;
                next = BlockNumber(next.0.saturating_add(AGAIN_BLOCKS));
            }
        }
    }

    /// The call that renews readiness, if it would run out before the committee is computed next.
    fn readiness(&self, news: &News) -> Option<Call> {
        let committee = news.state.committee_view();
        let mine = self.consensus.consensus_key();
        let seat = committee
            .seats
            .iter()
            .find(|seat| seat.hotkey == self.hotkey.hotkey() && seat.consensus_key == mine)?;
        if seat.leaving.is_some() || seat.ready_until >= committee.next_era {
            return None;
        }
        let (height, hash) = (news.head.height, news.head.hash);
        let statement = Statement::Ready {
            genesis: self.genesis,
            height,
            hash,
        };
        Some(Call::CommitteeReady {
            height,
            hash,
            proof: statement.sign(&self.consensus),
        })
    }

    /// Sends a transaction of the hotkey and says what became of it. The validator may use the same hotkey: where a
    /// nonce was taken meanwhile, the next turn has another.
    async fn send(&self, what: &'static str, call: Call) {
        let signer = self.hotkey.hotkey().into();
        let transaction = Transaction {
            genesis: self.genesis,
            signer,
            nonce: self.news.latest().state.account(&signer).nonce,
            call,
        };
        let transaction = Signed::sign(transaction, &self.hotkey);
        let submitted = match self
            .clerk
            .ask_in_turn(move |clerk| clerk.submit(transaction))
            .await
        {
            Ok(submitted) => submitted,
            Err(_) => return,
        };
        let verdict = match submitted {
            Ok(verdict) => tokio::time::timeout(VERDICT_WITHIN, verdict).await,
            Err(error) => {
                warn!(what, %error, "not done");
                return;
            }
        };
        match verdict {
            Ok(Ok(Verdict::Included(height))) => info!(what, %height, "done"),
            Ok(Ok(Verdict::Refused(refusal))) => warn!(what, refusal.rule, refusal.message, "refused"),
            Ok(Err(_)) | Err(_) => warn!(what, "no block took it in time"),
        }
    }
}

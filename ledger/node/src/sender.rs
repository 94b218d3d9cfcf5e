//! Transactions that a node makes itself, and what became of each.

use std::time::Duration;

use agon_protocol::id::Digest;
use agon_protocol::message::{Call, Signed, Transaction};
use agon_protocol::sign::Keypair;
use tracing::{info, warn};

use crate::bulletin::Reader;
use crate::clerk::{Clerk, News};
use crate::desk::Desk;
use crate::mempool::Verdict;

/// Longest wait for a block to take a transaction.
const VERDICT_WITHIN: Duration = Duration::from_secs(30);

/// A key on one ledger, and where its transactions go.
pub(crate) struct Sender {
    pub(crate) genesis: Digest,
    pub(crate) pair: Keypair,
    pub(crate) clerk: Desk<Clerk>,
    pub(crate) news: Reader<News>,
}

impl Sender {
    /// Sends a call, says what became of it, and whether a block took it. Others may use the same key: where a nonce was
    /// taken meanwhile, the next turn has another.
    pub(crate) async fn send(&self, what: &'static str, call: Call) -> bool {
        let transaction = self.signed(call);
        let submitted = match self
            .clerk
            .ask_in_turn(move |clerk| clerk.submit(transaction))
            .await
        {
            Ok(submitted) => submitted,
            Err(_) => return false,
        };
        let verdict = match submitted {
            Ok(verdict) => tokio::time::timeout(VERDICT_WITHIN, verdict).await,
            Err(error) => {
                warn!(what, %error, "not done");
                return false;
            }
        };
        match verdict {
            Ok(Ok(Verdict::Included(height))) => {
                info!(what, %height, "done");
                return true;
            }
            Ok(Ok(Verdict::Refused(refusal))) => warn!(what, refusal.rule, refusal.message, "refused"),
            Ok(Err(_)) | Err(_) => warn!(what, "no block took it in time"),
        }
        false
    }

    fn signed(&self, call: Call) -> Signed<Transaction> {
        let signer = agon_protocol::id::Account(self.pair.public());
        let transaction = Transaction {
            genesis: self.genesis,
            signer,
            nonce: self.news.latest().state.account(&signer).nonce,
            call,
        };
        Signed::sign(transaction, &self.pair)
    }
}

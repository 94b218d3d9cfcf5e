//! What a member's node does for its hotkey, by transactions: it shows that it follows the ledger before its
//! readiness runs out, and reports who said two things in one round.

use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Call, Equivocation, Statement};
use agon_protocol::sign::Keypair;
use agon_runtime::Shutdown;
use tokio::sync::mpsc;

use crate::clerk::News;
use crate::sender::Sender;

/// Blocks after which something that was not taken is tried again.
const AGAIN_BLOCKS: u64 = 5;

/// A member's keys on one ledger: the hotkey sends, the other votes.
pub(crate) struct Duties {
    pub(crate) sender: Sender,
    pub(crate) consensus: Keypair,
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
                    self.sender.send("report an equivocation", Call::ReportEquivocation { evidence: Box::new(evidence) }).await;
                    continue;
                }
                news = self.sender.news.wait_for(|news| news.head.height >= next) => news,
            };
            let Some(news) = news else { return };
            next = news.head.height.next();
            if let Some(call) = self.readiness(&news) {
                self.sender.send("renew readiness", call).await;
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
            .find(|seat| seat.hotkey == self.sender.pair.hotkey() && seat.consensus_key == mine)?;
        if seat.leaving.is_some() || seat.ready_until >= committee.next_era {
            return None;
        }
        let (height, hash) = (news.head.height, news.head.hash);
        let statement = Statement::Ready {
            genesis: self.sender.genesis,
            height,
            hash,
        };
        Some(Call::CommitteeReady {
            height,
            hash,
            proof: statement.sign(&self.consensus),
        })
    }
}

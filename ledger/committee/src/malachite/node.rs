//! The ledger's side of the engine: one task that answers its questions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agon_protocol::id::{BlockNumber, ConsensusKey, Digest};
use agon_protocol::message::{FinalBlock, Vote, VoteKind};
use agon_runtime::{Clock, Shutdown};
use malachitebft_app_channel::app::engine::host::{HeightParams, Next as Continue};
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::{LocallyProposedValue, MisbehaviorEvidence, ProposedValue};
use malachitebft_app_channel::{AppMsg, Channels, NetworkMsg};
use malachitebft_core_types::{LinearTimeouts, Round, Validity};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

use super::keys::{Checks, Keys};
use super::types::{
    BlockHash, Context, Height, Key, Part, Sig, ValidatorSet, certificate, equivocation, proposal_vote,
    protocol_vote, round_number,
};
use crate::pending::{Pending, PendingError, Proposed};
use crate::{Application, CommitteeError, Next, Origin, Timeouts};

/// Proposals for heights that are not reached yet; the engine asks for the rest again.
const LATER_MAX: usize = 16;

/// The file of undecided blocks; shared with the threads that wait for its syncs.
pub(super) type Shared = Arc<Mutex<Pending>>;

/// What the engine asks, and what it is told.
pub(super) struct Node {
    pub(super) app: Box<dyn Application>,
    pub(super) keys: Keys,
    pub(super) pending: Shared,
    pub(super) clock: Clock,
    pub(super) block_time: Duration,
    pub(super) timeouts: Timeouts,
    pub(super) next: Next,
    /// The time of the block that was stored last; 0 before one was.
    pub(super) newest_ms: u64,
    pub(super) set: ValidatorSet,
    /// Proposals for heights that are not reached yet.
    pub(super) later: VecDeque<Proposed>,
    /// Whether the block that was decided last is not here, so that its height has to be fetched.
    pub(super) missing: bool,
}

impl Node {
    /// Answers until it is asked to end.
    pub(super) async fn answer_all(
        &mut self,
        channels: &mut Channels<Context>,
        shutdown: &Shutdown,
    ) -> Result<(), CommitteeError> {
        let mut requested = std::pin::pin!(shutdown.requested());
        loop {
            let message = tokio::select! {
                biased;
                () = &mut requested => return Ok(()),
                message = channels.consensus.recv() => message.ok_or(CommitteeError::Engine)?,
            };
            self.answer(message, channels).await?;
        }
    }

    /// Answers one question of the engine. Whoever asked may have gone meanwhile, so replies are sent in vain at
    /// times.
    async fn answer(
        &mut self,
        message: AppMsg<Context>,
        channels: &Channels<Context>,
    ) -> Result<(), CommitteeError> {
        match message {
            AppMsg::ConsensusReady { reply } => {
                let _ = reply.send((Height(self.next.height), self.params()));
            }
            AppMsg::StartedRound {
                height,
                round,
                reply_value,
                ..
            } => {
                let values = self.started(height.0, round_number(round)).await?;
                let _ = reply_value.send(values);
            }
            AppMsg::GetValue {
                height, round, reply, ..
            } => {
                // Without an answer the round goes on without a block.
                if let Some(proposed) = self.propose(height.0, round_number(round)).await? {
                    let hash = BlockHash(proposed.block.hash());
                    let _ = reply.send(LocallyProposedValue::new(height, round, hash));
                    publish(channels, proposed).await;
                }
            }
            AppMsg::ReceivedProposalPart { part, reply, .. } => {
                let _ = reply.send(self.part(part.content).await?);
            }
            AppMsg::RestreamProposal { value_id, .. } => {
                let known = self.pending().block(&value_id.0).cloned();
                if let Some(proposed) = known {
                    publish(channels, proposed).await;
                }
            }
            AppMsg::Decided {
                certificate: of,
                reply,
                ..
            } => {
                self.decided(certificate(&of)).await?;
                let _ = reply.send(());
            }
            AppMsg::Finalized { evidence, reply, .. } => {
                self.report(&evidence).await;
                let _ = reply.send(self.go_on());
            }
            other => self.answer_others(other).await?,
        }
        Ok(())
    }

    /// Answers what is asked for nodes that lag, and about extensions of votes, of which there are none.
    async fn answer_others(&mut self, message: AppMsg<Context>) -> Result<(), CommitteeError> {
        match message {
            AppMsg::ProcessSyncedValue {
                height,
                round,
                proposer,
                value_bytes,
                reply,
            } => {
                let outcome = self.synced(height.0, round, proposer, &value_bytes).await?;
                let _ = reply.send(outcome);
            }
            AppMsg::GetDecidedValues { range, reply } => {
                let values = self.stored(range.start().0, range.end().0).await?;
                let _ = reply.send(values);
            }
            AppMsg::GetHistoryMinHeight { reply } => {
                let first = self.app.first_kept().await.map_err(CommitteeError::Ledger)?;
                let _ = reply.send(Height(first));
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions {
                extensions, reply, ..
            } => {
                let fine = extensions.into_iter().map(|(voter, ())| (voter, Ok(())));
                let _ = reply.send(fine.collect());
            }
            // Answered before.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        // Nothing is changed before it is certain, so a panic elsewhere leaves it whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins what blocks on the disk, elsewhere; [`done`] waits for it.
    fn on_disk(
        &self,
        job: impl FnOnce(&mut Pending) -> Result<(), PendingError> + Send + 'static,
    ) -> JoinHandle<Result<(), PendingError>> {
        let pending = Arc::clone(&self.pending);
        let job = move || job(&mut pending.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(job)
    }

    /// The height that comes next, and whether it has to be begun anew.
    fn go_on(&self) -> Continue<Context> {
        let (height, params) = (Height(self.next.height), self.params());
        if self.missing {
            Continue::Restart(height, params)
        } else {
            Continue::Start(height, params)
        }
    }

    fn params(&self) -> HeightParams<Context> {
        let Timeouts { propose, vote } = self.timeouts;
        let timeouts = LinearTimeouts {
            propose,
            propose_delta: propose / 2,
            prevote: vote,
            prevote_delta: vote / 2,
            precommit: vote,
            precommit_delta: vote / 2,
            rebroadcast: (propose + vote).max(Duration::from_secs(1)),
            ..LinearTimeouts::default()
        };
        let age = Duration::from_millis(self.clock.now_ms().saturating_sub(self.newest_ms));
        HeightParams::new(self.set.clone(), timeouts, pace(self.block_time, age))
    }

    /// A round has begun: gives the blocks that were seen for it before.
    async fn started(
        &mut self,
        height: BlockNumber,
        round: u32,
    ) -> Result<Vec<ProposedValue<Context>>, CommitteeError> {
        let later = std::mem::take(&mut self.later);
        for proposed in later {
            match proposed.height().cmp(&height) {
                std::cmp::Ordering::Less => {}
                std::cmp::Ordering::Equal => {
                    self.receive(proposed).await?;
                }
                std::cmp::Ordering::Greater => self.later.push_back(proposed),
            }
        }
        let seen: Vec<Proposed> = self.pending().of_round(height, round).cloned().collect();
        let mut values = Vec::with_capacity(seen.len());
        for proposed in seen {
            values.push(self.value(&proposed, Origin::Proposed).await?);
        }
        Ok(values)
    }

    /// The block to propose in a round: the one that was proposed before a restart, or a new one; `None` where the
    /// key spoke for another block before, which is not here any more.
    async fn propose(&mut self, height: BlockNumber, round: u32) -> Result<Option<Proposed>, CommitteeError> {
        let me = self.keys.key().0;
        let before = self
            .pending()
            .of_round(height, round)
            .find(|proposed| proposed.proposer == me)
            .cloned();
        if before.is_some() {
            return Ok(before);
        }
        let block = self.app.propose().await.map_err(CommitteeError::Ledger)?;
        let vote = self.proposal(round, None, me, block.hash(), height);
        let signature = match self.keys.sign(vote) {
            Ok(signed) if *signed.message() == vote => *signed.signature(),
            Ok(_) => return Ok(None),
            Err(error) => {
                warn!(%height, round, %error, "proposes nothing");
                return Ok(None);
            }
        };
        let proposed = Proposed {
            round,
            locked_round: None,
            proposer: me,
            block,
            signature,
        };
        done(self.keep(proposed.clone())).await?;
        Ok(Some(proposed))
    }

    /// Begins to write a block down.
    fn keep(&self, proposed: Proposed) -> JoinHandle<Result<(), PendingError>> {
        self.on_disk(move |pending| pending.keep(proposed))
    }

    const fn proposal(
        &self,
        round: u32,
        locked_round: Option<u32>,
        voter: ConsensusKey,
        block: Digest,
        height: BlockNumber,
    ) -> Vote {
        Vote {
            genesis: self.keys.genesis,
            height,
            round,
            kind: VoteKind::Proposal { locked_round },
            block: Some(block),
            voter,
        }
    }

    /// Takes a part of a proposal; there is one with content.
    async fn part(
        &mut self,
        content: StreamContent<Part>,
    ) -> Result<Option<ProposedValue<Context>>, CommitteeError> {
        match content {
            StreamContent::Data(Part(proposed)) => self.receive(proposed).await,
            StreamContent::Fin => Ok(None),
        }
    }

    /// Takes a block that came from a peer: its proposer's turn and signature first, then what it does.
    async fn receive(
        &mut self,
        proposed: Proposed,
    ) -> Result<Option<ProposedValue<Context>>, CommitteeError> {
        let height = proposed.height();
        if height > self.next.height {
            if self.later.len() < LATER_MAX {
                self.later.push_back(proposed);
            }
            return Ok(None);
        }
        if height < self.next.height {
            return Ok(None);
        }
        let Proposed {
            round,
            locked_round,
            proposer,
            signature,
            ..
        } = proposed;
        let vote = self.proposal(round, locked_round, proposer, proposed.block.hash(), height);
        let in_turn = self.set.proposer_key(height, round) == proposer;
        if !in_turn || !Checks::holds(&vote, &Key::of(proposer), &Sig(signature.0)) {
            warn!(%height, round, %proposer, "dropped a block that is not its proposer's, or not in turn");
            return Ok(None);
        }
        // It is executed while it is written; nothing is said of it before both are done.
        let kept = self.keep(proposed.clone());
        let value = self.value(&proposed, Origin::Proposed).await;
        done(kept).await?;
        value.map(Some)
    }

    /// What is said of a block, after it was executed on a copy of the state.
    pub(super) async fn value(
        &mut self,
        proposed: &Proposed,
        origin: Origin,
    ) -> Result<ProposedValue<Context>, CommitteeError> {
        let checked = self.app.check(&proposed.block, origin).await;
        let validity = match checked.map_err(CommitteeError::Ledger)? {
            Ok(()) => Validity::Valid,
            Err(reason) => {
                let (height, round) = (proposed.height(), proposed.round);
                warn!(%height, round, proposer = %proposed.proposer, reason, "a proposed block cannot come next");
                Validity::Invalid
            }
        };
        Ok(ProposedValue {
            height: Height(proposed.height()),
            round: Round::new(proposed.round),
            valid_round: proposed.locked_round.map_or(Round::Nil, Round::new),
            proposer: Key::of(proposed.proposer),
            value: BlockHash(proposed.block.hash()),
            validity,
        })
    }

    /// The committee has decided: stores the block.
    async fn decided(
        &mut self,
        certificate: agon_protocol::message::Certificate,
    ) -> Result<(), CommitteeError> {
        let height = certificate.height;
        if height < self.next.height {
            debug!(%height, "decided again on a block that is stored");
            return Ok(());
        }
        let known = self.pending().block(&certificate.block).cloned();
        let Some(proposed) = known else {
            error!(%height, block = %certificate.block, "the decided block is not here and has to be fetched");
            self.missing = true;
            return Ok(());
        };
        let block = FinalBlock {
            block: proposed.block,
            certificate: Some(certificate),
        };
        let time_ms = block.block.header.time_ms;
        let next = self.app.commit(block).await.map_err(CommitteeError::Ledger)?;
        let signs = self.keys.voice().stored(height, time_ms, self.clock.now_ms())?;
        self.set = ValidatorSet::of(&next.committee, signs).ok_or(CommitteeError::NoCommittee)?;
        self.next = next;
        self.newest_ms = time_ms;
        self.missing = false;
        done(self.on_disk(move |pending| pending.decided(height))).await
    }

    async fn report(&mut self, evidence: &MisbehaviorEvidence<Context>) {
        let genesis = self.keys.genesis;
        let votes = evidence
            .votes
            .iter()
            .flat_map(|(_, pairs)| pairs)
            .map(|(a, b)| [a, b].map(|it| (protocol_vote(genesis, &it.message), it.signature)));
        let proposals = evidence
            .proposals
            .iter()
            .flat_map(|(_, pairs)| pairs)
            .map(|(a, b)| [a, b].map(|it| (proposal_vote(genesis, &it.message), it.signature)));
        let found: Vec<_> = votes.chain(proposals).filter_map(equivocation).collect();
        for evidence in found {
            if let Ok(member) = evidence.verify(genesis) {
                warn!(%member, "a member said two things in one round");
                self.app.misbehaved(evidence).await;
            }
        }
    }
}

/// How long a height lasts at least that begins `age` after the newest block was proposed.
///
/// To a node that is level that block is about a block time old when it begins the next height, so a height ends two
/// block times after its parent was proposed. To a node that lags it is older, and what is missing comes off its wait:
/// were it to wait as long as the others do, it would stay behind them for good, and its votes and turns would come
/// too late. Nobody waits longer than a block time, so a proposer whose clock is ahead delays nobody.
fn pace(block_time: Duration, age: Duration) -> Option<Duration> {
    let left = (block_time * 2).saturating_sub(age).min(block_time);
    (!left.is_zero()).then_some(left)
}

/// Waits for what was begun on the disk.
async fn done(begun: JoinHandle<Result<(), PendingError>>) -> Result<(), CommitteeError> {
    Ok(begun.await.map_err(|_| CommitteeError::Engine)??)
}

/// Sends a proposed block to the peers.
async fn publish(channels: &Channels<Context>, proposed: Proposed) {
    let mut id = proposed.block.hash().0.to_vec();
    id.extend_from_slice(&proposed.round.to_le_bytes());
    let stream = StreamId::new(id.into());
    for (sequence, content) in (0..).zip([StreamContent::Data(Part(proposed)), StreamContent::Fin]) {
        let part = StreamMessage::new(stream.clone(), sequence, content);
        // The engine may have ended; the loop hears of it.
        let _ = channels.network.send(NetworkMsg::PublishProposalPart(part)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(block_time_ms: u64, age_ms: u64, expected_ms: Option<u64>) {
        let [block_time, age] = [block_time_ms, age_ms].map(Duration::from_millis);
        assert_eq!(pace(block_time, age), expected_ms.map(Duration::from_millis));
    }

    #[test]
    fn a_height_lasts_a_block_time_less_what_the_node_lags() {
        check(1_000, 0, Some(1_000));
        check(1_000, 1_000, Some(1_000));
        check(1_000, 1_100, Some(900));
        check(1_000, 2_000, None);
        check(1_000, u64::MAX, None);
        check(0, 0, None);
    }
}

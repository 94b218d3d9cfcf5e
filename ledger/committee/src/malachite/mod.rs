//! Malachite: how it is started, and the one task that answers its questions.

mod codec;
mod keys;
mod types;

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agon_protocol::codec as canonical;
use agon_protocol::id::{BlockNumber, ConsensusKey, Digest};
use agon_protocol::message::{Block, FinalBlock, Vote, VoteKind};
use agon_protocol::sign::Signature;
use agon_runtime::Shutdown;
use malachitebft_app_channel::app::config::{
    ConsensusConfig, DiscoveryConfig, NodeConfig, P2pConfig, ValueSyncConfig,
};
use malachitebft_app_channel::app::engine::host::{HeightParams, Next as Continue, SyncedValueOutcome};
use malachitebft_app_channel::app::streaming::{StreamContent, StreamId, StreamMessage};
use malachitebft_app_channel::app::types::codec::Codec as _;
use malachitebft_app_channel::app::types::sync::RawDecidedValue;
use malachitebft_app_channel::app::types::{
    Keypair, LocallyProposedValue, MisbehaviorEvidence, ProposedValue,
};
use malachitebft_app_channel::{
    AppMsg, Channels, ConsensusContext, EngineBuilder, EngineHandle, NetworkContext, NetworkIdentity,
    NetworkMsg, RequestContext, Signer as _, SyncContext, WalContext,
};
use malachitebft_core_types::{LinearTimeouts, Round, Validity};
use tokio::task::JoinHandle;
use tracing::{debug, error, warn};

use self::codec::{Borsh, extended};
use self::keys::{Checks, Keys};
use self::types::{
    BlockHash, Context, Height, Key, Part, Sig, ValidatorSet, certificate, engine_certificate, equivocation,
    proposal_vote, protocol_vote, round_number,
};
use crate::pending::{PROPOSAL_BYTES_MAX, Pending, PendingError, Proposed};
use crate::{Application, CommitteeError, Config, Next, Origin, Timeouts};

/// Proposals for heights that are not reached yet; the engine asks for the rest again.
const LATER_MAX: usize = 16;
/// Bytes of blocks in one answer to a node that lags.
const SYNC_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Blocks asked for at a time by a node that lags.
const SYNC_BLOCKS: usize = 32;
/// How often a node tells its peers where it stands, which is how one that lags learns of it.
const STATUS_EVERY: Duration = Duration::from_secs(1);
/// The record of what this node has said in the height that is not decided.
const VOTES: &str = "votes.wal";
/// Bytes of the record of votes before the first vote.
const VOTES_HEADER_BYTES: u64 = 12;
/// How long the engine may take to end.
const STOP_WITHIN: Duration = Duration::from_secs(2);

/// Takes part in the committee of `app`'s ledger until `shutdown`, or until the ledger fails.
///
/// The future is boxed here, so that the engine is compiled in this crate and not in every program that waits for it.
///
/// # Errors
///
/// [`CommitteeError`]; every block that was told to be stored is stored.
pub fn run(
    config: Config,
    app: Box<dyn Application>,
    shutdown: Shutdown,
) -> Pin<Box<dyn Future<Output = Result<(), CommitteeError>> + Send>> {
    Box::pin(take_part(config, app, shutdown))
}

async fn take_part(
    config: Config,
    mut app: Box<dyn Application>,
    shutdown: Shutdown,
) -> Result<(), CommitteeError> {
    let next = app.next().await.map_err(CommitteeError::Ledger)?;
    let set = ValidatorSet::of(&next.committee).ok_or(CommitteeError::NoCommittee)?;
    fs::create_dir_all(&config.dir).map_err(|source| CommitteeError::Dir {
        dir: config.dir.clone(),
        source,
    })?;
    remove_unbegun(&config.dir.join(VOTES))?;
    let pending = open_pending(&config.dir, next.height).await?;
    let keys = Keys {
        genesis: config.genesis,
        pair: config.consensus.clone(),
    };
    let (mut channels, engine) = start(&config, &keys).await?;
    let mut node = Node {
        app,
        keys,
        pending,
        block_time: config.block_time,
        timeouts: config.timeouts,
        next,
        set,
        later: VecDeque::new(),
        missing: false,
    };
    let result = node.answer_all(&mut channels, &shutdown).await;
    stop(engine).await;
    result
}

async fn stop(engine: EngineHandle) {
    let stopped = engine.actor.stop_and_wait(None, None);
    if tokio::time::timeout(STOP_WITHIN, stopped).await.is_err() {
        warn!("the consensus engine did not end in time");
        engine.actor.kill();
    }
}

/// The file of undecided blocks; shared with the threads that wait for its syncs.
type Shared = Arc<Mutex<Pending>>;

async fn open_pending(dir: &Path, next: BlockNumber) -> Result<Shared, CommitteeError> {
    let path = dir.join("pending.log");
    let opened = tokio::task::spawn_blocking(move || Pending::open(path, next)).await;
    let pending = opened.map_err(|_| CommitteeError::Engine)??;
    Ok(Arc::new(Mutex::new(pending)))
}

/// Removes a record of votes that a crash left without its header: no vote is in it, and the engine refuses it.
fn remove_unbegun(path: &Path) -> Result<(), CommitteeError> {
    let failed = |source| CommitteeError::Dir {
        dir: path.to_owned(),
        source,
    };
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() < VOTES_HEADER_BYTES => {
            warn!(path = %path.display(), "removed a record of votes that was not begun");
            fs::remove_file(path).map_err(failed)
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
    }
}

/// The engine's configuration.
#[derive(Clone, Debug)]
struct Settings {
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

fn settings(config: &Config) -> Result<Settings, CommitteeError> {
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
fn multiaddr(peer: &str) -> Option<String> {
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

async fn start(config: &Config, keys: &Keys) -> Result<(Channels<Context>, EngineHandle), CommitteeError> {
    let failed = |reason: String| CommitteeError::Start { reason };
    let transport =
        Keypair::ed25519_from_bytes(config.transport).map_err(|error| failed(error.to_string()))?;
    let peer = transport.public().to_peer_id().to_bytes();
    let proof = keys.sign_validator_proof(keys.key().0.0.to_vec(), peer).await;
    let proof = proof.map_err(|error| failed(error.to_string()))?;
    let proof = Borsh.encode(&proof).map_err(|error| failed(error.to_string()))?;
    let identity =
        NetworkIdentity::new_validator(config.name.clone(), transport, keys.key().to_string(), proof);
    let checks = Checks {
        genesis: keys.genesis,
    };
    EngineBuilder::new(Context, settings(config)?)
        .with_default_wal(WalContext::new(config.dir.join(VOTES), Borsh))
        .with_default_network(NetworkContext::new(identity, Borsh))
        .with_default_sync(SyncContext::new(Borsh))
        .with_default_consensus(ConsensusContext::new_validator(
            keys.key(),
            Box::new(checks),
            Box::new(keys.clone()),
        ))
        .with_default_request(RequestContext::new(100))
        .build()
        .await
        .map_err(|error| failed(format!("{error:#}")))
}

/// The ledger's side of the engine.
struct Node {
    app: Box<dyn Application>,
    keys: Keys,
    pending: Shared,
    block_time: Duration,
    timeouts: Timeouts,
    next: Next,
    set: ValidatorSet,
    /// Proposals for heights that are not reached yet.
    later: VecDeque<Proposed>,
    /// Whether the block that was decided last is not here, so that its height has to be fetched.
    missing: bool,
}

impl Node {
    async fn answer_all(
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
                let proposed = self.propose(height.0, round_number(round)).await?;
                let hash = BlockHash(proposed.block.hash());
                let _ = reply.send(LocallyProposedValue::new(height, round, hash));
                publish(channels, proposed).await;
            }
            AppMsg::ReceivedProposalPart { part, reply, .. } => {
                let value = match part.content {
                    StreamContent::Data(Part(proposed)) => self.receive(proposed).await?,
                    StreamContent::Fin => None,
                };
                let _ = reply.send(value);
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
                let (height, params) = (Height(self.next.height), self.params());
                let next = if self.missing {
                    Continue::Restart(height, params)
                } else {
                    Continue::Start(height, params)
                };
                let _ = reply.send(next);
            }
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
            AppMsg::RestreamProposal { value_id, .. } => {
                let known = self.pending().block(&value_id.0).cloned();
                if let Some(proposed) = known {
                    publish(channels, proposed).await;
                }
            }
            AppMsg::ExtendVote { reply, .. } => {
                let _ = reply.send(None);
            }
            AppMsg::VerifyVoteExtensions {
                extensions, reply, ..
            } => {
                let _ = reply.send(
                    extensions
                        .into_iter()
                        .map(|(voter, ())| (voter, Ok(())))
                        .collect(),
                );
            }
        }
        Ok(())
    }

    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
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
        let target = (!self.block_time.is_zero()).then_some(self.block_time);
        HeightParams::new(self.set.clone(), timeouts, target)
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

    /// The block to propose in a round: the one that was proposed before a restart, or a new one.
    async fn propose(&mut self, height: BlockNumber, round: u32) -> Result<Proposed, CommitteeError> {
        let me = self.keys.key().0;
        let before = self
            .pending()
            .of_round(height, round)
            .find(|proposed| proposed.proposer == me)
            .cloned();
        if let Some(proposed) = before {
            return Ok(proposed);
        }
        let block = self.app.propose().await.map_err(CommitteeError::Ledger)?;
        let signature = self
            .keys
            .sign(self.proposal(round, None, me, block.hash(), height));
        let proposed = Proposed {
            round,
            locked_round: None,
            proposer: me,
            block,
            signature: Signature(signature.0),
        };
        done(self.keep(proposed.clone())).await?;
        Ok(proposed)
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
        if !in_turn || !Checks::holds(&vote, &Key(proposer), &Sig(signature.0)) {
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
    async fn value(
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
            proposer: Key(proposed.proposer),
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
        let next = self.app.commit(block).await.map_err(CommitteeError::Ledger)?;
        self.set = ValidatorSet::of(&next.committee).ok_or(CommitteeError::NoCommittee)?;
        self.next = next;
        self.missing = false;
        done(self.on_disk(move |pending| pending.decided(height))).await
    }

    /// Takes a block that the committee decided earlier; the engine has its certificate.
    async fn synced(
        &mut self,
        height: BlockNumber,
        round: Round,
        proposer: Key,
        bytes: &[u8],
    ) -> Result<SyncedValueOutcome<Context>, CommitteeError> {
        let block = canonical::decode::<Block>(bytes, Block::BYTES_MAX);
        let Some(block) = block.ok().filter(|block| block.header.height == height) else {
            return Ok(SyncedValueOutcome::PeerFault);
        };
        let proposed = Proposed {
            round: round_number(round),
            locked_round: None,
            proposer: proposer.0,
            block,
            signature: Signature([0; 64]),
        };
        if height != self.next.height {
            return Ok(SyncedValueOutcome::LocalTransientError);
        }
        self.pending().note(proposed.clone());
        Ok(SyncedValueOutcome::Verdict(
            self.value(&proposed, Origin::Decided).await?,
        ))
    }

    /// Stored blocks for a peer that lags.
    async fn stored(
        &mut self,
        from: BlockNumber,
        to: BlockNumber,
    ) -> Result<Vec<RawDecidedValue<Context>>, CommitteeError> {
        let last = BlockNumber(from.0.saturating_add(SYNC_BLOCKS as u64 - 1).min(to.0));
        let blocks = self
            .app
            .decided(from..=last)
            .await
            .map_err(CommitteeError::Ledger)?;
        let mut bytes = 0;
        let values = blocks.iter().map_while(|FinalBlock { block, certificate }| {
            // Blocks of a time without a committee prove nothing to a peer, which has to get them another way.
            let certificate = certificate.as_ref()?;
            let value = canonical::encode(block);
            bytes += value.len();
            let fits = bytes <= SYNC_BYTES_MAX || bytes == value.len();
            fits.then(|| RawDecidedValue::new(value.into(), extended(engine_certificate(certificate))))
        });
        Ok(values.collect())
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

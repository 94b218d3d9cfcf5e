//! Blocks that were decided earlier: taken from peers by a node that lags, and given to one.

use agon_protocol::codec as canonical;
use agon_protocol::id::BlockNumber;
use agon_protocol::message::{Block, FinalBlock};
use agon_protocol::sign::Signature;
use malachitebft_app_channel::app::engine::host::SyncedValueOutcome;
use malachitebft_app_channel::app::types::sync::RawDecidedValue;
use malachitebft_core_types::Round;

use super::codec::extended;
use super::node::Node;
use super::types::{Context, Key, engine_certificate, round_number};
use crate::pending::Proposed;
use crate::{CommitteeError, Origin};

/// Bytes of blocks in one answer to a node that lags.
const SYNC_BYTES_MAX: usize = 6 * 1024 * 1024;
/// Blocks asked for at a time by a node that lags.
pub(super) const SYNC_BLOCKS: usize = 32;

impl Node {
    /// Takes a block that the committee decided earlier; the engine has its certificate.
    pub(super) async fn synced(
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
    pub(super) async fn stored(
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
}

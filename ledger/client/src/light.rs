//! Following a ledger without trusting the node that tells of it.
//!
//! One begins at a block that is trusted, or at the genesis, and follows the headers from there; what is checked of
//! them is [`agon_protocol::light`]'s. A row is then proven from the header it was followed to, which is
//! `agon-ledger-state`'s. Here is only what fetches.

use std::fmt;
use std::str::FromStr;

use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::light::{LightChain, LightError};
use agon_runtime::flags::ExitWith;
use thiserror::Error;

use crate::{ClientError, LedgerClient};

/// What is trusted to begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The genesis with this digest.
    Genesis(Digest),
    /// The block of this height and hash.
    Block(BlockNumber, Digest),
}

impl fmt::Display for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Genesis(digest) => write!(f, "the genesis {digest}"),
            Self::Block(height, hash) => write!(f, "block {height} with hash {hash}"),
        }
    }
}

/// Why a text names nothing that could be trusted.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("neither a digest of 64 hex digits nor HEIGHT:HASH, as in 400:5f2a..")]
pub struct TrustError;

impl FromStr for Trust {
    type Err = TrustError;

    /// Reads `HASH` as the digest of a genesis and `HEIGHT:HASH` as a block.
    fn from_str(text: &str) -> Result<Self, TrustError> {
        let digest = |text: &str| text.parse::<Digest>().map_err(|_| TrustError);
        match text.split_once(':') {
            None => Ok(Self::Genesis(digest(text)?)),
            Some((height, hash)) => {
                let height: BlockNumber = height.parse().map_err(|_| TrustError)?;
                match height {
                    BlockNumber(0) => Ok(Self::Genesis(digest(hash)?)),
                    height => Ok(Self::Block(height, digest(hash)?)),
                }
            }
        }
    }
}

/// Why a ledger cannot be followed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The node does not tell.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What it tells does not hold.
    #[error("the node's headers do not hold: {0}")]
    Light(#[from] LightError),
    /// It tells nothing.
    #[error("the node sent no header of block {height}: ask another node")]
    Nothing {
        /// Which was asked for.
        height: BlockNumber,
    },
}

impl From<FollowError> for ExitWith {
    fn from(error: FollowError) -> Self {
        match error {
            FollowError::Client(error) => error.into(),
            other => Self::failure(other),
        }
    }
}

/// Begins at a trusted block. The genesis that votes name is the node's word, and no more needs to be: the block
/// belongs to one ledger only.
///
/// # Errors
///
/// [`FollowError`] when the node does not tell of a block of that height and hash.
pub async fn begin_at_block(
    client: &LedgerClient,
    height: BlockNumber,
    hash: Digest,
) -> Result<LightChain, FollowError> {
    let genesis = client.head().await?.genesis;
    let page = client.headers(height, height).await?;
    let first = page.into_iter().next().ok_or(FollowError::Nothing { height })?;
    let committee = first.next_committee.unwrap_or_default();
    let chain = LightChain::from_header(genesis, hash, &first.header, committee)?;
    match chain.height() {
        found if found == height => Ok(chain),
        found => Err(LightError::Height {
            found,
            expected: height,
        }
        .into()),
    }
}

/// Follows the headers up to the block at `to`; one that is not above where `chain` stands needs no step.
///
/// # Errors
///
/// [`FollowError`] at the first header that does not follow; `chain` stands before it then.
pub async fn follow(
    client: &LedgerClient,
    chain: &mut LightChain,
    to: BlockNumber,
) -> Result<(), FollowError> {
    while chain.height() < to {
        let height = chain.height().next();
        let page = client.headers(height, to).await?;
        if page.is_empty() {
            return Err(FollowError::Nothing { height });
        }
        for header in page {
            chain.extend(header)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_a_genesis_or_a_block() {
        let hash = Digest([0xab; 32]);
        let check = |text: String, expected| assert_eq!(text.parse(), expected, "{text}");
        check(hash.to_string(), Ok(Trust::Genesis(hash)));
        check(format!("0:{hash}"), Ok(Trust::Genesis(hash)));
        check(format!("400:{hash}"), Ok(Trust::Block(BlockNumber(400), hash)));
        for wrong in [
            "",
            "400",
            ":",
            "x:00",
            &format!("{hash}:400"),
            &format!("-1:{hash}"),
        ] {
            check(wrong.to_owned(), Err(TrustError));
        }
    }
}

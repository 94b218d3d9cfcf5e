//! Blocks and the genesis they start from.
//!
//! A block's hash is the digest of its header. The header names its transactions by their digests, which do not
//! cover signatures: who signed is in the transaction, and signatures are checked before a block is accepted.

use borsh::{BorshDeserialize, BorshSerialize};

use super::{Certificate, Message, Signed, Transaction};
use crate::amount::Amount;
use crate::codec;
use crate::id::{BlockNumber, Coldkey, ConsensusKey, Digest, Hotkey};
use crate::timelock::Beacon;

/// What a block is, without its transactions.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Header {
    /// Height; the first block has 1.
    pub height: BlockNumber,
    /// Hash of the block before, or the digest of the genesis.
    pub parent: Digest,
    /// When it was proposed, Unix milliseconds; never before its parent.
    pub time_ms: u64,
    /// Digest over the digests of its transactions, in order.
    pub transactions: Digest,
    /// Root of the state after it.
    pub state_root: Digest,
    /// Digest of the committee that makes the block after it final; zeros where one node decides alone.
    pub next_committee: Digest,
}

impl Header {
    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        codec::digest("agon 2026-11 block header", &codec::encode(self))
    }
}

/// A header and its transactions.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions, in the order they are applied.
    pub transactions: Vec<Signed<Transaction>>,
}

impl Block {
    /// Most transactions of a block; keeps a block's writes within what one store batch takes well.
    pub const TRANSACTIONS_MAX: usize = 1_000;
    /// Most canonical bytes of a block.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;

    /// The block's hash.
    #[must_use]
    pub fn hash(&self) -> Digest {
        self.header.hash()
    }

    /// What [`Header::transactions`] must be for these transactions.
    #[must_use]
    pub fn transactions_digest(transactions: &[Signed<Transaction>]) -> Digest {
        let digests: Vec<Digest> = transactions.iter().map(Signed::digest).collect();
        codec::digest("agon 2026-11 block transactions", &codec::encode(&digests))
    }

    /// Bytes a transaction takes in a block.
    #[must_use]
    pub fn transaction_len(transaction: &Signed<Transaction>) -> usize {
        // Length prefix of the bytes, the bytes, the signature.
        4 + transaction.bytes().len() + 64
    }
}

/// A block and what proves that the committee made it final.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct FinalBlock {
    /// The block.
    pub block: Block,
    /// The proof; `None` where one node decides alone.
    pub certificate: Option<Certificate>,
}

impl FinalBlock {
    /// Most canonical bytes of a block with its certificate.
    pub const BYTES_MAX: usize = Block::BYTES_MAX + Certificate::BYTES_MAX;

    /// A block of a node that decides alone.
    #[must_use]
    pub const fn solo(block: Block) -> Self {
        Self {
            block,
            certificate: None,
        }
    }
}

const _: () = assert!(
    Transaction::BYTES_MAX < Block::BYTES_MAX,
    "every transaction fits a block"
);

/// Which set of default times a ledger runs with. Presets shorten times, never rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub enum Preset {
    /// The times of a public network.
    Mainnet,
    /// Times for a subnet on one machine that one watches.
    Localnet,
}

/// A balance that exists from the start.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisAccount {
    /// Who holds it.
    pub coldkey: Coldkey,
    /// How much.
    pub amount: Amount,
}

/// A member of the committee from the start.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct GenesisMember {
    /// Its hotkey.
    pub hotkey: Hotkey,
    /// The owner of its hotkey, who gets the bond back.
    pub coldkey: Coldkey,
    /// What it votes with.
    pub consensus_key: ConsensusKey,
    /// What it loses when it says two things in one round; exists beside the balances.
    pub bond: Amount,
}

/// What a ledger starts from; its digest names the ledger.
///
/// Without a beacon its bytes end with the committee, as they did before there were beacons: such a ledger keeps its
/// name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// Name of the network, for people.
    pub name: String,
    /// Which default times.
    pub preset: Preset,
    /// When it starts, Unix milliseconds.
    pub time_ms: u64,
    /// Base units created in each block before any halving.
    pub block_emission: Amount,
    /// Balances from the start.
    pub accounts: Vec<GenesisAccount>,
    /// Members of the committee from the start; none where one node decides alone.
    pub committee: Vec<GenesisMember>,
    /// Whose pulses open sealed weights; `None` where weights are committed to by their digests alone.
    pub beacon: Option<Beacon>,
}

/// The fields of a genesis that are always there, in the order of their bytes.
type GenesisFields<N, A, C> = (N, Preset, u64, Amount, A, C);

impl BorshSerialize for Genesis {
    fn serialize<W: borsh::io::Write>(&self, writer: &mut W) -> borsh::io::Result<()> {
        let fields: GenesisFields<&String, &Vec<GenesisAccount>, &Vec<GenesisMember>> = (
            &self.name,
            self.preset,
            self.time_ms,
            self.block_emission,
            &self.accounts,
            &self.committee,
        );
        fields.serialize(writer)?;
        self.beacon.map_or(Ok(()), |beacon| beacon.serialize(writer))
    }
}

impl BorshDeserialize for Genesis {
    fn deserialize_reader<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Self> {
        let fields: GenesisFields<String, Vec<GenesisAccount>, Vec<GenesisMember>> =
            BorshDeserialize::deserialize_reader(reader)?;
        let (name, preset, time_ms, block_emission, accounts, committee) = fields;
        Ok(Self {
            name,
            preset,
            time_ms,
            block_emission,
            accounts,
            committee,
            beacon: trailing_beacon(reader)?,
        })
    }
}

/// The beacon behind the other fields, if there are any more bytes: nothing follows a genesis.
fn trailing_beacon<R: borsh::io::Read>(reader: &mut R) -> borsh::io::Result<Option<Beacon>> {
    let mut first = [0];
    match reader.read(&mut first)? {
        0 => Ok(None),
        _ => Beacon::deserialize_reader(&mut borsh::io::Read::chain(&first[..], reader)).map(Some),
    }
}

impl Genesis {
    /// Most canonical bytes of a genesis.
    pub const BYTES_MAX: usize = 4 * 1024 * 1024;

    /// The digest that names the ledger and stands for the parent of its first block.
    #[must_use]
    pub fn digest(&self) -> Digest {
        codec::digest("agon 2026-11 genesis", &codec::encode(self))
    }
}

//! Rows of what the ledger tells, proven from a root: for somebody who runs no node and trusts none.
//!
//! A row is made of a few entries. [`State::prove`] reads them and proves each read; [`verify_row`] makes the same
//! reads from the proofs alone and shows the row as the ordinary queries do. Both run the same function over a
//! `Reader`, so they cannot disagree on which entries a row is made of.
//!
//! | row | entries it is made of, in this order |
//! | --- | --- |
//! | account | its record; all its shares; of each the pool and which hotkey goes by the pool's name now |
//! | subnet | its record; the rounds to which its weights are sealed |
//! | neuron | the subnet's record; the neuron; the owner's record of its hotkey; the pool of the name it tells |
//! | weights | the row; the open commits |
//! | epoch | the record |
//! | stake | the hotkey's owner, for the pool's name; the shares; the pool |
//!
//! A key is a kind byte and fixed-length fields, numbers big-endian; a value is the canonical encoding of a record.
//! What stands in the entries was agreed on with the root. Somebody who trusts a node for the root is still safe
//! from what it may have put there: a record that no ledger could hold is an error.

use agon_protocol::amount::Amount;
use agon_protocol::codec::CodecError;
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Hotkey, Netuid, Uid};
use agon_protocol::message::{AccountView, Header, NeuronView, StakeView, SubnetView, WeightRowView};
use agon_protocol::proof::{ProofError, ProofTarget, Query, RowProof, StateProof};
use thiserror::Error;

use crate::State;
use crate::accounts::{AccountRecord, HotkeyOwner};
use crate::epoch::EpochRecord;
use crate::neuron::Neuron;
use crate::parameters::NetworkParameterId;
use crate::stake::{Pool, Shares};
use crate::subnet::Subnet;
use crate::swaps::Retired;
use crate::table::{Entry, KeyField, Table, decode_value, prefix_bytes};
use crate::views::{neuron_view, subnet_view};
use crate::weights::{Commits, SealRounds, WeightRow};

/// A row that was proven, or that was proven not to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Row {
    /// What an account holds; one the ledger never saw holds nothing.
    Account(AccountView),
    /// A subnet, if there is one of that number.
    Subnet(Option<SubnetView>),
    /// Who holds a UID, if anybody does.
    Neuron(Option<NeuronView>),
    /// Weights and open commits, if there are either.
    Weights(Option<WeightRowView>),
    /// The record of an epoch, if it has run and is still kept.
    Epoch(Option<Box<EpochRecord>>),
    /// What an account has staked on a hotkey in a subnet, if anything.
    Stake(Option<StakeView>),
}

/// Why proofs show no row.
#[derive(Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowError {
    /// A proof does not hold.
    #[error(transparent)]
    Proof(#[from] ProofError),
    /// There are more or fewer proofs than the row has reads.
    #[error("the row takes another number of proofs than the {found} that came")]
    Count {
        /// How many came.
        found: usize,
    },
    /// The proofs have more bytes than a row's may have.
    #[error(
        "the proofs of the row have more than {bound} bytes: ask for each stake of the account by itself"
    )]
    TooLong {
        /// How many they may have.
        bound: usize,
    },
    /// An entry was proven that this build cannot read.
    #[error("a proven entry cannot be read: {0}; is this the ledger's version of the program?")]
    Value(#[from] CodecError),
    /// An entry was proven that no ledger with these rules holds.
    #[error("{what} was proven that no ledger of this version holds: the root is not that of such a ledger")]
    Broken {
        /// What does not hold.
        what: &'static str,
    },
}

impl State {
    /// Proves a row from [`State::root`].
    ///
    /// # Errors
    ///
    /// [`RowError::TooLong`] for an account with tens of thousands of stakes.
    pub fn prove(&self, target: &ProofTarget) -> Result<RowProof, RowError> {
        let mut prover = Prover {
            table: &self.table,
            proofs: Vec::new(),
            bytes: 0,
        };
        match row(&mut prover, target, self.height()) {
            Err(error @ RowError::TooLong { .. }) => Err(error),
            // What a row cannot be shown for, such as a pool that breaks an invariant, the verifier finds by itself.
            _ => Ok(RowProof {
                proofs: prover.proofs,
            }),
        }
    }
}

/// The row that `proof` shows in the state after the block of `header`.
///
/// # Errors
///
/// [`RowError`] when it shows none.
pub fn verify_row(header: &Header, target: &ProofTarget, proof: &RowProof) -> Result<Row, RowError> {
    let found = proof.proofs.len();
    let mut verifier = Verifier {
        root: header.state_root,
        proofs: proof.proofs.iter(),
        found,
    };
    let row = row(&mut verifier, target, header.height)?;
    match verifier.proofs.next() {
        None => Ok(row),
        Some(_) => Err(RowError::Count { found }),
    }
}

/// Where a row's entries come from.
trait Reader {
    fn read<E: Entry>(&mut self, key: &E::Key) -> Result<Option<E>, RowError>;
    fn scan<E: Entry>(&mut self, prefix: impl KeyField) -> Result<Vec<(E::Key, E)>, RowError>;
}

/// Reads the whole state and proves what is read.
struct Prover<'a> {
    table: &'a Table,
    proofs: Vec<StateProof>,
    /// Canonical bytes of the proofs so far, at least.
    bytes: usize,
}

impl Prover<'_> {
    fn prove(&mut self, query: Query<'_>) -> Result<(), RowError> {
        let proof = self.table.prove(query);
        self.bytes = self.bytes.saturating_add(proof.encoded_len());
        self.proofs.push(proof);
        let bound = RowProof::BYTES_MAX;
        if self.bytes > bound {
            return Err(RowError::TooLong { bound });
        }
        Ok(())
    }
}

impl Reader for Prover<'_> {
    fn read<E: Entry>(&mut self, key: &E::Key) -> Result<Option<E>, RowError> {
        self.prove(Query::Key(&E::key_bytes(key)))?;
        Ok(self.table.read(key))
    }

    fn scan<E: Entry>(&mut self, prefix: impl KeyField) -> Result<Vec<(E::Key, E)>, RowError> {
        let bytes = prefix_bytes::<E>(&prefix);
        self.prove(Query::Prefix(&bytes))?;
        Ok(self.table.scan(prefix).collect())
    }
}

/// Reads what proofs show.
struct Verifier<'a> {
    root: Digest,
    proofs: std::slice::Iter<'a, StateProof>,
    found: usize,
}

impl<'a> Verifier<'a> {
    fn next(&mut self) -> Result<&'a StateProof, RowError> {
        self.proofs.next().ok_or(RowError::Count { found: self.found })
    }
}

impl Reader for Verifier<'_> {
    fn read<E: Entry>(&mut self, key: &E::Key) -> Result<Option<E>, RowError> {
        let value = self.next()?.verify(&self.root, &E::key_bytes(key))?;
        Ok(value.map(decode_value).transpose()?)
    }

    fn scan<E: Entry>(&mut self, prefix: impl KeyField) -> Result<Vec<(E::Key, E)>, RowError> {
        let prefix = prefix_bytes::<E>(&prefix);
        let entries = self.next()?.verify_prefix(&self.root, &prefix)?.iter();
        let read = |entry: &agon_protocol::proof::Entry| {
            let what = "a key of unknown form";
            let key = E::read_key(&entry.key).ok_or(RowError::Broken { what })?;
            Ok((key, decode_value(&entry.value)?))
        };
        entries.map(read).collect()
    }
}

fn row(reader: &mut impl Reader, target: &ProofTarget, height: BlockNumber) -> Result<Row, RowError> {
    Ok(match *target {
        ProofTarget::Account(account) => Row::Account(account_row(reader, account)?),
        ProofTarget::Subnet(netuid) => {
            let subnet = subnet(reader, netuid)?;
            let rounds: Option<SealRounds> = reader.read(&netuid)?;
            Row::Subnet(subnet.map(|subnet| subnet_view(height, netuid, subnet, rounds.as_ref())))
        }
        ProofTarget::Neuron(netuid, uid) => Row::Neuron(neuron_row(reader, height, netuid, uid)?),
        ProofTarget::Weights(netuid, uid) => Row::Weights(weights_row(reader, netuid, uid)?),
        ProofTarget::Epoch(netuid, tempo) => Row::Epoch(reader.read(&(netuid, tempo))?.map(Box::new)),
        ProofTarget::Stake(account, netuid, hotkey) => {
            Row::Stake(stake_row(reader, account, netuid, hotkey)?)
        }
    })
}

fn account_row(reader: &mut impl Reader, account: Account) -> Result<AccountView, RowError> {
    let AccountRecord { nonce, free, .. } = reader.read(&account)?.unwrap_or_default();
    let mut stakes = Vec::new();
    for ((_, netuid, name), Shares(shares)) in reader.scan::<Shares>(Coldkey(account.0))? {
        let pool = pool(reader, netuid, name)?;
        let retired: Option<Retired> = reader.read(&name)?;
        let hotkey = retired.map_or(name, |retired| retired.now);
        stakes.push(stake_of(&pool, shares, netuid, hotkey)?);
    }
    Ok(AccountView {
        account,
        nonce,
        free,
        stakes,
    })
}

fn stake_row(
    reader: &mut impl Reader,
    account: Account,
    netuid: Netuid,
    hotkey: Hotkey,
) -> Result<Option<StakeView>, RowError> {
    let owner: Option<HotkeyOwner> = reader.read(&hotkey)?;
    let Some(HotkeyOwner { pools, .. }) = owner else {
        return Ok(None);
    };
    let shares: Option<Shares> = reader.read(&(Coldkey(account.0), netuid, pools))?;
    let Some(Shares(shares)) = shares else {
        return Ok(None);
    };
    let pool = pool(reader, netuid, pools)?;
    stake_of(&pool, shares, netuid, hotkey).map(Some)
}

fn stake_of(pool: &Pool, shares: u128, netuid: Netuid, hotkey: Hotkey) -> Result<StakeView, RowError> {
    if shares > pool.shares {
        let what = "more shares of a pool than it has";
        return Err(RowError::Broken { what });
    }
    Ok(StakeView {
        netuid,
        hotkey,
        amount: pool.worth(shares),
    })
}

fn pool(reader: &mut impl Reader, netuid: Netuid, name: Hotkey) -> Result<Pool, RowError> {
    let pool: Pool = reader.read(&(netuid, name))?.unwrap_or_default();
    if pool.shares > u128::from(pool.total.base_units()) {
        let what = "a pool with more shares than base units";
        return Err(RowError::Broken { what });
    }
    Ok(pool)
}

fn subnet(reader: &mut impl Reader, netuid: Netuid) -> Result<Option<Subnet>, RowError> {
    let subnet: Option<Subnet> = reader.read(&netuid)?;
    let notice_max = NetworkParameterId::NoticeTempos.row().max;
    let valid = |subnet: &Subnet| subnet.parameters.are_valid() && subnet.announced_are_valid(notice_max);
    if !subnet.as_ref().is_none_or(valid) {
        let what = "a parameter out of its bounds";
        return Err(RowError::Broken { what });
    }
    Ok(subnet)
}

fn neuron_row(
    reader: &mut impl Reader,
    height: BlockNumber,
    netuid: Netuid,
    uid: Uid,
) -> Result<Option<NeuronView>, RowError> {
    let subnet = subnet(reader, netuid)?;
    let neuron: Option<Neuron> = reader.read(&(netuid, uid))?;
    let (subnet, neuron) = match (subnet, neuron) {
        (Some(subnet), Some(neuron)) => (subnet, neuron),
        (None, Some(_)) => {
            let what = "a neuron without a subnet";
            return Err(RowError::Broken { what });
        }
        (_, None) => return Ok(None),
    };
    let Some(HotkeyOwner { pools, .. }) = reader.read(&neuron.hotkey)? else {
        let what = "a neuron whose hotkey belongs to nobody";
        return Err(RowError::Broken { what });
    };
    let stake: Amount = pool(reader, netuid, pools)?.total;
    Ok(Some(neuron_view(height, &subnet, uid, neuron, stake)))
}

fn weights_row(
    reader: &mut impl Reader,
    netuid: Netuid,
    uid: Uid,
) -> Result<Option<WeightRowView>, RowError> {
    let row: Option<WeightRow> = reader.read(&(netuid, uid))?;
    let commits: Option<Commits> = reader.read(&(netuid, uid))?;
    if row.is_none() && commits.is_none() {
        return Ok(None);
    }
    let Commits(commits) = commits.unwrap_or_default();
    Ok(Some(WeightRowView {
        uid,
        weights: row.map(WeightRow::newest).unwrap_or_default(),
        open_commits: commits.into_iter().map(|commit| commit.tempo).collect(),
    }))
}

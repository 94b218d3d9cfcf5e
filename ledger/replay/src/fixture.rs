//! A small ledger without a node, for the unit tests of this crate.

use std::path::{Path, PathBuf};

use agon_ledger_state::State;
use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::id::{Account, Coldkey, Digest};
use agon_protocol::message::{
    Block, Call, FinalBlock, Genesis, GenesisAccount, Header, Preset, Signed, Transaction,
};
use agon_protocol::sign::Keypair;
use agon_runtime::framed_log::FramedLog;

use crate::export::{ExportError, LOG_OPTIONS, Record, Sealed, Writer, unwatched};
use crate::follow::{Position, input};

fn pair(number: u8) -> Keypair {
    Keypair::from_mini_secret(&[number; 32])
}

pub(crate) fn coldkey(number: u8) -> Coldkey {
    Coldkey(pair(number).public())
}

pub(crate) fn genesis() -> Genesis {
    let account = |number| GenesisAccount {
        coldkey: coldkey(number),
        amount: Amount::from_units(1_000).unwrap(),
    };
    Genesis {
        name: String::from("test"),
        preset: Preset::Localnet,
        time_ms: 1_000,
        block_emission: Amount::from_units(1).unwrap(),
        accounts: (1..=4).map(account).collect(),
        committee: Vec::new(),
        beacon: None,
    }
}

fn transfer(nonce: u64) -> Signed<Transaction> {
    let pair = pair(1);
    let transaction = Transaction {
        genesis: genesis().digest(),
        signer: Account(pair.public()),
        nonce,
        call: Call::Transfer {
            to: coldkey(2),
            amount: Amount::from_base_units(10 + nonce),
        },
    };
    Signed::sign(transaction, &pair)
}

/// A ledger and everything it went through.
pub(crate) struct Ledger {
    /// The position after each block, the genesis first.
    pub(crate) positions: Vec<Position>,
    pub(crate) blocks: Vec<FinalBlock>,
}

impl Ledger {
    /// A ledger of so many blocks with a transfer each.
    pub(crate) fn of(blocks: u64) -> Self {
        let mut ledger = Self {
            positions: vec![Position::genesis(&genesis()).unwrap()],
            blocks: Vec::new(),
        };
        ledger.go_on(blocks);
        ledger
    }

    /// Adds so many blocks with a transfer each.
    pub(crate) fn go_on(&mut self, blocks: u64) {
        for _ in 0..blocks {
            self.add(vec![transfer(self.blocks.len() as u64)]);
        }
    }

    /// Counts up the nonce of an account in the newest state, and has the newest header say that this is right.
    pub(crate) fn lie(&mut self, account: Coldkey) {
        let newest = self.positions.last_mut().unwrap();
        let entries = newest.state.entries().map(|(key, mut value)| {
            if key.ends_with(account.as_bytes()) {
                value[1] += 1;
            }
            (key, value)
        });
        newest.state = State::from_entries(entries.collect::<Vec<_>>()).unwrap();
        let header = &mut self.blocks.last_mut().unwrap().block.header;
        header.state_root = newest.state.root();
        newest.head.state_root = header.state_root;
        newest.head.hash = header.hash();
    }

    fn add(&mut self, transactions: Vec<Signed<Transaction>>) {
        let mut next = self.positions.last().unwrap().clone();
        let time_ms = next.head.time_ms + 1_000;
        let mut state = next.state.clone();
        let applied = state.apply(input(&next.head, time_ms, &transactions));
        assert!(applied.outcomes.iter().all(Result::is_ok));
        let header = Header {
            height: next.head.height.next(),
            parent: next.head.hash,
            time_ms,
            transactions: Block::transactions_digest(&transactions),
            state_root: state.root(),
            next_committee: state.committee().digest(),
        };
        let block = FinalBlock::solo(Block { header, transactions });
        next.follow(&block).unwrap();
        self.positions.push(next);
        self.blocks.push(block);
    }

    pub(crate) fn state(&self, height: usize) -> &State {
        &self.positions[height].state
    }

    pub(crate) fn hash(&self, height: usize) -> Digest {
        self.positions[height].head.hash
    }

    /// What the state at `height` hangs on.
    pub(crate) fn sealed(&self, height: usize) -> Option<Sealed> {
        let block = &self.blocks[height.checked_sub(1)?];
        let parent = height
            .checked_sub(2)
            .map(|index| self.blocks[index].block.header.clone());
        Some(Sealed {
            header: block.block.header.clone(),
            parent,
            committee: self.positions[height - 1].state.committee(),
            certificate: block.certificate.clone(),
        })
    }

    pub(crate) fn write_state(&self, writer: &mut Writer, height: usize) {
        writer
            .state(self.state(height), self.sealed(height), &mut unwatched)
            .unwrap();
    }

    /// The export of one state.
    pub(crate) fn snapshot(&self, dir: &Path, height: usize) -> PathBuf {
        let path = dir.join("snapshot");
        let mut writer = Writer::create(&path, &genesis()).unwrap();
        self.write_state(&mut writer, height);
        writer.finish().unwrap();
        path
    }

    /// The export of blocks with the states around them.
    pub(crate) fn export(&self, dir: &Path, first: usize, last: usize) -> PathBuf {
        let path = dir.join("export");
        let mut writer = Writer::create(&path, &genesis()).unwrap();
        self.write_state(&mut writer, first - 1);
        let height = |index: usize| self.positions[index].head.height;
        writer.blocks(height(first), height(last)).unwrap();
        for block in &self.blocks[first - 1..last] {
            writer.block(block.clone()).unwrap();
        }
        self.write_state(&mut writer, last);
        writer.finish().unwrap();
        path
    }
}

/// Writes the export at `path` anew with each record changed by `change`; its checksums are right again, as those of
/// a liar are.
pub(crate) fn forge(path: &Path, mut change: impl FnMut(&mut Record)) -> Result<PathBuf, ExportError> {
    let forged = path.with_extension("forged");
    let mut writer: Option<Writer> = None;
    for frame in FramedLog::frames(path, LOG_OPTIONS)? {
        let mut record: Record = codec::decode(&frame?.payload, usize::MAX).unwrap();
        change(&mut record);
        match (&mut writer, record) {
            (writer @ None, Record::Begin { genesis, .. }) => {
                *writer = Some(Writer::create(&forged, &genesis)?);
            }
            (Some(writer), Record::State(anchor)) => writer.anchor(*anchor)?,
            (Some(writer), Record::Entry { key, value }) => writer.entry(key, value)?,
            (Some(writer), Record::Blocks { first, last }) => writer.blocks(first, last)?,
            (Some(writer), Record::Block(block)) => writer.block(*block)?,
            _ => {}
        }
    }
    writer.unwrap().finish()?;
    Ok(forged)
}

//! Writing an export: beside its place first, and moved there once it is whole.

use std::fs;
use std::path::{Path, PathBuf};

use agon_ledger_state::State;
use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, Digest};
use agon_protocol::message::{FinalBlock, Genesis};
use agon_runtime::files::sync_dir_of;
use agon_runtime::framed_log::FramedLog;

use super::{Anchor, ExportError, FORMAT, LOG_OPTIONS, Reader, Record, Sealed, Step, Watch};

/// An export in the making. Dropped before [`finish`](Self::finish), it leaves nothing behind.
///
/// It writes what it is told: whether parts belong together is for whoever reads them.
#[derive(Debug)]
pub struct Writer {
    log: FramedLog,
    path: PathBuf,
    temporary: PathBuf,
    hasher: blake3::Hasher,
    records: u64,
    is_finished: bool,
}

impl Writer {
    /// Begins the export of a ledger that will be at `path`, where nothing may be yet.
    ///
    /// # Errors
    ///
    /// [`ExportError::Exists`], [`ExportError::Io`], [`ExportError::Log`].
    pub fn create(path: &Path, genesis: &Genesis) -> Result<Self, ExportError> {
        if path.exists() {
            return Err(ExportError::Exists {
                path: path.to_owned(),
            });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let temporary = path.with_file_name(format!(".{name}.{}.part", std::process::id()));
        // What a process of the same number left behind when it was killed.
        match fs::remove_file(&temporary) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(ExportError::Io {
                    action: "remove",
                    path: temporary,
                    source,
                });
            }
            _ => {}
        }
        let (log, _) = FramedLog::open(&temporary, LOG_OPTIONS)?;
        let mut writer = Self {
            log,
            path: path.to_owned(),
            temporary,
            hasher: blake3::Hasher::new(),
            records: 0,
            is_finished: false,
        };
        writer.record(&Record::Begin {
            format: FORMAT,
            genesis: genesis.clone(),
        })?;
        Ok(writer)
    }

    /// Writes the state after a block: `sealed` is `None` for the genesis.
    ///
    /// # Errors
    ///
    /// [`ExportError`]
    pub fn state(
        &mut self,
        state: &State,
        sealed: Option<Sealed>,
        watch: Watch<'_>,
    ) -> Result<(), ExportError> {
        let total = state.entries().count() as u64;
        self.anchor(Anchor {
            height: state.height(),
            entries: total,
            sealed,
        })?;
        for ((key, value), done) in state.entries().zip(1..) {
            self.entry(key, value)?;
            let what = "entries";
            watch(Step { what, done, total })?;
        }
        Ok(())
    }

    /// Writes the state that `reader` announced with `anchor`, entry by entry as it comes.
    ///
    /// # Errors
    ///
    /// [`ExportError`].
    pub fn copy_state(
        &mut self,
        reader: &mut Reader,
        anchor: Anchor,
        watch: Watch<'_>,
    ) -> Result<(), ExportError> {
        let total = anchor.entries;
        self.anchor(anchor)?;
        for done in 1..=total {
            let (key, value) = reader.entry()?;
            self.entry(key, value)?;
            let what = "entries";
            watch(Step { what, done, total })?;
        }
        Ok(())
    }

    /// Announces a state; as many entries as it says have to follow.
    ///
    /// # Errors
    ///
    /// [`ExportError::Log`].
    pub fn anchor(&mut self, anchor: Anchor) -> Result<(), ExportError> {
        self.record(&Record::State(Box::new(anchor)))
    }

    /// Writes one entry of an announced state.
    ///
    /// # Errors
    ///
    /// [`ExportError::Log`].
    pub fn entry(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<(), ExportError> {
        self.record(&Record::Entry { key, value })
    }

    /// Announces blocks; those of all heights from `first` to `last` have to follow.
    ///
    /// # Errors
    ///
    /// [`ExportError::Log`].
    pub fn blocks(&mut self, first: BlockNumber, last: BlockNumber) -> Result<(), ExportError> {
        self.record(&Record::Blocks { first, last })
    }

    /// Writes one announced block.
    ///
    /// # Errors
    ///
    /// [`ExportError::Log`].
    pub fn block(&mut self, block: FinalBlock) -> Result<(), ExportError> {
        self.record(&Record::Block(Box::new(block)))
    }

    /// Ends the export, makes it durable and puts it in its place; gives its length in bytes.
    ///
    /// # Errors
    ///
    /// [`ExportError`]; nothing is left behind.
    pub fn finish(mut self) -> Result<u64, ExportError> {
        let end = Record::End {
            records: self.records,
            digest: Digest(*self.hasher.finalize().as_bytes()),
        };
        self.record(&end)?;
        self.log.sync()?;
        fs::rename(&self.temporary, &self.path)
            .and_then(|()| sync_dir_of(&self.path))
            .map_err(|source| ExportError::Io {
                action: "write",
                path: self.path.clone(),
                source,
            })?;
        self.is_finished = true;
        Ok(self.log.end())
    }

    fn record(&mut self, record: &Record) -> Result<(), ExportError> {
        let bytes = codec::encode(record);
        self.log.append(&bytes)?;
        self.hasher.update(&(bytes.len() as u64).to_le_bytes());
        self.hasher.update(&bytes);
        self.records += 1;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.is_finished {
            // Whoever reads the error that led here needs no second one.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

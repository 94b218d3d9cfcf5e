//! An append-only file of checksummed frames: what was synced before a crash is there after it.
//!
//! The node keeps its blocks this way, the validator its evidence, the miner its replay window. What a frame means,
//! and any index over frames, is the caller's business.
//!
//! # Format
//!
//! ```text
//! file   = "AGONLOG\0" | version u32 | frame*
//! frame  = length u32 | checksum [8] | payload [length] | length u32
//! ```
//!
//! Integers are little-endian. The checksum is the first 8 bytes of blake3 over the frame's offset (u64) and the
//! payload, so a frame that ends up in another place, or a copy of one inside a payload, is not taken for one. The
//! length is repeated at the end, so that the last frame can be found from the end of the file.
//!
//! # Recovery
//!
//! A crash while appending leaves a tail that is no frame, which [`FramedLog::open`] cuts off and reports. Damage
//! with frames behind it is another matter, as cutting there would drop what was acknowledged: it is an error with
//! its offset, and the file stays as it is. A bad frame is the torn tail exactly when
//!
//! - all bytes from it to the end of the file are zero (the size of the file was written, its content was not), or
//! - what remains is no longer than one frame may be, its lengths do not agree or it reaches to the end or beyond,
//!   and no frame that begins after it ends with the file.
//!
//! Calls block on the disk; appending without sync takes microseconds.

mod error;
mod scan;
#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use self::scan::{FrameRead, Scan, Tail};
use crate::files::sync_dir_of;

pub use self::error::LogError;
pub use self::scan::Frames;

const MAGIC: [u8; 8] = *b"AGONLOG\0";
const VERSION: u32 = 1;
/// Bytes before the first frame, which is also the offset of the first frame.
pub const FILE_HEADER_BYTES: u64 = 12;
const FRAME_HEADER_BYTES: usize = 12;
const FRAME_TRAILER_BYTES: usize = 4;
/// Bytes that a frame takes beside its payload.
pub const FRAME_OVERHEAD_BYTES: u64 = (FRAME_HEADER_BYTES + FRAME_TRAILER_BYTES) as u64;

/// What a log is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of the largest payload. Longer ones are not appended, and a length beyond it in the file is damage; it
    /// bounds the memory of every read.
    pub frame_bytes_max: u32,
}

/// What opening a log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Whole frames in the log.
    pub frames: u64,
    /// Bytes of a torn tail that were cut off; 0 after an orderly end.
    pub truncated_bytes: u64,
}

/// One frame of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the file, which is what [`FramedLog::append`] returned for it.
    pub offset: u64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// A log that is open for appending; the only one for its file.
#[derive(Debug)]
pub struct FramedLog {
    place: Place,
    end: u64,
    poisoned: bool,
    /// Kept between appends, so that each is one write without allocation.
    buffer: Vec<u8>,
}

/// The open file, its name for messages and its limit.
#[derive(Debug)]
struct Place {
    file: File,
    path: PathBuf,
    options: LogOptions,
}

impl FramedLog {
    /// Opens the log at `path` for appending, creating it (mode 0600) where it is missing, reads every frame once to
    /// check it, and cuts off a torn tail.
    ///
    /// Memory is bounded by the longest frame.
    ///
    /// # Errors
    ///
    /// [`LogError::Damaged`] with the offset where a frame is bad that is not the tail; [`LogError::InUse`] when it
    /// is open for appending elsewhere; [`LogError::NotALog`], [`LogError::UnknownVersion`] for other files;
    /// [`LogError::Io`].
    pub fn open(path: &Path, options: LogOptions) -> Result<(Self, Recovery), LogError> {
        let place = Place::open_for_append(path, options)?;
        let (scanned, truncated_bytes) = match place.check_file_header()? {
            FileHeader::Whole => place.recover_frames()?,
            FileHeader::Torn { bytes } => (place.start_over()?, bytes),
        };
        let log = Self {
            place,
            end: scanned.end,
            poisoned: false,
            buffer: Vec::new(),
        };
        Ok((
            log,
            Recovery {
                frames: scanned.frames,
                truncated_bytes,
            },
        ))
    }

    /// Appends one frame and returns its offset. It survives the end of this process, but a power failure only once
    /// [`sync`](Self::sync) returned.
    ///
    /// # Errors
    ///
    /// [`LogError::FrameTooLong`]; [`LogError::Io`], after which the log is as before where that was possible and
    /// [`LogError::Poisoned`] where it was not.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, LogError> {
        self.refuse_if_poisoned()?;
        let length = self.place.length_of(payload)?;
        let offset = self.end;
        encode_frame(&mut self.buffer, offset, length, payload);
        if let Err(source) = self.place.file.write_all_at(&self.buffer, offset) {
            self.poisoned = self.place.file.set_len(offset).is_err();
            return Err(self.place.io("append to", source));
        }
        self.end = offset + FRAME_OVERHEAD_BYTES + u64::from(length);
        Ok(offset)
    }

    /// Makes everything appended so far survive a power failure.
    ///
    /// # Errors
    ///
    /// [`LogError::Io`]. What was not synced may then be lost although later syncs succeed, so the log takes no more
    /// frames ([`LogError::Poisoned`]) until it is opened again.
    pub fn sync(&mut self) -> Result<(), LogError> {
        self.refuse_if_poisoned()?;
        self.place.file.sync_data().map_err(|source| {
            self.poisoned = true;
            self.place.io("sync", source)
        })
    }

    /// [`append`](Self::append) and [`sync`](Self::sync).
    ///
    /// # Errors
    ///
    /// Those of both.
    pub fn append_synced(&mut self, payload: &[u8]) -> Result<u64, LogError> {
        let offset = self.append(payload)?;
        self.sync()?;
        Ok(offset)
    }

    /// The payload of the frame at `offset`.
    ///
    /// # Errors
    ///
    /// [`LogError::NoFrame`] beyond the end; [`LogError::Damaged`] where no frame begins or its checksum is wrong.
    pub fn read_at(&self, offset: u64) -> Result<Vec<u8>, LogError> {
        if offset < FILE_HEADER_BYTES || offset >= self.end {
            return Err(self.place.no_frame(offset, self.end));
        }
        let mut payload = Vec::new();
        match self.place.read_frame(offset, self.end, &mut payload)? {
            FrameRead::Whole { .. } => Ok(payload),
            _ => Err(LogError::Damaged {
                path: self.place.path.clone(),
                offset,
            }),
        }
    }

    /// The frames from the one at `offset` to the last appended when this was called; from
    /// [`FILE_HEADER_BYTES`], all.
    ///
    /// # Errors
    ///
    /// [`LogError::NoFrame`] beyond the end; [`LogError::Io`] when the file cannot be opened once more.
    pub fn frames_from(&self, offset: u64) -> Result<Frames, LogError> {
        if offset < FILE_HEADER_BYTES || offset > self.end {
            return Err(self.place.no_frame(offset, self.end));
        }
        let place = Place::open_for_reading(&self.place.path, self.place.options)?;
        Ok(Frames(Some(Scan::new(place, offset, self.end, Tail::Whole))))
    }

    /// The frames of the log at `path` up to its present end, without taking it from whoever writes it. The
    /// beginning of a frame at the end, torn or being written, is left out.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open), but for [`LogError::InUse`]; nothing is created.
    pub fn frames(path: &Path, options: LogOptions) -> Result<Frames, LogError> {
        let place = Place::open_for_reading(path, options)?;
        match place.check_file_header()? {
            FileHeader::Torn { .. } => Ok(Frames(None)),
            FileHeader::Whole => {
                let end = place.len()?;
                Ok(Frames(Some(Scan::new(
                    place,
                    FILE_HEADER_BYTES,
                    end,
                    Tail::MayBeTorn,
                ))))
            }
        }
    }

    /// The offset that the next frame will have.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Whether no frame was ever appended.
    pub fn is_empty(&self) -> bool {
        self.end == FILE_HEADER_BYTES
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.place.path
    }

    fn refuse_if_poisoned(&self) -> Result<(), LogError> {
        if self.poisoned {
            Err(LogError::Poisoned {
                path: self.place.path.clone(),
            })
        } else {
            Ok(())
        }
    }
}

fn encode_frame(buffer: &mut Vec<u8>, offset: u64, length: u32, payload: &[u8]) {
    buffer.clear();
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(&checksum(offset, payload));
    buffer.extend_from_slice(payload);
    buffer.extend_from_slice(&length.to_le_bytes());
}

fn checksum(offset: u64, payload: &[u8]) -> [u8; 8] {
    let hash = blake3::Hasher::new()
        .update(&offset.to_le_bytes())
        .update(payload)
        .finalize();
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

fn file_header() -> [u8; FILE_HEADER_BYTES as usize] {
    let mut header = [0; FILE_HEADER_BYTES as usize];
    header[..MAGIC.len()].copy_from_slice(&MAGIC);
    header[MAGIC.len()..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

enum FileHeader {
    Whole,
    /// The file is new, or its creation was interrupted.
    Torn {
        bytes: u64,
    },
}

/// How far a log is whole.
struct Scanned {
    frames: u64,
    end: u64,
}

impl Place {
    fn open_for_append(path: &Path, options: LogOptions) -> Result<Self, LogError> {
        let mut open = OpenOptions::new();
        let opened = open
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path);
        let place = Self::over(opened, path, options)?;
        match place.file.try_lock() {
            Ok(()) => Ok(place),
            Err(TryLockError::WouldBlock) => Err(LogError::InUse {
                path: path.to_owned(),
            }),
            Err(TryLockError::Error(source)) => Err(place.io("lock", source)),
        }
    }

    fn open_for_reading(path: &Path, options: LogOptions) -> Result<Self, LogError> {
        Self::over(File::open(path), path, options)
    }

    fn over(opened: io::Result<File>, path: &Path, options: LogOptions) -> Result<Self, LogError> {
        let path = path.to_owned();
        match opened {
            Ok(file) => Ok(Self { file, path, options }),
            Err(source) => Err(LogError::Io {
                action: "open",
                path,
                source,
            }),
        }
    }

    fn check_file_header(&self) -> Result<FileHeader, LogError> {
        let mut found = [0; FILE_HEADER_BYTES as usize];
        let bytes = self.len()?;
        let present = &mut found[..bytes.min(FILE_HEADER_BYTES) as usize];
        self.read(present, 0)?;
        let expected = file_header();
        if bytes < FILE_HEADER_BYTES {
            let torn = expected.starts_with(present) || present.iter().all(|byte| *byte == 0);
            return if torn {
                Ok(FileHeader::Torn { bytes })
            } else {
                Err(self.not_a_log())
            };
        }
        let (magic, version) = found.split_first_chunk().expect("the header has 12 bytes");
        if *magic != MAGIC {
            return Err(self.not_a_log());
        }
        match u32::from_le_bytes(version.try_into().expect("4 bytes follow the magic")) {
            VERSION => Ok(FileHeader::Whole),
            found => Err(LogError::UnknownVersion {
                path: self.path.clone(),
                found,
                known: VERSION,
            }),
        }
    }

    /// Writes the header of an empty log and makes the file itself durable.
    fn start_over(&self) -> Result<Scanned, LogError> {
        self.file
            .set_len(0)
            .and_then(|()| self.file.write_all_at(&file_header(), 0))
            .and_then(|()| self.file.sync_all())
            .and_then(|()| sync_dir_of(&self.path))
            .map_err(|source| self.io("create", source))?;
        Ok(Scanned {
            frames: 0,
            end: FILE_HEADER_BYTES,
        })
    }

    /// Reads all frames, cuts off what follows them, and says how many bytes that was.
    fn recover_frames(&self) -> Result<(Scanned, u64), LogError> {
        let len = self.len()?;
        let place = Self::open_for_reading(&self.path, self.options)?;
        let mut scan = Scan::new(place, FILE_HEADER_BYTES, len, Tail::MayBeTorn);
        let mut frames = 0;
        while scan.advance()? {
            frames += 1;
        }
        let end = scan.offset;
        if end < len {
            self.file
                .set_len(end)
                .and_then(|()| self.file.sync_all())
                .map_err(|source| self.io("cut the torn tail off", source))?;
        }
        Ok((Scanned { frames, end }, len - end))
    }

    fn length_of(&self, payload: &[u8]) -> Result<u32, LogError> {
        let bytes_max = self.options.frame_bytes_max;
        u32::try_from(payload.len())
            .ok()
            .filter(|length| *length <= bytes_max)
            .ok_or(LogError::FrameTooLong {
                bytes: payload.len(),
                bytes_max,
            })
    }

    fn len(&self) -> Result<u64, LogError> {
        self.file
            .metadata()
            .map(|metadata| metadata.len())
            .map_err(|source| self.io("read", source))
    }

    fn io(&self, action: &'static str, source: io::Error) -> LogError {
        LogError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }

    fn not_a_log(&self) -> LogError {
        LogError::NotALog {
            path: self.path.clone(),
        }
    }

    fn no_frame(&self, offset: u64, end: u64) -> LogError {
        LogError::NoFrame {
            path: self.path.clone(),
            offset,
            end,
        }
    }
}

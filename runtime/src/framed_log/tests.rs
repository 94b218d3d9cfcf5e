//! Every way to cut a small log, and a flipped bit at every place of one.

use std::fs;

use proptest::prelude::*;

use super::*;

const OPTIONS: LogOptions = LogOptions { frame_bytes_max: 64 };

/// A folder with one log file, which a test writes, damages and opens.
struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn with(payloads: &[Vec<u8>]) -> (Self, Vec<u64>) {
        let bench = Self::new();
        let (mut log, _) = bench.open().unwrap();
        let offsets = payloads
            .iter()
            .map(|payload| log.append(payload).unwrap())
            .collect();
        log.sync().unwrap();
        (bench, offsets)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn open(&self) -> Result<(FramedLog, Recovery), LogError> {
        FramedLog::open(&self.path(), OPTIONS)
    }

    fn bytes(&self) -> Vec<u8> {
        fs::read(self.path()).unwrap()
    }

    fn rewrite(&self, bytes: &[u8]) {
        fs::write(self.path(), bytes).unwrap();
    }
}

fn payloads_of(log: &FramedLog) -> Vec<Vec<u8>> {
    log.frames_from(FILE_HEADER_BYTES)
        .unwrap()
        .map(|frame| frame.unwrap().payload)
        .collect()
}

/// The payloads that lie wholly within the first `len` bytes, and where they end.
fn prefix(payloads: &[Vec<u8>], offsets: &[u64], len: u64) -> (Vec<Vec<u8>>, u64) {
    let end = |index: usize| offsets[index] + FRAME_OVERHEAD_BYTES + payloads[index].len() as u64;
    let count = (0..payloads.len()).take_while(|index| end(*index) <= len).count();
    let prefix_end = count.checked_sub(1).map_or(FILE_HEADER_BYTES, end);
    (payloads[..count].to_vec(), prefix_end)
}

/// What a log of `payloads` looks like, so that it is written durably once and not for every case.
struct Sample {
    payloads: Vec<Vec<u8>>,
    offsets: Vec<u64>,
    bytes: Vec<u8>,
}

impl Sample {
    fn of(payloads: Vec<Vec<u8>>) -> Self {
        let (bench, offsets) = Bench::with(&payloads);
        let bytes = bench.bytes();
        Self {
            payloads,
            offsets,
            bytes,
        }
    }
}

/// Opens the log of which only the first `len` bytes are left.
#[track_caller]
fn check_cut(sample: &Sample, len: usize) {
    let bench = Bench::new();
    bench.rewrite(&sample.bytes[..len]);
    let (expected, end) = prefix(&sample.payloads, &sample.offsets, len as u64);
    let kept = if (len as u64) < FILE_HEADER_BYTES { 0 } else { end };

    let live: Vec<_> = FramedLog::frames(&bench.path(), OPTIONS)
        .unwrap()
        .map(|f| f.unwrap().payload)
        .collect();
    assert_eq!(live, expected, "a reader sees the same frames, cut at {len}");

    let (mut log, recovery) = bench.open().unwrap();
    assert_eq!(
        recovery,
        Recovery {
            frames: expected.len() as u64,
            truncated_bytes: len as u64 - kept
        },
        "cut at {len}"
    );
    assert_eq!(payloads_of(&log), expected, "cut at {len}");
    log.append_synced(b"goes on").unwrap();
    drop(log);
    let (log, recovery) = bench.open().unwrap();
    assert_eq!(
        (
            recovery.truncated_bytes,
            payloads_of(&log).last().unwrap().as_slice()
        ),
        (0, &b"goes on"[..])
    );
}

/// Opens the log in which the byte at `position` is changed by `mask`.
#[track_caller]
fn check_flip(sample: &Sample, position: usize, mask: u8) {
    let (payloads, offsets) = (&sample.payloads, &sample.offsets);
    let bench = Bench::new();
    let mut bytes = sample.bytes.clone();
    bytes[position] ^= mask;
    bench.rewrite(&bytes);
    let bad = offsets
        .iter()
        .rposition(|offset| *offset <= position as u64)
        .unwrap();
    if bad + 1 < payloads.len() {
        let error = bench.open().unwrap_err();
        let expected = offsets[bad];
        assert!(
            matches!(error, LogError::Damaged { offset, .. } if offset == expected),
            "{position}: {error}"
        );
        assert_eq!(bench.bytes(), bytes, "a damaged file is left as it is");
    } else {
        let (log, recovery) = bench.open().unwrap();
        assert_eq!(
            recovery.truncated_bytes,
            bytes.len() as u64 - offsets[bad],
            "flip at {position}"
        );
        assert_eq!(payloads_of(&log), payloads[..bad]);
    }
}

fn small_log() -> Vec<Vec<u8>> {
    vec![b"first".to_vec(), vec![], vec![0; 64], b"the last one".to_vec()]
}

#[test]
fn a_log_cut_anywhere_keeps_exactly_the_whole_frames_before_the_cut() {
    let sample = Sample::of(small_log());
    for len in 0..=sample.bytes.len() {
        check_cut(&sample, len);
    }
}

#[test]
fn a_flipped_bit_is_an_error_with_its_offset_unless_it_is_in_the_last_frame() {
    let sample = Sample::of(small_log());
    for position in FILE_HEADER_BYTES as usize..sample.bytes.len() {
        for bit in 0..8 {
            check_flip(&sample, position, 1 << bit);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_log_cut_anywhere_keeps_its_prefix(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=64), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 4),
    ) {
        let sample = Sample::of(payloads);
        for cut in cuts {
            check_cut(&sample, cut.index(sample.bytes.len() + 1));
        }
    }

    #[test]
    fn any_log_notices_a_changed_byte(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..=64), 1..6),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 1..=u8::MAX), 8),
    ) {
        let sample = Sample::of(payloads);
        let frames_bytes = sample.bytes.len() - FILE_HEADER_BYTES as usize;
        for (place, mask) in changes {
            check_flip(&sample, FILE_HEADER_BYTES as usize + place.index(frames_bytes), mask);
        }
    }
}

#[test]
fn a_tail_of_zeros_is_cut_off_however_long_it_is() {
    for zeros in [1, 15, 16, 100_000] {
        let (bench, _) = Bench::with(&small_log());
        let mut bytes = bench.bytes();
        bytes.resize(bytes.len() + zeros, 0);
        bench.rewrite(&bytes);
        let (log, recovery) = bench.open().unwrap();
        assert_eq!(
            recovery,
            Recovery {
                frames: 4,
                truncated_bytes: zeros as u64
            }
        );
        assert_eq!(payloads_of(&log), small_log());
    }
}

#[test]
fn garbage_longer_than_a_frame_is_damage_not_a_tail() {
    let (bench, _) = Bench::with(&small_log());
    let mut bytes = bench.bytes();
    let end = bytes.len() as u64;
    bytes.resize(bytes.len() + 64 + 17, 0xa5);
    bench.rewrite(&bytes);
    assert!(matches!(bench.open(), Err(LogError::Damaged { offset, .. }) if offset == end));
}

#[test]
fn a_frame_copied_to_another_place_is_not_one() {
    let (bench, offsets) = Bench::with(&[b"aa".to_vec(), b"bb".to_vec()]);
    let mut bytes = bench.bytes();
    let (first, second) = (offsets[0] as usize, offsets[1] as usize);
    bytes.copy_within(first..second, second);
    bench.rewrite(&bytes);
    let (log, recovery) = bench.open().unwrap();
    assert_eq!((recovery.frames, payloads_of(&log)), (1, vec![b"aa".to_vec()]));
}

#[test]
fn frames_are_read_by_the_offset_that_append_gave() {
    let (bench, offsets) = Bench::with(&small_log());
    let (log, recovery) = bench.open().unwrap();
    assert_eq!(
        recovery,
        Recovery {
            frames: 4,
            truncated_bytes: 0
        }
    );
    for (offset, payload) in offsets.iter().zip(small_log()) {
        assert_eq!(log.read_at(*offset).unwrap(), payload);
    }
    let from_third: Vec<_> = log
        .frames_from(offsets[2])
        .unwrap()
        .map(|frame| frame.unwrap().offset)
        .collect();
    assert_eq!(from_third, offsets[2..]);
    assert_eq!(log.frames_from(log.end()).unwrap().count(), 0);
}

#[test]
fn an_offset_where_no_frame_begins_is_refused() {
    let (bench, offsets) = Bench::with(&small_log());
    let (log, _) = bench.open().unwrap();
    for offset in [0, 11, log.end(), u64::MAX] {
        assert!(
            matches!(log.read_at(offset), Err(LogError::NoFrame { .. })),
            "{offset}"
        );
    }
    for offset in offsets[0] + 1..log.end() {
        let is_frame = offsets.contains(&offset);
        assert_eq!(log.read_at(offset).is_ok(), is_frame, "{offset}");
        assert_eq!(
            log.frames_from(offset).unwrap().next().unwrap().is_ok(),
            is_frame,
            "{offset}"
        );
    }
}

#[test]
fn a_log_has_one_writer_and_any_number_of_readers() {
    let bench = Bench::new();
    let (mut log, recovery) = bench.open().unwrap();
    assert_eq!(
        (log.is_empty(), recovery),
        (
            true,
            Recovery {
                frames: 0,
                truncated_bytes: 0
            }
        )
    );
    assert!(matches!(bench.open(), Err(LogError::InUse { .. })));
    log.append(b"seen at once").unwrap();
    assert_eq!(FramedLog::frames(&bench.path(), OPTIONS).unwrap().count(), 1);
    let reader = log.frames_from(FILE_HEADER_BYTES).unwrap();
    drop(log);
    bench.open().unwrap();
    assert_eq!(reader.count(), 1);
}

#[test]
fn a_frame_as_long_as_allowed_fits_and_a_longer_one_is_refused() {
    let bench = Bench::new();
    let (mut log, _) = bench.open().unwrap();
    log.append(&[1; 64]).unwrap();
    assert!(matches!(
        log.append(&[1; 65]),
        Err(LogError::FrameTooLong {
            bytes: 65,
            bytes_max: 64
        })
    ));
    log.append(b"and on").unwrap();
    assert_eq!(payloads_of(&log).len(), 2);
}

#[test]
fn other_files_and_other_versions_are_refused_untouched() {
    let newer = [&MAGIC[..], &2u32.to_le_bytes(), b"x"].concat();
    for (bytes, message) in [
        (&b"hello"[..], "not a log"),
        (b"a longer text than a header", "not a log"),
        (&newer, "has format 2, this program reads format 1"),
    ] {
        let bench = Bench::new();
        bench.rewrite(bytes);
        let error = bench.open().unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
        assert_eq!(bench.bytes(), bytes);
    }
}

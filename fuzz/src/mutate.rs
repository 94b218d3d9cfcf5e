//! Inputs made of other inputs: a few small changes at a time, as damage, liars and bugs make them.

use rand_chacha::ChaCha8Rng;
use rand_core::RngCore;

/// Most changes made to one input.
const CHANGES_MAX: usize = 6;
/// Most bytes of a piece that is put in, taken out or copied.
const PIECE_BYTES_MAX: usize = 64;
/// Numbers at which code goes wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    2,
    16,
    32,
    64,
    100,
    255,
    1_000,
    65_535,
    i32::MAX as u64,
    u32::MAX as u64,
    i64::MAX as u64,
    u64::MAX,
];

/// A stream of chances.
#[derive(Debug)]
pub(crate) struct Chance(ChaCha8Rng);

impl Chance {
    pub(crate) fn new(rng: ChaCha8Rng) -> Self {
        Self(rng)
    }

    /// A number below `bound`, or 0 where there is none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        match bound {
            0 => 0,
            bound => usize::try_from(self.0.next_u64() % bound as u64).unwrap_or(0),
        }
    }

    fn byte(&mut self) -> u8 {
        self.0.next_u32().to_le_bytes()[0]
    }
}

/// `input` with a few changes, of at most `bytes_max` bytes; `other` lends pieces.
pub(crate) fn mutate(chance: &mut Chance, input: &[u8], other: &[u8], bytes_max: usize) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=chance.below(CHANGES_MAX) {
        change(chance, &mut bytes, other);
    }
    bytes.truncate(bytes_max);
    bytes
}

fn change(chance: &mut Chance, bytes: &mut Vec<u8>, other: &[u8]) {
    match chance.below(10) {
        0 | 1 => flip(chance, bytes),
        2 => {
            let (at, value) = (chance.below(bytes.len()), chance.byte());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
        }
        3 => {
            let piece: Vec<u8> = (0..=chance.below(8)).map(|_| chance.byte()).collect();
            insert(chance, bytes, &piece);
        }
        4 => drop(bytes.drain(range(chance, bytes.len()))),
        5 => {
            let piece = bytes[range(chance, bytes.len())].to_vec();
            insert(chance, bytes, &piece);
        }
        6 => {
            let piece = other[range(chance, other.len())].to_vec();
            insert(chance, bytes, &piece);
        }
        7 => {
            let piece = other[range(chance, other.len())].to_vec();
            overwrite(chance, bytes, &piece);
        }
        8 => {
            let number = NUMBERS[chance.below(NUMBERS.len())].to_le_bytes();
            let width = 1 << chance.below(4);
            overwrite(chance, bytes, &number[..width]);
        }
        _ => add(chance, bytes),
    }
}

fn flip(chance: &mut Chance, bytes: &mut [u8]) {
    let (at, bit) = (chance.below(bytes.len()), chance.below(8));
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << bit;
    }
}

/// Counts a byte up or down by a little: lengths and tags are near each other.
fn add(chance: &mut Chance, bytes: &mut [u8]) {
    let (at, by) = (chance.below(bytes.len()), chance.byte() % 9);
    if let Some(byte) = bytes.get_mut(at) {
        *byte = byte.wrapping_add(by).wrapping_sub(4);
    }
}

fn insert(chance: &mut Chance, bytes: &mut Vec<u8>, piece: &[u8]) {
    let at = chance.below(bytes.len() + 1);
    bytes.splice(at..at, piece.iter().copied());
}

fn overwrite(chance: &mut Chance, bytes: &mut [u8], piece: &[u8]) {
    let at = chance.below(bytes.len());
    for (byte, new) in bytes[at..].iter_mut().zip(piece) {
        *byte = *new;
    }
}

fn range(chance: &mut Chance, len: usize) -> std::ops::Range<usize> {
    let start = chance.below(len);
    let bytes = chance.below(PIECE_BYTES_MAX.min(len - start) + 1);
    start..start + bytes
}

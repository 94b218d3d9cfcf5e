//! Keys of the table: a kind byte and big-endian fields, so that byte order is the order of the fields.

use agon_protocol::id::{Account, Coldkey, ConsensusKey, Hotkey, Netuid, Uid};

/// A field of a key, or several in a row: fixed length, ordered by its bytes.
pub(crate) trait KeyField: Sized {
    /// Appends the field's bytes.
    fn write(&self, bytes: &mut Vec<u8>);

    /// Takes the field off the front of `bytes`; `None` when they are too few.
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

fn take<const LEN: usize>(bytes: &mut &[u8]) -> Option<[u8; LEN]> {
    let (field, rest) = bytes.split_first_chunk::<LEN>()?;
    *bytes = rest;
    Some(*field)
}

macro_rules! key_field {
    ($($name:ident($inner:ty, $len:literal)),*) => {
        $(impl KeyField for $name {
            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.0.to_be_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                take::<$len>(bytes).map(|field| Self(<$inner>::from_be_bytes(field)))
            }
        })*
    };
}

macro_rules! key_bytes {
    ($($name:ident),*) => {
        $(impl KeyField for $name {
            fn write(&self, bytes: &mut Vec<u8>) {
                bytes.extend_from_slice(&self.0);
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                take(bytes).map(Self)
            }
        })*
    };
}

key_field!(Netuid(u16, 2), Uid(u16, 2));
key_bytes!(Account, Coldkey, ConsensusKey, Hotkey);

impl KeyField for u64 {
    fn write(&self, bytes: &mut Vec<u8>) {
        bytes.extend_from_slice(&self.to_be_bytes());
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        take(bytes).map(Self::from_be_bytes)
    }
}

impl KeyField for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl<A: KeyField, B: KeyField> KeyField for (A, B) {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?))
    }
}

impl<A: KeyField, B: KeyField, C: KeyField> KeyField for (A, B, C) {
    fn write(&self, bytes: &mut Vec<u8>) {
        self.0.write(bytes);
        self.1.write(bytes);
        self.2.write(bytes);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::read(bytes)?, B::read(bytes)?, C::read(bytes)?))
    }
}

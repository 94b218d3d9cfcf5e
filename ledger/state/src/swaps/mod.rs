//! Keys that take the place of others: a hotkey's at once, a coldkey's after a delay in which it can be disputed.

mod coldkey;
mod hotkey;

pub(crate) use self::coldkey::ColdkeySwap;
pub use self::coldkey::{
    AnnounceColdkeySwapRefusal, COLDKEY_SWAP_ENTRIES_MAX, ColdkeyHandover, ColdkeySwapAnnouncement,
    DisputeColdkeySwapRefusal, ExecuteColdkeySwapRefusal, NoSwap,
};
pub(crate) use self::hotkey::Retired;
pub use self::hotkey::{HotkeySwap, SwapHotkeyRefusal};

//! What a process needs of the wallets that works with a hotkey: the key, and where to keep what is its own.

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Wallet, WalletError};
use crate::id::{Hotkey, Netuid};
use crate::sign::Keypair;

/// The names of a hotkey and of the wallet that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotkeyName<'a> {
    /// Of the wallet.
    pub wallet: &'a str,
    /// Of the hotkey in it.
    pub hotkey: &'a str,
}

/// Why a hotkey cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HotkeyError {
    /// The wallet cannot be opened.
    #[error("open wallet {wallet}")]
    Wallet {
        /// Its name.
        wallet: String,
        /// What is wrong with it.
        source: Box<WalletError>,
    },
    /// The hotkey cannot be read.
    #[error("read hotkey {hotkey} of wallet {wallet}")]
    Hotkey {
        /// Its name.
        hotkey: String,
        /// The wallet's name.
        wallet: String,
        /// What is wrong with it.
        source: Box<WalletError>,
    },
}

impl HotkeyName<'_> {
    /// Reads the hotkey from the wallet in the folder `wallets`.
    ///
    /// # Errors
    ///
    /// [`HotkeyError`].
    pub fn read(&self, wallets: &Path) -> Result<Keypair, HotkeyError> {
        let (wallet, hotkey) = (self.wallet.to_owned(), self.hotkey.to_owned());
        match Wallet::open(wallets, self.wallet) {
            Ok(opened) => opened.hotkey(self.hotkey).map_err(|source| HotkeyError::Hotkey {
                hotkey,
                wallet,
                source: Box::new(source),
            }),
            Err(source) => Err(HotkeyError::Wallet {
                wallet,
                source: Box::new(source),
            }),
        }
    }
}

/// Where a process that is a `role` on a subnet keeps what is its own: `ROLE-NETUID-HOTKEY` beside the folder
/// `wallets`.
#[must_use]
pub fn role_folder(wallets: &Path, role: &str, netuid: Netuid, hotkey: Hotkey) -> PathBuf {
    let base = wallets.parent().unwrap_or(wallets);
    base.join(format!("{role}-{netuid}-{hotkey}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_keeps_its_files_beside_the_wallets() {
        let folder = role_folder(Path::new("/x/wallets"), "miner", Netuid(3), Hotkey([7; 32]));
        let expected = format!("/x/miner-3-{}", Hotkey([7; 32]));
        assert_eq!(folder, Path::new(&expected));
    }

    #[test]
    fn what_is_missing_is_told_by_name() {
        let here = tempfile::tempdir().unwrap();
        let name = HotkeyName {
            wallet: "w",
            hotkey: "h",
        };
        let error = name.read(here.path()).unwrap_err();
        assert_eq!(error.to_string(), "open wallet w");
        std::fs::create_dir(here.path().join("w")).unwrap();
        let error = name.read(here.path()).unwrap_err();
        assert_eq!(error.to_string(), "read hotkey h of wallet w");
    }
}

//! Free balances, nonces, transfers, and which coldkey a hotkey belongs to.
//!
//! Hotkeys and coldkeys share one space of accounts: either may sign, so either has a nonce.

use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, Coldkey, Hotkey};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::refusal::{NotHotkeyOwner, ShortOfFunds};
use crate::supply::{minus, plus};
use crate::table::Entry;

/// What the ledger keeps of an account; one that never held or signed anything has no entry.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct AccountRecord {
    /// How many of its transactions were applied.
    pub(crate) nonce: u64,
    /// What it can spend.
    pub(crate) free: Amount,
}

impl Entry for AccountRecord {
    type Key = Account;
    const KIND: u8 = 0x02;
    const HELD: Option<fn(&Self) -> u128> = Some(|account| account.free.base_units().into());
}

/// The coldkey a hotkey belongs to; kept when the hotkey loses its UID, since its stake stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct HotkeyOwner {
    pub(crate) coldkey: Coldkey,
    /// The hotkey whose name its stake pools have: itself, or the first of the hotkeys it replaced.
    pub(crate) pools: Hotkey,
}

impl Entry for HotkeyOwner {
    type Key = Hotkey;
    const KIND: u8 = 0x03;
}

/// Index of [`HotkeyOwner`] by coldkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct OwnedHotkey;

impl Entry for OwnedHotkey {
    type Key = (Coldkey, Hotkey);
    const KIND: u8 = 0x20;
}

/// Why a transfer is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferRefusal {
    /// Nothing would move.
    #[error("the amount is 0: transfer at least {}", Amount::from_base_units(1))]
    Nothing,
    /// The free balance is too small.
    #[error(transparent)]
    Balance(#[from] ShortOfFunds),
    /// The receiver would have too little to exist.
    #[error(
        "{to} would have {holds}, less than the existential deposit of {deposit}: transfer at least {amount_min}"
    )]
    DustMade {
        /// Who would receive.
        to: Coldkey,
        /// What it would have.
        holds: Amount,
        /// The smallest free balance besides none.
        deposit: Amount,
        /// The least to transfer.
        amount_min: Amount,
    },
    /// The sender would have too little left to exist.
    #[error(
        "{from} would be left with {left}, less than the existential deposit of {deposit}: transfer {amount_all} to \
         empty the account, or at most {amount_keep} to keep it"
    )]
    DustLeft {
        /// Who would send.
        from: Coldkey,
        /// What would be left after transfer and fee.
        left: Amount,
        /// The smallest free balance besides none.
        deposit: Amount,
        /// What empties the account, whose nonce stays.
        amount_all: Amount,
        /// The most that leaves it the deposit.
        amount_keep: Amount,
    },
}

impl TransferRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Nothing => "amount",
            Self::Balance(_) => ShortOfFunds::RULE,
            Self::DustMade { .. } | Self::DustLeft { .. } => "existential deposit",
        }
    }

    /// The refusal of a transfer after which its sender would have `left`, more than none and less than `deposit`.
    pub(crate) fn dust_left(transfer: &Transfer, left: Amount, deposit: Amount) -> Self {
        let missing = deposit.saturating_sub(left);
        Self::DustLeft {
            from: transfer.from,
            left,
            deposit,
            amount_all: transfer.amount.saturating_add(left),
            amount_keep: transfer.amount.saturating_sub(missing),
        }
    }
}

/// An accepted transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who pays.
    pub from: Coldkey,
    /// Who receives.
    pub to: Coldkey,
    /// How much.
    pub amount: Amount,
}

impl State {
    pub(crate) fn check_transfer(
        &self,
        from: Coldkey,
        to: Coldkey,
        amount: Amount,
    ) -> Result<Transfer, TransferRefusal> {
        if amount.is_zero() {
            return Err(TransferRefusal::Nothing);
        }
        self.check_free(from, amount)?;
        let (deposit, holds) = (self.existential_deposit(), self.account_record(to.into()).free);
        let holds_then = plus(holds, amount);
        if to != from && holds_then < deposit {
            return Err(TransferRefusal::DustMade {
                to,
                holds: holds_then,
                deposit,
                amount_min: minus(deposit, holds),
            });
        }
        Ok(Transfer { from, to, amount })
    }

    pub(crate) fn transfer(&mut self, transfer: &Transfer) {
        self.debit(transfer.from, transfer.amount);
        self.credit(transfer.to, transfer.amount);
    }

    pub(crate) fn account_record(&self, account: Account) -> AccountRecord {
        self.table.read(&account).unwrap_or_default()
    }

    /// Checks that `needed` can be taken from a free balance.
    pub(crate) fn check_free(&self, coldkey: Coldkey, needed: Amount) -> Result<(), ShortOfFunds> {
        let free = self.account_record(coldkey.into()).free;
        if free < needed {
            Err(ShortOfFunds { free, needed })
        } else {
            Ok(())
        }
    }

    pub(crate) fn credit(&mut self, coldkey: Coldkey, amount: Amount) {
        self.update_account(coldkey.into(), |record| record.free = plus(record.free, amount));
    }

    /// Takes what [`State::check_free`] found to be there.
    pub(crate) fn debit(&mut self, coldkey: Coldkey, amount: Amount) {
        self.update_account(coldkey.into(), |record| record.free = minus(record.free, amount));
    }

    pub(crate) fn advance_nonce(&mut self, account: Account) {
        self.update_account(account, |record| record.nonce = record.nonce.saturating_add(1));
    }

    /// The coldkey of a hotkey that was registered, or joined the committee, at some time.
    pub(crate) fn hotkey_owner(&self, hotkey: Hotkey) -> Option<Coldkey> {
        self.table.read::<HotkeyOwner>(&hotkey).map(|owner| owner.coldkey)
    }

    /// Checks that a hotkey belongs to `signer`.
    pub(crate) fn check_hotkey_owner(&self, hotkey: Hotkey, signer: Coldkey) -> Result<(), NotHotkeyOwner> {
        match self.hotkey_owner(hotkey) {
            Some(coldkey) if coldkey == signer => Ok(()),
            owner => Err(NotHotkeyOwner { hotkey, owner }),
        }
    }

    /// Gives a hotkey that nobody owns to a coldkey; one that is owned stays as it is.
    pub(crate) fn own_hotkey(&mut self, hotkey: Hotkey, coldkey: Coldkey) {
        if !self.table.has::<HotkeyOwner>(&hotkey) {
            self.write_owner(
                hotkey,
                HotkeyOwner {
                    coldkey,
                    pools: hotkey,
                },
            );
        }
    }

    /// Writes the owner of a hotkey that has none.
    pub(crate) fn write_owner(&mut self, hotkey: Hotkey, owner: HotkeyOwner) {
        self.table.write(&hotkey, &owner);
        self.table.write(&(owner.coldkey, hotkey), &OwnedHotkey);
    }

    /// Takes a hotkey from its owner.
    pub(crate) fn take_owner(&mut self, hotkey: Hotkey) -> HotkeyOwner {
        let owner: HotkeyOwner = self.table.read(&hotkey).expect("a check found the hotkey owned");
        self.table.remove::<HotkeyOwner>(&hotkey);
        self.table.remove::<OwnedHotkey>(&(owner.coldkey, hotkey));
        owner
    }

    fn update_account(&mut self, account: Account, update: impl FnOnce(&mut AccountRecord)) {
        let mut record = self.account_record(account);
        update(&mut record);
        if record == AccountRecord::default() {
            self.table.remove::<AccountRecord>(&account);
        } else {
            self.table.write(&account, &record);
        }
    }
}

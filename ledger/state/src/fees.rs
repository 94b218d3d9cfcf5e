//! Fees: what a transaction costs, who pays, and when it is refused for it.
//!
//! A transaction costs the fee of each of its bytes, signature included; the fee is burned when the transaction is
//! applied. What is refused costs nothing, since blocks hold applied transactions only. A coldkey pays for what it
//! signs; the coldkey that owns a hotkey pays for what the hotkey signs, so hotkeys need no balance of their own. Who
//! takes over from another coldkey pays for that, whichever of the two signs.
//!
//! Evidence costs no fee ([`is_free`]): a validator owes it, can send it once in a tempo, and cannot choose how long it
//! is. Nor does a pulse that something waits for: there is one of each round.
//!
//! The fee is taken last, out of what the call leaves: whoever takes back stake can pay from it.
//!
//! # Dust
//!
//! A free balance is nothing or at least the existential deposit. A transaction after which its payer would have
//! less is refused. Pay from an epoch or a dissolved subnet that is too small to begin an account with is burned.

use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, Coldkey, Hotkey};
use agon_protocol::message::{Call, Signed, Transaction};
use thiserror::Error;

use crate::State;
use crate::accounts::TransferRefusal;
use crate::effect::Effect;
use crate::parameters::NetworkParameterId;
use crate::refusal::Refusal;
use crate::supply::{minus, plus};
use crate::swaps::ColdkeySwap;

/// Bytes of a signature, which the fee counts.
const SIGNATURE_BYTES: u64 = 64;

/// Why a transaction is refused that could be carried out, but not paid for.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeeRefusal {
    /// The payer has too little.
    #[error(
        "the fee is {fee}, paid by {payer}, which has {free}, after the call {rest}: add {} first",
        .fee.saturating_sub(*.rest)
    )]
    Short {
        /// The fee.
        fee: Amount,
        /// Who would pay it.
        payer: Coldkey,
        /// What the payer has.
        free: Amount,
        /// What the payer has after the call.
        rest: Amount,
    },
    /// The payer would have too little left to exist.
    #[error(
        "the fee is {fee}, paid by {payer}, which has {free} and would be left with {left}, less than the existential \
         deposit of {deposit}: add {} first, or spend the rest as well", .deposit.saturating_sub(*.left)
    )]
    Dust {
        /// The fee.
        fee: Amount,
        /// Who would pay it.
        payer: Coldkey,
        /// What the payer has.
        free: Amount,
        /// What it would have after call and fee.
        left: Amount,
        /// The smallest free balance besides none.
        deposit: Amount,
    },
}

impl FeeRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Short { .. } => "fee",
            Self::Dust { .. } => "existential deposit",
        }
    }
}

impl State {
    /// What a transaction costs when it is applied: the fee of each of its bytes, signature included, or nothing where
    /// the ledger has asked for it.
    #[must_use]
    pub fn fee(&self, tx: &Signed<Transaction>) -> Amount {
        if is_free(&tx.message().call) {
            return Amount::ZERO;
        }
        let bytes = SIGNATURE_BYTES.saturating_add(tx.bytes().len() as u64);
        let per_byte = self.network(NetworkParameterId::FeePerByte);
        Amount::from_base_units(bytes.saturating_mul(per_byte))
    }

    /// Who pays for a call: its coldkey, the coldkey of the hotkey that signs it, or the one that takes over. A hotkey
    /// that nobody owns would pay itself.
    pub(crate) fn payer(&self, signer: Account, call: &Call) -> Coldkey {
        let own = Coldkey(signer.0);
        if let Call::ExecuteColdkeySwap { coldkey } = call {
            let swap: Option<ColdkeySwap> = self.table.read(coldkey);
            return swap.map_or(own, |swap| swap.new_coldkey);
        }
        let may_be_hotkey = call.is_signed_by_hotkey() || matches!(call, Call::ReportForgery { .. });
        if may_be_hotkey {
            self.hotkey_owner(Hotkey(signer.0)).unwrap_or(own)
        } else {
            own
        }
    }

    /// Checks that `payer` has the fee after `effect`, and then nothing or enough to exist.
    pub(crate) fn check_fee(&self, payer: Coldkey, fee: Amount, effect: &Effect) -> Result<(), Refusal> {
        let free = self.account_record(payer.into()).free;
        let (spent, gained) = effect.free_balance();
        let rest = minus(plus(free, gained), spent);
        let Some(left) = rest.checked_sub(fee) else {
            let short = FeeRefusal::Short {
                fee,
                payer,
                free,
                rest,
            };
            return Err(short.into());
        };
        let deposit = self.existential_deposit();
        if left.is_zero() || left >= deposit {
            return Ok(());
        }
        Err(match effect {
            Effect::Transfer(transfer) => TransferRefusal::dust_left(transfer, left, deposit).into(),
            _ => FeeRefusal::Dust {
                fee,
                payer,
                free,
                left,
                deposit,
            }
            .into(),
        })
    }

    pub(crate) fn charge(&mut self, payer: Coldkey, fee: Amount) {
        self.debit(payer, fee);
        self.burn(fee);
    }

    /// Adds pay to a free balance; burns it where it is too little to begin an account with, and gives what was
    /// burned.
    pub(crate) fn pay_out(&mut self, coldkey: Coldkey, amount: Amount) -> Amount {
        let free = self.account_record(coldkey.into()).free;
        if plus(free, amount) < self.existential_deposit() {
            self.burn(amount);
            return amount;
        }
        self.credit(coldkey, amount);
        Amount::ZERO
    }

    pub(crate) fn existential_deposit(&self) -> Amount {
        self.network_amount(NetworkParameterId::ExistentialDeposit)
    }
}

/// Whether the ledger has asked for what a call carries, so that it applies once at most: evidence is owed by its
/// signer, and a pulse by nobody.
const fn is_free(call: &Call) -> bool {
    matches!(
        call,
        Call::CommitEvidence { .. } | Call::OpenEvidence { .. } | Call::PublishPulse { .. }
    )
}

//! Who holds what: accounts, stake, the committee.

use super::{amount, key, list, netuid, v1};
use crate::id::{Account, BlockNumber, Coldkey, ConsensusKey, Hotkey};
use crate::message::{
    AccountView, ColdkeySwapView, ColdkeyView, CommitteeView, MessageError, OwnedHotkeyView, SeatView,
    StakeView,
};

impl From<AccountView> for v1::Account {
    fn from(view: AccountView) -> Self {
        Self {
            account: view.account.0.to_vec(),
            nonce: view.nonce,
            free: view.free.base_units(),
            stakes: view.stakes.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Account> for AccountView {
    type Error = MessageError;

    fn try_from(wire: v1::Account) -> Result<Self, MessageError> {
        Ok(Self {
            account: Account(key("account", &wire.account)?),
            nonce: wire.nonce,
            free: amount(wire.free),
            stakes: list("stakes", wire.stakes)?,
        })
    }
}

impl From<StakeView> for v1::Stake {
    fn from(view: StakeView) -> Self {
        Self {
            netuid: view.netuid.0.into(),
            hotkey: view.hotkey.0.to_vec(),
            amount: view.amount.base_units(),
        }
    }
}

impl TryFrom<v1::Stake> for StakeView {
    type Error = MessageError;

    fn try_from(wire: v1::Stake) -> Result<Self, MessageError> {
        Ok(Self {
            netuid: netuid(wire.netuid)?,
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            amount: amount(wire.amount),
        })
    }
}

impl From<CommitteeView> for v1::Committee {
    fn from(view: CommitteeView) -> Self {
        Self {
            height: view.height.0,
            next_era: view.next_era.0,
            seats: view.seats.into_iter().map(Into::into).collect(),
        }
    }
}

impl TryFrom<v1::Committee> for CommitteeView {
    type Error = MessageError;

    fn try_from(wire: v1::Committee) -> Result<Self, MessageError> {
        Ok(Self {
            height: BlockNumber(wire.height),
            next_era: BlockNumber(wire.next_era),
            seats: list("seats", wire.seats)?,
        })
    }
}

impl From<SeatView> for v1::Seat {
    fn from(view: SeatView) -> Self {
        Self {
            hotkey: view.hotkey.0.to_vec(),
            coldkey: view.coldkey.0.to_vec(),
            consensus_key: view.consensus_key.0.to_vec(),
            bond: view.bond.base_units(),
            power: view.power,
            voting_power: view.voting_power,
            ready_until: view.ready_until.0,
            leaving: view.leaving.map(|since| since.0),
        }
    }
}

impl TryFrom<v1::Seat> for SeatView {
    type Error = MessageError;

    fn try_from(wire: v1::Seat) -> Result<Self, MessageError> {
        Ok(Self {
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            coldkey: Coldkey(key("coldkey", &wire.coldkey)?),
            consensus_key: ConsensusKey(key("consensus_key", &wire.consensus_key)?),
            bond: amount(wire.bond),
            power: wire.power,
            voting_power: wire.voting_power,
            ready_until: BlockNumber(wire.ready_until),
            leaving: wire.leaving.map(BlockNumber),
        })
    }
}

impl From<ColdkeyView> for v1::ColdkeyReply {
    fn from(view: ColdkeyView) -> Self {
        Self {
            height: view.height.0,
            coldkey: view.coldkey.0.to_vec(),
            hotkeys: view.hotkeys.into_iter().map(Into::into).collect(),
            hotkey_count: view.hotkey_count,
            swap: view.swap.map(Into::into),
        }
    }
}

impl TryFrom<v1::ColdkeyReply> for ColdkeyView {
    type Error = MessageError;

    fn try_from(wire: v1::ColdkeyReply) -> Result<Self, MessageError> {
        Ok(Self {
            height: BlockNumber(wire.height),
            coldkey: Coldkey(key("coldkey", &wire.coldkey)?),
            hotkeys: list("hotkeys", wire.hotkeys)?,
            hotkey_count: wire.hotkey_count,
            swap: wire.swap.map(TryInto::try_into).transpose()?,
        })
    }
}

impl From<OwnedHotkeyView> for v1::OwnedHotkey {
    fn from(view: OwnedHotkeyView) -> Self {
        Self {
            hotkey: view.hotkey.0.to_vec(),
            take_ppm: view.take_ppm,
            take_changed: view.take_changed.map(|height| height.0),
            raise_from: view.raise_from.0,
        }
    }
}

impl TryFrom<v1::OwnedHotkey> for OwnedHotkeyView {
    type Error = MessageError;

    fn try_from(wire: v1::OwnedHotkey) -> Result<Self, MessageError> {
        Ok(Self {
            hotkey: Hotkey(key("hotkey", &wire.hotkey)?),
            take_ppm: wire.take_ppm,
            take_changed: wire.take_changed.map(BlockNumber),
            raise_from: BlockNumber(wire.raise_from),
        })
    }
}

impl From<ColdkeySwapView> for v1::ColdkeySwap {
    fn from(view: ColdkeySwapView) -> Self {
        Self {
            new_coldkey: view.new_coldkey.0.to_vec(),
            due: view.due.0,
            disputed: view.disputed.map(|height| height.0),
            announce_from: view.announce_from.map(|height| height.0),
        }
    }
}

impl TryFrom<v1::ColdkeySwap> for ColdkeySwapView {
    type Error = MessageError;

    fn try_from(wire: v1::ColdkeySwap) -> Result<Self, MessageError> {
        Ok(Self {
            new_coldkey: Coldkey(key("new_coldkey", &wire.new_coldkey)?),
            due: BlockNumber(wire.due),
            disputed: wire.disputed.map(BlockNumber),
            announce_from: wire.announce_from.map(BlockNumber),
        })
    }
}

//! A coldkey that hands over to another: announced, delayed, disputable.
//!
//! - The old coldkey announces who takes over. Nothing else changes: both keys go on as before.
//! - Until the swap is carried out the old coldkey can dispute it. That cancels it, and none can be announced for
//!   another delay from then on.
//! - After the delay the old or the new coldkey carries it out. Free balance, hotkeys with their UIDs, stake and
//!   subnets go to the new coldkey; where it has stake in the same pool, the shares are added. Bonds in the
//!   committee follow their hotkeys. Nonces stay: they belong to the key.
//!
//! # What it protects
//!
//! Free balance and stake can be moved by their ordinary calls, and nothing here keeps whoever holds the old key
//! from doing so; hotkeys and subnets can change hands in no other way. A thief with the key has to announce that to
//! everyone, and as long as its owner watches and disputes, it does not happen. Neither can the owner move them
//! then: who is right no ledger can tell.
//!
//! # Work
//!
//! One transaction carries over at most [`COLDKEY_SWAP_ENTRIES_MAX`] hotkeys and stakes, hotkeys first; a hotkey has
//! at most one UID in each subnet. Where there are more, the swap stays due and the same transaction continues it.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{BlockNumber, Coldkey, Hotkey, Netuid};
use agon_protocol::message::ColdkeySwapView;
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

use crate::State;
use crate::accounts::OwnedHotkey;
use crate::parameters::NetworkParameterId;
use crate::stake::Shares;
use crate::subnet::Subnet;
use crate::table::Entry;

/// Most hotkeys and stakes that one transaction hands over.
pub const COLDKEY_SWAP_ENTRIES_MAX: usize = 256;

/// The announced swap of a coldkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct ColdkeySwap {
    pub(crate) new_coldkey: Coldkey,
    /// First block that carries it out.
    pub(crate) due: BlockNumber,
    /// Block of the dispute; the swap is cancelled then.
    pub(crate) disputed: Option<BlockNumber>,
}

impl Entry for ColdkeySwap {
    type Key = Coldkey;
    const KIND: u8 = 0x23;
}

/// Why a new coldkey is not announced.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnnounceColdkeySwapRefusal {
    /// Nothing would change.
    #[error("{coldkey} is the coldkey that signs: name another one")]
    Same {
        /// The signer.
        coldkey: Coldkey,
    },
    /// The new key is or was a hotkey.
    #[error("{coldkey} is or was a hotkey, which signs online: name a key that never was one")]
    IsHotkey {
        /// The new key.
        coldkey: Coldkey,
    },
    /// One is announced.
    #[error(
        "a swap to {new_coldkey} is announced and due at block {due}: dispute it first, or carry it out then"
    )]
    Announced {
        /// Who would take over.
        new_coldkey: Coldkey,
        /// First block that carries it out.
        due: BlockNumber,
    },
    /// One was disputed lately.
    #[error("a swap was disputed at block {disputed}: the next can be announced at block {allowed}")]
    Disputed {
        /// Block of the dispute.
        disputed: BlockNumber,
        /// First block that takes another.
        allowed: BlockNumber,
    },
}

impl AnnounceColdkeySwapRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Same { .. } | Self::IsHotkey { .. } => "new coldkey",
            Self::Announced { .. } => "swap announced",
            Self::Disputed { .. } => "swap disputed",
        }
    }
}

/// A coldkey without a swap that could be disputed or carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{coldkey} has announced no swap, or disputed it: announce one first")]
pub struct NoSwap {
    /// Which coldkey.
    pub coldkey: Coldkey,
}

impl NoSwap {
    const RULE: &str = "no swap";
}

/// Why a swap is not disputed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DisputeColdkeySwapRefusal {
    /// There is none.
    #[error(transparent)]
    NoSwap(#[from] NoSwap),
}

impl DisputeColdkeySwapRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NoSwap(_) => NoSwap::RULE,
        }
    }
}

/// Why a swap is not carried out.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExecuteColdkeySwapRefusal {
    /// There is none.
    #[error(transparent)]
    NoSwap(#[from] NoSwap),
    /// Somebody else signed.
    #[error("the swap from {coldkey} to {new_coldkey} is carried out by one of the two: sign with either")]
    Signer {
        /// Who hands over.
        coldkey: Coldkey,
        /// Who takes over.
        new_coldkey: Coldkey,
    },
    /// Not due.
    #[error("the swap to {new_coldkey} is due at block {due}: wait until then")]
    Due {
        /// Who takes over.
        new_coldkey: Coldkey,
        /// First block that carries it out.
        due: BlockNumber,
    },
}

impl ExecuteColdkeySwapRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::NoSwap(_) => NoSwap::RULE,
            Self::Signer { .. } => "swap signer",
            Self::Due { .. } => "swap due",
        }
    }
}

/// An accepted announcement, or one that is accepted to be disputed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdkeySwapAnnouncement {
    /// Who hands over.
    pub coldkey: Coldkey,
    /// Who takes over.
    pub new_coldkey: Coldkey,
    /// First block that carries it out.
    pub due: BlockNumber,
    /// The block of the announcement or the dispute.
    pub height: BlockNumber,
}

impl fmt::Display for ColdkeySwapAnnouncement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "announces that {} hands all it has over to {} from block {} on",
            self.coldkey, self.new_coldkey, self.due
        )
    }
}

/// What one transaction hands over, besides the subnets and the free balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColdkeyHandover {
    /// Who hands over.
    pub coldkey: Coldkey,
    /// Who takes over.
    pub new_coldkey: Coldkey,
    /// The free balance that goes along.
    pub free: Amount,
    /// Hotkeys that change their coldkey.
    pub hotkeys: Vec<Hotkey>,
    /// Stakes that change their coldkey: subnet and name of the pool.
    pub stakes: Vec<(Netuid, Hotkey)>,
    /// Whether nothing is left for another transaction.
    pub complete: bool,
}

impl fmt::Display for ColdkeyHandover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "hands over from {} to {}: {} hotkeys, {} stakes, all subnets and the free balance",
            self.coldkey,
            self.new_coldkey,
            self.hotkeys.len(),
            self.stakes.len()
        )?;
        if self.complete {
            return Ok(());
        }
        f.write_str("; more is left, send this again")
    }
}

impl State {
    /// The swap of a coldkey that was announced, or disputed since.
    pub(crate) fn announced_swap(&self, coldkey: Coldkey) -> Option<ColdkeySwapView> {
        let delay_blocks = self.network(NetworkParameterId::ColdkeySwapDelayBlocks);
        let view = |swap: ColdkeySwap| ColdkeySwapView {
            new_coldkey: swap.new_coldkey,
            due: swap.due,
            disputed: swap.disputed,
            announce_from: swap
                .disputed
                .map(|disputed| BlockNumber(disputed.0.saturating_add(delay_blocks))),
        };
        self.table.read(&coldkey).map(view)
    }

    pub(crate) fn check_announce_coldkey_swap(
        &self,
        coldkey: Coldkey,
        new_coldkey: Coldkey,
        now: BlockNumber,
    ) -> Result<ColdkeySwapAnnouncement, AnnounceColdkeySwapRefusal> {
        if coldkey == new_coldkey {
            return Err(AnnounceColdkeySwapRefusal::Same { coldkey });
        }
        let as_hotkey = Hotkey(new_coldkey.0);
        if self.hotkey_owner(as_hotkey).is_some() || self.check_hotkey_unused(as_hotkey).is_err() {
            return Err(AnnounceColdkeySwapRefusal::IsHotkey { coldkey: new_coldkey });
        }
        let delay_blocks = self.network(NetworkParameterId::ColdkeySwapDelayBlocks);
        if let Some(swap) = self.table.read::<ColdkeySwap>(&coldkey) {
            check_announced(&swap, delay_blocks, now)?;
        }
        Ok(ColdkeySwapAnnouncement {
            coldkey,
            new_coldkey,
            due: BlockNumber(now.0.saturating_add(delay_blocks)),
            height: now,
        })
    }

    pub(crate) fn announce_coldkey_swap(&mut self, announcement: &ColdkeySwapAnnouncement) {
        let swap = ColdkeySwap {
            new_coldkey: announcement.new_coldkey,
            due: announcement.due,
            disputed: None,
        };
        self.table.write(&announcement.coldkey, &swap);
    }

    pub(crate) fn check_dispute_coldkey_swap(
        &self,
        coldkey: Coldkey,
        now: BlockNumber,
    ) -> Result<ColdkeySwapAnnouncement, DisputeColdkeySwapRefusal> {
        let ColdkeySwap { new_coldkey, due, .. } = self.open_swap(coldkey)?;
        Ok(ColdkeySwapAnnouncement {
            coldkey,
            new_coldkey,
            due,
            height: now,
        })
    }

    pub(crate) fn dispute_coldkey_swap(&mut self, dispute: &ColdkeySwapAnnouncement) {
        let swap = ColdkeySwap {
            new_coldkey: dispute.new_coldkey,
            due: dispute.due,
            disputed: Some(dispute.height),
        };
        self.table.write(&dispute.coldkey, &swap);
    }

    pub(crate) fn check_execute_coldkey_swap(
        &self,
        signer: Coldkey,
        coldkey: Coldkey,
        now: BlockNumber,
    ) -> Result<ColdkeyHandover, ExecuteColdkeySwapRefusal> {
        let ColdkeySwap { new_coldkey, due, .. } = self.open_swap(coldkey)?;
        if signer != coldkey && signer != new_coldkey {
            return Err(ExecuteColdkeySwapRefusal::Signer { coldkey, new_coldkey });
        }
        if now < due {
            return Err(ExecuteColdkeySwapRefusal::Due { new_coldkey, due });
        }
        Ok(self.handover(coldkey, new_coldkey))
    }

    fn handover(&self, coldkey: Coldkey, new_coldkey: Coldkey) -> ColdkeyHandover {
        let owned = self.table.scan::<OwnedHotkey>(coldkey);
        let hotkeys: Vec<Hotkey> = owned
            .map(|((_, hotkey), _)| hotkey)
            .take(COLDKEY_SWAP_ENTRIES_MAX)
            .collect();
        let left = COLDKEY_SWAP_ENTRIES_MAX.saturating_sub(hotkeys.len());
        let mut shares = self.table.scan::<Shares>(coldkey);
        let stakes: Vec<(Netuid, Hotkey)> = shares
            .by_ref()
            .take(left)
            .map(|((_, netuid, name), _)| (netuid, name))
            .collect();
        let full = hotkeys.len() == COLDKEY_SWAP_ENTRIES_MAX;
        ColdkeyHandover {
            coldkey,
            new_coldkey,
            free: self.account_record(coldkey.into()).free,
            complete: !full && shares.next().is_none(),
            hotkeys,
            stakes,
        }
    }

    pub(crate) fn execute_coldkey_swap(&mut self, handover: &ColdkeyHandover) {
        let ColdkeyHandover {
            coldkey, new_coldkey, ..
        } = *handover;
        self.hand_over_subnets(coldkey, new_coldkey);
        for hotkey in &handover.hotkeys {
            self.hand_over_hotkey(*hotkey, new_coldkey);
        }
        for (netuid, name) in &handover.stakes {
            self.hand_over_stake((coldkey, *netuid, *name), new_coldkey);
        }
        self.debit(coldkey, handover.free);
        self.credit(new_coldkey, handover.free);
        if handover.complete {
            self.table.remove::<ColdkeySwap>(&coldkey);
        }
    }

    fn hand_over_subnets(&mut self, coldkey: Coldkey, new_coldkey: Coldkey) {
        let subnets: Vec<(Netuid, Subnet)> = self.table.scan::<Subnet>(()).collect();
        for (netuid, mut subnet) in subnets {
            if subnet.owner == coldkey {
                subnet.owner = new_coldkey;
                self.table.write(&netuid, &subnet);
            }
        }
    }

    fn hand_over_hotkey(&mut self, hotkey: Hotkey, new_coldkey: Coldkey) {
        let mut owner = self.take_owner(hotkey);
        owner.coldkey = new_coldkey;
        self.write_owner(hotkey, owner);
        for (netuid, uid) in self.uids_of(hotkey) {
            let mut neuron = self.expect_neuron(netuid, uid);
            neuron.coldkey = new_coldkey;
            self.table.write(&(netuid, uid), &neuron);
        }
    }

    fn hand_over_stake(&mut self, key: (Coldkey, Netuid, Hotkey), new_coldkey: Coldkey) {
        let (coldkey, netuid, name) = key;
        let moved = self.shares_of_name(coldkey, netuid, name);
        let held = self.shares_of_name(new_coldkey, netuid, name);
        self.table.remove::<Shares>(&key);
        let sum = Shares(held.saturating_add(moved));
        self.table.write(&(new_coldkey, netuid, name), &sum);
    }

    fn open_swap(&self, coldkey: Coldkey) -> Result<ColdkeySwap, NoSwap> {
        let swap: Option<ColdkeySwap> = self.table.read(&coldkey);
        swap.filter(|swap| swap.disputed.is_none())
            .ok_or(NoSwap { coldkey })
    }
}

/// Whether an announcement may follow the one on record.
fn check_announced(
    swap: &ColdkeySwap,
    delay_blocks: u64,
    now: BlockNumber,
) -> Result<(), AnnounceColdkeySwapRefusal> {
    let Some(disputed) = swap.disputed else {
        return Err(AnnounceColdkeySwapRefusal::Announced {
            new_coldkey: swap.new_coldkey,
            due: swap.due,
        });
    };
    let allowed = BlockNumber(disputed.0.saturating_add(delay_blocks));
    if now < allowed {
        return Err(AnnounceColdkeySwapRefusal::Disputed { disputed, allowed });
    }
    Ok(())
}

//! What holds for the whole ledger: fees, deposits, locks and other figures that the preset fixes.
//!
//! Nothing of this is stored: a ledger names its preset from the first block on, and the preset names the values.

use agon_protocol::amount::{Amount, BASE_UNITS_PER_UNIT};
use agon_protocol::message::Committee;
use borsh::{BorshDeserialize, BorshSerialize};

use super::{Parameter, SetBy, parameters};
use crate::State;
use crate::stake::STAKE_MIN;
use crate::supply::SUPPLY_MAX;

/// Least that creating a subnet locks: 100 whole units.
pub const SUBNET_LOCK_FLOOR: Amount = Amount::from_base_units(100 * BASE_UNITS_PER_UNIT);

const SUPPLY: u64 = SUPPLY_MAX.base_units();

// Blocks of a public network are taken to be 12 seconds.
parameters! {
    /// Names a parameter of the network in code.
    NetworkParameterId,
    /// Every parameter of the network, in the order of [`NetworkParameterId`].
    NETWORK_TABLE;
//  identifier               name                               meaning
//                                                              mainnet, localnet; min, max; who sets it
    FeePerByte               "fee_per_byte"                     "Base units burned for each byte of an applied transaction, its signature included.":
                                                                1_000, 1_000; 0, BASE_UNITS_PER_UNIT; Preset
    ExistentialDeposit       "existential_deposit"              "Smallest free balance an account can have besides none, in base units.":
                                                                500, 500; 1, BASE_UNITS_PER_UNIT; Preset
    SubnetLockFloor          "subnet_lock_floor"                "Least that creating a subnet locks, in base units.":
                                                                SUBNET_LOCK_FLOOR.base_units(), SUBNET_LOCK_FLOOR.base_units(); 1, SUPPLY; Preset
    SubnetLockDecayBlocks    "subnet_lock_decay_blocks"         "Blocks in which the doubled lock falls back to its floor.":
                                                                100_800, 400; 1, 10_000_000; Preset
    SubnetsMax               "subnets_max"                      "Subnets that may exist at one time.":
                                                                128, 128; 1, 4_096; Preset
    NoticeTempos             "notice_tempos"                    "Tempos from the announcement of a parameter to the one that opens with it.":
                                                                2, 1; 1, 10; Preset
    EpochsPerBlock           "epochs_per_block"                 "Epochs that one block may run; the others move to the next block.":
                                                                2, 2; 1, 64; Preset
    ReturnsPerBlock          "returns_per_block"                "Stakes that one block looks at to return those of dissolved subnets.":
                                                                1_024, 1_024; 1, 65_536; Preset
    StakeAverageHalfLifeBlocks "stake_average_half_life_blocks" "Blocks in which half of a change of stake enters the average that divides emission between subnets.":
                                                                7_200, 20; 1, 10_000_000; Preset
    StakeMin                 "stake_min"                        "Least that can be staked, and least that may remain, in base units.":
                                                                STAKE_MIN.base_units(), STAKE_MIN.base_units(); 1, SUPPLY; Preset
    TakeMaxPpm               "take_max_ppm"                     "Largest share of a hotkey's dividends that its coldkey keeps before the stakers, in parts per million; what it keeps unless it says less.":
                                                                180_000, 180_000; 0, 1_000_000; Preset
    TakeRaiseBlocks          "take_raise_blocks"                "Blocks from the newest change of a take to the next raise.":
                                                                216_000, 400; 0, 10_000_000; Preset
    HotkeySwapPrice          "hotkey_swap_price"                "What replacing a hotkey burns, in base units.":
                                                                BASE_UNITS_PER_UNIT / 10, BASE_UNITS_PER_UNIT / 10; 0, SUPPLY; Preset
    ColdkeySwapDelayBlocks   "coldkey_swap_delay_blocks"        "Blocks from the announcement of a new coldkey, or a dispute of it, to what may follow.":
                                                                36_000, 40; 1, 10_000_000; Preset
    CommitteeBondMin         "committee_bond_min"               "Least that a candidate for the committee locks, in base units.":
                                                                100 * BASE_UNITS_PER_UNIT, 100 * BASE_UNITS_PER_UNIT; BASE_UNITS_PER_UNIT, SUPPLY; Preset
    CommitteeMembersMax      "committee_members_max"            "Most members of the committee.":
                                                                64, 64; 1, Committee::MEMBERS_MAX as u64; Preset
    CommitteeEraBlocks       "committee_era_blocks"             "Blocks from one computation of the committee to the next.":
                                                                360, 40; 1, 1_000_000; Preset
    CommitteeReadyBlocks     "committee_ready_blocks"           "Blocks for which a candidate counts as ready after it showed that it follows the ledger.":
                                                                1_080, 120; 1, 10_000_000; Preset
    CommitteeUnbondingBlocks "committee_unbonding_blocks"       "Blocks for which a bond stays locked after its member left, and votes can be punished.":
                                                                100_800, 120; 1, 10_000_000; Preset
    CommitteeSlashPpm        "committee_slash_ppm"              "Share of its bond that a member loses for contradicting itself, in parts per million.":
                                                                1_000_000, 1_000_000; 0, 1_000_000; Preset
    CommitteeReporterPpm     "committee_reporter_ppm"           "Share of what a member loses that goes to whoever reported it, in parts per million; the rest is burned.":
                                                                100_000, 100_000; 0, 500_000; Preset
    EvidenceSlashPpm         "evidence_slash_ppm"               "Share of its own stake on its hotkey that a validator loses for forged evidence, in parts per million.":
                                                                100_000, 100_000; 0, 1_000_000; Preset
    EvidenceReporterPpm      "evidence_reporter_ppm"            "Share of what a validator loses for forged evidence that goes to whoever reported it, in parts per million; the rest is burned.":
                                                                100_000, 100_000; 0, 500_000; Preset
    SealsPerBlock            "seals_per_block"                  "Sealed rows of weights that one block opens; the others move to the next block.":
                                                                32, 32; 1, 4_096; Preset
}

impl State {
    /// A parameter of the network.
    #[must_use]
    pub fn network(&self, id: NetworkParameterId) -> u64 {
        id.row().default_in(self.origin().preset)
    }

    /// A parameter of the network that is an amount of base units.
    #[must_use]
    pub fn network_amount(&self, id: NetworkParameterId) -> Amount {
        Amount::from_base_units(self.network(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_within_bounds_and_shortens_times_only() {
        for (index, row) in NETWORK_TABLE.iter().enumerate() {
            assert_eq!(row.id as usize, index);
            assert_eq!(NetworkParameterId::of_name(row.name), Some(row.id));
            assert!(
                super::super::ParameterId::of_name(row.name).is_none(),
                "{}",
                row.name
            );
            for value in [row.mainnet, row.localnet] {
                assert!((row.min..=row.max).contains(&value), "{}", row.name);
            }
            let is_time = row.name.ends_with("_blocks") || row.name.ends_with("_tempos");
            let shortened = is_time && row.localnet < row.mainnet;
            assert!(row.mainnet == row.localnet || shortened, "{}", row.name);
        }
    }

    #[test]
    fn whoever_may_stake_may_hold_what_comes_back() {
        let stake = NetworkParameterId::StakeMin.row();
        let deposit = NetworkParameterId::ExistentialDeposit.row();
        assert!(stake.mainnet > deposit.mainnet && stake.localnet > deposit.localnet);
    }
}

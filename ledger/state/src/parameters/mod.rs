//! The parameters of a subnet and of the network: names, meanings, defaults, bounds and who may set them.
//!
//! [`TABLE`] is of a subnet's parameters, [`NETWORK_TABLE`] of those that hold for the whole ledger. They are what the
//! rules, the views, the tools and the documentation read; there is no second list.
//!
//! An owner announces a new value of a subnet's parameter. It is in force from a later tempo on, as many after the
//! running one as the network's `notice_tempos` says, so that nothing changes within a tempo and everybody can see
//! before what will. A later announcement for the same parameter takes the place of the earlier one, and has its own
//! notice. A network's values are those of its preset.

mod network;

use std::collections::{BTreeMap, BTreeSet};

use agon_protocol::amount::{Amount, BASE_UNITS_PER_UNIT};
use agon_protocol::id::{BlockNumber, Coldkey, Netuid};
use agon_protocol::message::{EvidenceOpening, Preset};
use borsh::{BorshDeserialize, BorshSerialize};
use thiserror::Error;

pub use self::network::{NETWORK_TABLE, NetworkParameterId, SUBNET_LOCK_FLOOR};
use crate::State;
use crate::refusal::{NotOwner, UnknownSubnet};
use crate::subnet::Subnet;
use crate::supply::SUPPLY_MAX;

/// Who may change a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetBy {
    /// The subnet's owner.
    Owner,
    /// Nobody on a running ledger; the preset decides.
    Preset,
}

/// A row of a parameter table: of a subnet's parameters, or with [`NetworkParameterId`] of the network's.
#[derive(Clone, Copy, Debug)]
pub struct Parameter<Id = ParameterId> {
    /// Which parameter.
    pub id: Id,
    /// Its name in transactions, views and tools; the unit comes last.
    pub name: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Value on a public network, or in a new subnet of it.
    pub mainnet: u64,
    /// Value on one machine: times are shorter, rules are the same.
    pub localnet: u64,
    /// Smallest value.
    pub min: u64,
    /// Largest value.
    pub max: u64,
    /// Who may change it.
    pub set_by: SetBy,
}

impl<Id> Parameter<Id> {
    /// The default under a preset.
    #[must_use]
    pub const fn default_in(&self, preset: Preset) -> u64 {
        match preset {
            Preset::Mainnet => self.mainnet,
            Preset::Localnet => self.localnet,
        }
    }
}

/// Declares the identifiers and the table from the same rows.
macro_rules! parameters {
    (
        $(#[$ids_about:meta])* $ids:ident, $(#[$table_about:meta])* $table:ident;
        $($id:ident $name:literal $about:literal: $mainnet:expr, $localnet:expr; $min:expr, $max:expr; $set_by:ident)*
    ) => {
        $(#[$ids_about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, BorshSerialize, BorshDeserialize)]
        #[borsh(use_discriminant = false)]
        #[non_exhaustive]
        pub enum $ids {
            $(#[doc = $about] $id,)*
        }

        $(#[$table_about])*
        pub const $table: &[Parameter<$ids>] = &[$(Parameter {
            id: $ids::$id,
            name: $name,
            about: $about,
            mainnet: $mainnet,
            localnet: $localnet,
            min: $min,
            max: $max,
            set_by: SetBy::$set_by,
        },)*];

        impl $ids {
            /// Its row of the table.
            #[must_use]
            pub fn row(self) -> &'static Parameter<Self> {
                &$table[self as usize]
            }

            /// The parameter of a name, or `None` when there is none.
            #[must_use]
            pub fn of_name(name: &str) -> Option<Self> {
                $table.iter().find(|row| row.name == name).map(|row| row.id)
            }
        }
    };
}
use parameters;

// Sources: the defaults of Subtensor's runtime 425, except where `localnet` shortens a time.
parameters! {
    /// Names a parameter of a subnet in code. Values are stored in this order, so new ones are added at the end.
    ParameterId,
    /// Every parameter of a subnet, in the order of [`ParameterId`].
    TABLE;
//  identifier               name                               meaning
//                                                              mainnet, localnet; min, max; who sets it
    TempoBlocks              "tempo_blocks"                     "Blocks between two epochs.":
                                                                360, 40; 10, 50_400; Owner
    MaxUids                  "max_uids"                         "UIDs the subnet has; a full subnet replaces.":
                                                                256, 256; 1, 4_096; Owner
    MaxValidators            "max_validators"                   "Validator permits given to the largest stakes.":
                                                                64, 64; 1, 4_096; Owner
    ImmunityBlocks           "immunity_blocks"                  "Blocks in which a new UID is replaced only if nobody else can be.":
                                                                5_000, 555; 0, 1_000_000; Owner
    MinNonImmuneUids         "min_non_immune_uids"              "UIDs out of immunity that must remain before one of them is replaced.":
                                                                10, 10; 0, 4_096; Preset
    OwnerProtectedUids       "owner_protected_uids"             "The owner's oldest UIDs that are never replaced.":
                                                                1, 1; 0, 10; Owner
    ActivityCutoffMilliTempos "activity_cutoff_milli_tempos"    "Thousandths of a tempo after which unrefreshed weights stop counting.":
                                                                13_889, 13_889; 1_000, 50_000; Owner
    WeightsRateLimitBlocks   "weights_rate_limit_blocks"        "Blocks between two weight commits of a UID.":
                                                                100, 11; 0, 50_400; Owner
    AxonRateLimitBlocks      "axon_rate_limit_blocks"           "Blocks between two axon announcements of a UID.":
                                                                50, 5; 0, 50_400; Owner
    MinAllowedWeights        "min_allowed_weights"              "Fewest UIDs of a weight row, unless the subnet has fewer.":
                                                                1, 1; 1, 4_096; Owner
    VersionKey               "version_key"                      "Smallest version of rules that weights may be made by.":
                                                                0, 0; 0, u64::MAX; Owner
    Kappa                    "kappa"                            "Majority of stake that consensus asks for, in parts of 65535.":
                                                                32_767, 32_767; 0, U16; Owner
    BondsMovingAverage       "bonds_moving_average"             "Share of the old bonds that stays in each epoch, in parts per million.":
                                                                900_000, 900_000; 0, MILLION; Owner
    BondsPenalty             "bonds_penalty"                    "How much of the clipping reaches bonds, in parts of 65535.":
                                                                U16, U16; 0, U16; Owner
    Yuma3                    "yuma3"                            "Bond model: 1 has a scale per validator and miner, 0 shares each miner.":
                                                                1, 1; 0, 1; Owner
    LiquidAlpha              "liquid_alpha"                     "Whether each bond moves at a speed of its own; needs yuma3.":
                                                                0, 0; 0, 1; Owner
    AlphaLow                 "alpha_low"                        "Slowest share of new weight in a liquid bond, in parts of 65535.":
                                                                45_875, 45_875; 1_638, U16; Owner
    AlphaHigh                "alpha_high"                       "Fastest share of new weight in a liquid bond, in parts of 65535.":
                                                                58_982, 58_982; 1_638, U16; Owner
    AlphaSteepness           "alpha_steepness"                  "Slope between the slowest and the fastest share, times 100.":
                                                                1_000, 1_000; 0, 32_767; Owner
    CommitReveal             "commit_reveal"                    "Whether weights are committed before they are shown.":
                                                                1, 1; 0, 1; Owner
    RevealPeriodTempos       "reveal_period_tempos"             "Tempos from a weight commit to its reveal.":
                                                                1, 1; 1, 100; Owner
    OpenCommitsMax           "open_commits_max"                 "Most weight commits of a UID that wait for their reveal.":
                                                                10, 10; 1, 100; Owner
    RegistrationOpen         "registration_open"                "Whether UIDs can be registered; a closed subnet earns no emission.":
                                                                1, 1; 0, 1; Owner
    RegistrationPriceFloor   "registration_price_floor"         "Smallest price of a UID, in base units.":
                                                                500_000, 500_000; 1, SUPPLY; Owner
    RegistrationPriceCeiling "registration_price_ceiling"       "Largest price of a UID, in base units.":
                                                                100 * BASE_UNITS_PER_UNIT, 100 * BASE_UNITS_PER_UNIT; 1, SUPPLY; Owner
    RegistrationHalfLifeBlocks "registration_half_life_blocks"  "Blocks in which the price of a UID halves.":
                                                                360, 40; 1, 1_000_000; Owner
    RegistrationBumpPpm      "registration_bump_ppm"            "What a registration multiplies the price by, in parts per million.":
                                                                1_260_000, 1_260_000; MILLION, 10 * MILLION; Owner
    OwnerCutPpm              "owner_cut_ppm"                    "The owner's share of the subnet's emission, in parts per million.":
                                                                180_000, 180_000; 0, 180_000; Owner
    StakeThreshold           "stake_threshold"                  "Stake below this, in base units, counts as none; the owner's always counts.":
                                                                0, 0; 0, SUPPLY; Owner
    EvidenceRounds           "evidence_rounds"                  "Rounds of questions that each validator owes in a tempo.":
                                                                4, 4; 1, EvidenceOpening::ROUNDS_MAX as u64; Owner
    EvidenceMiners           "evidence_miners"                  "Miners that each of those rounds asks, unless fewer serve.":
                                                                64, 64; 1, 256; Owner
    EvidenceOpenings         "evidence_openings"                "Slots of a validator's evidence that it shows in the next tempo; 0 pays dividends without evidence.":
                                                                16, 16; 0, OPENINGS_MAX; Owner
    EvidenceContests         "evidence_contests"                "Whether a miner may contest failures that validators claim of it: what most others say then counts in place of it.":
                                                                0, 0; 0, 1; Owner
    EvidenceSessions         "evidence_sessions"                "Whether validators ask in sessions, which do not tell who they are; with more than 64 permits they do not.":
                                                                1, 1; 0, 1; Owner
}

/// As many leaves as fit into a transaction with the longest ways to the root.
const OPENINGS_MAX: u64 = 32;
const U16: u64 = u16::MAX as u64;
const MILLION: u64 = 1_000_000;
const SUPPLY: u64 = SUPPLY_MAX.base_units();

/// Pairs of parameters of which the first may not exceed the second.
const ORDERED: [(ParameterId, ParameterId); 2] = [
    (ParameterId::AlphaLow, ParameterId::AlphaHigh),
    (
        ParameterId::RegistrationPriceFloor,
        ParameterId::RegistrationPriceCeiling,
    ),
];

/// The values of one subnet, in the order of the table.
#[derive(Clone, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Parameters([u64; TABLE.len()]);

impl Parameters {
    pub(crate) fn of_preset(preset: Preset) -> Self {
        Self(std::array::from_fn(|index| TABLE[index].default_in(preset)))
    }

    pub(crate) const fn value(&self, id: ParameterId) -> u64 {
        self.0[id as usize]
    }

    pub(crate) const fn is_on(&self, id: ParameterId) -> bool {
        self.value(id) != 0
    }

    pub(crate) const fn amount(&self, id: ParameterId) -> Amount {
        Amount::from_base_units(self.value(id))
    }

    /// A parameter whose largest value fits `u16`.
    pub(crate) fn value_u16(&self, id: ParameterId) -> u16 {
        u16::try_from(self.value(id)).expect("the table bounds it by u16::MAX")
    }

    pub(crate) fn set(&mut self, id: ParameterId, value: u64) {
        self.0[id as usize] = value;
    }

    pub(crate) fn by_name(&self) -> BTreeMap<String, u64> {
        TABLE
            .iter()
            .map(|row| (row.name.to_owned(), self.value(row.id)))
            .collect()
    }

    /// Whether every value is within its bounds and every pair in order.
    pub(crate) fn are_valid(&self) -> bool {
        let bounded = TABLE
            .iter()
            .all(|row| (row.min..=row.max).contains(&self.value(row.id)));
        bounded && self.first_disorder().is_none()
    }

    fn first_disorder(&self) -> Option<(ParameterId, ParameterId)> {
        ORDERED
            .into_iter()
            .find(|(low, high)| self.value(*low) > self.value(*high))
    }
}

/// Why a parameter cannot be set.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetParameterRefusal {
    /// No such subnet.
    #[error(transparent)]
    Subnet(#[from] UnknownSubnet),
    /// Not the owner.
    #[error(transparent)]
    Owner(#[from] NotOwner),
    /// No such parameter.
    #[error("there is no parameter {name:?}: the subnet's view lists all {count} of them")]
    Name {
        /// What was asked for.
        name: String,
        /// How many there are.
        count: usize,
    },
    /// Not the owner's to set.
    #[error("{name} is fixed by the network's preset: no account can set it")]
    Fixed {
        /// Which parameter.
        name: &'static str,
    },
    /// Out of its bounds.
    #[error("{name} cannot be {value}: give a value from {min} to {max}")]
    Bounds {
        /// Which parameter.
        name: &'static str,
        /// What was asked for.
        value: u64,
        /// Smallest value.
        min: u64,
        /// Largest value.
        max: u64,
    },
    /// Against another parameter.
    #[error(
        "{low} would be {low_value} and {high} {high_value} in tempo {tempo}, the first may not be larger: \
         set the other one before"
    )]
    Order {
        /// The one that may not be larger.
        low: &'static str,
        /// Its value.
        low_value: u64,
        /// The one that may not be smaller.
        high: &'static str,
        /// Its value.
        high_value: u64,
        /// The first tempo in which it would be so.
        tempo: u64,
    },
    /// Fewer UIDs than are taken.
    #[error("max_uids cannot be {value} while {neuron_count} UIDs are taken: give at least as many")]
    UidsTaken {
        /// What was asked for.
        value: u64,
        /// How many UIDs are taken.
        neuron_count: u16,
    },
}

impl SetParameterRefusal {
    /// Name of the rule.
    #[must_use]
    pub const fn rule(&self) -> &'static str {
        match self {
            Self::Subnet(_) => UnknownSubnet::RULE,
            Self::Owner(_) => NotOwner::RULE,
            Self::Name { .. } => "parameter name",
            Self::Fixed { .. } => "parameter setter",
            Self::Bounds { .. } => "parameter bounds",
            Self::Order { .. } => "parameter order",
            Self::UidsTaken { .. } => "uids taken",
        }
    }
}

/// A parameter's next value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub(crate) struct Announced {
    pub(crate) value: u64,
    /// The tempo that opens with it.
    pub(crate) tempo: u64,
}

/// An accepted change of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterChange {
    /// Which subnet.
    pub netuid: Netuid,
    /// Which parameter.
    pub parameter: ParameterId,
    /// Its value in the running tempo.
    pub value: u64,
    /// Its value from `tempo` on.
    pub value_next: u64,
    /// The tempo that opens with it.
    pub tempo: u64,
    /// When that tempo opens, if no epoch is put off.
    pub effective: BlockNumber,
}

impl State {
    pub(crate) fn check_set_parameter(
        &self,
        signer: Coldkey,
        netuid: Netuid,
        name: &str,
        value: u64,
    ) -> Result<ParameterChange, SetParameterRefusal> {
        let subnet = self.owned_subnet::<SetParameterRefusal>(netuid, signer)?;
        let unknown = || SetParameterRefusal::Name {
            name: name.to_owned(),
            count: TABLE.len(),
        };
        let parameter = ParameterId::of_name(name).ok_or_else(unknown)?;
        check_value(parameter.row(), value)?;
        let notice_tempos = self.network(NetworkParameterId::NoticeTempos);
        let tempo = subnet.schedule.tempo.saturating_add(notice_tempos);
        let announced = Announced { value, tempo };
        check_against_subnet(&subnet, parameter, announced)?;
        Ok(ParameterChange {
            netuid,
            parameter,
            value: subnet.parameters.value(parameter),
            value_next: value,
            tempo,
            effective: subnet.opening(tempo),
        })
    }

    pub(crate) fn announce_parameter(&mut self, change: &ParameterChange) {
        let mut subnet = self.expect_subnet(change.netuid);
        let announced = Announced {
            value: change.value_next,
            tempo: change.tempo,
        };
        subnet.announced.insert(change.parameter, announced);
        self.table.write(&change.netuid, &subnet);
    }
}

fn check_value(row: &Parameter, value: u64) -> Result<(), SetParameterRefusal> {
    let Parameter { name, min, max, .. } = *row;
    match row.set_by {
        SetBy::Preset => Err(SetParameterRefusal::Fixed { name }),
        SetBy::Owner if value < min || value > max => Err(SetParameterRefusal::Bounds {
            name,
            value,
            min,
            max,
        }),
        SetBy::Owner => Ok(()),
    }
}

/// Checks an announcement against the other parameters, in each tempo that opens with a change, and against what the
/// subnet holds.
fn check_against_subnet(
    subnet: &Subnet,
    parameter: ParameterId,
    announced: Announced,
) -> Result<(), SetParameterRefusal> {
    let mut next = subnet.clone();
    next.announced.insert(parameter, announced);
    if let Some((tempo, values, (low, high))) = next.first_disorder() {
        return Err(SetParameterRefusal::Order {
            low: low.row().name,
            low_value: values.value(low),
            high: high.row().name,
            high_value: values.value(high),
            tempo,
        });
    }
    // Slots are appended until then, so what is taken now bounds the limit from below.
    if parameter == ParameterId::MaxUids && announced.value < u64::from(subnet.neuron_count) {
        return Err(SetParameterRefusal::UidsTaken {
            value: announced.value,
            neuron_count: subnet.neuron_count,
        });
    }
    Ok(())
}

impl Subnet {
    /// The first tempo to come in which two parameters are out of order, with all values in it.
    fn first_disorder(&self) -> Option<(u64, Parameters, (ParameterId, ParameterId))> {
        let tempos: BTreeSet<u64> = self.announced.values().map(|announced| announced.tempo).collect();
        tempos.into_iter().find_map(|tempo| {
            let values = self.parameters_in(tempo);
            let disorder = values.first_disorder()?;
            Some((tempo, values, disorder))
        })
    }

    /// Whether every announced value is within its bounds, in order with the others, and to come within the notice.
    pub(crate) fn announced_are_valid(&self, notice_tempos: u64) -> bool {
        let running = self.schedule.tempo;
        let last = running.saturating_add(notice_tempos);
        let mut announced = self.announced.iter();
        let valid = announced.all(|(id, Announced { value, tempo })| {
            let row = id.row();
            (row.min..=row.max).contains(value) && *tempo > running && *tempo <= last
        });
        valid && self.first_disorder().is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_its_identifiers_and_names_are_unique() {
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.id as usize, index);
            assert_eq!(ParameterId::of_name(row.name), Some(row.id));
            assert!(row.name.len() <= agon_protocol::message::Transaction::NAME_BYTES_MAX);
        }
    }

    #[test]
    fn the_defaults_of_every_preset_are_valid() {
        assert!(Parameters::of_preset(Preset::Mainnet).are_valid());
        assert!(Parameters::of_preset(Preset::Localnet).are_valid());
    }

    #[test]
    fn localnet_shortens_times_and_changes_nothing_else() {
        for row in TABLE {
            let is_time = row.name.ends_with("_blocks");
            assert!(
                row.mainnet == row.localnet || (is_time && row.localnet < row.mainnet),
                "{}",
                row.name
            );
        }
    }
}

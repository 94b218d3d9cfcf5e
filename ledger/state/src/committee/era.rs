//! When the committee is computed anew, the first committee, and when bonds return.
//!
//! A bond returns at the first era that opens a full delay after its member left. While it is still a member, which
//! it is until the next era and for as long as nobody else qualifies, the delay starts over with each era.
//!
//! # Work
//!
//! An era looks at every candidate, and at the stake of those that qualify in each subnet. Each candidate locks the
//! smallest bond at least, which bounds their number by what is in circulation.

use std::collections::BTreeMap;

use agon_protocol::id::{BlockNumber, ConsensusKey, Hotkey};
use agon_protocol::message::{Committee, Member};

use super::powers::{Hopeful, elect, found, going_count};
use super::{Candidate, InForce, KeyUse};
use crate::State;
use crate::parameters::NetworkParameterId;

impl State {
    /// The first block after `height` that computes the committee.
    pub(super) fn next_era(&self, height: BlockNumber) -> BlockNumber {
        let era_blocks = self.network(NetworkParameterId::CommitteeEraBlocks);
        let into_era = height.0.checked_rem(era_blocks).unwrap_or(0);
        BlockNumber(height.0.saturating_add(era_blocks.saturating_sub(into_era)))
    }

    /// Computes the committee and returns bonds, if `now` opens an era.
    pub(crate) fn open_era_if_due(&mut self, now: BlockNumber) {
        let before = BlockNumber(now.0.saturating_sub(1));
        if self.next_era(before) == now {
            self.renew_committee(now);
            self.return_bonds(now);
        }
    }

    /// Whether [`State::form_committee`] would form one now.
    #[must_use]
    pub fn can_form_committee(&self) -> bool {
        let now = self.height();
        let mut candidates = self.table.scan::<Candidate>(());
        self.committee().is_empty() && candidates.any(|(_, candidate)| self.qualifies(&candidate, now))
    }

    /// Ends the time in which one node decides alone: forms the first committee of all that qualify after the newest
    /// block's transactions. `false`, and nothing changes, when there is a committee or nobody qualifies.
    pub fn form_committee(&mut self) -> bool {
        if !self.committee().is_empty() {
            return false;
        }
        let hopefuls = self.hopefuls(self.height());
        let elected = found(hopefuls, self.members_max());
        self.put_in_force(elected)
    }

    fn renew_committee(&mut self, now: BlockNumber) {
        let committee = self.committee();
        if committee.is_empty() {
            return;
        }
        let is_member = |hopeful: &Hopeful| committee.member(&hopeful.consensus_key).is_some();
        let (mut staying, entering): (Vec<_>, Vec<_>) = self.hopefuls(now).into_iter().partition(is_member);
        if staying.is_empty() {
            staying = self.as_they_are(&committee);
        } else {
            staying.extend(self.kept(&committee, now));
        }
        let elected = elect(staying, entering, self.members_max());
        self.put_in_force(elected);
    }

    /// Members that did not renew their readiness and stay nevertheless, since less than a third of the power goes
    /// for that reason at a time; who was ready last stays first.
    fn kept(&self, committee: &Committee, now: BlockNumber) -> Vec<Hopeful> {
        let lapses = |candidate: &Candidate| !candidate.is_ready(now) && self.could_qualify(candidate);
        let candidates = self.table.scan::<Candidate>(());
        let lapsed = candidates.filter_map(|(hotkey, candidate)| {
            let member = committee.member(&candidate.consensus_key)?;
            lapses(&candidate).then_some((candidate.ready_until, member.power, hotkey, candidate))
        });
        let mut lapsed: Vec<_> = lapsed.collect();
        lapsed.sort_by_key(|(ready_until, power, _, candidate)| {
            (*ready_until, *power, candidate.consensus_key)
        });
        let powers = lapsed.iter().map(|(_, power, ..)| *power);
        let going = going_count(powers, committee.power());
        let kept = lapsed.drain(going..);
        kept.map(|(.., hotkey, candidate)| self.hopeful(hotkey, &candidate))
            .collect()
    }

    /// Those that qualify at `now`, with their powers.
    fn hopefuls(&self, now: BlockNumber) -> Vec<Hopeful> {
        let candidates = self.table.scan::<Candidate>(());
        let qualified = candidates.filter(|(_, candidate)| self.qualifies(candidate, now));
        qualified
            .map(|(hotkey, candidate)| self.hopeful(hotkey, &candidate))
            .collect()
    }

    fn hopeful(&self, hotkey: Hotkey, candidate: &Candidate) -> Hopeful {
        Hopeful {
            consensus_key: candidate.consensus_key,
            hotkey,
            power: self.power(hotkey, candidate),
        }
    }

    /// The members with the power they have and the hotkeys they go by now.
    fn as_they_are(&self, committee: &Committee) -> Vec<Hopeful> {
        let candidates = self.table.scan::<Candidate>(());
        let hotkeys: BTreeMap<ConsensusKey, Hotkey> = candidates
            .map(|(hotkey, candidate)| (candidate.consensus_key, hotkey))
            .collect();
        let hopeful = |member: &Member| Hopeful {
            consensus_key: member.consensus_key,
            hotkey: hotkeys
                .get(&member.consensus_key)
                .copied()
                .unwrap_or(member.hotkey),
            power: member.power,
        };
        committee.members().iter().map(hopeful).collect()
    }

    fn members_max(&self) -> usize {
        let members_max = self.network(NetworkParameterId::CommitteeMembersMax);
        usize::try_from(members_max).expect("the table bounds it by 64")
    }

    /// `false` when there is nobody to put in force.
    fn put_in_force(&mut self, elected: Vec<Hopeful>) -> bool {
        if elected.is_empty() {
            return false;
        }
        let member = |hopeful: Hopeful| Member {
            consensus_key: hopeful.consensus_key,
            hotkey: hopeful.hotkey,
            power: hopeful.power,
        };
        let committee = Committee::new(elected.into_iter().map(member).collect())
            .expect("keys are unique, powers positive and bounded by the supply");
        self.table.write(&(), &InForce(committee));
        true
    }

    fn return_bonds(&mut self, now: BlockNumber) {
        let committee = self.committee();
        let delay_blocks = self.network(NetworkParameterId::CommitteeUnbondingBlocks);
        let candidates: Vec<(Hotkey, Candidate)> = self.table.scan(()).collect();
        for (hotkey, mut candidate) in candidates {
            let Some(since) = candidate.leaving else {
                continue;
            };
            if committee.member(&candidate.consensus_key).is_some() {
                candidate.leaving = Some(now);
                self.table.write(&hotkey, &candidate);
            } else if since.0.saturating_add(delay_blocks) <= now.0 {
                self.return_bond(hotkey, &candidate);
            }
        }
    }

    /// A consensus key that was slashed stays known as such; any other can be used again.
    fn return_bond(&mut self, hotkey: Hotkey, candidate: &Candidate) {
        let coldkey = self.hotkey_owner(hotkey).expect("a candidate has an owner");
        self.pay_out(coldkey, candidate.bond);
        self.table.remove::<Candidate>(&hotkey);
        if let Some(KeyUse::By(_)) = self.table.read(&candidate.consensus_key) {
            self.table.remove::<KeyUse>(&candidate.consensus_key);
        }
    }
}

//! Calls as the bytes of a script choose them: mostly such as could be taken.

use agon_ledger_state::{NETWORK_TABLE, TABLE};
use agon_protocol::amount::Amount;
use agon_protocol::codec;
use agon_protocol::id::{BlockNumber, Digest, Netuid, Uid};
use agon_protocol::message::{Call, Equivocation, Signed, Statement, Vote, VoteKind, Weights, WeightsCommit};
use agon_protocol::timelock::Beacon;

use super::super::sample::{self, KEYS, coldkey, hotkey, pair};
use super::Script;

impl Script<'_> {
    fn key(&mut self) -> u8 {
        self.numbers.below(KEYS)
    }

    /// Coldkeys are mostly those with funds.
    pub(super) fn coldkey(&mut self) -> u8 {
        let byte = self.numbers.byte();
        if byte < 224 { byte % 8 } else { byte % KEYS }
    }

    /// Hotkeys are mostly 16 to 30.
    pub(super) fn hotkey(&mut self) -> u8 {
        let byte = self.numbers.byte();
        if byte < 224 { 16 + byte % 15 } else { byte % KEYS }
    }

    pub(super) fn netuid(&mut self) -> Netuid {
        Netuid(match self.numbers.below(16) {
            0..10 => 1,
            10..14 => 2,
            14 => 3,
            _ => self.numbers.word(),
        })
    }

    fn amount(&mut self) -> Amount {
        match self.numbers.below(4) {
            0 | 1 => Amount::from_base_units(u64::from(self.numbers.byte()) * 1_000_000_000),
            2 => Amount::from_base_units(u64::from(self.numbers.word())),
            _ => Amount::from_base_units(self.numbers.number()),
        }
    }

    /// Its price is never too high.
    fn ample(&mut self) -> Amount {
        if self.numbers.below(8) == 0 {
            self.amount()
        } else {
            sample::units(10_000)
        }
    }

    pub(super) fn call(&mut self) -> (u8, Call) {
        let cold = self.coldkey();
        match self.numbers.below(28) {
            0 => (
                cold,
                Call::Transfer {
                    to: coldkey(self.key()),
                    amount: self.amount(),
                },
            ),
            1 => (
                cold,
                Call::CreateSubnet {
                    task: String::from("reading"),
                    lock_max: self.ample(),
                },
            ),
            2 => (
                cold,
                Call::StartSubnet {
                    netuid: self.netuid(),
                },
            ),
            3 => (
                cold,
                Call::DissolveSubnet {
                    netuid: self.netuid(),
                },
            ),
            4 | 5 => (cold, self.parameter()),
            6..9 => {
                let (netuid, hotkey) = (self.netuid(), hotkey(self.hotkey()));
                (
                    cold,
                    Call::Register {
                        netuid,
                        hotkey,
                        price_max: self.ample(),
                    },
                )
            }
            9 | 10 => {
                let (netuid, hotkey) = (self.netuid(), hotkey(self.hotkey()));
                (
                    cold,
                    Call::AddStake {
                        netuid,
                        hotkey,
                        amount: self.amount(),
                    },
                )
            }
            11 => {
                let (netuid, hotkey) = (self.netuid(), hotkey(self.hotkey()));
                (
                    cold,
                    Call::RemoveStake {
                        netuid,
                        hotkey,
                        amount: self.amount(),
                    },
                )
            }
            12 => {
                let from = (self.netuid(), hotkey(self.hotkey()));
                let to = (self.netuid(), hotkey(self.hotkey()));
                (
                    cold,
                    Call::MoveStake {
                        from,
                        to,
                        amount: self.amount(),
                    },
                )
            }
            13 => {
                let hotkey = hotkey(self.hotkey());
                (
                    cold,
                    Call::SetTake {
                        hotkey,
                        take_ppm: u32::from(self.numbers.word()) * 4,
                    },
                )
            }
            14 => {
                let (hotkey, new_hotkey) = (hotkey(self.hotkey()), hotkey(self.hotkey()));
                (cold, Call::SwapHotkey { hotkey, new_hotkey })
            }
            15 => (
                cold,
                Call::AnnounceColdkeySwap {
                    new_coldkey: coldkey(self.key()),
                },
            ),
            16 => (cold, Call::DisputeColdkeySwap),
            17 => (
                self.key(),
                Call::ExecuteColdkeySwap {
                    coldkey: coldkey(cold),
                },
            ),
            18 => (cold, self.join()),
            19 => (
                cold,
                Call::LeaveCommittee {
                    hotkey: hotkey(self.hotkey()),
                },
            ),
            20 => self.ready(),
            21 => (cold, self.report()),
            22 => {
                let netuid = self.netuid();
                (
                    self.hotkey(),
                    Call::ServeAxon {
                        netuid,
                        axon: sample::axon(),
                    },
                )
            }
            23 => self.weigh(),
            24 | 25 => self.prove(),
            _ => self.pulse(),
        }
    }

    /// A pulse that something waits for, or that of a round of the newest block's time.
    fn pulse(&mut self) -> (u8, Call) {
        let now_ms = self.proposer.time_ms();
        let awaited = self.proposer.pulses_awaited(now_ms);
        let round = awaited.first().copied().unwrap_or(now_ms / Beacon::PERIOD_MS_MIN);
        let signed = if self.numbers.below(4) == 0 {
            round.saturating_add(1)
        } else {
            round
        };
        let signature = sample::beacon_secret().sign(signed);
        (self.key(), Call::PublishPulse { round, signature })
    }

    fn parameter(&mut self) -> Call {
        let netuid = self.netuid();
        let index = usize::from(self.numbers.byte());
        let (name, min, max) = if self.numbers.below(8) == 0 {
            // No subnet may set one of the network's.
            let row = &NETWORK_TABLE[index % NETWORK_TABLE.len()];
            (row.name, row.min, row.max)
        } else {
            let row = &TABLE[index % TABLE.len()];
            (row.name, row.min, row.max)
        };
        let value = match self.numbers.below(4) {
            0 => self.numbers.number(),
            1 => min,
            _ => min.saturating_add(u64::from(self.numbers.byte())).min(max),
        };
        let name = name.to_owned();
        Call::SetParameter { netuid, name, value }
    }

    /// The consensus key of a hotkey is the key of its number, mostly.
    fn join(&mut self) -> Call {
        let hotkey_number = self.hotkey();
        let voter = if self.numbers.below(8) == 0 {
            self.key()
        } else {
            hotkey_number
        };
        let statement = Statement::Join {
            genesis: self.genesis.digest(),
            hotkey: hotkey(hotkey_number),
        };
        Call::JoinCommittee {
            hotkey: hotkey(hotkey_number),
            consensus_key: pair(voter).consensus_key(),
            proof: statement.sign(pair(voter)),
            bond: self.amount(),
        }
    }

    fn ready(&mut self) -> (u8, Call) {
        let number = self.hotkey();
        let height = BlockNumber(self.proposer.height().0.saturating_sub(1));
        let hash = codec::digest("agon 2026-12 fuzz block", &height.0.to_le_bytes());
        let statement = Statement::Ready {
            genesis: self.genesis.digest(),
            height,
            hash,
        };
        let proof = statement.sign(pair(number));
        (number, Call::CommitteeReady { height, hash, proof })
    }

    fn report(&mut self) -> Call {
        let voter = self.hotkey();
        let height = self.proposer.height().0;
        let height = BlockNumber(height.saturating_sub(u64::from(self.numbers.below(4))));
        let [first, second] = [self.numbers.below(4), 9].map(|block| {
            let vote = Vote {
                genesis: self.genesis.digest(),
                height,
                round: 0,
                kind: VoteKind::Prevote,
                block: Some(Digest([block; 32])),
                voter: pair(voter).consensus_key(),
            };
            Signed::sign(vote, pair(voter))
        });
        Call::ReportEquivocation {
            evidence: Box::new(Equivocation { first, second }),
        }
    }

    /// A commit, alone or with the row sealed beside it, to the tempo's round mostly, or cut.
    fn committing(&mut self, netuid: Netuid, commit: WeightsCommit, weights: &Weights) -> Call {
        let round = self.proposer.subnet(netuid).and_then(|subnet| subnet.seal_round);
        let (Some(beacon), Some(round)) = (self.genesis.beacon, round) else {
            return Call::CommitWeights { netuid, commit };
        };
        let way = self.numbers.below(8);
        if way < 3 {
            return Call::CommitWeights { netuid, commit };
        }
        let round = if way == 3 { round.saturating_add(1) } else { round };
        let mut sealed = beacon
            .seal(round, weights)
            .expect("the sample's beacon has a key");
        if way == 4 {
            sealed.0.truncate(usize::from(self.numbers.byte()));
        }
        Call::CommitTimelocked {
            netuid,
            commit,
            sealed,
        }
    }

    /// Commits to a row that a later step reveals, or reveals the oldest.
    fn weigh(&mut self) -> (u8, Call) {
        let (number, netuid) = (self.hotkey(), self.netuid());
        if self.numbers.below(2) == 0
            && let Some(weights) = self.rows.get_mut(&number).and_then(|rows| rows.pop())
        {
            return (number, Call::RevealWeights { netuid, weights });
        }
        let tempo = self.proposer.subnet(netuid).map_or(0, |subnet| subnet.tempo);
        let count = self.numbers.below(6);
        let mut weights = Weights {
            tempo,
            uids: Vec::new(),
            values: Vec::new(),
            salt: [number; 32],
            version: 0,
        };
        for _ in 0..count {
            weights.uids.push(Uid(u16::from(self.numbers.below(20))));
            weights.values.push(self.numbers.word());
        }
        let commit = weights.commit(netuid, hotkey(number));
        let call = self.committing(netuid, commit, &weights);
        self.rows.entry(number).or_default().insert(0, weights);
        (number, call)
    }
}

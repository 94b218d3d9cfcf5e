//! One block: what happens in it and in which order, and what a transaction would do.

use std::fmt;

use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, BlockNumber, Coldkey, Digest, Hotkey};
use agon_protocol::message::{Call, EpochView, Message, OpenedSealView, Signed, Transaction};
use borsh::{BorshDeserialize, BorshSerialize};

use crate::State;
use crate::effect::Effect;
use crate::refusal::{EnvelopeRefusal, Refusal};

/// What a block brings, whatever its transactions do.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// Its height, one more than the state's.
    pub height: BlockNumber,
    /// Hash of the block before, or the digest of the genesis: the beacon of tempos that open with this block.
    pub parent: Digest,
    /// When it was proposed, Unix milliseconds.
    pub time_ms: u64,
    /// Whether it ends the time in which one node decides alone: after its transactions the first committee is
    /// formed. Without effect where there is a committee, or nobody who could be in one; a header that names a
    /// committee then names another than the state.
    pub forms_committee: bool,
    /// Its transactions, in order.
    pub transactions: &'a [Signed<Transaction>],
}

/// What a block did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// What became of each transaction, in order; a refused one changed nothing.
    pub outcomes: Vec<Result<(), Refusal>>,
    /// What it did before them.
    pub begun: Begun,
}

/// What a block did before its transactions.
#[derive(Clone, Debug, Default, PartialEq, Eq, BorshSerialize, BorshDeserialize)]
pub struct Begun {
    /// The epochs it ran, in order.
    pub epochs: Vec<EpochView>,
    /// What was sealed and came due, in order.
    pub opened: Vec<OpenedSealView>,
}

impl Begun {
    /// Whether there is nothing to tell.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.epochs.is_empty() && self.opened.is_empty()
    }
}

/// What a transaction that is not refused does and costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// What it does.
    pub effect: Effect,
    /// The fee, which is burned.
    pub fee: Amount,
    /// Who pays the fee.
    pub payer: Coldkey,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effect, fee, payer } = self;
        write!(f, "{effect}; {payer} pays a fee of {fee}")
    }
}

impl State {
    /// Applies one block.
    ///
    /// In this order: the committee is computed anew, if an era opens; the block's emission is created; stake of
    /// dissolved subnets is returned; what is sealed and due is opened, as far as its pulses are there; epochs that are
    /// due run and open the next tempo of their subnets; the transactions are applied. So the tempo that opens with block `h` holds the transactions of `h`,
    /// and its beacon, the hash of block `h - 1`, is known in every state in which the tempo runs.
    ///
    /// # Panics
    ///
    /// When `input.height` does not follow the state's height: the caller's own mistake. No transaction panics. When
    /// holdings do not add up to what exists: ours, and a ledger that stops is better than one that goes on. The sum of
    /// holdings is kept along with every write and checked after every block; all entries are counted anew after
    /// blocks that run epochs.
    pub fn apply(&mut self, input: BlockInput<'_>) -> Applied {
        let begun = self.begin_block(input.height, input.parent, input.time_ms);
        let transactions = input.transactions.iter();
        let outcomes = transactions.map(|tx| self.transact(tx).map(drop)).collect();
        if input.forms_committee {
            self.form_committee();
        }
        assert_eq!(self.check_sums(), Ok(()), "after block {}", input.height);
        if !begun.epochs.is_empty() {
            assert_eq!(self.recount(), Ok(()), "after block {}", input.height);
        }
        debug_assert_eq!(self.check_invariants(), Ok(()), "after block {}", input.height);
        Applied { outcomes, begun }
    }

    /// The first half of [`State::apply`]: everything that happens before the block's transactions.
    ///
    /// A proposer that fills a block one transaction at a time begins it, then [`State::transact`]s each candidate
    /// and keeps those that were not refused.
    ///
    /// # Panics
    ///
    /// As [`State::apply`].
    pub fn begin_block(&mut self, height: BlockNumber, parent: Digest, time_ms: u64) -> Begun {
        let mut progress = self.progress();
        assert_eq!(height, progress.height.next(), "blocks are applied in order");
        progress.height = height;
        progress.parent = parent;
        progress.time_ms = time_ms;
        self.write_progress(&progress);
        self.remember_block(BlockNumber(height.0.saturating_sub(1)), parent);
        self.open_era_if_due(height);
        self.mint();
        self.return_stakes();
        let opened = self.open_seals(height);
        let epochs = self.run_due_epochs(height, parent);
        Begun { epochs, opened }
    }

    /// Applies one transaction to the block that was begun last, and says what it did.
    ///
    /// # Errors
    ///
    /// [`Refusal`]; then nothing has changed.
    pub fn transact(&mut self, tx: &Signed<Transaction>) -> Result<Checked, Refusal> {
        let checked = self.check_at(tx, self.height())?;
        self.perform(&checked.effect);
        self.charge(checked.payer, checked.fee);
        self.advance_nonce(tx.message().signer);
        Ok(checked)
    }

    /// Says what a transaction would do and cost in the next block, if no epoch and no other transaction came before
    /// it.
    ///
    /// # Errors
    ///
    /// [`Refusal`], in the very words the block would use.
    pub fn check(&self, tx: &Signed<Transaction>) -> Result<Checked, Refusal> {
        self.check_at(tx, self.height().next())
    }

    fn check_at(&self, tx: &Signed<Transaction>, now: BlockNumber) -> Result<Checked, Refusal> {
        self.check_envelope(tx)?;
        let message = tx.message();
        let effect = self.check_call(message.signer, &message.call, now)?;
        let (fee, payer) = (self.fee(tx), self.payer(message.signer, &message.call));
        self.check_fee(payer, fee, &effect)?;
        Ok(Checked { effect, fee, payer })
    }

    fn check_envelope(&self, tx: &Signed<Transaction>) -> Result<(), EnvelopeRefusal> {
        let message = tx.message();
        message.validate()?;
        let (found, expected) = (message.genesis, self.origin().genesis);
        if found != expected {
            return Err(EnvelopeRefusal::Genesis { found, expected });
        }
        let (found, expected) = (message.nonce, self.account_record(message.signer).nonce);
        if found < expected {
            return Err(EnvelopeRefusal::NonceUsed { found, expected });
        }
        if found > expected {
            return Err(EnvelopeRefusal::NonceAhead { found, expected });
        }
        Ok(tx.check_signature()?)
    }

    /// Either kind of key signs as an account; the call says which kind it is.
    fn check_call(&self, signer: Account, call: &Call, now: BlockNumber) -> Result<Effect, Refusal> {
        let (coldkey, hotkey) = (Coldkey(signer.0), Hotkey(signer.0));
        Ok(match call {
            Call::Transfer { to, amount } => Effect::Transfer(self.check_transfer(coldkey, *to, *amount)?),
            Call::CreateSubnet { task, lock_max } => {
                Effect::CreateSubnet(self.check_create_subnet(coldkey, task, *lock_max, now)?)
            }
            Call::StartSubnet { netuid } => Effect::StartSubnet(self.check_start_subnet(coldkey, *netuid)?),
            Call::DissolveSubnet { netuid } => {
                Effect::DissolveSubnet(self.check_dissolve_subnet(coldkey, *netuid)?)
            }
            Call::SetParameter { netuid, name, value } => {
                Effect::SetParameter(self.check_set_parameter(coldkey, *netuid, name, *value)?)
            }
            Call::Register {
                netuid,
                hotkey,
                price_max,
            } => Effect::Register(self.check_register(coldkey, *netuid, *hotkey, *price_max, now)?),
            Call::AddStake {
                netuid,
                hotkey,
                amount,
            } => Effect::AddStake(self.check_add_stake(coldkey, *netuid, *hotkey, *amount)?),
            Call::RemoveStake {
                netuid,
                hotkey,
                amount,
            } => Effect::RemoveStake(self.check_remove_stake(coldkey, *netuid, *hotkey, *amount)?),
            Call::MoveStake { from, to, amount } => {
                Effect::MoveStake(self.check_move_stake(coldkey, *from, *to, *amount)?)
            }
            Call::SetTake { hotkey, take_ppm } => {
                Effect::SetTake(self.check_set_take(coldkey, *hotkey, *take_ppm, now)?)
            }
            Call::SwapHotkey { hotkey, new_hotkey } => {
                Effect::SwapHotkey(self.check_swap_hotkey(coldkey, *hotkey, *new_hotkey)?)
            }
            Call::AnnounceColdkeySwap { new_coldkey } => {
                Effect::AnnounceColdkeySwap(self.check_announce_coldkey_swap(coldkey, *new_coldkey, now)?)
            }
            Call::DisputeColdkeySwap => {
                Effect::DisputeColdkeySwap(self.check_dispute_coldkey_swap(coldkey, now)?)
            }
            Call::ExecuteColdkeySwap { coldkey: from } => {
                Effect::ExecuteColdkeySwap(self.check_execute_coldkey_swap(coldkey, *from, now)?)
            }
            Call::JoinCommittee {
                hotkey,
                consensus_key,
                proof,
                bond,
            } => Effect::JoinCommittee(self.check_join_committee(
                coldkey,
                *hotkey,
                *consensus_key,
                proof,
                *bond,
            )?),
            Call::LeaveCommittee { hotkey } => {
                Effect::LeaveCommittee(self.check_leave_committee(coldkey, *hotkey, now)?)
            }
            Call::CommitteeReady { height, hash, proof } => {
                Effect::CommitteeReady(self.check_committee_ready(hotkey, *height, *hash, proof, now)?)
            }
            Call::ReportEquivocation { evidence } => {
                Effect::ReportEquivocation(self.check_report_equivocation(coldkey, evidence, now)?)
            }
            Call::ServeAxon { netuid, axon } => {
                Effect::ServeAxon(self.check_serve_axon(hotkey, *netuid, axon, now)?)
            }
            Call::CommitWeights { netuid, commit } => {
                Effect::CommitWeights(self.check_commit_weights(hotkey, *netuid, *commit, now)?)
            }
            Call::RevealWeights { netuid, weights } => {
                Effect::RevealWeights(self.check_reveal_weights(hotkey, *netuid, weights, now)?)
            }
            Call::CommitEvidence { netuid, evidence } => {
                Effect::CommitEvidence(self.check_commit_evidence(hotkey, *netuid, *evidence, now)?)
            }
            Call::OpenEvidence { netuid, opening } => {
                Effect::OpenEvidence(self.check_open_evidence(hotkey, *netuid, opening)?)
            }
            Call::ReportForgery { of, forgery } => {
                let reporter = self.payer(signer, call);
                Effect::ReportForgery(self.check_report_forgery(reporter, of, forgery)?)
            }
            Call::ContestFailure { of, contest } => {
                Effect::ContestFailure(self.check_contest_failure(hotkey, of, contest)?)
            }
            Call::CommitTimelocked {
                netuid,
                commit,
                sealed,
            } => Effect::CommitTimelocked(self.check_commit_timelocked(
                hotkey,
                *netuid,
                (*commit, sealed),
                now,
            )?),
            Call::PublishPulse { round, signature } => {
                Effect::PublishPulse(self.check_publish_pulse(*round, *signature)?)
            }
            unknown => return Err(Refusal::Call { call: unknown.name() }),
        })
    }

    /// Does what a check of this very state found to be in order.
    fn perform(&mut self, effect: &Effect) {
        match effect {
            Effect::Transfer(transfer) => self.transfer(transfer),
            Effect::CreateSubnet(creation) => self.create_subnet(creation),
            Effect::StartSubnet(netuid) => self.start_subnet(*netuid),
            Effect::DissolveSubnet(dissolution) => self.dissolve_subnet(dissolution),
            Effect::SetParameter(change) => self.announce_parameter(change),
            Effect::Register(registration) => self.register(registration),
            Effect::AddStake(added) => self.add_stake(added),
            Effect::RemoveStake(removed) => self.remove_stake(removed),
            Effect::MoveStake(transfer) => self.move_stake(transfer),
            Effect::SetTake(change) => self.set_take(change),
            Effect::SwapHotkey(swap) => self.swap_hotkey(swap),
            Effect::AnnounceColdkeySwap(announcement) => self.announce_coldkey_swap(announcement),
            Effect::DisputeColdkeySwap(dispute) => self.dispute_coldkey_swap(dispute),
            Effect::ExecuteColdkeySwap(handover) => self.execute_coldkey_swap(handover),
            Effect::JoinCommittee(bond) => self.join_committee(bond),
            Effect::LeaveCommittee(leaving) => self.leave_committee(leaving),
            Effect::CommitteeReady(readiness) => self.committee_ready(readiness),
            Effect::ReportEquivocation(slash) => self.slash(slash),
            Effect::ServeAxon(announcement) => self.announce_axon(announcement),
            Effect::CommitWeights(commit) => self.commit_weights(commit),
            Effect::RevealWeights(weights) => self.reveal_weights(weights),
            Effect::CommitEvidence(commit) => self.commit_evidence(commit),
            Effect::OpenEvidence(opening) => self.open_evidence(opening),
            Effect::ReportForgery(penalty) => self.punish(penalty),
            Effect::ContestFailure(contest) => self.contest_failure(contest),
            Effect::CommitTimelocked(commit) => self.commit_timelocked(commit),
            Effect::PublishPulse(pulse) => self.publish_pulse(pulse),
        }
    }
}

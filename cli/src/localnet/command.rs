//! The command lines of a localnet's members.

use std::path::Path;

use agon_protocol::id::Netuid;
use anyhow::Context;
use tokio::process::Command;

use super::attacks::Attack;
use super::cast::{Ask, Member, Part, Rung};
use super::stage::{Actor, Stage};

/// A free port of this machine alone.
const LOOPBACK: &str = "127.0.0.1:0";
/// Share of answers that are audited where a model is pinned, percent: tempos of a localnet are short.
const AUDIT_PERCENT: u32 = 25;
/// Rounds of a validator last this many blocks, within the bounds below: ten in a tempo.
const ROUND_BLOCKS: u64 = 4;
/// Shortest time from one round to the next, milliseconds.
const ROUND_MS_MIN: u64 = 200;
/// Longest.
const ROUND_MS_MAX: u64 = 1_000;
/// Items that a round asks each miner: weights of a tempo then rest on some sixty, enough to tell rungs apart.
const ITEMS: u32 = 6;
/// Time for an answer, milliseconds: small models answer far sooner on two cores, and a miner that is away does not
/// hold up a round for long.
const DEADLINE_MS: u64 = 4_000;

impl Stage<'_> {
    /// The command of a member, which plays all members of its wallet.
    ///
    /// # Errors
    ///
    /// When there is nobody to relay to.
    pub(super) fn command(
        &self,
        member: &Member,
        actors: &[Actor],
        ledger: &str,
        netuid: Netuid,
    ) -> anyhow::Result<Command> {
        let miners = actors.iter().filter(|actor| actor.is_miner()).count();
        let programs = self.programs;
        let mut command = match member.part {
            Part::Validator { .. } => self.validator(member, &programs.validator, "run", miners),
            Part::Copier { .. } => self.validator(member, &programs.rogue, "copy", miners),
            Part::Colluder { .. } => {
                let mut command = self.validator(member, &programs.rogue, "collude", miners);
                for friend in of(actors, Attack::Cabal).filter(|actor| actor.is_miner()) {
                    command.args(["--friend", &friend.hotkey.to_string()]);
                }
                command
            }
            Part::Miner(rung) if member.attack.is_none() => self.miner(member, &programs.miner, rung),
            Part::Miner(rung) => self.sybil(member, rung, actors),
            Part::Cheater(cheat) => self.cheater(member, cheat.name(), cheat.rung()),
            Part::Relay => self.relay(member, actors)?,
        };
        command
            .args([
                "--wallet",
                &member.wallet,
                "--hotkey",
                &member.hotkey,
                "--wallets-dir",
            ])
            .arg(self.folder.wallets());
        command.args(["--netuid", &netuid.to_string(), "--ledger", ledger]);
        Ok(command)
    }

    fn validator(&self, member: &Member, program: &Path, verb: &str, miners: usize) -> Command {
        let mut command = Command::new(program);
        command
            .args([verb, "--listen", LOOPBACK, "--dir"])
            .arg(self.folder.member(&member.name));
        command.args(["--miners", &miners.to_string(), "--items", &ITEMS.to_string()]);
        let round_ms = (self.block_ms * ROUND_BLOCKS).clamp(ROUND_MS_MIN, ROUND_MS_MAX);
        command.args([
            "--round-ms",
            &round_ms.to_string(),
            "--deadline-ms",
            &DEADLINE_MS.to_string(),
        ]);
        if self.ask == Ask::Inference {
            command.arg("--reference").arg(self.models.folder(Rung::Large));
            command.arg("--calibrations").arg(self.models.calibrations());
            command.args(["--audit-percent", &AUDIT_PERCENT.to_string()]);
        }
        command
    }

    fn miner(&self, member: &Member, program: &Path, rung: Rung) -> Command {
        let mut command = Command::new(program);
        command
            .args(["serve", "--listen", LOOPBACK, "--state-dir"])
            .arg(self.folder.member(&member.name));
        // Many miners share this machine.
        command.args(["--at-once", "8"]);
        command.arg("--model").arg(self.models.folder(rung));
        command
    }

    fn cheater(&self, member: &Member, behaviour: &str, rung: Rung) -> Command {
        let mut command = self.miner(member, &self.programs.cheater, rung);
        command.args(["--behave", behaviour]);
        if self.ask == Ask::Inference {
            command.arg("--claim").arg(self.models.folder(Rung::Large));
        }
        command
    }

    /// One process that serves one model under every hotkey of the wallet.
    fn sybil(&self, member: &Member, rung: Rung, actors: &[Actor]) -> Command {
        let mut command = self.cheater(member, "honest", rung);
        let others = of(actors, Attack::Sybil).map(|actor| &actor.member.hotkey);
        for hotkey in others.filter(|hotkey| **hotkey != member.hotkey) {
            command.args(["--also", hotkey]);
        }
        command
    }

    /// Relays to the best honest miner.
    fn relay(&self, member: &Member, actors: &[Actor]) -> anyhow::Result<Command> {
        let mut honest = actors
            .iter()
            .filter(|actor| actor.is_miner() && actor.member.is_honest());
        let honest = honest.next().context("there is no honest miner to relay to")?;
        let mut command = Command::new(&self.programs.cheater);
        command
            .args([
                "relay",
                "--listen",
                LOOPBACK,
                "--to",
                &honest.hotkey.to_string(),
                "--state-dir",
            ])
            .arg(self.folder.member(&member.name));
        Ok(command)
    }
}

/// The actors that belong to an attack.
fn of(actors: &[Actor], attack: Attack) -> impl Iterator<Item = &Actor> {
    let is_of = move |actor: &&Actor| actor.member.attack == Some(attack);
    actors.iter().filter(is_of)
}

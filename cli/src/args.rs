//! The command line of `agon`.

use agon_runtime::flags::LedgerFlags;
use clap::{Parser, Subcommand};

use crate::account::{BalanceArgs, StakeArgs, TransferArgs};
use crate::audit::AuditArgs;
use crate::committee::CommitteeArgs;
use crate::epoch::EpochArgs;
use crate::evidence::EvidenceArgs;
use crate::explain::ExplainArgs;
use crate::localnet::LocalnetArgs;
use crate::metagraph::{MetagraphArgs, WeightsArgs};
use crate::session::Session;
use crate::sim::SimArgs;
use crate::subnet::{RegisterArgs, SubnetArgs};
use crate::tx::TxArgs;
use crate::verify::VerifyArgs;
use crate::wallet::WalletArgs;

const EXAMPLES: &str = "Examples:
  agon localnet                                        a whole subnet on this machine
  agon wallet create --wallet mine --hotkey gpu0
  agon subnet list --ledger http://ledger.example:9944
  agon register --netuid 1 --wallet mine --hotkey gpu0
  agon metagraph --netuid 1
  agon explain --netuid 1 --uid 5

Tables are for people. With --json, amounts are whole numbers of base units (10^9 make one unit), \
shares are parts of 65535, keys are addresses, and names of fields stay as they are.

Environment: AGON_LEDGER (--ledger), AGON_WALLETS (--wallets-dir), AGON_PASSWORD, AGON_FILE_PASSWORD, AGON_LOG (--log).

Exit codes: 0 done, 1 failure, 2 usage, 3 refused by the ledger, 4 ledger out of reach.";

/// Heading of the flags that every command takes.
const GLOBAL: &str = "Options of every command";

/// The operator's tool of an Agon network
#[derive(Debug, Parser)]
#[command(name = "agon", version, after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    #[command(flatten, next_help_heading = GLOBAL)]
    ledger: LedgerFlags,
    /// Print JSON for programs instead of tables for people
    #[arg(long, global = true, help_heading = GLOBAL)]
    json: bool,
    /// What to log to standard error, as in `warn,agon_ledger_client=debug`
    #[arg(
        long,
        value_name = "FILTER",
        env = "AGON_LOG",
        default_value = "warn",
        global = true,
        help_heading = GLOBAL
    )]
    pub(crate) log: String,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    pub(crate) fn session(&self) -> Session {
        Session {
            ledger: self.ledger.ledger.clone(),
            json: self.json,
        }
    }
}

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make, list and use keys
    Wallet(WalletArgs),
    /// Show what a coldkey holds
    Balance(BalanceArgs),
    /// Send free balance to another coldkey
    Transfer(TransferArgs),
    /// Add, remove and show stake
    Stake(StakeArgs),
    /// Create, start, set and show subnets
    Subnet(SubnetArgs),
    /// Give a hotkey a UID on a subnet, at its price
    Register(RegisterArgs),
    /// Show, join and leave the committee that makes blocks final
    Committee(CommitteeArgs),
    /// Submit any transaction, or show what it would do, from JSON
    Tx(TxArgs),
    /// Show a subnet's neurons and their numbers
    Metagraph(MetagraphArgs),
    /// Show the weights that a subnet's validators revealed
    Weights(WeightsArgs),
    /// Compute epochs from a file of inputs: a what-if calculator
    Epoch(EpochArgs),
    /// Explain one neuron's pay, from weights to base units
    Explain(ExplainArgs),
    /// Show what a validator's weights rest on
    Evidence(EvidenceArgs),
    /// Check one row of the ledger without trusting the node that tells it
    Verify(VerifyArgs),
    /// Replay blocks and compare every figure, without trusting a node
    Audit(AuditArgs),
    /// Show what cheating pays in a simulated subnet
    Sim(SimArgs),
    /// Run a whole subnet on this machine, as real processes
    Localnet(LocalnetArgs),
    /// Print a completion script for a shell
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[track_caller]
    fn check(typed: &str, is_understood: bool) {
        let parsed = Cli::try_parse_from(typed.split_whitespace());
        assert_eq!(
            parsed.is_ok(),
            is_understood,
            "{typed}: {:?}",
            parsed.err().map(|error| error.to_string())
        );
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn commands_of_the_documentation_are_understood() {
        for typed in [
            "agon wallet create --wallet mine --hotkey gpu0",
            "agon wallet create --wallet owner --no-hotkey",
            "agon wallet import --file coldkey --wallet mine --file-password-file p --json",
            "agon wallet import --file gpu0 --wallet mine --hotkey gpu0",
            "agon wallet export --wallet mine --to coldkey --form nacl",
            "agon subnet list --ledger http://ledger.example:9944",
            "agon subnet create --task reading --wallet owner --ledger http://ledger.example:9944",
            "agon subnet start --netuid 1 --wallet owner",
            "agon subnet set --netuid 1 --wallet owner tempo_blocks=40 kappa=32767",
            "agon subnet show --netuid 1 --json",
            "agon register --netuid 1 --wallet mine --hotkey gpu0 --ledger http://ledger.example:9944",
            "agon stake add --netuid 1 --wallet house --hotkey v0 --amount 1000",
            "agon stake remove --netuid 1 --wallet house --hotkey v0 --amount all --yes",
            "agon --json stake show --wallet house",
            "agon transfer --wallet mine --to 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --amount 1.5",
            "agon balance 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "agon metagraph --netuid 1 --at 400",
            "agon metagraph --netuid 1 --sort incentive --columns uid,hotkey,incentive,emission",
            "agon metagraph --netuid 1 --changes-since 412 --json",
            "agon explain --netuid 1 --uid 5",
            "agon stake move --netuid 1 --wallet house --hotkey v0 --to-hotkey v1 --amount 5",
            "agon stake move --netuid 1 --wallet house --hotkey v0 --to-netuid 2 --amount all",
            "agon stake take --wallet house --hotkey v0 --percent 12.5",
            "agon subnet dissolve --netuid 1 --wallet owner --dry-run",
            "agon subnet params",
            "agon subnet params --netuid 1 --json",
            "agon tx --calls",
            "agon tx --wallet mine --call {} --dry-run",
            "agon tx --wallet mine --call-file - --json",
            "agon wallet swap-hotkey --wallet mine --hotkey a --new-hotkey b --dry-run",
            "agon wallet swap-coldkey announce --new-coldkey 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "agon wallet swap-coldkey dispute --wallet mine",
            "agon wallet swap-coldkey execute --wallet mine",
            "agon committee list --json",
            "agon committee join --wallet house --hotkey v0 --bond 1000 --node-dir x",
            "agon committee ready --wallet house --hotkey v0 --node-dir x",
            "agon committee leave --wallet house --hotkey v0",
            "agon committee report --evidence x",
            "agon committee prove --node-dir x --hotkey 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY",
            "agon evidence show --netuid 1",
            "agon evidence show --dir x --tempo 3 --round 1 --uid 2",
            "agon epoch inputs.json --json --trace",
            "agon verify --light --trust 0000000000000000000000000000000000000000000000000000000000000000 neuron 1 5",
            "agon audit --from 1 --to 5000 --export audit.export",
            "agon audit --from 101 --to 200 --ledger http://ledger.example:9944 --json",
            "agon audit --export audit.export",
            "agon sim --list",
            "agon sim --cost --json",
            "agon sim --attack copy-weights --epochs 50 --seeds 4 --defence off --json --plot x.svg",
            "agon sim --all --explore --report x.html",
            "agon localnet --miners 4 --validators 2 --tempos 2 --json",
            "agon completion bash",
        ] {
            check(typed, true);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for typed in [
            "agon",
            "agon evidence show",
            "agon epoch inputs.json --trace",
            "agon wallet create --hotkey a --no-hotkey",
            "agon wallet import --wallet mine",
            "agon wallet export --wallet mine --to coldkey --form zip",
            "agon transfer --to 5Grw --amount 1",
            "agon transfer --to 5GrwvaEF5zXb26Fz9rcQpDWS57CtERHpNehXCPcNoHGKutQY --amount -1",
            "agon subnet set --netuid 1",
            "agon metagraph --netuid 1 --columns uid,rank",
            "agon metagraph --netuid 1 --at 3 --changes-since 2",
            "agon metagraph --netuid 1 --reverse",
            "agon tx --wallet mine",
            "agon tx --call {} --call-file -",
            "agon stake take --percent 101",
            "agon stake take --percent 0.00001",
            "agon committee join --bond 5",
            "agon localnet --miners 0",
            "agon sim",
            "agon sim --all --list",
            "agon sim --all --plot x.svg",
            "agon sim --attack copy-weights --defence maybe",
            "agon verify --light --trust 00 neuron 1 5",
            "agon verify --trust 0000000000000000000000000000000000000000000000000000000000000000 neuron 1 5",
            "agon audit",
            "agon audit --from 5",
        ] {
            check(typed, false);
        }
    }
}

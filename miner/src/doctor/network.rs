//! What the ledger says: whether it answers, whose clock is wrong, who this miner is there, and whether its port can
//! be reached from where the node stands.

use agon_ledger_client::{ClientError, LedgerClient};
use agon_protocol::amount::Amount;
use agon_protocol::id::{Account, Netuid};
use agon_protocol::message::{
    Axon, AxonCheck, AxonCheckView, AxonModel, AxonReach, Call, Head, Metagraph, NeuronView, Signed,
};
use agon_protocol::sign::Keypair;
use agon_runtime::clock::Clock;
use agon_runtime::flags::sentence;
use agon_runtime::net::Net;

use super::Check;
use crate::admission::{AGE_MS_MAX, AHEAD_MS_MAX};

/// A clock this far off is worth a look, milliseconds.
const SKEW_MS_WORTH_A_LOOK: u64 = 1_000;
/// A ledger whose newest block is older than so many block times stands still.
const LATE_BLOCKS: u64 = 20;
/// Announcements that the balance should pay for: some months of them.
const ANNOUNCEMENTS_FEW: u64 = 100;

/// Whose miner is looked at.
#[derive(Debug)]
pub struct Who {
    /// The ledger node.
    pub ledger: String,
    /// The hotkey; without one, what does not need it is looked at.
    pub pair: Option<Keypair>,
    /// The subnet.
    pub netuid: Netuid,
}

/// Looks at what the ledger says of a miner.
pub async fn examine(who: &Who, net: &Net, clock: &Clock) -> Vec<Check> {
    let client = match LedgerClient::new(net, &who.ledger) {
        Ok(client) => client,
        Err(error) => return vec![unreachable_ledger(&error)],
    };
    let (mut checks, head) = match ledger(&client, clock).await {
        Ok(found) => found,
        Err(check) => return vec![check],
    };
    let metagraph = match client.metagraph(who.netuid, None).await {
        Ok(metagraph) => metagraph,
        Err(error) => {
            let next = "see `agon subnet list`, then name a subnet with --netuid";
            checks.push(Check::fail("registration", sentence(&error), next));
            return checks;
        }
    };
    checks.push(permits(&metagraph));
    let Some(pair) = &who.pair else {
        return checks;
    };
    let Some(neuron) = metagraph.by_hotkey(&pair.hotkey()) else {
        checks.push(not_registered(pair, who.netuid));
        return checks;
    };
    checks.push(Check::ok(
        "registration",
        format!("UID {} on subnet {}", neuron.uid, who.netuid),
    ));
    checks.push(balance(&client, (pair, who.netuid), neuron).await);
    checks.push(axon(neuron));
    if neuron.axon.is_some() {
        checks.push(port(&client, (pair, who.netuid), &head, clock).await);
    }
    checks
}

fn unreachable_ledger(error: &ClientError) -> Check {
    let next = "give the address of a node that runs with --ledger or AGON_LEDGER";
    Check::fail("ledger", sentence(error), next)
}

/// The head, asked twice so that making the connection does not count as the way of an answer.
async fn ledger(client: &LedgerClient, clock: &Clock) -> Result<(Vec<Check>, Head), Check> {
    client.head().await.map_err(|error| unreachable_ledger(&error))?;
    let sent_ms = clock.now_ms();
    let head = client.head().await.map_err(|error| unreachable_ledger(&error))?;
    let received_ms = clock.now_ms();
    let age_ms = head.clock_ms.saturating_sub(head.time_ms);
    let found = format!(
        "{} at block {}, {} s old, {}",
        client.uri(),
        head.height,
        age_ms / 1_000,
        head.name
    );
    let block = if age_ms > head.block_ms.saturating_mul(LATE_BLOCKS) {
        let next = "the ledger stands still: ask whoever runs it, or name another node";
        Check::warn("ledger", found, next)
    } else {
        Check::ok("ledger", found)
    };
    let skew = skew(sent_ms, received_ms, head.clock_ms);
    Ok((vec![block, skew], head))
}

/// Compares this clock with a node's that was read in the middle between question and answer.
fn skew(sent_ms: u64, received_ms: u64, node_ms: u64) -> Check {
    let half_ms = received_ms.saturating_sub(sent_ms) / 2;
    let here_ms = sent_ms.saturating_add(half_ms);
    let skew_ms = here_ms.abs_diff(node_ms);
    let way = if here_ms > node_ms { "ahead of" } else { "behind" };
    let found = match skew_ms {
        0 => format!("as the node's, give or take {half_ms} ms"),
        _ => format!("{skew_ms} ms {way} the node, give or take {half_ms} ms"),
    };
    // What the way alone may explain is nobody's fault.
    let certain_ms = skew_ms.saturating_sub(half_ms);
    let next = format!(
        "set it, with `timedatectl set-ntp true` for instance: challenges count from {AGE_MS_MAX} ms old to \
         {AHEAD_MS_MAX} ms ahead"
    );
    match certain_ms {
        0..=SKEW_MS_WORTH_A_LOOK => Check::ok("clock", found),
        certain_ms if certain_ms <= AHEAD_MS_MAX => Check::warn("clock", found, next),
        _ => Check::fail("clock", found, next),
    }
}

fn permits(metagraph: &Metagraph) -> Check {
    let count = metagraph.neurons.iter().filter(|neuron| neuron.permit).count();
    let found = format!("{count} validators may ask on subnet {}", metagraph.netuid);
    match count {
        0 => Check::warn(
            "permits",
            found,
            "nobody is asked until a validator has one; `agon metagraph` shows them",
        ),
        _ => Check::ok("permits", found),
    }
}

fn not_registered(pair: &Keypair, netuid: Netuid) -> Check {
    let found = format!("hotkey {} has no UID on subnet {netuid}", pair.hotkey());
    let next = format!("agon register --netuid {netuid} --wallet WALLET --hotkey HOTKEY");
    Check::fail("registration", found, next)
}

/// Whether the coldkey can pay for announcements, by the ledger's own word of what one costs.
async fn balance(client: &LedgerClient, (pair, netuid): (&Keypair, Netuid), neuron: &NeuronView) -> Check {
    let account = match client.account(Account(neuron.coldkey.0)).await {
        Ok(account) => account,
        Err(error) => return Check::fail("balance", sentence(&error), "ask again"),
    };
    let call = Call::ServeAxon {
        netuid,
        axon: any_axon(neuron),
    };
    let fee = match client.prepare(pair, call).await {
        Ok(transaction) => client.dry_run(&transaction).await.map(|run| run.fee),
        Err(error) => Err(error),
    };
    match fee {
        Ok(fee) => judge_balance(account.free, fee),
        // An announcement a moment ago is refused for its haste, which says that it could be paid.
        Err(ClientError::Refused(refusal)) if refusal.rule.contains("rate limit") => Check::ok(
            "balance",
            format!(
                "{} free on {}; announced a moment ago",
                account.free, neuron.coldkey
            ),
        ),
        Err(error) => Check::fail("balance", sentence(&error), fund(account.free)),
    }
}

fn judge_balance(free: Amount, fee: Amount) -> Check {
    let count = free
        .base_units()
        .checked_div(fee.base_units())
        .unwrap_or(u64::MAX);
    let found = format!("{free} free, an announcement costs {fee}");
    match count {
        0 => Check::fail("balance", found, fund(free)),
        1..ANNOUNCEMENTS_FEW => Check::warn("balance", found, fund(free)),
        _ => Check::ok("balance", found),
    }
}

fn fund(free: Amount) -> String {
    format!("the coldkey pays what its hotkey signs and has {free}: `agon transfer` some units to it")
}

/// What is announced, or something as long.
fn any_axon(neuron: &NeuronView) -> Axon {
    neuron.axon.clone().unwrap_or_else(|| Axon {
        ip: [192, 0, 2, 1].into(),
        port: 8_091,
        protocol: Axon::PROTOCOL,
        at_once: 8,
        models: vec![AxonModel::named(Default::default(), "a model of a usual name")],
    })
}

fn axon(neuron: &NeuronView) -> Check {
    let Some(axon) = &neuron.axon else {
        let next = "start `agon-miner serve`, which announces it, and run doctor beside it";
        return Check::warn("axon", "nothing is announced yet", next);
    };
    let models: Vec<String> = axon
        .models
        .iter()
        .map(|model| {
            format!(
                "{} ({})",
                model.name.escape_debug(),
                &model.digest.to_string()[..8]
            )
        })
        .collect();
    let found = format!(
        "{} announced at block {}, serving {}",
        axon.socket_addr(),
        neuron.axon_height,
        models.join(", ")
    );
    Check::ok("axon", found)
}

async fn port(
    client: &LedgerClient,
    (pair, netuid): (&Keypair, Netuid),
    head: &Head,
    clock: &Clock,
) -> Check {
    // In the node's time, so that a wrong clock is told of once.
    let issued_ms = head
        .clock_ms
        .max(clock.now_ms().min(head.clock_ms.saturating_add(AHEAD_MS_MAX)));
    let check = AxonCheck {
        genesis: head.genesis,
        netuid,
        hotkey: pair.hotkey(),
        issued_ms,
    };
    match client.check_axon(&Signed::sign(check, pair)).await {
        Ok(view) => judge_reach(&view),
        Err(error) => Check::warn(
            "port",
            format!("not tried: {}", sentence(&error)),
            "run doctor again in a while",
        ),
    }
}

fn judge_reach(view: &AxonCheckView) -> Check {
    let at = view.address();
    let (what, next) = match view.reach {
        AxonReach::Serving => {
            return Check::ok(
                "port",
                format!("the node reached a miner at {at} in {} ms", view.elapsed_ms),
            );
        }
        AxonReach::NotPublic => {
            return Check::warn(
                "port",
                format!("{at} is no public address, and the node tries no others"),
                "announce one that validators can reach with --announce; in a private network the node's \
                 --check-private-axons tries it",
            );
        }
        AxonReach::Other => (
            "something else than a miner answers at",
            "see what listens on that port, and whether a proxy passes HTTP/2 on",
        ),
        AxonReach::Closed => (
            "nothing listens at",
            "is `agon-miner serve` running, on --listen 0.0.0.0:PORT, and does the router forward that port?",
        ),
        AxonReach::Silent => (
            "nothing answers in time at",
            "a firewall drops what comes: open the TCP port in it and forward it on the router",
        ),
    };
    Check::fail("port", format!("{what} {at}, as seen from the node"), next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;
    use agon_protocol::id::BlockNumber;

    #[track_caller]
    fn check_skew(sent_ms: u64, received_ms: u64, node_ms: u64, standing: Standing) {
        assert_eq!(skew(sent_ms, received_ms, node_ms).standing, standing);
    }

    #[test]
    fn a_clock_is_judged_by_what_the_way_does_not_explain() {
        check_skew(10_000, 10_010, 10_005, Standing::Ok);
        check_skew(10_000, 10_010, 11_000, Standing::Ok);
        check_skew(10_000, 10_010, 12_000, Standing::Warn);
        check_skew(10_000, 10_010, 20_000, Standing::Fail);
        check_skew(20_000, 20_010, 10_000, Standing::Fail);
        // The answer took eight seconds: the node may have read its clock at either end.
        check_skew(10_000, 18_000, 18_000, Standing::Ok);
        check_skew(10_000, 9_000, 10_000, Standing::Ok);
        assert!(
            skew(10_000, 10_010, 11_005)
                .found
                .starts_with("1000 ms behind the node")
        );
    }

    #[test]
    fn a_balance_is_judged_by_the_announcements_it_pays() {
        let amount = Amount::from_base_units;
        for (free, fee, standing) in [
            (9, 10, Standing::Fail),
            (10, 10, Standing::Warn),
            (1_000, 10, Standing::Ok),
            (0, 0, Standing::Ok),
        ] {
            assert_eq!(judge_balance(amount(free), amount(fee)).standing, standing);
        }
    }

    #[test]
    fn each_way_of_not_being_reached_has_its_next_step() {
        let mut steps = std::collections::BTreeSet::new();
        for (reach, standing) in [
            (AxonReach::Serving, Standing::Ok),
            (AxonReach::NotPublic, Standing::Warn),
            (AxonReach::Other, Standing::Fail),
            (AxonReach::Closed, Standing::Fail),
            (AxonReach::Silent, Standing::Fail),
        ] {
            let check = judge_reach(&AxonCheckView {
                reach,
                axon: Axon {
                    ip: [8, 8, 8, 8].into(),
                    port: 8_091,
                    protocol: Axon::PROTOCOL,
                    at_once: 8,
                    models: Vec::new(),
                },
                axon_height: BlockNumber(1),
                elapsed_ms: 12,
            });
            assert_eq!(check.standing, standing);
            assert!(check.found.contains("8.8.8.8:8091"));
            assert!(steps.insert(check.next));
        }
    }
}

//! What admission and the queue need of the ledger, derived from what the follower reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use agon_ledger_client::LedgerClient;
use agon_ledger_client::follow::{View, Views};
use agon_protocol::id::{Digest, Hotkey};
use agon_runtime::shutdown::Shutdown;
use tracing::warn;

use crate::admission::SubnetSnapshot;
use crate::serve::SubnetSender;

/// Keeps `snapshots` in step with `views` until shutdown.
///
/// Where a tempo is asked in sessions, `client` is asked once who may introduce them, and again with the next block until
/// it says so.
pub async fn keep_snapshots(
    (client, genesis): (LedgerClient, Digest),
    mut views: Views,
    snapshots: SubnetSender,
    shutdown: Shutdown,
) {
    loop {
        let view = views.borrow_and_update().clone();
        if let Some(view) = view {
            snapshots.send_if_modified(|before| update(before, &view));
            tokio::select! {
                biased;
                () = shutdown.requested() => return,
                () = learn_ring(&client, genesis, &view, &snapshots) => {}
            }
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            alive = views.changed() => if alive.is_err() { return },
        }
    }
}

/// Asks the ledger who may introduce sessions in the running tempo, where that is not known yet.
async fn learn_ring(client: &LedgerClient, genesis: Digest, view: &View, snapshots: &SubnetSender) {
    let subnet = &view.subnet;
    let is_wanted = |snapshot: &SubnetSnapshot| !snapshot.sessions.know(subnet.tempo);
    let is_wanted = subnet.parameter("evidence_sessions") == Some(1)
        && snapshots.borrow().as_deref().is_some_and(is_wanted);
    if !is_wanted {
        return;
    }
    let evidence = match client.evidence(subnet.netuid, subnet.tempo).await {
        Ok(evidence) => evidence,
        Err(error) => {
            warn!(tempo = subnet.tempo, %error, "who may ask in sessions is not known");
            return;
        }
    };
    let Some(ring) = evidence.ring(genesis) else {
        return;
    };
    snapshots.send_if_modified(|snapshot| {
        let Some(snapshot) = snapshot else { return false };
        Arc::make_mut(snapshot).sessions.learn(ring);
        true
    });
}

fn update(before: &mut Option<Arc<SubnetSnapshot>>, view: &View) -> bool {
    let next = snapshot(view, before.as_deref());
    let changed = before.as_deref() != Some(&next);
    if changed {
        *before = Some(Arc::new(next));
    }
    changed
}

/// Keeps the beacon of the tempo before, for challenges under way.
fn snapshot(view: &View, before: Option<&SubnetSnapshot>) -> SubnetSnapshot {
    let tempo = view.subnet.tempo;
    let mut beacons: BTreeMap<_, _> = before.map(|before| before.beacons.clone()).unwrap_or_default();
    beacons.retain(|&old, _| old <= tempo && old.saturating_add(1) >= tempo);
    if let Some(beacon) = view.beacon() {
        beacons.insert(tempo, beacon);
    }
    let mut sessions = before.map(|before| before.sessions.clone()).unwrap_or_default();
    sessions.keep_only(|old| beacons.contains_key(&old));
    let permitted = view.metagraph.neurons.iter().filter(|neuron| neuron.permit);
    let stakes = permitted.map(|neuron| (neuron.hotkey, neuron.stake.base_units()));
    SubnetSnapshot {
        tempo,
        beacons,
        permitted: shares(&stakes.collect::<Vec<_>>()),
        sessions,
    }
}

/// Each hotkey's part of all their stake, parts per million, rounded down; nothing where there is no stake at all.
fn shares(stakes: &[(Hotkey, u64)]) -> BTreeMap<Hotkey, u32> {
    let all: u128 = stakes.iter().map(|&(_, stake)| u128::from(stake)).sum();
    let share_ppm = |stake: u64| u128::from(stake) * 1_000_000 / all.max(1);
    stakes
        .iter()
        .map(|&(hotkey, stake)| (hotkey, u32::try_from(share_ppm(stake)).unwrap_or(u32::MAX)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stakes: &[u64], expected_ppm: &[u32]) {
        let named = |index: usize| Hotkey([index as u8; 32]);
        let stakes: Vec<_> = stakes
            .iter()
            .enumerate()
            .map(|(index, &stake)| (named(index), stake))
            .collect();
        let found: Vec<u32> = shares(&stakes).into_values().collect();
        assert_eq!(found, expected_ppm);
    }

    #[test]
    fn shares_are_parts_of_the_stake_of_those_who_may_ask() {
        check(&[], &[]);
        check(&[7], &[1_000_000]);
        check(&[600, 300, 100], &[600_000, 300_000, 100_000]);
        check(&[1, 2], &[333_333, 666_666]);
        check(&[0, 0], &[0, 0]);
        check(&[u64::MAX, u64::MAX], &[500_000, 500_000]);
    }
}

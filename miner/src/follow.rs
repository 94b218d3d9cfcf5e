//! What admission needs of the ledger, derived from what the follower reads.

use std::collections::BTreeMap;
use std::sync::Arc;

use agon_ledger_client::follow::{View, Views};
use agon_runtime::shutdown::Shutdown;
use tokio::sync::watch;

use crate::admission::SubnetSnapshot;

/// Keeps `snapshots` in step with `views` until shutdown.
pub async fn keep_snapshots(
    mut views: Views,
    snapshots: watch::Sender<Option<Arc<SubnetSnapshot>>>,
    shutdown: Shutdown,
) {
    loop {
        let view = views.borrow_and_update().clone();
        if let Some(view) = view {
            snapshots.send_if_modified(|before| update(before, &view));
        }
        tokio::select! {
            biased;
            () = shutdown.requested() => return,
            alive = views.changed() => if alive.is_err() { return },
        }
    }
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
    let permitted = view.metagraph.neurons.iter().filter(|neuron| neuron.permit);
    SubnetSnapshot {
        tempo,
        beacons,
        permitted: permitted.map(|neuron| neuron.hotkey).collect(),
    }
}

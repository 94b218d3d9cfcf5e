//! A validator that does no work: it gives the median of the weights that others have revealed.

use std::collections::BTreeMap;

use agon_ledger_client::ClientError;
use agon_protocol::id::Uid;
use agon_protocol::message::WeightRowView;
use agon_runtime::shutdown::Shutdown;
use agon_validator::commit::Due;
use agon_validator::{Config, World};
use tracing::warn;

use super::{Desk, next};

/// Copies until shutdown.
///
/// # Errors
///
/// [`ClientError`] when the ledger does not answer at the start.
pub async fn run(config: Config, world: World, shutdown: Shutdown) -> Result<(), ClientError> {
    let mut desk = Desk::open(config, world).await?;
    let mut views = desk.follow(&shutdown);
    while let Some(view) = next(&mut views, &shutdown).await {
        let Some(neuron) = desk.enter(&view) else {
            continue;
        };
        match desk.due(&view) {
            Due::Weigh => match desk.client.weights(desk.config.netuid).await {
                Ok(rows) => {
                    let row = median(&rows, neuron.uid);
                    if !row.is_empty() {
                        desk.weigh(&view, &row).await;
                    }
                }
                Err(error) => warn!(%error, "nothing can be copied"),
            },
            due => desk.settle(due).await,
        }
    }
    Ok(())
}

/// The median of what others gave each UID, the lower one of two; UIDs of which it is 0 are left out.
fn median(rows: &[WeightRowView], ourselves: Uid) -> Vec<(Uid, u16)> {
    let revealed = rows
        .iter()
        .filter(|row| row.uid != ourselves && !row.weights.is_empty());
    let revealed: Vec<&WeightRowView> = revealed.collect();
    let mut given: BTreeMap<Uid, Vec<u16>> = BTreeMap::new();
    for (uid, weight) in revealed.iter().flat_map(|row| &row.weights) {
        given.entry(*uid).or_default().push(*weight);
    }
    let middle = |mut weights: Vec<u16>| {
        // Whoever left a UID out gave it nothing.
        weights.resize(revealed.len(), 0);
        weights.sort_unstable();
        weights[(weights.len() - 1) / 2]
    };
    let medians = given.into_iter().map(|(uid, weights)| (uid, middle(weights)));
    medians
        .filter(|(uid, weight)| *uid != ourselves && *weight > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rows: &[(u16, &[(u16, u16)])], expected: &[(u16, u16)]) {
        let rows: Vec<WeightRowView> = rows
            .iter()
            .map(|(uid, weights)| WeightRowView {
                uid: Uid(*uid),
                weights: weights.iter().map(|(uid, weight)| (Uid(*uid), *weight)).collect(),
                open_commits: Vec::new(),
            })
            .collect();
        let found: Vec<(u16, u16)> = median(&rows, Uid(9))
            .iter()
            .map(|(uid, weight)| (uid.0, *weight))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn nothing_is_copied_before_others_reveal() {
        check(&[], &[]);
        check(&[(0, &[]), (9, &[(4, 7)])], &[]);
    }

    #[test]
    fn the_copy_is_the_middle_of_what_others_gave() {
        check(&[(0, &[(4, 9), (5, 1)])], &[(4, 9), (5, 1)]);
        check(
            &[
                (0, &[(4, 9), (5, 3)]),
                (1, &[(4, 5)]),
                (2, &[(4, 7), (5, 2), (6, 8)]),
                (9, &[(4, 1)]),
            ],
            &[(4, 7), (5, 2)],
        );
    }
}

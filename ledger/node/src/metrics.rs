//! What a node counts. Labels are bounded: the rules of the ledger are a fixed list, accounts are not in it.

use agon_runtime::telemetry::Metric;

const HEIGHT: Metric = Metric::gauge("agon_node_height_blocks", "Height of the newest stored block");
const BLOCK: Metric = Metric::histogram(
    "agon_node_block_seconds",
    "Time to propose, check and store one block",
);
const FINAL: Metric = Metric::histogram(
    "agon_node_final_seconds",
    "Time from a block's proposal, by its proposer's clock, until a committee's node has stored it",
);
const TRANSACTIONS: Metric = Metric::counter(
    "agon_node_transactions_total",
    "Transactions in stored blocks, by call",
);
const MEMPOOL: Metric = Metric::gauge(
    "agon_node_mempool_transactions",
    "Transactions that wait for a block",
);
const REFUSALS: Metric = Metric::counter("agon_node_refusals_total", "Refused transactions, by rule");
const EPOCHS: Metric = Metric::counter(
    "agon_node_epochs_total",
    "Epochs that stored blocks ran, by subnet",
);
const STREAMS: Metric = Metric::gauge("agon_node_event_streams", "Open event streams");

/// All of them, for their help texts.
pub const ALL: &[Metric] = &[
    HEIGHT,
    BLOCK,
    FINAL,
    TRANSACTIONS,
    MEMPOOL,
    REFUSALS,
    EPOCHS,
    STREAMS,
];

pub(crate) fn height(height: u64) {
    metrics::gauge!(HEIGHT.name()).set(height as f64);
}

pub(crate) fn block_seconds(elapsed: std::time::Duration) {
    metrics::histogram!(BLOCK.name()).record(elapsed.as_secs_f64());
}

pub(crate) fn final_after(elapsed: std::time::Duration) {
    metrics::histogram!(FINAL.name()).record(elapsed.as_secs_f64());
}

pub(crate) fn transaction(call: &'static str) {
    metrics::counter!(TRANSACTIONS.name(), "call" => call).increment(1);
}

pub(crate) fn mempool(transactions: usize) {
    metrics::gauge!(MEMPOOL.name()).set(transactions as f64);
}

pub(crate) fn refusal(rule: &'static str) {
    metrics::counter!(REFUSALS.name(), "rule" => rule).increment(1);
}

pub(crate) fn epoch(netuid: u16) {
    metrics::counter!(EPOCHS.name(), "netuid" => netuid.to_string()).increment(1);
}

pub(crate) fn event_stream_opened() {
    metrics::gauge!(STREAMS.name()).increment(1.0);
}

pub(crate) fn event_stream_closed() {
    metrics::gauge!(STREAMS.name()).decrement(1.0);
}

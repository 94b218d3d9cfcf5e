//! Trains the ladder.
fn main() {}

//! The committee: which block is next, agreed by several nodes through a BFT engine.

//! Language models on libtorch: loading, decoding, sampling, batching, training. The only crate that names tch.

pub mod runtime;
pub mod train;

pub use runtime::start;

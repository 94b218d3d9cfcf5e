//! Language models on libtorch: loading, decoding, sampling, batching, training. The only crate that names tch.

mod channel;
mod device;
mod request;
mod runtime;
pub mod train;

pub use channel::Generation;
pub use device::{DeviceChoice, DeviceChoiceError, DeviceError, Dtype, DtypeError};
pub use request::{Answer, Event, Finish, FinishReason, GenerateError, Request, Sampling};
pub use runtime::{LIBTORCH_VERSION, Runtime, start};

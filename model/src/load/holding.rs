//! Parameters on their way from the files into a decoder: each goes straight to its place.

use agon_model_kernels::Level;
use tch::{Device, Kind};

use super::LoadError;
use crate::arithmetic::Computes;
use crate::backend::{AnyDecoder, Room};
use crate::config::Config;
use crate::decoder::{Decoder, Tensors};
use crate::device::Dtype;
use crate::native::{NativeDecoder, Parameters};
use crate::weights::WeightFiles;

/// Rows of a matrix that are packed at a time.
const PACKED_TOGETHER: usize = 64;

/// Parameters on their way into a decoder.
pub(super) enum Holding {
    Kernels(Level, Parameters),
    Libtorch(Tensors, Kind, Device),
}

impl Holding {
    pub(super) fn new(config: &Config, computes: Computes, dtype: Dtype, device: Device) -> Holding {
        match computes {
            Computes::Kernels(level) => Holding::Kernels(level, Parameters::zeros(config, dtype.format())),
            Computes::Libtorch(kind) => Holding::Libtorch(Tensors::new(), kind, device),
        }
    }

    /// Takes one tensor out of the files; what identifies it is added to `digest`.
    pub(super) fn take(
        &mut self,
        files: &WeightFiles,
        tensor: &str,
        shape: &[usize],
        digest: &mut blake3::Hasher,
    ) -> Result<(), LoadError> {
        match self {
            Holding::Kernels(_, parameters) => {
                let together = PACKED_TOGETHER * shape.last().copied().unwrap_or(1);
                files.read(tensor, digest, together, |first, numbers| {
                    parameters.write(tensor, first, numbers);
                })
            }
            Holding::Libtorch(tensors, kind, device) => {
                let held = files.place(tensor, digest, *kind, *device)?;
                tensors.insert(tensor.to_owned(), held);
                Ok(())
            }
        }
    }

    pub(super) fn assemble(
        self,
        config: Config,
        threads: usize,
        room: Room,
    ) -> Result<AnyDecoder, LoadError> {
        match self {
            Holding::Kernels(level, parameters) => Ok(Box::new(NativeDecoder::new(
                config, parameters, level, threads, room,
            ))),
            Holding::Libtorch(tensors, kind, device) => {
                let decoder = Decoder::assemble(config, tensors, kind, device, room)
                    .map_err(|error| LoadError::torch("assemble the decoder", &error))?;
                Ok(Box::new(decoder))
            }
        }
    }
}

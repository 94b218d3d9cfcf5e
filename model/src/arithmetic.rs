//! Who computes a model: this project's own kernels, or libtorch.

use std::fmt;

use agon_model_kernels::Level;
use tch::{Device, Kind};

use crate::device::{Dtype, device_name};
use crate::load::LoadError;

/// What an operator lets a model be computed by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arithmetic {
    /// The kernels on a CPU that has the instructions for them, libtorch everywhere else.
    #[default]
    Auto,
    /// This project's kernels, on any CPU.
    Kernels,
    /// libtorch, on any device.
    Libtorch,
}

/// What computes a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Computes {
    /// The kernels, with the instructions of this level.
    Kernels(Level),
    /// libtorch, in this format.
    Libtorch(Kind),
}

impl fmt::Display for Computes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Computes::Kernels(level) => write!(formatter, "kernels {level}"),
            Computes::Libtorch(_) => formatter.write_str("libtorch"),
        }
    }
}

impl Arithmetic {
    /// What computes a model on `device` in `dtype`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Arithmetic`] where the three do not go together.
    pub(crate) fn resolve(self, device: Device, dtype: Dtype) -> Result<Computes, LoadError> {
        let level = Level::detect();
        let refuse = |wanted: &str| LoadError::NeedsKernels {
            wanted: wanted.to_owned(),
            found: format!("libtorch on {}", device_name(device)),
        };
        match (self, device, dtype.kind()) {
            (Arithmetic::Kernels, Device::Cpu, _) | (Arithmetic::Auto, Device::Cpu, None) => {
                Ok(Computes::Kernels(level))
            }
            (Arithmetic::Auto, Device::Cpu, _) if level.is_fast() => Ok(Computes::Kernels(level)),
            (Arithmetic::Kernels, ..) => Err(refuse("this choice of arithmetic")),
            (Arithmetic::Auto | Arithmetic::Libtorch, _, Some(kind)) => Ok(Computes::Libtorch(kind)),
            (Arithmetic::Auto | Arithmetic::Libtorch, _, None) => Err(refuse(&dtype.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arithmetic: Arithmetic, device: Device, dtype: Dtype, expected: Result<bool, &str>) {
        let found = arithmetic.resolve(device, dtype);
        let is_native = found.map(|computes| matches!(computes, Computes::Kernels(_)));
        let found = is_native.map_err(|error| error.to_string());
        assert_eq!(
            found,
            expected.map_err(str::to_owned),
            "{arithmetic:?} {device:?} {dtype}"
        );
    }

    #[test]
    fn a_cpu_computes_with_the_kernels_where_it_is_fast_and_a_gpu_with_libtorch() {
        let (cpu, gpu) = (Device::Cpu, Device::Cuda(1));
        for dtype in [Dtype::F32, Dtype::Bf16] {
            check(Arithmetic::Auto, cpu, dtype, Ok(Level::detect().is_fast()));
            check(Arithmetic::Auto, gpu, dtype, Ok(false));
            check(Arithmetic::Kernels, cpu, dtype, Ok(true));
            check(Arithmetic::Libtorch, cpu, dtype, Ok(false));
        }
        check(Arithmetic::Auto, cpu, Dtype::Int8, Ok(true));
        let refused = "int8 needs the kernels on a CPU, not libtorch on cuda:1";
        check(Arithmetic::Auto, gpu, Dtype::Int8, Err(refused));
        let refused = "int8 needs the kernels on a CPU, not libtorch on cpu";
        check(Arithmetic::Libtorch, cpu, Dtype::Int8, Err(refused));
        let refused = "this choice of arithmetic needs the kernels on a CPU, not libtorch on cuda:1";
        check(Arithmetic::Kernels, gpu, Dtype::F32, Err(refused));
    }
}

//! Where a model runs and in which number format.

use std::fmt;
use std::str::FromStr;

use agon_model_kernels::Format;
use tch::{Device, Kind};
use thiserror::Error;

use crate::runtime::start;

/// Where an operator wants a model to run: `auto`, `cpu` or `cuda:N`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The first CUDA device, or the CPU where there is none.
    #[default]
    Auto,
    /// The CPU, even beside a CUDA device.
    Cpu,
    /// This CUDA device and nothing else.
    Cuda(usize),
}

/// A device was written in a form that means nothing here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no such device: {found:?}; write auto, cpu, cuda or cuda:N")]
pub struct DeviceChoiceError {
    /// What was written.
    pub found: String,
}

impl FromStr for DeviceChoice {
    type Err = DeviceChoiceError;

    fn from_str(text: &str) -> Result<Self, DeviceChoiceError> {
        let unknown = || DeviceChoiceError {
            found: text.to_owned(),
        };
        match text {
            "auto" => Ok(DeviceChoice::Auto),
            "cpu" => Ok(DeviceChoice::Cpu),
            "cuda" => Ok(DeviceChoice::Cuda(0)),
            _ => {
                let index = text.strip_prefix("cuda:").ok_or_else(unknown)?;
                index.parse().map(DeviceChoice::Cuda).map_err(|_| unknown())
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceChoice::Auto => formatter.write_str("auto"),
            DeviceChoice::Cpu => formatter.write_str("cpu"),
            DeviceChoice::Cuda(index) => write!(formatter, "cuda:{index}"),
        }
    }
}

/// A device that was asked for and is not there.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// libtorch sees no CUDA device at all.
    #[error("cuda:{wanted} asked for, but there is no CUDA device: {reason}")]
    NoCuda {
        /// Index of the device that was asked for.
        wanted: usize,
        /// Why there is none.
        reason: String,
    },
    /// There are CUDA devices, but not this one.
    #[error("cuda:{wanted} asked for, but there are only {present} CUDA devices, counted from 0")]
    NoSuchCuda {
        /// Index of the device that was asked for.
        wanted: usize,
        /// How many there are.
        present: usize,
    },
}

impl DeviceChoice {
    /// Turns a wish into a device of libtorch that is there.
    pub(crate) fn resolve(self) -> Result<Device, DeviceError> {
        let runtime = start();
        match (self, runtime.cuda_devices) {
            (DeviceChoice::Cpu, _) | (DeviceChoice::Auto, 0) => Ok(Device::Cpu),
            (DeviceChoice::Auto, _) => Ok(Device::Cuda(0)),
            (DeviceChoice::Cuda(wanted), 0) => {
                let reason = runtime.cuda_absence.clone().unwrap_or_default();
                Err(DeviceError::NoCuda { wanted, reason })
            }
            (DeviceChoice::Cuda(wanted), present) if wanted < present => Ok(Device::Cuda(wanted)),
            (DeviceChoice::Cuda(wanted), present) => Err(DeviceError::NoSuchCuda { wanted, present }),
        }
    }
}

/// The name of a device in receipts and logs: `cpu` or `cuda:N`.
pub(crate) fn device_name(device: Device) -> String {
    match device {
        Device::Cuda(index) => DeviceChoice::Cuda(index).to_string(),
        _ => DeviceChoice::Cpu.to_string(),
    }
}

/// The number format that a model's parameters are kept and multiplied in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floats.
    F32,
    /// 16-bit floats with the exponent of 32-bit ones. On a CPU the key-value cache stays in `F32`.
    Bf16,
    /// 8 bits for each number and a scale for each 64 of a row, on a CPU alone. It answers nearly twice as fast as `Bf16`
    /// and is another model than the one in the files: never chosen unless asked for, and no reference.
    Int8,
}

/// A number format was written in a form that means nothing here.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("no such number format: {found:?}; write f32, bf16 or int8")]
pub struct DtypeError {
    /// What was written.
    pub found: String,
}

impl FromStr for Dtype {
    type Err = DtypeError;

    fn from_str(text: &str) -> Result<Self, DtypeError> {
        match text {
            "f32" => Ok(Dtype::F32),
            "bf16" => Ok(Dtype::Bf16),
            "int8" => Ok(Dtype::Int8),
            _ => Err(DtypeError {
                found: text.to_owned(),
            }),
        }
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::Int8 => "int8",
        })
    }
}

/// Below this many parameters a CPU is faster in `F32`: the kernels' fixed costs outweigh the memory saved.
const TINY_PARAMETERS: u64 = 8_000_000;

impl Dtype {
    /// The format that serves a model of this size best on this device.
    pub(crate) fn fitting(device: Device, parameters: u64) -> Dtype {
        if device == Device::Cpu && parameters < TINY_PARAMETERS {
            Dtype::F32
        } else {
            Dtype::Bf16
        }
    }

    /// The format in libtorch; `None` where it has none.
    pub(crate) fn kind(self) -> Option<Kind> {
        match self {
            Dtype::F32 => Some(Kind::Float),
            Dtype::Bf16 => Some(Kind::BFloat16),
            Dtype::Int8 => None,
        }
    }

    /// The format of matrices packed for the kernels.
    pub(crate) fn format(self) -> Format {
        match self {
            Dtype::F32 => Format::F32,
            Dtype::Bf16 => Format::Bf16,
            Dtype::Int8 => Format::Int8,
        }
    }

    /// Bytes of so many parameters, scales included.
    pub(crate) fn bytes_of(self, parameters: u64) -> u64 {
        match self {
            Dtype::F32 => parameters.saturating_mul(4),
            Dtype::Bf16 => parameters.saturating_mul(2),
            // A scale of two bytes for each 64.
            Dtype::Int8 => parameters.saturating_add(parameters / 32),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, choice: Option<DeviceChoice>) {
        assert_eq!(text.parse::<DeviceChoice>().ok(), choice, "{text}");
    }

    #[test]
    fn a_device_is_auto_cpu_or_a_numbered_cuda() {
        check("auto", Some(DeviceChoice::Auto));
        check("cpu", Some(DeviceChoice::Cpu));
        check("cuda", Some(DeviceChoice::Cuda(0)));
        check("cuda:3", Some(DeviceChoice::Cuda(3)));
        check("cuda:", None);
        check("cuda:-1", None);
        check("gpu", None);
        check("", None);
        assert_eq!(DeviceChoice::Cuda(3).to_string(), "cuda:3");
    }

    #[test]
    fn a_cuda_device_that_is_not_there_is_refused_by_name() {
        let present = start().cuda_devices;
        let error = DeviceChoice::Cuda(present + 7).resolve().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("cuda:{} asked for", present + 7)),
            "{error}"
        );
    }

    #[test]
    fn tiny_models_run_in_f32_on_a_cpu_and_others_in_bf16() {
        assert_eq!(Dtype::fitting(Device::Cpu, 1_000_000), Dtype::F32);
        assert_eq!(Dtype::fitting(Device::Cpu, 25_000_000), Dtype::Bf16);
        assert_eq!(Dtype::fitting(Device::Cuda(0), 1_000_000), Dtype::Bf16);
    }
}

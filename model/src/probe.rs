//! Measures a device: how much memory is free, and how fast it is read.

use std::time::{Duration, Instant};

use tch::{Device, Kind, TchError, Tensor};

use crate::device::{DeviceChoice, DeviceError, device_name};
use crate::load::first_line;

/// What a device has and can do.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceProbe {
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Bytes of memory that a model may take; `None` when the system does not say.
    pub free_bytes: Option<u64>,
    /// Bytes of memory, in use or not; `None` when the system does not say.
    pub total_bytes: Option<u64>,
    /// Bytes read each second.
    pub bandwidth: f64,
}

/// Why a device could not be measured.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProbeError {
    /// The device is not there.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// libtorch refused an operation, for want of memory for example.
    #[error("measure the memory of {device}: libtorch failed: {message}")]
    Torch {
        /// The device.
        device: String,
        /// libtorch's own words, first line.
        message: String,
    },
}

/// Beyond every cache of a processor; a tenth of a small GPU.
const CPU_BYTES: i64 = 256 << 20;
const CUDA_BYTES: i64 = 1 << 30;
/// The fastest of many readings counts: the others were disturbed.
const MEASURE_TIME: Duration = Duration::from_millis(400);
const READINGS_LEAST: u32 = 3;

impl DeviceProbe {
    /// Bytes of memory of a device that a model may take; `None` when the system does not say.
    ///
    /// # Errors
    ///
    /// [`DeviceError`] when the device is not there.
    pub fn free_memory(choice: DeviceChoice) -> Result<Option<u64>, DeviceError> {
        let memory = memory(choice.resolve()?);
        Ok(memory.map(|(free, _)| free))
    }

    /// Measures for half a second, with as many threads as the engine would use.
    ///
    /// # Errors
    ///
    /// [`ProbeError`].
    pub fn measure(choice: DeviceChoice, threads: usize) -> Result<DeviceProbe, ProbeError> {
        let device = choice.resolve()?;
        let bandwidth = bandwidth(device, threads).map_err(|error| ProbeError::Torch {
            device: device_name(device),
            message: first_line(&error),
        })?;
        let (free_bytes, total_bytes) = memory(device).unzip();
        Ok(DeviceProbe {
            device: device_name(device),
            free_bytes,
            total_bytes,
            bandwidth,
        })
    }
}

/// Free and whole memory.
fn memory(device: Device) -> Option<(u64, u64)> {
    match device {
        Device::Cuda(index) => cuda_memory(index),
        _ => host_memory(),
    }
}

fn bandwidth(device: Device, threads: usize) -> Result<f64, TchError> {
    let _no_grad = tch::no_grad_guard();
    let before = tch::get_num_threads();
    tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
    let bytes = if device == Device::Cpu {
        CPU_BYTES
    } else {
        CUDA_BYTES
    };
    let numbers = Tensor::f_ones([bytes / 4], (Kind::Float, device))?;
    let fastest = fastest_reading(&numbers);
    tch::set_num_threads(before);
    Ok(bytes as f64 / fastest?.as_secs_f64().max(1e-9))
}

fn fastest_reading(numbers: &Tensor) -> Result<Duration, TchError> {
    let begun = Instant::now();
    let mut fastest = Duration::MAX;
    let mut readings = 0;
    while readings < READINGS_LEAST || begun.elapsed() < MEASURE_TIME {
        let start = Instant::now();
        // Asking for the value waits for the device.
        f64::try_from(numbers.f_sum(Kind::Float)?)?;
        fastest = fastest.min(start.elapsed());
        readings += 1;
    }
    Ok(fastest)
}

/// Free and whole memory of this machine, or of the container that the process is in.
fn host_memory() -> Option<(u64, u64)> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let free = meminfo(&text, "MemAvailable:")?;
    let total = meminfo(&text, "MemTotal:")?;
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    match number("/sys/fs/cgroup/memory.max") {
        Some(limit) if limit < total => {
            let used = number("/sys/fs/cgroup/memory.current").unwrap_or(0);
            Some((free.min(limit.saturating_sub(used)), limit))
        }
        _ => Some((free, total)),
    }
}

/// One line of `/proc/meminfo`, in bytes.
fn meminfo(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// Free and whole memory of a CUDA device, from the CUDA runtime that libtorch brought along.
#[expect(
    unsafe_code,
    reason = "libtorch offers no such question, and CUDA's runtime speaks C only"
)]
fn cuda_memory(index: usize) -> Option<(u64, u64)> {
    use libloading::os::unix::{Library, Symbol};
    use std::ffi::c_int;
    let index = c_int::try_from(index).ok()?;
    // SAFETY: libtorch has opened this library already; opening it again only finds it.
    let library = unsafe { Library::open(Some("libcudart.so.13"), libloading::os::unix::RTLD_NOW) }.ok()?;
    let (mut free, mut total) = (0_usize, 0_usize);
    // SAFETY: names and types are those of CUDA's runtime API, and both pointers are to live numbers.
    let code = unsafe {
        let set: Symbol<unsafe extern "C" fn(c_int) -> c_int> = library.get(b"cudaSetDevice\0").ok()?;
        let info: Symbol<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int> =
            library.get(b"cudaMemGetInfo\0").ok()?;
        match set(index) {
            0 => info(&raw mut free, &raw mut total),
            failure => failure,
        }
    };
    // Closing it would be harmless, but it stays in use for as long as libtorch does.
    std::mem::forget(library);
    (code == 0).then_some((free as u64, total as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_memory_and_a_bandwidth() {
        let probe = DeviceProbe::measure(DeviceChoice::Cpu, 1).unwrap();
        assert_eq!(probe.device, "cpu");
        assert!(probe.free_bytes <= probe.total_bytes && probe.total_bytes > Some(0));
        assert!(probe.bandwidth.is_finite() && probe.bandwidth > 0.0);
    }

    #[test]
    fn lines_of_meminfo_are_kibibytes() {
        let text = "MemTotal:       16384 kB\nMemAvailable:    512 kB\nHugePages_Total:       0\n";
        assert_eq!(meminfo(text, "MemAvailable:"), Some(512 * 1024));
        assert_eq!(meminfo(text, "HugePages_Total:"), None);
        assert_eq!(meminfo(text, "Swap:"), None);
    }
}

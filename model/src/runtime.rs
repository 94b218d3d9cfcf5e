//! Brings libtorch up, once per process, and says what it found.
//!
//! The CUDA half of libtorch is not linked: it is opened here when it lies beside the CPU half, so that one
//! binary serves both. libtorch asks for its CUDA hooks once and keeps the answer, so this has to happen before
//! anything asks it about CUDA; everything in this crate that touches a device calls [`start`] first.

use std::sync::OnceLock;

/// What libtorch can do in this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runtime {
    /// CUDA devices that libtorch can use; 0 without a driver or without libtorch's CUDA half.
    pub cuda_devices: usize,
    /// Why there is no CUDA device, in words for an operator; `None` when there is one.
    pub cuda_absence: Option<String>,
}

/// The release of libtorch that this crate is built against.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// Brings libtorch up: opens its CUDA half if that is there, and sets one thread per operation.
///
/// Cheap after the first call. Call it early in `main`, before threads that might use tensors exist.
pub fn start() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let opened = open_cuda_half();
        // More threads pay for large models only, and spin on a shared machine: the engine raises this if asked.
        tch::set_num_threads(1);
        let cuda_devices = usize::try_from(tch::Cuda::device_count()).unwrap_or(0);
        let cuda_absence = match opened {
            _ if cuda_devices > 0 => None,
            Ok(()) => Some("libtorch found no CUDA device or driver".to_owned()),
            Err(error) => Some(error),
        };
        Runtime {
            cuda_devices,
            cuda_absence,
        }
    })
}

/// Opens `libtorch_cuda.so` for the whole process, from `LD_LIBRARY_PATH` or this binary's own run path.
#[expect(
    unsafe_code,
    reason = "opening a library runs its initialisers; it is libtorch's own other half"
)]
fn open_cuda_half() -> Result<(), String> {
    use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
    // SAFETY: the library belongs to the libtorch that is linked; its initialisers register the CUDA backend.
    let library = unsafe { Library::open(Some("libtorch_cuda.so"), RTLD_NOW | RTLD_GLOBAL) }
        .map_err(|error| error.to_string())?;
    // Registered kernels point into it, so it must never be unloaded.
    std::mem::forget(library);
    Ok(())
}

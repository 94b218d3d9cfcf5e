//! Recordings of what libtorch does on a CUDA device: its CUDA graphs, which tch does not offer.
//!
//! The calls are made by a small shared object of C++ beside libtorch's CUDA half (`shim.cpp` in this folder, built by
//! `cargo xtask setup --cuda`). It is opened when a model goes to a CUDA device and not before, so one binary serves
//! all machines. Where it is missing, or is not the one that this crate was written for, nothing is recorded and the
//! caller does without.

#[cfg(test)]
pub(crate) mod tests;

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::ptr::NonNull;

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use tch::TchError;
use thiserror::Error;

use crate::load::first_line;
use crate::runtime::LIBTORCH_VERSION;

/// The shared object, found in `LD_LIBRARY_PATH` or this binary's own run path, beside libtorch.
const LIBRARY: &str = "libagon_graphs.so";
/// Number of the interface below. It goes up with every change of it, here and in `shim.cpp`.
const INTERFACE: u32 = 1;

/// Why nothing is recorded or repeated.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum GraphsError {
    /// The shared object is not there or cannot be opened.
    #[error("{message}; `cargo xtask setup --cuda` builds it")]
    Missing {
        /// The loader's own words, which name the file.
        message: String,
    },
    /// The shared object was built for another interface or another libtorch, whose types may differ.
    #[error(
        "{LIBRARY} is version {found:?}, expected {expected:?}; `cargo xtask setup --cuda` builds it anew"
    )]
    Version {
        /// Interface and libtorch that it was built for.
        found: String,
        /// Those of this crate.
        expected: String,
    },
    /// CUDA or libtorch refused.
    #[error("{doing}: {message}")]
    Refused {
        /// What was being attempted.
        doing: &'static str,
        /// First line of what it said.
        message: String,
    },
}

impl From<TchError> for GraphsError {
    fn from(error: TchError) -> GraphsError {
        GraphsError::Refused {
            doing: "compute the step",
            message: first_line(&error),
        }
    }
}

/// Something that belongs to the shared object.
#[derive(Clone, Copy, Debug)]
struct Handle(NonNull<c_void>);

#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
// SAFETY: what it points to is libtorch's own types, bound to a device and to no thread; who holds the handle is the
// only one to use it.
unsafe impl Send for Handle {}

/// The functions of `shim.cpp`. Those that return a number return 0 when all went well, and those that return a
/// handle a null pointer when it did not.
#[derive(Clone, Copy, Debug)]
struct Functions {
    error: unsafe extern "C" fn() -> *const c_char,
    open: unsafe extern "C" fn(c_int) -> *mut c_void,
    close: unsafe extern "C" fn(*mut c_void),
    enter: unsafe extern "C" fn(*mut c_void) -> c_int,
    leave: unsafe extern "C" fn(*mut c_void) -> c_int,
    begin: unsafe extern "C" fn(*mut c_void) -> *mut c_void,
    end: unsafe extern "C" fn(*mut c_void) -> c_int,
    replay: unsafe extern "C" fn(*mut c_void) -> c_int,
    free: unsafe extern "C" fn(*mut c_void),
}

/// What records on one CUDA device.
#[derive(Debug)]
pub(crate) struct Graphs {
    functions: Functions,
    recorder: Handle,
}

/// Operations that can be repeated.
#[derive(Debug)]
pub(crate) struct Recording {
    functions: Functions,
    graph: Handle,
}

impl Graphs {
    /// Opens the shared object and makes a recorder for the CUDA device `device`.
    ///
    /// # Errors
    ///
    /// [`GraphsError`]: it is missing, of another version, or refuses the device.
    pub(crate) fn open(device: usize) -> Result<Graphs, GraphsError> {
        Graphs::open_from(OsStr::new(LIBRARY), device)
    }

    #[expect(unsafe_code, reason = "functions of a shared object are called")]
    fn open_from(library: &OsStr, device: usize) -> Result<Graphs, GraphsError> {
        let functions = Functions::of(library)?;
        let device = c_int::try_from(device).unwrap_or(c_int::MAX);
        // SAFETY: `Functions::of` saw the version, so this is the function of `shim.cpp`; it takes any number.
        let recorder = unsafe { (functions.open)(device) };
        let recorder = functions.handle("open the device for recordings", recorder)?;
        Ok(Graphs { functions, recorder })
    }

    /// Records `operations`, which are called twice: once to be done, since libraries set themselves up at the first
    /// use and that cannot be recorded, and once to be recorded, when nothing is computed. They have to use the same
    /// memory whenever they are repeated, and must not wait for the device.
    ///
    /// # Errors
    ///
    /// [`GraphsError::Refused`] when an operation failed or cannot be recorded.
    pub(crate) fn record(
        &self,
        mut operations: impl FnMut() -> Result<(), TchError>,
    ) -> Result<Recording, GraphsError> {
        let _entered = Entered::new(self)?;
        operations()?;
        let recording = self.begin()?;
        let recorded = operations();
        // Ended whatever became of them: until then the device takes nothing else from this thread.
        let ended = recording.end();
        recorded?;
        ended?;
        Ok(recording)
    }

    #[expect(unsafe_code, reason = "a function of a shared object is called")]
    fn begin(&self) -> Result<Recording, GraphsError> {
        // SAFETY: the recorder is alive as long as `self`.
        let graph = unsafe { (self.functions.begin)(self.recorder.0.as_ptr()) };
        let graph = self.functions.handle("begin to record", graph)?;
        Ok(Recording {
            functions: self.functions,
            graph,
        })
    }
}

#[expect(unsafe_code, reason = "a function of a shared object is called")]
impl Drop for Graphs {
    fn drop(&mut self) {
        // SAFETY: the recorder is alive and not used again; recordings do not need it.
        unsafe { (self.functions.close)(self.recorder.0.as_ptr()) }
    }
}

/// While it lives, what this thread does goes where it can be recorded.
struct Entered<'graphs>(&'graphs Graphs);

impl<'graphs> Entered<'graphs> {
    #[expect(unsafe_code, reason = "a function of a shared object is called")]
    fn new(graphs: &'graphs Graphs) -> Result<Entered<'graphs>, GraphsError> {
        // SAFETY: the recorder is alive as long as `graphs`, and nobody else has entered it: there is one caller,
        // which leaves before it returns.
        let status = unsafe { (graphs.functions.enter)(graphs.recorder.0.as_ptr()) };
        graphs.functions.check("enter the recorder", status)?;
        Ok(Entered(graphs))
    }
}

#[expect(unsafe_code, reason = "a function of a shared object is called")]
impl Drop for Entered<'_> {
    fn drop(&mut self) {
        // SAFETY: the recorder is alive and was entered by this thread: the value is made and dropped in one call.
        // What fails in it fails again in the next operation, where it can be told.
        let _ = unsafe { (self.0.functions.leave)(self.0.recorder.0.as_ptr()) };
    }
}

impl Recording {
    #[expect(unsafe_code, reason = "a function of a shared object is called")]
    fn end(&self) -> Result<(), GraphsError> {
        // SAFETY: the graph is alive as long as `self`.
        let status = unsafe { (self.functions.end)(self.graph.0.as_ptr()) };
        self.functions.check("end the recording", status)
    }

    /// Does what was recorded once more, behind whatever this thread gave the device before.
    ///
    /// # Errors
    ///
    /// [`GraphsError::Refused`].
    #[expect(unsafe_code, reason = "a function of a shared object is called")]
    pub(crate) fn replay(&self) -> Result<(), GraphsError> {
        // SAFETY: the graph is alive as long as `self`, and its recording has ended.
        let status = unsafe { (self.functions.replay)(self.graph.0.as_ptr()) };
        self.functions.check("repeat a recorded step", status)
    }
}

#[expect(unsafe_code, reason = "a function of a shared object is called")]
impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: the graph is alive and not used again.
        unsafe { (self.functions.free)(self.graph.0.as_ptr()) }
    }
}

impl Functions {
    /// Opens `library`, which stays open as long as the process lives, since libtorch keeps what it registers.
    #[expect(
        unsafe_code,
        reason = "opening a library runs its initialisers, and its functions are taken at their word"
    )]
    fn of(library: &OsStr) -> Result<Functions, GraphsError> {
        // SAFETY: the object is built from `shim.cpp`, whose initialisers make thread-local strings and no more.
        let library = unsafe { Library::open(Some(library), RTLD_NOW | RTLD_LOCAL) }.map_err(missing)?;
        // SAFETY: every version of `shim.cpp` has this function, of this type.
        let version = unsafe { symbol::<unsafe extern "C" fn() -> *const c_char>(&library, "version")? };
        // SAFETY: it takes nothing and returns a string that is never freed.
        let found = unsafe { text(version()) };
        let expected = format!("{INTERFACE} {LIBTORCH_VERSION}");
        if found != expected {
            return Err(GraphsError::Version { found, expected });
        }
        // SAFETY: these are the functions and types of this version of the interface.
        let functions = unsafe {
            Functions {
                error: symbol(&library, "error")?,
                open: symbol(&library, "open")?,
                close: symbol(&library, "close")?,
                enter: symbol(&library, "enter")?,
                leave: symbol(&library, "leave")?,
                begin: symbol(&library, "begin")?,
                end: symbol(&library, "end")?,
                replay: symbol(&library, "replay")?,
                free: symbol(&library, "free")?,
            }
        };
        std::mem::forget(library);
        Ok(functions)
    }

    fn check(&self, doing: &'static str, status: c_int) -> Result<(), GraphsError> {
        if status == 0 {
            Ok(())
        } else {
            Err(self.refused(doing))
        }
    }

    fn handle(&self, doing: &'static str, pointer: *mut c_void) -> Result<Handle, GraphsError> {
        let pointer = NonNull::new(pointer).ok_or_else(|| self.refused(doing))?;
        Ok(Handle(pointer))
    }

    #[expect(unsafe_code, reason = "a function of a shared object is called")]
    fn refused(&self, doing: &'static str) -> GraphsError {
        // SAFETY: it takes nothing and returns a string that lives until this thread's next call.
        let said = unsafe { text((self.error)()) };
        GraphsError::Refused {
            doing,
            message: said.lines().next().unwrap_or_default().to_owned(),
        }
    }
}

fn missing(error: libloading::Error) -> GraphsError {
    GraphsError::Missing {
        message: error.to_string(),
    }
}

/// The function `agon_graphs_NAME`.
///
/// # Safety
///
/// `T` is a pointer to a function of its type.
#[expect(unsafe_code, reason = "the type of a symbol cannot be checked")]
unsafe fn symbol<T: Copy>(library: &Library, name: &str) -> Result<T, GraphsError> {
    let name = format!("agon_graphs_{name}");
    // SAFETY: the caller knows the type.
    let symbol = unsafe { library.get::<T>(name.as_bytes()) }.map_err(missing)?;
    Ok(*symbol)
}

/// A copy of a string of C, which may be null.
///
/// # Safety
///
/// It ends with a zero and lives while it is copied.
#[expect(unsafe_code, reason = "a string of C is read")]
unsafe fn text(string: *const c_char) -> String {
    if string.is_null() {
        return String::new();
    }
    // SAFETY: the caller says so.
    let string = unsafe { CStr::from_ptr(string) };
    string.to_string_lossy().into_owned()
}

//! The shared object through which models record CUDA graphs, compiled beside libtorch's CUDA half.
//!
//! Its source and its versions are the business of `model/src/graphs`; here it is only built. It needs no CUDA compiler:
//! the headers come with the wheels.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::Context as _;

use super::Libtorch;
use crate::host::{Host, INSTALL_COMPILER};
use crate::repo::Repo;
use crate::run;

/// What models open, by this name.
pub(super) const LIBRARY: &str = "libagon_graphs.so";
const SOURCE: &str = "model/src/graphs/shim.cpp";

/// Compiles it into the folder of `libtorch`, which has its CUDA half. A libtorch of the user's own is left as it is.
///
/// # Errors
///
/// When there is no C++ compiler, or it refuses the source.
pub(crate) fn build(repo: &Repo, libtorch: &Libtorch) -> anyhow::Result<()> {
    if libtorch.is_own {
        eprintln!("{LIBRARY} is not built into your LIBTORCH: models there decode without CUDA graphs");
        return Ok(());
    }
    let lib = libtorch.folder.join("lib");
    let new = lib.join(format!("{LIBRARY}.new"));
    let mut command = Host::current()
        .command("c++", &[])
        .with_context(|| format!("no C++ compiler\n  {INSTALL_COMPILER}"))?;
    command.args(arguments(&libtorch.folder, &repo.root().join(SOURCE), &new));
    run::step(command).context("libtorch is in place, what records CUDA graphs is not")?;
    // In one step: a program that is running keeps the file that it opened.
    fs::rename(&new, lib.join(LIBRARY)).with_context(|| format!("move {LIBRARY} into {}", lib.display()))
}

/// Arguments for a C++ compiler. The wheels' layout has NVIDIA's files beside the folder of libtorch.
fn arguments(libtorch: &Path, source: &Path, out: &Path) -> Vec<OsString> {
    let nvidia = libtorch.with_file_name("nvidia").join("cu13");
    let lib = libtorch.join("lib");
    let mut arguments: Vec<OsString> = [
        "-std=c++17",
        "-O2",
        "-fPIC",
        "-shared",
        "-D_GLIBCXX_USE_CXX11_ABI=1",
    ]
    .map(OsString::from)
    .to_vec();
    for folder in [libtorch.join("include"), nvidia.join("include")] {
        arguments.extend(["-isystem".into(), folder.into_os_string()]);
    }
    arguments.extend([source.into(), "-o".into(), out.into()]);
    for folder in [lib, nvidia.join("lib")] {
        arguments.extend(["-L".into(), folder.into_os_string()]);
    }
    let libraries = ["-ltorch_cuda", "-lc10_cuda", "-lc10", "-l:libcudart.so.13"];
    arguments.extend(libraries.map(OsString::from));
    arguments.push("-Wl,-rpath,$ORIGIN:$ORIGIN/../../nvidia/cu13/lib".into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_libraries_are_those_of_the_set_up() {
        let arguments = arguments(
            Path::new("/s/torch"),
            Path::new("a.cpp"),
            Path::new("/s/torch/lib/b"),
        );
        let text = arguments.join(std::ffi::OsStr::new(" ")).into_string().unwrap();
        for part in [
            "-isystem /s/torch/include -isystem /s/nvidia/cu13/include",
            "a.cpp -o /s/torch/lib/b",
            "-L /s/torch/lib -L /s/nvidia/cu13/lib",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn models_open_what_is_built_here_from_the_source_that_is_there() {
        let models = include_str!("../../../model/src/graphs/mod.rs");
        assert!(models.contains(&format!("\"{LIBRARY}\"")));
        assert!(Repo::locate().unwrap().root().join(SOURCE).is_file());
    }
}

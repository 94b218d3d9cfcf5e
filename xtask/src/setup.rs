//! `setup`: libtorch in place, and nothing else.

use std::process::ExitCode;

use crate::help;
use crate::libtorch::{self, Half};
use crate::repo::Repo;

pub(crate) const HELP: &str = "\
Usage: cargo xtask setup [--cuda]

Fetches libtorch with pip, checks it against pinned hashes, keeps it in your cache folder
(XDG_CACHE_HOME, else ~/.cache) and links it into .libtorch. Does nothing where that is done.
Every other chore does this by itself; run it alone to prepare a machine or to add CUDA.
A LIBTORCH of your own in the environment is used instead, and then nothing is fetched.

  --cuda   add the CUDA half for NVIDIA cards (2.5 GB to fetch, 3.9 GB on disk), and compile
           what records CUDA graphs. No rebuild is needed: the same binaries find both.

Examples:
  cargo xtask setup
  cargo xtask setup --cuda
  LIBTORCH=/opt/libtorch cargo xtask setup
";

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let [cuda] = help::flags(args, ["--cuda"])?;
    let half = if cuda { Half::Cuda } else { Half::Cpu };
    let repo = Repo::locate()?;
    let libtorch = libtorch::ensure(&repo, half)?;
    if cuda {
        libtorch::build_graphs(&repo, &libtorch)?;
    }
    eprintln!("libtorch {} is in place", libtorch.version);
    Ok(ExitCode::SUCCESS)
}

//! What this machine offers: programs on the search path, disk, memory.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::bail;

/// The machine as seen through one search path; tests give one that holds only their own programs.
#[derive(Debug)]
pub(crate) struct Host {
    search_path: OsString,
}

impl Host {
    pub(crate) fn current() -> Self {
        Self {
            search_path: std::env::var_os("PATH").unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_search_path(search_path: impl Into<OsString>) -> Self {
        Self {
            search_path: search_path.into(),
        }
    }

    /// Where `program` is, or nothing where the search path does not lead to it.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        let executable = |path: &PathBuf| {
            path.metadata()
                .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
        };
        std::env::split_paths(&self.search_path)
            .map(|folder| folder.join(program))
            .find(executable)
    }

    /// `program` with `args`, ready to run under this search path.
    pub(crate) fn command(&self, program: &str, args: &[&str]) -> Option<Command> {
        let mut command = Command::new(self.find(program)?);
        command.args(args).env("PATH", &self.search_path);
        Some(command)
    }

    /// First line that `program args` prints, where it is there and succeeds.
    pub(crate) fn first_line(&self, program: &str, args: &[&str]) -> Option<String> {
        let output = self.command(program, args)?.output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        output
            .status
            .success()
            .then(|| text.lines().next().unwrap_or_default().trim().to_owned())
    }

    /// Bytes that a user may still write below `folder`, which need not exist yet; nothing where `df` does not say.
    pub(crate) fn disk_free_bytes(&self, folder: &Path) -> Option<u64> {
        let existing = folder.ancestors().find(|folder| folder.is_dir())?;
        let mut command = self.command("df", &["-P", "-k"])?;
        let output = command.arg(existing).env("LC_ALL", "C").output().ok()?;
        available_kibibytes(&String::from_utf8_lossy(&output.stdout)).map(|kibibytes| kibibytes * 1024)
    }

    /// Fails where one of the `programs` that a build calls is missing.
    pub(crate) fn require_compilers(&self) -> anyhow::Result<()> {
        let compiler = |variable: &str, usual: &str| {
            std::env::var(variable)
                .ok()
                .filter(|name| !name.is_empty())
                .unwrap_or_else(|| usual.to_owned())
        };
        for (program, what) in [("cc".into(), "linker"), (compiler("CXX", "c++"), "C++ compiler")] {
            // A variable may hold a path or flags behind the name; the build itself judges those.
            if !program.contains(['/', ' ']) && self.find(&program).is_none() {
                bail!("no {what}: `{program}` is not on the search path\n  {INSTALL_COMPILER}");
            }
        }
        Ok(())
    }
}

/// What to do where the C++ compiler is missing.
pub(crate) const INSTALL_COMPILER: &str = "Debian and Ubuntu: sudo apt-get install -y g++";
/// What to do where Python is missing.
pub(crate) const INSTALL_PYTHON: &str = "Debian and Ubuntu: sudo apt-get install -y python3 python3-pip";
/// What to do where Python is there and its pip is not.
pub(crate) const INSTALL_PIP: &str = "Debian and Ubuntu: sudo apt-get install -y python3-pip";

/// Sizes as people say them: `512 MB`, `1.2 GB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const MEGABYTE: u64 = 1_000_000;
    if bytes < 1000 * MEGABYTE {
        return format!("{} MB", bytes.div_ceil(MEGABYTE));
    }
    format!("{:.1} GB", bytes as f64 / 1e9)
}

/// Fourth column of the last line of `df -P -k`.
fn available_kibibytes(df_output: &str) -> Option<u64> {
    df_output.lines().last()?.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_disk_is_the_fourth_column_of_df() {
        let output =
            "Filesystem 1024-blocks Used Available Capacity Mounted on\n/dev/a 100 40 60 40% /home\n";
        assert_eq!(available_kibibytes(output), Some(60));
        assert_eq!(available_kibibytes(""), None);
    }

    #[test]
    fn a_folder_that_does_not_exist_yet_has_the_disk_of_its_parent() {
        let folder = tempfile::tempdir().unwrap();
        let host = Host::current();
        assert!(host.disk_free_bytes(&folder.path().join("a/b/c")).is_some());
    }

    #[test]
    fn a_missing_compiler_is_named_with_what_to_install() {
        let error = Host::with_search_path("/nonexistent")
            .require_compilers()
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no linker: `cc`") && error.contains("apt-get install -y g++"),
            "{error}"
        );
    }

    #[test]
    fn sizes_are_rounded_for_people() {
        assert_eq!(human_bytes(530_600_001), "531 MB");
        assert_eq!(human_bytes(4_612_000_000), "4.6 GB");
    }
}

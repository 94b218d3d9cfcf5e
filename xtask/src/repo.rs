//! Where things are in this checkout, and cargo started so that it does what it would do when typed by hand.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::libtorch::Libtorch;

/// One checkout of the repository.
#[derive(Debug)]
pub(crate) struct Repo {
    root: PathBuf,
    /// The folder that holds `release/`: cargo's target folder, wherever the user keeps it.
    target: PathBuf,
}

impl Repo {
    /// Finds the checkout whose xtask this is.
    pub(crate) fn locate() -> anyhow::Result<Self> {
        // cargo sets the variable when it runs us; the compiled-in value serves a binary that is started by hand.
        let manifest_folder =
            env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&manifest_folder)
            .parent()
            .context("xtask lies in a folder of the repository")?;
        let binary = env::current_exe().context("find the path of this program")?;
        let target = binary
            .ancestors()
            .nth(2)
            .context("this program lies in target/<profile>")?;
        Ok(Self {
            root: root.to_owned(),
            target: target.to_owned(),
        })
    }

    /// The checkout's top folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a binary that cargo has built in release.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    /// `cargo <args>` in the checkout's top folder, finding `libtorch` at build time and at run time.
    pub(crate) fn cargo(&self, libtorch: &Libtorch, args: &[&str]) -> Command {
        let mut command = self.plain_cargo(args);
        self.point_at(libtorch, &mut command);
        command
    }

    /// Builds every binary of the workspace in release.
    ///
    /// `--examples`, of which there is one small one, makes cargo choose the features of dependencies as it does for tests.
    /// Without it tokio and what rests on it would be compiled once for the binaries and once more for the tests.
    pub(crate) fn build_binaries(&self, libtorch: &Libtorch) -> Command {
        self.cargo(
            libtorch,
            &["build", "--release", "--workspace", "--bins", "--examples"],
        )
    }

    /// `cargo <args>` for what builds nothing.
    pub(crate) fn plain_cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(&self.root);
        // What cargo took from `.cargo/config.toml` on our behalf it takes again by itself. Handing it down as well
        // would look like a setting of the user's, and build scripts would run again at each change of caller.
        if env::var_os("LIBTORCH").is_some_and(|path| Path::new(&path) == self.own_libtorch()) {
            command.env_remove("LIBTORCH");
        }
        // Cargo sets it for this program, and build scripts of dependencies look at it: left in place, a build from
        // here and one by hand would each compile again what the other one did.
        command.env_remove("CARGO_MANIFEST_DIR");
        if env::var("LIBTORCH_CXX11_ABI").as_deref() == Ok("1") {
            command.env_remove("LIBTORCH_CXX11_ABI");
        }
        if env::var_os("CARGO_TARGET_DIR").is_some() {
            command.env("CARGO_TARGET_DIR", &self.target);
        }
        command
    }

    /// One of our release binaries, finding `libtorch` at run time. It runs in the caller's folder.
    pub(crate) fn program(&self, libtorch: &Libtorch, name: &str, args: &[String]) -> Command {
        let mut command = Command::new(self.binary(name));
        command.args(args);
        self.point_at(libtorch, &mut command);
        command
    }

    /// What `.cargo/config.toml` sets LIBTORCH to.
    pub(crate) fn own_libtorch(&self) -> PathBuf {
        self.root.join(".libtorch/torch")
    }

    /// Binaries carry a relative rpath from `target/release` to `.libtorch`. Where either lies elsewhere, the loader is
    /// told through `LD_LIBRARY_PATH`, which wins over the rpath.
    fn point_at(&self, libtorch: &Libtorch, command: &mut Command) {
        if libtorch.folder == self.own_libtorch() && self.target == self.root.join("target") {
            return;
        }
        let mut path = OsString::from(libtorch.folder.join("lib"));
        if let Some(rest) = env::var_os("LD_LIBRARY_PATH") {
            path.push(":");
            path.push(rest);
        }
        command.env("LD_LIBRARY_PATH", path);
    }

    /// Folders of the workspace's members, as `Cargo.toml` lists them.
    pub(crate) fn members(&self) -> anyhow::Result<Vec<String>> {
        let path = self.root.join("Cargo.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(member_folders(&text))
    }
}

/// The package that lives in `folder`: `ledger/state` holds `agon-ledger-state`.
pub(crate) fn package_of(folder: &str) -> String {
    format!("agon-{}", folder.replace('/', "-"))
}

fn member_folders(workspace_manifest: &str) -> Vec<String> {
    let list = workspace_manifest
        .split_once("\nmembers = [")
        .map_or("", |(_, rest)| rest);
    let list = list.split_once(']').map_or("", |(list, _)| list);
    list.split(',')
        .map(|item| item.trim().trim_matches('"').to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_in_the_order_of_the_manifest() {
        let text = "[workspace]\nresolver = \"3\"\nmembers = [\n    \"cli\",\n    \"ledger/state\",\n]\n";
        assert_eq!(member_folders(text), ["cli", "ledger/state"]);
        assert_eq!(package_of("ledger/state"), "agon-ledger-state");
    }
}

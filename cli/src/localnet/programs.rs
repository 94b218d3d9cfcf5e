//! The programs and models that a localnet needs, found before anything is started.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cast::{Member, Rung};

/// Where the programs are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The ledger's node.
    pub node: PathBuf,
    /// The miner.
    pub miner: PathBuf,
    /// The validator.
    pub validator: PathBuf,
    /// The miner that cheats; only looked for where somebody does.
    pub cheater: PathBuf,
    /// The validator that cheats; only looked for where somebody does.
    pub rogue: PathBuf,
}

impl Programs {
    /// The programs beside this very one.
    ///
    /// # Errors
    ///
    /// When one that `cast` needs is missing, with how to build it.
    pub fn find(cast: &[Member]) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("find this program's own folder")?;
        Self::find_in(own.parent().unwrap_or(Path::new(".")), cast)
    }

    fn find_in(dir: &Path, cast: &[Member]) -> anyhow::Result<Self> {
        let programs = Self {
            node: dir.join("agon-node"),
            miner: dir.join("agon-miner"),
            validator: dir.join("agon-validator"),
            cheater: dir.join("agon-test-miner"),
            rogue: dir.join("agon-test-validator"),
        };
        let cheats = |role| {
            let cheats = |member: &Member| member.role() == role && !member.is_honest();
            cast.iter().any(cheats)
        };
        let needed = [&programs.node, &programs.miner, &programs.validator];
        let needed = needed
            .into_iter()
            .chain(cheats("miner").then_some(&programs.cheater))
            .chain(cheats("validator").then_some(&programs.rogue));
        for path in needed {
            anyhow::ensure!(
                path.is_file(),
                "{} is missing: start with cargo xtask localnet, which builds everything, or run \
                 cargo build --release --workspace --bins",
                path.display()
            );
        }
        Ok(programs)
    }
}

/// Where the ladder of models is.
#[derive(Clone, Debug)]
pub struct Models {
    dir: PathBuf,
}

impl Models {
    /// The folder that was named, or else `models` here or above this program.
    ///
    /// # Errors
    ///
    /// When there is none, or a rung is missing in it.
    pub fn find(named: Option<&Path>) -> anyhow::Result<Self> {
        let dir = match named {
            Some(dir) => dir.to_owned(),
            None => candidates()
                .into_iter()
                .find(|dir| dir.is_dir())
                .context("there is no folder models here or above this program: name it with --models DIR")?,
        };
        let models = Self {
            dir: std::path::absolute(&dir).with_context(|| format!("look for {}", dir.display()))?,
        };
        match Rung::ALL
            .into_iter()
            .find(|rung| !models.folder(*rung).join("config.json").is_file())
        {
            None => Ok(models),
            Some(rung) => anyhow::bail!(
                "{} holds no model: cargo xtask train --rung {} makes it, or name another folder with --models",
                models.folder(rung).display(),
                rung.name()
            ),
        }
    }

    /// Folder of the calibrations that ship beside the models.
    #[must_use]
    pub fn calibrations(&self) -> PathBuf {
        self.dir.parent().unwrap_or(&self.dir).join("subnets/calibration")
    }

    /// Folder of a rung.
    #[must_use]
    pub fn folder(&self, rung: Rung) -> PathBuf {
        self.dir.join(rung.name())
    }
}

/// The present folder's, then those of the folders above this program, nearest first.
fn candidates() -> Vec<PathBuf> {
    let own = std::env::current_exe().unwrap_or_default();
    let above = own.ancestors().skip(1).map(|dir| dir.join("models"));
    [PathBuf::from("models")].into_iter().chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::super::attacks::{Attack, join};
    use super::super::cast::{Ask, cast};
    use super::*;

    fn folder(programs: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in programs {
            std::fs::write(dir.path().join(name), b"").unwrap();
        }
        dir
    }

    #[test]
    fn a_missing_program_is_named_with_how_to_build_it() {
        let dir = folder(&["agon-node", "agon-miner"]);
        let error = Programs::find_in(dir.path(), &cast(1, 1, Ask::Reading))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("agon-validator") && error.contains("cargo"),
            "{error}"
        );
    }

    #[test]
    fn the_cheater_is_needed_only_where_somebody_cheats() {
        let dir = folder(&["agon-node", "agon-miner", "agon-validator"]);
        assert!(Programs::find_in(dir.path(), &cast(1, 5, Ask::Reading)).is_ok());
        let error = Programs::find_in(dir.path(), &cast(1, 8, Ask::Reading))
            .unwrap_err()
            .to_string();
        assert!(error.contains("agon-test-miner"), "{error}");
        let copied = join(cast(1, 5, Ask::Reading), &[Attack::Copier]);
        let error = Programs::find_in(dir.path(), &copied).unwrap_err().to_string();
        assert!(error.contains("agon-test-validator"), "{error}");
    }

    #[test]
    fn a_ladder_that_lacks_a_rung_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for rung in ["large", "medium"] {
            std::fs::create_dir(dir.path().join(rung)).unwrap();
            std::fs::write(dir.path().join(rung).join("config.json"), b"{}").unwrap();
        }
        let error = Models::find(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("small"), "{error}");
    }
}

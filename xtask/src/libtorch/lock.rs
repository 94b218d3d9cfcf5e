//! The pinned wheels: `xtask/libtorch.lock`, read.

use anyhow::{Context as _, bail};

/// The file in the repository that pins what is fetched.
const TEXT: &str = include_str!("../../libtorch.lock");

/// Which machines a set-up of libtorch serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Half {
    /// Processors only.
    Cpu,
    /// Processors, and NVIDIA cards through CUDA 13.
    Cuda,
}

impl Half {
    /// As PyTorch marks its builds behind the version number.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cu130",
        }
    }

    /// Bytes that a set-up takes at its fullest: what is kept, and the largest wheel beside it, rounded up.
    pub(crate) fn disk_bytes(self) -> u64 {
        match self {
            Self::Cpu => 1_100_000_000,
            Self::Cuda => 4_400_000_000,
        }
    }
}

/// One pinned wheel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wheel {
    pub(crate) half: Half,
    pub(crate) package: String,
    pub(crate) version: String,
    /// Download size, rounded up, to tell how long it takes.
    pub(crate) megabytes: u64,
    /// 64 lowercase hexadecimal digits.
    pub(crate) sha256: String,
    /// Name of the file in the package index.
    pub(crate) file: String,
}

/// The pinned wheels of every half.
#[derive(Clone, Debug)]
pub(crate) struct Lock {
    pub(crate) wheels: Vec<Wheel>,
}

impl Lock {
    /// The lock file that this binary was built with.
    pub(crate) fn pinned() -> anyhow::Result<Self> {
        Self::parse(TEXT).context("read xtask/libtorch.lock")
    }

    /// Version of PyTorch, which is the version of libtorch.
    pub(crate) fn version(&self) -> &str {
        &self.wheels[0].version
    }

    /// The wheels that make up `half`: CUDA is added to the processors' part, never alone.
    pub(crate) fn wheels_of(&self, half: Half) -> impl Iterator<Item = &Wheel> {
        self.wheels
            .iter()
            .filter(move |wheel| half == Half::Cuda || wheel.half == Half::Cpu)
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let mut wheels = Vec::new();
        for (index, line) in text.lines().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            wheels.push(parse_line(line).with_context(|| format!("line {}", index + 1))?);
        }
        match wheels.first() {
            Some(wheel) if wheel.package == "torch" => Ok(Self { wheels }),
            _ => bail!("the first wheel must be torch"),
        }
    }
}

fn parse_line(line: &str) -> anyhow::Result<Wheel> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [half, package, version, megabytes, sha256, _licence, file] = fields[..] else {
        bail!("{} fields where 7 are expected", fields.len());
    };
    let half = match half {
        "cpu" => Half::Cpu,
        "cuda" => Half::Cuda,
        other => bail!("half `{other}` is neither `cpu` nor `cuda`"),
    };
    if sha256.len() != 64
        || !sha256
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    {
        bail!("sha256 `{sha256}` is not 64 lowercase hexadecimal digits");
    }
    Ok(Wheel {
        half,
        package: package.to_owned(),
        version: version.to_owned(),
        megabytes: megabytes
            .parse()
            .with_context(|| format!("megabytes `{megabytes}`"))?,
        sha256: sha256.to_owned(),
        file: file.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_of_the_repository_is_well_formed() {
        let lock = Lock::pinned().unwrap();
        assert_eq!(lock.version(), "2.11.0");
        assert_eq!(lock.wheels_of(Half::Cpu).count(), 3);
        assert_eq!(lock.wheels_of(Half::Cuda).count(), 17);
    }

    #[test]
    fn a_damaged_line_is_refused_with_its_number() {
        let line = "cpu torch 2.11.0 531 abc BSD-3-Clause torch.whl";
        let error = Lock::parse(&format!("# comment\n{line}\n")).unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "line 2: sha256 `abc` is not 64 lowercase hexadecimal digits"
        );
    }
}

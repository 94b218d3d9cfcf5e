//! Wheels: downloaded with pip, compared with their pinned hash, unpacked in part.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::lock::{Half, Lock, Wheel};
use crate::host::{Host, INSTALL_PIP, INSTALL_PYTHON};

/// Reads wheels, which are zip archives, with the Python that fetches them.
const UNZIP: &str = include_str!("unzip.py");

/// What a wheel is looked up for. The Python version is that of the wheel, not of this machine: nothing Python is kept.
const TARGET: [&str; 20] = [
    "--implementation",
    "cp",
    "--python-version",
    "3.12",
    "--abi",
    "cp312",
    "--abi",
    "none",
    "--platform",
    "manylinux_2_28_x86_64",
    "--platform",
    "manylinux_2_27_x86_64",
    "--platform",
    "manylinux_2_25_x86_64",
    "--platform",
    "manylinux_2_18_x86_64",
    "--platform",
    "manylinux_2_17_x86_64",
    "--platform",
    "manylinux2014_x86_64",
];

/// Shared objects of the processors' half; the wheel has more, for Python and for CUDA.
const CPU_LIBRARIES: [&str; 4] = ["libtorch.so", "libtorch_cpu.so", "libc10.so", "libgomp.so.1"];
/// What `libtorch_cpu.so` is itself linked to.
const CPU_NVIDIA_LIBRARIES: [&str; 2] = ["libcudart.so.13", "libcupti.so.13"];

/// A Python with pip.
#[derive(Debug)]
pub(super) struct Pip<'a> {
    host: &'a Host,
}

impl<'a> Pip<'a> {
    /// Finds `python3`, and asks it whether it has pip.
    pub(super) fn find(host: &'a Host) -> anyhow::Result<Self> {
        if host.find("python3").is_none() {
            bail!("no python3 on the search path; libtorch is fetched with its pip\n  {INSTALL_PYTHON}");
        }
        if host.first_line("python3", &["-m", "pip", "--version"]).is_none() {
            bail!("python3 has no pip, with which libtorch is fetched\n  {INSTALL_PIP}");
        }
        Ok(Self { host })
    }

    fn python(&self, args: &[&str]) -> anyhow::Result<Command> {
        self.host
            .command("python3", args)
            .context("python3 has gone from the search path")
    }
}

/// Fetches the wheels of `half` one at a time, which keeps the peak use of the disk low, and unpacks each into `tree`.
/// Downloads go to `work/wheels`, where they are found again after a failure.
pub(super) fn wheels(pip: &Pip<'_>, lock: &Lock, half: Half, work: &Path, tree: &Path) -> anyhow::Result<()> {
    let shelf = work.join("wheels");
    fs::create_dir_all(&shelf).with_context(|| format!("make {}", shelf.display()))?;
    let wheels: Vec<&Wheel> = lock.wheels_of(half).collect();
    let megabytes: u64 = wheels.iter().map(|wheel| wheel.megabytes).sum();
    eprintln!(
        "libtorch {} ({}): {} wheels, {megabytes} MB",
        lock.version(),
        half.tag(),
        wheels.len()
    );
    for (index, wheel) in wheels.iter().enumerate() {
        let Wheel {
            package,
            version,
            megabytes,
            ..
        } = wheel;
        eprintln!(
            "[{}/{}] {package} {version}, {megabytes} MB",
            index + 1,
            wheels.len()
        );
        let file = shelf.join(&wheel.file);
        if !is_as_pinned(&file, wheel) {
            download(pip, wheel, work, &shelf)?;
            verify(&file, wheel)?;
        }
        unpack(pip, &file, half, tree).with_context(|| format!("unpack {}", wheel.file))?;
        fs::remove_file(&file).with_context(|| format!("remove {}", file.display()))?;
    }
    Ok(())
}

fn is_as_pinned(file: &Path, wheel: &Wheel) -> bool {
    file.is_file() && verify(file, wheel).is_ok()
}

fn download(pip: &Pip<'_>, wheel: &Wheel, work: &Path, shelf: &Path) -> anyhow::Result<()> {
    let scratch = work.join("tmp");
    fs::create_dir_all(&scratch).with_context(|| format!("make {}", scratch.display()))?;
    let mut command = pip.python(&["-m", "pip", "download"])?;
    command
        .args([
            "--no-cache-dir",
            "--no-deps",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .args(["--only-binary=:all:", "--dest"])
        .arg(shelf)
        .args(TARGET)
        .arg(format!("{}=={}", wheel.package, wheel.version))
        // pip unpacks nothing, but it downloads into its temporary folder first, and /tmp is often small.
        .env("TMPDIR", &scratch)
        .env_remove("PIP_REQUIRE_VIRTUALENV")
        .stdin(Stdio::null())
        .stdout(io::stderr())
        .stderr(Stdio::piped());
    let (status, said) = run_and_listen(command)?;
    if !status.success() {
        bail!(explain(&said, wheel, shelf));
    }
    Ok(())
}

/// Runs `command`, passes on what it says on standard error, and gives that back as well.
fn run_and_listen(mut command: Command) -> anyhow::Result<(ExitStatus, String)> {
    let mut child = command.spawn().context("start python3 -m pip")?;
    let errors = child
        .stderr
        .take()
        .context("pip's standard error was asked for")?;
    let mut said = String::new();
    for line in BufReader::new(errors).split(b'\n') {
        let line = line.context("read what pip says")?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        said.push_str(&line);
        said.push('\n');
    }
    Ok((child.wait().context("wait for pip")?, said))
}

/// Turns what pip said into what to do.
fn explain(said: &str, wheel: &Wheel, shelf: &Path) -> String {
    const NO_NETWORK: [&str; 9] = [
        "NewConnectionError",
        "NameResolutionError",
        "Temporary failure in name resolution",
        "Connection refused",
        "Network is unreachable",
        "ConnectTimeoutError",
        "ReadTimeoutError",
        "ProxyError",
        "Connection broken",
    ];
    let says = |part: &str| said.contains(part);
    let what = format!("{} {} was not fetched", wheel.package, wheel.version);
    let by_hand = format!(
        "Or put {} into {} and run this again.",
        wheel.file,
        shelf.display()
    );
    let advice = if says("No space left on device") {
        "the disk is full\n  Make room, or set XDG_CACHE_HOME to a folder on a larger disk.".to_owned()
    } else if says("CERTIFICATE_VERIFY_FAILED") {
        "the package index's certificate is not trusted here\n  \
         Behind a proxy of your own, set PIP_CERT to its certificate."
            .to_owned()
    } else if NO_NETWORK.iter().any(|part| says(part)) {
        format!(
            "the package index is out of reach\n  \
             Check the network, or set PIP_INDEX_URL to a mirror, HTTPS_PROXY to a proxy.\n  {by_hand}"
        )
    } else if says("No matching distribution") {
        format!(
            "the package index does not have it\n  \
             Unset PIP_INDEX_URL if it names a partial mirror; an old pip may need \
             `python3 -m pip install --upgrade pip`.\n  {by_hand}"
        )
    } else {
        "pip failed, see above".to_owned()
    };
    format!("{what}: {advice}")
}

fn verify(file: &Path, wheel: &Wheel) -> anyhow::Result<()> {
    ensure!(
        file.is_file(),
        "the package index gave another file than {}, the pinned one\n  \
         Unset PIP_INDEX_URL and PIP_FIND_LINKS if they name a mirror with its own builds.",
        wheel.file
    );
    let found = sha256_of(file).with_context(|| format!("read {}", file.display()))?;
    if found != wheel.sha256 {
        // A retry must not find it again.
        fs::remove_file(file).with_context(|| format!("remove {}", file.display()))?;
        bail!(
            "{} is not the pinned file: its sha256 is\n  {found}, expected\n  {}\n  \
             The download was damaged or replaced on its way and has been removed. Run this again; if it stays so, \
             unset PIP_INDEX_URL if it names a mirror.",
            wheel.file,
            wheel.sha256
        );
    }
    Ok(())
}

/// Lowercase hexadecimal.
pub(super) fn sha256_of(file: &Path) -> io::Result<String> {
    const CHUNK_BYTES: usize = 1 << 20;
    let mut file = File::open(file)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut chunk)? {
            0 => break,
            len => hasher.update(&chunk[..len]),
        }
    }
    Ok(hasher
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// Extracts what C++ and the loader need.
fn unpack(pip: &Pip<'_>, wheel: &Path, half: Half, tree: &Path) -> anyhow::Result<()> {
    let listed = unzip(pip, "list", wheel)?.output().context("list the members")?;
    ensure!(
        listed.status.success(),
        "python3 could not list it: {}",
        String::from_utf8_lossy(&listed.stderr)
    );
    let members = String::from_utf8(listed.stdout).context("member names are UTF-8")?;
    let kept: Vec<&str> = members.lines().filter(|member| is_kept(member, half)).collect();

    let mut child = unzip(pip, "extract", wheel)?
        .arg(tree)
        .stdin(Stdio::piped())
        .spawn()
        .context("start python3")?;
    let mut names = child
        .stdin
        .take()
        .context("the child's standard input was asked for")?;
    names
        .write_all(kept.join("\n").as_bytes())
        .context("hand over the members to extract")?;
    drop(names);
    let status = child.wait().context("wait for python3")?;
    ensure!(status.success(), "python3 could not extract it: {status}");
    Ok(())
}

fn unzip(pip: &Pip<'_>, verb: &str, wheel: &Path) -> anyhow::Result<Command> {
    let mut command = pip.python(&["-I", "-c", UNZIP, verb])?;
    command.arg(wheel);
    Ok(command)
}

/// Says whether a wheel's member is wanted. The wheels' own layout (`torch/` beside `nvidia/`) is kept, because the
/// libraries find each other by relative paths in it.
fn is_kept(member: &str, half: Half) -> bool {
    let name = member.rsplit('/').next().unwrap_or(member);
    if name.is_empty() {
        return false; // a folder
    }
    if let Some(library) = member.strip_prefix("torch/lib/") {
        let wanted = half == Half::Cuda && library != "libtorch_python.so";
        return !library.contains('/') && (wanted || CPU_LIBRARIES.contains(&library));
    }
    if member.starts_with("nvidia/") {
        return half == Half::Cuda || CPU_NVIDIA_LIBRARIES.contains(&name);
    }
    member.starts_with("torch/include/") || member.contains("licenses/") || name == "License.txt"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(member: &str, in_cpu: bool, in_cuda: bool) {
        assert_eq!(
            (is_kept(member, Half::Cpu), is_kept(member, Half::Cuda)),
            (in_cpu, in_cuda),
            "{member}"
        );
    }

    #[test]
    fn a_wheel_is_reduced_to_headers_libraries_and_licences() {
        check("torch/include/torch/csrc/api/include/torch/torch.h", true, true);
        check("torch/lib/libtorch_cpu.so", true, true);
        check("torch/lib/libtorch_cuda.so", false, true);
        check("torch/lib/libtorch_python.so", false, false);
        check("torch/nn/functional.py", false, false);
        check("torch/include/", false, false);
        check("nvidia/cu13/lib/libcudart.so.13", true, true);
        check("nvidia/cu13/include/cuda.h", false, true);
        check("torch-2.11.0.dist-info/licenses/LICENSE", true, true);
        check("torch-2.11.0.dist-info/RECORD", false, false);
    }

    #[test]
    fn what_pip_says_becomes_what_to_do() {
        let wheel = &Lock::pinned().unwrap().wheels[0];
        let cases = [
            (
                "WARNING: Retrying ... NewConnectionError ... No matching distribution",
                "PIP_INDEX_URL to a mirror",
            ),
            ("OSError: [Errno 28] No space left on device", "the disk is full"),
            ("SSLCertVerificationError: CERTIFICATE_VERIFY_FAILED", "PIP_CERT"),
            (
                "ERROR: No matching distribution found for torch==2.11.0",
                "does not have it",
            ),
            ("Traceback", "see above"),
        ];
        for (said, expected) in cases {
            let text = explain(said, wheel, Path::new("shelf"));
            assert!(
                text.starts_with("torch 2.11.0 was not fetched: ") && text.contains(expected),
                "{text}"
            );
        }
    }
}

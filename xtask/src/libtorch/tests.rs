//! Setting up libtorch on machines that lack something, with stand-ins for Python, pip and `df`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::lock::{Lock, Wheel};
use super::{Half, cache, fetch, in_place, own};
use crate::host::Host;

/// A machine with only the programs it was given, an index that serves one wheel, and an empty cache.
struct Machine {
    folder: TempDir,
    lock: Lock,
}

impl Machine {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["bin", "index", "checkout"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let machine = Self {
            folder,
            lock: Lock { wheels: Vec::new() },
        };
        machine.install("df", "echo 'fs 1 1 9000000000 1% /'")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a program. A child does it: were the file open for writing in this process, another test's fork could
    /// hold it open a moment longer and make it refuse to run.
    fn install(self, program: &str, script: &str) -> Self {
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod +x "$0""#;
        let path = self.path("bin").join(program);
        let status = Command::new("sh")
            .arg("-c")
            .arg(write)
            .arg(path)
            .arg(script)
            .status()
            .unwrap();
        assert!(status.success());
        self
    }

    /// Installs a `python3` whose pip serves the index's wheel, or does what `pip_download` says.
    fn with_python(self, pip_download: &str) -> Self {
        let real = Host::current()
            .find("python3")
            .expect("the tests of set-up need python3");
        let script = format!(
            "case \"$*\" in\n*'pip --version'*) echo pip 1 ;;\n*'pip download'*) {pip_download} ;;\n\
             *) PATH='{}' exec {} \"$@\" ;;\nesac",
            std::env::var("PATH").unwrap(),
            real.display()
        );
        self.install("python3", &script)
    }

    /// Puts a wheel with the members of a small libtorch into the index, and pins it.
    fn with_wheel(mut self) -> Self {
        let file = self.path("index").join("torch.whl");
        let make = "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[1], 'w') as z:\n    [z.writestr(n, n) for n in sys.argv[2:]]";
        let members = [
            "torch/lib/libtorch_cpu.so",
            "torch/lib/libtorch_cuda.so",
            "torch/include/a.h",
            "torch/a.py",
        ];
        let status = Command::new("python3")
            .args(["-c", make])
            .arg(&file)
            .args(members)
            .status()
            .unwrap();
        assert!(status.success());
        self.lock.wheels.push(Wheel {
            half: Half::Cpu,
            package: "torch".to_owned(),
            version: "2.11.0".to_owned(),
            megabytes: 1,
            sha256: fetch::sha256_of(&file).unwrap(),
            file: "torch.whl".to_owned(),
        });
        self
    }

    /// What pip does where all is well: the file after `--dest` is the wheel.
    fn copy_wheel(&self) -> String {
        let index = self.path("index");
        format!(
            "while [ \"$1\" != --dest ]; do shift; done; /bin/cp {}/torch.whl \"$2\"",
            index.display()
        )
    }

    fn set_up(&self) -> anyhow::Result<()> {
        let host = Host::with_search_path(self.path("bin"));
        cache::fill_and_link(&host, &self.lock, Half::Cpu, &self.path("cache"), &self.link())
    }

    fn link(&self) -> PathBuf {
        self.path("checkout").join(".libtorch")
    }

    #[track_caller]
    fn check_refused(&self, parts: &[&str]) {
        let error = format!("{:#}", self.set_up().unwrap_err());
        for part in parts {
            assert!(error.contains(part), "`{part}` is missing in: {error}");
        }
        assert!(
            !self.link().exists(),
            "a link was made although nothing was set up"
        );
    }
}

fn healthy() -> Machine {
    let machine = Machine::new().with_wheel();
    let download = machine.copy_wheel();
    machine.with_python(&download)
}

#[test]
fn a_wheel_is_fetched_reduced_marked_and_linked() {
    let machine = healthy();
    machine.set_up().unwrap();
    let kept = |name: &str| machine.link().join(name).exists();
    assert!(machine.link().is_symlink());
    assert!(kept("torch/lib/libtorch_cpu.so") && kept("torch/include/a.h"));
    assert!(!kept("torch/lib/libtorch_cuda.so") && !kept("torch/a.py"));
    assert_eq!(
        fs::read_to_string(machine.link().join("torch/build-version")).unwrap(),
        "2.11.0+cpu\n"
    );
    assert!(
        !machine.path("cache/libtorch-2.11.0-cpu.new").exists(),
        "the working folder is gone"
    );
}

#[test]
fn a_second_clone_needs_no_download() {
    let machine = healthy();
    machine.set_up().unwrap();
    fs::remove_file(machine.link()).unwrap();
    let machine = machine.with_python("echo 'no network' >&2; exit 1");
    machine.set_up().unwrap();
    assert!(in_place(&machine.link(), &machine.lock, Half::Cpu).is_some());
}

#[test]
fn a_link_into_a_cleaned_cache_is_mended() {
    let machine = healthy();
    machine.set_up().unwrap();
    fs::remove_dir_all(machine.path("cache")).unwrap();
    assert!(in_place(&machine.link(), &machine.lock, Half::Cpu).is_none());
    machine.set_up().unwrap();
    assert!(in_place(&machine.link(), &machine.lock, Half::Cpu).is_some());
}

#[test]
fn set_ups_at_the_same_time_make_one() {
    let machine = healthy();
    std::thread::scope(|scope| {
        let both = [0, 1].map(|_| {
            scope.spawn(|| {
                let host = Host::with_search_path(machine.path("bin"));
                let link = machine
                    .path("checkout")
                    .join(format!("{:?}", std::thread::current().id()));
                cache::fill_and_link(&host, &machine.lock, Half::Cpu, &machine.path("cache"), &link)
            })
        });
        for one in both {
            one.join().unwrap().unwrap();
        }
    });
}

#[test]
fn without_python_the_package_to_install_is_named() {
    Machine::new()
        .with_wheel()
        .check_refused(&["no python3", "apt-get install -y python3 python3-pip"]);
}

#[test]
fn without_pip_the_package_to_install_is_named() {
    let machine = Machine::new()
        .with_wheel()
        .install("python3", "echo 'No module named pip' >&2; exit 1");
    machine.check_refused(&["python3 has no pip", "apt-get install -y python3-pip"]);
}

#[test]
fn without_network_a_mirror_or_a_file_by_hand_is_advised() {
    let machine = Machine::new()
        .with_wheel()
        .with_python("echo 'NewConnectionError: x' >&2; exit 1");
    machine.check_refused(&[
        "out of reach",
        "PIP_INDEX_URL",
        "put torch.whl into",
        "cpu.new/wheels",
    ]);
}

#[test]
fn a_wheel_put_there_by_hand_is_used() {
    let machine = Machine::new()
        .with_wheel()
        .with_python("echo NewConnectionError >&2; exit 1");
    let shelf = machine.path("cache/libtorch-2.11.0-cpu.new/wheels");
    fs::create_dir_all(&shelf).unwrap();
    fs::copy(machine.path("index/torch.whl"), shelf.join("torch.whl")).unwrap();
    machine.set_up().unwrap();
}

#[test]
fn a_file_with_another_hash_is_refused_and_removed() {
    let mut machine = healthy();
    machine.lock.wheels[0].sha256 = "0".repeat(64);
    machine.check_refused(&[
        "torch.whl is not the pinned file",
        &"0".repeat(64),
        "Run this again",
    ]);
    assert!(
        !machine
            .path("cache/libtorch-2.11.0-cpu.new/wheels/torch.whl")
            .exists()
    );
}

#[test]
fn another_file_than_the_pinned_one_is_refused() {
    let machine = Machine::new().with_wheel().with_python("true");
    machine.check_refused(&["another file than torch.whl"]);
}

#[test]
fn a_full_disk_is_seen_before_the_download() {
    let machine = healthy().install("df", "echo 'fs 1 1 1000 1% /'");
    machine.check_refused(&["2 MB free", "1.1 GB", "XDG_CACHE_HOME"]);
}

#[test]
fn a_folder_that_is_not_ours_is_left_alone() {
    let machine = healthy();
    fs::create_dir(machine.link()).unwrap();
    let error = machine.set_up().unwrap_err().to_string();
    assert!(error.contains("Move it away"), "{error}");
}

#[test]
fn a_libtorch_of_ones_own_is_taken_when_its_version_fits() {
    let folder = TempDir::new().unwrap();
    let check = |expected: Result<&str, &str>| match (own::check(folder.path(), "2.11.0"), expected) {
        (Ok(libtorch), Ok(version)) => assert_eq!(libtorch.version, version),
        (Err(error), Err(part)) => assert!(format!("{error:#}").contains(part), "{error:#}"),
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    };
    check(Err("has no lib/libtorch_cpu.so"));
    fs::create_dir(folder.path().join("lib")).unwrap();
    fs::write(folder.path().join("lib/libtorch_cpu.so"), "").unwrap();
    check(Err("no build-version or version.py"));
    fs::write(folder.path().join("version.py"), "__version__ = '2.11.0+cu130'\n").unwrap();
    check(Ok("2.11.0+cu130"));
    fs::write(folder.path().join("build-version"), "2.1.0+cpu\n").unwrap();
    check(Err(
        "which is version 2.1.0+cpu; point LIBTORCH at libtorch 2.11.0",
    ));
}

#[test]
fn a_libtorch_of_ones_own_that_does_not_exist_is_refused() {
    let error = own::check(Path::new("/nonexistent/libtorch"), "2.11.0").unwrap_err();
    assert!(
        format!("{error:#}").contains("unset it and one is fetched"),
        "{error:#}"
    );
}

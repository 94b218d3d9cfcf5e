//! `doctor`: what this machine has, what it lacks, and what to install.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use crate::host::{Host, INSTALL_COMPILER, INSTALL_PIP, INSTALL_PYTHON, human_bytes};
use crate::libtorch::{self, Libtorch};
use crate::repo::Repo;
use crate::{help, json};

pub(crate) const HELP: &str = "\
Usage: cargo xtask doctor [--json]

Prints what was found: compilers, Python and pip, libtorch and where it comes from, CUDA, cores,
memory, disk. What is missing comes with what to install. Changes nothing.
Exit code 1 where something is missing that the other chores need.

  --json   one object: {\"ok\", \"findings\": [{\"name\", \"status\", \"found\", \"advice\"}]},
           status being \"ok\", \"optional\" (absent, and not needed) or \"missing\"

Examples:
  cargo xtask doctor
  cargo xtask doctor --json
";

/// A release build of everything with its tests, rounded up.
const BUILD_DISK_BYTES: u64 = 6_000_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Ok,
    /// Not there, and not needed for what most people do.
    Optional,
    Missing,
}

#[derive(Debug)]
struct Finding {
    name: &'static str,
    status: Status,
    found: String,
    /// What to do about it; empty where there is nothing to do.
    advice: String,
}

impl Finding {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            status: Status::Ok,
            found: found.into(),
            advice: String::new(),
        }
    }

    fn lacking(name: &'static str, status: Status, found: &str, advice: impl Into<String>) -> Self {
        Self {
            name,
            status,
            found: found.to_owned(),
            advice: advice.into(),
        }
    }
}

pub(crate) fn run(args: &[String]) -> anyhow::Result<ExitCode> {
    let [as_json] = help::flags(args, ["--json"])?;
    let findings = examine(&Repo::locate()?, &Host::current())?;
    let ok = findings.iter().all(|finding| finding.status != Status::Missing);
    if as_json {
        println!("{}", to_json(ok, &findings));
    } else {
        print(ok, &findings);
    }
    Ok(if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn examine(repo: &Repo, host: &Host) -> anyhow::Result<Vec<Finding>> {
    let looked = libtorch::look(repo);
    let fetch_needed = matches!(looked, Ok(None));
    let libtorch = looked.as_ref().ok().and_then(Option::as_ref);
    let mut findings = vec![system(host)];
    findings.extend(toolchain(host));
    findings.extend(python(host, fetch_needed));
    findings.push(match &looked {
        Err(error) => Finding::lacking("libtorch", Status::Missing, "not usable", format!("{error:#}")),
        Ok(libtorch) => describe(libtorch.as_ref(), repo)?,
    });
    findings.push(cuda(host, libtorch));
    findings.push(Finding::ok("processors", format!("{} cores", cores())));
    findings.extend(memory());
    findings.push(disk(host, "disk for builds", repo.root(), BUILD_DISK_BYTES));
    let cache = libtorch::cache_folder()?;
    let needed = if fetch_needed {
        libtorch::Half::Cpu.disk_bytes()
    } else {
        0
    };
    findings.push(disk(host, "disk for libtorch", &cache, needed));
    Ok(findings)
}

fn system(host: &Host) -> Finding {
    let libc = host
        .first_line("getconf", &["GNU_LIBC_VERSION"])
        .unwrap_or_else(|| "no glibc".to_owned());
    let name = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = name
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or(std::env::consts::OS);
    Finding::ok(
        "system",
        format!("{}, {}, {libc}", name.trim_matches('"'), std::env::consts::ARCH),
    )
}

fn toolchain(host: &Host) -> Vec<Finding> {
    let needed = |name, program: &str, advice: &str| match host.first_line(program, &["--version"]) {
        Some(version) => Finding::ok(name, version),
        None => Finding::lacking(name, Status::Missing, "not found", advice),
    };
    let component = |name, program: &str, advice: &str| match host.first_line(program, &["--version"]) {
        Some(version) => Finding::ok(name, version),
        None => Finding::lacking(name, Status::Optional, "not found, only `check` needs it", advice),
    };
    vec![
        needed("rustc", "rustc", "install Rust with rustup: https://rustup.rs"),
        needed("cargo", "cargo", "install Rust with rustup: https://rustup.rs"),
        component("rustfmt", "rustfmt", "rustup component add rustfmt"),
        component("clippy", "cargo-clippy", "rustup component add clippy"),
        needed("linker", "cc", INSTALL_COMPILER),
        needed("C++ compiler", "c++", INSTALL_COMPILER),
    ]
}

/// Python and pip are only called to fetch libtorch.
fn python(host: &Host, fetch_needed: bool) -> Vec<Finding> {
    let absent = if fetch_needed {
        Status::Missing
    } else {
        Status::Optional
    };
    let found = "not found, only fetching libtorch needs it";
    let find = |name, args: &[&str], advice: &str| match host.first_line("python3", args) {
        Some(version) => Finding::ok(name, version),
        None => Finding::lacking(name, absent, found, advice),
    };
    vec![
        find("python3", &["--version"], INSTALL_PYTHON),
        find("pip", &["-m", "pip", "--version"], INSTALL_PIP),
    ]
}

fn describe(libtorch: Option<&Libtorch>, repo: &Repo) -> anyhow::Result<Finding> {
    let Some(libtorch) = libtorch else {
        let found = format!("{} is not fetched yet", libtorch::pinned_version()?);
        return Ok(Finding::lacking(
            "libtorch",
            Status::Optional,
            &found,
            "cargo xtask setup (other chores do it too)",
        ));
    };
    let place = match (libtorch.is_own, fs::read_link(repo.root().join(".libtorch"))) {
        (true, _) => format!("{} (your LIBTORCH)", libtorch.folder.display()),
        (false, Ok(target)) => format!("{} (linked into .libtorch)", target.display()),
        (false, Err(_)) => libtorch.folder.display().to_string(),
    };
    Ok(Finding::ok(
        "libtorch",
        format!("{} in {place}", libtorch.version),
    ))
}

fn cuda(host: &Host, libtorch: Option<&Libtorch>) -> Finding {
    let half = libtorch.is_some_and(Libtorch::has_cuda);
    match (driver(host), half) {
        (Some(driver), true) if libtorch.is_some_and(Libtorch::has_graphs) => Finding::ok(
            "CUDA",
            format!("{driver}, libtorch's CUDA half, and what records CUDA graphs"),
        ),
        (Some(driver), true) => Finding::lacking(
            "CUDA",
            Status::Optional,
            &format!("{driver} and libtorch's CUDA half, but nothing that records CUDA graphs"),
            "cargo xtask setup --cuda",
        ),
        (Some(driver), false) => Finding::lacking(
            "CUDA",
            Status::Optional,
            &format!("{driver}, without libtorch's CUDA half"),
            "cargo xtask setup --cuda",
        ),
        (None, true) => Finding::lacking(
            "CUDA",
            Status::Optional,
            "libtorch's CUDA half, but no NVIDIA driver",
            "install the driver of your NVIDIA card, if it has one",
        ),
        (None, false) => Finding::lacking(
            "CUDA",
            Status::Optional,
            "no NVIDIA driver: models run on the processor",
            "",
        ),
    }
}

/// The NVIDIA driver: its kernel module says its version, its library is what CUDA opens.
fn driver(host: &Host) -> Option<String> {
    if let Ok(text) = fs::read_to_string("/proc/driver/nvidia/version") {
        let line = text.lines().next().unwrap_or_default();
        let version = line
            .split_whitespace()
            .find(|word| word.starts_with(|c: char| c.is_ascii_digit()));
        return Some(format!(
            "NVIDIA driver {}",
            version.unwrap_or("of unknown version")
        ));
    }
    let known = host
        .command("ldconfig", &["-p"])
        .and_then(|mut command| command.output().ok());
    let known = known
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned())
        .unwrap_or_default();
    known.contains("libcuda.so.1").then(|| "libcuda.so.1".to_owned())
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn memory() -> Option<Finding> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
            .map(|kibibytes| kibibytes * 1024)
    };
    let (total, free) = (bytes("MemTotal:")?, bytes("MemAvailable:")?);
    Some(Finding::ok(
        "memory",
        format!("{}, {} available", human_bytes(total), human_bytes(free)),
    ))
}

fn disk(host: &Host, name: &'static str, folder: &Path, needed: u64) -> Finding {
    match host.disk_free_bytes(folder) {
        None => Finding::lacking(name, Status::Optional, "unknown: `df` does not say", ""),
        Some(free) => {
            let found = format!("{} free in {}", human_bytes(free), folder.display());
            if free >= needed {
                return Finding::ok(name, found);
            }
            Finding::lacking(
                name,
                Status::Missing,
                &found,
                format!("make room: up to {} are used", human_bytes(needed)),
            )
        }
    }
}

fn print(ok: bool, findings: &[Finding]) {
    let width = findings
        .iter()
        .map(|finding| finding.name.len())
        .max()
        .unwrap_or(0);
    for Finding {
        name,
        status,
        found,
        advice,
    } in findings
    {
        let mark = match status {
            Status::Ok => "ok",
            Status::Optional => "-",
            Status::Missing => "MISSING",
        };
        println!("{name:width$}  {mark:7}  {found}");
        if !advice.is_empty() {
            println!("{:width$}           {advice}", "");
        }
    }
    println!();
    println!(
        "{}",
        if ok {
            "All that is needed is here."
        } else {
            "Something needed is missing."
        }
    );
}

fn to_json(ok: bool, findings: &[Finding]) -> String {
    let one = |finding: &Finding| {
        let status = match finding.status {
            Status::Ok => "ok",
            Status::Optional => "optional",
            Status::Missing => "missing",
        };
        format!(
            "{{\"name\":{},\"status\":\"{status}\",\"found\":{},\"advice\":{}}}",
            json::string(finding.name),
            json::string(&finding.found),
            json::string(&finding.advice)
        )
    };
    let findings: Vec<String> = findings.iter().map(one).collect();
    format!("{{\"ok\":{ok},\"findings\":[{}]}}", findings.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_machine_is_told_what_to_install() {
        let host = Host::with_search_path("/nonexistent");
        let mut findings = toolchain(&host);
        findings.extend(python(&host, true));
        for (name, install) in [
            ("C++ compiler", "g++"),
            ("python3", "python3"),
            ("pip", "python3-pip"),
            ("rustc", "rustup"),
        ] {
            let finding = findings.iter().find(|finding| finding.name == name).unwrap();
            assert_eq!(finding.status, Status::Missing, "{name}");
            assert!(finding.advice.contains(install), "{name}: {}", finding.advice);
        }
    }

    #[test]
    fn python_is_not_needed_once_libtorch_is_there() {
        let findings = python(&Host::with_search_path("/nonexistent"), false);
        assert!(findings.iter().all(|finding| finding.status == Status::Optional));
    }

    #[test]
    fn findings_are_printed_as_one_json_object() {
        let findings = [
            Finding::ok("rustc", "rustc \"1\""),
            Finding::lacking("pip", Status::Missing, "no", "install"),
        ];
        assert_eq!(
            to_json(false, &findings),
            r#"{"ok":false,"findings":[{"name":"rustc","status":"ok","found":"rustc \"1\"","advice":""},{"name":"pip","status":"missing","found":"no","advice":"install"}]}"#
        );
    }
}

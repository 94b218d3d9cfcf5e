//! The shared object as the loader meets it: a stand-in of C, compiled here, that computes nothing.

use super::*;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every function of `shim.cpp`, of which one may fail. What is recorded is counted, and nothing is repeated.
const STAND_IN: &str = r#"
#include <string.h>
static int fails(const char *function) { return strcmp(function, FAILS) == 0; }
static int it;
const char *agon_graphs_version(void) { return VERSION; }
const char *agon_graphs_error(void) { return "no luck\nat all"; }
void *agon_graphs_open(int device) { return fails("open") || device > 7 ? 0 : &it; }
void agon_graphs_close(void *recorder) {}
int agon_graphs_enter(void *recorder) { return fails("enter"); }
int agon_graphs_leave(void *recorder) { return 0; }
void *agon_graphs_begin(void *recorder) { return fails("begin") ? 0 : &it; }
int agon_graphs_end(void *graph) { return fails("end"); }
int agon_graphs_replay(void *graph) { return fails("replay"); }
#ifndef HALF
void agon_graphs_free(void *graph) {}
#endif
"#;

/// A stand-in in a folder of its own.
pub(crate) struct StandIn {
    dir: tempfile::TempDir,
}

impl StandIn {
    /// One in which the function `fails` fails.
    pub(crate) fn failing_to(fails: &str) -> StandIn {
        StandIn::compile(&format!("{INTERFACE} {LIBTORCH_VERSION}"), fails, &[])
    }

    fn compile(version: &str, fails: &str, more: &[&str]) -> StandIn {
        let stand_in = StandIn {
            dir: tempfile::tempdir().unwrap(),
        };
        let source = stand_in.dir.path().join("stand_in.c");
        std::fs::write(&source, STAND_IN).unwrap();
        let status = Command::new("cc")
            .args(["-shared", "-fPIC", "-w"])
            .arg(format!("-DVERSION=\"{version}\""))
            .arg(format!("-DFAILS=\"{fails}\""))
            .args(more)
            .arg(&source)
            .arg("-o")
            .arg(stand_in.library())
            .status()
            .unwrap();
        assert!(status.success(), "the stand-in compiles");
        stand_in
    }

    fn library(&self) -> PathBuf {
        self.dir.path().join(LIBRARY)
    }

    pub(crate) fn graphs(&self) -> Result<Graphs, GraphsError> {
        open(&self.library())
    }
}

fn open(library: &Path) -> Result<Graphs, GraphsError> {
    Graphs::open_from(library.as_os_str(), 0)
}

#[track_caller]
fn check_refused(stand_in: &StandIn, expected: &str) {
    let graphs = stand_in.graphs();
    let problem = graphs.and_then(|graphs| graphs.record(|| Ok(()))?.replay());
    assert_eq!(problem.unwrap_err().to_string(), expected);
}

#[test]
fn operations_are_done_once_and_recorded_once() {
    let graphs = StandIn::failing_to("").graphs().unwrap();
    let mut calls = 0;
    let operations = || {
        calls += 1;
        Ok(())
    };
    let recording = graphs.record(operations).unwrap();
    recording.replay().unwrap();
    assert_eq!(calls, 2);
}

#[test]
fn a_shared_object_that_is_missing_is_named_with_what_builds_it() {
    let problem = open(Path::new("/nowhere/libagon_graphs.so"))
        .unwrap_err()
        .to_string();
    assert!(problem.starts_with("/nowhere/libagon_graphs.so: "), "{problem}");
    assert!(
        problem.ends_with("`cargo xtask setup --cuda` builds it"),
        "{problem}"
    );
}

#[test]
fn a_shared_object_for_another_interface_or_another_libtorch_is_refused() {
    let expected = format!("{INTERFACE} {LIBTORCH_VERSION}");
    for found in [format!("0 {LIBTORCH_VERSION}"), format!("{INTERFACE} 2.10.0")] {
        let stand_in = StandIn::compile(&found, "", &[]);
        let problem = format!(
            "libagon_graphs.so is version {found:?}, expected {expected:?}; `cargo xtask setup --cuda` builds it anew"
        );
        check_refused(&stand_in, &problem);
    }
}

#[test]
fn a_shared_object_that_lacks_a_function_is_refused() {
    let version = format!("{INTERFACE} {LIBTORCH_VERSION}");
    let stand_in = StandIn::compile(&version, "", &["-DHALF"]);
    let problem = stand_in.graphs().unwrap_err().to_string();
    assert!(problem.contains("agon_graphs_free"), "{problem}");
}

#[test]
fn each_refusal_says_what_was_attempted() {
    for (fails, doing) in [
        ("open", "open the device for recordings"),
        ("enter", "enter the recorder"),
        ("begin", "begin to record"),
        ("end", "end the recording"),
        ("replay", "repeat a recorded step"),
    ] {
        check_refused(&StandIn::failing_to(fails), &format!("{doing}: no luck"));
    }
}

#[test]
fn an_operation_that_fails_is_the_reason_whatever_becomes_of_the_recording() {
    for fails in ["", "end"] {
        for good in [0, 1] {
            let graphs = StandIn::failing_to(fails).graphs().unwrap();
            let mut calls = 0;
            let operations = || {
                calls += 1;
                if calls > good {
                    return Err(TchError::Torch("out of memory".to_owned()));
                }
                Ok(())
            };
            let problem = graphs.record(operations).unwrap_err().to_string();
            assert_eq!(problem, "compute the step: Internal torch error: out of memory");
        }
    }
}

#[test]
fn the_interface_has_one_number_here_and_in_the_source() {
    let source = include_str!("shim.cpp");
    assert!(source.contains(&format!("#define AGON_GRAPHS_INTERFACE \"{INTERFACE}\"\n")));
}

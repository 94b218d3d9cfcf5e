#!/bin/sh
# cargo's wrapper around rustc for this workspace's own crates (RUSTC_WORKSPACE_WRAPPER): has LLVM count the edges
# that a run takes. Dependencies are not wrapped, so they are those of an ordinary build; build scripts are left as
# they are, because nothing in them would take the counts.
case " $* " in
*" build_script_"*) exec "$@" ;;
*" --crate-name "*) exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=3 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters ;;
*) exec "$@" ;;
esac

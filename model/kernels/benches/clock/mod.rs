//! A clock for benches that other programs disturb little.

/// Seconds from some moment on: of this process's own time where it has one thread, since what the system gives to
/// other programs does not count then, and of the world's where it has several.
pub(crate) fn seconds(threads: usize) -> f64 {
    let clock = if threads == 1 {
        libc::CLOCK_PROCESS_CPUTIME_ID
    } else {
        libc::CLOCK_MONOTONIC
    };
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    #[expect(unsafe_code, reason = "the system writes the time")]
    // SAFETY: it writes to `time` alone.
    let status = unsafe { libc::clock_gettime(clock, &raw mut time) };
    assert_eq!(status, 0, "the system has this clock");
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

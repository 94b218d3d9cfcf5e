//! Which instructions a processor has, asked once at run time.

use std::fmt;

/// An instruction set that this processor was seen to have.
///
/// A value is the proof: there is no way to name a level that was not detected.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(pub(crate) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// What every processor of the architecture has.
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The fastest level of this processor.
    ///
    /// `avx512` asks for AVX-512 F, BW, BF16 and VNNI (Zen 4, Sapphire Rapids and later), `avx2` for AVX2 and FMA;
    /// `portable` is for all others and is no faster than a library.
    pub fn detect() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
            {
                return Level(Kind::Avx512);
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level(Kind::Avx2);
            }
        }
        Level::portable()
    }

    /// The level that needs nothing.
    pub fn portable() -> Level {
        Level(Kind::Portable)
    }

    /// Every level that this processor has, slowest first.
    pub fn available() -> Vec<Level> {
        let best = Level::detect();
        [
            Kind::Portable,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512,
        ]
        .into_iter()
        .map(Level)
        .filter(|&level| level <= best)
        .collect()
    }

    /// Whether the kernels were written for this level rather than left to the compiler.
    pub fn is_fast(self) -> bool {
        self.0 != Kind::Portable
    }
}

impl fmt::Display for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => "avx512",
        })
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Compiles a safe function once for each level and calls the version of `$level`.
///
/// The body is plain Rust: the compiler alone makes use of the wider registers.
macro_rules! for_level {
    ($level:expr, $body:ident ( $($name:ident : $type:ty),* $(,)? )) => {{
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn avx2($($name: $type),*) {
            $body($($name),*)
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx2")]
        fn avx512($($name: $type),*) {
            $body($($name),*)
        }
        #[expect(unsafe_code, reason = "the compiler cannot see that the instructions were detected")]
        match $level.0 {
            $crate::level::Kind::Portable => $body($($name),*),
            // SAFETY: a `Level` of this kind exists only where the instructions were detected.
            #[cfg(target_arch = "x86_64")]
            $crate::level::Kind::Avx2 => unsafe { avx2($($name),*) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            $crate::level::Kind::Avx512 => unsafe { avx512($($name),*) },
        }
    }};
}
pub(crate) use for_level;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_levels_go_up_from_portable_to_what_was_detected() {
        let available = Level::available();
        assert_eq!(available.first(), Some(&Level::portable()));
        assert_eq!(available.last(), Some(&Level::detect()));
        assert!(available.is_sorted());
    }
}

//! Which instructions a processor has, asked once at run time.

use std::fmt;
use std::sync::OnceLock;

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
    #[cfg(target_arch = "x86_64")]
    Amx,
}

/// How numbers in `bf16` are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(target_arch = "x86_64"),
    expect(dead_code, reason = "other processors have the portable kernels alone")
)]
pub(crate) enum Bf16Products {
    /// Two columns at a time, as they lie.
    Pairs,
    /// Each in 32 bits.
    Widened,
    /// In tile registers.
    Tiles,
}

impl Level {
    /// The fastest level of this processor.
    ///
    /// `amx` asks for tile registers with products of `bf16` (Sapphire Rapids and later) beside all of `avx512`, which
    /// asks for AVX-512 F, BW, BF16 and VNNI (Zen 4, Sapphire Rapids and later), `avx2` for AVX2 and FMA; `portable` is
    /// for all others and is no faster than a library.
    pub fn detect() -> Level {
        static DETECTED: OnceLock<Level> = OnceLock::new();
        *DETECTED.get_or_init(Level::ask)
    }

    fn ask() -> Level {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512bf16")
                && is_x86_feature_detected!("avx512vnni")
                && is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
            {
                let kind = if may_use_tiles() { Kind::Amx } else { Kind::Avx512 };
                return Level(kind);
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
            #[cfg(target_arch = "x86_64")]
            Kind::Amx,
        ]
        .into_iter()
        .map(Level)
        .filter(|&level| level <= best)
        .collect()
    }

    /// How its kernels multiply numbers in `bf16`.
    pub(crate) fn bf16_products(self) -> Bf16Products {
        match self.0 {
            Kind::Portable => Bf16Products::Pairs,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => Bf16Products::Widened,
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => Bf16Products::Pairs,
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => Bf16Products::Tiles,
        }
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
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => "amx",
        })
    }
}

impl fmt::Debug for Level {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Whether the processor has tile registers with products of `bf16`, and the system lets this process use them. It has
/// to be asked, once for all threads, because they make the state of a thread larger.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[expect(unsafe_code, reason = "processor and system are asked")]
fn may_use_tiles() -> bool {
    const LEAF: u32 = 7;
    const BF16_AND_TILES: u32 = 1 << 22 | 1 << 24;
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    #[allow(unused_unsafe, reason = "newer compilers know that every processor answers")]
    // SAFETY: every processor with AVX-512 has this leaf.
    let features = unsafe { std::arch::x86_64::__cpuid_count(LEAF, 0) }.edx;
    // SAFETY: the call takes two numbers and touches no memory; a system that does not know it refuses.
    let permit = || unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) };
    features & BF16_AND_TILES == BF16_AND_TILES && permit() == 0
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn may_use_tiles() -> bool {
    false
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
            $crate::level::Kind::Avx512 | $crate::level::Kind::Amx => unsafe { avx512($($name),*) },
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

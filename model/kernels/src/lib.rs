//! The arithmetic of a decoder on a CPU, fast for few rows at a time: matrix products over packed parameters in
//! `f32`, `bf16` and 8 bits, attention over a key-value cache, and the small steps between them.
//!
//! A decoding step reads every parameter once for a handful of rows, so memory is its limit. Libraries made for
//! large products reach a third of that limit there; these kernels reach nearly all of it, and hold their own on
//! long prompts too. Slices in, slices out: no tensor, no file, no model.
//!
//! # One answer
//!
//! What a row comes to depends neither on the rows beside it nor on the number of threads: every output is one sum
//! in one fixed order, tile registers included. It may differ in the last bits between the instruction sets of [`Level`], except for products
//! in 8 bits, which are the same on all of them.
//!
//! # Numbers that are none
//!
//! A NaN or an infinity in a row or in a matrix makes the outputs that it enters not finite; none is hidden.
//!
//! # Unsafe code
//!
//! Four uses, each beside its proof: loads and stores of whole registers (`tile`), the loop with tile registers, for
//! which there are no intrinsics (`tile::amx`), calls of functions that need an instruction set ([`Level`] is the proof
//! that it is there), and the loan of a closure to the threads of the [`Pool`].

mod attention;
mod bfloat;
mod elementwise;
mod level;
mod lines;
mod matrix;
mod multiply;
mod operand;
mod pool;
#[cfg(test)]
mod testing;
mod tile;

pub use attention::{Cache, CacheShape, Mixed, Query, attend};
pub use bfloat::{bf16_from_f32, f32_from_bf16};
pub use elementwise::{add_rows, normalise, rotate, silu_product};
pub use level::Level;
pub use matrix::{Format, Matrix};
pub use multiply::{Panels, multiply};
pub use operand::Operand;
pub use pool::Pool;

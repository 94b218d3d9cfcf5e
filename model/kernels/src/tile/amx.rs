//! The loop with tile registers: sixteen steps of a line times up to sixteen rows in one instruction.
//!
//! A block is sixteen steps of a panel. Each of its four lines fills one register, the rows' numbers of the same steps
//! another, and four hold the sums. Within a block a sum takes even and odd columns apart, in their order, and is then
//! added to that of the blocks before. It does so for each row by itself, so a row comes to the same numbers among any
//! others; they differ in the last bits from those of other levels.

use std::arch::asm;

use crate::lines::{PANEL, Pairs};
use crate::matrix::Step;
use crate::operand::{BLOCK_ROWS, BLOCK_STEPS};
use crate::tile::Ahead;

/// Bytes from one step to the next, and from one row of sums to the next.
const STRIDE_BYTES: usize = size_of::<[f32; PANEL]>();
/// Cache lines that are fetched at a time.
const FETCHED_TOGETHER: usize = 8;

/// The shapes of the registers, as the instruction reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// Sums in registers 0 to 3, the operand's rows in 4, lines of the panel in the others.
    fn of(rows: u8) -> Shapes {
        const ALL: usize = 8;
        let mut shapes = Shapes {
            palette: 1,
            start_row: 0,
            reserved: [0; 14],
            row_bytes: [0; 16],
            rows: [0; 16],
        };
        shapes.row_bytes[..ALL].fill(64);
        shapes.rows[..5].fill(rows);
        shapes.rows[5..ALL].fill(BLOCK_STEPS as u8);
        shapes
    }
}

/// Sums of a panel for the rows of `inputs`, one behind the other, each padded with zeros to whole blocks.
///
/// # Panics
///
/// When `out` does not have 1 to 16 rows, or `inputs` not as many.
///
/// # Safety
///
/// The processor has tile registers with `bf16` products, and the system lets this process use them.
#[expect(unsafe_code, reason = "there are no intrinsics for tile registers")]
pub(super) unsafe fn bf16_rows(
    steps: &[Step<[u16; 2]>],
    ahead: Ahead<'_, Step<[u16; 2]>>,
    inputs: &[u32],
    out: &mut [[f32; PANEL]],
) {
    let row_words = steps.len().next_multiple_of(BLOCK_STEPS);
    assert!(
        (1..=BLOCK_ROWS).contains(&out.len()),
        "a tile of {} rows",
        out.len()
    );
    assert_eq!(inputs.len(), out.len() * row_words, "steps of panel and tile");
    let shapes = Shapes::of(out.len() as u8);
    let (blocks, rest) = steps.as_chunks::<BLOCK_STEPS>();
    let last = padded(rest);
    let (fetched, together) = fetched(ahead);
    // SAFETY: the registers' shapes are such that
    // - of `inputs`, each of the rows is read, a block of 64 bytes after the other: as many as there are blocks of
    //   steps, the last one included, which is what was asserted;
    // - of `steps`, 64 bytes of each of sixteen steps are read at four places, which are the lines of a block; `last` is
    //   one block and is read if any step is left;
    // - of `out`, 64 bytes of each row are written at four places, which are its 256 bytes.
    // Fetching reads nothing and cannot fault. The registers are given back, and no stack is used.
    unsafe {
        asm!(
            "ldtilecfg [{shapes}]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "test {blocks}, {blocks}",
            "jz 5f",
            // One block.
            "2:",
            "mov {count}, {together}",
            "test {count}, {count}",
            "jz 4f",
            "3:",
            "prefetcht1 [{fetched}]",
            "prefetcht1 [{fetched} + 64]",
            "prefetcht1 [{fetched} + 128]",
            "prefetcht1 [{fetched} + 192]",
            "prefetcht1 [{fetched} + 256]",
            "prefetcht1 [{fetched} + 320]",
            "prefetcht1 [{fetched} + 384]",
            "prefetcht1 [{fetched} + 448]",
            "add {fetched}, 512",
            "dec {count}",
            "jnz 3b",
            "4:",
            "tileloadd tmm4, [{inputs} + {row_bytes}]",
            "tileloadd tmm5, [{steps} + {stride}]",
            "tdpbf16ps tmm0, tmm4, tmm5",
            "tileloadd tmm6, [{steps} + {stride} + 64]",
            "tdpbf16ps tmm1, tmm4, tmm6",
            "tileloadd tmm7, [{steps} + {stride} + 128]",
            "tdpbf16ps tmm2, tmm4, tmm7",
            "tileloadd tmm5, [{steps} + {stride} + 192]",
            "tdpbf16ps tmm3, tmm4, tmm5",
            "add {inputs}, 64",
            "add {steps}, 4096",
            "dec {blocks}",
            "jnz 2b",
            // What is left, once.
            "5:",
            "mov {steps}, {last}",
            "mov {blocks}, {lasts}",
            "xor {lasts:e}, {lasts:e}",
            "test {blocks}, {blocks}",
            "jnz 2b",
            "tilestored [{out} + {stride}], tmm0",
            "tilestored [{out} + {stride} + 64], tmm1",
            "tilestored [{out} + {stride} + 128], tmm2",
            "tilestored [{out} + {stride} + 192], tmm3",
            "tilerelease",
            shapes = in(reg) &raw const shapes,
            blocks = inout(reg) blocks.len() => _,
            count = out(reg) _,
            together = in(reg) together,
            fetched = inout(reg) fetched => _,
            inputs = inout(reg) inputs.as_ptr() => _,
            row_bytes = in(reg) row_words * size_of::<u32>(),
            steps = inout(reg) steps.as_ptr() => _,
            stride = in(reg) STRIDE_BYTES,
            last = in(reg) &raw const last,
            lasts = inout(reg) usize::from(!rest.is_empty()) => _,
            out = in(reg) out.as_mut_ptr(),
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack),
        );
    }
}

/// Steps that do not fill a block, with zeros behind them.
fn padded(rest: &[Step<[u16; 2]>]) -> [Step<[u16; 2]>; BLOCK_STEPS] {
    let mut block = [[Pairs::of([0; 2]); 4]; BLOCK_STEPS];
    block[..rest.len()].copy_from_slice(rest);
    block
}

/// Which part of the next panel is fetched, and how much of it beside each block: its lines are taken for as many
/// quarters.
fn fetched(ahead: Ahead<'_, Step<[u16; 2]>>) -> (*const Step<[u16; 2]>, usize) {
    let quarters = ahead.lines.count_ones() as usize;
    let first = ahead.lines.trailing_zeros() as usize % 8 * ahead.steps.len() / 4;
    let part = &ahead.steps[first.min(ahead.steps.len())..];
    (part.as_ptr(), quarters * BLOCK_STEPS / FETCHED_TOGETHER)
}

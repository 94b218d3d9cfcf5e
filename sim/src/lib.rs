//! What cheating pays, with the rules against it and without.
//!
//! A simulated subnet has validators and miners that are modelled, rules that are not: weights and stake become pay
//! by `agon-scoring`'s epoch, work becomes coverage by `agon-evidence`, and blocks with signed transactions go
//! through `agon-ledger-state`. Time is the number of the block. There is no network, no clock and no chance but
//! that of a seed.
//!
//! | module | holds |
//! | --- | --- |
//! | [`attack`], [`attacks`] | what an attack is; the attacks, one file each |
//! | [`run`], [`estimate`] | seeds over threads, means and intervals |
//! | [`epochs`], [`evidence`] | what pays, and what multiplies pay, without blocks |
//! | [`ledger`], [`field`], [`work`] | a subnet on the real state machine; evidence with real keys |
//! | [`bloc`], [`lift`] | validators that act together |
//! | [`contest`], [`bursts`] | miners under one validator's comparison, windows and bursts |
//! | [`cost`] | what the defences cost the honest |
//! | [`miners`], [`stakes`], [`random`] | what is modelled |
//! | [`report`] | results as text for programs, charts and a page |

pub mod attack;
pub mod attacks;
pub mod bloc;
pub mod bursts;
pub mod contest;
pub mod cost;
pub mod epochs;
pub mod estimate;
pub mod evidence;
pub mod field;
pub mod ledger;
pub mod lift;
pub mod miners;
pub mod random;
pub mod report;
pub mod run;
pub mod stakes;
pub mod work;

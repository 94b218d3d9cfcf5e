//! Trains the ladder of small models that Agon ships, on the stories of the task `reading`.
//!
//! A [`rung::Rung`] says how large a model is and what it is taught for how long; [`course`] holds the
//! stages of the curriculum; [`lesson`] turns stories into batches; [`run`] teaches, keeps checkpoints and
//! shows progress; [`exam`] measures on items that the model cannot have seen; [`card`] and [`curve`] write
//! down how it went.
//!
//! # What makes small models learn this
//!
//! *Binding* (who is where) is learned abruptly or not at all: started on long stories, a model stays at
//! guessing what was mentioned last. Hence stories grow with the stages, a stage ends when nine in ten of its
//! answers are right, and a fifth of each batch repeats earlier stages. Every story is asked about as often
//! as it has sentences, and only answers count.

pub mod card;
pub mod course;
pub mod curve;
pub mod exam;
pub mod interrupt;
pub mod lesson;
pub mod progress;
pub mod run;
pub mod rung;

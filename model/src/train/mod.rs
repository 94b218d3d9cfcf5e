//! Training of small Qwen2 models from nothing, and writing them as Hugging Face folders.
//!
//! Made for models of a few hundred thousand parameters on one or two cores. What is learned is the
//! caller's business: it hands over [`Passage`]s (a context, and continuations that each read a part of it),
//! [`Batch::pack`] lays them out, [`Learner::step`] takes one step of AdamW on the answers' tokens alone,
//! and [`write_folder`] saves what any loader of Hugging Face folders can open.
//!
//! Several continuations share one context without seeing each other: each has its own rows of the
//! attention mask and goes on counting positions from where its reading ends, so that the model computes
//! exactly what it computes when asked once. A story of ten sentences gives ten questions for twice the
//! price of one.
//!
//! The gains of the norms inside the layers stay at one and are written as ones: the matrix that follows
//! each can express the same. Everything is computed in `f32`.

mod adamw;
mod batch;
mod folder;
mod learner;

pub use batch::{Batch, Branch, Passage, Target};
pub use folder::{FolderError, Vocabulary, open_folder, write_folder};
pub use learner::{Learner, LearnerError, Shape, Step};

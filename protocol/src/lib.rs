//! Being laid out.
pub mod ss58;

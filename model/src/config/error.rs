//! What can be wrong with a `config.json`.

use thiserror::Error;

/// Why a `config.json` cannot be served.
#[derive(Clone, Debug, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A field has to be there and is not.
    #[error("{field} is missing")]
    Missing {
        /// Name of the field.
        field: &'static str,
    },
    /// A field holds another kind of value.
    #[error("{field} is {found}, expected {expected}")]
    WrongType {
        /// Name of the field.
        field: &'static str,
        /// What kind of value was expected.
        expected: &'static str,
        /// What was there, shortened.
        found: String,
    },
    /// A number is beyond what this crate will load.
    #[error("{field} is {found}, expected {least} to {most}")]
    OutOfRange {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: u64,
        /// The least that is accepted.
        least: u64,
        /// The most that is accepted.
        most: u64,
    },
    /// A number that has to be positive and finite is not.
    #[error("{field} is {found}, expected a positive number")]
    NotPositive {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: f64,
    },
    /// Two numbers do not fit each other.
    #[error("{field} is {found}, which does not divide {of} ({whole})")]
    NotADivisor {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: usize,
        /// Name of the field it has to divide.
        of: &'static str,
        /// The number it has to divide.
        whole: usize,
    },
    /// Rotation works on halves of a head, so a head has to have two.
    #[error("head_dim is {found}, expected an even number")]
    OddHead {
        /// The number that was there.
        found: usize,
    },
    /// A number that stretches something is below 1.
    #[error("{field} is {found}, expected at least 1")]
    BelowOne {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: f64,
    },
    /// A range is empty.
    #[error("{field} is {found}, expected more than {below_field} ({below})")]
    NotAbove {
        /// Name of the field.
        field: &'static str,
        /// The number that was there.
        found: f64,
        /// Name of the field it has to exceed.
        below_field: &'static str,
        /// The number it has to exceed.
        below: f64,
    },
    /// A list does not have one entry for each layer.
    #[error("{field} has {found} entries, expected one for each of {layers} layers")]
    LayerCount {
        /// Name of the field.
        field: &'static str,
        /// Entries that were there.
        found: usize,
        /// Layers of the model.
        layers: usize,
    },
    /// The family of the model is not one this crate computes.
    #[error("architecture {found:?} is not supported; supported: {supported}")]
    UnknownArchitecture {
        /// The class name or model type that was there.
        found: String,
        /// The class names that are computed.
        supported: String,
    },
    /// Rotary positions are scaled for longer contexts in a way this crate does not compute.
    #[error("rope scaling {kind:?} is not supported; supported: default, linear, dynamic, llama3, yarn")]
    RopeScaling {
        /// Name of the scaling.
        kind: String,
    },
    /// A field asks for something that this crate does not compute.
    #[error("{field} is {found}, which is not supported")]
    Unsupported {
        /// Name of the field.
        field: &'static str,
        /// What was there, shortened.
        found: String,
    },
}

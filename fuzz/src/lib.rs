//! The contract's rules once more, written without the app's parsers, for the targets to compare these with; and how a target
//! reads its input.

pub mod input;
pub mod rules;
pub mod tokens;

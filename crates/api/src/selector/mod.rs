//! Which objects a reader wants: by labels and by fields.
//!
//! Source: `spec/api.md` §1.12, §1.13; kubernetes `apimachinery/pkg/{labels,fields}/selector.go`.

mod field;
mod label;
mod parse;

pub use field::FieldSelector;
pub use label::{LabelSelector, Operator, Requirement, SelectorError};

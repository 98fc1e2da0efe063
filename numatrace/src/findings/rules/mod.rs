//! The rules, one file each, those about the CPU first.

mod single_node;

use super::Rule;

/// All of them; of findings that are equally bad the one whose rule comes first is shown first.
pub const RULES: &[Rule] = &[single_node::RULE];

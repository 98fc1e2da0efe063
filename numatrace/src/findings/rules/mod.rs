//! The rules, one file each, those about the CPU first.

mod affinity;
mod noisy_neighbour;
mod oversubscribed;
mod partial;
mod single_node;
mod throttled;

use super::Rule;

/// All of them; of findings that are equally bad the one whose rule comes first is shown first.
pub const RULES: &[Rule] =
    &[throttled::RULE, noisy_neighbour::RULE, affinity::RULE, oversubscribed::RULE, single_node::RULE, partial::RULE];

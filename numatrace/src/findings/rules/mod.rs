//! The rules, one file each, those about the CPU first.

mod cross_node_hops;
mod evidence;
mod first_touch;
mod memory_policy;
mod node_full;
mod nodes;
mod numa_balancing;
mod remote_memory;
mod single_node;

use super::Rule;

/// All of them; of findings that are equally bad the one whose rule comes first is shown first.
pub const RULES: &[Rule] = &[
    cross_node_hops::RULE,
    remote_memory::RULE,
    first_touch::RULE,
    memory_policy::RULE,
    numa_balancing::RULE,
    node_full::RULE,
    single_node::RULE,
];

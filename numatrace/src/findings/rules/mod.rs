//! The rules, one file each, those about the CPU first.

mod affinity;
mod cross_node_hops;
mod evidence;
mod first_touch;
mod memory_policy;
mod node_full;
mod nodes;
mod noisy_neighbour;
mod numa_balancing;
mod oversubscribed;
mod partial;
mod remote_memory;
mod single_node;
mod throttled;

use super::Rule;

/// All of them; of findings that are equally bad the one whose rule comes first is shown first.
pub const RULES: &[Rule] = &[
    throttled::RULE,
    noisy_neighbour::RULE,
    affinity::RULE,
    oversubscribed::RULE,
    cross_node_hops::RULE,
    remote_memory::RULE,
    first_touch::RULE,
    memory_policy::RULE,
    numa_balancing::RULE,
    node_full::RULE,
    single_node::RULE,
    partial::RULE,
];

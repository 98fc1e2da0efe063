//! Memory policies in words, as mappings of page touches have them, and out of these words again. Place in the flow: where
//! samples get their names, and where rules read them; so both use the same words.

use crate::topology::list;

const DEFAULT: &str = "default policy";
const LOCAL: &str = "local policy";
/// Words before a list of nodes, by the kernel's number of the policy.
const WITH_NODES: [(u16, &str, Kind); 5] = [
    (1, "preferred", Kind::Preferred),
    (2, "bound to", Kind::Bound),
    (3, "interleaved on", Kind::Interleaved),
    (5, "preferring", Kind::Preferred),
    (6, "interleaved by weight on", Kind::Interleaved),
];

/// What a policy does with new pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// On its nodes while they have room.
    Preferred,
    /// On its nodes and nowhere else.
    Bound,
    /// On its nodes in turn.
    Interleaved,
}

/// A policy that names nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Policy {
    /// What it does.
    pub kind: Kind,
    /// The kernel's numbers of its nodes, in order.
    pub nodes: Vec<u32>,
}

impl Policy {
    /// In words: `interleaved on 0-3`. One that is weighted is told as one that is not.
    pub fn words(&self) -> String {
        let name = WITH_NODES.iter().find(|(_, _, kind)| *kind == self.kind).map_or("", |(_, words, _)| words);
        format!("{name} {}", list::format(self.nodes.iter().copied()))
    }
}

/// The kernel's policy `mode` for a set of nodes, in words.
pub fn words(mode: u16, nodes: u64) -> String {
    match (mode, WITH_NODES.iter().find(|(known, ..)| *known == mode)) {
        (0, _) => DEFAULT.to_owned(),
        (4, _) => LOCAL.to_owned(),
        (_, Some((_, name, _))) => format!("{name} {}", list::format((0..64).filter(|node| nodes >> node & 1 != 0))),
        (_, None) => format!("policy {mode}"),
    }
}

/// A mapping and the policy that holds there, in words.
pub fn with_mapping(mapping: &str, policy: &str) -> String {
    format!("{mapping}, {policy}")
}

/// Whether words of a policy stand behind this mapping: behind all anonymous memory, and nothing else. A program can choose
/// a name for its anonymous memory, but not what stands before and behind it.
pub fn has_policy(mapping: &str) -> bool {
    mapping == "heap" || mapping.starts_with("anon")
}

/// The policy that [`with_mapping`] put behind a mapping; `None` for one that names no nodes, and for a mapping without one.
pub fn of_mapping(mapping: &str) -> Option<Policy> {
    let (mapping, policy) = mapping.rsplit_once(", ")?;
    if !has_policy(mapping) {
        return None;
    }
    let named = WITH_NODES.iter().filter_map(|(_, words, kind)| Some((policy.strip_prefix(words)?, *kind)));
    let (nodes, kind) = named.filter_map(|(rest, kind)| Some((rest.strip_prefix(' ')?, kind))).next()?;
    let nodes = list::parse(nodes).filter(|nodes| !nodes.is_empty())?;
    Some(Policy { kind, nodes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_are_told_in_words() {
        let told: Vec<String> = [(0, 0), (2, 0b10), (3, 0b1011), (4, 0), (9, 1)].map(|(m, n)| words(m, n)).into();
        assert_eq!(told, ["default policy", "bound to 1", "interleaved on 0-1,3", "local policy", "policy 9"]);
    }

    #[test]
    fn what_is_put_into_words_comes_out_of_them() {
        let kinds = [
            (1, Kind::Preferred),
            (2, Kind::Bound),
            (3, Kind::Interleaved),
            (5, Kind::Preferred),
            (6, Kind::Interleaved),
        ];
        for (mode, kind) in kinds {
            for mapping in ["heap", "anon 0x7f31c0000000-0x7f31e0000000", "anon a, bound to 1 0x1000-0x2000"] {
                let found = of_mapping(&with_mapping(mapping, &words(mode, 0b1011)));
                assert_eq!(found, Some(Policy { kind, nodes: vec![0, 1, 3] }), "{mode} {mapping}");
            }
        }
        for mode in [0, 4, 9] {
            assert_eq!(of_mapping(&with_mapping("heap", &words(mode, 1))), None, "{mode}");
        }
        assert_eq!(Policy { kind: Kind::Bound, nodes: vec![0, 1] }.words(), "bound to 0-1");
    }

    #[test]
    fn names_that_others_chose_are_no_policies() {
        for mapping in [
            "/tmp/x, bound to 1",
            "anon a, bound to 1 0x1000-0x2000, default policy",
            "heap",
            "stack, bound to 1",
            "heap, bound to ",
            "heap, bound to everything",
            "heap, bound together",
            "",
        ] {
            assert_eq!(of_mapping(mapping), None, "{mapping}");
        }
    }
}

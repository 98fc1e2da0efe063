//! The numbers from which on rules speak: what they are, and what a user set.

use std::collections::BTreeMap;

use super::{EASE, RULES, Rule};

/// A number of a rule that can be set.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Its name within the rule.
    pub name: &'static str,
    /// Unless it is set.
    pub default: f64,
    /// What it may be.
    pub range: (f64, f64),
    /// What it is, with its unit.
    pub about: &'static str,
}

/// The limits of one rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits(BTreeMap<&'static str, f64>);

impl Limits {
    pub(super) fn get(&self, name: &str, shown: bool) -> f64 {
        let limit = self.0.get(name).copied().unwrap_or(f64::INFINITY);
        if shown { limit * EASE } else { limit }
    }
}

/// The limits of all rules, and which rules are off.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings(BTreeMap<&'static str, Limits>);

/// Why something cannot be set.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum Bad {
    /// No such rule.
    #[error("there is no rule '{0}': they are {all}", all = names(RULES.iter().map(|rule| rule.id)))]
    Rule(String),
    /// No such limit.
    #[error("the rule {0} has no limit '{1}': it has {2}")]
    Limit(&'static str, String, String),
    /// A number that makes no sense.
    #[error("{0}.{1} is from {2} to {3}, not {4}")]
    Range(&'static str, &'static str, f64, f64, f64),
}

impl Default for Settings {
    fn default() -> Settings {
        let defaults = |rule: &Rule| Limits(rule.limits.iter().map(|limit| (limit.name, limit.default)).collect());
        Settings(RULES.iter().map(|rule| (rule.id, defaults(rule))).collect())
    }
}

impl Settings {
    /// Limits of a rule; `None` where it is off.
    pub(super) fn of(&self, rule: &str) -> Option<&Limits> {
        self.0.get(rule)
    }

    /// Switches a rule off.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn switch_off(&mut self, rule: &str) -> Result<(), Bad> {
        self.0.remove(known(rule)?.id);
        Ok(())
    }

    /// Sets a limit of a rule.
    ///
    /// # Errors
    /// When there is no such rule or limit, or it cannot be this number.
    pub fn set(&mut self, rule: &str, limit: &str, to: f64) -> Result<(), Bad> {
        let rule = known(rule)?;
        let limits = || names(rule.limits.iter().map(|limit| limit.name));
        let Some(known) = rule.limits.iter().find(|known| known.name == limit) else {
            return Err(Bad::Limit(rule.id, limit.into(), limits()));
        };
        let (least, most) = known.range;
        if !(least..=most).contains(&to) {
            return Err(Bad::Range(rule.id, known.name, least, most, to));
        }
        if let Some(limits) = self.0.get_mut(rule.id) {
            limits.0.insert(known.name, to);
        }
        Ok(())
    }
}

fn known(rule: &str) -> Result<&'static Rule, Bad> {
    RULES.iter().find(|known| known.id == rule).ok_or_else(|| Bad::Rule(rule.into()))
}

fn names(all: impl Iterator<Item = &'static str>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

//! The numbers from which on rules speak: what they are, and what a user set.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::{EASE, RULES, Rule};
use crate::text::display_str;

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
pub struct Settings(BTreeMap<&'static str, Set>);

/// What is set of one rule.
#[derive(Clone, Debug, PartialEq)]
struct Set {
    is_on: bool,
    limits: Limits,
}

/// Something that a user sets: `RULE=off`, `RULE=on` or `RULE.LIMIT=NUMBER`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The rule.
    pub rule: &'static str,
    /// What it is set to.
    pub to: To,
}

/// What a rule is set to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum To {
    /// It says nothing.
    Off,
    /// It speaks.
    On,
    /// It speaks, from this number on.
    Limit(&'static str, f64),
}

/// Why something cannot be set.
#[derive(Clone, Debug, thiserror::Error, PartialEq)]
pub enum Bad {
    /// No such rule.
    #[error("there is no rule '{}': they are {all}", display_str(.0), all = names(RULES.iter().map(|rule| rule.id)))]
    Rule(String),
    /// No such limit.
    #[error("the rule {0} has no limit '{name}': it has {2}", name = display_str(.1))]
    Limit(&'static str, String, String),
    /// A number that makes no sense.
    #[error("{0}.{1} is from {2} to {3}, not {4}")]
    Range(&'static str, &'static str, f64, f64, f64),
    /// Not a number.
    #[error("{0}.{1} is a number, not '{text}'", text = display_str(.2))]
    Number(&'static str, &'static str, String),
    /// Neither on nor off.
    #[error("the rule {0} is set to on or off, not to '{text}'; a limit of it is set with {0}.LIMIT=NUMBER", text = display_str(.1))]
    Word(&'static str, String),
    /// None of the ways to set something.
    #[error("what is set is RULE=off, RULE=on or RULE.LIMIT=NUMBER, not '{}'", display_str(.0))]
    Form(String),
}

impl Default for Settings {
    fn default() -> Settings {
        let defaults = |rule: &Rule| Set {
            is_on: true,
            limits: Limits(rule.limits.iter().map(|limit| (limit.name, limit.default)).collect()),
        };
        Settings(RULES.iter().map(|rule| (rule.id, defaults(rule))).collect())
    }
}

impl Settings {
    /// The usual ones with these changes, one after the other.
    pub fn with<'a>(changes: impl IntoIterator<Item = &'a Change>) -> Settings {
        let mut settings = Settings::default();
        changes.into_iter().for_each(|change| settings.apply(change));
        settings
    }

    /// Limits of a rule; `None` where it is off.
    pub(super) fn of(&self, rule: &str) -> Option<&Limits> {
        self.0.get(rule).filter(|set| set.is_on).map(|set| &set.limits)
    }

    /// Whether a rule speaks.
    pub fn is_on(&self, rule: &str) -> bool {
        self.of(rule).is_some()
    }

    /// A limit of a rule, whether the rule is on or off; `None` where there is no such limit.
    pub fn limit(&self, rule: &str, limit: &str) -> Option<f64> {
        self.0.get(rule)?.limits.0.get(limit).copied()
    }

    /// Does what a user asked for.
    pub fn apply(&mut self, change: &Change) {
        let Some(set) = self.0.get_mut(change.rule) else { return };
        // Whoever sets a limit wants to hear of it.
        set.is_on = change.to != To::Off;
        if let To::Limit(name, number) = change.to {
            set.limits.0.insert(name, number);
        }
    }

    /// Switches a rule off.
    ///
    /// # Errors
    /// When there is no such rule.
    pub fn switch_off(&mut self, rule: &str) -> Result<(), Bad> {
        self.apply(&Change { rule: known(rule)?.id, to: To::Off });
        Ok(())
    }

    /// Sets a limit of a rule, which is on then.
    ///
    /// # Errors
    /// When there is no such rule or limit, or it cannot be this number.
    pub fn set(&mut self, rule: &str, limit: &str, to: f64) -> Result<(), Bad> {
        self.apply(&Change::limit(rule, limit, to)?);
        Ok(())
    }
}

impl Change {
    /// A rule that is switched: `off` or `on`.
    ///
    /// # Errors
    /// When there is no such rule, or it is another word.
    pub fn switch(rule: &str, word: &str) -> Result<Change, Bad> {
        let rule = known(rule)?.id;
        match word {
            "off" => Ok(Change { rule, to: To::Off }),
            "on" => Ok(Change { rule, to: To::On }),
            _ => Err(Bad::Word(rule, word.into())),
        }
    }

    /// A limit of a rule.
    ///
    /// # Errors
    /// When there is no such rule or limit, or it cannot be this number.
    pub fn limit(rule: &str, limit: &str, to: f64) -> Result<Change, Bad> {
        let (rule, limit) = known_limit(rule, limit)?;
        let (least, most) = limit.range;
        if !(least..=most).contains(&to) {
            return Err(Bad::Range(rule.id, limit.name, least, most, to));
        }
        Ok(Change { rule: rule.id, to: To::Limit(limit.name, to) })
    }
}

impl FromStr for Change {
    type Err = Bad;

    fn from_str(text: &str) -> Result<Change, Bad> {
        let (name, value) = text.split_once('=').ok_or_else(|| Bad::Form(text.into()))?;
        let (name, value) = (name.trim(), value.trim());
        let Some((rule, limit)) = name.split_once('.') else { return Change::switch(name, value) };
        let (known, limit) = known_limit(rule, limit)?;
        let number = value.parse().map_err(|_| Bad::Number(known.id, limit.name, value.into()))?;
        Change::limit(rule, limit.name, number)
    }
}

fn known_limit(rule: &str, limit: &str) -> Result<(&'static Rule, &'static Limit), Bad> {
    let rule = known(rule)?;
    let found = rule.limits.iter().find(|known| known.name == limit);
    let all = || names(rule.limits.iter().map(|limit| limit.name));
    found.map(|limit| (rule, limit)).ok_or_else(|| Bad::Limit(rule.id, limit.into(), all()))
}

fn known(rule: &str) -> Result<&'static Rule, Bad> {
    RULES.iter().find(|known| known.id == rule).ok_or_else(|| Bad::Rule(rule.into()))
}

fn names(all: impl Iterator<Item = &'static str>) -> String {
    all.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_one_of_three_forms() {
        let said = |text: &str| text.parse::<Change>().map_err(|bad| bad.to_string());
        assert_eq!(said("partial=off"), Ok(Change { rule: "partial", to: To::Off }));
        assert_eq!(said(" partial = on"), Ok(Change { rule: "partial", to: To::On }));
        let limit = Change { rule: "partial", to: To::Limit("lost-share", 0.5) };
        assert_eq!(said("partial.lost-share=0.5"), Ok(limit));
        for (text, why) in [
            ("partial", "what is set is RULE=off, RULE=on or RULE.LIMIT=NUMBER, not 'partial'"),
            ("", "what is set is RULE=off, RULE=on or RULE.LIMIT=NUMBER, not ''"),
            ("part=off", "there is no rule 'part': they are throttled, "),
            ("part.lost-share=1", "there is no rule 'part': they are throttled, "),
            (
                "partial=0.5",
                "the rule partial is set to on or off, not to '0.5'; a limit of it is set with partial.LIMIT=NUMBER",
            ),
            ("partial.lost=1", "the rule partial has no limit 'lost': it has lost-share, "),
            ("partial.lost-share=much", "partial.lost-share is a number, not 'much'"),
            ("partial.lost-share=1.5", "partial.lost-share is from 0 to 1, not 1.5"),
            ("partial.lost-share=-0.1", "partial.lost-share is from 0 to 1, not -0.1"),
            ("partial.lost-share=NaN", "partial.lost-share is from 0 to 1, not NaN"),
            ("partial.lost-share=inf", "partial.lost-share is from 0 to 1, not inf"),
            ("\u{1b}[2J=off", "there is no rule '\\x1b[2J'"),
        ] {
            let bad = said(text).expect_err(text);
            assert!(bad.starts_with(why) && bad.lines().count() == 1, "{text}: {bad}");
        }
    }

    #[test]
    fn defaults_are_within_their_ranges_and_names_are_words() {
        let is_word =
            |name: &str| !name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        for (at, rule) in RULES.iter().enumerate() {
            assert!(is_word(rule.id) && RULES[..at].iter().all(|other| other.id != rule.id), "{}", rule.id);
            assert!(rule.about.ends_with('.') && !rule.about.contains("  "), "{}", rule.id);
            for limit in rule.limits {
                assert!(is_word(limit.name) && !limit.about.is_empty(), "{}.{}", rule.id, limit.name);
                // Also one that is eased can be reached.
                assert!(limit.range.0 <= limit.default && limit.default <= limit.range.1 && limit.range.0 >= 0.0);
                assert!(limit.range.1.is_finite());
            }
        }
    }
}

//! Conclusions: what the numbers of a snapshot say is wrong, why, and what to do. Place in the flow: between a snapshot and
//! what shows it; reads nothing else, so that a recording leads to the same findings as the run that made it.
//!
//! One file a rule. A rule has a general sentence, limits that can be set, and a check that looks at the numbers of a stretch
//! of time and says one specific sentence with its evidence. So that findings do not flicker, [`Findings`] remembers which
//! are shown: a shown one has eased limits ([`EASE`]), and stays for a while after it is gone ([`HOLD_NS`]).

mod demand;
mod kernel_threads;
mod limits;
mod rules;
pub mod shell;

use std::collections::BTreeMap;

use serde_json::Value;

pub use self::limits::{Bad, Change, Limit, Limits, Settings, To};
pub use self::rules::RULES;
use crate::snapshot::{Finding, Snapshot};

/// A finding that is shown stays, and stays as bad, while what it is about is at least this share of its limits.
pub const EASE: f64 = 0.8;
/// For so long a finding stays after the numbers no longer say it, time of the target.
pub const HOLD_NS: u64 = 3_000_000_000;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Good to know.
    Info,
    /// It costs something.
    Warn,
    /// It is likely what makes the service slow.
    Critical,
}

impl Severity {
    /// As in JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warn => "warn",
            Severity::Critical => "critical",
        }
    }

    /// Of a finding; one that is not known counts as the least.
    pub fn of(finding: &Finding) -> Severity {
        let all = [Severity::Critical, Severity::Warn];
        all.into_iter().find(|severity| severity.name() == finding.severity).unwrap_or(Severity::Info)
    }
}

/// A rule.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its stable name: words with `-` between.
    pub id: &'static str,
    /// One sentence: what this is in general, and why it hurts.
    pub about: &'static str,
    /// The numbers from which on it speaks.
    pub limits: &'static [Limit],
    /// Looks at the numbers.
    pub check: fn(&Case<'_>) -> Option<Conclusion>,
}

/// What a check looks at.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// Numbers of a stretch of time.
    pub numbers: &'a Snapshot,
    limits: &'a Limits,
    shown: bool,
}

impl Case<'_> {
    /// A limit of the rule by its name, eased where the finding is shown already. A name that the rule does not have is one
    /// that nothing reaches.
    pub fn limit(&self, name: &str) -> f64 {
        self.limits.get(name, self.shown)
    }
}

/// What a rule says of some numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Conclusion {
    /// How bad it is.
    pub severity: Severity,
    /// One sentence about this target, with its numbers.
    pub title: String,
    /// These numbers, by name.
    pub evidence: Value,
    /// What to do, in one or two sentences.
    pub advice: String,
    /// The exact command, where there is one.
    pub command: Option<String>,
}

/// All rules, and what they said last.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    settings: Settings,
    shown: BTreeMap<&'static str, Shown>,
    now_ns: u64,
}

/// A finding that is shown.
#[derive(Clone, Debug)]
struct Shown {
    finding: Finding,
    severity: Severity,
    seen_ns: u64,
}

impl Findings {
    /// Nothing was found yet.
    pub fn new(settings: Settings) -> Findings {
        Findings { settings, ..Findings::default() }
    }

    /// What was shown is not shown any more: the next numbers are looked at anew.
    pub fn forget(&mut self) {
        self.shown.clear();
    }

    /// What the numbers of a stretch of time that ends at `now_ns` of the run say, worst first. When time goes back (in a
    /// replay), all that was shown is forgotten.
    pub fn look(&mut self, numbers: &Snapshot, now_ns: u64) -> Vec<Finding> {
        if now_ns < self.now_ns {
            self.shown.clear();
        }
        self.now_ns = now_ns;
        for rule in RULES {
            let Some(limits) = self.settings.of(rule.id) else { continue };
            if let Some(said) = said(rule, numbers, limits, self.shown.get(rule.id).map(|shown| shown.severity)) {
                let severity = said.severity;
                self.shown.insert(rule.id, Shown { finding: finding(rule, said), severity, seen_ns: now_ns });
            }
        }
        self.shown.retain(|_, shown| now_ns - shown.seen_ns.min(now_ns) <= HOLD_NS);
        let mut all: Vec<&Shown> = self.shown.values().collect();
        let order = |id: &str| RULES.iter().position(|rule| rule.id == id);
        all.sort_by_key(|shown| (std::cmp::Reverse(shown.severity), order(&shown.finding.id)));
        all.into_iter().map(|shown| shown.finding.clone()).collect()
    }
}

/// What the numbers say by themselves, worst first: nothing was shown before.
pub fn look_once(numbers: &Snapshot, settings: &Settings) -> Vec<Finding> {
    Findings::new(settings.clone()).look(numbers, numbers.duration_ns)
}

/// What a rule says, where a finding of it is shown already as bad as this. Eased limits keep it so, and make it no worse.
fn said(rule: &Rule, numbers: &Snapshot, limits: &Limits, shown: Option<Severity>) -> Option<Conclusion> {
    let check = |shown| (rule.check)(&Case { numbers, limits, shown });
    let Some(before) = shown else { return check(false) };
    let eased = check(true)?;
    if eased.severity <= before {
        return Some(eased);
    }
    let worse = check(false).filter(|said| said.severity >= before);
    Some(worse.unwrap_or(Conclusion { severity: before, ..eased }))
}

fn finding(rule: &Rule, said: Conclusion) -> Finding {
    Finding {
        id: rule.id.into(),
        severity: said.severity.name().into(),
        title: said.title,
        about: rule.about.into(),
        evidence: said.evidence,
        advice: said.advice,
        command: said.command,
    }
}

#[cfg(test)]
mod tests;

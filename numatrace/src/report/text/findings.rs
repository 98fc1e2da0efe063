//! What the numbers say is wrong: how bad it is and what, what that is in general, what to do, and the command.

use super::page::{LABEL, Page, Tone};
use crate::findings::{Severity, shell};
use crate::snapshot::Finding;

/// Above the numbers; nothing where nothing was found.
pub(super) fn write(page: &mut Page, findings: &[Finding]) {
    if findings.is_empty() {
        return;
    }
    page.heading("Findings", "");
    findings.iter().for_each(|finding| one(page, finding));
}

/// By themselves.
pub(super) fn list(page: &mut Page, findings: &[Finding]) {
    if findings.is_empty() {
        page.paragraph("", "No rule found anything in these numbers.");
    }
    for (at, finding) in findings.iter().enumerate() {
        if at > 0 {
            page.line("", Tone::Plain);
        }
        one(page, finding);
    }
}

fn one(page: &mut Page, finding: &Finding) {
    let tone = if Severity::of(finding) == Severity::Info { Tone::Plain } else { Tone::Bad };
    page.entry(&finding.severity, &finding.title, tone);
    page.entry("", &finding.about, Tone::Plain);
    page.entry("", &finding.advice, Tone::Plain);
    if let Some(command) = &finding.command {
        let indent = " ".repeat(LABEL);
        for (at, line) in shell::lines(command, page.width - LABEL - 2).iter().enumerate() {
            let prompt = if at == 0 { '$' } else { ' ' };
            page.line(&format!("{indent}{prompt} {line}"), Tone::Plain);
        }
    }
}

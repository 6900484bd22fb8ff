//! What is shown to a person: data in, whole screens out.
//!
//! Rules kept here: the worst comes first; a `fix:` line holds the very command,
//! uncut; everything is readable at 80 columns without colour.

mod report;
mod status;

pub(crate) use report::report;
pub(crate) use status::{Listing, ca_status};

use unicode_width::UnicodeWidthStr;

use super::table::{Screen, counted, dim, style_of};
use crate::finding::{Finding, Severity, words, worst};
use crate::inspect::CertState;

/// `due`, `expired`: the word, with its symbol and colour.
fn state_word(screen: Screen, state: CertState) -> String {
    let severity = state.severity();
    let word = format!("{} {}", screen.symbol(severity), state.as_str());
    screen.paint(style_of(severity), &word)
}

/// The verdict in one word, with its symbol and colour.
fn verdict(screen: Screen, severity: Option<Severity>) -> String {
    let severity = severity.filter(|s| *s > Severity::Info);
    let word = match severity {
        Some(Severity::Critical) => "critical",
        Some(Severity::Warn) => "warning",
        _ => "ok",
    };
    let word = format!("{} {word}", screen.symbol(severity));
    screen.paint(style_of(severity), &word)
}

/// A heading with a verdict at the right edge.
fn heading(screen: Screen, left: &str, severity: Option<Severity>) -> String {
    /// Headings do not stretch over a whole wide screen, nor over a pipe.
    const WIDEST: usize = 80;
    let plain = Screen {
        color: false,
        ..screen
    };
    let right = verdict(plain, severity);
    let width = screen.columns().min(WIDEST);
    let blank = width.saturating_sub(left.width() + right.width()).max(2);
    let left = screen.paint(super::table::bold(), left);
    format!("{left}{}{}\n", " ".repeat(blank), verdict(screen, severity))
}

/// `  label      text`, wrapped under itself.
fn labelled(screen: Screen, indent: usize, label: &str, text: &str) -> String {
    const LABEL: usize = 11;
    let start = indent + LABEL;
    let mut out = String::new();
    for (n, line) in screen
        .wrap(text, screen.columns().saturating_sub(start))
        .iter()
        .enumerate()
    {
        let label = if n == 0 { label } else { "" };
        let label = screen.paint(dim(), &format!("{label:<LABEL$}"));
        out.push_str(&format!("{}{label}{line}\n", " ".repeat(indent)));
    }
    out
}

/// Findings, worst first, each with its fix below it.
fn findings<'a>(
    screen: Screen,
    indent: usize,
    findings: impl IntoIterator<Item = &'a Finding>,
) -> Vec<String> {
    let mut sorted: Vec<&Finding> = findings.into_iter().collect();
    sorted.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let mut lines = Vec::new();
    for finding in sorted {
        lines.extend(message(screen, indent, finding));
        lines.extend(
            finding
                .fix
                .as_deref()
                .map(|command| fix(screen, indent + 2, command)),
        );
    }
    lines
}

fn message(screen: Screen, indent: usize, finding: &Finding) -> Vec<String> {
    let (mark, style) = match finding.severity {
        Severity::Info => (if screen.unicode { "·" } else { "-" }, dim()),
        severity => (screen.symbol(Some(severity)), style_of(Some(severity))),
    };
    let width = screen.columns().saturating_sub(indent + 2);
    let text = format!("{}: {}", finding.id, finding.message);
    let lines = screen.wrap(&text, width);
    let blank = " ".repeat(indent);
    lines
        .iter()
        .enumerate()
        .map(|(n, line)| match (n, line.strip_prefix(finding.id)) {
            (0, Some(rest)) => {
                let head = screen.paint(style, &format!("{mark} {}", finding.id));
                format!("{blank}{head}{rest}")
            }
            _ => format!("{blank}  {line}"),
        })
        .collect()
}

/// The command, uncut, so that it can be copied.
fn fix(screen: Screen, indent: usize, command: &str) -> String {
    let label = screen.paint(dim(), "fix:");
    format!("{}{label} {}", " ".repeat(indent), screen.clean(command))
}

/// `1 critical finding, 2 warnings`; empty when there are none.
fn tally(findings: &[&Finding]) -> String {
    let kinds = [
        (Severity::Critical, "critical finding"),
        (Severity::Warn, "warning"),
        (Severity::Info, "note"),
    ];
    let mut parts = Vec::new();
    for (severity, noun) in kinds {
        match findings.iter().filter(|f| f.severity == severity).count() {
            0 => {}
            number => parts.push(counted(number, noun)),
        }
    }
    parts.join(", ")
}

/// The worst severity that asks for something to be done.
fn serious<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<Severity> {
    worst(findings).filter(|severity| *severity > Severity::Info)
}

/// How long until `seconds` from now, with a sign once it is over: `6d 9h`, `-1d 15h`.
fn left(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    format!(
        "{sign}{}",
        words::span(crate::clock::Duration::seconds(seconds))
    )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files")]
mod tests;

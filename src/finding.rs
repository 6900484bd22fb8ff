//! What is wrong with something, how bad it is, and what to type about it.
//!
//! One engine for every place that looks at certificates: the rules live in
//! [`rules`], each a pure function from parsed values to findings, and `ca
//! status`, `inspect`, the linter before signing and the server's start-up all
//! ask the same ones. Every id stands in [`rules::RULES`].

pub mod rules;
pub mod words;

use std::str::FromStr;

/// How bad a finding is. Ordered: the worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing has to be done.
    Info,
    /// Something needs attention soon.
    Warn,
    /// Something is expired, invalid, missing or exposed.
    Critical,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// Stable name of the rule, such as `key-mismatch`; scripts match on it.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, with names and paths; one line, lower case, no full stop.
    pub message: String,
    /// The very command, or the one sentence, that mends it.
    pub fix: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(id: &'static str, severity: Severity, message: impl Into<String>) -> Self {
        // What the CA's check before signing finds stays inside an error message.
        debug_assert!(
            id.starts_with("issue-") || rules::rule(id).is_some_and(|rule| rule.allows(severity)),
            "`{id}` with {severity:?} is not in the table of rules"
        );
        Self {
            id,
            severity,
            message: message.into(),
            fix: None,
        }
    }

    /// The same finding with its remedy.
    #[must_use]
    pub fn with_fix(self, fix: impl Into<String>) -> Self {
        Self {
            fix: Some(fix.into()),
            ..self
        }
    }
}

/// The worst severity among `findings`; `None` when all is well.
pub fn worst<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Option<Severity> {
    findings.into_iter().map(|finding| finding.severity).max()
}

/// From which severity on a command that reports health fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailOn {
    /// Warnings exit 3 and critical findings 4.
    #[default]
    Warn,
    /// Only critical findings exit 4.
    Critical,
    /// The exit code is 0 whatever was found.
    Never,
}

impl FromStr for FailOn {
    type Err = UnknownFailOn;

    fn from_str(text: &str) -> Result<Self, UnknownFailOn> {
        match text {
            "warn" => Ok(Self::Warn),
            "critical" => Ok(Self::Critical),
            "never" => Ok(Self::Never),
            other => Err(UnknownFailOn(other.to_owned())),
        }
    }
}

/// A text that is no [`FailOn`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a level; use warn, critical or never", crate::identifier::quoted(.0))]
pub struct UnknownFailOn(String);

/// The exit code of a command that reports health: 0 healthy, 3 something needs
/// attention soon, 4 something is expired, invalid or missing.
pub fn exit_for(worst: Option<Severity>, fail_on: FailOn) -> u8 {
    match (worst, fail_on) {
        (Some(Severity::Critical), FailOn::Warn | FailOn::Critical) => 4,
        (Some(Severity::Warn), FailOn::Warn) => 3,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_follow_the_worst_finding() {
        use Severity::{Critical, Info, Warn};
        for (worst, warn, critical) in [
            (None, 0, 0),
            (Some(Info), 0, 0),
            (Some(Warn), 3, 0),
            (Some(Critical), 4, 4),
        ] {
            assert_eq!(exit_for(worst, FailOn::Warn), warn, "{worst:?}");
            assert_eq!(exit_for(worst, FailOn::Critical), critical, "{worst:?}");
            assert_eq!(exit_for(worst, FailOn::Never), 0, "{worst:?}");
        }
    }

    #[test]
    fn the_level_is_read_from_its_word() {
        assert_eq!("warn".parse(), Ok(FailOn::Warn));
        assert_eq!("critical".parse(), Ok(FailOn::Critical));
        assert_eq!("never".parse(), Ok(FailOn::Never));
        assert!("Warn ".parse::<FailOn>().is_err());
    }
}

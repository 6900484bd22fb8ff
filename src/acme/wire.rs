//! What a CA sends, as types (RFC 8555 §7.1): what instant-acme keeps to itself, or
//! prints as it came.
//!
//! Rules kept here: unknown fields and kinds of challenge are tolerated; no text of
//! the CA's is shown unescaped or uncut.

use std::collections::BTreeMap;
use std::fmt;

use instant_acme::{AuthorizationStatus, Challenge};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::identifier::quoted_within;

/// The URLs that a CA offers, and what it says about itself (RFC 8555 §7.1.1).
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// Where nonces come from.
    pub new_nonce: String,
    /// Where accounts are made.
    pub new_account: String,
    /// Where orders are placed.
    pub new_order: String,
    /// Where certificates are revoked.
    pub revoke_cert: Option<String>,
    /// Where account keys are replaced.
    pub key_change: Option<String>,
    /// Where renewal times are told (RFC 9773).
    pub renewal_info: Option<String>,
    /// What it says about itself.
    #[serde(default)]
    pub meta: Meta,
}

/// What a CA says about itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta {
    /// Where its terms are.
    pub terms_of_service: Option<String>,
    /// Where a person may read on.
    pub website: Option<String>,
    /// What CAA records must name.
    pub caa_identities: Vec<String>,
    /// No account without one at the CA's own site.
    pub external_account_required: bool,
    /// Profiles that may be asked for, and what they are.
    pub profiles: BTreeMap<String, String>,
}

/// Why a CA refused (RFC 7807, RFC 8555 §6.7). What it prints is escaped and cut.
#[derive(Debug, Clone, Deserialize)]
pub struct Problem(instant_acme::Problem);

impl Problem {
    /// What every type of ACME's begins with.
    const PREFIX: &str = "urn:ietf:params:acme:error:";
    /// Longest detail shown; a validation error of Let's Encrypt has some 300.
    const MAX_DETAIL: usize = 500;
    /// Most subproblems shown.
    const MAX_SUBPROBLEMS: usize = 5;

    /// The type without ACME's prefix, `rateLimited` say.
    pub fn kind(&self) -> Option<String> {
        self.0.r#type.as_deref().map(shortened)
    }

    /// Whether this is the problem `kind` of ACME's.
    pub fn is(&self, kind: &str) -> bool {
        let mine = self.0.r#type.as_deref();
        mine.and_then(|mine| mine.strip_prefix(Self::PREFIX)) == Some(kind)
    }
}

impl From<instant_acme::Problem> for Problem {
    fn from(problem: instant_acme::Problem) -> Self {
        Self(problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let instant_acme::Problem {
            r#type,
            detail,
            status: _,
            subproblems,
        } = &self.0;
        say(f, r#type.as_deref(), detail.as_deref())?;
        for problem in subproblems.iter().take(Self::MAX_SUBPROBLEMS) {
            f.write_str("; ")?;
            if let Some(named) = &problem.identifier {
                let name = named.authorized(false).to_string();
                write!(f, "{}: ", quoted_within(&name, 253))?;
            }
            say(f, problem.r#type.as_deref(), problem.detail.as_deref())?;
        }
        Ok(())
    }
}

fn say(f: &mut fmt::Formatter<'_>, kind: Option<&str>, detail: Option<&str>) -> fmt::Result {
    f.write_str(&kind.map_or_else(|| "no type given".to_owned(), shortened))?;
    match detail {
        Some(text) => {
            let text = quoted_within(text.trim_end(), Problem::MAX_DETAIL);
            write!(f, ": {text}")
        }
        None => Ok(()),
    }
}

fn shortened(kind: &str) -> String {
    let short = kind.strip_prefix(Problem::PREFIX).unwrap_or(kind);
    quoted_within(short, 60)
}

/// An account as its CA sees it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct AccountState {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) contact: Vec<String>,
}

impl AccountState {
    /// Its status as it may be shown.
    pub(crate) fn status(&self) -> String {
        quoted_within(&self.status, 40)
    }
}

/// An authorization: one name to be shown control of.
#[derive(Debug, Deserialize)]
pub(crate) struct AuthorizationState {
    pub(crate) status: AuthorizationStatus,
    pub(crate) identifier: instant_acme::Identifier,
    #[serde(default)]
    pub(crate) wildcard: bool,
    /// The ways to show it that can be read: others cannot be gone anyway.
    #[serde(default, deserialize_with = "readable")]
    pub(crate) challenges: Vec<Challenge>,
}

fn readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Challenge>, D::Error> {
    let all = Vec::<Value>::deserialize(deserializer)?;
    let all = all.into_iter();
    Ok(all
        .filter_map(|one| Challenge::deserialize(one).ok())
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_and_challenges_are_taken_and_unreadable_ones_left_out() {
        let text = r#"{"status":"pending","identifier":{"type":"dns","value":"a.test"},
            "new":[1],"challenges":[{"type":"dns-persist-01","issuer-domain-names":["x"],
            "url":"https://ca.test/p","status":"pending"},{"type":"odd-01"},7,
            {"type":"tls-alpn-01","url":"https://ca.test/t","token":"t","status":"odd"},
            {"type":"http-01","url":"https://ca.test/c","token":"t","status":"valid"}]}"#;
        let state: AuthorizationState = serde_json::from_str(text).unwrap();
        let urls: Vec<_> = state.challenges.iter().map(|c| c.url.as_str()).collect();
        assert_eq!(urls, ["https://ca.test/p", "https://ca.test/c"]);
    }

    #[test]
    fn a_problem_is_printed_escaped_cut_and_with_its_subproblems() {
        let text = r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"a\u001b[31mb\u202e",
            "subproblems":[{"type":"urn:ietf:params:acme:error:caa","detail":"no",
            "identifier":{"type":"dns","value":"b.test\u0007"}}]}"#;
        let problem: Problem = serde_json::from_str(text).unwrap();
        assert!(problem.is("malformed") && !problem.is("caa"));
        let shown = problem.to_string();
        assert!(!shown.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{shown}");
        assert!(shown.ends_with("; b.test\\u{7}: caa: no"), "{shown}");
        let long = format!(r#"{{"type":"{}","detail":"{0}"}}"#, "x".repeat(9_000));
        let long: Problem = serde_json::from_str(&long).unwrap();
        assert!(long.to_string().chars().count() < 600);
        let empty: Problem = serde_json::from_str("{}").unwrap();
        assert_eq!(empty.to_string(), "no type given");
    }
}

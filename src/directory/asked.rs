//! Identifiers as clients write them, kept word for word: an order echoes them so
//! (RFC 8555 §7.1.3), and clients compare.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::problem::{Problem, ProblemType};
use crate::identifier::{Identifier, quoted};

/// Longest identifier looked at: a DNS name with `*.` and a final dot.
const MAX_VALUE: usize = 256;

/// One identifier of an order, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AskedIdentifier {
    /// `dns` or `ip`, or what somebody made up.
    #[serde(rename = "type")]
    pub kind: String,
    /// The name or address.
    pub value: String,
}

impl AskedIdentifier {
    /// A DNS name, perhaps with `*.`.
    pub fn dns(value: impl Into<String>) -> Self {
        Self {
            kind: "dns".to_owned(),
            value: value.into(),
        }
    }

    /// An IP address (RFC 8738).
    pub fn ip(address: IpAddr) -> Self {
        Self {
            kind: "ip".to_owned(),
            value: address.to_string(),
        }
    }

    /// How an authorization names `identifier`: without `*.`.
    ///
    /// `None` for what ACME has no type for.
    pub fn of(identifier: &Identifier) -> Option<Self> {
        match identifier {
            Identifier::Dns(name) | Identifier::Wildcard(name) => Some(Self::dns(name.to_string())),
            Identifier::Ip(address) => Some(Self::ip(*address)),
            Identifier::Email(_) | Identifier::Uri(_) => None,
        }
    }

    /// The name that this asks for.
    ///
    /// Strict, since it is echoed: A-labels only, no final dot, addresses without
    /// brackets.
    pub fn identifier(&self) -> Result<Identifier, Problem> {
        let refuse = |reason: &str| {
            Err(Problem::malformed(format!(
                "the identifier `{}` {reason}",
                quoted(&self.value)
            )))
        };
        if self.kind != "dns" && self.kind != "ip" {
            let detail = format!(
                "identifiers of the type `{}` are not supported: dns and ip are",
                quoted(&self.kind)
            );
            return Err(Problem::new(ProblemType::UnsupportedIdentifier, detail));
        }
        if self.value.len() > MAX_VALUE {
            return refuse("is too long");
        }
        if !self.value.is_ascii() {
            return refuse("must be written in A-labels (`xn--…`)");
        }
        if self.value.ends_with('.') {
            return refuse("must not end with a dot");
        }
        let address = self.value.parse::<IpAddr>().is_ok();
        match (self.kind.as_str(), Identifier::parse(&self.value)) {
            (_, Err(error)) => Err(Problem::malformed(error.to_string())),
            ("ip", Ok(name @ Identifier::Ip(_))) if address => Ok(name),
            ("ip", Ok(_)) => refuse("is no IP address"),
            (_, Ok(name @ (Identifier::Dns(_) | Identifier::Wildcard(_)))) => Ok(name),
            (_, Ok(_)) => refuse("is no DNS name"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(kind: &str, value: &str) -> AskedIdentifier {
        AskedIdentifier {
            kind: kind.to_owned(),
            value: value.to_owned(),
        }
    }

    #[test]
    fn names_and_addresses_are_read_by_their_type() {
        for (kind, value, want) in [
            ("dns", "a.test", "a.test"),
            ("dns", "*.a.test", "*.a.test"),
            ("dns", "A.Test", "a.test"),
            ("dns", "xn--bcher-kva.test", "xn--bcher-kva.test"),
            ("ip", "10.0.0.1", "10.0.0.1"),
            ("ip", "fd00:0:0:0::1", "fd00::1"),
        ] {
            let name = asked(kind, value).identifier().unwrap();
            assert_eq!(name.to_string(), want);
        }
    }

    #[test]
    fn what_is_no_identifier_is_refused_by_the_right_type() {
        let long = "a".repeat(300);
        for (kind, value) in [
            ("dns", ""),
            ("dns", "a test"),
            ("dns", "bücher.test"),
            ("dns", "a.test."),
            ("dns", "10.0.0.1"),
            ("dns", "127.0.0.0x1"),
            ("dns", "*.0x7f"),
            ("dns", "::1"),
            ("dns", "a.*.test"),
            ("dns", "*.*.test"),
            ("dns", "ada@a.test"),
            ("dns", "https://a.test"),
            ("dns", "a.test\0"),
            ("dns", &long),
            ("ip", ""),
            ("ip", "a.test"),
            ("ip", "[::1]"),
            ("ip", "::ffff:10.0.0.1"),
            ("ip", "10.0.0.1/8"),
            ("ip", "10.0.0.1:80"),
        ] {
            let problem = asked(kind, value).identifier().unwrap_err();
            assert_eq!(problem.kind(), ProblemType::Malformed, "{kind} {value}");
        }
        for kind in ["", "DNS", "email", "permanent-identifier", "\u{1b}"] {
            let problem = asked(kind, "a.test").identifier().unwrap_err();
            assert_eq!(problem.kind(), ProblemType::UnsupportedIdentifier, "{kind}");
        }
    }
}

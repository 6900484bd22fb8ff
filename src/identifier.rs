//! What a certificate may be for: names, addresses, and the limits put on them.
//!
//! A value of these types is correct by construction. Text from a person, a
//! CSR or a peer becomes one by [`Identifier::parse`], which tells the kinds
//! apart by form, or is refused with a reason. Nothing here touches a network.

mod constraints;
mod dns_name;
mod id;

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

pub use constraints::{NameConstraints, OutsideConstraints, Subtree};
pub use dns_name::DnsName;
pub use id::CertId;

/// One subject alternative name (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Identifier {
    /// A host name.
    Dns(DnsName),
    /// `*.` followed by the name held here; stands for exactly one more label.
    Wildcard(DnsName),
    /// An IPv4 or IPv6 address.
    Ip(IpAddr),
    /// An e-mail address (rfc822Name).
    Email(EmailAddress),
    /// An absolute URI.
    Uri(AbsoluteUri),
}

impl Identifier {
    /// Reads a name typed by a person; its form tells the kind.
    ///
    /// DNS names may be typed in Unicode and are kept as A-labels
    /// (RFC 5890 §2.3.2.1).
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() {
            return Err(InvalidName::new(text, "it is empty", None));
        }
        if let Some(c) = text.chars().find(|c| c.is_control()) {
            let reason = format!("it contains the control character {}", c.escape_unicode());
            return Err(InvalidName::new(text, reason, None));
        }
        if text.contains("://") || text.starts_with("urn:") {
            return AbsoluteUri::parse(text).map(Self::Uri);
        }
        if let Some(address) = parse_ip(text)? {
            return Ok(Self::Ip(address));
        }
        if text.contains('@') {
            return EmailAddress::parse(text).map(Self::Email);
        }
        match text.strip_prefix("*.") {
            Some(parent) => DnsName::parse(parent)
                .map(Self::Wildcard)
                .map_err(|e| InvalidName {
                    text: text.to_owned(),
                    ..e
                }),
            None => DnsName::parse(text).map(Self::Dns),
        }
    }

    /// Whether a certificate for `self` is good for the host or address `wanted`.
    ///
    /// A wildcard stands for one label, the leftmost (RFC 9525 §6.3).
    pub fn covers(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Wildcard(parent), Self::Dns(name)) => name.parent() == Some(parent.as_str()),
            _ => self == wanted,
        }
    }

    /// The name as a person reads it: IDN in Unicode.
    pub fn to_unicode(&self) -> String {
        match self {
            Self::Dns(name) => name.to_unicode(),
            Self::Wildcard(name) => format!("*.{}", name.to_unicode()),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Wildcard(name) => write!(f, "*.{name}"),
            Self::Ip(address) => address.fmt(f),
            Self::Email(address) => f.write_str(address.as_str()),
            Self::Uri(uri) => f.write_str(uri.as_str()),
        }
    }
}

impl FromStr for Identifier {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

impl serde::Serialize for Identifier {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Identifier {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Several names in a sentence: the first, and how many more.
pub fn summary(names: &[Identifier]) -> String {
    match names {
        [] => "no name".to_owned(),
        [only] => only.to_string(),
        [first, rest @ ..] => format!("{first} +{}", rest.len()),
    }
}

fn parse_ip(text: &str) -> Result<Option<IpAddr>, InvalidName> {
    let bare = text
        .strip_prefix('[')
        .and_then(|t| t.strip_suffix(']'))
        .unwrap_or(text);
    let Ok(address) = bare.parse::<IpAddr>() else {
        return Ok(None);
    };
    if let IpAddr::V6(v6) = address
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        // Go's verifier refuses a certificate that carries a mapped address.
        let hint = format!("write it as `{v4}`");
        return Err(InvalidName::new(
            text,
            "it is an IPv4-mapped IPv6 address",
            Some(hint),
        ));
    }
    Ok(Some(address))
}

/// An e-mail address whose domain is a [`DnsName`] and whose local part is an
/// ASCII dot-atom (RFC 5322 §3.2.3).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EmailAddress {
    text: String,
    domain: DnsName,
}

impl EmailAddress {
    /// Longest local part (RFC 5321 §4.5.3.1.1).
    const MAX_LOCAL: usize = 64;

    /// Reads `local@domain`.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let refuse = |reason: &str| InvalidName::new(text, reason, None);
        let (local, domain) = text
            .rsplit_once('@')
            .ok_or_else(|| refuse("it has no `@`"))?;
        let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
        if local.is_empty() || local.len() > Self::MAX_LOCAL {
            return Err(refuse("the part before `@` must have 1 to 64 characters"));
        }
        if !local
            .split('.')
            .all(|part| !part.is_empty() && part.chars().all(atom))
        {
            return Err(refuse(
                "the part before `@` has a character that is not allowed there",
            ));
        }
        let domain = DnsName::parse(domain).map_err(|e| InvalidName {
            text: text.into(),
            ..e
        })?;
        Ok(Self {
            text: format!("{local}@{domain}"),
            domain,
        })
    }

    /// `local@domain`, the domain as A-labels in lower case.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part after `@`.
    pub fn domain(&self) -> &DnsName {
        &self.domain
    }
}

/// An absolute URI in its normal form (RFC 3986 §4.3), such as a SPIFFE ID.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AbsoluteUri {
    text: String,
    host: Option<String>,
}

impl AbsoluteUri {
    /// Longest URI taken; SPIFFE's own limit is the same.
    const MAX: usize = 2048;

    /// Reads an absolute URI without a password or fragment.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let refuse = |reason: String| InvalidName::new(text, reason, None);
        if text.len() > Self::MAX {
            return Err(refuse(format!(
                "a URI may have at most {} characters",
                Self::MAX
            )));
        }
        if text.contains(char::is_whitespace) {
            return Err(refuse("a URI has no white space".into()));
        }
        let url = url::Url::parse(text).map_err(|e| refuse(format!("not a URI: {e}")))?;
        if url.password().is_some() || url.fragment().is_some() {
            return Err(refuse(
                "a URI in a certificate has no password and no fragment".into(),
            ));
        }
        if url.cannot_be_a_base() && url.scheme() != "urn" {
            return Err(refuse("only `urn:` URIs may have no host".into()));
        }
        if !url.cannot_be_a_base() && url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("it has no host".into()));
        }
        Ok(Self {
            text: url.as_str().to_owned(),
            host: url.host_str().map(str::to_owned),
        })
    }

    /// The URI.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host, when the scheme has one.
    pub fn host(&self) -> Option<&str> {
        self.host.as_deref()
    }
}

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a valid name: {reason}", quoted(text))]
pub struct InvalidName {
    text: String,
    reason: String,
    hint: Option<String>,
}

impl InvalidName {
    fn new(text: &str, reason: impl Into<String>, hint: Option<String>) -> Self {
        Self {
            text: text.to_owned(),
            reason: reason.into(),
            hint,
        }
    }

    /// What to type instead, when that is clear.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Longest stretch of a stranger's text that is repeated in a message.
const QUOTED_MAX: usize = 100;

/// `text` made safe to print: control and invisible characters escaped, and cut
/// when it is long. For whatever a person or peer sent.
pub fn quoted(text: &str) -> String {
    quoted_within(text, QUOTED_MAX)
}

/// Like [`quoted`], cut only after `max` characters.
pub fn quoted_within(text: &str, max: usize) -> String {
    let mut out = String::new();
    for (n, c) in text.chars().enumerate() {
        if n == max {
            out.push('…');
            break;
        }
        if c.is_control() || is_invisible(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Characters that reorder or hide what stands around them in a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> &'static str {
        match Identifier::parse(text) {
            Ok(Identifier::Dns(_)) => "dns",
            Ok(Identifier::Wildcard(_)) => "wildcard",
            Ok(Identifier::Ip(_)) => "ip",
            Ok(Identifier::Email(_)) => "email",
            Ok(Identifier::Uri(_)) => "uri",
            Err(_) => "refused",
        }
    }

    #[test]
    fn the_form_tells_the_kind() {
        for (text, expected) in [
            ("localhost", "dns"),
            ("a.example", "dns"),
            ("bücher.example", "dns"),
            ("*.example.com", "wildcard"),
            ("127.0.0.1", "ip"),
            ("::1", "ip"),
            ("[2001:db8::1]", "ip"),
            ("ada@example.com", "email"),
            ("spiffe://example.org/ns/a", "uri"),
            ("urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6", "uri"),
            // bad values
            ("", "refused"),
            ("../../evil", "refused"),
            ("a..test", "refused"),
            (".test", "refused"),
            ("test.", "refused"),
            ("1.2.3.4:80", "refused"),
            ("1.2.3.400", "refused"),
            ("::ffff:1.2.3.4", "refused"),
            ("a b.test", "refused"),
            ("a\nb.test", "refused"),
            ("a\0.test", "refused"),
            ("*", "refused"),
            ("*.*.test", "refused"),
            ("a.*.test", "refused"),
            ("-a.test", "refused"),
            ("@example.com", "refused"),
            ("a@b@example.com", "refused"),
            ("https://", "refused"),
            ("https://u:p@example.com/", "refused"),
        ] {
            assert_eq!(kind(text), expected, "{text:?}");
        }
    }

    #[test]
    fn idn_is_kept_as_a_labels_and_shown_in_unicode() {
        let name = Identifier::parse("*.BÜCHER.example").unwrap();
        assert_eq!(name.to_string(), "*.xn--bcher-kva.example");
        assert_eq!(name.to_unicode(), "*.bücher.example");
    }

    #[test]
    fn a_wildcard_covers_exactly_one_label() {
        let wildcard = Identifier::parse("*.example.com").unwrap();
        let covers = |name: &str| wildcard.covers(&Identifier::parse(name).unwrap());
        assert!(covers("a.example.com"));
        assert!(!covers("a.b.example.com"));
        assert!(!covers("example.com"));
        assert!(covers("*.example.com"));
    }

    #[test]
    fn a_refused_name_is_printed_without_its_control_characters() {
        let error = Identifier::parse("a\u{1b}[31m.test\u{202e}")
            .unwrap_err()
            .to_string();
        assert!(
            !error.contains('\u{1b}') && !error.contains('\u{202e}'),
            "{error}"
        );
        assert!(error.contains("control character"), "{error}");
    }
}

//! Host names as they stand in certificates and ClientHellos.

use std::fmt;
use std::str::FromStr;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

use super::InvalidName;

/// A host name: lower-case A-labels, 1 to 253 characters, no trailing dot.
///
/// Labels are letters, digits and hyphens (RFC 1123 §2.1), since anything else
/// is refused by some verifier. The only parser of host names in certmint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DnsName(Box<str>);

impl DnsName {
    /// Longest name in its text form (RFC 1035 §2.3.4).
    pub const MAX: usize = 253;
    /// Longest label (RFC 1035 §2.3.4).
    const MAX_LABEL: usize = 63;

    /// Reads a host name, in ASCII or Unicode (UTS 46).
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        check_form(text)?;
        let ascii = Uts46::new()
            .to_ascii(
                text.as_bytes(),
                AsciiDenyList::STD3,
                Hyphens::CheckFirstLast,
                DnsLength::Verify,
            )
            .map_err(|_| refuse(text, "it has a label that no host name may have"))?;
        check_lengths(text, &ascii)?;
        let last = ascii.rsplit('.').next().unwrap_or_default();
        if is_number(last) {
            return Err(refuse(
                text,
                "its last label is a number, yet it is not an IPv4 address",
            ));
        }
        Ok(Self(ascii.into()))
    }

    /// The name as A-labels.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the first label, if anything does.
    pub fn parent(&self) -> Option<&str> {
        self.0.split_once('.').map(|(_, rest)| rest)
    }

    /// Whether `self` is `domain` or below it.
    pub fn is_within(&self, domain: &Self) -> bool {
        self.0
            .strip_suffix(&*domain.0)
            .is_some_and(|head| head.is_empty() || head.ends_with('.'))
    }

    /// The name with its A-labels shown in Unicode.
    pub fn to_unicode(&self) -> String {
        idna::domain_to_unicode(&self.0).0
    }
}

/// What can be told without IDNA, so that the message can name it.
fn check_form(text: &str) -> Result<(), InvalidName> {
    if text.is_empty() {
        return Err(refuse(text, "it is empty"));
    }
    if text.contains('/') || text.contains('\\') {
        return Err(refuse(text, "a name is not a path"));
    }
    if let Some((host, port)) = text.rsplit_once(':')
        && port.bytes().all(|b| b.is_ascii_digit())
    {
        let hint = format!("leave the port away: `{}`", super::quoted(host));
        return Err(InvalidName::new(
            text,
            "a certificate has no port",
            Some(hint),
        ));
    }
    if text.contains('*') {
        let reason = "a wildcard is `*.` once, at the start, followed by a host name";
        return Err(refuse(text, reason));
    }
    if let Some(bare) = text.strip_suffix('.')
        && !bare.is_empty()
        && !bare.ends_with('.')
    {
        let hint = format!("leave the last dot away: `{}`", super::quoted(bare));
        return Err(InvalidName::new(text, "it ends in a dot", Some(hint)));
    }
    if text.split('.').any(str::is_empty) {
        return Err(refuse(text, "it has an empty label"));
    }
    if text.contains(char::is_whitespace) {
        return Err(refuse(text, "a name has no white space"));
    }
    if let Some(c) = text.chars().find(|c| c.is_ascii() && !is_label_char(*c)) {
        let reason = format!("`{c}` may not stand in a host name");
        return Err(refuse(text, reason));
    }
    if text
        .split('.')
        .any(|l| l.starts_with('-') || l.ends_with('-'))
    {
        return Err(refuse(text, "a label may not start or end with a hyphen"));
    }
    if text.is_ascii() {
        check_lengths(text, text)?;
    }
    Ok(())
}

fn check_lengths(text: &str, ascii: &str) -> Result<(), InvalidName> {
    if ascii.len() > DnsName::MAX {
        let reason = format!(
            "it has {} characters, a host name at most {}",
            ascii.len(),
            DnsName::MAX
        );
        return Err(refuse(text, reason));
    }
    if let Some(label) = ascii.split('.').find(|l| l.len() > DnsName::MAX_LABEL) {
        let reason = format!(
            "a label has {} characters, at most {} may",
            label.len(),
            DnsName::MAX_LABEL
        );
        return Err(refuse(text, reason));
    }
    Ok(())
}

/// Whether a name that ends in this label is an IPv4 address to whatever reads URLs as
/// browsers do (WHATWG URL §3.5, "ends in a number"): digits, or `0x` and perhaps some
/// hexadecimal ones.
fn is_number(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|b| b.is_ascii_hexdigit()),
        None => label.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn is_label_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '.'
}

fn refuse(text: &str, reason: impl Into<String>) -> InvalidName {
    InvalidName::new(text, reason, None)
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DnsName {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_rfc_1035() {
        let label = "a".repeat(63);
        let longest = format!("{label}.{label}.{label}.{}", "a".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(DnsName::parse(&longest).is_ok());
        let error = DnsName::parse(&format!("{longest}a"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("254 characters"), "{error}");
        assert!(DnsName::parse(&"a".repeat(64)).is_err());
    }

    #[test]
    fn a_name_that_urls_take_for_an_address_is_refused() {
        for bad in [
            "1",
            "a.1",
            "1.2.3.400",
            "0x",
            "0x1",
            "a.0x",
            "a.0xfe",
            "127.0.0.0x1",
            "127.0.0.0X1",
            "a.0XAB",
            "a.０ｘ１",
        ] {
            let error = DnsName::parse(bad).unwrap_err().to_string();
            assert!(error.contains("last label is a number"), "{error}");
        }
        for good in [
            "0x1.test", "1.test", "a.0xg", "a.x1", "a.00x1", "a.1e", "a.0x-1",
        ] {
            let name = DnsName::parse(good).unwrap();
            let url = url::Url::parse(&format!("http://{name}/")).unwrap();
            assert_eq!(url.host_str(), Some(good));
        }
    }

    #[test]
    fn within_ends_at_a_label() {
        let name = |t: &str| DnsName::parse(t).unwrap();
        assert!(name("a.home.arpa").is_within(&name("home.arpa")));
        assert!(name("home.arpa").is_within(&name("home.arpa")));
        assert!(!name("evilhome.arpa").is_within(&name("home.arpa")));
        assert!(!name("arpa").is_within(&name("home.arpa")));
    }

    proptest::proptest! {
        #[test]
        fn what_parses_parses_again_to_itself(text in "\\PC{0,80}") {
            if let Ok(name) = DnsName::parse(&text) {
                let url = url::Url::parse(&format!("http://{name}/"));
                let host = url.as_ref().ok().and_then(url::Url::domain);
                proptest::prop_assert_eq!(host, Some(name.as_str()));
                proptest::prop_assert_eq!(DnsName::parse(name.as_str()).unwrap(), name.clone());
                proptest::prop_assert!(name.as_str().bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')));
                proptest::prop_assert!(!name.as_str().contains(".."));
            }
        }
    }
}

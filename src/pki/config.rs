//! What a CA was told when it was made: `ca/ca.json`, read and checked.

use std::fmt;

use crate::clock::Timestamp;
use crate::identifier::{NameConstraints, quoted};
use crate::key::KeyType;

/// The settings of a CA.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CaConfig {
    /// The format of the file: `certmint.ca/1`.
    schema: Schema,
    /// Stands in the common name of every CA certificate.
    pub name: CaName,
    /// The organization in their subjects; the name when none was given.
    pub org: Organization,
    /// The country in their subjects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// Kind of key of roots and intermediates.
    pub key_type: KeyType,
    /// Life of a root, in days.
    pub root_days: u32,
    /// Life of an intermediate, in days; never longer than its root's.
    pub intermediate_days: u32,
    /// What may be issued; everything when empty.
    #[serde(default, skip_serializing_if = "NameConstraints::is_unlimited")]
    pub permit: NameConstraints,
    /// Where revocation lists are published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crl_url: Option<CrlUrl>,
    /// Roots that clients no longer install, such as `R1`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retired_roots: Vec<String>,
    /// When the CA was made.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: Timestamp,
}

impl CaConfig {
    /// Longest life of a CA certificate, in days: a century.
    pub const MAX_DAYS: u32 = 36_500;

    /// The settings of a new CA.
    pub(super) fn new(
        name: CaName,
        org: Option<Organization>,
        country: Option<Country>,
        created_at: Timestamp,
    ) -> Self {
        Self {
            schema: Schema::V1,
            org: org.unwrap_or_else(|| Organization(name.0.clone())),
            name,
            country,
            key_type: KeyType::default(),
            root_days: 0,
            intermediate_days: 0,
            permit: NameConstraints::default(),
            crl_url: None,
            retired_roots: Vec::new(),
            created_at,
        }
    }

    /// The settings with these lives, or why not.
    pub(super) fn with_days(self, root: u32, intermediate: u32) -> Result<Self, InvalidSetting> {
        for (what, days) in [("root", root), ("intermediate", intermediate)] {
            if !(1..=Self::MAX_DAYS).contains(&days) {
                let max = Self::MAX_DAYS;
                return Err(InvalidSetting(format!(
                    "the {what} cannot live {days} days; use 1 to {max}"
                )));
            }
        }
        Ok(Self {
            root_days: root,
            intermediate_days: intermediate,
            ..self
        })
    }

    /// Reads `ca.json`.
    pub(super) fn from_json(bytes: &[u8]) -> Result<Self, InvalidSetting> {
        let read: Self =
            serde_json::from_slice(bytes).map_err(|e| InvalidSetting(e.to_string()))?;
        let (root, intermediate) = (read.root_days, read.intermediate_days);
        read.with_days(root, intermediate)
    }

    /// The text of `ca.json`.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("settings are plain data");
        text.push(b'\n');
        text
    }

    /// Whether clients no longer install this root.
    pub(super) fn is_retired(&self, root: &str) -> bool {
        self.retired_roots.iter().any(|retired| retired == root)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
enum Schema {
    #[serde(rename = "certmint.ca/1")]
    V1,
}

/// What a CA is called, 1 to 40 characters, so that the longest common name made
/// of it keeps to X.520's limit of 64.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CaName(String);

impl CaName {
    /// Longest name in characters.
    pub const MAX: usize = 40;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An organization's name, 1 to 64 characters (X.520 ub-organization-name).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Organization(String);

impl Organization {
    /// Longest name in characters.
    pub const MAX: usize = 64;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A country: two upper-case letters (ISO 3166).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country(String);

impl Country {
    /// The letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The plain-HTTP directory under which each issuer's list is `<issuer>.crl`.
///
/// One list per issuer, since a list speaks only for who signed it. Not HTTPS:
/// a client would need the list to fetch the list (RFC 5280 §8).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CrlUrl(String);

impl CrlUrl {
    /// The URL of the list of `issuer`, such as `I1`.
    pub fn of(&self, issuer: &str) -> String {
        format!("{}/{issuer}.crl", self.0)
    }
}

impl TryFrom<String> for CaName {
    type Error = InvalidSetting;

    fn try_from(text: String) -> Result<Self, InvalidSetting> {
        check_text("the CA's name", &text, Self::MAX)?;
        Ok(Self(text))
    }
}

impl TryFrom<String> for Organization {
    type Error = InvalidSetting;

    fn try_from(text: String) -> Result<Self, InvalidSetting> {
        check_text("the organization", &text, Self::MAX)?;
        Ok(Self(text))
    }
}

impl TryFrom<String> for Country {
    type Error = InvalidSetting;

    fn try_from(text: String) -> Result<Self, InvalidSetting> {
        if text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase()) {
            return Ok(Self(text));
        }
        Err(InvalidSetting(format!(
            "`{}` is not a country; use its two upper-case letters, such as `CH`",
            quoted(&text)
        )))
    }
}

impl TryFrom<String> for CrlUrl {
    type Error = InvalidSetting;

    fn try_from(text: String) -> Result<Self, InvalidSetting> {
        let url = plain_http(&text)?;
        let directory = url.as_str().trim_end_matches('/');
        if directory.ends_with(".crl") {
            let why =
                "names a file; give the directory, each issuer's list is `<issuer>.crl` in it";
            return Err(InvalidSetting::text(&text, why));
        }
        Ok(Self(directory.to_owned()))
    }
}

impl From<CaName> for String {
    fn from(name: CaName) -> Self {
        name.0
    }
}

impl From<Organization> for String {
    fn from(name: Organization) -> Self {
        name.0
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.0
    }
}

impl From<CrlUrl> for String {
    fn from(url: CrlUrl) -> Self {
        url.0
    }
}

impl fmt::Display for CaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A URL below which something is published: of plain HTTP, a host and a path.
pub(super) fn plain_http(text: &str) -> Result<url::Url, InvalidSetting> {
    let url = url::Url::parse(text).map_err(|_| InvalidSetting::text(text, "is not a URL"))?;
    if url.scheme() != "http" {
        let why = "does not start with `http://`, as a CRL's URL must";
        return Err(InvalidSetting::text(text, why));
    }
    if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
        return Err(InvalidSetting::more_than_a_path(text));
    }
    Ok(url)
}

fn check_text(what: &str, text: &str, max: usize) -> Result<(), InvalidSetting> {
    let length = text.chars().count();
    let why = if length == 0 {
        "is empty".to_owned()
    } else if length > max {
        format!("has {length} characters, at most {max} may be used")
    } else if quoted(text) != *text {
        "has a control or invisible character".to_owned()
    } else if text.trim() != text {
        "starts or ends with white space".to_owned()
    } else {
        return Ok(());
    };
    Err(InvalidSetting(format!("{what} `{}` {why}", quoted(text))))
}

/// A setting that a CA cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSetting(String);

impl InvalidSetting {
    fn text(text: &str, why: &str) -> Self {
        Self(format!("`{}` {why}", quoted(text)))
    }

    pub(super) fn more_than_a_path(text: &str) -> Self {
        Self::text(text, "has more than a host and a path")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> CaConfig {
        let name = CaName::try_from("Home".to_owned()).unwrap();
        CaConfig::new(name, None, None, Timestamp::UNIX_EPOCH)
            .with_days(3650, 1095)
            .unwrap()
    }

    #[test]
    fn settings_survive_being_written_and_read() {
        let mut config = config();
        config.country = Some(Country::try_from("CH".to_owned()).unwrap());
        config.crl_url = Some(CrlUrl::try_from("http://ca.test/crl/".to_owned()).unwrap());
        config.permit = NameConstraints::new(vec!["home.arpa".parse().unwrap()]);
        config.retired_roots = vec!["R1".to_owned()];
        assert_eq!(CaConfig::from_json(&config.to_json()).unwrap(), config);
        assert_eq!(config.org.as_str(), "Home");
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        let text = String::from_utf8(config().to_json()).unwrap();
        for (from, to) in [
            ("certmint.ca/1", "certmint.ca/2"),
            ("\"name\"", "\"nom\""),
            ("3650", "0"),
            ("3650", "99999"),
            ("Home", "a\\u0007b"),
            ("}", ""),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert!(CaConfig::from_json(changed.as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn bad_settings_are_refused_with_the_reason() {
        let name = |text: &str| CaName::try_from(text.to_owned()).unwrap_err().to_string();
        assert!(name("").contains("empty"));
        assert!(name(" x").contains("white space"));
        assert!(name("a\u{202e}b").contains("invisible"));
        assert!(name(&"x".repeat(41)).contains("41 characters"));
        for text in ["ch", "CHE", "", "C1"] {
            assert!(Country::try_from(text.to_owned()).is_err(), "{text}");
        }
        for text in [
            "https://a.test/",
            "ldap://a.test/",
            "a.test/x",
            "http://a.test/ca.crl",
            "http://a.test/?q",
        ] {
            assert!(CrlUrl::try_from(text.to_owned()).is_err(), "{text}");
        }
        let url = CrlUrl::try_from("http://a.test".to_owned()).unwrap();
        assert_eq!(url.of("I1"), "http://a.test/I1.crl");
    }
}

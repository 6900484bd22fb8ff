//! The name under which a certificate is kept, safe as a directory's name.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER;

use super::{DnsName, Identifier};

/// Names one certificate on this machine across its generations.
///
/// Only lower-case letters, digits, `.`, `-` and `_`, never starting with `.` or
/// `-`, at most 200 bytes: no name from outside is ever a path unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct CertId(String);

impl CertId {
    /// Longest id in bytes; leaves room for suffixes below the usual 255.
    pub const MAX: usize = 200;
    /// Hex digits of the hash that follow a slug.
    const HASH_DIGITS: usize = 16;
    /// What ids of certificates begin with that are made on demand.
    const ON_DEMAND: &str = "_on-demand.";

    /// The id of a certificate whose first name is `name`.
    ///
    /// Host names and addresses that fit are themselves, `*.` becomes
    /// `_wildcard.`; everything else is a slug and a hash.
    pub fn for_name(name: &Identifier) -> Self {
        let text = match name {
            Identifier::Dns(dns) => dns.to_string(),
            Identifier::Wildcard(dns) => format!("_wildcard.{dns}"),
            Identifier::Ip(std::net::IpAddr::V4(address)) => address.to_string(),
            _ => return Self::hashed(&name.to_string()),
        };
        if text.len() > Self::MAX {
            Self::hashed(&text)
        } else {
            Self(text)
        }
    }

    /// The id of a certificate that is made for `name` because clients ask for it; never
    /// that of one which somebody asked for by hand.
    pub fn on_demand(name: &DnsName) -> Self {
        let text = format!("{}{name}", Self::ON_DEMAND);
        if text.len() > Self::MAX {
            let Self(hashed) = Self::hashed(name.as_str());
            Self(format!("{}{hashed}", Self::ON_DEMAND))
        } else {
            Self(text)
        }
    }

    /// Whether it is one of [`Self::on_demand`].
    pub fn is_on_demand(&self) -> bool {
        self.0.starts_with(Self::ON_DEMAND)
    }

    fn hashed(text: &str) -> Self {
        const SLUG: usize = 60;
        let slug: String = text
            .chars()
            .map(|c| c.to_ascii_lowercase())
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .take(SLUG)
            .collect();
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        let hex = HEXLOWER.encode(hash.as_ref());
        Self(format!(
            "{}-{}",
            slug.trim_matches('-'),
            &hex[..Self::HASH_DIGITS]
        ))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CertId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let allowed = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        let fits = !text.is_empty()
            && text.len() <= Self::MAX
            && !text.starts_with(['.', '-'])
            && text.bytes().all(allowed);
        if fits {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidId(super::quoted(text)))
        }
    }
}

impl<'de> serde::Deserialize<'de> for CertId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for CertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that cannot be an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a valid certificate id: use lower-case letters, digits, `.`, `-` and `_`, \
     at most 200 of them, and start with a letter, a digit or `_`"
)]
pub struct InvalidId(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_an_id_that_is_one_path_component() {
        let long = format!("{}.test", ["a".repeat(60).as_str(); 4].join("."));
        for name in [
            "a.test",
            "*.a.test",
            "::1",
            "10.0.0.1",
            "a@b.test",
            "spiffe://x/../../etc",
            &long,
        ] {
            let id = CertId::for_name(&Identifier::parse(name).unwrap());
            assert_eq!(id.as_str().parse::<CertId>().unwrap(), id, "{name}");
            assert!(!id.as_str().contains('/'), "{id}");
        }
        assert!("../a".parse::<CertId>().is_err());
        assert!("".parse::<CertId>().is_err());
        assert!("A".parse::<CertId>().is_err());
    }

    #[test]
    fn what_is_made_on_demand_has_ids_of_its_own() {
        let name = |text: &str| DnsName::parse(text).unwrap();
        let long = format!("{}.test", ["a".repeat(60).as_str(); 4].join("."));
        let other = format!("b{}", &long[1..]);
        let mut ids = ["a.test", "b.test", &long, &other].map(|n| CertId::on_demand(&name(n)));
        for id in &ids {
            assert!(
                id.is_on_demand() && id.as_str().parse::<CertId>().is_ok(),
                "{id}"
            );
        }
        ids.sort();
        assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
        let by_hand = CertId::for_name(&Identifier::parse("a.test").unwrap());
        assert!(!by_hand.is_on_demand());
    }

    #[test]
    fn a_wildcard_and_its_parent_do_not_collide() {
        let id = |n: &str| CertId::for_name(&Identifier::parse(n).unwrap()).to_string();
        assert_eq!(id("*.a.test"), "_wildcard.a.test");
        assert_eq!(id("a.test"), "a.test");
        assert_ne!(id("::1"), id("::2"));
    }
}

//! Name constraints: the part of the name space that a CA may speak for.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use super::{DnsName, Identifier, InvalidName};

/// One permitted part of the name space: a domain with all below it, or a range
/// of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subtree {
    /// The domain itself and every name below it.
    Dns(DnsName),
    /// Every address in the range.
    Ip(IpNet),
}

impl Subtree {
    /// Whether no name below it is within `constraints`.
    pub fn is_outside(&self, constraints: &NameConstraints) -> bool {
        let related = |one: &DnsName, other: &DnsName| one.is_within(other) || other.is_within(one);
        let overlaps = match self {
            Self::Dns(name) => constraints.dns().any(|domain| related(name, domain)),
            Self::Ip(net) => constraints
                .ip()
                .any(|range| range.contains(net) || net.contains(range)),
        };
        !constraints.is_unlimited() && !overlaps
    }
}

impl FromStr for Subtree {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Ip(net.trunc()));
        }
        if let Some((address, _)) = text.split_once('/')
            && address.parse::<IpAddr>().is_ok()
        {
            let hint = "its prefix has at most 32 bits for IPv4 and 128 for IPv6: `10.0.0.0/8`";
            return Err(InvalidName::new(
                text,
                "it is not a range of addresses",
                Some(hint.to_owned()),
            ));
        }
        match Identifier::parse(text.strip_prefix('.').unwrap_or(text))? {
            Identifier::Dns(name) => Ok(Self::Dns(name)),
            Identifier::Ip(address) => Ok(Self::Ip(address.into())),
            Identifier::Wildcard(name) => Err(InvalidName::new(
                text,
                "a permitted domain is written without `*`",
                Some(format!("write `{name}`: it includes every name below it")),
            )),
            Identifier::Email(_) | Identifier::Uri(_) => Err(InvalidName::new(
                text,
                "only domains and address ranges can be permitted",
                None,
            )),
        }
    }
}

impl fmt::Display for Subtree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => name.fmt(f),
            Self::Ip(net) => net.fmt(f),
        }
    }
}

impl serde::Serialize for Subtree {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Subtree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a CA may issue for (RFC 5280 §4.2.1.10). Without any subtree: everything.
///
/// Once one subtree is given, what is not listed is excluded: naming a domain
/// excludes every address, and naming a range excludes every DNS name. E-mail
/// addresses and URIs follow the domain in them.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct NameConstraints(Vec<Subtree>);

impl NameConstraints {
    /// Constraints that permit just these subtrees.
    pub fn new(permitted: Vec<Subtree>) -> Self {
        Self(permitted)
    }

    /// Whether nothing is constrained.
    pub fn is_unlimited(&self) -> bool {
        self.0.is_empty()
    }

    /// The permitted domains.
    pub fn dns(&self) -> impl Iterator<Item = &DnsName> {
        self.0.iter().filter_map(|s| match s {
            Subtree::Dns(name) => Some(name),
            Subtree::Ip(_) => None,
        })
    }

    /// The permitted address ranges.
    pub fn ip(&self) -> impl Iterator<Item = &IpNet> {
        self.0.iter().filter_map(|s| match s {
            Subtree::Ip(net) => Some(net),
            Subtree::Dns(_) => None,
        })
    }

    /// Refuses a name outside the constraints.
    pub fn check(&self, name: &Identifier) -> Result<(), OutsideConstraints> {
        let within = |dns: &DnsName| self.dns().any(|domain| dns.is_within(domain));
        let permitted = self.is_unlimited()
            || match name {
                Identifier::Dns(dns) | Identifier::Wildcard(dns) => within(dns),
                Identifier::Ip(address) => self.ip().any(|net| net.contains(address)),
                Identifier::Email(email) => within(email.domain()),
                Identifier::Uri(uri) => uri
                    .host()
                    .and_then(|h| DnsName::parse(h).ok())
                    .is_some_and(|h| within(&h)),
            };
        if permitted {
            return Ok(());
        }
        Err(OutsideConstraints {
            name: name.clone(),
            permitted: self.to_string(),
        })
    }
}

impl fmt::Display for NameConstraints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, subtree) in self.0.iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{subtree}")?;
        }
        Ok(())
    }
}

/// A name that the CA may not issue for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is outside what this CA may issue for (`{permitted}`)")]
pub struct OutsideConstraints {
    name: Identifier,
    permitted: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(subtrees: &[&str], name: &str) -> bool {
        let subtrees = subtrees.iter().map(|s| s.parse().unwrap()).collect();
        NameConstraints::new(subtrees)
            .check(&Identifier::parse(name).unwrap())
            .is_ok()
    }

    #[test]
    fn what_is_not_listed_is_excluded() {
        assert!(permits(&[], "anything.test"));
        let both = ["home.arpa", "10.0.0.0/8"];
        for name in [
            "home.arpa",
            "a.b.home.arpa",
            "*.home.arpa",
            "10.1.2.3",
            "a@home.arpa",
            "spiffe://home.arpa/x",
        ] {
            assert!(permits(&both, name), "{name}");
        }
        for name in [
            "example.com",
            "xhome.arpa",
            "*.arpa",
            "11.0.0.1",
            "::1",
            "a@example.com",
            "urn:x:y",
        ] {
            assert!(!permits(&both, name), "{name}");
        }
        assert!(
            !permits(&["home.arpa"], "10.0.0.1"),
            "a domain alone permits no address"
        );
        assert!(
            !permits(&["10.0.0.0/8"], "home.arpa"),
            "a range alone permits no name"
        );
    }

    #[test]
    fn a_range_is_cut_to_its_network() {
        assert_eq!(
            "10.1.2.3/8".parse::<Subtree>().unwrap().to_string(),
            "10.0.0.0/8"
        );
        assert_eq!(
            ".home.arpa".parse::<Subtree>().unwrap().to_string(),
            "home.arpa"
        );
        assert!("*.home.arpa".parse::<Subtree>().is_err());
        for wrong in ["10.0.0.0/33", "fd00::/129", "10.0.0.0/"] {
            let error = wrong.parse::<Subtree>().unwrap_err();
            assert!(error.to_string().contains("range"), "{error}");
        }
    }
}

//! The ways of showing control over a name, by name: a certificate's record says
//! which one to use, long before anything is presented.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::identifier::quoted;

/// The way in which control over a name is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChallengeKind {
    /// A file below `/.well-known/acme-challenge/` on port 80 (RFC 8555 §8.3).
    Http01,
    /// A certificate for `acme-tls/1` on port 443 (RFC 8737).
    TlsAlpn01,
    /// A TXT record at `_acme-challenge` (RFC 8555 §8.4).
    Dns01,
}

impl ChallengeKind {
    /// Every kind, as they are offered.
    pub const ALL: [Self; 3] = [Self::Http01, Self::TlsAlpn01, Self::Dns01];

    /// The name in the protocol, in flags and in files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01 => "dns-01",
        }
    }
}

impl fmt::Display for ChallengeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ChallengeKind {
    type Err = UnknownChallengeKind;

    fn from_str(text: &str) -> Result<Self, UnknownChallengeKind> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownChallengeKind(text.to_owned()))
    }
}

impl serde::Serialize for ChallengeKind {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for ChallengeKind {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A text that names no kind of challenge known here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a kind of challenge: http-01, tls-alpn-01 or dns-01", quoted(.0))]
pub struct UnknownChallengeKind(String);

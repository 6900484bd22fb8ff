//! What a certificate's record says of its issuer: enough to ask the same issuer
//! for the same again, and no secret.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use url::Url;

use super::ChallengeKind;
use crate::identifier::{EmailAddress, quoted};

/// Who issued a certificate; an id belongs to one issuer for good.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum IssuerRef {
    /// This machine's private CA.
    Private,
    /// A CA that speaks ACME.
    Acme(Box<AcmeRef>),
}

impl IssuerRef {
    /// Whether this is the same issuer, whatever the settings it is asked with.
    pub fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Private, Self::Private) => true,
            (Self::Acme(one), Self::Acme(other)) => one.directory == other.directory,
            (Self::Private, Self::Acme(_)) | (Self::Acme(_), Self::Private) => false,
        }
    }

    /// Whether somebody else than this machine's own CA may be asked, who has to be
    /// spared.
    pub fn is_public(&self) -> bool {
        match self {
            Self::Private => false,
            Self::Acme(acme) => {
                let mut all = std::iter::once(&acme.directory).chain(&acme.fallback);
                all.any(|directory| !directory.is_private())
            }
        }
    }

    /// Whether this machine's own CA may issue, by whichever way it is asked.
    pub fn may_be_ours(&self) -> bool {
        match self {
            Self::Private => true,
            Self::Acme(acme) => acme.asks_ours(),
        }
    }

    /// Who issues, as events name them: `private`, or the URL of a directory.
    pub fn source(&self) -> String {
        match self {
            Self::Private => "private".to_owned(),
            Self::Acme(acme) => acme.directory.url().to_string(),
        }
    }
}

impl fmt::Display for IssuerRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("the private CA"),
            Self::Acme(acme) => acme.directory.fmt(f),
        }
    }
}

/// How a certificate was obtained from an ACME CA.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeRef {
    /// The CA; pinned, so that no default can change it.
    pub directory: Directory,
    /// The root that the directory's own TLS certificate is checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// A second CA, asked when the first fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Directory>,
    /// Addresses for a new account, should the old one be lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "emails")]
    pub contact: Vec<EmailAddress>,
    /// The kind of challenge; `None` leaves it to what is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub challenge: Option<ChallengeKind>,
    /// Where tokens of http-01 are written for another server to serve.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webroot: Option<PathBuf>,
    /// Name of the DNS credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns: Option<String>,
    /// The file that holds that credential.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_file: Option<PathBuf>,
    /// Where the walk to the authoritative servers starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_server: Option<SocketAddr>,
    /// The external account, should the CA require one for a new account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eab: Option<EabRef>,
    /// Where http-01 is answered by ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<SocketAddr>,
    /// Where tls-alpn-01 is answered by ourselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub https: Option<SocketAddr>,
    /// The CA's profile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// Common name of an issuer that the chain should contain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preferred_chain: Option<String>,
}

impl AcmeRef {
    /// A certificate from `directory`, everything else at its default.
    pub fn new(directory: Directory) -> Self {
        Self {
            directory,
            ca_file: None,
            fallback: None,
            contact: Vec::new(),
            challenge: None,
            webroot: None,
            dns: None,
            dns_file: None,
            dns_server: None,
            eab: None,
            http: None,
            https: None,
            profile: None,
            preferred_chain: None,
        }
    }

    /// Whether this machine's own CA is asked, first or when another fails.
    pub fn asks_ours(&self) -> bool {
        let mut all = std::iter::once(&self.directory).chain(&self.fallback);
        all.any(Directory::is_private)
    }
}

/// Where the credentials of an external account are (RFC 8555 §7.3.4).
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EabRef {
    /// The key id.
    pub kid: String,
    /// The file that holds the HMAC key.
    pub hmac_file: PathBuf,
}

/// Where an ACME CA begins: the URL of its directory object (RFC 8555 §7.1.1).
///
/// Written as a preset's name or as an https URL, and always kept as the URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Directory(Url);

impl Directory {
    /// Names that people type, and what they stand for.
    pub const PRESETS: [(&str, &str); 5] = [
        (
            "letsencrypt",
            "https://acme-v02.api.letsencrypt.org/directory",
        ),
        (
            "letsencrypt-staging",
            "https://acme-staging-v02.api.letsencrypt.org/directory",
        ),
        ("zerossl", "https://acme.zerossl.com/v2/DV90"),
        ("google", "https://dv.acme-v02.api.pki.goog/directory"),
        // A host that nobody can have (RFC 6761 §6.4): no request ever leaves for it.
        ("private", "https://private.invalid/directory"),
    ];
    /// Longest URL taken.
    const MAX: usize = 2048;

    /// The URL.
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// This machine's own CA, by the ACME directory inside the process that asks.
    pub fn is_private(&self) -> bool {
        self.preset() == Some("private")
    }

    /// The name of the preset that this is.
    pub fn preset(&self) -> Option<&'static str> {
        let known = |(_, url): &&(&str, &str)| *url == self.0.as_str();
        Self::PRESETS.iter().find(known).map(|(name, _)| *name)
    }

    /// A name for files: the host, readable, and a part of the URL's hash, which
    /// tells directories of one host apart.
    pub fn slug(&self) -> String {
        /// 32 bits; these are a handful of directories, chosen by hand.
        const HASH_BYTES: usize = 4;
        let host = self.0.host_str().unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let host: String = host.chars().filter(|c| plain(*c)).take(100).collect();
        let hash = digest(&SHA256, self.0.as_str().as_bytes());
        let hash = HEXLOWER.encode(&hash.as_ref()[..HASH_BYTES]);
        format!("{}-{hash}", host.trim_start_matches('.'))
    }
}

impl FromStr for Directory {
    type Err = InvalidDirectory;

    fn from_str(text: &str) -> Result<Self, InvalidDirectory> {
        let refuse = |reason: &'static str| InvalidDirectory {
            text: quoted(text),
            reason,
        };
        let preset = Self::PRESETS.iter().find(|(name, _)| *name == text);
        let text = preset.map_or(text, |(_, url)| url);
        if text.len() > Self::MAX {
            return Err(refuse("it is too long"));
        }
        let url = Url::parse(text)
            .map_err(|_| refuse("it is neither a URL nor a directory known by name"))?;
        if url.scheme() != "https" {
            return Err(refuse("only https is spoken with a CA"));
        }
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(refuse("it has a user name, password or fragment"));
        }
        Ok(Self(url))
    }
}

impl fmt::Display for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.preset().unwrap_or(self.0.as_str()))
    }
}

impl serde::Serialize for Directory {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> serde::Deserialize<'de> for Directory {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a text names no ACME directory.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an ACME directory: {reason}")]
pub struct InvalidDirectory {
    text: String,
    reason: &'static str,
}

impl InvalidDirectory {
    /// What to type instead.
    pub fn hint(&self) -> String {
        let names: Vec<&str> = Directory::PRESETS.iter().map(|(name, _)| *name).collect();
        format!(
            "give one of {}, or a URL that starts with `https://`",
            names.join(", ")
        )
    }
}

mod emails {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::identifier::EmailAddress;

    pub(super) fn serialize<S: Serializer>(
        addresses: &[EmailAddress],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(addresses.iter().map(EmailAddress::as_str))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<EmailAddress>, D::Error> {
        let parse = |text: &String| EmailAddress::parse(text).map_err(serde::de::Error::custom);
        Vec::<String>::deserialize(deserializer)?
            .iter()
            .map(parse)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_preset_or_an_https_url() {
        for (name, url) in Directory::PRESETS {
            let directory: Directory = name.parse().unwrap();
            assert_eq!(directory.url().as_str(), url);
            assert_eq!(directory.to_string(), name);
            assert_eq!(url.parse::<Directory>().unwrap(), directory);
        }
        for bad in [
            "",
            "letsencrypt2",
            "http://ca.test/dir",
            "https://",
            "https://user:pass@ca.test/dir",
            "https://ca.test/dir#x",
            "file:///etc/passwd",
        ] {
            let error = bad.parse::<Directory>().unwrap_err();
            assert!(error.hint().contains("letsencrypt"), "{bad}");
        }
    }

    #[test]
    fn our_own_ca_is_known_whether_it_comes_first_or_second() {
        let acme = |directory: &str, second: Option<&str>| {
            IssuerRef::Acme(Box::new(AcmeRef {
                fallback: second.map(|second| second.parse().unwrap()),
                ..AcmeRef::new(directory.parse().unwrap())
            }))
        };
        for (issuer, public, ours) in [
            (IssuerRef::Private, false, true),
            (acme("private", None), false, true),
            (acme("https://private.invalid/directory", None), false, true),
            (acme("google", Some("private")), true, true),
            (acme("private", Some("google")), true, true),
            (acme("google", None), true, false),
            (acme("https://private.invalid/other", None), true, false),
        ] {
            assert_eq!(issuer.is_public(), public, "{issuer}");
            assert_eq!(issuer.may_be_ours(), ours, "{issuer}");
        }
        assert!(!acme("private", None).is_same_as(&IssuerRef::Private));
    }

    #[test]
    fn slugs_are_file_names_and_tell_directories_apart() {
        let slug = |url: &str| url.parse::<Directory>().unwrap().slug();
        assert!(slug("letsencrypt").starts_with("acme-v02.api.letsencrypt.org-"));
        let urls = [
            "https://ca.test/dir",
            "https://ca.test/other",
            "https://ca.test:444/dir",
            "https://[::1]/dir",
        ];
        let slugs: std::collections::BTreeSet<String> = urls.map(slug).into();
        assert_eq!(slugs.len(), urls.len());
        for slug in slugs {
            assert!(
                !slug.starts_with('.') && !slug.contains(['/', ':']),
                "{slug}"
            );
        }
    }

    #[test]
    fn a_reference_is_read_back_as_it_was_written_and_pins_the_url() {
        let mut acme = AcmeRef::new("letsencrypt".parse().unwrap());
        acme.contact = vec![EmailAddress::parse("ada@example.com").unwrap()];
        acme.http = Some("[::]:80".parse().unwrap());
        let reference = IssuerRef::Acme(Box::new(acme));
        let text = serde_json::to_string(&reference).unwrap();
        assert!(text.contains("https://acme-v02.api"), "{text}");
        assert_eq!(serde_json::from_str::<IssuerRef>(&text).unwrap(), reference);
        let other = IssuerRef::Acme(Box::new(AcmeRef::new("letsencrypt".parse().unwrap())));
        assert!(reference != other && reference.is_same_as(&other));
        assert!(!reference.is_same_as(&IssuerRef::Private));
        let private = serde_json::to_string(&IssuerRef::Private).unwrap();
        assert_eq!(private, r#"{"kind":"private"}"#);
    }
}

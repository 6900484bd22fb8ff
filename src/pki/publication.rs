//! Where revocation lists and issuers' certificates can be had over plain HTTP.

use super::config::{CrlUrl, InvalidSetting, plain_http};

/// The base of the URLs, such as `http://ca.home.arpa:9080`.
///
/// Not HTTPS: a client would need the list to fetch the list (RFC 5280 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication(String);

impl Publication {
    /// The base, without a slash at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The URL of the list of `issuer`, such as `I1`.
    pub fn crl(&self, issuer: &str) -> String {
        format!("{}/crl/{issuer}.crl", self.0)
    }

    /// The URL of the certificate of `issuer`, DER.
    pub fn issuer(&self, issuer: &str) -> String {
        format!("{}/issuer/{issuer}.crt", self.0)
    }
}

impl TryFrom<String> for Publication {
    type Error = InvalidSetting;

    fn try_from(text: String) -> Result<Self, InvalidSetting> {
        let url = plain_http(&text)?;
        // What everybody is told holds nobody's name.
        if !url.username().is_empty() {
            return Err(InvalidSetting::more_than_a_path(&text));
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

/// What a leaf says of where to look for its revocation and its issuer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Addresses {
    /// The URL of its issuer's list.
    pub(super) crl: Option<String>,
    /// The URL of its issuer's certificate.
    pub(super) issuer: Option<String>,
}

impl Addresses {
    /// Those of a leaf of `issuer`: the CA's own address of lists wins.
    pub(super) fn of(
        issuer: &str,
        crl_url: Option<&CrlUrl>,
        publication: Option<&Publication>,
    ) -> Self {
        Self {
            crl: crl_url
                .map(|url| url.of(issuer))
                .or_else(|| publication.map(|published| published.crl(issuer))),
            issuer: publication.map(|published| published.issuer(issuer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(text: &str) -> Result<Publication, InvalidSetting> {
        Publication::try_from(text.to_owned())
    }

    #[test]
    fn urls_stand_below_the_base_and_the_cas_own_address_of_lists_wins() {
        for base in ["http://ca.test:9080", "http://CA.test:9080/"] {
            let published = publication(base).unwrap();
            assert_eq!(published.as_str(), "http://ca.test:9080");
            assert_eq!(published.crl("I1"), "http://ca.test:9080/crl/I1.crl");
            assert_eq!(published.issuer("I1"), "http://ca.test:9080/issuer/I1.crt");
        }
        let below = publication("http://[::1]:80/pki/").unwrap();
        assert_eq!(below.crl("I2"), "http://[::1]/pki/crl/I2.crl");
        let own = CrlUrl::try_from("http://lists.test".to_owned()).unwrap();
        let both = Addresses::of("I2", Some(&own), Some(&below));
        assert_eq!(both.crl.as_deref(), Some("http://lists.test/I2.crl"));
        let issuer = "http://[::1]/pki/issuer/I2.crt";
        assert_eq!(both.issuer.as_deref(), Some(issuer));
        assert_eq!(Addresses::of("I2", None, None), Addresses::default());
        let lists = Addresses::of("I2", Some(&own), None);
        assert!(lists.crl.is_some() && lists.issuer.is_none());
    }

    #[test]
    fn what_is_no_plain_http_base_is_refused() {
        for bad in [
            "",
            "ca.test",
            "https://ca.test",
            "ftp://ca.test",
            "http://",
            "http://ca.test/?q",
            "http://ca.test/#f",
            "http://:secret@ca.test/",
            "http://ada@ca.test/",
        ] {
            assert!(publication(bad).is_err(), "{bad}");
        }
    }
}

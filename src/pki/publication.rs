//! Where revocation lists and issuers' certificates can be had over plain HTTP.

use super::config::InvalidSetting;

/// The base of the URLs, such as `http://ca.home.arpa:9080`.
///
/// Not HTTPS: a client would need the list to fetch the list (RFC 5280 §8).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication(String);

impl Publication {
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
        Ok(Self(text))
    }
}

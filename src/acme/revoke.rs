//! Revoking a certificate, by its account or by its own key (RFC 8555 §7.6).

use std::fmt;
use std::str::FromStr;

use data_encoding::BASE64URL_NOPAD;
use instant_acme::{RevocationReason, RevocationRequest};
use serde_json::json;

use super::account::AccountHome;
use super::error::AcmeError;
use super::http::Session;
use super::signed::{Identity, Signer};
use super::transport::through;
use crate::bundle::Certificate;
use crate::identifier::quoted;
use crate::key::PrivateKey;

/// Why a certificate is revoked; those of RFC 5280 §5.3.1 that a subscriber may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reason {
    /// None given.
    #[default]
    Unspecified,
    /// The private key is or may be known to others.
    KeyCompromise,
    /// The names in it changed hands.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// The service is no more.
    CessationOfOperation,
}

impl Reason {
    /// Every reason, as they are offered.
    pub const ALL: [Self; 5] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
    ];

    /// RFC 5280's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
        }
    }

    /// RFC 5280's number.
    pub fn code(self) -> u8 {
        RevocationReason::from(self) as u8
    }
}

impl From<Reason> for RevocationReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Unspecified => Self::Unspecified,
            Reason::KeyCompromise => Self::KeyCompromise,
            Reason::AffiliationChanged => Self::AffiliationChanged,
            Reason::Superseded => Self::Superseded,
            Reason::CessationOfOperation => Self::CessationOfOperation,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let plain = text.replace('-', "");
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(&plain))
            .ok_or_else(|| UnknownReason(text.to_owned()))
    }
}

/// A text that is no [`Reason`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no reason to give to a CA: {}", quoted(.0), Reason::ALL.map(Reason::as_str).join(", "))]
pub struct UnknownReason(String);

/// Who asks for a certificate to be revoked.
#[derive(Debug)]
pub enum Revoker<'a> {
    /// The account that ordered it, or one that controls its names.
    Account(&'a AccountHome),
    /// Whoever holds its private key; needs no account.
    CertificateKey(&'a PrivateKey),
}

/// Has `certificate` revoked; one that is revoked already is no error.
pub async fn revoke(
    session: &Session,
    by: Revoker<'_>,
    certificate: &Certificate,
    reason: Reason,
) -> Result<(), AcmeError> {
    const ACTION: &str = "revoke the certificate";
    let url = session.endpoints().revoke_cert.as_deref();
    let url = url.ok_or(AcmeError::NotOffered("revocation"))?;
    let asked = match by {
        Revoker::Account(home) => {
            let account = home.existing(session).await?.within(session).await?;
            let request = RevocationRequest {
                certificate: certificate.der(),
                reason: Some(reason.into()),
            };
            let mut attempts = session.attempts(ACTION);
            loop {
                let asked = through(ACTION, account.revoke(&request)).await;
                match attempts.settle(asked).await {
                    Ok(None) => {}
                    Ok(Some(_)) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
        }
        Revoker::CertificateKey(key) => {
            let signer = Signer::new(key)?;
            let identity = Identity {
                signer: &signer,
                account: None,
            };
            let certificate = BASE64URL_NOPAD.encode(certificate.der());
            let payload = json!({ "certificate": certificate, "reason": reason.code() });
            session
                .post(identity, ACTION, url, Some(&payload), |_| Ok(()))
                .await
        }
    };
    match asked {
        // Also what the second request says after the first one's answer was lost.
        Err(error) if error.is_problem("alreadyRevoked") => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_the_names_and_numbers_of_rfc_5280() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
        assert_eq!("key-compromise".parse(), Ok(Reason::KeyCompromise));
        assert_eq!(Reason::CessationOfOperation.code(), 5);
        for bad in ["", "cACompromise", "removeFromCRL", "1"] {
            assert!(bad.parse::<Reason>().is_err(), "{bad}");
        }
    }
}

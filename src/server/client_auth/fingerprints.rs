//! Clients known one by one: by their certificate, or by their key.
//!
//! No authority and no date is looked at: the operator's list says who may connect,
//! and for how long, as `authorized_keys` does for SSH. Dates in a certificate that
//! a client may have made itself would limit nobody, and the same key without a
//! certificate has none.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
    verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible,
    SignatureScheme,
};

use crate::certificates::ed25519_of_spki;
use crate::settings::ClientFingerprint;

/// What a client shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Certificate,
    /// A SubjectPublicKeyInfo and nothing else (RFC 7250).
    RawKey,
}

/// Lets in whom the list names.
#[derive(Debug)]
pub(super) struct Pinned {
    list: Vec<ClientFingerprint>,
    form: Form,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Pinned {
    pub(super) fn new(
        list: &[ClientFingerprint],
        form: Form,
        provider: &Arc<CryptoProvider>,
    ) -> Self {
        Self {
            list: list.to_vec(),
            form,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

/// The entry of `list` that lets in a client which shows `shown`. A certificate that
/// is listed itself counts before its key.
pub(super) fn matching(
    list: &[ClientFingerprint],
    form: Form,
    shown: &CertificateDer<'_>,
) -> Option<ClientFingerprint> {
    let listed = |wanted| list.contains(&wanted).then_some(wanted);
    match form {
        Form::RawKey => listed(ClientFingerprint::Ed25519(ed25519_of_spki(shown)?)),
        Form::Certificate => {
            let hash = digest::digest(&digest::SHA256, shown);
            let hash = hash.as_ref().try_into().ok()?;
            listed(ClientFingerprint::Certificate(hash)).or_else(|| {
                // By the parser that will verify the signature, so that both see one key.
                let spki = ParsedCertificate::try_from(shown).ok()?;
                let key = ed25519_of_spki(&spki.subject_public_key_info())?;
                listed(ClientFingerprint::Ed25519(key))
            })
        }
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        matching(&self.list, self.form, end_entity)
            .map(|_| ClientCertVerified::assertion())
            .ok_or_else(|| CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.form {
            Form::Certificate => verify_tls12_signature(message, cert, dss, &self.algorithms),
            // rustls has raw keys for TLS 1.3 alone.
            Form::RawKey => Err(PeerIncompatible::IncorrectCertificateTypeExtension.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match self.form {
            Form::Certificate => verify_tls13_signature(message, cert, dss, &self.algorithms),
            Form::RawKey => {
                let spki = SubjectPublicKeyInfoDer::from(cert.as_ref());
                verify_tls13_signature_with_raw_key(message, &spki, dss, &self.algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.form == Form::RawKey
    }
}

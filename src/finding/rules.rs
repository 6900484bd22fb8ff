//! The rules: pure functions from parsed certificates to findings.
//!
//! Rules kept here: no rule asks for the time, a file or a network; every one
//! stands in [`RULES`] with an explanation; a message names what it speaks of; a
//! fix can be pasted into a shell, or is one sentence.

mod chain;
mod key;
mod life;
mod profile;
mod state;

pub use chain::{Context, Linked, chain, link, name_mismatch};
pub use key::{KeyHome, key_mismatch, key_mode};
pub use life::{Life, Stage, due, life, life_by_client};
pub use profile::{Role, profile};
pub use state::{
    bad_request_signature, damaged, failing, handshake_signature, malformed, no_tls13, old_root,
    revoked, rotation_unfinished, served_differs, stale_crl, unreadable, untrusted,
};

use super::{Finding, Severity};
use crate::bundle::Certificate;

/// What is looked at: what messages call it, and the command that replaces it.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What a person calls it: an id, a name, a path. Printed between backticks.
    pub name: &'a str,
    /// The command that makes a new one, when certmint can.
    pub renew: Option<&'a str>,
}

impl<'a> Subject<'a> {
    /// Something that certmint does not renew.
    pub fn new(name: &'a str) -> Self {
        Self { name, renew: None }
    }
}

/// One rule, as documentation tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Stable name; scripts match on it.
    pub id: &'static str,
    /// The least it can be.
    pub least: Severity,
    /// The worst it can be.
    pub worst: Severity,
    /// What it means, in one line.
    pub explanation: &'static str,
}

impl Rule {
    /// Whether a finding of this rule may have this severity.
    pub fn allows(&self, severity: Severity) -> bool {
        (self.least..=self.worst).contains(&severity)
    }
}

/// The rule called `id`.
pub fn rule(id: &str) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.id == id)
}

/// What a finding calls `certificate`: its first name, else its subject.
pub fn label(certificate: &Certificate) -> String {
    match (certificate.names().first(), certificate.common_name()) {
        (None, None) if !certificate.subject().is_empty() => certificate.subject().to_owned(),
        _ => certificate.display_name(),
    }
}

/// The finding with the command that mends it, when there is one.
fn mend(finding: Finding, command: Option<&str>) -> Finding {
    match command {
        Some(command) => finding.with_fix(command),
        None => finding,
    }
}

const fn always(id: &'static str, severity: Severity, explanation: &'static str) -> Rule {
    between(id, severity, severity, explanation)
}

const fn between(
    id: &'static str,
    least: Severity,
    worst: Severity,
    explanation: &'static str,
) -> Rule {
    Rule {
        id,
        least,
        worst,
        explanation,
    }
}

use Severity::{Critical, Info, Warn};

/// Every rule, in the order of the documentation.
#[rustfmt::skip]
pub const RULES: &[Rule] = &[
    // Time.
    between("expired", Warn, Critical, "the certificate's life is over; clients refuse it (a warning where an ACME client was to renew it)"),
    always("not-yet-valid", Critical, "its life has not begun; a clock is wrong, or it was made for later"),
    always("due", Warn, "two thirds of its life are used (half, when it lives under 10 days; four fifths for a CA)"),
    between("overdue", Warn, Critical, "nine tenths of its life are used and it was not renewed (19 of 20 for a CA; a warning where an ACME client is to renew it)"),
    always("failing", Warn, "the last attempts to renew it failed"),
    // Keys and files.
    always("key-mismatch", Critical, "the private key beside a certificate belongs to another one"),
    between("key-mode", Info, Critical, "a private key can be read by others than its owner"),
    between("unreadable", Warn, Warn, "a file cannot be read or understood"),
    always("malformed", Critical, "what calls itself a certificate, key, CRL or request is none"),
    between("damaged", Warn, Critical, "a stored generation does not verify and was passed over"),
    // Chains.
    between("missing-intermediate", Info, Critical, "the issuer's certificate is not in the chain"),
    always("misordered-chain", Warn, "the chain is not in the order leaf, issuer, issuer's issuer"),
    always("root-in-chain", Info, "the chain carries its root; clients use their own copy"),
    always("stray-certificate", Info, "the chain carries a certificate that the path does not need"),
    always("bad-signature", Critical, "a certificate names an issuer whose key did not sign it"),
    always("leaf-outlives-issuer", Warn, "a certificate is valid for longer than the one that signed it"),
    always("path-length", Critical, "more intermediates follow a CA than its pathLen allows"),
    always("name-constraints", Critical, "a name lies outside what a CA above may speak for"),
    between("self-signed", Info, Warn, "the certificate vouches for itself"),
    always("untrusted", Critical, "no trusted root leads to the certificate"),
    // Profile (RFC 5280, and what clients refuse).
    always("no-san", Critical, "a server's certificate without subject alternative names"),
    always("cn-not-in-san", Info, "the common name is not among the names that clients look at"),
    always("san-not-critical", Warn, "an empty subject needs a critical subjectAltName"),
    always("no-aki", Warn, "no authorityKeyIdentifier; strict verifiers refuse it"),
    always("no-ski", Warn, "a CA without subjectKeyIdentifier; strict verifiers refuse it"),
    always("ca-basic-constraints-not-critical", Warn, "a CA's basicConstraints must be critical"),
    always("ca-no-key-usage", Warn, "a CA without keyUsage; strict verifiers refuse it"),
    always("ca-no-cert-sign", Critical, "a CA whose keyUsage does not allow signing certificates"),
    always("leaf-cert-sign", Warn, "a leaf whose keyUsage allows signing certificates"),
    always("ca-as-leaf", Critical, "a CA certificate used as a server's own"),
    always("encoded-default", Warn, "basicConstraints spells out CA:FALSE, which DER forbids"),
    between("weak-signature", Info, Critical, "signed with MD5 or SHA-1"),
    always("weak-key", Critical, "an RSA key below 2048 bits"),
    always("serial-too-long", Warn, "a serial number of more than 20 octets"),
    always("serial-not-positive", Warn, "a serial number that is zero or negative"),
    between("no-server-auth", Info, Critical, "its extended key usage is not for servers"),
    always("apple-no-eku", Warn, "without an extended key usage Apple's systems refuse it"),
    always("apple-lifetime", Warn, "Apple's systems refuse leaves of more than 825 days"),
    // The CA.
    always("old-root", Warn, "only a root that the CA has moved on from leads to the certificate"),
    always("rotation-unfinished", Warn, "a new root was made and has no intermediate yet"),
    // Revocation.
    always("revoked", Critical, "its issuer took it back"),
    between("stale-crl", Warn, Critical, "the CRL is about to be, or is, out of date"),
    // Requests and the wire.
    always("request-signature", Critical, "the request is not signed by its own key"),
    always("name-mismatch", Critical, "the certificate does not name the host that was asked for"),
    always("served-differs", Warn, "the server sends another certificate than the one on disk"),
    always("handshake-signature", Critical, "the server did not prove to hold the private key"),
    always("no-tls13", Info, "the server does not speak TLS 1.3"),
];

#[cfg(test)]
pub(crate) mod tests;

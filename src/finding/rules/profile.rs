//! Rules about what a certificate says of itself: RFC 5280's, as strict verifiers
//! hold them, and what clients refuse beyond it.

use super::super::{Finding, Severity, words};
use super::label;
use crate::bundle::{Certificate, ExtendedKeyUsage, KeyUsage};
use crate::clock::Duration;
use crate::identifier::Identifier;

/// What a certificate is looked at as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A self-issued CA: clients keep it.
    Root,
    /// A CA under another one.
    Intermediate,
    /// What servers and clients show.
    Leaf,
}

impl Role {
    /// What `certificate` says it is.
    ///
    /// A self-issued CA with host names in it is a server's own certificate, as
    /// `openssl req -x509` makes them.
    pub fn of(certificate: &Certificate) -> Self {
        match (certificate.is_ca(), certificate.is_self_issued()) {
            (false, _) => Self::Leaf,
            (true, false) => Self::Intermediate,
            (true, true) if names_a_host(certificate) => Self::Leaf,
            (true, true) => Self::Root,
        }
    }

    /// `root`, `intermediate` or `leaf`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Intermediate => "intermediate",
            Self::Leaf => "leaf",
        }
    }
}

/// Every finding about the contents of `certificate`, looked at as `role`.
pub fn profile(certificate: &Certificate, role: Role) -> Vec<Finding> {
    let name = label(certificate);
    let mut findings = Vec::new();
    any(certificate, role, &name, &mut findings);
    match role {
        Role::Leaf => leaf(certificate, &name, &mut findings),
        Role::Root | Role::Intermediate => authority(certificate, &name, &mut findings),
    }
    findings
}

/// What binds every certificate.
fn any(certificate: &Certificate, role: Role, name: &str, findings: &mut Vec<Finding>) {
    /// Octets (RFC 5280 §4.1.2.2).
    const LONGEST_SERIAL: usize = 20;
    let serial = certificate.serial();
    if serial.len() > LONGEST_SERIAL {
        let text = format!(
            "`{name}` has a serial number of {} octets, at most {LONGEST_SERIAL} are allowed",
            serial.len()
        );
        findings.push(Finding::new("serial-too-long", Severity::Warn, text));
    }
    let negative = serial.first().is_some_and(|octet| octet & 0x80 != 0);
    if negative || serial.iter().all(|octet| *octet == 0) {
        let sign = if negative { "negative" } else { "zero" };
        let text = format!("`{name}` has a serial number that is {sign}");
        findings.push(Finding::new("serial-not-positive", Severity::Warn, text));
    }
    weak_algorithms(certificate, role, name, findings);
    // A self-issued certificate is its own authority, and need not say so.
    if !certificate.is_self_issued() && certificate.authority_key_id().is_none() {
        let text = format!(
            "`{name}` has no authorityKeyIdentifier, so strict verifiers (Python's among them) refuse it"
        );
        findings.push(Finding::new("no-aki", Severity::Warn, text));
    }
    if spells_out_no_ca(certificate) {
        let text = format!("`{name}` spells out `CA:FALSE` in basicConstraints, which DER forbids");
        findings.push(Finding::new("encoded-default", Severity::Warn, text));
    }
}

fn weak_algorithms(certificate: &Certificate, role: Role, name: &str, findings: &mut Vec<Finding>) {
    /// Bits; less is refused by Apple's systems and by rustls.
    const SMALLEST_RSA: u32 = 2048;
    let key = certificate.key_description();
    let bits = key.strip_prefix("RSA ").and_then(|b| b.parse().ok());
    if bits.is_some_and(|bits: u32| bits < SMALLEST_RSA) {
        let text = format!(
            "`{name}` has a key that is too weak ({key}, at least 2048 bits are asked for)"
        );
        findings.push(Finding::new("weak-key", Severity::Critical, text));
    }
    let hash = match certificate.signature_description() {
        "RSA with SHA-1" | "1.2.840.10045.4.1" | "1.2.840.10040.4.3" | "1.3.14.3.2.29" => "SHA-1",
        "1.2.840.113549.1.1.4" | "1.3.14.3.2.3" => "MD5",
        "1.2.840.113549.1.1.2" => "MD2",
        _ => return,
    };
    // Nobody checks the signature of a root: it is trusted for being installed.
    let severity = match role {
        Role::Root => Severity::Info,
        Role::Intermediate | Role::Leaf => Severity::Critical,
    };
    let text = format!("`{name}` is signed with {hash}, which clients refuse");
    findings.push(Finding::new("weak-signature", severity, text));
}

/// What binds a CA.
fn authority(certificate: &Certificate, name: &str, findings: &mut Vec<Finding>) {
    let mut warn = |id, text: String| findings.push(Finding::new(id, Severity::Warn, text));
    if certificate.subject_key_id().is_none() {
        warn(
            "no-ski",
            format!("the CA `{name}` has no subjectKeyIdentifier"),
        );
    }
    if certificate.basic_constraints().is_some_and(|b| !b.critical) {
        warn(
            "ca-basic-constraints-not-critical",
            format!("the CA `{name}` has basicConstraints that are not critical"),
        );
    }
    match certificate.key_usage() {
        None => warn(
            "ca-no-key-usage",
            format!("the CA `{name}` has no keyUsage"),
        ),
        Some(usage) if !usage.cert_sign() => {
            let text =
                format!("the CA `{name}` has a keyUsage that does not allow signing certificates");
            findings.push(Finding::new("ca-no-cert-sign", Severity::Critical, text));
        }
        Some(_) => {}
    }
}

/// What binds a leaf.
fn leaf(certificate: &Certificate, name: &str, findings: &mut Vec<Finding>) {
    if certificate.is_ca() {
        let text = format!(
            "`{name}` is a CA certificate used as a server's own, which many clients refuse"
        );
        findings.push(
            Finding::new("ca-as-leaf", Severity::Critical, text)
                .with_fix("make a leaf for the server: `certmint ca issue NAME`"),
        );
    } else if certificate.key_usage().is_some_and(KeyUsage::cert_sign) {
        let text = format!("`{name}` is no CA, yet its keyUsage allows signing certificates");
        findings.push(Finding::new("leaf-cert-sign", Severity::Warn, text));
    }
    names(certificate, name, findings);
    purposes(certificate, name, findings);
    /// Apple's limit for leaves under roots that a user added (HT210176).
    const APPLE_LONGEST: Duration = Duration::days(825);
    if certificate.lifetime() > APPLE_LONGEST {
        let days = certificate.lifetime().whole_days();
        let text = format!("`{name}` lives {days} days; Apple's systems refuse more than 825");
        findings.push(Finding::new("apple-lifetime", Severity::Warn, text));
    }
}

fn names(certificate: &Certificate, name: &str, findings: &mut Vec<Finding>) {
    let Some(critical) = certificate.san_critical() else {
        if may_serve(certificate) {
            let text = format!(
                "`{name}` has no subject alternative names; clients do not look at the common name"
            );
            findings.push(
                Finding::new("no-san", Severity::Critical, text)
                    .with_fix("make it again with its names: `certmint ca issue NAME…`"),
            );
        }
        return;
    };
    if certificate.subject().is_empty() && !critical {
        let text =
            format!("`{name}` has an empty subject and a subjectAltName that is not critical");
        findings.push(Finding::new("san-not-critical", Severity::Warn, text));
    }
    if let Some(common_name) = certificate.common_name()
        && names_a_host(certificate)
        && let Ok(wanted) = Identifier::parse(common_name)
        && !certificate.covers(&wanted)
    {
        let text = format!(
            "`{name}`: the common name `{common_name}` is not among its names, and clients look at those alone"
        );
        findings.push(Finding::new("cn-not-in-san", Severity::Info, text));
    }
}

fn purposes(certificate: &Certificate, name: &str, findings: &mut Vec<Finding>) {
    if !names_a_host(certificate) {
        return;
    }
    match certificate.extended_key_usage() {
        None => {
            let text =
                format!("`{name}` has no extended key usage; Apple's systems want serverAuth");
            findings.push(Finding::new("apple-no-eku", Severity::Warn, text));
        }
        Some(_) if may_serve(certificate) => {}
        Some(purposes) => {
            let list: Vec<String> = purposes.iter().map(ToString::to_string).collect();
            let text = format!(
                "`{name}` is not for servers: its extended key usage is {}",
                list.join(", ")
            );
            findings.push(Finding::new("no-server-auth", Severity::Info, text));
        }
    }
}

/// Whether its purposes, as far as it states any, include being a server.
pub(super) fn may_serve(certificate: &Certificate) -> bool {
    certificate.extended_key_usage().is_none_or(|purposes| {
        purposes.contains(&ExtendedKeyUsage::ServerAuth)
            || purposes.contains(&ExtendedKeyUsage::Any)
    })
}

fn names_a_host(certificate: &Certificate) -> bool {
    certificate.names().iter().any(|name| {
        matches!(
            name,
            Identifier::Dns(_) | Identifier::Wildcard(_) | Identifier::Ip(_)
        )
    })
}

/// Looks for `SEQUENCE { BOOLEAN FALSE }` as the value of basicConstraints: a
/// parser that goes on takes it, python-cryptography and so certbot does not.
fn spells_out_no_ca(certificate: &Certificate) -> bool {
    const PLAIN: &[u8] = b"\x06\x03\x55\x1d\x13\x04\x05\x30\x03\x01\x01\x00";
    const CRITICAL: &[u8] = b"\x06\x03\x55\x1d\x13\x01\x01\xff\x04\x05\x30\x03\x01\x01\x00";
    let der = certificate.der().as_ref();
    let holds = |needle: &[u8]| der.windows(needle.len()).any(|window| window == needle);
    !certificate.is_ca() && (holds(PLAIN) || holds(CRITICAL))
}

/// A name for messages that speak of several certificates at once.
pub(super) fn several(labels: &[String]) -> String {
    let quoted: Vec<String> = labels
        .iter()
        .map(|l| format!("`{}`", words::printable(l)))
        .collect();
    quoted.join(", ")
}

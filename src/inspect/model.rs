//! What was seen, as data: the terminal's view and the JSON are made from it.
//!
//! Rules kept here: times are RFC 3339 in UTC, octets lower-case hex, lengths of
//! time whole seconds; fields are added, never renamed or removed, while the
//! schema stays `/1`.

use std::path::PathBuf;

use serde::{Serialize, Serializer};

use crate::bundle::Certificate;
use crate::clock::{Timestamp, rfc3339};
use crate::finding::rules::{Life, Role, Stage};
use crate::finding::{Finding, Severity, words, worst};
use crate::identifier::Identifier;

/// All that was seen of one target.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// `certmint.inspect/1`.
    pub schema: &'static str,
    /// When it was looked at.
    #[serde(serialize_with = "moment")]
    pub generated_at: Timestamp,
    /// What was asked for, as it was typed.
    pub target: String,
    /// What kind of thing that is.
    pub kind: TargetKind,
    /// The worst of all findings.
    pub overall: Overall,
    /// How the server speaks; only for servers.
    pub connection: Option<Connection>,
    /// What was found, one entry a file.
    pub items: Vec<Item>,
    /// What is wrong with the target as a whole.
    pub findings: Vec<Finding>,
}

impl Report {
    /// The schema's name and version.
    pub const SCHEMA: &'static str = "certmint.inspect/1";

    pub(super) fn new(
        target: String,
        kind: TargetKind,
        items: Vec<Item>,
        connection: Option<Connection>,
        findings: Vec<Finding>,
        now: Timestamp,
    ) -> Self {
        let mut report = Self {
            schema: Self::SCHEMA,
            generated_at: now,
            target,
            kind,
            overall: Overall::Ok,
            connection,
            items,
            findings,
        };
        report.overall = report.worst().into();
        report
    }

    /// Every finding, wherever it hangs.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        self.findings
            .iter()
            .chain(self.items.iter().flat_map(Item::all_findings))
    }

    /// The worst severity; decides the exit code.
    pub fn worst(&self) -> Option<Severity> {
        worst(self.all_findings())
    }
}

/// What kind of target was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// One file.
    File,
    /// A directory.
    Directory,
    /// Standard input.
    Stdin,
    /// A TLS server.
    Endpoint,
}

/// The verdict in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Overall {
    /// Nothing has to be done.
    Ok,
    /// Something needs attention soon.
    Warn,
    /// Something is expired, invalid or missing.
    Critical,
}

impl From<Option<Severity>> for Overall {
    fn from(worst: Option<Severity>) -> Self {
        match worst {
            Some(Severity::Critical) => Self::Critical,
            Some(Severity::Warn) => Self::Warn,
            Some(Severity::Info) | None => Self::Ok,
        }
    }
}

/// What one file holds, or one server sends.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Item {
    /// The file; none for standard input and servers.
    pub path: Option<PathBuf>,
    /// `PEM`, `DER`, `PKCS#12` or `TLS`.
    pub format: &'static str,
    /// Certificates, in the order they stand there.
    pub certificates: Vec<Cert>,
    /// Private keys; only what may be told of them.
    pub keys: Vec<Key>,
    /// Certificate signing requests.
    pub requests: Vec<Request>,
    /// Revocation lists.
    pub crls: Vec<Crl>,
    /// Labels of PEM blocks of other kinds.
    pub other: Vec<String>,
    /// What a verifier says, when there is a leaf and roots were given.
    pub verified: Option<Verification>,
    /// What is wrong with the file as a whole.
    pub findings: Vec<Finding>,
}

impl Item {
    /// Every finding of this item and of what it holds.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let certificates = self.certificates.iter().flat_map(|c| &c.findings);
        self.findings.iter().chain(certificates)
    }
}

/// One certificate, and where it stands in its life.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cert {
    /// What a person calls it: its id or its first name.
    pub name: String,
    /// What it is looked at as.
    pub role: Role,
    /// The file it lies in.
    pub path: Option<PathBuf>,
    /// The subject; escaped for printing, as are all names below.
    pub subject: String,
    /// The issuer.
    pub issuer: String,
    /// Serial number.
    pub serial_hex: String,
    /// SHA-256 over the DER.
    pub sha256: String,
    /// SHA-256 over the public key.
    pub spki_sha256: String,
    /// How it was signed.
    pub signature: String,
    /// Its key.
    pub key: Key,
    /// Its subject alternative names.
    pub sans: Sans,
    /// keyUsage, in the RFC's words.
    pub key_usage: Vec<&'static str>,
    /// extKeyUsage; none when the extension is absent.
    pub extended_key_usage: Option<Vec<String>>,
    /// nameConstraints.
    pub name_constraints: Option<Constraints>,
    /// pathLenConstraint.
    pub path_len: Option<u32>,
    /// Where its CRL is said to be.
    pub crl_urls: Vec<String>,
    /// Where its OCSP responder is said to be.
    pub ocsp_urls: Vec<String>,
    /// Start of validity.
    #[serde(serialize_with = "moment")]
    pub not_before: Timestamp,
    /// End of validity.
    #[serde(serialize_with = "moment")]
    pub not_after: Timestamp,
    /// Seconds until the end; negative after it.
    pub seconds_left: i64,
    /// Share of life used, 0 to 1, above 1 when it is over; four digits.
    pub lifetime_used: f64,
    /// When it falls due.
    #[serde(serialize_with = "optional_moment")]
    pub renew_at: Option<Timestamp>,
    /// Where it stands.
    pub status: CertState,
    /// How the chain it came in hangs together, when it came in one.
    pub chain: Option<ChainInfo>,
    /// What is wrong with it.
    pub findings: Vec<Finding>,
}

impl Cert {
    /// Everything that can be told without judging; findings are added by the caller.
    pub fn of(certificate: &Certificate, role: Role, now: Timestamp) -> Self {
        let life = Life::of(certificate);
        Self {
            name: crate::finding::rules::label(certificate),
            role,
            path: None,
            subject: certificate.subject().to_owned(),
            issuer: certificate.issuer().to_owned(),
            serial_hex: certificate.serial_hex(),
            sha256: certificate.sha256_hex(),
            spki_sha256: certificate.spki_sha256_hex(),
            signature: certificate.signature_description().to_owned(),
            key: Key::of(certificate.key_description()),
            sans: Sans::of(certificate),
            key_usage: certificate
                .key_usage()
                .map_or_else(Vec::new, |usage| usage.names().collect()),
            extended_key_usage: certificate
                .extended_key_usage()
                .map(|list| list.iter().map(ToString::to_string).collect()),
            name_constraints: certificate.name_constraints().map(|c| Constraints {
                permitted: c.permitted.clone(),
                excluded: c.excluded.clone(),
            }),
            path_len: certificate.basic_constraints().and_then(|b| b.path_len),
            crl_urls: certificate.crl_urls().to_vec(),
            ocsp_urls: certificate.ocsp_urls().to_vec(),
            not_before: life.not_before,
            not_after: life.not_after,
            seconds_left: life.left(now).whole_seconds(),
            lifetime_used: four_digits(life.used(now)),
            renew_at: Some(life.due_at(role)),
            status: life.stage(role, now).into(),
            chain: None,
            findings: Vec::new(),
        }
    }
}

/// Where a certificate stands, in one word. The worst is the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertState {
    /// Valid, nothing to do.
    Ok,
    /// Within its life, but something else is wrong; the findings say what.
    Flawed,
    /// Should be renewed now.
    Due,
    /// Due, and the last attempts failed.
    Failing,
    /// Should have been renewed long ago.
    Overdue,
    /// Its life has not begun.
    NotYetValid,
    /// Its files do not verify.
    Damaged,
    /// Taken back by its issuer.
    Revoked,
    /// Its life is over.
    Expired,
}

impl CertState {
    /// The word shown and written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Flawed => "flawed",
            Self::Due => "due",
            Self::Failing => "failing",
            Self::Overdue => "overdue",
            Self::NotYetValid => "not-yet-valid",
            Self::Damaged => "damaged",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    /// How bad that is by itself; findings may be worse.
    pub fn severity(self) -> Option<Severity> {
        match self {
            Self::Ok | Self::Flawed => None,
            Self::Due | Self::Failing => Some(Severity::Warn),
            Self::Overdue | Self::NotYetValid | Self::Damaged | Self::Revoked | Self::Expired => {
                Some(Severity::Critical)
            }
        }
    }
}

impl CertState {
    /// The state, or [`CertState::Flawed`] when it is fine and `findings` are not.
    pub(super) fn with(self, findings: &[Finding]) -> Self {
        match worst(findings) {
            Some(Severity::Warn | Severity::Critical) => self.max(Self::Flawed),
            _ => self,
        }
    }
}

impl From<Stage> for CertState {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Fresh => Self::Ok,
            Stage::Due => Self::Due,
            Stage::Overdue => Self::Overdue,
            Stage::NotYet => Self::NotYetValid,
            Stage::Expired => Self::Expired,
        }
    }
}

/// What may be told of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Key {
    /// `P-256`, `RSA 2048`, `Ed25519`; none while it is locked.
    pub alg: Option<String>,
    /// Its size, where that is known.
    pub bits: Option<u32>,
    /// SHA-256 over the public key.
    pub spki_sha256: Option<String>,
    /// Whether it needs a passphrase; none when there is no private key to tell of.
    pub encrypted: Option<bool>,
    /// The private key's file.
    pub path: Option<PathBuf>,
    /// The file's permission bits, as in `0600`.
    pub mode: Option<String>,
    /// Whether the private key there belongs to the certificate; none when unknown.
    pub matches: Option<bool>,
}

impl Key {
    /// A public key, by its description.
    pub fn of(description: &str) -> Self {
        let bits = match description {
            "P-256" | "Ed25519" => Some(256),
            "P-384" => Some(384),
            "P-521" => Some(521),
            other => other.strip_prefix("RSA ").and_then(|n| n.parse().ok()),
        };
        Self {
            alg: Some(description.to_owned()),
            bits,
            ..Self::default()
        }
    }
}

/// Subject alternative names, by kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Sans {
    /// Host names and wildcards, as A-labels.
    pub dns: Vec<String>,
    /// Addresses.
    pub ip: Vec<String>,
    /// E-mail addresses.
    pub email: Vec<String>,
    /// URIs.
    pub uri: Vec<String>,
    /// Whatever else stands there, escaped for printing.
    pub other: Vec<String>,
}

impl Sans {
    fn of(certificate: &Certificate) -> Self {
        let mut sans = Self::sort(certificate.names());
        sans.other = certificate.other_names().to_vec();
        sans
    }

    /// `names` by kind.
    pub fn sort(names: &[Identifier]) -> Self {
        let mut sans = Self::default();
        for name in names {
            let kind = match name {
                Identifier::Dns(_) | Identifier::Wildcard(_) => &mut sans.dns,
                Identifier::Ip(_) => &mut sans.ip,
                Identifier::Email(_) => &mut sans.email,
                Identifier::Uri(_) => &mut sans.uri,
            };
            kind.push(name.to_string());
        }
        sans
    }

    /// Every name, of whatever kind.
    pub fn all(&self) -> impl Iterator<Item = &str> {
        [&self.dns, &self.ip, &self.email, &self.uri, &self.other]
            .into_iter()
            .flatten()
            .map(String::as_str)
    }
}

/// The nameConstraints extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Constraints {
    /// What is permitted.
    pub permitted: Vec<String>,
    /// What is excluded.
    pub excluded: Vec<String>,
}

/// How a chain hangs together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainInfo {
    /// Whether nothing is wrong with it.
    pub ok: bool,
    /// Names of its certificates, leaf first.
    pub path: Vec<String>,
}

/// A certificate signing request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// The subject asked for.
    pub subject: String,
    /// The names asked for.
    pub sans: Sans,
    /// The key asked for.
    pub key: Key,
    /// Whether its own key signed it.
    pub signature_ok: bool,
}

/// A revocation list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Crl {
    /// Who signed it.
    pub issuer: String,
    /// Its number, in decimal.
    pub number: Option<String>,
    /// When it was made.
    #[serde(serialize_with = "moment")]
    pub this_update: Timestamp,
    /// When the next is promised.
    #[serde(serialize_with = "optional_moment")]
    pub next_update: Option<Timestamp>,
    /// How many certificates it lists.
    pub revoked: usize,
}

/// What a verifier said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Whether it accepts the chain and the name.
    pub ok: bool,
    /// The root it ends at.
    pub root: Option<String>,
    /// Why not.
    pub error: Option<String>,
    /// Which roots were asked: `the system's 142 roots`, a file.
    pub roots: String,
}

/// How a server speaks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Connection {
    /// The address that answered.
    pub address: String,
    /// The name sent as SNI; none for addresses.
    pub server_name: Option<String>,
    /// `TLS 1.3` or `TLS 1.2`.
    pub protocol: Option<String>,
    /// The cipher suite's IANA name.
    pub cipher_suite: Option<String>,
    /// The key exchange group.
    pub key_exchange: Option<String>,
    /// What was offered by ALPN.
    pub alpn_offered: Vec<String>,
    /// What the server chose by ALPN.
    pub alpn: Option<String>,
    /// Whether an OCSP response came with the certificate.
    pub ocsp_stapled: bool,
    /// Whether the server asks for a client certificate.
    pub client_certificate_requested: bool,
    /// Time for the TCP handshake, in milliseconds: about one round trip.
    pub connect_ms: f64,
    /// Time for the TLS handshake, in milliseconds.
    pub handshake_ms: f64,
    /// Why the handshake did not end, when it ended after the certificates.
    pub error: Option<String>,
    /// What a verifier says of the chain and the name.
    pub verified: Option<Verification>,
}

/// Serializes a moment as RFC 3339.
pub(super) fn moment<S: Serializer>(moment: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*moment))
}

/// Serializes a moment as RFC 3339, or null.
pub(super) fn optional_moment<S: Serializer>(
    moment: &Option<Timestamp>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    moment.map(rfc3339).serialize(serializer)
}

/// Rounds for the JSON, where more digits are noise.
pub(super) fn four_digits(share: f64) -> f64 {
    (share * 10_000.0).round() / 10_000.0
}

/// `path`, printable, or `-`.
pub(super) fn place(path: Option<&std::path::Path>) -> String {
    path.map_or_else(|| "-".to_owned(), words::path)
}

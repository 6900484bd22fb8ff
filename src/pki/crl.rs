//! Certificate revocation lists (RFC 5280 §5): signed, numbered, published.
//!
//! Rules kept here: a number is given out for good before anything is signed; one
//! process at a time makes and publishes, so that a newer list never lacks what an
//! older one had; a list is checked, name and signature, before it replaces the
//! last one; and a revoked certificate leaves the list only after one list issued
//! beyond its expiry has named it (§3.3).

use std::path::{Path, PathBuf};

use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::ToDer as _;
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

use super::ledger::{LastCrl, Ledger, LedgerError, Reason, Revoked};
use crate::bundle::{BadSignature, Certificate, KeyUsage, verify_signature};
use crate::clock::{Duration, Timestamp};
use crate::key::{PrivateKey, encode_pem};
use crate::store::{Lock, StoreError, disk};

/// How long a list is good for unless told otherwise.
pub const DEFAULT_LIFE: Duration = Duration::days(7);
/// How far thisUpdate lies back, so that a host whose clock is slow accepts the
/// list; the same as for leaves.
const BACKDATE: Duration = Duration::minutes(5);
/// The lock that is held while a list is made.
pub(super) const LOCK: &str = "crl";
/// Lists are public.
const MODE: u32 = 0o644;

/// Everything that goes into a list.
#[derive(Debug)]
pub struct CrlRequest<'a> {
    /// Whose certificates are listed; its name and key identifier go in.
    pub issuer: &'a Certificate,
    /// The key of `issuer`.
    pub key: &'a PrivateKey,
    /// All that `issuer` signed and is revoked; what need not be listed any more is
    /// left out.
    pub revoked: &'a [Revoked],
    /// Greater than that of every list before.
    pub number: u64,
    /// From when the list is good.
    pub this_update: Timestamp,
    /// Until when there will be another one.
    pub next_update: Timestamp,
    /// thisUpdate of the list before; what expired by then is left out. `None`
    /// leaves nothing out.
    pub previous_update: Option<Timestamp>,
}

/// Signs a list, and returns its DER after checking it.
pub fn sign(request: &CrlRequest<'_>) -> Result<Vec<u8>, CrlError> {
    let issuer = request.issuer;
    if issuer.spki() != request.key.public_key_der() {
        return Err(CrlError::KeyMismatch(issuer.subject().to_owned()));
    }
    if !issuer.key_usage().is_none_or(KeyUsage::crl_sign) {
        return Err(CrlError::MayNotSign(issuer.subject().to_owned()));
    }
    // The writer would derive another one than the issuer's certificate has, and
    // verifiers that match the two would not find the list.
    let key_id = issuer
        .subject_key_id()
        .ok_or_else(|| CrlError::NoKeyId(issuer.subject().to_owned()))?;
    let params = CertificateRevocationListParams {
        this_update: request.this_update,
        next_update: request.next_update,
        crl_number: SerialNumber::from(request.number),
        issuing_distribution_point: None,
        revoked_certs: listed(request).map(written).collect(),
        key_identifier_method: KeyIdMethod::PreSpecified(key_id.to_vec()),
    };
    let signer = rcgen::Issuer::from_ca_cert_der(issuer.der(), request.key)
        .map_err(|source| CrlError::Signing { source })?;
    let signed = params
        .signed_by(&signer)
        .map_err(|source| CrlError::Signing { source })?;
    let der = signed.der().to_vec();
    // Not every name survives the writer: better no list than one nobody finds.
    check(&der, issuer).map_err(CrlError::Unusable)?;
    Ok(der)
}

/// What a published list says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrlStatus {
    /// Its number.
    pub number: u64,
    /// From when it is good.
    pub this_update: Timestamp,
    /// Until when, unless another one comes first.
    pub next_update: Timestamp,
    /// How many certificates it lists.
    pub revoked: usize,
}

impl CrlStatus {
    /// Whether verifiers refuse it at `now`.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        now > self.next_update
    }

    /// When another one should be signed: when half of its life is over, so that as much
    /// is left for whatever goes wrong.
    pub fn due_at(&self) -> Timestamp {
        self.this_update + (self.next_update - self.this_update) / 2
    }
}

/// A list as it was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl {
    /// The list, as it goes to clients.
    pub der: Vec<u8>,
    /// What it says of itself.
    pub status: CrlStatus,
}

/// Who issues lists, and where to.
#[derive(Debug)]
pub struct CrlIssuer<'a> {
    /// The state directory.
    pub home: &'a Path,
    /// What the certificate is called in the CA: `I1`, `R1`.
    pub name: &'a str,
    /// The issuer's certificate.
    pub certificate: &'a Certificate,
    /// Its key.
    pub key: &'a PrivateKey,
}

impl CrlIssuer<'_> {
    /// Makes and publishes a list of all that is revoked, good until `now + life`.
    ///
    /// Numbers and contents go up together, whatever other processes do meanwhile,
    /// and a crash at any moment leaves the last list in place.
    pub fn issue(
        &self,
        ledger: &Ledger,
        now: Timestamp,
        life: Duration,
    ) -> Result<CrlStatus, CrlError> {
        let _lock = Lock::acquire(&self.home.join("locks"), LOCK)?;
        let ca_dir = self.home.join("ca");
        // A damaged list is no reason not to make a good one.
        let published = read_status(&ca_dir, self.name, self.certificate).unwrap_or_default();
        let floor = published.map_or(0, |status| status.number);
        let number = ledger.next_crl_number_above(self.name, floor)?;
        let this_update = now - BACKDATE;
        let der = sign(&CrlRequest {
            issuer: self.certificate,
            key: self.key,
            revoked: &ledger.revoked_by(self.name)?,
            number,
            this_update,
            next_update: now + life,
            previous_update: ledger.last_crl(self.name)?.map(|last| last.this_update),
        })?;
        publish(&ca_dir, self.name, &der)?;
        // Only after it is out: should this be lost, entries stay longer than needed.
        let last = LastCrl {
            number,
            this_update,
        };
        ledger.crl_published(self.name, last)?;
        check(&der, self.certificate).map_err(CrlError::Unusable)
    }
}

/// Writes `ca/crl/<name>.crl` (DER) and `ca/crl/<name>.crl.pem`, each replaced in
/// one step.
pub fn publish(ca_dir: &Path, name: &str, der: &[u8]) -> Result<(), CrlError> {
    let path = path(ca_dir, name)?;
    disk::create_dir(&ca_dir.join("crl"))?;
    let pem = encode_pem("X509 CRL", der);
    disk::replace(&path.with_extension("crl.pem"), pem.as_bytes(), MODE)?;
    disk::replace(&path, der, MODE)?;
    Ok(())
}

/// Reads the list that was published for `name` and checks that `issuer` signed it;
/// `None` when there is none.
pub fn read(ca_dir: &Path, name: &str, issuer: &Certificate) -> Result<Option<Crl>, CrlError> {
    let path = path(ca_dir, name)?;
    let Some(der) = disk::read_if_exists(&path)? else {
        return Ok(None);
    };
    match check(&der, issuer) {
        Ok(status) => Ok(Some(Crl { der, status })),
        Err(source) => Err(CrlError::Damaged { path, source }),
    }
}

/// What the list says of itself that [`read`] finds.
pub fn read_status(
    ca_dir: &Path,
    name: &str,
    issuer: &Certificate,
) -> Result<Option<CrlStatus>, CrlError> {
    Ok(read(ca_dir, name, issuer)?.map(|crl| crl.status))
}

/// Where the list of the CA's certificate called `name` lies.
pub fn path(ca_dir: &Path, name: &str) -> Result<PathBuf, CrlError> {
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(CrlError::Name(crate::identifier::quoted(name)));
    }
    Ok(ca_dir.join("crl").join(format!("{name}.crl")))
}

fn listed<'a>(request: &CrlRequest<'a>) -> impl Iterator<Item = &'a Revoked> {
    let previous = request.previous_update;
    request
        .revoked
        .iter()
        .filter(move |entry| previous.is_none_or(|update| entry.not_after >= update))
}

fn written(entry: &Revoked) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: SerialNumber::from_slice(&entry.serial),
        revocation_time: entry.revocation.at,
        reason_code: match entry.revocation.reason {
            Reason::Unspecified => None,
            Reason::KeyCompromise => Some(RevocationReason::KeyCompromise),
            Reason::CaCompromise => Some(RevocationReason::CaCompromise),
            Reason::AffiliationChanged => Some(RevocationReason::AffiliationChanged),
            Reason::Superseded => Some(RevocationReason::Superseded),
            Reason::CessationOfOperation => Some(RevocationReason::CessationOfOperation),
            Reason::PrivilegeWithdrawn => Some(RevocationReason::PrivilegeWithdrawn),
        },
        invalidity_date: None,
    }
}

/// Reads a list and checks that it is `issuer`'s.
fn check(der: &[u8], issuer: &Certificate) -> Result<CrlStatus, BadCrl> {
    let (rest, crl) =
        CertificateRevocationList::from_der(der).map_err(|e| BadCrl::Malformed(e.to_string()))?;
    if !rest.is_empty() {
        return Err(BadCrl::Malformed(format!("{} bytes follow it", rest.len())));
    }
    if crl.issuer().as_raw() != subject_der(issuer.der())? {
        return Err(BadSignature::Issuer.into());
    }
    let algorithm = &crl.signature_algorithm;
    if crl.tbs_cert_list.signature != *algorithm {
        return Err(BadCrl::Malformed(
            "it names two signature algorithms".to_owned(),
        ));
    }
    let oid = algorithm
        .algorithm
        .to_der_vec()
        .map_err(|e| BadCrl::Malformed(e.to_string()))?;
    verify_signature(
        issuer.spki(),
        &oid,
        crl.tbs_cert_list.as_ref(),
        &crl.signature_value.data,
    )?;
    let number = crl
        .crl_number()
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| BadCrl::Malformed("it has no number below 2^64".to_owned()))?;
    let next_update = crl
        .next_update()
        .ok_or_else(|| BadCrl::Malformed("it does not say until when it is good".to_owned()))?;
    Ok(CrlStatus {
        number,
        this_update: crl.last_update().to_datetime(),
        next_update: next_update.to_datetime(),
        revoked: crl.iter_revoked_certificates().count(),
    })
}

fn subject_der(certificate: &CertificateDer<'_>) -> Result<Vec<u8>, BadCrl> {
    let (_, parsed) =
        X509Certificate::from_der(certificate).map_err(|e| BadCrl::Malformed(e.to_string()))?;
    Ok(parsed.subject().as_raw().to_vec())
}

/// Why bytes are not a list that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadCrl {
    /// They are no list, or one without what RFC 5280 §5 demands.
    #[error("it is no revocation list: {0}")]
    Malformed(String),
    /// It was signed by another one.
    #[error("it is not the issuer's")]
    Signature(#[from] BadSignature),
}

/// What can go wrong with revocation lists.
#[derive(Debug, thiserror::Error)]
pub enum CrlError {
    /// The key is another one's.
    #[error("the private key does not belong to `{0}`")]
    KeyMismatch(String),
    /// The issuer's keyUsage lacks cRLSign.
    #[error("`{0}` may not sign revocation lists: its keyUsage lacks cRLSign")]
    MayNotSign(String),
    /// The issuer has no subjectKeyIdentifier, which a list must name.
    #[error("`{0}` has no subjectKeyIdentifier")]
    NoKeyId(String),
    /// Signing failed.
    #[error("could not sign the revocation list")]
    Signing {
        /// What the writer said.
        source: rcgen::Error,
    },
    /// What was signed is not what the issuer would be found to have signed.
    #[error("the signed revocation list cannot be used")]
    Unusable(#[source] BadCrl),
    /// The published list is damaged or another one's.
    #[error("the revocation list `{}` cannot be used", path.display())]
    Damaged {
        /// The list.
        path: PathBuf,
        /// What is wrong with it.
        source: BadCrl,
    },
    /// No certificate of a CA is called that.
    #[error("`{0}` is not the name of a CA certificate, such as `I1`")]
    Name(String),
    /// The inventory cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A file cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl CrlError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { .. } => Some("make a new one with `certmint ca crl`".to_owned()),
            Self::MayNotSign(_) | Self::NoKeyId(_) => {
                Some("make an issuer that can with `certmint ca rotate intermediate`".to_owned())
            }
            Self::Ledger(error) => error.hint(),
            Self::Store(error) => error.hint(),
            Self::KeyMismatch(_) | Self::Signing { .. } | Self::Unusable(_) | Self::Name(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::KeyType;
    use crate::pki::ledger::tests::{leaf, now};
    use crate::pki::ledger::{Entry, Revocation};

    /// A CA certificate whose key identifier no method would derive from its key.
    fn ca(usage: &[rcgen::KeyUsagePurpose]) -> (Certificate, PrivateKey) {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_before = now() - Duration::hours(1);
        params.not_after = now() + Duration::days(1000);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.key_usages = usage.to_vec();
        params.key_identifier_method = KeyIdMethod::PreSpecified(b"our own".to_vec());
        params
            .distinguished_name
            .push(rcgen::DnType::OrganizationName, "Ünïcode");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "Test I1");
        let der = params.self_signed(&key).unwrap().der().to_vec();
        (Certificate::from_der(&der).unwrap(), key)
    }

    fn signing_ca() -> (Certificate, PrivateKey) {
        use rcgen::KeyUsagePurpose::{CrlSign, KeyCertSign};
        ca(&[KeyCertSign, CrlSign])
    }

    fn revoked(serial: u8, reason: Reason, days: i64) -> Revoked {
        Revoked {
            serial: vec![serial],
            not_after: now() + Duration::days(days),
            revocation: Revocation { at: now(), reason },
        }
    }

    fn request<'a>(ca: &'a (Certificate, PrivateKey), revoked: &'a [Revoked]) -> CrlRequest<'a> {
        CrlRequest {
            issuer: &ca.0,
            key: &ca.1,
            revoked,
            number: 258,
            this_update: now(),
            next_update: now() + DEFAULT_LIFE,
            previous_update: None,
        }
    }

    #[test]
    fn a_list_says_what_was_asked_and_names_the_issuers_own_key_identifier() {
        let ca = signing_ca();
        let entries: Vec<_> = (0x80..)
            .zip(Reason::ALL)
            .map(|(serial, reason)| revoked(serial, reason, 1))
            .collect();
        let der = sign(&request(&ca, &entries)).unwrap();
        let (_, crl) = CertificateRevocationList::from_der(&der).unwrap();
        let found: Vec<_> = crl
            .iter_revoked_certificates()
            .map(|entry| {
                let reason = entry.reason_code().map(|(_, code)| code.0);
                (entry.raw_serial().to_vec(), reason)
            })
            .collect();
        let expected: Vec<_> = (0x80..)
            .zip(Reason::ALL)
            .map(|(serial, reason)| {
                // RFC 5280 §5.3.1: absent rather than unspecified.
                let code = (reason != Reason::Unspecified).then(|| reason.code());
                (vec![0, serial], code)
            })
            .collect();
        assert_eq!(found, expected);
        let authority = crl
            .extensions()
            .iter()
            .find_map(|e| match e.parsed_extension() {
                x509_parser::extensions::ParsedExtension::AuthorityKeyIdentifier(id) => {
                    id.key_identifier.as_ref().map(|id| id.0)
                }
                _ => None,
            });
        assert_eq!(authority, Some(b"our own".as_slice()));
        let status = check(&der, &ca.0).unwrap();
        assert_eq!((status.number, status.revoked), (258, Reason::ALL.len()));
        assert_eq!(status.this_update, now());
        assert!(!status.is_stale(now() + Duration::days(7)));
        assert!(status.is_stale(now() + Duration::days(8)));
    }

    #[test]
    fn every_kind_of_key_signs() {
        for kind in KeyType::ALL {
            let key = PrivateKey::generate(kind).unwrap();
            let mut params = rcgen::CertificateParams::default();
            params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let der = params.self_signed(&key).unwrap().der().to_vec();
            let ca = (Certificate::from_der(&der).unwrap(), key);
            assert!(sign(&request(&ca, &[])).is_ok(), "{kind}");
        }
    }

    #[test]
    fn who_may_not_sign_does_not() {
        let (certificate, _) = signing_ca();
        let other = PrivateKey::generate(KeyType::P256).unwrap();
        let outcome = sign(&request(&(certificate, other), &[]));
        assert!(matches!(outcome, Err(CrlError::KeyMismatch(_))));
        let outcome = sign(&request(&ca(&[rcgen::KeyUsagePurpose::KeyCertSign]), &[]));
        assert!(matches!(outcome, Err(CrlError::MayNotSign(_))));
    }

    #[test]
    fn an_expired_entry_stays_for_one_list_beyond_its_expiry() {
        let ca = signing_ca();
        let entries = [
            revoked(1, Reason::Superseded, -9),
            revoked(2, Reason::Superseded, -1),
            revoked(3, Reason::Superseded, 1),
        ];
        let count = |previous_update| {
            let request = CrlRequest {
                previous_update,
                ..request(&ca, &entries)
            };
            check(&sign(&request).unwrap(), &ca.0).unwrap().revoked
        };
        assert_eq!(count(None), 3);
        assert_eq!(count(Some(now() - Duration::days(2))), 2);
        assert_eq!(count(Some(now() - Duration::days(1))), 2);
        assert_eq!(count(Some(now())), 1);
    }

    #[test]
    fn issuing_publishes_both_forms_with_ever_greater_numbers() {
        let home = tempfile::tempdir().unwrap();
        let ca_dir = home.path().join("ca");
        disk::create_dir(&ca_dir).unwrap();
        let ledger = Ledger::open(&ca_dir.join("ca.sqlite")).unwrap();
        let (certificate, key) = signing_ca();
        let issuer = CrlIssuer {
            home: home.path(),
            name: "I1",
            certificate: &certificate,
            key: &key,
        };
        let status = || read_status(&ca_dir, "I1", &certificate);
        assert_eq!(status().unwrap(), None);
        let entries = [leaf(1, "a.test", 1), leaf(2, "b.test", -1)];
        ledger.record(&entries).unwrap();
        for Entry { serial, .. } in &entries {
            ledger.revoke(serial, Reason::Superseded, now()).unwrap();
        }
        let issue = |at| issuer.issue(&ledger, at, DEFAULT_LIFE).unwrap();
        let first = issue(now());
        assert_eq!((first.number, first.revoked), (1, 2));
        assert_eq!(status().unwrap(), Some(first));
        let pem = std::fs::read_to_string(ca_dir.join("crl/I1.crl.pem")).unwrap();
        assert!(pem.starts_with("-----BEGIN X509 CRL-----\n"));
        // The first one came after the expiry of `b.test`, so the second drops it.
        let second = issue(now() + Duration::days(2));
        assert_eq!((second.number, second.revoked), (2, 1));
        let third = issue(now() + Duration::days(4));
        assert_eq!((third.number, third.revoked), (3, 0));

        // An inventory that forgot the numbers learns them from the list.
        drop(ledger);
        for file in ["ca.sqlite", "ca.sqlite-wal", "ca.sqlite-shm"] {
            disk::remove_file(&ca_dir.join(file)).unwrap();
        }
        let ledger = Ledger::open(&ca_dir.join("ca.sqlite")).unwrap();
        let fourth = issuer.issue(&ledger, now(), DEFAULT_LIFE).unwrap();
        assert_eq!(fourth.number, 4);

        // A damaged list is reported, and replaced by a good one.
        disk::replace(&ca_dir.join("crl/I1.crl"), b"x", MODE).unwrap();
        assert!(matches!(status(), Err(CrlError::Damaged { .. })));
        assert_eq!(
            issuer.issue(&ledger, now(), DEFAULT_LIFE).unwrap().number,
            5
        );
        let (stranger, _) = signing_ca();
        let error = read_status(&ca_dir, "I1", &stranger).unwrap_err();
        assert!(matches!(error, CrlError::Damaged { .. }), "{error}");
    }

    #[test]
    fn lists_made_at_once_go_up_in_number_and_contents() {
        let home = tempfile::tempdir().unwrap();
        let ca_dir = home.path().join("ca");
        disk::create_dir(&ca_dir).unwrap();
        let (certificate, key) = signing_ca();
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let (home, ca_dir) = (home.path(), &ca_dir);
                let (certificate, key) = (&certificate, &key);
                scope.spawn(move || {
                    let ledger = Ledger::open(&ca_dir.join("ca.sqlite")).unwrap();
                    let issuer = CrlIssuer {
                        home,
                        name: "I1",
                        certificate,
                        key,
                    };
                    for n in 0..5 {
                        let entry = leaf(thread * 5 + n, "a.test", 1);
                        ledger.record(std::slice::from_ref(&entry)).unwrap();
                        ledger
                            .revoke(&entry.serial, Reason::Superseded, now())
                            .unwrap();
                        let made = issuer.issue(&ledger, now(), DEFAULT_LIFE).unwrap();
                        let seen = read_status(ca_dir, "I1", certificate).unwrap().unwrap();
                        assert!(seen.number >= made.number && seen.revoked >= made.revoked);
                    }
                });
            }
        });
        let last = read_status(&ca_dir, "I1", &certificate).unwrap().unwrap();
        assert_eq!((last.number, last.revoked), (20, 20));
    }

    #[test]
    fn whoever_makes_a_list_waits_for_the_one_who_does() {
        let home = tempfile::tempdir().unwrap();
        let ca_dir = home.path().join("ca");
        disk::create_dir(&ca_dir).unwrap();
        let (certificate, key) = signing_ca();
        let held = Lock::acquire(&home.path().join("locks"), LOCK).unwrap();
        let (done, ended) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let ledger = Ledger::open(&ca_dir.join("ca.sqlite")).unwrap();
                let issuer = CrlIssuer {
                    home: home.path(),
                    name: "I1",
                    certificate: &certificate,
                    key: &key,
                };
                let made = issuer.issue(&ledger, now(), DEFAULT_LIFE).unwrap();
                done.send(made.number).unwrap();
            });
            let soon = std::time::Duration::from_millis(300);
            assert!(ended.recv_timeout(soon).is_err());
            drop(held);
            assert_eq!(ended.recv().unwrap(), 1);
        });
    }

    #[test]
    fn a_name_is_never_a_path() {
        for bad in ["", "..", "../I1", "I1/", "I 1", "I1.crl"] {
            assert!(
                matches!(path(Path::new("ca"), bad), Err(CrlError::Name(_))),
                "{bad:?}"
            );
        }
    }
}

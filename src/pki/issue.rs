//! Issuing leaves: the one place where the intermediate's key is used for them.
//!
//! The order is fixed: policy, rehearsal and lint, signature, path to the root,
//! ledger, and only then is the certificate handed out.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};

use super::authority::{Authority, generations};
use super::csr::{self, CsrNames, CsrRequest, SignedCsr};
use super::error::CaError;
use super::ledger::{Entry, Ledger, Role};
use super::lint::{Kind, Ordered};
use super::policy::{self, AcceptedKey, Authorized, Clamped, Dates, Limits, Wanted};
use super::publication::{Addresses, Publication};
use super::sign::{Rehearsal, sign};
use super::{CaConfig, CaPaths, KeyLocation, key_file, paths, profile};
use crate::bundle::{CertBundle, Certificate};
use crate::clock::{Clock, Timestamp};
use crate::identifier::{CertId, Identifier};
use crate::issuer::{self, BoxFuture, IssueError, Issuer, Profile, Usage};
use crate::key::{Passphrase, PrivateKey};
use crate::store::{Lock, disk};

/// A CA whose intermediate key is unlocked: it issues.
///
/// May be kept for years: each call looks whether the CA was rotated meanwhile, and
/// goes on with the new intermediate if its key opens with the same passphrase.
#[derive(Debug)]
pub struct PrivateCa {
    passphrase: Option<Passphrase>,
    clock: Arc<dyn Clock>,
    ledger: Mutex<Ledger>,
    held: Mutex<Held>,
}

/// One certificate to be issued.
#[derive(Debug)]
pub struct Order {
    /// What is wanted.
    pub profile: Profile,
    /// Whose certificate it will be.
    pub key: PrivateKey,
    /// The id under which it will be kept; `None` means its first name's.
    pub id: Option<CertId>,
}

/// A certificate that was issued.
#[derive(Debug)]
pub struct Issued {
    /// Key and chain.
    pub bundle: CertBundle,
    /// Set when it ends earlier than was asked.
    pub clamped: Option<Clamped>,
}

/// A certificate that was signed for a request, and that nobody may see before the
/// inventory has it.
#[derive(Debug)]
pub struct Unrecorded {
    signed: SignedCsr,
    entry: Entry,
}

impl Unrecorded {
    /// What the inventory is to take down.
    pub fn entry(&self) -> &Entry {
        &self.entry
    }

    /// The certificate. The inventory has it, and the disk has the inventory.
    pub fn recorded(self) -> SignedCsr {
        self.signed
    }
}

impl PrivateCa {
    /// Opens the CA in the state directory `home` and unlocks its intermediate key.
    ///
    /// Refused when the key is missing, locked or readable by others, and when the
    /// clock is behind the CA's certificates or they have expired.
    pub fn open(
        home: &Path,
        passphrase: Option<&Passphrase>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, CaError> {
        let authority = Authority::open(home)?;
        let now = clock.now();
        check_dates(&authority, now)?;
        heal_exports(&authority, now);
        Ok(Self {
            ledger: Mutex::new(authority.ledger()?),
            held: Mutex::new(Held::open(authority, passphrase)?),
            passphrase: passphrase.cloned(),
            clock,
        })
    }

    /// The CA as it is on disk now.
    pub fn authority(&self) -> Authority {
        self.signer().authority.clone()
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What `work` makes of the CA as it is on disk now, and of the key of its active
    /// intermediate.
    pub(super) fn with_active_key<T>(&self, work: impl FnOnce(&Authority, &PrivateKey) -> T) -> T {
        let signer = self.signer();
        work(&signer.authority, &signer.key)
    }

    pub(super) fn passphrase(&self) -> Option<&Passphrase> {
        self.passphrase.as_ref()
    }

    /// Issues one certificate.
    pub fn issue_now(&self, profile: &Profile, key: PrivateKey) -> Result<CertBundle, CaError> {
        let order = Order {
            profile: profile.clone(),
            key,
            id: None,
        };
        self.issue_one(order).map(|issued| issued.bundle)
    }

    /// Issues one certificate and says whether it ends early.
    pub fn issue_one(&self, order: Order) -> Result<Issued, CaError> {
        let mut issued = self.issue_many(vec![order])?;
        issued.pop().expect("one order has one answer")
    }

    /// Whether policy lets `profile` be issued now; signs nothing.
    pub fn check(&self, profile: &Profile) -> Result<(), CaError> {
        let wanted = Wanted {
            names: &profile.names,
            usage: profile.usage,
            dates: Dates::lasting(profile.lifetime()),
        };
        self.signer().authorize(&wanted, self.clock.now()).map(drop)
    }

    /// Issues many certificates, recorded in one transaction; an answer per order,
    /// in the same order.
    ///
    /// One that is refused does not hinder the others. When the ledger cannot be
    /// written, none is handed out.
    pub fn issue_many(&self, orders: Vec<Order>) -> Result<Vec<Result<Issued, CaError>>, CaError> {
        let signer = self.signer();
        let now = self.clock.now();
        let mut entries = Vec::new();
        let answers = orders
            .into_iter()
            .map(|order| {
                let (issued, entry) = signer.issue(order, now)?;
                entries.push(entry);
                Ok(issued)
            })
            .collect();
        self.record(&entries)?;
        Ok(answers)
    }

    /// Whether policy would sign `request` now: the dates, and the names if they are
    /// given. Those in a request are known only once it is there. Signs nothing.
    pub fn check_csr(&self, request: &CsrRequest) -> Result<(), CaError> {
        let signer = self.signer();
        let limits = signer.limits(self.clock.now());
        match &request.names {
            CsrNames::Given(names) => {
                let wanted = Wanted {
                    names,
                    usage: request.usage,
                    dates: request.dates(),
                };
                policy::authorize(&wanted, &limits)?;
            }
            CsrNames::Requested | CsrNames::RequestedOrCommon => {
                policy::check_dates(&request.dates(), &limits)?;
            }
        }
        Ok(())
    }

    /// Signs the public key of a PKCS#10 request, DER or PEM.
    ///
    /// Of the request only the public key counts, and its names if `request` says
    /// so; [`SignedCsr::notes`] tells what was left out.
    pub fn sign_csr(&self, der_or_pem: &[u8], request: &CsrRequest) -> Result<SignedCsr, CaError> {
        let signed = self.sign_unrecorded(der_or_pem, request)?;
        self.record(std::slice::from_ref(&signed.entry))?;
        Ok(signed.recorded())
    }

    /// The same for whoever takes it down in the inventory together with more.
    pub fn sign_unrecorded(
        &self,
        der_or_pem: &[u8],
        request: &CsrRequest,
    ) -> Result<Unrecorded, CaError> {
        let (signed, entry) = self
            .signer()
            .sign_csr(der_or_pem, request, self.clock.now())?;
        Ok(Unrecorded { signed, entry })
    }

    fn record(&self, entries: &[Entry]) -> Result<(), CaError> {
        if !entries.is_empty() {
            unpoisoned(&self.ledger).record(entries)?;
        }
        Ok(())
    }

    /// The signer for the CA as it is on disk. When a rotation cannot be followed,
    /// the intermediate that we have goes on signing: it is still valid.
    fn signer(&self) -> Arc<Signer> {
        let mut held = unpoisoned(&self.held);
        let paths = held.signer.authority.paths().clone();
        // Before the look: what changes meanwhile is seen by the next.
        let stamp = Stamp::of(&paths);
        if stamp.is_some() && stamp == held.stamp {
            return Arc::clone(&held.signer);
        }
        let looked = Shape::on_disk(&paths);
        let stamp = stamp.filter(|_| looked.is_ok());
        match looked {
            Ok(shape) if shape != held.seen => {
                let opened = Authority::read(paths)
                    .and_then(|authority| Held::open(authority, self.passphrase.as_ref()));
                match opened {
                    Ok(new) => *held = new,
                    Err(error) => {
                        warn_left_behind(&held.signer.authority, &error);
                        // Said once, and tried again at the next change.
                        held.seen = shape;
                    }
                }
            }
            // When the directory cannot be read, there is nothing to follow.
            Ok(_) | Err(_) => {}
        }
        held.stamp = stamp;
        Arc::clone(&held.signer)
    }
}

fn warn_left_behind(authority: &Authority, error: &CaError) {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        "the CA was changed and cannot be followed; going on with {}",
        authority.active().name
    );
}

impl Issuer for PrivateCa {
    fn issue<'a>(
        &'a self,
        wanted: issuer::Wanted<'a>,
        key: PrivateKey,
    ) -> BoxFuture<'a, Result<issuer::Issued, IssueError>> {
        let order = Order {
            profile: wanted.profile.clone(),
            key,
            id: Some(wanted.id.clone()),
        };
        Box::pin(async move {
            let issued = self
                .issue_one(order)
                .map_err(|error| error.while_issuing(&wanted.profile.names))?;
            Ok(issuer::Issued {
                bundle: issued.bundle,
                obtained: None,
            })
        })
    }

    fn backs_off(&self) -> bool {
        false
    }
}

/// What signing needs, made once per generation of the CA.
#[derive(Debug)]
struct Signer {
    authority: Authority,
    key: PrivateKey,
    rehearsal: Rehearsal,
    anchor: TrustAnchor<'static>,
}

/// The signer in use, and the shape of the CA when it was looked at last.
#[derive(Debug)]
struct Held {
    signer: Arc<Signer>,
    seen: Shape,
    stamp: Option<Stamp>,
}

impl Held {
    fn open(authority: Authority, passphrase: Option<&Passphrase>) -> Result<Self, CaError> {
        Ok(Self {
            seen: Shape::of(&authority),
            stamp: None,
            signer: Arc::new(Signer::unlock(authority, passphrase)?),
        })
    }
}

/// What changes on disk when the CA is rotated.
#[derive(Debug, PartialEq)]
struct Shape {
    roots: Vec<String>,
    intermediates: Vec<String>,
    config: CaConfig,
}

impl Shape {
    fn of(authority: &Authority) -> Self {
        let intermediates = authority.intermediates().iter();
        Self {
            roots: authority.roots().iter().map(|r| r.name.clone()).collect(),
            intermediates: intermediates.map(|i| i.name.clone()).collect(),
            config: authority.config().clone(),
        }
    }

    fn on_disk(paths: &CaPaths) -> Result<Self, CaError> {
        let names = |dir, prefix| -> Result<Vec<String>, CaError> {
            let found = generations(dir, prefix)?;
            Ok(found.into_iter().map(|(name, _)| name).collect())
        };
        Ok(Self {
            roots: names(&paths.roots(), 'R')?,
            intermediates: names(&paths.intermediates(), 'I')?,
            config: CaConfig::from_json(&disk::read(&paths.config())?)?,
        })
    }
}

/// Which files these are that a rotation touches, and when each was changed last: as long
/// as that stays the same, nobody has to look into them.
#[derive(Debug, PartialEq)]
struct Stamp([(u64, u64, SystemTime); 3]);

impl Stamp {
    /// The kernel's clock ticks a few hundred times a second: what was changed in this
    /// tick may change in it once more, and look the same.
    const TICK: std::time::Duration = std::time::Duration::from_secs(1);

    /// Nothing while it says nothing: just after a change, or when one cannot be looked at.
    fn of(paths: &CaPaths) -> Option<Self> {
        let stamp = |path: PathBuf| {
            let found = std::fs::metadata(path).ok()?;
            let changed = found.modified().ok()?;
            let is_settled = changed.elapsed().is_ok_and(|since| since > Self::TICK);
            is_settled.then(|| (found.dev(), found.ino(), changed))
        };
        Some(Self([
            stamp(paths.roots())?,
            stamp(paths.intermediates())?,
            stamp(paths.config())?,
        ]))
    }
}

impl Signer {
    fn unlock(authority: Authority, passphrase: Option<&Passphrase>) -> Result<Self, CaError> {
        let active = authority.active();
        let KeyLocation::Here { path, .. } = &active.key else {
            return Err(CaError::Damaged {
                path: paths::key(&active.path),
                reason: "the intermediate's key is missing".to_owned(),
            });
        };
        let key = key_file::read(&active.name, path, passphrase, &active.certificate)?;
        let root = authority.active_root();
        let anchor = webpki::anchor_from_trusted_cert(root.certificate.der())
            .map_err(CaError::Path)?
            .to_owned();
        Ok(Self {
            key,
            anchor,
            rehearsal: Rehearsal::new().map_err(CaError::Generation)?,
            authority,
        })
    }

    fn authorize(&self, wanted: &Wanted<'_>, now: Timestamp) -> Result<Authorized, CaError> {
        Ok(policy::authorize(wanted, &self.limits(now))?)
    }

    fn limits(&self, now: Timestamp) -> Limits<'_> {
        Limits {
            constraints: &self.authority.config().permit,
            issuer: &self.authority.active().certificate,
            now,
        }
    }

    fn issue(&self, order: Order, now: Timestamp) -> Result<(Issued, Entry), CaError> {
        let wanted = Wanted {
            names: &order.profile.names,
            usage: order.profile.usage,
            dates: Dates::lasting(order.profile.lifetime()),
        };
        let authorized = self.authorize(&wanted, now)?;
        let key = AcceptedKey::from_spki(&order.key.public_key_der())?;
        let chain = self.sign_leaf(&authorized, &key, None, now)?;
        let id = order
            .id
            .or_else(|| authorized.names().first().map(CertId::for_name));
        let bundle = CertBundle::new(order.key, chain).map_err(CaError::Bundle)?;
        let entry = self.entry(bundle.leaf(), &authorized, &key, id, now);
        let clamped = authorized.clamped().cloned();
        Ok((Issued { bundle, clamped }, entry))
    }

    fn sign_csr(
        &self,
        der_or_pem: &[u8],
        request: &CsrRequest,
        now: Timestamp,
    ) -> Result<(SignedCsr, Entry), CaError> {
        let checked = csr::check(der_or_pem, &request.names)?;
        let wanted = Wanted {
            names: &checked.names,
            usage: request.usage,
            dates: request.dates(),
        };
        let authorized = self.authorize(&wanted, now)?;
        let publication = request.publication.as_ref();
        let chain = self.sign_leaf(&authorized, &checked.key, publication, now)?;
        let leaf = chain.first().expect("a chain starts with the leaf");
        let entry = self.entry(leaf, &authorized, &checked.key, None, now);
        let signed = SignedCsr {
            chain,
            notes: checked.notes,
            clamped: authorized.clamped().cloned(),
        };
        Ok((signed, entry))
    }

    /// Signs a leaf: the only function that does. Returns it with what stands above.
    fn sign_leaf(
        &self,
        authorized: &Authorized,
        key: &AcceptedKey,
        publication: Option<&Publication>,
        now: Timestamp,
    ) -> Result<Vec<Certificate>, CaError> {
        let active = self.authority.active();
        let addresses = if authorized.is_short_lived() {
            Addresses::default()
        } else {
            let crl_url = self.authority.config().crl_url.as_ref();
            Addresses::of(&active.name, crl_url, publication)
        };
        let params = profile::leaf(authorized, key, &addresses)?;
        let ordered = Ordered {
            kind: Kind::Leaf {
                names: authorized.names(),
                usage: authorized.usage(),
                crl: addresses.crl.as_deref(),
                issuer_url: addresses.issuer.as_deref(),
            },
            spki: key.spki(),
            issuer: Some(&active.certificate),
            not_before: authorized.not_before(),
            not_after: authorized.not_after(),
        };
        let leaf = sign(&params, key, &self.key, &ordered, &self.rehearsal)?;
        let mut chain = vec![leaf];
        chain.extend(self.authority.chain_above_leaf(now));
        self.check_path(&chain, authorized, now)?;
        Ok(chain)
    }

    /// What a TLS client does, now or as soon as the leaf is valid: builds the path to
    /// the root and looks for the names.
    fn check_path(
        &self,
        chain: &[Certificate],
        authorized: &Authorized,
        now: Timestamp,
    ) -> Result<(), CaError> {
        let (leaf, above) = chain.split_first().expect("a chain starts with the leaf");
        let end = webpki::EndEntityCert::try_from(leaf.der()).map_err(CaError::Path)?;
        let above: Vec<CertificateDer<'_>> = above.iter().map(|c| c.der().clone()).collect();
        let moment = now.max(authorized.not_before());
        let seconds = u64::try_from(moment.unix_timestamp()).unwrap_or_default();
        let moment = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let server = webpki::KeyUsage::server_auth;
        let client = webpki::KeyUsage::client_auth;
        let usages = match authorized.usage() {
            Usage::Server => vec![server()],
            Usage::Client => vec![client()],
            Usage::Both => vec![server(), client()],
        };
        for usage in usages {
            let algorithms = webpki::ALL_VERIFICATION_ALGS;
            let anchors = std::slice::from_ref(&self.anchor);
            end.verify_for_usage(algorithms, anchors, &above, moment, usage, None, None)
                .map_err(CaError::Path)?;
        }
        for name in authorized.names() {
            if let Identifier::Dns(_) | Identifier::Ip(_) = name
                && let Ok(wanted) = ServerName::try_from(name.to_string())
            {
                end.verify_is_valid_for_subject_name(&wanted)
                    .map_err(CaError::Path)?;
            }
        }
        Ok(())
    }

    fn entry(
        &self,
        leaf: &Certificate,
        authorized: &Authorized,
        key: &AcceptedKey,
        id: Option<CertId>,
        now: Timestamp,
    ) -> Entry {
        let usage = match authorized.usage() {
            Usage::Server => "server",
            Usage::Client => "client",
            Usage::Both => "both",
        };
        let issuer = &self.authority.active().name;
        let entry = entry(leaf, Role::Leaf, issuer, usage, key.kind(), now);
        Entry { id, ..entry }
    }
}

/// What the ledger keeps of `certificate`.
pub(super) fn entry(
    certificate: &Certificate,
    role: Role,
    issuer: &str,
    usage: &str,
    key_type: &str,
    now: Timestamp,
) -> Entry {
    Entry {
        serial: certificate.serial().to_vec(),
        issuer: issuer.to_owned(),
        role,
        id: None,
        names: certificate.names().to_vec(),
        subject: certificate.subject().to_owned(),
        usage: usage.to_owned(),
        key_type: key_type.to_owned(),
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
        issued_at: now,
        spki_sha256: certificate.spki_sha256_hex(),
        der: certificate.der().to_vec(),
        revoked: None,
    }
}

/// Refuses a CA that is not valid yet or any more.
fn check_dates(authority: &Authority, now: Timestamp) -> Result<(), CaError> {
    let (root, active) = (authority.active_root(), authority.active());
    check_validity(&root.name, &root.certificate, now)?;
    check_validity(&active.name, &active.certificate, now)
}

/// Refuses a CA certificate that is not valid yet or any more.
pub(super) fn check_validity(
    name: &str,
    certificate: &Certificate,
    now: Timestamp,
) -> Result<(), CaError> {
    if now < certificate.not_before() {
        return Err(CaError::ClockBehind {
            name: name.to_owned(),
            not_before: certificate.not_before(),
            now,
        });
    }
    if now >= certificate.not_after() {
        return Err(CaError::Expired {
            name: name.to_owned(),
            not_after: certificate.not_after(),
        });
    }
    Ok(())
}

/// Mends exports that a crash left behind the CA. Whoever cannot write there can
/// still issue, and whoever is changing the CA writes them anyway.
fn heal_exports(authority: &Authority, now: Timestamp) {
    if authority.exports_are_current(now) {
        return;
    }
    let paths = authority.paths();
    let healed = Lock::try_acquire(&paths.locks(), CaPaths::LOCK)
        .map_err(CaError::from)
        .and_then(|lock| match lock {
            // Read again under the lock: it may have been rotated just now.
            Some(_lock) => Authority::read(paths.clone())?.write_exports(now),
            None => Ok(()),
        });
    if let Err(error) = healed {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "could not bring `root.pem` and `chain.pem` up to date"
        );
    }
}

/// A panic elsewhere leaves these values whole: they are replaced, never edited.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files by hand")]
mod tests {
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use x509_parser::prelude::{FromDer as _, X509Certificate};

    use super::*;
    use crate::clock::{Duration, ManualClock};
    use crate::pki::test_ca::{key, make, now, open, profile, request};
    use crate::pki::{
        CaName, CrlUrl, RotateIntermediate, RotateRoot, init, rotate_intermediate, rotate_root,
    };

    fn order(name: &str, days: u64) -> Order {
        let profile = Profile {
            lifetime_seconds: Some(days * 86_400),
            ..profile(&[name])
        };
        Order {
            profile,
            key: key(),
            id: None,
        }
    }

    fn csr(names: &[&str]) -> Vec<u8> {
        let names = profile(names).names;
        crate::pki::request(&key(), &names).unwrap().into_bytes()
    }

    fn wanted() -> CsrRequest {
        CsrRequest {
            names: CsrNames::Requested,
            usage: Usage::Server,
            lifetime: None,
            not_before: None,
            not_after: None,
            publication: None,
        }
    }

    fn rows(home: &Path) -> i64 {
        let path = home.join("ca/ca.sqlite");
        let connection = rusqlite::Connection::open(path).unwrap();
        let count = "SELECT count(*) FROM certificates";
        connection.query_row(count, [], |row| row.get(0)).unwrap()
    }

    #[test]
    fn a_leaf_has_the_dates_serial_and_extensions_of_the_table() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let issued = ca.issue_one(order("a.test", 90)).unwrap();
        let leaf = issued.bundle.leaf();
        let moment = now() + Duration::DAY;
        assert_eq!(leaf.not_before(), moment - Duration::minutes(5));
        assert_eq!(leaf.not_after(), moment + Duration::days(90));
        assert_eq!(
            (leaf.subject(), leaf.san_critical()),
            ("CN=a.test", Some(false))
        );
        assert_eq!((leaf.serial().len(), leaf.crl_urls()), (20, &[][..]));
        assert_eq!(leaf.subject_key_id().map(<[u8]>::len), Some(20));
        let nameless = ca.issue_one(order("10.0.0.1", 825)).unwrap();
        let leaf = nameless.bundle.leaf();
        assert_eq!((leaf.subject(), leaf.san_critical()), ("", Some(true)));
        assert_eq!(leaf.lifetime(), Duration::days(825) - Duration::SECOND);
        let again = ca.issue_one(order("a.test", 90)).unwrap();
        assert_ne!(again.bundle.leaf().serial(), issued.bundle.leaf().serial());
    }

    #[test]
    fn a_crl_is_named_only_by_leaves_that_outlive_a_week() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = request();
        request.crl_url = Some(CrlUrl::try_from("http://ca.test/crl".to_owned()).unwrap());
        init(dir.path(), &request, now()).unwrap();
        let ca = open(dir.path(), Duration::DAY);
        let urls = |days| {
            let issued = ca.issue_one(order("a.test", days)).unwrap();
            issued.bundle.leaf().crl_urls().to_vec()
        };
        assert_eq!(urls(8), ["http://ca.test/crl/I1.crl"]);
        assert_eq!(urls(7), [""; 0]);
        assert_eq!(urls(6), [""; 0]);
    }

    #[test]
    fn what_is_published_stands_in_leaves_that_outlive_a_week() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let published = Publication::try_from("http://ca.test:9080".to_owned()).unwrap();
        let sign = |ca: &PrivateCa, days| {
            let wanted = CsrRequest {
                lifetime: Some(Duration::days(days)),
                publication: Some(published.clone()),
                ..wanted()
            };
            let signed = ca.sign_csr(&csr(&["a.test"]), &wanted).unwrap();
            signed.chain[0].clone()
        };
        // authorityInfoAccess with caIssuers: 1.3.6.1.5.5.7.1.1 and 1.3.6.1.5.5.7.48.2.
        let access = |leaf: &Certificate| {
            let (_, parsed) = X509Certificate::from_der(leaf.der()).unwrap();
            let found = parsed.extensions().iter();
            let found = found.filter(|e| e.oid.to_id_string() == "1.3.6.1.5.5.7.1.1");
            let found: Vec<Vec<u8>> = found.map(|e| e.value.to_vec()).collect();
            found
        };
        let long = sign(&ca, 8);
        assert_eq!(long.crl_urls(), ["http://ca.test:9080/crl/I1.crl"]);
        let url = b"http://ca.test:9080/issuer/I1.crt";
        let caissuers = b"\x30\x2f\x30\x2d\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x21";
        assert_eq!(access(&long), [[&caissuers[..], url].concat()]);
        let short = sign(&ca, 7);
        assert!(short.crl_urls().is_empty() && access(&short).is_empty());

        // Another intermediate, another file of each.
        let later = now() + Duration::DAY;
        rotate_intermediate(dir.path(), &RotateIntermediate::default(), later).unwrap();
        let next = sign(&ca, 90);
        assert_eq!(next.crl_urls(), ["http://ca.test:9080/crl/I2.crl"]);
        assert!(access(&next)[0].ends_with(b"/issuer/I2.crt"));
    }

    #[test]
    fn a_batch_is_recorded_whole_and_one_refusal_hinders_no_other() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let before = rows(dir.path());
        let orders = vec![order("a.test", 1), order("b.test", 999), order("c.test", 1)];
        let answers = ca.issue_many(orders).unwrap();
        let ok: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        assert_eq!(ok, [true, false, true]);
        assert_eq!(rows(dir.path()), before + 2);
    }

    #[test]
    fn what_is_signed_for_others_to_record_is_in_no_inventory_yet() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let before = rows(dir.path());
        let signed = ca.sign_unrecorded(&csr(&["a.test"]), &wanted()).unwrap();
        assert_eq!(rows(dir.path()), before);
        let entry = signed.entry().clone();
        let leaf = signed.recorded().chain.remove(0);
        assert_eq!(
            (&entry.der[..], &entry.serial[..]),
            (&leaf.der()[..], leaf.serial())
        );
        assert!(ca.sign_unrecorded(b"no request", &wanted()).is_err());
    }

    /// `cargo test --lib a_batch_costs_less -- --ignored --nocapture` tells what a
    /// durable record costs by itself and in company.
    #[test]
    #[ignore = "a measurement"]
    fn a_batch_costs_less() {
        const ROUNDS: u32 = 64;
        let dir = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let requests: Vec<_> = (0..32)
            .map(|n| (csr(&[&format!("h{n}.test")]), wanted()))
            .collect();
        let signer = ca.signer();
        for size in [1_u32, 2, 8, 32] {
            let (mut signing, mut recording) = Default::default();
            for round in 0..ROUNDS {
                let start = Instant::now();
                let batch = requests.iter().cycle().skip(round as usize);
                let entries: Vec<Entry> = batch
                    .take(size as usize)
                    .map(|(csr, wanted)| signer.sign_csr(csr, wanted, ca.now()).unwrap().1)
                    .collect();
                signing += start.elapsed();
                let start = Instant::now();
                ca.record(&entries).unwrap();
                recording += start.elapsed();
            }
            let each = |total: std::time::Duration| total / (ROUNDS * size);
            writeln!(
                std::io::stdout(),
                "in batches of {size}, each certificate takes {:?} to sign and {:?} to record",
                each(signing),
                each(recording)
            )
            .unwrap();
        }
    }

    #[test]
    fn a_request_gets_exactly_the_dates_it_asks_for_or_nothing() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let (moment, day) = (now() + Duration::DAY, Duration::DAY);
        let csr = csr(&["a.test"]);
        let before = rows(dir.path());
        for (not_before, not_after) in [
            (None, Some(moment + day * 3)),
            (Some(moment - Duration::MINUTE), Some(moment + day)),
            // A client cannot verify this one yet.
            (Some(moment + day * 2), Some(moment + day * 90)),
        ] {
            let wanted = CsrRequest {
                not_before,
                not_after,
                ..wanted()
            };
            ca.check_csr(&wanted).unwrap();
            let signed = ca.sign_csr(&csr, &wanted).unwrap();
            let leaf = &signed.chain[0];
            assert_eq!(signed.clamped, None);
            assert_eq!(Some(leaf.not_after()), not_after);
            let usual = moment - Duration::minutes(5);
            assert_eq!(leaf.not_before(), not_before.unwrap_or(usual));
        }
        let end = ca.authority().active().certificate.not_after();
        for not_after in [moment, end + Duration::SECOND, moment + day * 825] {
            let mut wanted = CsrRequest {
                not_after: Some(not_after),
                ..wanted()
            };
            for names in [
                CsrNames::Requested,
                CsrNames::Given(profile(&["a.test"]).names),
            ] {
                wanted.names = names;
                for refused in [
                    ca.check_csr(&wanted).unwrap_err(),
                    ca.sign_csr(&csr, &wanted).unwrap_err(),
                ] {
                    let CaError::Refused(reason) = refused else {
                        panic!("{refused}")
                    };
                    assert!(reason.is_about_dates(), "{reason}");
                }
            }
        }
        assert_eq!(rows(dir.path()), before + 3);
    }

    #[test]
    fn nothing_is_handed_out_that_the_ledger_did_not_take() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let connection = rusqlite::Connection::open(dir.path().join("ca/ca.sqlite")).unwrap();
        connection
            .execute_batch("PRAGMA foreign_keys = OFF; DROP TABLE certificates")
            .unwrap();
        let refused = ca.issue_now(&profile(&["a.test"]), key()).unwrap_err();
        assert!(matches!(refused, CaError::Ledger(_)), "{refused:?}");
    }

    #[test]
    fn a_key_that_is_missing_locked_exposed_or_anothers_is_named_with_the_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = request();
        let passphrase = Passphrase::new("right".to_owned()).unwrap();
        request.intermediate_passphrase = Some(passphrase.clone());
        init(dir.path(), &request, now()).unwrap();
        let path = dir.path().join("ca/intermediate/I1/key.pem");
        let open = |passphrase: Option<&Passphrase>| {
            let clock = Arc::new(ManualClock::new(now()));
            PrivateCa::open(dir.path(), passphrase, clock)
        };
        open(Some(&passphrase)).unwrap();
        let check = |error: CaError, word: &str| {
            let told = format!("{error} ({})", error.hint().unwrap_or_default());
            assert!(told.contains(word) && told.contains("I1"), "{told}");
        };
        check(open(None).unwrap_err(), "--passphrase-file");
        let wrong = Passphrase::new("wrong".to_owned()).unwrap();
        check(open(Some(&wrong)).unwrap_err(), "--passphrase-file");
        let others = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&path, others).unwrap();
        check(open(Some(&passphrase)).unwrap_err(), "chmod 600");
        std::fs::remove_file(&path).unwrap();
        disk::write_new(&path, key().to_pem().as_bytes(), 0o600).unwrap();
        check(open(None).unwrap_err(), "not that of I1");
        std::fs::remove_file(&path).unwrap();
        check(open(None).unwrap_err(), "missing");
    }

    #[test]
    fn a_clock_that_is_wrong_is_said_to_be() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let open = |later: Duration| {
            let clock = Arc::new(ManualClock::new(now() + later));
            PrivateCa::open(dir.path(), None, clock)
        };
        let behind = open(Duration::hours(-2)).unwrap_err();
        assert!(behind.hint().unwrap().contains("clock"), "{behind}");
        let expired = open(Duration::days(1100)).unwrap_err();
        assert!(expired.to_string().contains("I1 expired"), "{expired}");
        let expired = open(Duration::days(4000)).unwrap_err();
        assert!(expired.to_string().contains("R1 expired"), "{expired}");
    }

    #[test]
    fn a_rotation_is_followed_also_when_nothing_had_changed_for_long() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let paths = CaPaths::new(dir.path());
        let old = SystemTime::now() - std::time::Duration::from_secs(60);
        let age = || {
            for path in [paths.roots(), paths.intermediates(), paths.config()] {
                let file = std::fs::File::open(path).unwrap();
                file.set_modified(old).unwrap();
            }
        };
        assert_eq!(Stamp::of(&paths), None, "it was made just now");
        age();
        assert_eq!(ca.authority().active().name, "I1");
        assert!(unpoisoned(&ca.held).stamp.is_some());
        let later = now() + Duration::DAY;
        rotate_intermediate(dir.path(), &RotateIntermediate::default(), later).unwrap();
        assert_eq!(ca.authority().active().name, "I2");
        age();
        assert_eq!(ca.authority().active().name, "I2");
        // Another file is another file, whatever its date.
        let text = std::fs::read(paths.config()).unwrap();
        let mut config: serde_json::Value = serde_json::from_slice(&text).unwrap();
        config["intermediate-days"] = 7.into();
        let other = dir.path().join("other.json");
        std::fs::write(&other, config.to_string()).unwrap();
        std::fs::rename(&other, paths.config()).unwrap();
        age();
        assert_eq!(ca.authority().config().intermediate_days, 7);
    }

    #[test]
    fn only_another_root_or_another_ca_supersedes() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let issue = || ca.issue_now(&profile(&["a.test"]), key()).unwrap();
        let first = issue();
        let later = now() + Duration::DAY;
        rotate_intermediate(dir.path(), &RotateIntermediate::default(), later).unwrap();
        let second = issue();
        assert!(second.leaf().issuer().ends_with("I2"));
        assert_eq!(ca.authority().superseded(first.leaf()), None);
        rotate_root(dir.path(), &RotateRoot::default(), later).unwrap();
        for old in [&first, &second] {
            assert!(
                ca.authority()
                    .superseded(old.leaf())
                    .unwrap()
                    .contains("R2")
            );
        }
        assert_eq!(ca.authority().superseded(issue().leaf()), None);

        let other = tempfile::tempdir().unwrap();
        make(other.path());
        let stranger = open(other.path(), Duration::DAY);
        let leaf = stranger.issue_now(&profile(&["a.test"]), key()).unwrap();
        assert!(
            ca.authority()
                .superseded(leaf.leaf())
                .unwrap()
                .contains("not this CA")
        );
    }

    #[test]
    fn an_intermediate_that_cannot_be_unlocked_leaves_the_old_one_signing() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let ca = open(dir.path(), Duration::DAY);
        let rotation = RotateIntermediate {
            passphrase: Some(Passphrase::new("new".to_owned()).unwrap()),
            ..Default::default()
        };
        rotate_intermediate(dir.path(), &rotation, now() + Duration::DAY).unwrap();
        let bundle = ca.issue_now(&profile(&["a.test"]), key()).unwrap();
        assert!(bundle.leaf().issuer().ends_with("I1"));
    }

    #[test]
    fn stale_exports_are_mended_by_whoever_opens_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(dir.path());
        let export = made.authority.paths().root_export();
        let right = std::fs::read(&export).unwrap();
        for stale in [Some("stale"), None] {
            disk::remove_file(&export).unwrap();
            if let Some(text) = stale {
                disk::write_new(&export, text.as_bytes(), 0o644).unwrap();
            }
            open(dir.path(), Duration::DAY);
            assert_eq!(std::fs::read(&export).unwrap(), right);
        }
    }

    #[test]
    fn names_of_the_ca_stand_in_its_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = request();
        request.name = CaName::try_from("Zürich & Söhne".to_owned()).unwrap();
        request.country = Some("CH".to_owned().try_into().unwrap());
        request.org = Some("Familie".to_owned().try_into().unwrap());
        let made = init(dir.path(), &request, now()).unwrap();
        let subject = "C=CH, O=Familie, CN=Zürich & Söhne Intermediate I1";
        assert_eq!(made.authority.active().certificate.subject(), subject);
        let ca = open(dir.path(), Duration::DAY);
        let bundle = ca.issue_now(&profile(&["a.test"]), key()).unwrap();
        assert_eq!(bundle.leaf().issuer(), subject);
    }
}

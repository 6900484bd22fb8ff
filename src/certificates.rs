//! The certificates that a server answers with: one lock-free lookup per handshake.
//!
//! Rules kept here: a reader sees one immutable snapshot, so a key never meets
//! another certificate's chain; a source that fails to load leaves what it
//! provided before; one name may have a certificate per kind of key, and the
//! ClientHello decides between them.

mod demand;
mod raw_key;
mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rpds::HashTrieMapSync;
use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::bundle::CertBundle;
use crate::clock::Timestamp;
use crate::identifier::{Identifier, summary};
use crate::key::KeyType;

pub use demand::{Answer, Demand, Miss};
pub(crate) use raw_key::ed25519_of_spki;
pub use raw_key::{RawKey, UnusableRawKey, ed25519_fingerprint};
pub use served::Served;

/// Answers which certificates are good for a connection.
pub trait Certificates: Send + Sync + fmt::Debug {
    /// What a client that asked for `asked` is served with; `None` refuses it.
    ///
    /// Called once per handshake on the runtime's threads: it neither blocks nor
    /// waits. What it returns stays valid whatever is swapped later.
    fn find(&self, asked: Asked<'_>) -> Option<Identity>;

    /// Who makes certificates for names that [`Self::find`] has none for; mostly nobody.
    fn demand(&self) -> Option<&dyn Demand> {
        None
    }
}

/// What a client asked for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The server name it sent, in any case; `None` when it sent none, as clients
    /// do that connect to an address.
    pub server_name: Option<&'a str>,
    /// The address of ours that it connected to.
    pub local: IpAddr,
}

/// What one name is served with: a certificate for each kind of key, the one that
/// is cheapest to use first. Never empty, and cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity(Arc<[Arc<Served>]>);

impl Identity {
    /// Notes that a client was served with it.
    pub fn note_use(&self) {
        self.0.iter().for_each(|served| served.note_use());
    }

    /// Whether [`Self::note_use`] was called since the last time that this was asked.
    pub fn take_use(&self) -> bool {
        // Each is to be asked: `any` would stop at the first.
        let used = self.0.iter().filter(|served| served.take_use());
        used.count() > 0
    }

    /// The first certificate whose key can make one of `schemes`.
    ///
    /// When none can, the first of all: rustls then refuses the client with the
    /// alert that says why.
    pub fn choose(&self, schemes: &[SignatureScheme]) -> &Arc<Served> {
        let suits = |served: &&Arc<Served>| served.key().key.choose_scheme(schemes).is_some();
        self.0.iter().find(suits).unwrap_or(&self.0[0])
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.choose(hello.signature_schemes()).key()))
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0[0].is_raw_key()
    }
}

/// Names who provides certificates, so that they can be replaced: a certificate's
/// id, or the path of its file.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SourceId(Arc<str>);

impl SourceId {
    /// A source with this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The certificates of one listener, by name, swapped as a whole.
///
/// Exact names win over wildcards. Of two certificates with the same name and kind
/// of key, the one that expires later is served.
#[derive(Debug)]
pub struct CertificateTable {
    snapshot: ArcSwap<Snapshot>,
    sources: Mutex<Sources>,
    default: Option<SourceId>,
    provider: Arc<CryptoProvider>,
}

impl CertificateTable {
    /// An empty table that refuses clients whose name it does not know.
    pub fn strict() -> Self {
        Self::new(None)
    }

    /// An empty table that answers unknown names with what `source` provides.
    pub fn with_default(source: SourceId) -> Self {
        Self::new(Some(source))
    }

    fn new(default: Option<SourceId>) -> Self {
        Self {
            snapshot: ArcSwap::default(),
            sources: Mutex::default(),
            default,
            provider: Arc::new(rustls::crypto::aws_lc_rs::default_provider()),
        }
    }

    /// Makes `bundles` all that `source` provides; none removes it. What it costs
    /// depends on these certificates, hardly on how many others there are.
    pub fn replace(
        &self,
        source: SourceId,
        bundles: &[CertBundle],
    ) -> Result<(), UnusableCertificate> {
        self.replace_many([(source, bundles)])
    }

    /// [`Self::replace`] for several sources in one swap. When one certificate is
    /// not usable, nothing changes.
    pub fn replace_many<'a>(
        &self,
        changes: impl IntoIterator<Item = (SourceId, &'a [CertBundle])>,
    ) -> Result<(), UnusableCertificate> {
        let load = |(source, bundles): (SourceId, &[CertBundle])| {
            let loaded: Result<Vec<_>, _> = bundles
                .iter()
                .map(|bundle| Candidate::load(bundle, &self.provider))
                .collect();
            Ok((source, loaded?))
        };
        let loaded: Vec<_> = changes.into_iter().map(load).collect::<Result<_, _>>()?;

        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.snapshot.load());
        for (source, candidates) in loaded {
            let is_default = self.default.as_ref() == Some(&source);
            for name in sources.replace(&source, candidates) {
                next.set(&name, sources.identity(&name));
            }
            if is_default {
                next.default = sources.identity_of(&source);
            }
        }
        self.snapshot.store(Arc::new(next));
        Ok(())
    }
}

impl Certificates for CertificateTable {
    fn find(&self, asked: Asked<'_>) -> Option<Identity> {
        let snapshot = self.snapshot.load();
        let found = match asked.server_name {
            Some(name) => snapshot.by_name(name),
            None => snapshot.addresses.get(&asked.local),
        };
        found.or(snapshot.default.as_ref()).cloned()
    }
}

/// Every name with what it is served with, at one moment. A clone shares all that the
/// next change leaves as it is.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    exact: HashTrieMapSync<Box<str>, Identity>,
    /// By what follows the `*.`.
    wildcards: HashTrieMapSync<Box<str>, Identity>,
    addresses: HashTrieMapSync<IpAddr, Identity>,
    default: Option<Identity>,
}

impl Snapshot {
    /// From now on `name` is served with `identity`.
    fn set(&mut self, name: &Identifier, identity: Option<Identity>) {
        let (names, key) = match name {
            Identifier::Dns(name) => (&mut self.exact, name.as_str()),
            Identifier::Wildcard(name) => (&mut self.wildcards, name.as_str()),
            Identifier::Ip(address) => {
                match identity {
                    Some(identity) => self.addresses.insert_mut(*address, identity),
                    None => drop(self.addresses.remove_mut(address)),
                }
                return;
            }
            // No client can ask for one.
            Identifier::Email(_) | Identifier::Uri(_) => return,
        };
        match identity {
            Some(identity) => names.insert_mut(key.into(), identity),
            None => drop(names.remove_mut(key)),
        }
    }

    fn by_name(&self, name: &str) -> Option<&Identity> {
        if name.bytes().any(|b| b.is_ascii_uppercase()) {
            return self.by_lower_case_name(&name.to_ascii_lowercase());
        }
        self.by_lower_case_name(name)
    }

    fn by_lower_case_name(&self, name: &str) -> Option<&Identity> {
        self.exact.get(name).or_else(|| {
            let (label, parent) = name.split_once('.')?;
            self.wildcards.get(parent).filter(|_| !label.is_empty())
        })
    }
}

/// What every source provides, and who provides each name.
#[derive(Debug, Default)]
struct Sources {
    provided: BTreeMap<SourceId, Vec<Candidate>>,
    by_name: BTreeMap<Identifier, BTreeSet<SourceId>>,
}

impl Sources {
    /// Makes `candidates` all that `source` provides, and tells the names that this
    /// concerns.
    fn replace(&mut self, source: &SourceId, candidates: Vec<Candidate>) -> BTreeSet<Identifier> {
        let before = self.provided.remove(source).unwrap_or_default();
        let mut concerned = names_of(&before);
        for name in &concerned {
            if let Some(providers) = self.by_name.get_mut(name) {
                providers.remove(source);
            }
        }
        for name in names_of(&candidates) {
            let providers = self.by_name.entry(name.clone()).or_default();
            providers.insert(source.clone());
            concerned.insert(name);
        }
        for name in &concerned {
            if self.by_name.get(name).is_some_and(BTreeSet::is_empty) {
                self.by_name.remove(name);
            }
        }
        if !candidates.is_empty() {
            self.provided.insert(source.clone(), candidates);
        }
        concerned
    }

    /// What `name` is served with, if anybody provides it.
    fn identity(&self, name: &Identifier) -> Option<Identity> {
        let sources = self.by_name.get(name)?.iter();
        let candidates = sources.filter_map(|source| self.provided.get(source));
        let named = candidates
            .flatten()
            .filter(|candidate| candidate.served.names().contains(name));
        identity(named.collect())
    }

    /// Everything that `source` provides.
    fn identity_of(&self, source: &SourceId) -> Option<Identity> {
        identity(self.provided.get(source)?.iter().collect())
    }
}

fn names_of(candidates: &[Candidate]) -> BTreeSet<Identifier> {
    let names = candidates
        .iter()
        .flat_map(|candidate| candidate.served.names());
    names.cloned().collect()
}

/// The best of `candidates` for each kind of key.
fn identity(mut candidates: Vec<&Candidate>) -> Option<Identity> {
    candidates.sort_by_key(|c| (c.rank, std::cmp::Reverse(c.not_after)));
    candidates.dedup_by_key(|c| c.rank);
    let served: Arc<[_]> = candidates.iter().map(|c| Arc::clone(&c.served)).collect();
    (!served.is_empty()).then_some(Identity(served))
}

/// One certificate of one source, ready to be served.
#[derive(Debug)]
struct Candidate {
    not_after: Timestamp,
    /// Place of its kind of key in [`KeyType::ALL`], which begins with the cheapest.
    rank: usize,
    served: Arc<Served>,
}

impl Candidate {
    fn load(bundle: &CertBundle, provider: &CryptoProvider) -> Result<Self, UnusableCertificate> {
        let chain = bundle.chain().iter().map(|c| c.der().clone()).collect();
        let leaf = bundle.leaf();
        let kind = bundle.key().kind();
        let key = CertifiedKey::from_der(chain, bundle.key().to_rustls(), provider).map_err(
            |source| UnusableCertificate {
                name: summary(leaf.names()),
                source,
            },
        )?;
        Ok(Self {
            not_after: leaf.not_after(),
            rank: KeyType::ALL
                .iter()
                .position(|k| *k == kind)
                .unwrap_or_default(),
            served: Arc::new(Served::certificate(key, leaf)),
        })
    }
}

/// A certificate that the TLS library does not take.
#[derive(Debug, thiserror::Error)]
#[error("the certificate for {name} cannot be served")]
pub struct UnusableCertificate {
    name: String,
    source: rustls::Error,
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::bundle::Certificate;
    use crate::key::PrivateKey;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn bundle(kind: KeyType, names: &[&str], not_after_year: i32) -> CertBundle {
        let key = PrivateKey::generate(kind).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(not_after_year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        let certificate = Certificate::from_der(certificate.der()).unwrap();
        CertBundle::new(key, vec![certificate]).unwrap()
    }

    fn p256(names: &[&str]) -> CertBundle {
        bundle(KeyType::P256, names, 2040)
    }

    fn leaf_of(served: &Served) -> Certificate {
        Certificate::from_der(&served.key().cert[0]).unwrap()
    }

    fn served(table: &CertificateTable, name: Option<&str>, local: IpAddr) -> Option<String> {
        let asked = Asked {
            server_name: name,
            local,
        };
        let identity = table.find(asked)?;
        let leaf = leaf_of(identity.choose(&[SignatureScheme::ECDSA_NISTP256_SHA256]));
        Some(leaf.display_name())
    }

    #[test]
    fn lookup_prefers_exact_names_and_a_wildcard_stands_for_one_label() {
        let table = CertificateTable::strict();
        table
            .replace_many([
                (SourceId::new("a"), &[p256(&["a.test"])][..]),
                (SourceId::new("w"), &[p256(&["*.test"])][..]),
                (SourceId::new("n"), &[p256(&["name.test", "10.0.0.1"])][..]),
            ])
            .unwrap();
        let other = IpAddr::from([10, 0, 0, 1]);
        for (name, local, expected) in [
            (Some("a.test"), LOCAL, Some("a.test")),
            (Some("A.Test"), LOCAL, Some("a.test")),
            (Some("b.test"), LOCAL, Some("*.test")),
            (Some("B.TEST"), LOCAL, Some("*.test")),
            (Some("name.test"), LOCAL, Some("name.test")),
            (None, other, Some("name.test")),
            // refused
            (None, LOCAL, None),
            (Some("test"), LOCAL, None),
            (Some(".test"), LOCAL, None),
            (Some("a.b.test"), LOCAL, None),
            (Some("*.a.test"), LOCAL, None),
            (Some(""), LOCAL, None),
            (Some("10.0.0.1"), LOCAL, None),
        ] {
            assert_eq!(served(&table, name, local).as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn the_default_answers_what_nothing_else_does() {
        let table = CertificateTable::with_default(SourceId::new("d"));
        assert_eq!(served(&table, Some("x.test"), LOCAL), None);
        table
            .replace(SourceId::new("d"), &[p256(&["d.test"])])
            .unwrap();
        table
            .replace(SourceId::new("e"), &[p256(&["e.test"])])
            .unwrap();
        for (name, expected) in [
            (Some("x.test"), "d.test"),
            (None, "d.test"),
            (Some("e.test"), "e.test"),
        ] {
            assert_eq!(served(&table, name, LOCAL).as_deref(), Some(expected));
        }
    }

    #[test]
    fn the_client_hello_chooses_between_kinds_of_key() {
        let table = CertificateTable::strict();
        let pair = [
            bundle(KeyType::Rsa2048, &["a.test"], 2040),
            bundle(KeyType::P256, &["a.test"], 2040),
        ];
        table.replace(SourceId::new("a"), &pair).unwrap();
        let asked = Asked {
            server_name: Some("a.test"),
            local: LOCAL,
        };
        let identity = table.find(asked).unwrap();
        let chosen = |schemes: &[SignatureScheme]| {
            leaf_of(identity.choose(schemes))
                .key_description()
                .to_owned()
        };
        let (ecdsa, rsa) = (
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::RSA_PSS_SHA256,
        );
        assert_eq!(chosen(&[rsa]), "RSA 2048");
        assert_eq!(chosen(&[ecdsa]), "P-256");
        assert_eq!(chosen(&[rsa, ecdsa]), "P-256");
        assert_eq!(chosen(&[]), "P-256");
    }

    #[test]
    fn of_two_certificates_for_a_name_the_later_expiring_is_served() {
        let table = CertificateTable::strict();
        let long = bundle(KeyType::P256, &["a.test"], 2050);
        let changes = [
            (SourceId::new("1"), std::slice::from_ref(&long)),
            (SourceId::new("2"), &[p256(&["a.test"])][..]),
        ];
        table.replace_many(changes).unwrap();
        let asked = Asked {
            server_name: Some("a.test"),
            local: LOCAL,
        };
        let identity = table.find(asked).unwrap();
        assert_eq!(leaf_of(identity.choose(&[])), *long.leaf());
    }

    #[test]
    fn replacing_a_source_removes_what_it_provided_before() {
        let table = CertificateTable::strict();
        let source = SourceId::new("s");
        table
            .replace(source.clone(), &[p256(&["old.test", "both.test"])])
            .unwrap();
        table
            .replace(source.clone(), &[p256(&["new.test", "both.test"])])
            .unwrap();
        assert_eq!(served(&table, Some("old.test"), LOCAL), None);
        assert_eq!(
            served(&table, Some("both.test"), LOCAL).as_deref(),
            Some("new.test")
        );
        table.replace(source, &[]).unwrap();
        assert_eq!(served(&table, Some("both.test"), LOCAL), None);
    }

    #[test]
    fn readers_see_a_whole_certificate_while_it_is_swapped() {
        let table = CertificateTable::strict();
        let pair = [p256(&["a.test"]), p256(&["a.test"])];
        let source = SourceId::new("s");
        table.replace(source.clone(), &pair[..1]).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    let mut lookups = 0_u32;
                    while !done.load(Ordering::Relaxed) || lookups == 0 {
                        let asked = Asked {
                            server_name: Some("a.test"),
                            local: LOCAL,
                        };
                        let identity = table.find(asked).unwrap();
                        identity.choose(&[]).key().keys_match().unwrap();
                        lookups += 1;
                    }
                });
            }
            for n in 0..500 {
                table.replace(source.clone(), &pair[n % 2..=n % 2]).unwrap();
            }
            done.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn changes_one_by_one_give_what_all_at_once_gives() {
        let names = ["a.test", "b.test", "*.a.test", "127.0.0.1"];
        let bundles: Vec<CertBundle> = (1..16_u8)
            .map(|set| {
                let chosen = (0..4).filter(|n| set >> n & 1 == 1).map(|n| names[n]);
                let kind = [KeyType::P256, KeyType::P384][usize::from(set % 2)];
                bundle(kind, &chosen.collect::<Vec<_>>(), 2030 + i32::from(set))
            })
            .collect();
        let source = |n: usize| SourceId::new(&n.to_string());
        let grown = CertificateTable::with_default(source(0));
        let mut provided: BTreeMap<usize, Vec<CertBundle>> = BTreeMap::new();
        // Every source is replaced many times, by one, two or no certificates.
        for step in 0..300_usize {
            let (who, count) = (step * 7 % 5, step * 11 % 3);
            let pick = |n: usize| bundles[(step * step + n * 5) % bundles.len()].clone();
            let now: Vec<CertBundle> = (0..count).map(pick).collect();
            grown.replace(source(who), &now).unwrap();
            provided.insert(who, now);
            let fresh = CertificateTable::with_default(source(0));
            let all = provided.iter().map(|(n, all)| (source(*n), all.as_slice()));
            fresh.replace_many(all).unwrap();
            for name in ["a.test", "b.test", "x.a.test", "c.test"] {
                let both = [&grown, &fresh].map(|table| served(table, Some(name), LOCAL));
                assert_eq!(both[0], both[1], "{name} after step {step}");
            }
            let both = [&grown, &fresh].map(|table| served(table, None, LOCAL));
            assert_eq!(both[0], both[1], "the address after step {step}");
        }
        for n in provided.into_keys() {
            grown.replace(source(n), &[]).unwrap();
        }
        assert!(grown.sources.lock().unwrap().by_name.is_empty());
    }
}

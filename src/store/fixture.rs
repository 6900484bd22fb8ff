//! Certificates for the tests of the store.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};

use super::Record;
use crate::bundle::{CertBundle, Certificate};
use crate::clock::{Clock, Duration, ManualClock, Timestamp};
use crate::identifier::{CertId, Identifier};
use crate::issuer::IssuerRef;
use crate::issuer::{Profile, Usage};
use crate::key::{KeyType, PrivateKey};

/// A directory in memory where there is one: what is tested does not depend on a
/// disk, and syncing takes no time.
pub(super) fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

pub(super) fn id(text: &str) -> CertId {
    text.parse().unwrap()
}

pub(super) fn record(name: &str) -> Record {
    Record {
        profile: Profile {
            names: vec![Identifier::parse(name).unwrap()],
            key_type: KeyType::P256,
            usage: Usage::Server,
            lifetime_seconds: None,
        },
        issuer: IssuerRef::Private,
        obtained: None,
        reuse_key: false,
        exports: Vec::new(),
        deploy_hook: None,
    }
}

pub(super) fn start() -> Timestamp {
    Timestamp::from_unix_timestamp(1_800_000_000).unwrap()
}

pub(super) fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(start()))
}

/// A leaf with an intermediate, valid for `days`.
pub(super) fn bundle_for(name: &str, days: i64) -> CertBundle {
    let authority = PrivateKey::generate(KeyType::P256).unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "test intermediate");
    let intermediate = params.self_signed(&authority).unwrap();
    let issuer = Issuer::new(params, &authority);
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_before = start();
    params.not_after = start() + Duration::days(days);
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let chain = [leaf, intermediate]
        .iter()
        .map(|certificate| Certificate::from_der(certificate.der()).unwrap())
        .collect();
    CertBundle::new(key, chain).unwrap()
}

pub(super) fn bundle(name: &str) -> CertBundle {
    bundle_for(name, 90)
}

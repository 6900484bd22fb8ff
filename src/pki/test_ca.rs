//! A CA in memory or in a temporary directory, for the tests of this layer.

use std::path::Path;
use std::sync::Arc;

use super::config::{CaConfig, CaName};
use super::init::{InitOutcome, InitRequest, init, make_intermediate, make_root};
use super::issue::PrivateCa;
use super::policy::Limits;
use super::sign::Rehearsal;
use crate::bundle::Certificate;
use crate::clock::{Duration, ManualClock, Timestamp};
use crate::identifier::{Identifier, NameConstraints};
use crate::issuer::{Profile, Usage};
use crate::key::{KeyType, PrivateKey};

/// When tests take place.
pub(super) fn now() -> Timestamp {
    Timestamp::from_unix_timestamp(1_800_000_000).unwrap()
}

/// Root and intermediate, without files.
pub(super) struct Hierarchy {
    pub(super) config: CaConfig,
    pub(super) root: Certificate,
    pub(super) root_key: PrivateKey,
    pub(super) intermediate: Certificate,
    pub(super) intermediate_key: PrivateKey,
}

impl Hierarchy {
    pub(super) fn new(permit: &[&str]) -> Self {
        let name = CaName::try_from("Test".to_owned()).unwrap();
        let mut config = CaConfig::new(name, None, None, now())
            .with_days(3650, 1095)
            .unwrap();
        config.permit = NameConstraints::new(permit.iter().map(|s| s.parse().unwrap()).collect());
        let rehearsal = Rehearsal::new().unwrap();
        let (root, root_key) = make_root(&config, "R1", now(), &rehearsal).unwrap();
        let (intermediate, intermediate_key) =
            make_intermediate(&config, "I1", &root, &root_key, now(), &rehearsal).unwrap();
        Self {
            config,
            root,
            root_key,
            intermediate,
            intermediate_key,
        }
    }

    pub(super) fn limits(&self) -> Limits<'_> {
        Limits {
            constraints: &self.config.permit,
            issuer: &self.intermediate,
            now: now(),
        }
    }
}

pub(super) fn request() -> InitRequest {
    InitRequest::new(CaName::try_from("Test".to_owned()).unwrap())
}

pub(super) fn make(home: &Path) -> InitOutcome {
    init(home, &request(), now()).unwrap()
}

/// The CA in `home` at `later` than when tests take place.
pub(super) fn open(home: &Path, later: Duration) -> PrivateCa {
    let clock = Arc::new(ManualClock::new(now() + later));
    PrivateCa::open(home, None, clock).unwrap()
}

pub(super) fn key() -> PrivateKey {
    PrivateKey::generate(KeyType::P256).unwrap()
}

pub(super) fn profile(names: &[&str]) -> Profile {
    let names = names.iter().map(|n| Identifier::parse(n).unwrap());
    Profile {
        names: names.collect(),
        key_type: KeyType::P256,
        usage: Usage::Server,
        lifetime_seconds: None,
    }
}

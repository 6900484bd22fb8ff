//! Certificates for names that clients ask for, made when the first one does.
//!
//! [`policy`] decides what becomes of a name, as a pure function; [`gate`] and [`caps`]
//! say who may have one before anything is done; the [`Desk`] answers clients and the
//! [`Worker`] performs, on a thread of its own. The server sees nothing of this but
//! [`crate::certificates::Demand`].

mod ask;
pub mod caps;
mod desk;
pub mod gate;
mod making;
pub mod policy;
mod provision;
mod tending;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc;

use crate::bundle::Certificate;
use crate::certificates::{CertificateTable, Certificates};
use crate::clock::{Clock, Duration, Timestamp};
use crate::event::Event;
use crate::identifier::CertId;
use crate::issuer::{IssuerRef, Profile, Usage};
use crate::key::KeyType;
use crate::renew::Issuers;
use crate::renew::hook::Hook;
use crate::store::{Store, StoreError};

#[cfg(feature = "acme")]
pub use ask::AskUrl;
use caps::{CapSettings, Caps};
pub use desk::Desk;
use desk::Parts;
use gate::Gate;
pub use worker::Worker;

/// What a client sees whose certificate is still being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnMiss {
    /// Another certificate, and 503.
    #[default]
    Placeholder,
    /// Nothing yet: its handshake waits, for as long as handshakes may take; then as
    /// with a placeholder.
    Wait,
    /// That there is no such site.
    Reject,
}

/// What is made, and how much of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Who issues.
    pub issuer: IssuerRef,
    /// Kind of key to make.
    pub key_type: KeyType,
    /// Wanted life in seconds; `None` leaves it to the issuer.
    pub lifetime_seconds: Option<u64>,
    /// What clients see meanwhile.
    pub on_miss: OnMiss,
    /// How much may be asked for.
    pub caps: CapSettings,
    /// A certificate that nobody was served with for so long is not renewed.
    pub forget_after: Duration,
    /// A program that may have a certificate already.
    pub provision_hook: Option<Hook>,
}

impl Settings {
    fn profile(&self, name: &crate::identifier::DnsName) -> Profile {
        Profile {
            names: vec![crate::identifier::Identifier::Dns(name.clone())],
            key_type: self.key_type,
            usage: Usage::Server,
            lifetime_seconds: self.lifetime_seconds,
        }
    }
}

/// Who is told what happens.
pub trait Observer: Send + Sync + fmt::Debug {
    /// Counts an event and writes it down.
    fn emit(&self, event: &Event);
    /// Counts a decision about a name; one of [`DECISIONS`].
    fn decided(&self, decision: &'static str);
    /// Shows a certificate that is served, and when it is looked at for renewal.
    fn serves(&self, id: &str, leaf: &Certificate, renewal: Option<Timestamp>);
    /// It is not served any more.
    fn withdrawn(&self, id: &str);
}

/// The labels of decisions: a name was asked for that is on its way, was fetched from the
/// store, or was refused.
pub const DECISIONS: [&str; 7] = [
    "coalesced",
    "loaded",
    policy::Refusal::OUTCOMES[0],
    policy::Refusal::OUTCOMES[1],
    policy::Refusal::OUTCOMES[2],
    policy::Refusal::OUTCOMES[3],
    policy::Refusal::OUTCOMES[4],
];

/// Who issues, for as long as something is being made.
pub trait Issuance: Send + Sync {
    /// The issuers of the moment. Those of certificates that are made at the same time
    /// are the same.
    fn issuers(&self) -> Arc<dyn Issuers>;
}

/// What serves and makes certificates on demand.
pub struct Means {
    /// Where certificates are kept.
    pub store: Arc<dyn Store>,
    /// Where they are served from.
    pub table: Arc<CertificateTable>,
    /// Who may have one.
    pub gate: Gate,
    /// What stands in for those that are still to come.
    pub stand_in: Arc<dyn Certificates>,
    /// Who issues.
    pub issuance: Arc<dyn Issuance>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told.
    pub observer: Arc<dyn Observer>,
}

/// Opens a desk, and puts a worker behind it. Reads which certificates the store has, and
/// none of them.
pub fn open(means: Means, settings: Settings) -> Result<(Arc<Desk>, Worker), StoreError> {
    let Means {
        store,
        table,
        gate,
        stand_in,
        issuance,
        clock,
        observer,
    } = means;
    let ids = store.ids()?.into_iter().filter(CertId::is_on_demand);
    let stored: HashSet<CertId> = ids.collect();
    let found = stored.iter().cloned().collect();
    let (sender, jobs) = mpsc::channel(settings.caps.queue);
    let desk = Arc::new(Desk::new(Parts {
        table,
        gate,
        on_miss: settings.on_miss,
        stand_in,
        clock,
        observer,
        jobs: sender,
        stored,
        caps: Caps::new(settings.caps),
    }));
    let worker = Worker::new(Arc::clone(&desk), jobs, store, issuance, settings, found);
    Ok((desk, worker))
}

//! dns-01: TXT records written through a provider, and the wait until they are public.
//!
//! Rules kept here: a record is in the journal before it is anywhere else, and leaves
//! it only once it is gone; CNAMEs are followed for the write; all records of an order
//! are added before the one wait; what is removed is exactly what was added; the wait
//! has a deadline, and its error shows what each name server said.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;

pub use credential::{CredentialError, DnsCredential, DnsCredentials, Sources};
pub use exec::Exec;
pub use manual::{Manual, Operator};
pub use rfc2136::{Rfc2136, ServerAddress, TsigAlgorithm, TsigKey, UpdateError};

use crate::challenge::{Challenge, ChallengeKind, Journal, Solver, SolverError, journal};
use crate::identifier::Identifier;
use crate::issuer::BoxFuture;
use crate::net::dns::{Dns, DnsError, DomainName, Target};

mod credential;
mod exec;
#[cfg(feature = "dns-providers")]
mod hosted;
mod manual;
mod propagation;
mod rfc2136;

/// One TXT record to write or remove.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TxtRecord {
    /// The apex of the zone that it belongs to.
    pub zone: DomainName,
    /// The owner name, after CNAMEs.
    pub name: DomainName,
    /// The text: base64url, as the CA will look for it.
    pub value: String,
}

/// Writes TXT records into zones.
///
/// Both calls return only when the provider has taken the change, and within a
/// deadline of their own. Calls are never made concurrently.
pub trait DnsProvider: Send + Sync + std::fmt::Debug {
    /// Adds the record and leaves others of the same name as they are.
    fn add<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>>;

    /// Removes this record and no other. A record that is not there is no error.
    fn remove<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>>;
}

/// When the CA may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// Once every authoritative server has the records, and an error after `deadline`.
    Checked {
        /// How long to wait for them.
        deadline: Duration,
    },
    /// After `wait`, unseen: where name servers cannot be asked from this machine.
    Unchecked {
        /// How long to wait.
        wait: Duration,
    },
}

impl Default for Propagation {
    fn default() -> Self {
        Self::Checked {
            deadline: Duration::from_secs(120),
        }
    }
}

/// How dns-01 is done.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// What the journal calls the credential, so that a later run finds the provider
    /// that can remove what this one left.
    pub credential: String,
    /// When the CA may look.
    pub propagation: Propagation,
}

/// Answers dns-01 challenges through one provider.
#[derive(Debug)]
pub struct Dns01 {
    dns: Dns,
    provider: Arc<dyn DnsProvider>,
    journal: Arc<Journal>,
    settings: Settings,
    /// What is presented, or is about to be, under what the challenge asked for.
    presented: Mutex<BTreeMap<Asked, TxtRecord>>,
    /// Held while the provider works: many of them read a zone, change it and write it
    /// back, and would lose one of two changes made at once.
    gate: tokio::sync::Mutex<()>,
}

/// A challenge's own name, before CNAMEs, and the value wanted there.
type Asked = (DomainName, String);

impl Dns01 {
    /// A solver that finds zones by `dns` and writes through `provider`.
    pub fn new(
        dns: Dns,
        provider: Arc<dyn DnsProvider>,
        journal: Arc<Journal>,
        settings: Settings,
    ) -> Self {
        Self {
            dns,
            provider,
            journal,
            settings,
            presented: Mutex::default(),
            gate: tokio::sync::Mutex::default(),
        }
    }

    async fn present_all(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        let asked = asked(challenges)?;
        let targets = self.targets(&asked).await?;
        let mut records = BTreeSet::new();
        for (name, value) in &asked {
            let target = targets.get(name).expect("each name asked was looked up");
            let record = TxtRecord {
                zone: target.zone.apex.clone(),
                name: target.name().clone(),
                value: value.clone(),
            };
            let mut presented = self.lock();
            presented.insert((name.clone(), value.clone()), record.clone());
            records.insert(record);
        }
        let entries: Vec<_> = records.iter().map(|record| self.entry(record)).collect();
        self.journal.append(&entries)?;
        self.add_all(&records, &targets).await?;
        match self.settings.propagation {
            Propagation::Unchecked { wait } => tokio::time::sleep(wait).await,
            Propagation::Checked { deadline } => {
                let zones: Vec<_> = targets.into_values().map(|target| target.zone).collect();
                propagation::wait(&self.dns, &zones, &records, deadline).await?;
            }
        }
        Ok(())
    }

    /// Where each name is written, all looked up at the same time.
    async fn targets(
        &self,
        asked: &BTreeSet<Asked>,
    ) -> Result<BTreeMap<DomainName, Target>, SolverError> {
        let names: BTreeSet<&DomainName> = asked.iter().map(|(name, _)| name).collect();
        let mut tasks = JoinSet::new();
        for name in names {
            let (dns, name) = (self.dns.clone(), name.clone());
            tasks.spawn(async move { dns.target_of(&name).await.map(|target| (name, target)) });
        }
        let mut targets = BTreeMap::new();
        while let Some(done) = tasks.join_next().await {
            let found = done.map_err(|e| SolverError::new("a look-up ended").caused_by(e))?;
            let (name, target) = found.map_err(lookup_failed)?;
            targets.insert(name, target);
        }
        Ok(targets)
    }

    async fn add_all(
        &self,
        records: &BTreeSet<TxtRecord>,
        targets: &BTreeMap<DomainName, Target>,
    ) -> Result<(), SolverError> {
        let _gate = self.gate.lock().await;
        let mut left = records.iter();
        while let Some(record) = left.next() {
            tracing::debug!("adding the TXT record `{}`", record.name);
            let Err(error) = self.provider.add(record).await else {
                continue;
            };
            // What was refused for good, or never asked for, need not be removed.
            let refused = error.permanent.then_some(record);
            self.forget(&left.chain(refused).collect())?;
            return Err(not_added(record, targets, error));
        }
        Ok(())
    }

    /// Strikes `records`, which do not exist.
    fn forget(&self, records: &BTreeSet<&TxtRecord>) -> Result<(), SolverError> {
        let entries: Vec<_> = records.iter().map(|record| self.entry(record)).collect();
        self.lock().retain(|_, record| !records.contains(&*record));
        Ok(self.journal.remove(&entries)?)
    }

    async fn remove_all(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        let _gate = self.gate.lock().await;
        let mut outcome = Ok(());
        for key in asked(challenges).unwrap_or_default() {
            let Some(record) = self.lock().get(&key).cloned() else {
                continue;
            };
            match self.remove(&record).await {
                Ok(()) => {
                    self.journal.remove(&[self.entry(&record)])?;
                    self.lock().remove(&key);
                }
                // The others are removed all the same; this one stays in the journal.
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    async fn sweep_all(&self) -> Result<(), SolverError> {
        let _gate = self.gate.lock().await;
        let mut outcome = Ok(());
        for pending in self.journal.pending()? {
            let Some(record) = self.left_behind(&pending.entry) else {
                continue;
            };
            tracing::info!(
                "removing the TXT record `{}` of an earlier run",
                record.name
            );
            match self.remove(&record).await {
                Ok(()) => self.journal.done(&pending)?,
                Err(error) => outcome = outcome.and(Err(error)),
            }
        }
        outcome
    }

    async fn remove(&self, record: &TxtRecord) -> Result<(), SolverError> {
        self.provider
            .remove(record)
            .await
            .map_err(|error| SolverError {
                hint: error.hint.clone(),
                permanent: error.permanent,
                ..SolverError::new(format!(
                    "could not remove the TXT record `{}` with the text `{}`",
                    record.name, record.value
                ))
                .caused_by(error)
            })
    }

    fn entry(&self, record: &TxtRecord) -> journal::Entry {
        journal::Entry::Dns {
            credential: self.settings.credential.clone(),
            zone: record.zone.to_string(),
            name: record.name.to_string(),
            value: record.value.clone(),
        }
    }

    /// The record of a journal entry that this solver's credential can remove.
    fn left_behind(&self, entry: &journal::Entry) -> Option<TxtRecord> {
        match entry {
            journal::Entry::Dns {
                credential,
                zone,
                name,
                value,
            } if *credential == self.settings.credential => Some(TxtRecord {
                zone: DomainName::parse(zone).ok()?,
                name: DomainName::parse(name).ok()?,
                value: value.clone(),
            }),
            _ => None,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Asked, TxtRecord>> {
        self.presented
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Solver for Dns01 {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Dns01
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.present_all(challenges))
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.remove_all(challenges))
    }

    fn sweep<'a>(&'a self) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.sweep_all())
    }
}

fn not_added(
    record: &TxtRecord,
    targets: &BTreeMap<DomainName, Target>,
    error: SolverError,
) -> SolverError {
    let reached = targets
        .values()
        .find(|t| t.path.len() > 1 && *t.name() == record.name);
    let by = reached.map_or_else(String::new, |target| {
        format!(" (a CNAME leads there from `{}`)", target.path[0])
    });
    SolverError {
        hint: error.hint.clone(),
        permanent: error.permanent,
        ..SolverError::new(format!(
            "could not add the TXT record `{}`{by}",
            record.name
        ))
    }
    .caused_by(error)
}

/// What the challenges ask for. A name and its wildcard ask for two values at one name.
fn asked(challenges: &[Challenge]) -> Result<BTreeSet<Asked>, SolverError> {
    challenges
        .iter()
        .map(|challenge| {
            let Identifier::Dns(host) = &challenge.identifier else {
                let message = format!("dns-01 cannot prove `{}`", challenge.identifier);
                return Err(SolverError::new(message)
                    .hint("only host names have DNS records: use http-01 or tls-alpn-01")
                    .permanent());
            };
            let name = DomainName::below(LABEL, host).map_err(lookup_failed)?;
            Ok((name, challenge.key_authorization.dns_value()))
        })
        .collect()
}

fn lookup_failed(error: DnsError) -> SolverError {
    let permanent = matches!(
        error,
        DnsError::BadName(_) | DnsError::Loop { .. } | DnsError::TooManyHops { .. }
    );
    SolverError {
        permanent,
        ..SolverError::new("could not find where the TXT record belongs")
            .hint(error.hint())
            .caused_by(error)
    }
}

/// The label of RFC 8555 §8.4.
const LABEL: &str = "_acme-challenge";

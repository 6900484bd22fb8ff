//! One certificate: planned from what was typed and what is there, looked at again
//! under its lock, then obtained, kept, or only set anew.
//!
//! Rules kept here: a CA is not asked for what we have; what was in use is untouched
//! until the new one is whole; copies and hooks follow, also when a crash comes between.

use crate::bundle::Certificate;
use crate::cli::commands::acme::desk::Desk;
use crate::cli::report::CliError;
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::identifier::{CertId, Identifier};
use crate::issuer::{AcmeRef, Issued, Issuer, IssuerRef, Predecessor, Wanted};
use crate::key::PrivateKey;
use crate::renew::hook::{self, Hook};
use crate::renew::policy::{self, Life, Situation, Step};
use crate::renew::{self, Issuers as _, Renewal, Superseded, Then};
use crate::store::{Attempts, Lock, Record, Store, StoreError, Stored, export};

/// What is to be there in the end.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) id: CertId,
    pub(super) record: Record,
    /// Also when the certificate that is there would do.
    pub(super) force: bool,
}

/// What became of an order.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) stored: Stored,
    pub(super) what: What,
    /// What went wrong afterwards; the certificate itself is in place.
    pub(super) trouble: Vec<CliError>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// A certificate was obtained.
    Issued,
    /// The one that is there is still good.
    Kept,
    /// The one that is there is still good; copies, hook or account are set anew.
    Set,
}

impl What {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Kept => "kept",
            Self::Set => "set",
        }
    }
}

/// The certificate that is there, if any can be used. One that is damaged is replaced.
pub(super) fn existing(store: &dyn Store, id: &CertId) -> Result<Option<Stored>, CliError> {
    match store.load(id) {
        Err(StoreError::NothingUsable { .. }) => Ok(None),
        other => Ok(other?),
    }
}

impl Order {
    /// Refuses an id of another issuer.
    pub(super) fn check_owner(&self, old: Option<&Stored>) -> Result<(), CliError> {
        match old.map(|old| &old.record.issuer) {
            Some(owner) if !owner.is_same_as(&self.record.issuer) => Err(StoreError::OtherIssuer {
                id: self.id.clone(),
                owner: owner.clone(),
            }
            .into()),
            _ => Ok(()),
        }
    }

    /// How the CA is asked.
    pub(super) fn reference(&self) -> &AcmeRef {
        match &self.record.issuer {
            IssuerRef::Acme(acme) => acme,
            IssuerRef::Private => unreachable!("an order is made with a public CA"),
        }
    }

    /// Whether `old` will do, and if so, whether its settings will.
    fn is_met_by(&self, old: &Stored, seen: &Seen, now: Timestamp) -> Option<What> {
        let leaf = old.bundle.leaf();
        let situation = Situation {
            life: Life::of(leaf),
            plan: seen.attempts.plan_for(&leaf.serial_hex()),
            attempts: &seen.attempts,
            superseded: seen.superseded.as_ref().map(|s| (s.why.clone(), s.then)),
            damaged: !old.damage.is_empty(),
            force: self.force,
            next_run: None,
        };
        let good = matches!(policy::next_step(situation, now), Step::Wait { .. });
        if !good || !same_certificate(&old.record, &self.record) {
            return None;
        }
        let same = Record {
            obtained: None,
            ..old.record.clone()
        };
        Some(if same == self.record {
            What::Kept
        } else {
            What::Set
        })
    }
}

/// What is known of a certificate beside itself.
struct Seen {
    attempts: Attempts,
    superseded: Option<Superseded>,
}

/// Whether both ask for the same certificate in the same way, whatever is done with it
/// and whomever the account belongs to.
fn same_certificate(old: &Record, new: &Record) -> bool {
    let (IssuerRef::Acme(one), IssuerRef::Acme(other)) = (&old.issuer, &new.issuer) else {
        return false;
    };
    let bare = |acme: &AcmeRef| AcmeRef {
        contact: Vec::new(),
        eab: None,
        ..acme.clone()
    };
    let sorted = |record: &Record| {
        let mut names = record.profile.names.clone();
        names.sort();
        names
    };
    sorted(old) == sorted(new)
        && old.profile.key_type == new.profile.key_type
        && bare(one) == bare(other)
}

impl Desk {
    /// Whether the certificate that is there will do: looked at without a lock, before
    /// anybody is asked.
    pub(super) fn met(&self, order: &Order, old: Option<&Stored>) -> Option<What> {
        let old = old?;
        order.is_met_by(old, &self.seen(old).ok()?, self.now())
    }

    fn seen(&self, old: &Stored) -> Result<Seen, CliError> {
        let leaf = old.bundle.leaf();
        Ok(Seen {
            attempts: self.store.attempts(&old.id)?,
            superseded: self.issuers.superseded(&old.record.issuer, leaf),
        })
    }

    /// Makes `order` come true, asking `issuer` when it must.
    pub(super) async fn fulfil(
        &self,
        order: &Order,
        issuer: &dyn Issuer,
    ) -> Result<Done, CliError> {
        let id = &order.id;
        let _lock = self.lock(id).await?;
        for healed in self.store.recover(id)? {
            tracing::info!(%id, "{healed}");
        }
        let old = existing(&self.store, id)?;
        order.check_owner(old.as_ref())?;
        let mut compromised = false;
        if let Some(old) = &old {
            let seen = self.seen(old)?;
            if let Some(what) = order.is_met_by(old, &seen, self.now()) {
                return self.set_anew(order, old, what).await;
            }
            compromised = seen.superseded.is_some_and(|s| s.then == Then::ReplaceKey);
        }
        let Some(_ports) = self.store.lock_serving(id)? else {
            return Err(CliError::failed(anyhow::anyhow!(
                "`{id}` is kept fresh by a running server"
            ))
            .hint("stop it first, or change the settings that it was started with".to_owned()));
        };
        let key = self
            .key(order, old.as_ref().filter(|_| !compromised))
            .await?;
        let replaces = old.as_ref().and_then(|old| predecessor(order, old));
        let wanted = Wanted {
            id,
            profile: &order.record.profile,
            replaces,
        };
        let Issued { bundle, obtained } = issuer.issue(wanted, key).await?;
        self.begin(id, bundle.leaf())?;
        let record = Record {
            obtained,
            ..order.record.clone()
        };
        let stored = self.store.commit(id, &bundle, &record)?;
        self.deploy(stored, What::Issued).await
    }

    /// The certificate stays; what is done with it may not.
    async fn set_anew(&self, order: &Order, old: &Stored, what: What) -> Result<Done, CliError> {
        let exports = &order.record.exports;
        let stale = exports
            .iter()
            .any(|export| !export::is_current(&old.bundle, export));
        if what == What::Kept && !stale {
            return Ok(Done {
                stored: old.clone(),
                what,
                trouble: Vec::new(),
            });
        }
        let record = Record {
            obtained: old.record.obtained.clone(),
            ..order.record.clone()
        };
        self.begin(&order.id, old.bundle.leaf())?;
        let stored = self.store.commit(&order.id, &old.bundle, &record)?;
        self.deploy(stored, What::Set).await
    }

    /// Waits for the lock of `id` where no signal and no other order is kept waiting.
    async fn lock(&self, id: &CertId) -> Result<Lock, CliError> {
        if let Some(lock) = self.store.try_lock_cert(id)? {
            return Ok(lock);
        }
        tracing::info!(%id, "another certmint is at work on it; waiting");
        let (store, id) = (self.store.clone(), id.clone());
        let waiting = tokio::task::spawn_blocking(move || store.lock_cert(&id));
        Ok(waiting.await.map_err(CliError::failed)??)
    }

    /// A new key, or the one that is to be kept.
    async fn key(&self, order: &Order, old: Option<&Stored>) -> Result<PrivateKey, CliError> {
        let kind = order.record.profile.key_type;
        let kept = old
            .map(|old| old.bundle.key())
            .filter(|key| order.record.reuse_key && key.kind() == kind);
        let made = match kept {
            Some(key) => PrivateKey::from_pem(key.to_pem().as_bytes(), None),
            // An RSA key takes a second.
            None => tokio::task::spawn_blocking(move || PrivateKey::generate(kind))
                .await
                .map_err(CliError::failed)?,
        };
        made.map_err(CliError::failed)
    }

    /// Notes that copies and hooks are to follow, so that `renew` makes up for them
    /// when this run is killed.
    fn begin(&self, id: &CertId, leaf: &Certificate) -> Result<(), CliError> {
        let begun = Attempts {
            deploying: Some(leaf.serial_hex()),
            ..self.store.attempts(id)?
        };
        Ok(self.store.set_attempts(id, &begun)?)
    }

    async fn deploy(&self, stored: Stored, what: What) -> Result<Done, CliError> {
        let unwritten = renew::export_all(&stored).into_iter();
        let mut trouble: Vec<CliError> = unwritten.map(CliError::from).collect();
        if let Some(line) = &stored.record.deploy_hook {
            let ran = match Hook::parse(line) {
                Ok(hook) => {
                    let told = hook::Context::of(&stored);
                    hook.run(&told, Renewal::HOOK_DEADLINE).await
                }
                Err(problem) => Err(problem),
            };
            trouble.extend(ran.err().map(CliError::failed));
        }
        if let Err(unwritten) = renew::forget_attempts(&self.store, &stored.id) {
            let error = causes(&unwritten);
            tracing::warn!(id = %stored.id, error, "copies and hooks will be done again");
        }
        Ok(Done {
            stored,
            what,
            trouble,
        })
    }
}

/// What the CA is told about, when a name stays.
fn predecessor<'a>(order: &Order, old: &'a Stored) -> Option<Predecessor<'a>> {
    let leaf = old.bundle.leaf();
    let stays = |name: &Identifier| leaf.names().contains(name);
    let shared = order.record.profile.names.iter().any(stays);
    let obtained = old.record.obtained.as_ref().filter(|_| shared)?;
    Some(Predecessor { leaf, obtained })
}

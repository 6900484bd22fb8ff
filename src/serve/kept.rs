//! One certificate of a store under a server: served, swapped, renewed when due, and
//! taken over when another process was quicker.
//!
//! Who issues it, and where the first one comes from, is the business of `private` and
//! `public`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::ServeError;
use super::keeper::{ExpiryNotice, pause_until};
use crate::bundle::Certificate;
use crate::certificates::{CertificateTable, SourceId};
use crate::clock::{Clock, Timestamp, rfc3339};
use crate::event::{Asker, Event, Facts, Moment};
use crate::finding::words::causes;
use crate::identifier::CertId;
use crate::renew::issuers::HomeIssuers;
use crate::renew::{Done, Failure, Outcome, Renewal, Request, Trouble, issued};
use crate::server::Telemetry;
use crate::server::watch::watch_paths;
use crate::store::file::FileStore;
use crate::store::{Store, Stored};

/// How often it is said that a certificate is not renewed any more.
const REMIND: Duration = Duration::from_secs(3600);

/// How long after a failed renewal the next one is tried, when the failure does not say.
const RETRY: Duration = Duration::from_secs(600);

/// A certificate that is served, and where it is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) table: Arc<CertificateTable>,
    pub(super) serving: Certificate,
    store: FileStore,
    id: CertId,
    /// It is not quite what was asked for: since when it may be replaced, due or not.
    replaceable: Option<Timestamp>,
    /// Who issues it, as events name them.
    source: String,
    telemetry: Telemetry,
}

impl Kept {
    /// Serves with `stored` of `store` through `table`.
    pub(super) fn new(
        table: Arc<CertificateTable>,
        store: FileStore,
        stored: &Stored,
        telemetry: &Telemetry,
    ) -> Result<Self, ServeError> {
        let mut kept = Self {
            table,
            serving: stored.bundle.leaf().clone(),
            store,
            id: stored.id.clone(),
            replaceable: None,
            source: stored.record.issuer.source(),
            telemetry: telemetry.clone(),
        };
        kept.swap(stored)?;
        kept.telemetry.serves(kept.id.as_str(), &kept.serving, None);
        Ok(kept)
    }

    /// Has it replaced as soon as the issuer does so; until then it is served.
    #[cfg(feature = "acme")]
    pub(super) fn replace_from(&mut self, moment: Timestamp) {
        self.replaceable = Some(moment);
    }

    /// Serves with `stored` from the next connection on.
    fn swap(&mut self, stored: &Stored) -> Result<(), ServeError> {
        let source = SourceId::new(self.id.as_str());
        self.table
            .replace(source, std::slice::from_ref(&stored.bundle))?;
        let leaf = stored.bundle.leaf();
        if *leaf != self.serving {
            tracing::info!(
                id = %self.id,
                serial = leaf.serial_hex(),
                not_after = rfc3339(leaf.not_after()),
                "certificate replaced"
            );
            self.serving = leaf.clone();
            self.telemetry.serves(self.id.as_str(), leaf, None);
            let facts = Facts::new(self.id.as_str(), leaf);
            self.telemetry.emit(&Event::CertificateSwapped(facts));
        }
        Ok(())
    }

    /// Keeps it fresh until dropped. `issuers` is asked for those of the moment at each
    /// look; a change to one of `others` is a reason to look at once.
    pub(super) async fn keep(
        mut self,
        issuers: impl Fn() -> HomeIssuers,
        others: impl IntoIterator<Item = PathBuf>,
        clock: Arc<dyn Clock>,
    ) {
        let own = self.store.current_dir(&self.id);
        let mut changes = watch_paths(others.into_iter().chain([own]).collect());
        // What changed between loading and watching is told by nobody.
        self.reload();
        let mut expiry = ExpiryNotice::new(self.id.as_str(), &self.telemetry);
        loop {
            let serving = self.serving.clone();
            let renewing = self.renew(issuers(), &*clock);
            let pause = expiry.meanwhile(&serving, &*clock, renewing).await;
            let changed = tokio::time::timeout(pause, changes.changed());
            let changed = expiry.meanwhile(&self.serving, &*clock, changed);
            if changed.await.is_ok() {
                self.reload();
            }
        }
    }

    /// Renews if it is time, and says when to look again.
    async fn renew(&mut self, issuers: HomeIssuers, clock: &dyn Clock) -> Duration {
        let renewal = Renewal {
            store: &self.store.clone(),
            issuers: &issuers,
            clock,
        };
        let request = Request {
            force: self.replaceable.is_some_and(|from| from <= clock.now()),
            ..Request::default()
        };
        let outcome = renewal.one(self.id.clone(), &request).await;
        for damage in &outcome.damage {
            tracing::warn!(id = %self.id, damage, "an older generation stands in");
        }
        self.take(outcome, clock.now())
    }

    /// Serves with what a look brought, and says when to look again.
    fn take(&mut self, outcome: Outcome, now: Timestamp) -> Duration {
        let next = outcome.next_wake(now);
        match outcome.result {
            Done::Renewed {
                stored, trouble, ..
            } => {
                tell_trouble(&self.id, &trouble);
                self.replaceable = None;
                self.source = stored.record.issuer.source();
                self.telemetry.emit(&issued(&stored, true));
                if let Err(error) = self.swap(&stored) {
                    tracing::error!(id = %self.id, %error, "the renewed certificate cannot be served");
                }
            }
            Done::Redeployed { trouble, .. } => tell_trouble(&self.id, &trouble),
            Done::Failed { error, retry_at } => {
                self.tell_failure(&error, retry_at);
                self.replaceable = self.replaceable.map(|_| retry_at.unwrap_or(now + RETRY));
                return retry_at.map_or(RETRY, |retry| pause_until(retry, now));
            }
            Done::Withdrawn { why } => {
                tracing::warn!(id = %self.id, why, "the certificate is not renewed any more");
                return REMIND;
            }
            Done::NotDue { .. } | Done::PutOff { .. } | Done::Kept | Done::WouldRenew(_) => {}
        }
        let next = next.min(self.replaceable.unwrap_or(next));
        self.telemetry
            .serves(self.id.as_str(), &self.serving, Some(next));
        pause_until(next, now)
    }

    fn tell_failure(&self, error: &Failure, retry_at: Option<Timestamp>) {
        let (hint, error) = (error.hint(), causes(error));
        self.telemetry.emit(&Event::CertificateFailed {
            id: self.id.to_string(),
            domain: self.serving.display_name(),
            source: self.source.clone(),
            is_renewal: true,
            error: error.clone(),
            retry_at: retry_at.map(Moment),
            asker: Asker::default(),
        });
        tracing::warn!(id = %self.id, error, hint, "renewal failed; serving on");
    }

    /// Takes over what another process has made current.
    fn reload(&mut self) {
        match self.store.load(&self.id) {
            Ok(Some(stored)) => {
                if let Err(error) = self.swap(&stored) {
                    tracing::warn!(id = %self.id, %error, "the new generation cannot be served; serving on");
                }
            }
            Ok(None) => tracing::warn!(id = %self.id, "its files are gone; serving on"),
            Err(error) => tracing::warn!(id = %self.id, %error, "serving on"),
        }
    }
}

fn tell_trouble(id: &CertId, trouble: &[Trouble]) {
    for trouble in trouble {
        let error = causes(trouble);
        tracing::warn!(%id, error, "not everything that uses the certificate has the current one");
    }
}

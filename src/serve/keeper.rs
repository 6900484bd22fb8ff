//! The thread that keeps certificates fresh while a server runs.
//!
//! Issuing and storing block on the disk; here they delay no connection, and all
//! writes of a process come from one thread.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use crate::bundle::Certificate;
use crate::clock::{self, Clock, Timestamp, rfc3339};
use crate::event::{Event, Facts};
use crate::identifier::summary;
use crate::server::Telemetry;

/// A running keeper.
pub(super) struct Keeper {
    ended: oneshot::Receiver<()>,
}

impl Keeper {
    /// How long a keeper may finish what it was doing at shutdown: a write, or taking
    /// back what it presented to a CA. A write cut short after that leaves the old
    /// generation in place, and the next run takes back the rest.
    const LAST_WORK: Duration = Duration::from_secs(20);

    /// Runs `work` on a thread of its own; it ends itself once the token it is given
    /// is cancelled.
    pub(super) fn start<F: Future<Output = ()>>(
        stop: CancellationToken,
        work: impl FnOnce(CancellationToken) -> F + Send + 'static,
    ) -> Result<Self, ServeError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(ServeError::Runtime)?;
        let (done, ended) = oneshot::channel();
        std::thread::Builder::new()
            .name("certmint-keeper".to_owned())
            .spawn(move || {
                runtime.block_on(work(stop));
                // Nobody waits any more when the server is gone already.
                let _ = done.send(());
            })
            .map_err(ServeError::Runtime)?;
        Ok(Self { ended })
    }

    /// Waits for the end, but not for ever, and no longer than until `forced`.
    pub(super) async fn ended(self, forced: &CancellationToken) {
        let ended = forced.run_until_cancelled(self.ended);
        if !matches!(
            tokio::time::timeout(Self::LAST_WORK, ended).await,
            Ok(Some(_))
        ) {
            tracing::warn!("stopped while a renewal was still at work");
        }
    }
}

/// Says that the certificate served is not valid: at once, then hourly, for as long
/// as it is so. Serving goes on, since a client may know better; silence would not.
///
/// An event comes as often, and already when only a twentieth of its life is left.
#[derive(Debug, Default)]
pub(super) struct ExpiryNotice {
    told: Option<Timestamp>,
    warned: Option<Timestamp>,
    id: String,
    telemetry: Telemetry,
}

impl ExpiryNotice {
    const EVERY: clock::Duration = clock::Duration::hours(1);

    /// How much of its life is left when its end is an event: one part of so many.
    const LAST_PART: i32 = 20;

    /// For what is served under `id`.
    pub(super) fn new(id: &str, telemetry: &Telemetry) -> Self {
        Self {
            id: id.to_owned(),
            telemetry: telemetry.clone(),
            ..Self::default()
        }
    }

    /// To be called often; says something when it is time to.
    pub(super) fn tell(&mut self, serving: &Certificate, now: Timestamp) {
        let life = serving.not_after() - serving.not_before();
        if (serving.not_after() - now) * Self::LAST_PART > life {
            self.warned = None;
        } else if is_time(self.warned, now) {
            self.warned = Some(now);
            let facts = Facts::new(&self.id, serving);
            self.telemetry.emit(&Event::CertificateExpiring(facts));
        }
        if serving.is_valid_at(now) {
            self.told = None;
        } else if is_time(self.told, now) {
            self.told = Some(now);
            let names = summary(serving.names());
            if now < serving.not_before() {
                let not_before = rfc3339(serving.not_before());
                tracing::error!(names, not_before, "the certificate served is not valid yet");
            } else {
                let not_after = rfc3339(serving.not_after());
                tracing::error!(names, not_after, "the certificate served has expired");
            }
        }
    }

    /// Waits for `work`, and tells meanwhile. The wall clock may jump, so it is looked
    /// at every minute, whatever the certificate says.
    pub(super) async fn meanwhile<T>(
        &mut self,
        serving: &Certificate,
        clock: &dyn Clock,
        work: impl Future<Output = T>,
    ) -> T {
        let mut work = pin!(work);
        loop {
            let now = clock.now();
            self.tell(serving, now);
            let expiry = serving.not_after() + clock::Duration::SECOND;
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = tokio::time::sleep(pause_until(expiry, now)) => {}
            }
        }
    }
}

/// A clock that jumped back does not silence the notice.
fn is_time(told: Option<Timestamp>, now: Timestamp) -> bool {
    told.is_none_or(|told| now < told || now >= told + ExpiryNotice::EVERY)
}

/// How often the wall clock is looked at: it may jump, so no timer is set for a later
/// moment itself.
const LOOK: Duration = Duration::from_secs(60);

/// Shortest pause, so that nothing that goes wrong at once is done without end.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long to sleep before looking whether `moment` has come.
pub(super) fn pause_until(moment: Timestamp, now: Timestamp) -> Duration {
    let left = Duration::try_from(moment - now).unwrap_or_default();
    if left.is_zero() {
        LOOK
    } else {
        left.clamp(SHORTEST, LOOK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Duration;
    use crate::key::{KeyType, PrivateKey};

    #[test]
    fn an_expired_certificate_is_told_of_at_once_and_hourly_until_it_is_replaced() {
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 2, 1);
        let leaf = Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap();
        let mut notice = ExpiryNotice::default();
        let mut told_at = |minutes: i64| {
            let now = leaf.not_after() + Duration::minutes(minutes);
            notice.tell(&leaf, now);
            notice.told == Some(now)
        };
        for (minutes, told) in [
            (-1, false),
            (1, true),
            (2, false),
            (60, false),
            (61, true),
            (62, false),
            // The clock jumps back.
            (5, true),
            (6, false),
        ] {
            assert_eq!(told_at(minutes), told, "{minutes}");
        }
    }
}

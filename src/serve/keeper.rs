//! The thread that keeps certificates fresh while a server runs.
//!
//! Issuing and storing block on the disk; here they delay no connection, and all
//! writes of a process come from one thread.

use std::future::Future;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::ServeError;
use crate::bundle::Certificate;
use crate::clock::{self, Timestamp, rfc3339};
use crate::identifier::summary;

/// A running keeper.
pub(super) struct Keeper {
    ended: oneshot::Receiver<()>,
}

impl Keeper {
    /// How long a keeper may finish what it was doing at shutdown. A write cut
    /// short after that leaves the old generation in place.
    const LAST_WORK: Duration = Duration::from_secs(5);

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

    /// Waits for the end, but not for ever.
    pub(super) async fn ended(self) {
        if tokio::time::timeout(Self::LAST_WORK, self.ended)
            .await
            .is_err()
        {
            tracing::warn!("stopped while a renewal was still at work");
        }
    }
}

/// Says that the certificate served is not valid: at once, then hourly, for as long
/// as it is so. Serving goes on, since a client may know better; silence would not.
#[derive(Debug, Default)]
pub(super) struct ExpiryNotice {
    told: Option<Timestamp>,
}

impl ExpiryNotice {
    const EVERY: clock::Duration = clock::Duration::hours(1);

    /// To be called often; says something when it is time to.
    pub(super) fn tell(&mut self, serving: &Certificate, now: Timestamp) {
        if serving.is_valid_at(now) {
            self.told = None;
        } else if self.is_time(now) {
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

    /// A clock that jumped back does not silence the notice.
    fn is_time(&self, now: Timestamp) -> bool {
        self.told
            .is_none_or(|told| now < told || now >= told + Self::EVERY)
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

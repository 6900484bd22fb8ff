//! How often a session asks, and how long it waits between.
//!
//! Rules kept here: what passes by itself is survived, for as long as the session's
//! limits allow; what is asked again is signed again; how long to wait is the CA's
//! wish where it has one.

use std::time::Duration;

use tokio::time::Instant;

use super::error::AcmeError;
use super::http::{Limits, Session, from_now};
use crate::clock::Timestamp;
use crate::finding::words::causes;
use crate::net::http::HttpError;

impl Session {
    /// Attempts at one request, which a loop makes until it is answered.
    pub(crate) fn attempts(&self, action: &'static str) -> Attempts<'_> {
        Attempts {
            session: self,
            action,
            patience: Patience::default(),
            refused: 0,
        }
    }

    /// After a failure: waits for as long as is fitting, or gives the error back.
    pub(crate) async fn bear(
        &self,
        patience: &mut Patience,
        action: &'static str,
        error: AcmeError,
    ) -> Result<(), AcmeError> {
        if error.is_bad_nonce() || !error.is_transient() {
            return Err(error);
        }
        // What already took its full time, or was readable and senseless, is less
        // likely to be better the next time.
        patience.failures += match &error {
            AcmeError::Unanswered {
                source: HttpError::TimedOut { .. },
                ..
            } => 3,
            AcmeError::Malformed { .. } | AcmeError::BadChain(_) => 2,
            _ => 1,
        };
        if patience.failures > self.limits().failures {
            return Err(error);
        }
        let delay = match error.retry_after() {
            Some(moment) => from_now(moment, self.now()),
            None => patience.after_failure(self.limits()),
        };
        if delay > self.limits().wait || Instant::now() + delay >= self.deadline() {
            return Err(error);
        }
        tracing::warn!(action, wait = ?delay, error = %causes(&error), "trying again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Waits before the next look at something unfinished: as long as the CA wishes,
    /// else as `patience` has it.
    pub(crate) async fn pause(
        &self,
        patience: &mut Patience,
        action: &'static str,
        wish: Option<Timestamp>,
    ) -> Result<(), AcmeError> {
        let own = patience.next_delay(self.limits());
        let wish = wish.map(|moment| from_now(moment, self.now()));
        let delay = wish.map_or(own, |wish| wish.min(self.limits().wait));
        if Instant::now() + delay >= self.deadline() {
            return Err(self.late(action));
        }
        tokio::time::sleep(delay).await;
        Ok(())
    }
}

/// Attempts at one request.
///
/// What decides between two of them, and not what makes them: a closure for that would
/// have to lend an order to a future, and no such future is known to be `Send`.
#[derive(Debug)]
pub(crate) struct Attempts<'a> {
    session: &'a Session,
    action: &'static str,
    patience: Patience,
    /// Nonces in a row.
    refused: u32,
}

impl Attempts<'_> {
    /// What came of an attempt; `None` when it is to be made again, which is after the
    /// fitting wait. Only for what may be done twice.
    pub(crate) async fn settle<T>(
        &mut self,
        made: Result<T, AcmeError>,
    ) -> Result<Option<T>, AcmeError> {
        let error = match self.once(made) {
            Err(error) => error,
            settled => return settled,
        };
        self.refused = 0;
        let patience = &mut self.patience;
        self.session.bear(patience, self.action, error).await?;
        Ok(None)
    }

    /// [`Attempts::settle`] for what may have been done once it was sent: only a
    /// refused nonce, which changed nothing, makes it be made again.
    pub(crate) fn once<T>(&mut self, made: Result<T, AcmeError>) -> Result<Option<T>, AcmeError> {
        match made {
            Err(error) if error.is_bad_nonce() && self.refused < self.session.limits().nonces => {
                self.refused += 1;
                Ok(None)
            }
            other => other.map(Some),
        }
    }
}

/// How often something failed already, and how long to wait the next time.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    delay: Option<Duration>,
}

impl Patience {
    /// Half as long again as the last time.
    fn next_delay(&mut self, limits: &Limits) -> Duration {
        let delay = match self.delay {
            None => limits.first_delay,
            Some(last) => last + last / 2,
        };
        let delay = delay.min(limits.last_delay);
        self.delay = Some(delay);
        delay
    }

    /// Whoever is in trouble is not looked at as often as who is at work.
    fn after_failure(&self, limits: &Limits) -> Duration {
        const CALMER: u32 = 5;
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let delay = limits.first_delay.saturating_mul(CALMER);
        delay.saturating_mul(doubled).min(limits.last_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_half_and_end_at_the_cap() {
        let limits = Limits::default();
        let mut patience = Patience::default();
        let waits: Vec<_> = (0..20).map(|_| patience.next_delay(&limits)).collect();
        assert_eq!(waits[0], Duration::from_millis(50));
        assert_eq!(waits[1], Duration::from_millis(75));
        assert_eq!(waits[19], limits.last_delay);
        assert!(waits.is_sorted());
    }
}

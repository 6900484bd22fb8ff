//! What a directory does that nobody asks for: it looks once more at challenges that a
//! stop interrupted, forgets what is over, and signs CRLs before they go stale.

use std::sync::Arc;
use std::time::Duration as Wait;

use tokio_util::sync::CancellationToken;

use super::super::Asker;
use super::Service;
use super::challenges::Admitted;
use super::route::Urls;
use crate::clock::{Duration, rfc3339};
use crate::finding::words::causes;

/// How often it is looked what there is to do.
const ROUND: Wait = Wait::from_secs(60);
/// In how many of these rounds nothing but what failed before is looked at.
const ROUNDS: u32 = 60;
/// How long what is over is kept, so that people can look why: not for long, since anybody
/// can make many orders that come to nothing.
const KEPT: Duration = Duration::DAY;
/// How long a certificate stays in the inventory after it has expired.
const REMEMBERED: Duration = Duration::days(400);

impl Service {
    /// Looks after what the directory keeps until `stop`. Not for an embedded one: what
    /// it would find unfinished is another's.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.look_again().await;
            // A revocation of before may not have reached its list.
            self.note_revocation();
            for number in 0_u32.. {
                let round = self
                    .blocking(move |service| {
                        service.publish_revocations();
                        service.finish_interrupted();
                        if number % ROUNDS == 0 {
                            service.sweep();
                            service.refresh_lists();
                            service.look_ahead();
                        }
                        Ok(())
                    })
                    .await;
                if let Err(problem) = round {
                    tracing::error!(%problem, "the directory could not be looked after");
                }
                tokio::time::sleep(ROUND).await;
            }
        };
        stop.run_until_cancelled(work).await;
    }

    async fn look_again(self: &Arc<Self>) {
        let found = self
            .blocking(|service| Ok(service.state.unfinished_challenges(service.clock.now())?))
            .await;
        for validation in found.unwrap_or_default() {
            // Where the account is reached from outside is known only where it was said:
            // CAA records that name accounts forbid what was interrupted otherwise.
            let account = match &self.settings.public_url {
                Some(url) => Urls::below(url).account(&validation.account),
                None => String::new(),
            };
            match self.slots.enter(&validation.account, None) {
                Ok(ticket) => {
                    let (account_id, name) = (&validation.account, &validation.identifier);
                    let trial = self.limiter.attempt_again(account_id, name);
                    let admitted = Admitted { ticket, trial };
                    let asker = Asker::forgotten(validation.account.clone());
                    drop(self.look(validation, admitted, account, asker));
                }
                Err(problem) => tracing::warn!(%problem, "a challenge is left as it was"),
            }
        }
    }

    /// Finishes orders of other processes that died, and records what could not be when
    /// the disk was full.
    pub(super) fn finish_interrupted(&self) {
        if let Err(error) = self.recover() {
            let error = causes(&error);
            tracing::error!(error, "orders that were interrupted could not be finished");
        }
    }

    /// Says so while there is time to replace the intermediate.
    fn look_ahead(&self) {
        let authority = self.ca.authority();
        if authority.rotation_due(self.clock.now()) {
            let until = rfc3339(authority.active().certificate.not_after());
            tracing::warn!(
                until,
                hint = "certmint ca rotate intermediate",
                "certificates will soon be shorter than asked for: the intermediate ends"
            );
        }
    }

    /// Forgets what is over: orders soon, certificates after a year.
    pub(super) fn sweep(&self) {
        let now = self.clock.now();
        let orders = self.state.sweep(now - KEPT);
        let swept = orders.and_then(|orders| {
            let certificates = self.state.sweep_certificates(now - REMEMBERED)?;
            Ok((orders, certificates))
        });
        match swept {
            Ok((0, 0)) => {}
            Ok((orders, certificates)) => {
                tracing::debug!(orders, certificates, "forgot what is over");
            }
            Err(error) => {
                let error = causes(&error);
                tracing::error!(error, "what is over could not be forgotten");
            }
        }
    }
}

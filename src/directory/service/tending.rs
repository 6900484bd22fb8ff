//! What a directory does that nobody asks for: it looks once more at challenges that a
//! stop interrupted, forgets what is over, and signs CRLs before they go stale.

use std::sync::Arc;
use std::time::Duration as Wait;

use tokio_util::sync::CancellationToken;

use super::Service;
use crate::clock::Duration;
use crate::finding::words::causes;

/// How often it is looked what there is to do.
const ROUND: Wait = Wait::from_secs(3600);
/// How long what is over is kept, so that people can look why.
const KEPT: Duration = Duration::days(7);
/// How long a certificate stays in the inventory after it has expired.
const REMEMBERED: Duration = Duration::days(400);

impl Service {
    /// Looks after what the directory keeps until `stop`. Not for an embedded one: what
    /// it would find unfinished is another's.
    pub async fn tend(self: Arc<Self>, stop: CancellationToken) {
        let work = async {
            self.look_again().await;
            loop {
                let round = self
                    .blocking(|service| {
                        service.sweep();
                        service.refresh_lists();
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
            // Where the account is reached from outside is known once it asks again.
            self.look(validation, String::new());
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

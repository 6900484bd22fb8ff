//! Being asked to stop while a command waits for others.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGINT and SIGTERM, which from now on do not end the process by themselves.
#[derive(Debug)]
pub(super) struct Interrupt {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupt {
    /// How long cleaning up may take after the first signal. Each part of it has a
    /// deadline of its own, which is shorter.
    const SETTLING: Duration = Duration::from_secs(90);

    /// Needs a tokio runtime.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for either, and gives its name.
    pub(super) async fn received(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Waits for `cleaning` up to end, but not for ever, and no longer once a signal
    /// comes again.
    pub(super) async fn settle(mut self, cleaning: impl Future<Output = ()>) {
        tokio::select! {
            done = tokio::time::timeout(Self::SETTLING, cleaning) => {
                if done.is_err() {
                    tracing::warn!("gave up cleaning up; the next run goes on with it");
                }
            }
            name = self.received() => {
                tracing::warn!("{name}: gave up cleaning up; the next run goes on with it");
            }
        }
    }
}

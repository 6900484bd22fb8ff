//! How a server is told to stop.
//!
//! SIGTERM and SIGINT ask for a graceful stop; a second one of either forces it.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Stops a server, gracefully first. Clones stop together.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    graceful: CancellationToken,
    forced: CancellationToken,
}

impl Shutdown {
    /// Nothing asked for yet, and nobody to ask but the caller.
    pub fn new() -> Self {
        Self::default()
    }

    /// A shutdown that SIGTERM and SIGINT ask for. Needs a tokio runtime; from now
    /// on neither signal ends the process by itself.
    pub fn on_signals() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let asked = shutdown.clone();
        tokio::spawn(async move {
            let name = either(&mut terminate, &mut interrupt).await;
            asked.stop();
            tracing::info!("{name}: finishing requests in flight; once more stops at once");
            let name = either(&mut terminate, &mut interrupt).await;
            asked.force();
            tracing::warn!("{name} again: stopping at once");
        });
        Ok(shutdown)
    }

    /// Stops with this one, and by itself without it. Forced they are together.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            graceful: self.graceful.child_token(),
            forced: self.forced.clone(),
        }
    }

    /// Asks for a graceful stop: no new connections, requests in flight finish.
    pub fn stop(&self) {
        self.graceful.cancel();
    }

    /// Ends at once what is left.
    pub fn force(&self) {
        self.graceful.cancel();
        self.forced.cancel();
    }

    /// Cancelled once a stop is asked for.
    pub fn graceful(&self) -> &CancellationToken {
        &self.graceful
    }

    /// Cancelled once the stop is forced.
    pub fn forced(&self) -> &CancellationToken {
        &self.forced
    }
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    #[tokio::test]
    async fn the_first_signal_is_graceful_and_the_second_forces() {
        let shutdown = Shutdown::on_signals().unwrap();
        assert!(!shutdown.graceful().is_cancelled());
        kill_process(getpid(), Signal::TERM).unwrap();
        shutdown.graceful().cancelled().await;
        assert!(!shutdown.forced().is_cancelled());
        kill_process(getpid(), Signal::INT).unwrap();
        shutdown.forced().cancelled().await;
    }
}

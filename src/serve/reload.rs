//! How a running server is told to read its settings again.

use std::io;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use crate::server::ReloadFn;

/// What was done, or everything that is wrong.
pub(super) type Answer = Result<String, String>;

/// Asks a server to read its settings again. Clones ask the same server.
#[derive(Debug, Clone)]
pub(super) struct Reload(mpsc::Sender<oneshot::Sender<Answer>>);

/// Who asks, in the order of asking.
#[derive(Debug)]
pub(super) struct Reloads {
    asked: mpsc::Receiver<oneshot::Sender<Answer>>,
}

impl Reload {
    /// Asks, and waits for the answer.
    pub(super) async fn ask(&self) -> Answer {
        let ended = || "the server is stopping".to_owned();
        let (tell, told) = oneshot::channel();
        self.0.send(tell).await.map_err(|_| ended())?;
        told.await.map_err(|_| ended())?
    }

    /// For those who know no more of a reload than that it can be asked for.
    pub(super) fn for_others(self) -> ReloadFn {
        Arc::new(move || {
            let reload = self.clone();
            Box::pin(async move { reload.ask().await })
        })
    }
}

impl Reloads {
    /// Asked for by SIGHUP, which ends no process from now on, and by whoever has the
    /// other half. Needs a tokio runtime.
    pub(super) fn on_signal() -> io::Result<(Reload, Self)> {
        let mut hangups = signal(SignalKind::hangup())?;
        let (ask, asked) = mpsc::channel(1);
        let reload = Reload(ask);
        let by_signal = reload.clone();
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                tracing::info!("SIGHUP: reading the settings again");
                // It is logged by whoever answers.
                let _ = by_signal.ask().await;
            }
        });
        Ok((reload, Self { asked }))
    }

    /// The next one who asks, to be told what became of it.
    pub(super) async fn next(&mut self) -> oneshot::Sender<Answer> {
        match self.asked.recv().await {
            Some(asked) => asked,
            // Nobody is left who could ask.
            None => std::future::pending().await,
        }
    }
}

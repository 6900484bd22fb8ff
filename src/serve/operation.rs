//! What a server is looked after with: its open ports, its rights, its logs, and the
//! socket that it is told by.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::user::Account;
use super::{Operation, ServeError, Supervisor};
use crate::clock::Clock;
use crate::event::Event;
use crate::server::{AdminSocket, Controls, LineFormat, Sockets, Telemetry};
use crate::settings::ListenerSettings;

/// What stands before anything is served or any certificate obtained.
#[derive(Debug)]
pub(super) struct Prepared {
    pub(super) sockets: Sockets,
    pub(super) telemetry: Telemetry,
}

/// Opens every port, goes on as the user that is wanted, and opens the logs as that user.
/// To be called while the process has one thread. `states` are the state directories.
pub(super) fn prepare(
    operation: &Operation,
    listeners: &[ListenerSettings],
    inherited: impl IntoIterator<Item = (String, TcpListener)>,
    states: impl IntoIterator<Item = PathBuf>,
    clock: Arc<dyn Clock>,
    format: LineFormat,
) -> Result<Prepared, ServeError> {
    let account = operation.user.as_deref().map(Account::find).transpose()?;
    let mut sockets = Sockets::inherited(inherited)?;
    for listener in listeners {
        sockets.open(listener)?;
    }
    if let Some(account) = account {
        account.assume()?;
        for state in states {
            account.check_state(&state)?;
        }
    }
    let (requests, events) = (operation.access_log.as_ref(), operation.events.as_ref());
    let telemetry = Telemetry::new(clock, requests, events, format).map_err(ServeError::Log)?;
    Ok(Prepared { sockets, telemetry })
}

/// What goes on beside the server until it has stopped.
#[derive(Debug)]
pub(super) struct Attending {
    ended: CancellationToken,
    work: JoinHandle<()>,
}

impl Attending {
    /// Answers on the admin socket, if there is to be one, keeps the service manager's
    /// watchdog content, and tells of the beginning of the end. Needs a tokio runtime.
    pub(super) fn start(
        socket: Option<&Path>,
        controls: Controls,
        supervisor: &Supervisor,
    ) -> Result<Self, ServeError> {
        let socket = socket.map(AdminSocket::bind).transpose()?;
        let ended = CancellationToken::new();
        let (until, supervisor) = (ended.clone(), supervisor.clone());
        let work = tokio::spawn(async move {
            let (telemetry, shutdown) = (controls.telemetry.clone(), controls.shutdown.clone());
            let answering = async {
                match socket {
                    Some(socket) => socket.serve(controls, until.cancelled()).await,
                    None => until.cancelled().await,
                }
            };
            let telling = async {
                shutdown.graceful().cancelled().await;
                telemetry.emit(&Event::Stopping);
                std::future::pending::<()>().await;
            };
            tokio::select! {
                // The beginning of an end is told of, however soon the end follows.
                biased;
                () = telling => {}
                () = answering => {}
                () = supervisor.keep_alive(&telemetry) => {}
            }
        });
        Ok(Self { ended, work })
    }

    /// The server has stopped: removes the socket.
    pub(super) async fn end(self) {
        self.ended.cancel();
        // It ends by itself; a panic in it has been told of.
        let _ = self.work.await;
    }
}

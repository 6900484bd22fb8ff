//! Telling the service manager how far we are (`sd_notify(3)`).
//!
//! One datagram a message, to the socket that it named; without one, nothing is said.
//! A manager that does not listen keeps no server from serving.

use std::io;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Whoever started us and wants to know when we serve; often nobody.
#[derive(Debug, Clone, Default)]
pub struct Supervisor(Option<Arc<Line>>);

#[derive(Debug)]
struct Line {
    socket: UnixDatagram,
    address: SocketAddr,
}

impl Supervisor {
    /// How much longer a start may take than was said before.
    const EXTENSION: Duration = Duration::from_secs(30);
    /// How often that is said again; well within it.
    const AGAIN: Duration = Duration::from_secs(10);
    /// How long a manager may leave a message unread.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// `socket` is the value of `NOTIFY_SOCKET`: a path, or a name in the abstract
    /// namespace after an `@`.
    pub fn new(socket: Option<&str>) -> Self {
        let reached = socket.map(|name| {
            Line::to(name).inspect_err(|error| {
                tracing::warn!(socket = name, %error, "the service manager cannot be told anything");
            })
        });
        Self(reached.and_then(Result::ok).map(Arc::new))
    }

    /// Everything that is to be served is.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// Says that we are stopping, once `stop` is cancelled.
    pub(super) fn stopping_on(&self, stop: CancellationToken) {
        let supervisor = self.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            supervisor.tell("STOPPING=1");
        });
    }

    /// Waits for `work`, and says again and again that the start still goes on.
    pub(super) async fn starting<T>(&self, status: &str, work: impl Future<Output = T>) -> T {
        self.starting_every(Self::AGAIN, status, work).await
    }

    async fn starting_every<T>(
        &self,
        again: Duration,
        status: &str,
        work: impl Future<Output = T>,
    ) -> T {
        let microseconds = Self::EXTENSION.as_micros();
        let mut work = pin!(work);
        let mut ticks = tokio::time::interval(again);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                // The first comes at once.
                _ = ticks.tick() => {
                    self.tell(&format!("EXTEND_TIMEOUT_USEC={microseconds}\nSTATUS={status}"));
                }
            }
        }
    }

    fn tell(&self, message: &str) {
        let Some(line) = &self.0 else { return };
        let sent = line.socket.send_to_addr(message.as_bytes(), &line.address);
        if let Err(error) = sent {
            tracing::debug!(%error, message, "the service manager was not told");
        }
    }
}

impl Line {
    fn to(name: &str) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(Supervisor::PATIENCE))?;
        let address = match name.strip_prefix('@') {
            #[cfg(target_os = "linux")]
            Some(name) => {
                use std::os::linux::net::SocketAddrExt;
                SocketAddr::from_abstract_name(name)?
            }
            _ => SocketAddr::from_pathname(name)?,
        };
        Ok(Self { socket, address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_start_is_extended_until_it_is_done_and_the_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
        let received = async || {
            let mut message = [0; 256];
            let length = manager.recv(&mut message).await.unwrap();
            String::from_utf8_lossy(&message[..length]).into_owned()
        };
        let supervisor = Supervisor::new(path.to_str());
        let quick = supervisor.starting("not said", async { 1 });
        assert_eq!(quick.await, 1);
        let work = async {
            for _ in 0..3 {
                let message = received().await;
                assert_eq!(message, "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=busy");
            }
        };
        let often = Duration::from_millis(50);
        supervisor.starting_every(often, "busy", work).await;
        supervisor.ready("serving");
        assert_eq!(received().await, "READY=1\nSTATUS=serving");
        let stop = CancellationToken::new();
        supervisor.stopping_on(stop.clone());
        stop.cancel();
        assert_eq!(received().await, "STOPPING=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn an_abstract_socket_is_reached_by_its_name() {
        use std::os::linux::net::SocketAddrExt;
        let name = format!("certmint-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        Supervisor::new(Some(&format!("@{name}"))).ready("up");
        let mut message = [0; 64];
        let length = manager.recv(&mut message).unwrap();
        assert_eq!(&message[..length], b"READY=1\nSTATUS=up");
    }

    #[test]
    fn nobody_to_tell_is_no_failure() {
        for socket in [None, Some("/nonexistent/notify"), Some("a\0b"), Some("@")] {
            Supervisor::new(socket).ready("up");
        }
    }
}

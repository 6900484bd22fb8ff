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

use crate::server::Telemetry;

/// Whoever started us and wants to know when we serve; often nobody.
#[derive(Debug, Clone, Default)]
pub struct Supervisor {
    line: Option<Arc<Line>>,
    /// It ends us when it has not heard that we live for so long.
    watchdog: Option<Duration>,
}

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
    /// Shortest time after which a listener without its turn is taken for dead.
    const TURN: Duration = Duration::from_secs(5);
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
        Self {
            line: reached.and_then(Result::ok).map(Arc::new),
            watchdog: None,
        }
    }

    /// `microseconds` and `pid` are the values of `WATCHDOG_USEC` and `WATCHDOG_PID`: it
    /// wants to hear that the process `pid`, or whoever is asked, lives.
    #[must_use]
    pub fn with_watchdog(mut self, microseconds: Option<&str>, pid: Option<&str>) -> Self {
        let ours = std::process::id().to_string();
        let limit = microseconds.and_then(|text| text.parse().ok());
        self.watchdog = limit
            .filter(|limit| *limit > 0 && pid.is_none_or(|pid| pid == ours))
            .map(Duration::from_micros);
        self
    }

    /// Says that we live, for as long as `telemetry` sees the server at work; without a
    /// watchdog it does nothing. Never ends.
    pub(super) async fn keep_alive(&self, telemetry: &Telemetry) {
        let Some(limit) = self.watchdog else {
            return std::future::pending().await;
        };
        // As sd_watchdog_enabled(3) wants it, and seldom enough for a short limit.
        let mut ticks = tokio::time::interval(limit / 2);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if telemetry.is_alive(limit.max(Self::TURN)) {
                self.tell("WATCHDOG=1");
            } else {
                tracing::error!(
                    "a listener does not accept any more; the service manager is not told that all is well"
                );
            }
        }
    }

    /// Everything that is to be served is.
    pub(super) fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`Self::ready`] says that it is done.
    pub(super) fn reloading(&self) {
        // What `Type=notify-reload` tells its own signal from an earlier one by.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let seconds = u128::try_from(now.tv_sec).unwrap_or_default();
        let nanoseconds = u128::try_from(now.tv_nsec).unwrap_or_default();
        let moment = seconds * 1_000_000 + nanoseconds / 1000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={moment}"));
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
        let Some(line) = &self.line else { return };
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
        // It may have been busy for once more than was waited for.
        let mut last = received().await;
        while last.ends_with("STATUS=busy") {
            last = received().await;
        }
        assert_eq!(last, "READY=1\nSTATUS=serving");
        supervisor.reloading();
        let message = received().await;
        assert!(
            message.starts_with("RELOADING=1\nMONOTONIC_USEC="),
            "{message}"
        );
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

    #[tokio::test]
    async fn the_watchdog_hears_of_us_only_when_it_asked_for_us() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = tokio::net::UnixDatagram::bind(&path).unwrap();
        let supervisor = || Supervisor::new(path.to_str());
        let ours = std::process::id().to_string();
        for (limit, pid, expected) in [
            (Some("200000"), None, true),
            (Some("200000"), Some(ours.as_str()), true),
            (Some("200000"), Some("1"), false),
            (Some("0"), None, false),
            (Some("soon"), None, false),
            (None, None, false),
        ] {
            let supervisor = supervisor().with_watchdog(limit, pid);
            assert_eq!(supervisor.watchdog.is_some(), expected, "{limit:?} {pid:?}");
        }
        let watched = supervisor().with_watchdog(Some("200000"), None);
        let telemetry = Telemetry::default();
        let mut message = [0; 64];
        let twice = async {
            for _ in 0..2 {
                let length = manager.recv(&mut message).await.unwrap();
                assert_eq!(&message[..length], b"WATCHDOG=1");
            }
        };
        tokio::select! {
            () = twice => {}
            () = watched.keep_alive(&telemetry) => {}
        }
        supervisor().reloading();
        let length = manager.recv(&mut message).await.unwrap();
        assert!(message[..length].starts_with(b"RELOADING=1\nMONOTONIC_USEC="));
    }

    #[test]
    fn nobody_to_tell_is_no_failure() {
        for socket in [None, Some("/nonexistent/notify"), Some("a\0b"), Some("@")] {
            Supervisor::new(socket).ready("up");
        }
    }
}

//! A program that goes on running while the test talks to it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::Child;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::Output;
use super::run::{Collected, DEADLINE, collect, finish, text};

/// A running program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    shown: String,
    child: Child,
    stdout: Option<Collected>,
    lines: Receiver<String>,
    ended: Receiver<()>,
    log: String,
}

impl Server {
    pub(super) fn new(shown: String, mut child: Child) -> Self {
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let ((line, lines), (done, ended)) = (channel(), channel());
        thread::spawn(move || {
            for text in stderr.split(b'\n').map_while(Result::ok) {
                let text = String::from_utf8_lossy(&text).into_owned();
                if line.send(text).is_err() {
                    break;
                }
            }
            done.send(()).ok();
        });
        Self {
            shown,
            child,
            stdout: Some(stdout),
            lines,
            ended,
            log: String::new(),
        }
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything awaited or skipped on standard error so far.
    pub(crate) fn log(&self) -> &str {
        &self.log
    }

    /// Everything that it has said on standard error until now.
    #[cfg(feature = "acme")]
    pub(crate) fn said(&mut self) -> &str {
        for line in self.lines.try_iter() {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        &self.log
    }

    /// Waits for the next line on standard error that contains `needle` and
    /// returns it. Lines passed over on the way are not looked at again.
    #[track_caller]
    pub(crate) fn await_line(&mut self, needle: &str) -> String {
        let until = Instant::now() + DEADLINE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.log.push_str(&line);
                    self.log.push('\n');
                    if line.contains(needle) {
                        return line;
                    }
                }
                Err(why) => panic!(
                    "`{}` never said `{needle}` ({why})\nstderr:\n{}",
                    self.shown, self.log
                ),
            }
        }
    }

    /// Waits for a line that contains `needle` and returns the address in it: how a
    /// server that was told port 0 says what it got.
    #[track_caller]
    pub(crate) fn await_address(&mut self, needle: &str) -> SocketAddr {
        let line = self.await_line(needle);
        address_in(&line).unwrap_or_else(|| panic!("no address in `{line}`"))
    }

    /// Sends a signal to the process.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.pid()).unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub(crate) fn terminate(self) -> Output {
        self.signal(Signal::TERM);
        self.wait(DEADLINE)
    }

    /// Waits for the end, at most `deadline`.
    #[track_caller]
    pub(crate) fn wait(mut self, deadline: Duration) -> Output {
        let (stdout, closed) = self.stdout.take().unwrap();
        let until = Instant::now() + deadline;
        let status = finish(&mut self.child, &[&closed, &self.ended], until);
        for line in self.lines.try_iter() {
            self.log.push_str(&line);
            self.log.push('\n');
        }
        let stdout = text(&stdout);
        assert!(
            status.is_some(),
            "`{}` did not end within {deadline:?}\nstdout:\n{stdout}\nstderr:\n{}",
            self.shown,
            self.log
        );
        let (shown, log) = (self.shown.clone(), self.log.clone());
        Output::new(shown, status.unwrap(), stdout, log)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has already been waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The first `address:port` in a line.
pub(crate) fn address_in(line: &str) -> Option<SocketAddr> {
    line.split(|c: char| !(c.is_ascii_hexdigit() || ".:[]".contains(c)))
        .find_map(|word| word.trim_matches([':', '.']).parse().ok())
}

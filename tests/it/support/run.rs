//! One program run to its end, with a deadline, and what it left behind.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::Server;

/// How long a program may take unless its test says otherwise. Generous: two
/// cores may be busy with other tests.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A program about to be run.
#[derive(Debug)]
#[must_use = "nothing happens before `run` or `spawn`"]
pub(crate) struct Run {
    argv: Vec<OsString>,
    env: BTreeMap<String, OsString>,
    dir: PathBuf,
    stdin: Option<Vec<u8>>,
    deadline: Duration,
}

impl Run {
    pub(super) fn new(
        program: &OsStr,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
        dir: &Path,
    ) -> Self {
        let mut argv = vec![program.to_owned()];
        argv.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        Self {
            argv,
            env: BTreeMap::new(),
            dir: dir.to_owned(),
            stdin: None,
            deadline: DEADLINE,
        }
    }

    /// One more argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.argv.push(arg.as_ref().to_owned());
        self
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let args = args.into_iter().map(|arg| arg.as_ref().to_owned());
        self.argv.extend(args);
        self
    }

    /// Sets one environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.insert(name.to_owned(), value.as_ref().to_owned());
        self
    }

    /// Runs in `dir` instead of the environment's own directory.
    pub(crate) fn current_dir(mut self, dir: impl AsRef<Path>) -> Self {
        self.dir = dir.as_ref().to_owned();
        self
    }

    /// Feeds `bytes` on standard input, which is empty otherwise.
    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = Some(bytes.as_ref().to_owned());
        self
    }

    /// Kills the program and fails the test after `deadline` (60 s unless told).
    pub(crate) fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs the program under another: `strace -f …`, `faketime …`, or
    /// `sh -c 'umask 000; exec "$@"' sh`.
    pub(crate) fn under(mut self, prefix: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let words = prefix.into_iter().map(|word| word.as_ref().to_owned());
        self.argv = words.chain(self.argv).collect();
        self
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Output {
        let deadline = self.deadline;
        let (shown, mut child) = self.start();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        let until = Instant::now() + deadline;
        let status = finish(&mut child, &[&stdout.1, &stderr.1], until);
        let (stdout, stderr) = (text(&stdout.0), text(&stderr.0));
        assert!(
            status.is_some(),
            "`{shown}` did not end within {deadline:?}\nstdout:\n{stdout}\nstderr:\n{stderr}"
        );
        Output::new(shown, status.unwrap(), stdout, stderr)
    }

    /// Starts a program that goes on running.
    pub(crate) fn spawn(self) -> Server {
        let (shown, child) = self.start();
        Server::new(shown, child)
    }

    fn start(self) -> (String, Child) {
        let words: Vec<_> = self.argv.iter().map(|w| w.to_string_lossy()).collect();
        let shown = words.join(" ");
        let stdin = self.stdin.as_ref();
        let mut child = Command::new(&self.argv[0])
            .args(&self.argv[1..])
            .env_clear()
            .envs(&self.env)
            .current_dir(&self.dir)
            .stdin(stdin.map_or_else(Stdio::null, |_| Stdio::piped()))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("could not start `{shown}`: {e}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A program may end without reading it all: a broken pipe is no failure.
            thread::spawn(move || pipe.write_all(&bytes).ok());
        }
        (shown, child)
    }
}

/// What a program printed and how it ended.
#[derive(Debug)]
#[must_use = "say how it ended: `.success()` or `.code(n)`"]
pub(crate) struct Output {
    shown: String,
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Output {
    pub(super) fn new(shown: String, status: ExitStatus, stdout: String, stderr: String) -> Self {
        Self {
            shown,
            status,
            stdout,
            stderr,
        }
    }

    /// Fails the test unless the program exited with 0.
    #[track_caller]
    pub(crate) fn success(self) -> Self {
        self.code(0)
    }

    /// Fails the test unless the program exited with `code`.
    #[track_caller]
    pub(crate) fn code(self, code: i32) -> Self {
        assert!(
            self.status.code() == Some(code),
            "`{}` ended with {}, not {code}\nstdout:\n{}\nstderr:\n{}",
            self.shown,
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// How it ended, for tests that kill it.
    pub(crate) fn status(&self) -> ExitStatus {
        self.status
    }

    /// Its results.
    pub(crate) fn stdout(&self) -> &str {
        &self.stdout
    }

    /// Its messages.
    pub(crate) fn stderr(&self) -> &str {
        &self.stderr
    }
}

/// Bytes read so far, and word of the end.
pub(super) type Collected = (Receiver<Vec<u8>>, Receiver<()>);

/// Reads a pipe to its end in a thread of its own, so that no child blocks on a
/// full one.
pub(super) fn collect(mut pipe: impl Read + Send + 'static) -> Collected {
    let ((bytes, received), (done, ended)) = (channel(), channel());
    thread::spawn(move || {
        let mut chunk = [0; 8192];
        while let Ok(count @ 1..) = pipe.read(&mut chunk) {
            if bytes.send(chunk[..count].to_vec()).is_err() {
                break;
            }
        }
        done.send(()).ok();
    });
    (received, ended)
}

/// What has been collected, as text.
pub(super) fn text(bytes: &Receiver<Vec<u8>>) -> String {
    let bytes: Vec<u8> = bytes.try_iter().flatten().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Waits until the pipes are closed and the child is gone; kills it at `until`.
pub(super) fn finish(
    child: &mut Child,
    pipes: &[&Receiver<()>],
    until: Instant,
) -> Option<ExitStatus> {
    for pipe in pipes {
        let left = until.saturating_duration_since(Instant::now());
        if pipe.recv_timeout(left).is_err() {
            break;
        }
    }
    // With its pipes closed a program is about to exit: this seldom loops.
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        if Instant::now() >= until {
            child.kill().ok();
            child.wait().ok();
            return None;
        }
        thread::sleep(Duration::from_millis(2));
    }
}

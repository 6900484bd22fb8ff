//! Where lines for programs are written: a thread with a bounded queue before it, so
//! that a full disk or a reader that has stopped reading keeps no client waiting.
//!
//! Rules kept here: a line is written whole or not at all, as far as the system lets
//! us; what is lost is counted and said; the end of the process waits for what is in
//! the queue, but not for ever.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::clock::Throttle;
use crate::settings::LogTarget;
use crate::store::{StoreError, disk};

/// Lines that may wait to be written.
const QUEUE: usize = 8192;

/// Bytes that are written at once, about.
const BATCH: usize = 64 * 1024;

/// How often it is said that lines are lost.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// How long the end of the process, or a reload, waits for the thread.
const PATIENCE: Duration = Duration::from_secs(5);

/// A place for lines, and the thread that writes them.
#[derive(Debug)]
pub(super) struct Sink {
    sender: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Message {
    Line(String),
    /// Go on with this; `None` when the target is no file.
    Replace(File, SyncSender<()>),
    /// Tell when everything before is written.
    Written(SyncSender<()>),
}

impl Sink {
    /// Opens `target`, a file with mode 0600 if it is new, and starts its thread.
    /// `what` is its name in messages.
    pub(super) fn open(what: &'static str, target: &LogTarget) -> Result<Self, SinkError> {
        let output = match target {
            LogTarget::Stdout => Output::Stdout,
            LogTarget::Stderr => Output::Stderr,
            LogTarget::File(path) => Output::File(disk::open_append(path)?),
        };
        Self::start(what, output, QUEUE)
    }

    fn start(what: &'static str, output: Output, queue: usize) -> Result<Self, SinkError> {
        let (sender, messages) = sync_channel(queue);
        let lost = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            what,
            output,
            torn: false,
            lost: Arc::clone(&lost),
            said: 0,
            throttle: Throttle::new(SAY_AGAIN),
        };
        thread::Builder::new()
            .name("certmint-log".to_owned())
            .spawn(move || writer.run(&messages))
            .map_err(SinkError::Thread)?;
        Ok(Self { sender, lost })
    }

    /// Takes a line, which has no end yet; gives it back when the queue is full.
    pub(super) fn write(&self, mut line: String) -> Result<(), String> {
        line.push('\n');
        match self.sender.try_send(Message::Line(line)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => {
                self.lost.fetch_add(1, Relaxed);
                match message {
                    Message::Line(line) => Err(line),
                    _ => Err(String::new()),
                }
            }
        }
    }

    /// Lines that were not written since the start.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Opens the file at `target` again: somebody has moved the old one away. What came
    /// before goes into the old one.
    pub(super) fn reopen(&self, target: &LogTarget) -> Result<(), SinkError> {
        let LogTarget::File(path) = target else {
            return Ok(());
        };
        let file = disk::open_append(path)?;
        self.ask(|done| Message::Replace(file, done));
        Ok(())
    }

    /// Waits until everything is written, but not for ever.
    pub(super) fn settle(&self) {
        self.ask(Message::Written);
    }

    fn ask(&self, message: impl FnOnce(SyncSender<()>) -> Message) {
        let (done, answer) = sync_channel(1);
        let (sender, message) = (self.sender.clone(), message(done));
        // The queue may be full and its reader stuck: only a thread of its own may wait.
        let asking = thread::Builder::new().spawn(move || sender.send(message).is_ok());
        if asking.is_ok() {
            // Late, or never: the lines that are left are lost.
            let _ = answer.recv_timeout(PATIENCE);
        }
    }
}

#[derive(Debug)]
enum Output {
    Stdout,
    Stderr,
    File(File),
}

impl Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes)?;
                out.flush()
            }
            Self::Stderr => io::stderr().lock().write_all(bytes),
            Self::File(file) => file.write_all(bytes),
        }
    }
}

struct Writer {
    what: &'static str,
    output: Output,
    /// The last write failed, perhaps in the middle of a line.
    torn: bool,
    lost: Arc<AtomicU64>,
    /// How many lost lines have been told of.
    said: u64,
    throttle: Throttle,
}

impl Writer {
    fn run(mut self, messages: &Receiver<Message>) {
        while let Ok(mut message) = messages.recv() {
            let (mut batch, mut lines) = (String::new(), 0);
            let other = loop {
                match message {
                    Message::Line(line) => {
                        batch.push_str(&line);
                        lines += 1;
                    }
                    other => break Some(other),
                }
                if batch.len() >= BATCH {
                    break None;
                }
                match messages.try_recv() {
                    Ok(next) => message = next,
                    Err(_) => break None,
                }
            };
            self.write(&batch, lines);
            match other {
                Some(Message::Replace(file, done)) => {
                    self.output = Output::File(file);
                    self.torn = false;
                    let _ = done.send(());
                }
                Some(Message::Written(done)) => _ = done.send(()),
                Some(Message::Line(_)) | None => {}
            }
        }
    }

    fn write(&mut self, batch: &str, lines: u64) {
        let error = if lines == 0 {
            None
        } else {
            let ended = if self.torn {
                self.output.write(b"\n")
            } else {
                Ok(())
            };
            let written = ended.and_then(|()| self.output.write(batch.as_bytes()));
            self.torn = written.is_err();
            written.err()
        };
        if error.is_some() {
            self.lost.fetch_add(lines, Relaxed);
        }
        let lost = self.lost.load(Relaxed);
        if lost > self.said && self.throttle.admit().is_some() {
            let (what, lines) = (self.what, lost - self.said);
            match error {
                Some(error) => tracing::error!(%error, lines, "the {what} loses lines"),
                None => tracing::warn!(lines, "the {what} loses lines: its reader is too slow"),
            }
            self.said = lost;
        }
    }
}

/// Why lines cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The file cannot be opened.
    #[error(transparent)]
    Open(#[from] StoreError),
    /// There can be no thread.
    #[error("could not start a thread for a log")]
    Thread(#[source] io::Error),
}

impl SinkError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open(error) => error.hint(),
            Self::Thread(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_opened_again_and_no_line_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let target = LogTarget::File(path.clone());
        let sink = Sink::open("test log", &target).unwrap();
        sink.write("one".to_owned()).unwrap();
        sink.settle();
        disk::rename(&path, &moved).unwrap();
        sink.write("two".to_owned()).unwrap();
        sink.reopen(&target).unwrap();
        sink.write("three".to_owned()).unwrap();
        sink.settle();
        let read = |path| std::fs::read_to_string(path).unwrap();
        assert_eq!(
            (read(moved).as_str(), read(path).as_str()),
            ("one\ntwo\n", "three\n")
        );
        assert_eq!(sink.lost(), 0);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_never_time() {
        let (mut reader, writer) = io::pipe().unwrap();
        let output = Output::File(File::from(std::os::fd::OwnedFd::from(writer)));
        let sink = Sink::start("test log", output, 16).unwrap();
        let line = "x".repeat(1023);
        // A pipe holds 64 kB, the thread a batch, the queue 16.
        let refused = (0..1000)
            .filter(|_| sink.write(line.clone()).is_err())
            .count();
        assert!(refused > 700, "{refused}");
        assert_eq!(sink.lost(), refused as u64);
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), 1000 - refused);
        assert!(text.lines().all(|read| read == line));
    }

    #[test]
    fn what_a_full_disk_refuses_is_counted() {
        let target = LogTarget::File("/dev/full".into());
        let sink = Sink::open("test log", &target).unwrap();
        sink.write("one".to_owned()).unwrap();
        sink.settle();
        assert_eq!(sink.lost(), 1);
    }
}

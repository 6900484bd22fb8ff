//! Progress of long work: a bar or a spinner on a terminal, nothing elsewhere.
//!
//! Log lines and questions go to the same terminal: the one that is shown steps aside
//! for them.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
#[cfg(feature = "acme")]
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often a spinner turns.
#[cfg(feature = "acme")]
const TICK: Duration = Duration::from_millis(100);

/// What is drawn at the moment; a process has one terminal.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A bar that counts to `length`, drawn only when `visible`.
pub(super) fn bar(length: usize, visible: bool) -> ProgressBar {
    let length = u64::try_from(length).unwrap_or(u64::MAX);
    let style =
        ProgressStyle::with_template("{bar:40} {human_pos}/{human_len}  {per_sec}  {eta} left")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(length), target(visible)).with_style(style)
}

#[cfg(feature = "acme")]
/// Says what is being waited for, and how long already, until it is dropped; drawn
/// only when `visible`.
#[must_use = "it is gone when dropped"]
pub(super) struct Spinner(ProgressBar);

#[cfg(feature = "acme")]
impl Spinner {
    pub(super) fn start(message: String, visible: bool) -> Self {
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::with_draw_target(None, target(visible)).with_style(style);
        bar.set_message(message);
        if visible {
            bar.enable_steady_tick(TICK);
            *shown() = Some(bar.clone());
        }
        Self(bar)
    }

    pub(super) fn say(&self, message: String) {
        self.0.set_message(message);
    }

    /// Writes lines above it.
    pub(super) fn aside(&self, write: impl FnOnce()) {
        self.0.suspend(write);
    }
}

#[cfg(feature = "acme")]
impl Drop for Spinner {
    fn drop(&mut self) {
        shown().take();
        self.0.finish_and_clear();
    }
}

#[cfg(feature = "acme")]
/// Runs `work`, which writes to the terminal and may wait for an answer, with nothing
/// drawn.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    let bar = shown().clone();
    if let Some(bar) = &bar {
        bar.set_draw_target(ProgressDrawTarget::hidden());
        // What was drawn last still stands there.
        let _ = io::stderr().write_all(b"\r\x1b[2K");
    }
    let done = work();
    if let Some(bar) = &bar {
        bar.set_draw_target(ProgressDrawTarget::stderr());
    }
    done
}

/// Standard error for log lines.
pub(super) struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write(bytes);
        match &*shown() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

fn shown() -> MutexGuard<'static, Option<ProgressBar>> {
    SHOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn target(visible: bool) -> ProgressDrawTarget {
    if visible {
        ProgressDrawTarget::stderr()
    } else {
        ProgressDrawTarget::hidden()
    }
}

//! What people and scripts get to read: results, messages, hints, exit codes.
//!
//! Results go to standard output, everything else to standard error. A failure
//! is a kind, a cause and hints; one table maps kinds to exit codes.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use super::Host;
use crate::finding::words::causes;
use crate::serve::ServeError;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// Done, also when there was nothing to do.
    Done,
    /// The operation failed.
    Failed,
    /// Usage or configuration.
    Usage,
    /// Something needs attention soon.
    Attention,
    /// Something is expired, invalid or missing.
    Critical,
}

impl Exit {
    /// The table of exit codes.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Attention => 3,
            Self::Critical => 4,
        }
    }
}

/// A failed command.
#[derive(Debug)]
pub(super) struct CliError {
    exit: Exit,
    cause: anyhow::Error,
    hints: Vec<String>,
}

impl CliError {
    /// The operation failed.
    pub(super) fn failed(cause: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Failed,
            cause: cause.into(),
            hints: Vec::new(),
        }
    }

    /// The command line or configuration is wrong.
    pub(super) fn usage(message: impl Into<String>) -> Self {
        let cause = anyhow::Error::msg(message.into());
        Self {
            exit: Exit::Usage,
            cause,
            hints: Vec::new(),
        }
    }

    /// The same failure with advice, if there is any.
    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<Option<String>>) -> Self {
        self.hints.extend(hint.into());
        self
    }

    pub(super) fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, with its causes, in one line.
    pub(super) fn told(&self) -> String {
        causes(self.cause.as_ref())
    }

    /// What to do about it.
    #[cfg(feature = "acme")]
    pub(super) fn hints(&self) -> &[String] {
        &self.hints
    }

    /// [`Self::told`], with what to do about it.
    pub(super) fn told_with_hints(&self) -> String {
        let mut text = self.told();
        for hint in &self.hints {
            text.push_str(&format!("; {hint}"));
        }
        text
    }
}

/// Failures of the library that come with their own advice.
macro_rules! with_own_hint {
    ($($error:ty),* $(,)?) => {
        $(impl From<$error> for CliError {
            fn from(error: $error) -> Self {
                // Some always have advice, some sometimes.
                let hint = Option::<String>::from(error.hint());
                Self::failed(error).hint(hint)
            }
        })*
    };
}

with_own_hint!(
    crate::directory::state::StateError,
    crate::inspect::InspectError,
    crate::pki::CaError,
    crate::pki::backup::BackupError,
    crate::pki::ledger::LedgerError,
    crate::store::StoreError,
    crate::trust::TrustError,
    crate::renew::Failure,
);

#[cfg(feature = "acme")]
with_own_hint!(crate::acme::AcmeError);

/// Whoever asks an issuer by itself words the failure as a renewal does.
impl From<crate::issuer::IssueError> for CliError {
    fn from(error: crate::issuer::IssueError) -> Self {
        crate::renew::Failure::from(error).into()
    }
}

/// An address that may not be used without saying so is the command line's fault;
/// whatever else keeps a server from starting is a failure.
impl From<ServeError> for CliError {
    fn from(error: ServeError) -> Self {
        let exit = match &error {
            ServeError::Remote(_) => Exit::Usage,
            _ => Exit::Failed,
        };
        let hint = error.hint();
        Self {
            exit,
            ..Self::failed(error).hint(hint)
        }
    }
}

/// A report of the command-line parser: help and version are results.
pub(super) fn usage(error: &clap::Error, mut host: Host) -> u8 {
    let colored = host.terminals.stderr && host.environment.get_set("NO_COLOR").is_none();
    let text = if colored {
        error.render().ansi().to_string()
    } else {
        error.render().to_string()
    };
    let stream = if error.use_stderr() {
        &mut host.stderr
    } else {
        &mut host.stdout
    };
    // There is nobody left to tell when this cannot be written.
    let _ = stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.flush());
    if error.use_stderr() {
        Exit::Usage.code()
    } else {
        Exit::Done.code()
    }
}

/// Writes results and messages.
pub(super) struct Printer {
    pub(super) out: Box<dyn Write>,
    pub(super) err: Box<dyn Write>,
    pub(super) out_color: bool,
    pub(super) err_color: bool,
    pub(super) quiet: bool,
    /// The first error in writing a result.
    pub(super) broken: Option<io::Error>,
}

impl Printer {
    /// Writes a result as it is.
    pub(super) fn result(&mut self, text: &str) {
        self.result_bytes(text.as_bytes());
    }

    /// Writes a result that is not text.
    pub(super) fn result_bytes(&mut self, bytes: &[u8]) {
        let written = self.out.write_all(bytes);
        if let (Err(error), None) = (written, &self.broken) {
            self.broken = Some(error);
        }
    }

    /// Whether results can still be written; a long listing stops when nobody reads.
    pub(super) fn is_open(&self) -> bool {
        self.broken.is_none()
    }

    /// Writes a result as one JSON document.
    pub(super) fn json(&mut self, value: &impl serde::Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.result(&format!("{text}\n")),
            Err(error) => self.broken = Some(error.into()),
        }
    }

    /// Says what was done.
    pub(super) fn note(&mut self, text: &str) {
        if !self.quiet {
            self.message(None, text);
        }
    }

    /// Says what to do about it.
    pub(super) fn hint(&mut self, text: &str) {
        self.message(Some(("hint", AnsiColor::Cyan)), text);
    }

    /// Says what is wrong but did not stop the command.
    pub(super) fn warn(&mut self, text: &str) {
        self.message(Some(("warning", AnsiColor::Yellow)), text);
    }

    /// Says why the command failed: every cause once, then the hints.
    pub(super) fn error(&mut self, error: &CliError) {
        self.message(
            Some(("error", AnsiColor::Red)),
            &causes(error.cause.as_ref()),
        );
        for hint in &error.hints {
            self.hint(hint);
        }
    }

    fn message(&mut self, label: Option<(&str, AnsiColor)>, text: &str) {
        let line = match label {
            Some((label, color)) if self.err_color => {
                let style = Style::new().bold().fg_color(Some(color.into()));
                format!("{style}{label}{style:#}: {text}\n")
            }
            Some((label, _)) => format!("{label}: {text}\n"),
            None => format!("{text}\n"),
        };
        // On a terminal both streams are one text, which is read from top to bottom.
        self.pass_on();
        // A message that cannot be written has no other place to go.
        let _ = self.err.write_all(line.as_bytes());
    }

    /// Lets the results so far be seen.
    pub(super) fn pass_on(&mut self) {
        let written = self.out.flush();
        if let (Err(error), None) = (written, &self.broken) {
            self.broken = Some(error);
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        let _ = self.err.flush();
        match self.broken.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    /// The exit code when results could not be written: a reader that went away,
    /// as `head` does, is no failure.
    pub(super) fn unwritten(&mut self, error: &io::Error, exit: Exit) -> Exit {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return exit;
        }
        self.message(
            Some(("error", AnsiColor::Red)),
            &format!("could not write the result: {error}"),
        );
        Exit::Failed
    }
}

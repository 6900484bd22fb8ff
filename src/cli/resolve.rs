//! From flags and surroundings to what commands work with.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::args::{ColorChoice, GlobalArgs, LogFormat, PassphraseArgs};
#[cfg(feature = "acme")]
use super::person::Person;
use super::report::{CliError, Printer};
use super::table::Screen;
use super::{Environment, Host, Terminals, logging};
use crate::clock::{Clock, Timestamp};
use crate::finding::words;
use crate::key::Passphrase;
use crate::server::LineFormat;
use crate::store::file::FileStore;

/// What every command may need of the surroundings.
pub(super) struct Context {
    /// The state directory.
    pub(super) home: PathBuf,
    /// It was named by a flag or a variable.
    pub(super) home_is_given: bool,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) environment: Environment,
    pub(super) terminals: Terminals,
    pub(super) hostname: String,
    pub(super) euid: u32,
    /// Listening sockets that whoever started us has opened; whoever serves takes them.
    pub(super) sockets: Vec<(String, TcpListener)>,
    /// What a line for each request looks like: like the messages.
    pub(super) log_lines: LineFormat,
    /// Messages are kept to what went wrong.
    pub(super) quiet: bool,
    stdin: Box<dyn Read + Send>,
}

/// Splits a host into what commands read and what they write to.
pub(super) fn context(host: Host, global: GlobalArgs) -> (Context, Printer) {
    let Host {
        args: _,
        environment,
        clock,
        stdin,
        stdout,
        stderr,
        terminals,
        hostname,
        euid,
        sockets,
    } = host;
    let no_color = environment.get_set("NO_COLOR").is_some();
    let colored = |terminal: bool| match global.color {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => terminal && !no_color,
    };
    logging::start(
        global.verbose,
        global.quiet,
        global.log_format,
        colored(terminals.stderr),
    );
    let printer = Printer {
        out: Box::new(std::io::BufWriter::new(stdout)),
        err: stderr,
        out_color: colored(terminals.stdout),
        err_color: colored(terminals.stderr),
        quiet: global.quiet,
        broken: None,
    };
    let home_is_given = global.home.is_some();
    let home = global
        .home
        .unwrap_or_else(|| default_home(&environment, euid == 0));
    let quiet = global.quiet;
    let log_lines = match global.log_format {
        LogFormat::Text => LineFormat::Text,
        LogFormat::Json => LineFormat::Json,
    };
    let context = Context {
        home,
        home_is_given,
        clock,
        environment,
        terminals,
        hostname,
        euid,
        sockets,
        log_lines,
        quiet,
        stdin,
    };
    (context, printer)
}

fn default_home(environment: &Environment, is_root: bool) -> PathBuf {
    if is_root {
        return PathBuf::from("/var/lib/certmint");
    }
    let data = environment.get_set("XDG_DATA_HOME").map(PathBuf::from);
    let home = || PathBuf::from(environment.get_set("HOME").unwrap_or("/"));
    data.filter(|dir| dir.is_absolute())
        .unwrap_or_else(|| home().join(".local/share"))
        .join("certmint")
}

/// Longest passphrase or list that is read from a file.
const INPUT_MAX: u64 = 16 * 1024 * 1024;

impl Context {
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn store(&self) -> Result<FileStore, CliError> {
        Ok(FileStore::open(&self.home, Arc::clone(&self.clock))?)
    }

    /// Reads all of `path`; `-` is standard input.
    pub(super) fn read_input(&mut self, path: &Path) -> Result<Vec<u8>, CliError> {
        let mut bytes = Vec::new();
        let read = if path.as_os_str() == "-" {
            self.stdin.as_mut().take(INPUT_MAX).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(INPUT_MAX).read_to_end(&mut bytes))
        };
        read.map_err(|source| {
            let path = path.to_owned();
            CliError::failed(crate::store::StoreError::Io {
                action: "read",
                path,
                source,
            })
        })?;
        Ok(bytes)
    }

    /// Reads a passphrase from the first line of `path`.
    pub(super) fn read_passphrase(&mut self, path: &Path) -> Result<Passphrase, CliError> {
        first_line(&zeroize::Zeroizing::new(self.read_input(path)?), path)
    }

    /// Reads the passphrase of an encrypted key: from the file, else from whoever
    /// sits at the terminal. Without a terminal it is an error, never a hang.
    pub(super) fn passphrase_for(
        &mut self,
        file: Option<&Path>,
        what: &str,
    ) -> Result<Passphrase, CliError> {
        match file {
            Some(path) => self.read_passphrase(path),
            None if self.can_ask() => ask(&format!("Passphrase of {what}"), false),
            None => Err(
                CliError::usage(format!("{what} is encrypted, and nobody can be asked"))
                    .hint("give the passphrase with `--passphrase-file`".to_owned()),
            ),
        }
    }

    /// Asks twice for a passphrase that is about to be set.
    pub(super) fn new_passphrase(&self, what: &str) -> Result<Passphrase, CliError> {
        if self.can_ask() {
            return ask(&format!("New passphrase for {what}"), true);
        }
        Err(CliError::usage(format!(
            "a passphrase for {what} is needed, and nobody can be asked"
        ))
        .hint("give it with the command's passphrase-file option".to_owned()))
    }

    /// Standard input itself.
    pub(super) fn stdin(&mut self) -> &mut (dyn Read + Send) {
        &mut *self.stdin
    }

    /// The person at the terminal, who has standard input from now on.
    #[cfg(feature = "acme")]
    pub(super) fn person(&mut self) -> Option<Person> {
        self.can_ask().then(|| {
            let input = std::mem::replace(&mut self.stdin, Box::new(std::io::empty()));
            Person::at(input)
        })
    }

    /// How a command that is suggested begins: with the state directory, unless it
    /// is the one that would be taken anyway.
    pub(super) fn program(&self) -> String {
        let environment = self.environment.get_set("CERTMINT_HOME").map(PathBuf::from);
        let usual = environment.unwrap_or_else(|| default_home(&self.environment, self.euid == 0));
        if usual == self.home {
            return "certmint".to_owned();
        }
        words::command("certmint", ["--home", &self.home.to_string_lossy()])
    }

    /// What reports are fitted to: the terminal; into a pipe nothing is cut.
    pub(super) fn screen(&self, color: bool) -> Screen {
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .iter()
            .find_map(|v| self.environment.get_set(v));
        let unicode = locale.is_some_and(|l| {
            let l = l.to_ascii_lowercase();
            l.contains("utf-8") || l.contains("utf8")
        });
        let width = self.terminals.width.map_or(Screen::UNLIMITED, usize::from);
        Screen {
            width,
            color,
            unicode,
        }
    }

    pub(super) fn can_ask(&self) -> bool {
        self.terminals.stdin && self.terminals.stderr
    }

    /// The passphrase of the CA's intermediate key, when it has one.
    pub(super) fn ca_passphrase(
        &mut self,
        encrypted: bool,
        args: &PassphraseArgs,
    ) -> Result<Option<Passphrase>, CliError> {
        if !encrypted {
            return Ok(None);
        }
        let file = args.passphrase_file.as_deref();
        self.passphrase_for(file, "the CA's intermediate key")
            .map(Some)
    }
}

/// The passphrase in the first line of the file `path`.
pub(super) fn passphrase_in(path: &Path) -> Result<Passphrase, CliError> {
    let bytes = crate::store::disk::read(path)?;
    first_line(&zeroize::Zeroizing::new(bytes), path)
}

fn first_line(bytes: &[u8], path: &Path) -> Result<Passphrase, CliError> {
    let path = path.display();
    let text = std::str::from_utf8(bytes)
        .map_err(|_| CliError::usage(format!("the passphrase in `{path}` is not UTF-8")))?;
    let line = text.lines().next().unwrap_or_default();
    Passphrase::new(line.to_owned()).map_err(|e| CliError::usage(format!("{e} in `{path}`")))
}

fn ask(prompt: &str, confirm: bool) -> Result<Passphrase, CliError> {
    let question = dialoguer::Password::new().with_prompt(prompt);
    let question = if confirm {
        question.with_confirmation("Again", "they differ")
    } else {
        question
    };
    let text = question.interact().map_err(CliError::failed)?;
    Passphrase::new(text).map_err(CliError::failed)
}

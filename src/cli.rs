//! The command line: from arguments to an exit code.
//!
//! [`run`] is a plain function of its [`Host`]: calling it twice in one process
//! works. `args` describes flags, `resolve` combines them with the surroundings,
//! `commands` act, and `report` words what happened.

mod args;
mod commands;
mod config;
mod environment;
mod generate;
mod interrupt;
mod logging;
#[cfg(feature = "acme")]
mod person;
mod progress;
mod report;
mod resolve;
mod site;
mod table;
mod values;
mod view;

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

pub use crate::clock::SystemClock;
pub use environment::Environment;

use crate::clock::Clock;
use report::{CliError, Exit, Printer};

/// Everything a run may know of or touch, besides files and sockets.
pub struct Host {
    /// The program's name and its arguments.
    pub args: Vec<OsString>,
    /// Environment variables.
    pub environment: Environment,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output, for results.
    pub stdout: Box<dyn Write>,
    /// Standard error, for everything else.
    pub stderr: Box<dyn Write>,
    /// Which of them are terminals.
    pub terminals: Terminals,
    /// The machine's name.
    pub hostname: String,
    /// The effective user's id.
    pub euid: u32,
    /// Listening sockets that whoever started us has opened, with their names there.
    pub sockets: Vec<(String, TcpListener)>,
}

/// Which streams are terminals.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terminals {
    /// Somebody can be asked.
    pub stdin: bool,
    /// Results are read by a person.
    pub stdout: bool,
    /// Messages are read by a person.
    pub stderr: bool,
    /// Columns of the terminal at standard output.
    pub width: Option<u16>,
}

/// Runs one command line and returns the process's exit code.
pub fn run(host: Host) -> u8 {
    // Fails when it is installed already: by an earlier call, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match args::parse(&host.args, &host.environment) {
        Ok(cli) => cli,
        Err(error) => return report::usage(&error, host),
    };
    let args::Cli { global, command } = cli;
    let (mut context, mut printer) = resolve::context(host, global);
    let result = commands::run(command, &mut context, &mut printer);
    finish(result, &mut printer)
}

fn finish(result: Result<Exit, CliError>, printer: &mut Printer) -> u8 {
    let exit = match result {
        Ok(exit) => exit,
        Err(error) => {
            printer.error(&error);
            error.exit()
        }
    };
    match printer.flush() {
        Ok(()) => exit.code(),
        Err(error) => printer.unwritten(&error, exit).code(),
    }
}

//! What each command does, in terms of the library.

mod acme;
mod ca;
mod health;
mod inspect;
mod issuing;
#[cfg(feature = "acme")]
mod own;
mod renew;
mod serve;
#[cfg(feature = "acme")]
mod stop;

use super::args::Command;
use super::generate;
use super::report::{CliError, Exit, Printer};
use super::resolve::Context;

/// Runs one command.
pub(super) fn run(
    command: Command,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    match command {
        Command::Ca(command) => ca::run(command, context, printer),
        Command::Acme(command) => acme::run(command, context, printer),
        Command::Renew(args) => renew::run(args, context, printer),
        Command::Inspect(args) => inspect::run(&args, context, printer),
        Command::Serve(args) => serve::file(args, context, printer),
        Command::ServeCa(args) => serve::ca(*args, context, printer),
        Command::ServeAcme(args) => serve::acme(*args, context, printer),
        Command::ServeCustom(args) => serve::custom(*args, context, printer),
        Command::ServeInsecure(args) => serve::insecure(*args, context, printer),
        Command::Health(args) => health::run(args, context, printer),
        Command::Completions(args) => {
            printer.result(&String::from_utf8_lossy(&generate::completions(args.shell)));
            Ok(Exit::Done)
        }
        Command::Generate(args) => {
            generate::generate(args.what, &args.dir)?;
            Ok(Exit::Done)
        }
    }
}

/// A runtime for commands that wait for one thing at a time.
fn small_runtime() -> Result<tokio::runtime::Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::failed)
}

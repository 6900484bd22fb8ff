//! `certmint acme …`.

#[cfg(feature = "acme")]
mod account;
#[cfg(feature = "acme")]
mod desk;
#[cfg(feature = "acme")]
mod issue;
#[cfg(feature = "acme")]
mod order;
#[cfg(feature = "acme")]
mod request;
#[cfg(feature = "acme")]
mod revoke;

#[cfg(feature = "acme")]
pub(super) use request::{each_once, prove, second_ca};

use crate::cli::args::AcmeCommand;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;

#[cfg(feature = "acme")]
pub(super) fn run(
    command: AcmeCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    match command {
        AcmeCommand::Issue(args) => issue::run(&args, context, printer),
        AcmeCommand::Account(command) => account::run(&command, context, printer),
        AcmeCommand::Revoke(args) => revoke::run(&args, context, printer),
    }
}

#[cfg(not(feature = "acme"))]
pub(super) fn run(_: AcmeCommand, _: &mut Context, _: &mut Printer) -> Result<Exit, CliError> {
    let error = anyhow::anyhow!("this certmint was built without ACME");
    Err(CliError::failed(error).hint("use a build with the feature `acme`".to_owned()))
}

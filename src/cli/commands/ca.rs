//! `certmint ca …`.

mod account;
mod backup;
mod eab;
mod init;
mod issue;
mod list;
mod others;
mod revoke;
mod rotate;
#[cfg(feature = "acme")]
mod serve;
mod sign;
mod status;
mod trust;

use std::sync::Arc;

use crate::cli::args::{CaCommand, PassphraseArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::identifier::{NameConstraints, Subtree};
use crate::pki::{Authority, PrivateCa};

#[cfg(feature = "acme")]
pub(super) use init::ensure_in;
pub(super) use init::{announce, ensure};

pub(super) fn run(
    command: CaCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    match command {
        CaCommand::Init(args) => init::run(args, context, printer),
        CaCommand::Status(args) => status::run(&args, context, printer),
        CaCommand::Issue(args) => issue::run(&args, context, printer),
        CaCommand::Sign(args) => sign::run(args, context, printer),
        CaCommand::List(args) => list::run(args, context, printer),
        CaCommand::Revoke(args) => revoke::revoke(&args, context, printer),
        CaCommand::Crl(args) => revoke::crl(&args, context, printer),
        CaCommand::Rotate(command) => rotate::run(command, context, printer),
        CaCommand::Trust(command) => trust::run(command, context, printer),
        #[cfg(feature = "acme")]
        CaCommand::Serve(args) => serve::run(*args, context, printer),
        #[cfg(not(feature = "acme"))]
        CaCommand::Serve(_) => Err(crate::serve::ServeError::WithoutAcme.into()),
        CaCommand::Eab(command) => eab::run(command, context, printer),
        CaCommand::Account(command) => account::run(command, context, printer),
        CaCommand::Backup(args) => backup::backup(&args, context, printer),
        CaCommand::Restore(args) => backup::restore(&args, context, printer),
    }
}

/// Refuses to permit what the CA's constraints rule out whole.
fn check_permit(permit: &[Subtree], constraints: &NameConstraints) -> Result<(), CliError> {
    match permit
        .iter()
        .find(|subtree| subtree.is_outside(constraints))
    {
        None => Ok(()),
        Some(outside) => Err(CliError::usage(format!(
            "`--permit {outside}` is outside what this CA may issue for (`{constraints}`)"
        ))),
    }
}

/// Opens the CA for signing, asking for its passphrase when its key has one.
fn open_ca(context: &mut Context, args: &PassphraseArgs) -> Result<PrivateCa, CliError> {
    let authority = Authority::open(&context.home)?;
    let encrypted = authority.active().key.is_encrypted();
    let passphrase = context.ca_passphrase(encrypted, args)?;
    Ok(PrivateCa::open(
        &context.home,
        passphrase.as_ref(),
        Arc::clone(&context.clock),
    )?)
}

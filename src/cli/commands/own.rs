//! This machine's own CA behind `--directory private`: made when there is none, and
//! unlocked.

use std::path::Path;

use super::ca::{announce, ensure_in};
use crate::cli::args::PassphraseArgs;
use crate::cli::report::{CliError, Printer};
use crate::cli::resolve::Context;
use crate::key::Passphrase;
use crate::pki::Authority;

/// What to do without a CA, and without its passphrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// Serving, which begins without the passphrase when there is a valid certificate.
    Serving,
    /// One certificate.
    Issuing,
    /// Speaking of what was issued: a CA that is made now would know nothing of it.
    Asking,
}

/// Makes the CA of the state directory when there is none, says so, and gives what
/// unlocks it.
pub(super) fn prepare(
    what: For,
    args: &PassphraseArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Option<Passphrase>, CliError> {
    let given = match &args.passphrase_file {
        Some(file) => Some(context.read_passphrase(file)?),
        None => None,
    };
    let home = context.home.clone();
    let made = what != For::Asking && ensure_in(&home, given.clone(), context, printer)?;
    let authority = Authority::open(&home)?;
    if made || what == For::Serving {
        announce(&authority, printer);
    }
    let locked = authority.active().key.is_encrypted();
    let nobody = what == For::Serving && !context.can_ask();
    if given.is_some() || !locked || nobody {
        return Ok(given);
    }
    let what = "the CA's intermediate key";
    context.passphrase_for(None, what).map(Some)
}

/// Makes the CA in `home` when there is none, with `secret` for its keys, and says so.
pub(super) fn make(
    home: &Path,
    secret: Option<Passphrase>,
    context: &Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    if ensure_in(home, secret, context, printer)? {
        announce(&Authority::open(home)?, printer);
    }
    Ok(())
}

impl PassphraseArgs {
    /// Refuses the passphrase of a CA that is not asked.
    pub(super) fn refuse(&self) -> Result<(), CliError> {
        match &self.passphrase_file {
            None => Ok(()),
            Some(_) => Err(CliError::usage(
                "`--passphrase-file` unlocks this machine's own CA, and that is not asked",
            )
            .hint("leave it out, or give `--directory private`".to_owned())),
        }
    }
}

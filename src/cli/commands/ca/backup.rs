//! `certmint ca backup` and `certmint ca restore`.

use crate::cli::args::{BackupArgs, RestoreArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::table::counted;
use crate::clock::rfc3339;
use crate::pki::{Authority, backup as archive};

pub(super) fn backup(
    args: &BackupArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let ledger = Authority::open(&context.home)?.ledger()?;
    let made = archive::create(&context.home, &args.archive, &ledger, context.now())?;
    printer.result(&format!(
        "saved the CA and {} ({}) to {}\n",
        counted(made.certificates, "certificate"),
        counted(made.files, "file"),
        args.archive.display()
    ));
    printer.note("the archive holds private keys: keep it as safe as the CA itself");
    Ok(Exit::Done)
}

pub(super) fn restore(
    args: &RestoreArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let restored = archive::restore(&args.archive, &context.home, args.force, context.now())?;
    printer.result(&format!(
        "restored the CA and {}, saved at {}, into {}\n",
        counted(restored.contents.certificates, "certificate"),
        rfc3339(restored.contents.made_at),
        context.home.display()
    ));
    if let Some(moved) = &restored.moved {
        printer.result(&format!(
            "what was there before is in {}\n",
            moved.display()
        ));
    }
    Ok(Exit::Done)
}

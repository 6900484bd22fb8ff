//! `certmint ca rotate intermediate|root`.

use crate::cli::args::{RotateArgs, RotateCommand, RotateRootArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::key::{Passphrase, PrivateKey};
use crate::pki::{
    Authority, KeyLocation, RotateIntermediate, RotateRoot, finish_root_rotation,
    rotate_intermediate, rotate_root,
};
use crate::store::disk;

pub(super) fn run(
    command: RotateCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    match command {
        RotateCommand::Intermediate(args) => intermediate(args, context, printer),
        RotateCommand::Root(args) if args.finish => finish(context, printer),
        RotateCommand::Root(args) => root(args, context, printer),
    }
}

fn intermediate(
    args: RotateArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let secrets = Secrets::read(&args, context)?;
    let request = RotateIntermediate {
        root_key: args.root_key,
        root_passphrase: secrets.root,
        passphrase: secrets.intermediate,
    };
    let rotation = rotate_intermediate(&context.home, &request, context.now())?;
    printer.result(&format!("{} signs from now on\n", rotation.intermediate));
    printer.note("certificates issued before stay valid; `certmint renew` replaces them in time");
    Ok(Exit::Done)
}

fn root(
    args: RotateRootArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let secrets = Secrets::read(&args.rotate, context)?;
    let request = RotateRoot {
        root_key: args.rotate.root_key,
        root_passphrase: secrets.root,
        intermediate_passphrase: secrets.intermediate,
        ..RotateRoot::default()
    };
    let rotation = rotate_root(&context.home, &request, context.now())?;
    let roots = rotation.authority.paths().root_export();
    printer.result(&format!(
        "{} is the root from now on, and {} signs under it\n",
        rotation.root, rotation.intermediate
    ));
    if let Some(path) = &rotation.root_key {
        printer.result(&format!("its key is in {}\n", path.display()));
    }
    printer.note(&format!(
        "next:\n  1. `certmint renew` gives every certificate a chain that clients of both roots verify\n  \
         2. install {} on every client: it holds both roots\n  \
         3. `certmint ca rotate root --finish` once no client needs the old root",
        roots.display()
    ));
    Ok(Exit::Done)
}

fn finish(context: &mut Context, printer: &mut Printer) -> Result<Exit, CliError> {
    let authority = finish_root_rotation(&context.home, context.now())?;
    printer.result(&format!(
        "{} holds only {} from now on\n",
        authority.paths().root_export().display(),
        authority.newest_root().name
    ));
    Ok(Exit::Done)
}

/// The passphrases that a rotation needs.
struct Secrets {
    root: Option<Passphrase>,
    intermediate: Option<Passphrase>,
}

impl Secrets {
    fn read(args: &RotateArgs, context: &mut Context) -> Result<Self, CliError> {
        let authority = Authority::open(&context.home)?;
        let encrypted = authority.active().key.is_encrypted();
        let intermediate = context.ca_passphrase(encrypted, &args.passphrase)?;
        let root = match &args.root_passphrase_file {
            Some(file) => Some(context.read_passphrase(file)?),
            None if !root_is_encrypted(args, &authority)? => None,
            None if intermediate.is_some() => intermediate.clone(),
            None => Some(context.passphrase_for(None, "the root key")?),
        };
        Ok(Self { root, intermediate })
    }
}

fn root_is_encrypted(args: &RotateArgs, authority: &Authority) -> Result<bool, CliError> {
    let path = match (&args.root_key, &authority.newest_root().key) {
        (Some(path), _) => path,
        (None, KeyLocation::Here { encrypted, .. }) => return Ok(*encrypted),
        // What is missing is said by the rotation itself.
        (None, KeyLocation::Elsewhere) => return Ok(false),
    };
    Ok(PrivateKey::is_encrypted(&zeroize::Zeroizing::new(
        disk::read(path)?,
    )))
}

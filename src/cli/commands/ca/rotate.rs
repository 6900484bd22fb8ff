//! `certmint ca rotate intermediate|root`.

use super::others;
use crate::cli::args::{RotateArgs, RotateCommand, RotateRootArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::table::grouped;
use crate::directory::state::Signed;
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
        RotateCommand::Root(args) if args.finish => finish(&args, context, printer),
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
        "next:\n  1. `certmint renew` gives every certificate kept here a chain that clients of both roots \
         verify;\n     ACME clients of `certmint ca serve` renew by themselves, those without RFC 9773 \
         at their\n     next renewal\n  2. install {} on every client: it holds both roots\n  \
         3. `certmint ca rotate root --finish` once no client needs the old root;\n     \
         it refuses while valid certificates have no other above them",
        roots.display()
    ));
    Ok(Exit::Done)
}

fn finish(
    args: &RotateRootArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let left = left_behind(context)?;
    if !left.is_empty() && !args.force {
        let said = anyhow::Error::msg(told(&left));
        return Err(CliError::failed(said).hint(
            "let their clients renew (`certmint ca status` shows whose they are), or go on with \
             `--force`: clients of the new root alone refuse them"
                .to_owned(),
        ));
    }
    let authority = finish_root_rotation(&context.home, context.now())?;
    printer.result(&format!(
        "{} holds only {} from now on\n",
        authority.paths().root_export().display(),
        authority.newest_root().name
    ));
    if !left.is_empty() {
        printer.warn(&told(&left));
    }
    Ok(Exit::Done)
}

/// What was signed for others and would be left without a root. Nothing where there is no
/// rotation to finish, which is said by whoever finishes it.
fn left_behind(context: &Context) -> Result<Vec<Signed>, CliError> {
    let authority = Authority::open(&context.home)?;
    let newest = authority.newest_root();
    let may_end = authority.active().issuer == newest.name
        && authority
            .roots()
            .iter()
            .any(|root| !root.retired && root.name != newest.name);
    if !may_end {
        return Ok(Vec::new());
    }
    others::left_behind(&authority, &authority.ledger()?, context.now())
}

fn told(left: &[Signed]) -> String {
    /// More than these are counted.
    const SHOWN: usize = 3;
    let names = left.iter().take(SHOWN).map(|one| one.names.lines().next());
    let mut names = names.flatten().collect::<Vec<_>>().join(", ");
    if left.len() > SHOWN {
        names.push_str(", …");
    }
    match left.len() {
        1 => format!("a certificate that is valid has only the old root above it: {names}"),
        n => format!(
            "{} certificates that are valid have only the old root above them: {names}",
            grouped(n as u64)
        ),
    }
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

//! `certmint ca init`.

use std::fmt::Write as _;
use std::path::Path;

use crate::cli::args::{InitArgs, PassphraseArgs};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::rfc3339;
use crate::identifier::NameConstraints;
use crate::key::Passphrase;
use crate::pki::{self, Authority, CaName, InitOutcome, InitRequest};

pub(super) fn run(
    args: InitArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let json = args.json;
    let request = request(args, context)?;
    let outcome = pki::init(&context.home, &request, context.now())?;
    if json {
        printer.json(&as_json(&outcome));
    } else {
        print_made(&outcome, printer);
    }
    Ok(Exit::Done)
}

fn request(args: InitArgs, context: &mut Context) -> Result<InitRequest, CliError> {
    let name = match args.name {
        Some(name) => name,
        None => default_name(&context.hostname)?,
    };
    let both: Option<Passphrase> = match &args.passphrase_file {
        Some(file) => Some(context.read_passphrase(file)?),
        None if args.encrypt => Some(context.new_passphrase("the CA's keys")?),
        None => None,
    };
    let root = match &args.root_passphrase_file {
        Some(file) => Some(context.read_passphrase(file)?),
        None => both.clone(),
    };
    Ok(InitRequest {
        org: args.org,
        country: args.country,
        key_type: args.key_type,
        root_days: args.root_days,
        intermediate_days: args.intermediate_days,
        permit: NameConstraints::new(args.permit),
        root_passphrase: root,
        intermediate_passphrase: both,
        root_out: args.root_out,
        crl_url: args.crl_url,
        if_missing: args.if_missing,
        force: args.force,
        ..InitRequest::new(name)
    })
}

/// Two machines' CAs should not have one name: clients tell roots apart by it.
fn default_name(hostname: &str) -> Result<CaName, CliError> {
    let host: String = hostname.chars().take(CaName::MAX - 3).collect();
    CaName::try_from(format!("{host} CA"))
        .or_else(|_| CaName::try_from("Private CA".to_owned()))
        .map_err(CliError::failed)
}

/// Makes the CA with its defaults when there is none (`serve-ca --init`).
pub(in crate::cli::commands) fn ensure(
    context: &mut Context,
    passphrase: &PassphraseArgs,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let secret = match &passphrase.passphrase_file {
        Some(file) => Some(context.read_passphrase(file)?),
        None => None,
    };
    ensure_in(&context.home, secret, context, printer).map(drop)
}

/// Makes the CA in `home` with its defaults when there is none, and says whether it did.
pub(in crate::cli::commands) fn ensure_in(
    home: &Path,
    secret: Option<Passphrase>,
    context: &Context,
    printer: &mut Printer,
) -> Result<bool, CliError> {
    let request = InitRequest {
        root_passphrase: secret.clone(),
        intermediate_passphrase: secret,
        if_missing: true,
        ..InitRequest::new(default_name(&context.hostname)?)
    };
    let outcome = pki::init(home, &request, context.now())?;
    if outcome.created {
        printer.note(&format!(
            "made the private CA \"{}\"",
            outcome.authority.config().name
        ));
    }
    Ok(outcome.created)
}

/// Where the root is, for whoever has to trust it.
pub(in crate::cli::commands) fn announce(authority: &Authority, printer: &mut Printer) {
    let root = authority.active_root();
    printer.note(&format!(
        "root certificate   {}\nsha256 fingerprint {}",
        authority.paths().root_export().display(),
        root.certificate.fingerprint()
    ));
}

fn print_made(outcome: &InitOutcome, printer: &mut Printer) {
    let authority = &outcome.authority;
    let name = &authority.config().name;
    if !outcome.created {
        printer.note(&format!(
            "there is a CA already, \"{name}\": nothing was done"
        ));
        return;
    }
    let root = authority.active_root();
    let intermediate = authority.active();
    let mut text = format!("made the private CA \"{name}\"\n");
    for (label, certificate) in [
        ("root", &root.certificate),
        ("intermediate", &intermediate.certificate),
    ] {
        let _ = writeln!(
            text,
            "  {label:<14} {}, {}, valid until {}",
            certificate.common_name().unwrap_or_default(),
            certificate.key_description(),
            rfc3339(certificate.not_after())
        );
    }
    let _ = writeln!(
        text,
        "  {:<14} {}",
        "root file",
        authority.paths().root_export().display()
    );
    let _ = writeln!(
        text,
        "  {:<14} {}",
        "sha256",
        root.certificate.fingerprint()
    );
    if let Some(path) = &outcome.root_key {
        let _ = writeln!(text, "  {:<14} {}", "root key", path.display());
    }
    if let Some(path) = &outcome.backup {
        let _ = writeln!(text, "  {:<14} {}", "old CA", path.display());
    }
    printer.result(&text);
    printer.note("make this machine trust it with `certmint ca trust install`");
}

/// `certmint.ca-init/1`; fields are only ever added.
fn as_json(outcome: &InitOutcome) -> serde_json::Value {
    let authority = &outcome.authority;
    let root = &authority.active_root().certificate;
    serde_json::json!({
        "schema": "certmint.ca-init/1",
        "created": outcome.created,
        "name": authority.config().name,
        "root": {
            "path": authority.paths().root_export(),
            "sha256": root.sha256_hex(),
            "not_after": rfc3339(root.not_after()),
        },
        "intermediate": {
            "sha256": authority.active().certificate.sha256_hex(),
            "not_after": rfc3339(authority.active().certificate.not_after()),
        },
        "root_key": outcome.root_key,
        "backup": outcome.backup,
    })
}

//! `certmint serve…`: with flags, one listener; with a file, any number (`file`).

mod demand;
mod file;
#[cfg(feature = "acme")]
mod public;

use std::path::Path;
use std::sync::Arc;

pub(super) use file::run as file;
#[cfg(feature = "acme")]
pub(super) use public::acme;

use super::ca::{announce, ensure};
use crate::cli::Environment;
use crate::cli::args::{
    CaListenerArgs, CustomListenerArgs, OperationArgs, PassphraseArgs, ServeCaArgs,
    ServeCustomArgs, ServeInsecureArgs,
};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::site::settings;
use crate::clock::rfc3339;
use crate::identifier::{CertId, Identifier, summary};
use crate::issuer::{IssuerRef, Profile, Usage};
use crate::key::{Passphrase, PrivateKey};
use crate::pki::{Authority, CaError, CaPaths};
use crate::serve::{
    CustomFiles, NamedLeaf, Plan, PrivateLeaf, RawKeyFile, Ready, Reread, ServeMode, Shown, Site,
    Supervisor, Surroundings, serve,
};
use crate::server::Ended;
use crate::store::disk;

/// `serve-ca`: mints once, renews in process.
pub(super) fn ca(
    args: ServeCaArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listener = &args.listener;
    let settings = settings(listener.https, &listener.site, Some(&listener.tls))?;
    if args.init {
        ensure(context, &listener.passphrase, printer)?;
    }
    // Without its CA a server still starts on a certificate that is valid; the
    // library knows whether there is one.
    let opened = Authority::open(&context.home);
    let none = matches!(opened, Err(CaError::NotInitialised { .. }));
    let authority = opened.ok();
    let passphrase = passphrase(authority.as_ref(), context, &listener.passphrase)?;
    let site = Site {
        place: None,
        mode: private_mode(listener, &context.home, passphrase)?,
        listener: settings,
        http: listener.http.0,
    };
    if let Some(authority) = &authority {
        announce(authority, printer);
    }
    let root = CaPaths::new(&context.home).root_export();
    let served = run(site, args.operation, context, |ready| {
        printer.note(&how_to_try(ready, &listener.names, &root));
    });
    let how = "or let `--init` make the CA".to_owned();
    served.map_err(|error| error.hint(none.then_some(how)))
}

/// A certificate of the private CA in `home`.
fn private_mode(
    args: &CaListenerArgs,
    home: &Path,
    passphrase: Option<Passphrase>,
) -> Result<ServeMode, CliError> {
    let lifetime_seconds = Some(u64::from(args.days) * 86_400);
    let leaf = args.names.first().map(|first| PrivateLeaf {
        home: home.to_owned(),
        id: CertId::for_name(first),
        profile: Profile {
            names: args.names.clone(),
            key_type: args.key_type,
            usage: Usage::Server,
            lifetime_seconds,
        },
        passphrase: passphrase.clone(),
    });
    if args.on_demand.on_demand {
        let base = demand::Base {
            home: home.to_owned(),
            cache_dir: home.to_owned(),
            issuer: IssuerRef::Private,
            key_type: args.key_type,
            lifetime_seconds,
            passphrase,
            variables: Arc::new(|_| None),
            agree_to_terms: false,
        };
        return demand::mode(&args.on_demand, leaf.map(NamedLeaf::Private), base);
    }
    demand::refuse_settings(&args.on_demand)?;
    let leaf = leaf.ok_or_else(|| CliError::usage("no name was given"))?;
    Ok(ServeMode::Ca(leaf))
}

/// Unlocks the CA's key, if it needs that. With nobody to ask the server starts all
/// the same when its certificate is valid, and says that it cannot renew it.
fn passphrase(
    authority: Option<&Authority>,
    context: &mut Context,
    args: &PassphraseArgs,
) -> Result<Option<Passphrase>, CliError> {
    let encrypted = authority.is_some_and(|a| a.active().key.is_encrypted());
    let nobody = !(context.terminals.stdin && context.terminals.stderr);
    if args.passphrase_file.is_none() && nobody {
        return Ok(None);
    }
    context.ca_passphrase(encrypted, args)
}

/// `serve-acme`, which nobody can do here.
#[cfg(not(feature = "acme"))]
pub(super) fn acme(
    _: crate::cli::args::ServeAcmeArgs,
    _: &mut Context,
    _: &mut Printer,
) -> Result<Exit, CliError> {
    Err(crate::serve::ServeError::WithoutAcme.into())
}

/// `serve-custom`: serves what is in two files, a bare key, or what it makes itself.
pub(super) fn custom(
    args: ServeCustomArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listener = &args.listener;
    let settings = settings(listener.https, &listener.site, Some(&listener.tls))?;
    let passphrase = match locked_key(listener) {
        Some(key) if is_encrypted(key)? => {
            let what = format!("the private key `{}`", key.display());
            Some(context.passphrase_for(listener.passphrase_file.as_deref(), &what)?)
        }
        _ => None,
    };
    let site = Site {
        place: None,
        mode: custom_mode(listener, passphrase),
        listener: settings,
        http: listener.http.0,
    };
    run(site, args.operation, context, |ready| tell(ready, printer))
}

/// The file of the key, which may be encrypted.
fn locked_key(args: &CustomListenerArgs) -> Option<&Path> {
    args.raw_key.as_deref().or(args.key.as_deref())
}

fn is_encrypted(key: &Path) -> Result<bool, CliError> {
    let key = zeroize::Zeroizing::new(disk::read(key)?);
    Ok(PrivateKey::is_encrypted(&key))
}

fn custom_mode(args: &CustomListenerArgs, passphrase: Option<Passphrase>) -> ServeMode {
    match (&args.raw_key, &args.cert, &args.key) {
        (Some(key), ..) => ServeMode::RawKey(RawKeyFile {
            key: key.clone(),
            passphrase,
        }),
        (None, Some(cert), Some(key)) => ServeMode::Custom(CustomFiles {
            cert: cert.clone(),
            key: key.clone(),
            passphrase,
        }),
        // One of the three is required, and a certificate with its key.
        _ => ServeMode::SelfSigned(args.self_signed.clone()),
    }
}

/// `serve-insecure`: plain HTTP, said loudly.
pub(super) fn insecure(
    args: ServeInsecureArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listener = &args.listener;
    let site = Site {
        place: None,
        mode: ServeMode::Insecure {
            allow_remote: listener.allow_remote,
        },
        listener: settings(listener.http, &listener.site, None)?,
        http: None,
    };
    run(site, args.operation, context, |ready| tell(ready, printer))
}

/// Serves one site until told to stop. What its files hold is read again on SIGHUP.
pub(super) fn run(
    site: Site,
    operation: OperationArgs,
    context: &mut Context,
    on_ready: impl FnMut(&Ready),
) -> Result<Exit, CliError> {
    let plan = Plan {
        sites: vec![site],
        operation: operation.operation(),
        for_next_start: Vec::new(),
    };
    let again = plan.clone();
    serve_plan(plan, Arc::new(move || Ok(again.clone())), context, on_ready)
}

fn serve_plan(
    plan: Plan,
    reread: Arc<Reread>,
    context: &mut Context,
    on_ready: impl FnMut(&Ready),
) -> Result<Exit, CliError> {
    let surroundings = Surroundings {
        clock: Arc::clone(&context.clock),
        supervisor: supervisor(&context.environment),
        log_format: context.log_lines,
        sockets: std::mem::take(&mut context.sockets),
        reread,
    };
    match serve(plan, surroundings, on_ready)? {
        Ended::Drained => {}
        Ended::Cut(connections) => tracing::warn!(connections, "stopped with connections open"),
    }
    Ok(Exit::Done)
}

/// The service manager that started us, if one did.
fn supervisor(environment: &Environment) -> Supervisor {
    let get = |name| environment.get_set(name);
    Supervisor::new(get("NOTIFY_SOCKET")).with_watchdog(get("WATCHDOG_USEC"), get("WATCHDOG_PID"))
}

/// Says where it serves; what protects nobody, with a warning.
fn tell(ready: &Ready, printer: &mut Printer) {
    match &ready.shown {
        Shown::Nothing => {
            printer.warn("plain http: what passes can be read and changed by anybody on the way");
        }
        Shown::SelfSigned(_) => printer.warn(
            "self-signed: clients cannot tell this server from anybody else's; for trying out \
             alone",
        ),
        Shown::Certificate(_) | Shown::RawKey(_) | Shown::OnDemand => {}
    }
    printer.note(&serving(ready));
}

/// Where it serves, in one line that scripts can wait for.
pub(super) fn serving(ready: &Ready) -> String {
    let address = ready.address;
    match &ready.shown {
        Shown::Nothing => format!("serving http://{address}"),
        Shown::Certificate(leaf) | Shown::SelfSigned(leaf) => format!(
            "serving https://{address} for {}, certificate valid until {}",
            summary(leaf.names()),
            rfc3339(leaf.not_after())
        ),
        Shown::OnDemand => format!("serving https://{address}, certificates on demand"),
        Shown::RawKey(fingerprint) => {
            format!("serving https://{address} with the raw public key {fingerprint}")
        }
    }
}

fn how_to_try(ready: &Ready, names: &[Identifier], root: &Path) -> String {
    let port = ready.address.port();
    let url = match names.first() {
        Some(Identifier::Ip(std::net::IpAddr::V6(address))) => {
            format!("https://[{address}]:{port}/")
        }
        Some(name) => format!("https://{name}:{port}/"),
        None => format!(
            "--resolve NAME:{port}:{} https://NAME:{port}/",
            ready.address.ip()
        ),
    };
    format!(
        "{}\n  try it with      curl --cacert {} {url}\n  trust it here    certmint ca trust install",
        serving(ready),
        root.display(),
    )
}

//! `certmint serve-ca`, `serve-custom` and `serve-insecure`; `serve-acme` is `public`'s.

#[cfg(feature = "acme")]
mod public;

use std::path::Path;
use std::sync::Arc;

#[cfg(feature = "acme")]
pub(super) use public::acme;

use super::ca::{announce, ensure};
use crate::cli::args::{
    ContentArgs, PassphraseArgs, ServeCaArgs, ServeCustomArgs, ServeInsecureArgs,
};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::rfc3339;
use crate::identifier::{CertId, Identifier, summary};
use crate::issuer::{Profile, Usage};
use crate::key::{Passphrase, PrivateKey};
use crate::pki::{Authority, CaError, CaPaths};
use crate::serve::{CustomFiles, PrivateLeaf, Ready, ServeMode, Site, Supervisor, serve};
use crate::server::Ended;
use crate::settings::{Content, Limits, ListenAddr, ListenerSettings};
use crate::store::disk;

/// `serve-ca`: mints once, renews in process.
pub(super) fn ca(
    args: ServeCaArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    if args.init {
        ensure(context, &args.passphrase, printer)?;
    }
    // Without its CA a server still starts on a certificate that is valid; the
    // library knows whether there is one.
    let opened = Authority::open(&context.home);
    let none = matches!(opened, Err(CaError::NotInitialised { .. }));
    let authority = opened.ok();
    let passphrase = passphrase(authority.as_ref(), context, &args.passphrase)?;
    let first = args
        .names
        .first()
        .ok_or_else(|| CliError::usage("no name was given"))?;
    let leaf = PrivateLeaf {
        home: context.home.clone(),
        id: CertId::for_name(first),
        profile: Profile {
            names: args.names.clone(),
            key_type: args.key_type,
            usage: Usage::Server,
            lifetime_seconds: Some(u64::from(args.days) * 86_400),
        },
        passphrase,
    };
    if let Some(authority) = &authority {
        announce(authority, printer);
    }
    let root = CaPaths::new(&context.home).root_export();
    let served = run(
        ServeMode::Ca(leaf),
        args.https,
        None,
        args.content,
        context,
        |ready| {
            printer.note(&how_to_try(ready, &args.names, &root));
        },
    );
    let how = "or let `--init` make the CA".to_owned();
    served.map_err(|error| error.hint(none.then_some(how)))
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

/// `serve-custom`: serves what is in two files.
pub(super) fn custom(
    args: ServeCustomArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let encrypted = PrivateKey::is_encrypted(&zeroize::Zeroizing::new(disk::read(&args.key)?));
    let passphrase = if encrypted {
        let what = format!("the private key `{}`", args.key.display());
        Some(context.passphrase_for(args.passphrase_file.as_deref(), &what)?)
    } else {
        None
    };
    let files = CustomFiles {
        cert: args.cert,
        key: args.key,
        passphrase,
    };
    run(
        ServeMode::Custom(files),
        args.https,
        None,
        args.content,
        context,
        |ready| {
            printer.note(&serving(ready));
        },
    )
}

/// `serve-insecure`: plain HTTP, said loudly.
pub(super) fn insecure(
    args: ServeInsecureArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let mode = ServeMode::Insecure {
        allow_remote: args.allow_remote,
    };
    run(mode, args.http, None, args.content, context, |ready| {
        printer.warn("plain http: what passes can be read and changed by anybody on the way");
        printer.note(&serving(ready));
    })
}

fn run(
    mode: ServeMode,
    address: ListenAddr,
    admin: Option<ListenAddr>,
    content: ContentArgs,
    context: &Context,
    on_ready: impl FnOnce(&Ready),
) -> Result<Exit, CliError> {
    let content = match (content.upstream, content.root) {
        (Some(upstream), _) => Content::Upstream(upstream),
        (None, Some(root)) => Content::Root(root),
        (None, None) => Content::Page,
    };
    let listener = ListenerSettings {
        address,
        content,
        limits: Limits::default(),
    };
    let site = Site {
        mode,
        listener,
        admin,
        supervisor: Supervisor::new(context.environment.get_set("NOTIFY_SOCKET")),
    };
    match serve(site, Arc::clone(&context.clock), on_ready)? {
        Ended::Drained => {}
        Ended::Cut(connections) => tracing::warn!(connections, "stopped with connections open"),
    }
    Ok(Exit::Done)
}

/// Where it serves, in one line that scripts can wait for.
fn serving(ready: &Ready) -> String {
    match &ready.certificate {
        None => format!("serving http://{}", ready.address),
        Some(leaf) => format!(
            "serving https://{} for {}, certificate valid until {}",
            ready.address,
            summary(leaf.names()),
            rfc3339(leaf.not_after())
        ),
    }
}

fn how_to_try(ready: &Ready, names: &[Identifier], root: &Path) -> String {
    let port = ready.address.port();
    let url = match names.first() {
        Some(Identifier::Ip(std::net::IpAddr::V6(address))) => {
            format!("https://[{address}]:{port}/")
        }
        Some(name) => format!("https://{name}:{port}/"),
        None => String::new(),
    };
    format!(
        "{}\n  try it with      curl --cacert {} {url}\n  trust it here    certmint ca trust install",
        serving(ready),
        root.display(),
    )
}

//! `certmint serve-acme`: obtains through its own ports, renews in process.

use std::path::Path;
use std::sync::Arc;

use super::{demand, how_to_try, run, tell};
use crate::cli::Environment;
use crate::cli::args::{AcmeListenerArgs, ProofArgs, PublicCaArgs, ServeAcmeArgs};
use crate::cli::commands::acme::{each_once, prove, second_ca};
use crate::cli::commands::issuing::absolute;
use crate::cli::commands::own::{self, For};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::site::settings;
use crate::identifier::CertId;
use crate::issuer::{AcmeRef, ChallengeKind, Directory, IssuerRef, Profile, Usage};
use crate::key::Passphrase;
use crate::pki::CaPaths;
use crate::renew::issuers::Variables;
use crate::serve::{NamedLeaf, PublicLeaf, ServeMode, Site};
use crate::settings::ListenAddr;

/// `serve-acme`.
pub(in crate::cli::commands) fn acme(
    args: ServeAcmeArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listener = &args.listener;
    let mut site = Site {
        place: None,
        mode: mode(listener, None, &context.home, &context.environment)?,
        listener: settings(listener.https, &listener.site, Some(&listener.tls))?,
        http: listener.http.0,
    };
    if !asks_ours(&listener.ca) {
        return run(site, args.operation, context, |ready| tell(ready, printer));
    }
    let passphrase = own::prepare(For::Serving, &listener.passphrase, context, printer)?;
    unlock(&mut site.mode, passphrase);
    let root = CaPaths::new(&context.home).root_export();
    run(site, args.operation, context, |ready| {
        printer.note(&how_to_try(ready, &listener.names, &root));
    })
}

/// Whether this machine's own CA may be asked.
fn asks_ours(args: &PublicCaArgs) -> bool {
    let mut all = std::iter::once(&args.directory).chain(&args.asked.fallback);
    all.any(Directory::is_private)
}

/// Sets what unlocks this machine's own CA, where that is asked.
pub(super) fn unlock(mode: &mut ServeMode, passphrase: Option<Passphrase>) {
    match mode {
        ServeMode::Acme(leaf) => leaf.passphrase = passphrase,
        ServeMode::OnDemand(site) => {
            if let Some(NamedLeaf::Public(leaf)) = &mut site.named {
                leaf.passphrase.clone_from(&passphrase);
            }
            site.passphrase = passphrase;
        }
        _ => {}
    }
}

/// What is to be served, and everything that a renewal needs to ask the same again,
/// also outside this server. DNS credentials are in `credentials` where no other file is
/// named.
pub(super) fn mode(
    args: &AcmeListenerArgs,
    credentials: Option<&Path>,
    home: &Path,
    environment: &Environment,
) -> Result<ServeMode, CliError> {
    if !asks_ours(&args.ca) {
        args.passphrase.refuse()?;
    }
    let names = each_once(args.names.clone());
    let http = args.http.0;
    let directory = args.ca.directory.clone();
    let asked = &args.ca.asked;
    let base = AcmeRef {
        ca_file: asked.ca_file.as_deref().map(absolute).transpose()?,
        fallback: second_ca(asked.fallback.clone(), &directory)?,
        contact: args.account.emails.clone(),
        eab: args.account.external_ref()?,
        profile: asked.profile.clone(),
        preferred_chain: asked.preferred_chain.clone(),
        ..AcmeRef::new(directory)
    };
    let mut proof = ProofArgs {
        challenge: args.proof.challenge,
        http: None,
        https: None,
        elsewhere: args.proof.elsewhere.clone(),
    };
    let dns = &mut proof.elsewhere;
    if dns.dns.is_some() || proof.challenge == Some(ChallengeKind::Dns01) {
        dns.dns_file = dns
            .dns_file
            .take()
            .or_else(|| credentials.map(Path::to_owned));
    }
    let issuer = AcmeRef {
        http: http.map(|ListenAddr(address)| address),
        https: Some(args.https.0),
        ..prove(&proof, &names, base)?
    };
    let issuer = answered(issuer)?;
    let environment = environment.clone();
    let variables: Arc<Variables> =
        Arc::new(move |name| environment.get_set(name).map(str::to_owned));
    let cache_dir = match &args.cache_dir {
        Some(dir) => absolute(dir)?,
        None => home.to_owned(),
    };
    let leaf = names.first().map(|first| PublicLeaf {
        home: home.to_owned(),
        cache_dir: cache_dir.clone(),
        id: CertId::for_name(first),
        issuer: issuer.clone(),
        profile: Profile {
            names: names.clone(),
            key_type: args.key_type,
            usage: Usage::Server,
            lifetime_seconds: None,
        },
        passphrase: None,
        variables: Arc::clone(&variables),
        agree_to_terms: args.account.agree_tos,
        start_timeout: args.start_timeout.unsigned_abs(),
    });
    if args.on_demand.on_demand {
        let base = demand::Base {
            home: home.to_owned(),
            cache_dir,
            issuer: IssuerRef::Acme(Box::new(issuer)),
            key_type: args.key_type,
            lifetime_seconds: None,
            passphrase: None,
            variables,
            agree_to_terms: args.account.agree_tos,
        };
        let named = leaf.map(|leaf| NamedLeaf::Public(Box::new(leaf)));
        return demand::mode(&args.on_demand, named, base);
    }
    demand::refuse_settings(&args.on_demand)?;
    let leaf = leaf.ok_or_else(|| CliError::usage("no name was given"))?;
    Ok(ServeMode::Acme(Box::new(leaf)))
}

/// http-01 needs somebody to answer it, and falls away as the second choice when
/// nobody does.
fn answered(issuer: AcmeRef) -> Result<AcmeRef, CliError> {
    let unanswered = issuer.http.is_none() && issuer.webroot.is_none();
    match issuer.challenge {
        Some(ChallengeKind::Http01) if unanswered => Err(CliError::usage(
            "nobody would answer http-01: `--http` is off",
        )
        .hint(
            "leave out `--http off`, or name the files of another server with `--webroot`"
                .to_owned(),
        )),
        None if unanswered => Ok(AcmeRef {
            challenge: Some(ChallengeKind::TlsAlpn01),
            ..issuer
        }),
        _ => Ok(issuer),
    }
}

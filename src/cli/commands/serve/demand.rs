//! `--on-demand`: from its flags to what is made for whom.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::args::{OnDemandArgs, OnMissKind};
use crate::cli::report::CliError;
use crate::clock::Duration;
use crate::issuer::IssuerRef;
use crate::key::{KeyType, Passphrase};
use crate::net::roots::Roots;
use crate::on_demand::caps::CapSettings;
use crate::on_demand::{OnMiss, Settings};
use crate::renew::hook::Hook;
use crate::renew::issuers::Variables;
use crate::serve::{CustomFiles, NamedLeaf, OnDemand, ServeMode};

/// Names that nobody has asked for in so long are let go.
const FORGET_AFTER: Duration = Duration::days(30);

/// What is known of the CA and of where certificates are kept.
pub(super) struct Base {
    pub(super) home: PathBuf,
    pub(super) cache_dir: PathBuf,
    pub(super) issuer: IssuerRef,
    pub(super) key_type: KeyType,
    pub(super) lifetime_seconds: Option<u64>,
    pub(super) passphrase: Option<Passphrase>,
    pub(super) variables: Arc<Variables>,
    pub(super) agree_to_terms: bool,
}

/// What is served: a certificate for the names that were given, and one for each name
/// that is asked for.
pub(super) fn mode(
    args: &OnDemandArgs,
    named: Option<NamedLeaf>,
    base: Base,
) -> Result<ServeMode, CliError> {
    let public = base.issuer.is_public();
    if public && args.allow.is_empty() && args.ask.is_none() && args.allow_hook.is_none() {
        return Err(CliError::usage(
            "anybody could have certificates made, until the CA makes none any more",
        )
        .hint(
            "say whose names are served: `--allow '*.example.com'`, `--ask URL` or \
             `--allow-hook CMD`"
                .to_owned(),
        ));
    }
    let roots = args.ask_ca.clone().map_or(Roots::System, Roots::File);
    Ok(ServeMode::OnDemand(Box::new(OnDemand {
        named,
        home: base.home,
        cache_dir: base.cache_dir,
        settings: Settings {
            issuer: base.issuer,
            key_type: base.key_type,
            lifetime_seconds: base.lifetime_seconds,
            on_miss: on_miss(args, public),
            caps: caps(args, public),
            forget_after: args.forget_after.unwrap_or(FORGET_AFTER),
            provision_hook: hook(args.provision_hook.as_deref())?,
        },
        allow: args.allow.clone(),
        ask: args.ask.clone().map(|url| (url, roots)),
        allow_hook: hook(args.allow_hook.as_deref())?,
        stand_in: stand_in(args.default_cert.as_deref(), args.default_key.as_deref())?,
        passphrase: base.passphrase,
        variables: base.variables,
        agree_to_terms: base.agree_to_terms,
    })))
}

/// Refuses settings for what is not done.
pub(super) fn refuse_settings(args: &OnDemandArgs) -> Result<(), CliError> {
    let given = [
        ("allow", !args.allow.is_empty()),
        ("ask", args.ask.is_some()),
        ("ask-ca", args.ask_ca.is_some()),
        ("allow-hook", args.allow_hook.is_some()),
        ("provision-hook", args.provision_hook.is_some()),
        ("on-miss", args.on_miss.is_some()),
        ("default-cert", args.default_cert.is_some()),
        ("default-key", args.default_key.is_some()),
        ("forget-after", args.forget_after.is_some()),
        ("max-in-flight", args.max_in_flight.is_some()),
        ("max-queue", args.max_queue.is_some()),
        ("max-names-per-hour", args.max_names_per_hour.is_some()),
        ("max-names-per-domain", args.max_names_per_domain.is_some()),
        ("max-names-per-client", args.max_names_per_client.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((flag, _)) => Err(CliError::usage(format!(
            "`--{flag}` is about certificates on demand, and none are made"
        ))
        .hint("add `--on-demand`, or leave it out".to_owned())),
        None => Ok(()),
    }
}

fn on_miss(args: &OnDemandArgs, public: bool) -> OnMiss {
    match args.on_miss {
        Some(OnMissKind::Placeholder) => OnMiss::Placeholder,
        Some(OnMissKind::Wait) => OnMiss::Wait,
        Some(OnMissKind::Reject) => OnMiss::Reject,
        None if public => OnMiss::Placeholder,
        // Our own CA takes milliseconds.
        None => OnMiss::Wait,
    }
}

fn caps(args: &OnDemandArgs, public: bool) -> CapSettings {
    let usual = if public {
        CapSettings::PUBLIC
    } else {
        CapSettings::PRIVATE
    };
    let or = |given: Option<u32>, usual: usize| {
        given.map_or(usual, |count| usize::try_from(count).unwrap_or(usize::MAX))
    };
    CapSettings {
        in_flight: or(args.max_in_flight, usual.in_flight),
        queue: or(args.max_queue, usual.queue),
        names_per_hour: or(args.max_names_per_hour, usual.names_per_hour),
        names_per_domain: or(args.max_names_per_domain, usual.names_per_domain),
        names_per_client: or(args.max_names_per_client, usual.names_per_client),
    }
}

fn hook(line: Option<&str>) -> Result<Option<Hook>, CliError> {
    line.map(Hook::parse).transpose().map_err(CliError::failed)
}

/// The files of the placeholder; key and certificate may be in one.
fn stand_in(cert: Option<&Path>, key: Option<&Path>) -> Result<Option<CustomFiles>, CliError> {
    match (cert, key) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(
            CliError::usage("`--default-key` is the key of no certificate")
                .hint("name its certificate with `--default-cert`".to_owned()),
        ),
        (Some(cert), key) => Ok(Some(CustomFiles {
            cert: cert.to_owned(),
            key: key.unwrap_or(cert).to_owned(),
            passphrase: None,
        })),
    }
}

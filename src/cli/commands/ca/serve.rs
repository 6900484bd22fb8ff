//! `certmint ca serve`: the private ACME directory.
//!
//! Rules kept here: nobody gets a certificate by default; what the flags say is checked
//! before a port is bound; how each client is pointed here is said once it serves.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use crate::cli::args::{Beside, DirectoryArgs, DirectoryPolicyArgs, QuotaArgs};
use crate::cli::commands::serve::{run as serve, serving};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::site::settings_without_content;
use crate::directory::validate::Policy;
use crate::directory::{Limits, Permit, Profile, Settings};
use crate::finding::words;
use crate::identifier::{CertId, Identifier, NameConstraints};
use crate::issuer::{self, ChallengeKind, Usage};
use crate::key::{KeyType, Passphrase};
use crate::pki::{Authority, CaPaths, Publication};
use crate::serve::{PrivateDirectory, PrivateLeaf, Ready, ServeMode, Site};
use crate::settings::ListenAddr;

/// Under which the directory's own certificate is kept, whatever its names are: a server
/// of the same names beside it has another one.
const OWN_ID: &str = "acme-directory";

/// Life of the directory's own certificate: it is renewed in process.
const OWN_DAYS: u64 = 7;

pub(super) fn run(
    args: DirectoryArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listener = settings_without_content(
        args.https,
        &args.limits,
        &args.tls,
        &args.quotas.proxy_protocol_from,
    )?;
    let authority = Authority::open(&context.home)?;
    let constraints = &authority.config().permit;
    let names = names(&args.names, constraints)?;
    let host = host(&names)?;
    let settings = Settings {
        publication: publication(&args, &host, printer)?,
        permit: permit(&args.policy, constraints)?,
        public_url: args.said.public_url.clone(),
        terms_of_service: args.said.terms_of_service,
        website: args.said.website,
        caa_identities: args.said.caa_identity,
        require_eab: args.policy.require_eab,
        challenges: ChallengeKind::ALL.to_vec(),
        profiles: Profile::usual(args.policy.days),
        limits: limits(&args.quotas),
        validation: Policy {
            http_port: args.validation.http01_port,
            tls_port: args.validation.tls_alpn01_port,
            allow_local: args.validation.allow_loopback,
            ..Policy::default()
        },
        embedded: false,
    };
    let encrypted = authority.active().key.is_encrypted();
    let passphrase = context.ca_passphrase(encrypted, &args.passphrase)?;
    let said = Said {
        origin: args.said.public_url.map(|url| url.to_string()),
        root: CaPaths::new(&context.home)
            .root_export()
            .display()
            .to_string(),
        program: context.program(),
        require_eab: settings.require_eab,
        host,
    };
    let site = Site {
        place: None,
        mode: ServeMode::Directory(Box::new(PrivateDirectory {
            leaf: own_leaf(&context.home, names, passphrase),
            settings: Arc::new(settings),
            resolver: args.validation.dns_server,
        })),
        listener,
        http: args.http.0,
    };
    super::announce(&authority, printer);
    serve(site, args.operation, context, |ready| {
        printer.note(&said.told(ready));
    })
}

/// The directory's names: those that were given, else this machine's own as far as the CA
/// may issue for them.
fn names(given: &[Identifier], constraints: &NameConstraints) -> Result<Vec<Identifier>, CliError> {
    if !given.is_empty() {
        return Ok(given.to_vec());
    }
    let own = ["localhost", "127.0.0.1", "::1"].map(Identifier::parse);
    let mut own: Vec<Identifier> = own.into_iter().flatten().collect();
    own.retain(|name| constraints.check(name).is_ok());
    if own.is_empty() {
        return Err(CliError::usage(format!(
            "the CA issues for `{constraints}`, so `localhost` cannot be the directory's name"
        ))
        .hint("name what clients reach it by: `certmint ca serve NAME`".to_owned()));
    }
    Ok(own)
}

/// What stands in URLs.
fn host(names: &[Identifier]) -> Result<String, CliError> {
    let host = names.iter().find_map(|name| match name {
        Identifier::Dns(name) => Some(name.to_string()),
        Identifier::Ip(IpAddr::V6(address)) => Some(format!("[{address}]")),
        Identifier::Ip(address) => Some(address.to_string()),
        Identifier::Wildcard(_) | Identifier::Email(_) | Identifier::Uri(_) => None,
    });
    host.ok_or_else(|| {
        CliError::usage("none of the names can stand in the directory's URL")
            .hint("name a host or an address first".to_owned())
    })
}

/// For which names certificates are issued. Nobody asks for all by saying nothing.
fn permit(args: &DirectoryPolicyArgs, constraints: &NameConstraints) -> Result<Permit, CliError> {
    if !args.permit.is_empty() {
        super::check_permit(&args.permit, constraints).map_err(|error| {
            error.hint("permit what is within it, or nothing: then all of it is".to_owned())
        })?;
        return Ok(Permit::Within(NameConstraints::new(args.permit.clone())));
    }
    if args.permit_any || !constraints.is_unlimited() {
        return Ok(Permit::Any);
    }
    if !args.require_eab {
        return Err(CliError::usage(
            "whoever reaches the directory could have certificates for any name: the CA has no \
             constraints, and nothing else is said",
        )
        .hint(
            "say for which names with `--permit home.arpa,10.0.0.0/8`, or for whom with \
             `--require-eab`; `--permit-any` if that is what you want"
                .to_owned(),
        ));
    }
    // What the keys list, and nothing to those that list nothing.
    Ok(Permit::Within(NameConstraints::default()))
}

/// What stands in certificates about where CRLs are.
fn publication(
    args: &DirectoryArgs,
    host: &str,
    printer: &mut Printer,
) -> Result<Option<Publication>, CliError> {
    let (Beside(http), given) = (args.http, &args.said.publish_url);
    let address = match (given, http) {
        (Some(given), _) => return Ok(Some(given.clone())),
        (None, None) => return Ok(None),
        (None, Some(ListenAddr(address))) => address,
    };
    let port = address.port();
    if address.ip().is_loopback() && !is_this_machine(host) {
        printer.note(&format!(
            "certificates will not say where the CRLs are: nobody but this machine reaches \
             {address}; listen on another address with `--http`, or say where they are with \
             `--publish-url`"
        ));
        return Ok(None);
    }
    if port == 0 {
        printer.note(
            "certificates will not say where the CRLs are: a port that changes is none; name one \
             with `--http`, or say where they are with `--publish-url`",
        );
        return Ok(None);
    }
    let url = match port {
        80 => format!("http://{host}"),
        port => format!("http://{host}:{port}"),
    };
    let publication = Publication::try_from(url);
    publication.map(Some).map_err(CliError::failed)
}

/// Whether the host of a URL leads nowhere else.
fn is_this_machine(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>();
    bare == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn limits(args: &QuotaArgs) -> Limits {
    let usual = Limits::default();
    Limits {
        accounts_per_address: args
            .max_accounts_per_client
            .unwrap_or(usual.accounts_per_address),
        orders_per_account: args
            .max_orders_per_account
            .unwrap_or(usual.orders_per_account),
        orders_per_address: args
            .max_orders_per_client
            .unwrap_or(usual.orders_per_address),
        open_orders: args.max_open_orders.unwrap_or(usual.open_orders),
        failures_per_name: args
            .max_failures_per_name
            .unwrap_or(usual.failures_per_name),
        certificates_per_name: args
            .max_certificates_per_name
            .unwrap_or(usual.certificates_per_name),
        validations: args.max_validations.unwrap_or(usual.validations),
    }
}

fn own_leaf(home: &Path, names: Vec<Identifier>, passphrase: Option<Passphrase>) -> PrivateLeaf {
    PrivateLeaf {
        home: home.to_owned(),
        id: OWN_ID.parse::<CertId>().expect("it is an id"),
        profile: issuer::Profile {
            names,
            key_type: KeyType::P256,
            usage: Usage::Server,
            lifetime_seconds: Some(OWN_DAYS * 86_400),
        },
        passphrase,
    }
}

/// What whoever starts it is told.
struct Said {
    /// What its URLs begin with, when that is not where it is served.
    origin: Option<String>,
    host: String,
    root: String,
    program: String,
    require_eab: bool,
}

impl Said {
    /// Where it serves, and how each client is pointed at it.
    fn told(&self, ready: &Ready) -> String {
        let url = match (&self.origin, ready.address.port()) {
            (Some(origin), _) => format!("{origin}directory"),
            (None, 443) => format!("https://{}/directory", self.host),
            (None, port) => format!("https://{}:{port}/directory", self.host),
        };
        let root = words::command("", [self.root.as_str()]);
        let root = root.trim_start();
        let certmint = &self.program;
        let mut text = format!(
            "{serving}\n  \
             directory  {url}\n  \
             certbot    REQUESTS_CA_BUNDLE={root} certbot certonly --server {url} …\n  \
             lego       LEGO_CA_CERTIFICATES={root} lego --server {url} …\n  \
             acme.sh    acme.sh --issue --server {url} --ca-bundle {root} …\n  \
             Caddy      acme_ca {url} and acme_ca_root {root} in the global options\n  \
             certmint   certmint serve-acme NAME --directory {url} --ca-file {root}",
            serving = serving(ready),
        );
        if self.require_eab {
            text.push_str(&format!(
                "\n  accounts   need a key each: {certmint} ca eab add --permit NAMES"
            ));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constraints(subtrees: &[&str]) -> NameConstraints {
        NameConstraints::new(subtrees.iter().map(|s| s.parse().unwrap()).collect())
    }

    #[test]
    fn nobody_gets_certificates_for_all_names_by_saying_nothing() {
        let asked = |permit: &[&str], permit_any, require_eab, ca: &[&str]| {
            let args = DirectoryPolicyArgs {
                permit: permit.iter().map(|s| s.parse().unwrap()).collect(),
                permit_any,
                require_eab,
                days: 7,
            };
            super::permit(&args, &constraints(ca))
        };
        assert!(asked(&[], false, false, &[]).is_err());
        for (permit_any, require_eab, ca, expected) in [
            (true, false, &[][..], Permit::Any),
            (true, true, &[], Permit::Any),
            (false, false, &["home.arpa"], Permit::Any),
            (false, true, &["home.arpa"], Permit::Any),
            // Only what keys are for.
            (false, true, &[], Permit::Within(constraints(&[]))),
        ] {
            let permit = asked(&[], permit_any, require_eab, ca).unwrap();
            assert_eq!(permit, expected, "{permit_any} {require_eab} {ca:?}");
        }
        for (permit, ca, is_fine) in [
            ("a.test", &[][..], true),
            ("a.home.arpa", &["home.arpa"], true),
            ("arpa", &["home.arpa"], true),
            ("10.1.0.0/16", &["10.0.0.0/8"], true),
            ("10.0.0.0/7", &["10.0.0.0/8"], true),
            ("a.test", &["home.arpa"], false),
            ("11.0.0.0/8", &["10.0.0.0/8", "home.arpa"], false),
            ("10.0.0.0/8", &["home.arpa"], false),
        ] {
            let asked = asked(&[permit], false, true, ca);
            let expected = Permit::Within(constraints(&[permit]));
            assert_eq!(
                asked.ok(),
                is_fine.then_some(expected),
                "{permit} of {ca:?}"
            );
        }
    }

    #[test]
    fn the_directory_is_called_what_its_ca_may_call_it() {
        let shown = |ca: &[&str]| {
            let names = names(&[], &constraints(ca)).ok()?;
            Some(names.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        assert_eq!(shown(&[]).unwrap(), ["localhost", "127.0.0.1", "::1"]);
        assert_eq!(shown(&["127.0.0.0/8"]).unwrap(), ["127.0.0.1"]);
        assert_eq!(shown(&["home.arpa"]), None);
        let host = |name: &str| host(&[Identifier::parse(name).unwrap()]).ok();
        assert_eq!(host("ca.home.arpa").unwrap(), "ca.home.arpa");
        assert_eq!(host("::1").unwrap(), "[::1]");
        assert_eq!(host("*.home.arpa"), None);
    }
}

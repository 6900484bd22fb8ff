//! From flags, and perhaps an earlier record, to the record of a certificate to be
//! obtained: what cannot work is refused here, before anybody is asked.
//!
//! Rules kept here: no CA that was not named, now or when the certificate was first
//! obtained; every path is absolute; no secret.

use std::path::{Path, PathBuf};

use crate::acme::dns::DnsCredentials;
use crate::cli::args::{AcmeIssueArgs, ProofArgs};
use crate::cli::commands::issuing::absolute;
use crate::cli::report::CliError;
use crate::identifier::Identifier;
use crate::issuer::{AcmeRef, ChallengeKind, Directory, IssuerRef, Profile, Usage};
use crate::store::Record;

/// The record of a certificate for `names`, copied into `out`. What is not said and was
/// said of `old` stays, provided that the CA is not said either.
pub(super) fn record(
    args: &AcmeIssueArgs,
    names: Vec<Identifier>,
    out: Option<PathBuf>,
    old: Option<&Record>,
) -> Result<Record, CliError> {
    let names = each_once(names);
    let acme = reference(args, &names, old)?;
    let old = old.filter(|_| args.ca.directory.is_none());
    let exports = match (old, out) {
        (Some(old), None) => old.exports.clone(),
        (_, out) => args.copies.exports(out),
    };
    let kept = &args.kept;
    Ok(Record {
        profile: Profile {
            names,
            key_type: kept
                .key_type
                .or_else(|| Some(old?.profile.key_type))
                .unwrap_or_default(),
            usage: Usage::Server,
            lifetime_seconds: None,
        },
        issuer: IssuerRef::Acme(Box::new(acme)),
        obtained: None,
        reuse_key: kept.reuse_key || old.is_some_and(|old| old.reuse_key),
        exports,
        deploy_hook: kept
            .deploy_hook
            .clone()
            .or_else(|| old?.deploy_hook.clone()),
    })
}

/// Whom to ask for `names`, and how.
pub(super) fn reference(
    args: &AcmeIssueArgs,
    names: &[Identifier],
    old: Option<&Record>,
) -> Result<AcmeRef, CliError> {
    let before = match old.map(|old| &old.issuer) {
        Some(IssuerRef::Acme(acme)) => Some(&**acme),
        _ => None,
    };
    let (ca, asked) = (&args.ca, &args.ca.asked);
    let old = before.filter(|_| ca.directory.is_none());
    let directory = ca
        .directory
        .clone()
        .or_else(|| Some(old?.directory.clone()));
    let directory = directory.ok_or_else(no_directory)?;
    let fallback = asked.fallback.clone().or_else(|| old?.fallback.clone());
    let fallback = second_ca(fallback, &directory)?;
    // These are the account's, which stays the same for a directory.
    let same_ca = before.filter(|before| before.directory == directory);
    let contact = match same_ca {
        Some(before) if args.account.emails.is_empty() => before.contact.clone(),
        _ => args.account.emails.clone(),
    };
    let eab = match args.account.external_ref()? {
        None => same_ca.and_then(|before| before.eab.clone()),
        given => given,
    };
    let base = AcmeRef {
        ca_file: match &asked.ca_file {
            Some(path) => Some(absolute(path)?),
            None => old.and_then(|old| old.ca_file.clone()),
        },
        fallback,
        contact,
        eab,
        profile: asked.profile.clone().or_else(|| old?.profile.clone()),
        preferred_chain: asked
            .preferred_chain
            .clone()
            .or_else(|| old?.preferred_chain.clone()),
        ..AcmeRef::new(directory)
    };
    match old {
        Some(old) if !says_anything(&args.proof) => {
            provable(names, old.challenge, base.directory.is_private())?;
            Ok(AcmeRef {
                challenge: old.challenge,
                http: old.http,
                https: old.https,
                webroot: old.webroot.clone(),
                dns: old.dns.clone(),
                dns_file: old.dns_file.clone(),
                dns_server: old.dns_server,
                ..base
            })
        }
        _ => prove(&args.proof, names, base),
    }
}

/// A second CA that is another one than the first.
pub(in crate::cli::commands) fn second_ca(
    second: Option<Directory>,
    first: &Directory,
) -> Result<Option<Directory>, CliError> {
    if second.as_ref() == Some(first) {
        let message = format!("the second CA is the first: {first}");
        return Err(CliError::usage(message));
    }
    Ok(second)
}

fn no_directory() -> CliError {
    let names: Vec<&str> = Directory::PRESETS.iter().map(|(name, _)| *name).collect();
    CliError::usage("no CA was named").hint(format!(
        "name its directory with `--directory`: {}, or an https URL",
        names.join(", ")
    ))
}

/// Without what was named before.
pub(in crate::cli::commands) fn each_once(names: Vec<Identifier>) -> Vec<Identifier> {
    let mut once = Vec::with_capacity(names.len());
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    once
}

/// Every setting, with the one kind of challenge that it belongs to.
fn settings(args: &ProofArgs) -> [(&'static str, bool, ChallengeKind); 6] {
    use ChallengeKind::{Dns01, Http01, TlsAlpn01};
    [
        ("--webroot", args.elsewhere.webroot.is_some(), Http01),
        ("--http", args.http.is_some(), Http01),
        ("--https", args.https.is_some(), TlsAlpn01),
        ("--dns", args.elsewhere.dns.is_some(), Dns01),
        ("--dns-file", args.elsewhere.dns_file.is_some(), Dns01),
        ("--dns-server", args.elsewhere.dns_server.is_some(), Dns01),
    ]
}

fn says_anything(args: &ProofArgs) -> bool {
    args.challenge.is_some() || settings(args).iter().any(|(_, set, _)| *set)
}

/// `base` with the kind of challenge that is asked for or follows from the rest.
pub(in crate::cli::commands) fn prove(
    args: &ProofArgs,
    names: &[Identifier],
    base: AcmeRef,
) -> Result<AcmeRef, CliError> {
    let challenge = args.challenge.or_else(|| implied(args));
    for (flag, set, kind) in settings(args) {
        if set && challenge.is_some_and(|challenge| challenge != kind) {
            let challenge = challenge.map_or("", ChallengeKind::as_str);
            return Err(CliError::usage(format!(
                "`{flag}` is for {kind}, and the challenge is {challenge}"
            ))
            .hint(format!("leave it out, or give `--challenge {kind}`")));
        }
    }
    if args.elsewhere.webroot.is_some() && args.http.is_some() {
        return Err(CliError::usage(
            "`--webroot` leaves the answer to another server, and `--http` gives it here",
        )
        .hint("give one of them".to_owned()));
    }
    provable(names, challenge, base.directory.is_private())?;
    let ours_alone = base.directory.is_private() && base.fallback.is_none();
    let mut addresses = [args.http, args.https].into_iter().flatten();
    if !ours_alone && addresses.any(|address| address.port() == 0) {
        return Err(CliError::usage("no CA would find it on port 0").hint(
            "name 80 for http-01, 443 for tls-alpn-01, or the port that it is forwarded to"
                .to_owned(),
        ));
    }
    let webroot = args.elsewhere.webroot.as_deref().map(webroot).transpose()?;
    let (dns, dns_file) = match challenge {
        Some(ChallengeKind::Dns01) => {
            credential(args).map(|(name, file)| (Some(name), Some(file)))?
        }
        _ => (None, None),
    };
    Ok(AcmeRef {
        challenge,
        webroot,
        dns,
        dns_file,
        dns_server: args.elsewhere.dns_server,
        http: args.http,
        https: args.https,
        ..base
    })
}

/// The kind that the other settings are for. Both addresses leave it to the CA.
fn implied(args: &ProofArgs) -> Option<ChallengeKind> {
    let elsewhere = &args.elsewhere;
    let by_file = elsewhere.dns_file.is_some() || elsewhere.dns_server.is_some();
    if elsewhere.dns.is_some() || by_file {
        return Some(ChallengeKind::Dns01);
    }
    match (args.http, args.https) {
        _ if elsewhere.webroot.is_some() => Some(ChallengeKind::Http01),
        (Some(_), None) => Some(ChallengeKind::Http01),
        (None, Some(_)) => Some(ChallengeKind::TlsAlpn01),
        (None, None) | (Some(_), Some(_)) => None,
    }
}

fn webroot(dir: &Path) -> Result<PathBuf, CliError> {
    let dir = absolute(dir)?;
    if dir.is_dir() {
        return Ok(dir);
    }
    Err(
        CliError::usage(format!("`{}` is not a directory", dir.display())).hint(
            "name the directory whose files the web server shows at `/` with `--webroot`"
                .to_owned(),
        ),
    )
}

/// The DNS credential and its file; the only one of a file need not be named.
fn credential(args: &ProofArgs) -> Result<(String, PathBuf), CliError> {
    let Some(file) = &args.elsewhere.dns_file else {
        return Err(
            CliError::usage("dns-01 needs the credentials of whoever serves the zone").hint(
                "write a table `[dns.NAME]` into a file of mode 0600, and name both with \
                 `--dns NAME --dns-file FILE`"
                    .to_owned(),
            ),
        );
    };
    let file = absolute(file)?;
    if let Some(name) = &args.elsewhere.dns {
        return Ok((name.clone(), file));
    }
    let credentials = DnsCredentials::read(&file).map_err(|error| {
        let hint = error.hint();
        CliError::failed(error).hint(hint)
    })?;
    let names: Vec<&str> = credentials.names().collect();
    match names.as_slice() {
        [only] => Ok(((*only).to_owned(), file)),
        [] => Err(CliError::usage(format!(
            "there is no DNS credential in `{}`",
            file.display()
        ))
        .hint("write a table `[dns.NAME]` with a `provider`".to_owned())),
        several => Err(CliError::usage(format!(
            "`{}` has several DNS credentials",
            file.display()
        ))
        .hint(format!("name one with `--dns`: {}", several.join(", ")))),
    }
}

/// Refuses names that no CA issues for, or that the challenge cannot prove.
fn provable(
    names: &[Identifier],
    challenge: Option<ChallengeKind>,
    ours: bool,
) -> Result<(), CliError> {
    let by_dns = challenge == Some(ChallengeKind::Dns01);
    let address = names.iter().any(|name| matches!(name, Identifier::Ip(_)));
    for name in names {
        match name {
            Identifier::Email(_) | Identifier::Uri(_) => {
                return Err(CliError::usage(format!(
                    "`{name}` is neither a host name nor an address, and public CAs know \
                     nothing else"
                ))
                .hint("the private CA issues for it: `certmint ca issue`".to_owned()));
            }
            Identifier::Wildcard(_) if address => {
                return Err(CliError::usage(format!(
                    "`{name}` needs dns-01, which no address can be shown control of by"
                ))
                .hint("obtain one certificate for each".to_owned()));
            }
            Identifier::Wildcard(_) if !by_dns => {
                let asked = challenge.map_or_else(String::new, |kind| format!(", not {kind}"));
                return Err(CliError::usage(format!(
                    "`{name}` is a wildcard, which needs dns-01{asked}"
                ))
                .hint(
                    match ours {
                        true => "have it without proof: `certmint serve-ca` or `certmint ca issue`",
                        false => "give `--challenge dns-01` with `--dns` and `--dns-file`",
                    }
                    .to_owned(),
                ));
            }
            Identifier::Ip(_) if by_dns => {
                return Err(CliError::usage(format!(
                    "`{name}` is an address, which no DNS record can show control of"
                ))
                .hint("give `--challenge http-01` or `--challenge tls-alpn-01`".to_owned()));
            }
            Identifier::Dns(_) | Identifier::Wildcard(_) | Identifier::Ip(_) => {}
        }
    }
    Ok(())
}

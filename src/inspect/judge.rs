//! From what was found to what is wrong with it, for files; certificates that a
//! server sends are judged by the same functions.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use x509_parser::prelude::FromDer;

use super::Options;
use super::contents::{Contents, FoundCrl, FoundKey};
use super::model::{Cert, CertState, ChainInfo, Item, Key};
use super::roots::{Roots, Verdict, same_as, verify};
use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::finding::rules::{self, Context, KeyHome, Life, Role, Stage, Subject};
use crate::finding::{Finding, Severity, words};
use crate::identifier::Identifier;

/// One file and what it holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: Option<PathBuf>,
    pub(super) mode: Option<u32>,
    pub(super) contents: Contents,
}

/// Most intermediates offered to the verifier from other files.
const MAX_ISSUERS: usize = 100;

/// Judges files together: keys find their certificates, CRLs what they revoke.
pub(super) fn judge(found: &[Found], options: &Options, now: Timestamp) -> Vec<Item> {
    let issuers: Vec<Certificate> = found
        .iter()
        .flat_map(|file| &file.contents.certificates)
        .filter(|certificate| certificate.is_ca())
        .chain(options.roots.certificates())
        .cloned()
        .collect();
    let mut told = HashSet::new();
    let mut items: Vec<Item> = found
        .iter()
        .map(|file| item(file, found, &issuers, &mut told, options, now))
        .collect();
    for (position, file) in found.iter().enumerate() {
        for key in &file.contents.keys {
            pair(position, key, found, &mut items);
        }
    }
    items
}

fn item(
    file: &Found,
    all: &[Found],
    issuers: &[Certificate],
    told: &mut HashSet<Certificate>,
    options: &Options,
    now: Timestamp,
) -> Item {
    let contents = &file.contents;
    let place = super::model::place(file.path.as_deref());
    let renew = file.path.as_deref().and_then(|path| renewal(path, options));
    let bundle = is_bundle(&contents.certificates);
    let mut item = Item {
        path: file.path.clone(),
        format: contents.format,
        requests: contents.requests.clone(),
        crls: contents
            .crls
            .iter()
            .map(|found| found.crl.clone())
            .collect(),
        other: contents.other.clone(),
        findings: contents.findings.clone(),
        ..Item::default()
    };
    for certificate in &contents.certificates {
        let mut cert = Cert::of(certificate, Role::of(certificate), now);
        cert.path.clone_from(&file.path);
        // The same certificate in several files is wrong once.
        if told.insert(certificate.clone()) {
            judge_certificate(&mut cert, certificate, renew.as_deref(), bundle, now);
            revocations(&mut cert, certificate, all, issuers);
        }
        item.certificates.push(cert);
    }
    if !bundle && !contents.certificates.is_empty() {
        together(&mut item, &contents.certificates, issuers, options, now);
    }
    for found in &contents.crls {
        let crl = &found.crl;
        item.findings.extend(rules::stale_crl(
            Subject::new(&place),
            crl.this_update,
            crl.next_update,
            now,
        ));
    }
    if contents
        .requests
        .iter()
        .any(|request| !request.signature_ok)
    {
        item.findings.push(rules::bad_request_signature(&place));
    }
    keys(&mut item, file, options);
    item
}

/// Everything about one certificate by itself.
pub(super) fn judge_certificate(
    cert: &mut Cert,
    certificate: &Certificate,
    renew: Option<&str>,
    bundle: bool,
    now: Timestamp,
) {
    let subject = Subject {
        name: &cert.name,
        renew,
    };
    let life = Life::of(certificate);
    // Whoever shows a CA's certificate is not the one who replaces it, and roots
    // in a bundle are trusted to their last day.
    let others_business = match life.stage(cert.role, now) {
        Stage::Due => cert.role != Role::Leaf,
        Stage::Overdue => bundle,
        _ => false,
    };
    if others_business {
        cert.status = CertState::Ok;
    } else {
        cert.findings
            .extend(rules::life(subject, life, cert.role, now));
    }
    cert.findings.extend(rules::profile(certificate, cert.role));
    cert.status = cert.status.with(&cert.findings);
}

/// How the certificates of one file hang together, and whether they verify.
fn together(
    item: &mut Item,
    certificates: &[Certificate],
    issuers: &[Certificate],
    options: &Options,
    now: Timestamp,
) {
    let linked = rules::link(certificates);
    let findings = rules::chain(certificates, issuers, Context::File);
    let leaf = linked.path.first().copied().unwrap_or_default();
    if let Some(cert) = item.certificates.get_mut(leaf) {
        cert.chain = Some(chain_info(certificates, &linked, &findings));
    }
    let mut ordered: Vec<Certificate> = linked
        .path
        .iter()
        .filter_map(|position| certificates.get(*position).cloned())
        .collect();
    if options.roots.are_given() && ordered.first().is_some_and(|c| Role::of(c) == Role::Leaf) {
        // In a directory the issuers may lie in the file beside.
        ordered.extend(issuers.iter().take(MAX_ISSUERS).cloned());
        let verdict = verify(&ordered, None, &options.roots, now);
        item.findings.extend(untrusted(
            &ordered,
            &verdict,
            &findings,
            &item.certificates,
            &options.roots,
        ));
        item.verified = Some(verdict.verification);
    }
    item.findings.extend(findings);
}

/// The chain in one line.
pub(super) fn chain_info(
    certificates: &[Certificate],
    linked: &rules::Linked,
    findings: &[Finding],
) -> ChainInfo {
    ChainInfo {
        ok: findings
            .iter()
            .all(|finding| finding.severity == Severity::Info),
        path: linked
            .path
            .iter()
            .filter_map(|position| certificates.get(*position))
            .map(rules::label)
            .collect(),
    }
}

/// `untrusted`, unless a rule has already said so more precisely.
pub(super) fn untrusted(
    chain: &[Certificate],
    verdict: &Verdict,
    findings: &[Finding],
    certs: &[Cert],
    roots: &Roots,
) -> Option<Finding> {
    let error = verdict.error.as_ref()?;
    let known = same_as(error);
    let of_certs = certs.iter().flat_map(|cert| &cert.findings);
    // Whoever names a root asks whether it leads there: a warning is no answer.
    let enough = if roots.are_given() {
        Severity::Critical
    } else {
        Severity::Warn
    };
    if findings
        .iter()
        .chain(of_certs)
        .any(|finding| finding.severity >= enough && known.contains(&finding.id))
    {
        return None;
    }
    let name = chain.first().map(rules::label).unwrap_or_default();
    let reason = verdict.verification.error.as_deref().unwrap_or_default();
    let fix = if roots.are_given() {
        "give the root that it should lead to with `--ca-file`, or install the right chain"
    } else {
        "if it is a private CA's, give its root with `--ca-file`"
    };
    let roots = &verdict.verification.roots;
    Some(rules::untrusted(Subject::new(&name), reason, roots, fix))
}

/// Roots or intermediates that do not belong together.
fn is_bundle(certificates: &[Certificate]) -> bool {
    certificates.len() > 1
        && certificates.iter().all(|c| Role::of(c) != Role::Leaf)
        && !rules::link(certificates).stray.is_empty()
}

/// Looks `certificate` up in every CRL at hand that its issuer signed.
fn revocations(cert: &mut Cert, certificate: &Certificate, all: &[Found], issuers: &[Certificate]) {
    for found in all.iter().flat_map(|file| &file.contents.crls) {
        let Some((at, reason)) = found.revocation(certificate.serial()) else {
            continue;
        };
        if speaks_for(found, certificate, issuers) {
            let subject = Subject::new(&cert.name);
            cert.findings.push(rules::revoked(subject, at, reason));
            cert.status = CertState::Revoked;
            return;
        }
    }
}

/// Whether the CRL is by the certificate's issuer; its signature is checked when
/// the issuer is at hand.
fn speaks_for(found: &FoundCrl, certificate: &Certificate, issuers: &[Certificate]) -> bool {
    let Ok((_, parsed)) = x509_parser::certificate::X509Certificate::from_der(certificate.der())
    else {
        return false;
    };
    if parsed.issuer().as_raw() != found.issuer_der {
        return false;
    }
    let mut known = issuers
        .iter()
        .filter(|issuer| certificate.names_as_issuer(issuer))
        .peekable();
    known.peek().is_none() || known.any(|issuer| found.is_signed_by(issuer))
}

/// What is told of the keys in a file, and whether others can read it.
fn keys(item: &mut Item, file: &Found, options: &Options) {
    let Some(first) = file.contents.keys.first() else {
        return;
    };
    for found in &file.contents.keys {
        item.keys.push(Key {
            path: file.path.clone(),
            mode: file.mode.map(|mode| format!("{:04o}", mode & 0o7777)),
            ..found.key.clone()
        });
    }
    let (Some(path), Some(mode)) = (&file.path, file.mode) else {
        return;
    };
    let home = key_home(path, options.home.as_deref());
    let locked = file
        .contents
        .keys
        .iter()
        .all(|k| k.key.encrypted == first.key.encrypted)
        && first.key.encrypted == Some(true);
    if home == KeyHome::Ours || !locked {
        item.findings.extend(rules::key_mode(path, mode, home));
    }
}

fn key_home(path: &Path, home: Option<&Path>) -> KeyHome {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    match home {
        Some(home) if real(path).starts_with(real(home)) => KeyHome::Ours,
        _ => KeyHome::Elsewhere,
    }
}

/// The command that renews what lies at `path`, when it is one of ours.
fn renewal(path: &Path, options: &Options) -> Option<String> {
    let certs = options.home.as_ref()?.join("certs");
    let id = path.strip_prefix(certs).ok()?.components().next()?;
    let id = id.as_os_str().to_str()?;
    Some(words::command(&options.program, ["renew", id]))
}

/// Finds the certificate that a key is for, and says so when it is another's.
fn pair(position: usize, key: &FoundKey, found: &[Found], items: &mut [Item]) {
    let Some(spki) = key.spki.as_deref() else {
        return;
    };
    let Some(file) = found.get(position) else {
        return;
    };
    let beside = |other: &Found| {
        other
            .contents
            .certificates
            .first()
            .is_some_and(|_| lie_together(file, other))
    };
    let partner = if file.contents.certificates.is_empty() {
        found.iter().position(beside)
    } else {
        Some(position)
    };
    let owner = found.iter().position(|f| leaf_with(f, spki).is_some());
    let matches = match (partner, owner) {
        (Some(partner), _) => found.get(partner).map(|f| leaf_with(f, spki).is_some()),
        (None, Some(_)) => Some(true),
        (None, None) => None,
    };
    mark(items, found, spki, position, matches);
    if let (Some(false), Some(partner)) = (matches, partner.and_then(|p| found.get(p))) {
        let finding = rules::key_mismatch(
            &super::model::place(file.path.as_deref()),
            &super::model::place(partner.path.as_deref()),
        );
        if let Some(item) = items.get_mut(position)
            && !item.findings.contains(&finding)
        {
            item.findings.push(finding);
        }
    }
}

/// Notes at the key, and at every certificate it belongs to, that they are a pair.
fn mark(items: &mut [Item], found: &[Found], spki: &[u8], position: usize, matches: Option<bool>) {
    let mut told = None;
    if let Some(item) = items.get_mut(position) {
        for key in &mut item.keys {
            key.matches = matches;
            told = Some(key.clone());
        }
    }
    let Some(key) = told else { return };
    for (file, item) in found.iter().zip(items.iter_mut()) {
        for (certificate, cert) in file
            .contents
            .certificates
            .iter()
            .zip(&mut item.certificates)
        {
            if certificate.spki() == spki {
                cert.key = Key {
                    matches: Some(true),
                    ..key.clone()
                };
            }
        }
    }
}

fn leaf_with<'a>(file: &'a Found, spki: &[u8]) -> Option<&'a Certificate> {
    file.contents.certificates.iter().find(|c| c.spki() == spki)
}

/// Whether two files' names say that one holds the key of the other.
fn lie_together(key: &Found, certificate: &Found) -> bool {
    let (Some(key), Some(certificate)) = (&key.path, &certificate.path) else {
        return false;
    };
    let debian = |path: &Path| {
        let parent = path.parent()?;
        let above = parent.parent()?;
        (parent.file_name()? == "private").then(|| above.join("certs"))
    };
    let same = key.parent() == certificate.parent();
    if !same && debian(key).as_deref() != certificate.parent() {
        return false;
    }
    match (stem(key), stem(certificate)) {
        (Some(key), Some(certificate)) => key == certificate,
        _ => false,
    }
}

/// What is left of a file's name when the words for key and certificate are gone:
/// `privkey.pem` and `fullchain.pem` leave nothing, `www-key.pem` and `www.crt` leave `www`.
fn stem(path: &Path) -> Option<String> {
    const WORDS: [&str; 6] = ["privkey", "key", "fullchain", "cert", "crt", "combined"];
    const EXTENSIONS: [&str; 6] = ["pem", "key", "crt", "cer", "cert", "der"];
    let name = path.file_name()?.to_str()?.to_ascii_lowercase();
    let mut parts: Vec<&str> = name.split('.').collect();
    while parts.len() > 1 && parts.last().is_some_and(|last| EXTENSIONS.contains(last)) {
        parts.pop();
    }
    let mut stem = parts.join(".");
    for word in WORDS {
        if stem == word {
            return Some(String::new());
        }
        for separator in ['-', '_', '.'] {
            if let Some(rest) = stem.strip_suffix(&format!("{separator}{word}")) {
                stem = rest.to_owned();
                return Some(stem);
            }
        }
    }
    Some(stem)
}

/// Whether the name asked for is among the certificate's.
pub(super) fn for_name(certificate: &Certificate, wanted: &Identifier) -> Option<Finding> {
    // A certificate without any names has a rule of its own.
    certificate.san_critical()?;
    rules::name_mismatch(certificate, wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_which_key_is_for_which_certificate() {
        let found = |path: &str| Found {
            path: Some(PathBuf::from(path)),
            mode: None,
            contents: Contents::default(),
        };
        for (key, certificate, expected) in [
            ("/l/privkey.pem", "/l/fullchain.pem", true),
            ("/l/privkey.pem", "/l/cert.pem", true),
            ("/s/tls.key", "/s/tls.crt", true),
            ("/m/a.test-key.pem", "/m/a.test.pem", true),
            ("/e/www.key", "/e/www.pem", true),
            ("/e/www.key.pem", "/e/www.cert.pem", true),
            ("/etc/ssl/private/www.key", "/etc/ssl/certs/www.pem", true),
            ("/e/server.key", "/e/client.crt", false),
            ("/l/privkey.pem", "/m/cert.pem", false),
            ("/l/privkey.pem", "/l/chain.pem", false),
        ] {
            assert_eq!(
                lie_together(&found(key), &found(certificate)),
                expected,
                "{key} {certificate}"
            );
        }
    }
}

//! `certmint acme revoke`: by the account that ordered the certificate, or as the
//! holder of its key.

use std::path::Path;

use super::desk::Desk;
use crate::acme::{self, AcmeError, Revocation, Revocations, Revoker, Session};
use crate::bundle::Certificate;
use crate::cli::args::{AcmeRevokeArgs, RevocationReason};
use crate::cli::commands::issuing::absolute;
use crate::cli::commands::own::For;
use crate::cli::commands::stop::until_stopped;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::clock::rfc3339;
use crate::finding::words::causes;
use crate::identifier::{CertId, summary};
use crate::issuer::{AcmeRef, IssuerRef};
use crate::key::PrivateKey;
use crate::store::{Store, Stored, disk};

pub(super) fn run(
    args: &AcmeRevokeArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let desk = Desk::new(context)?;
    let target = Target::find(args, &desk)?;
    let key = match &args.key {
        Some(path) => Some(read_key(path, &target.certificate)?),
        None => None,
    };
    if target.reference.directory.is_private() {
        desk.unlock(For::Asking, &args.account.passphrase, context, printer)?;
    } else {
        args.account.passphrase.refuse()?;
    }
    let reason = reason(args.reason);
    let work = async {
        let session = desk.session(&target.reference).await?;
        ask(&desk, &session, &target, key.as_ref(), reason).await
    };
    let by = until_stopped(work, desk.issuers.settle())?;
    let revoked = Revocation {
        at: desk.now(),
        reason,
    };
    let noted = Revocations::new(&desk.home).note(&target.certificate, &revoked);
    print(&target, by, &revoked, args.account.json, &desk, printer);
    // The CA was told, whatever becomes of our own note; but somebody must know.
    noted.map_err(CliError::from)?;
    Ok(Exit::Done)
}

/// What is revoked, and whom to ask.
struct Target {
    certificate: Certificate,
    reference: AcmeRef,
    /// The same certificate as it is kept here, if it is.
    kept: Option<Stored>,
}

impl Target {
    fn find(args: &AcmeRevokeArgs, desk: &Desk) -> Result<Self, CliError> {
        let (certificate, kept) = match (&args.id, &args.cert) {
            (Some(id), _) => {
                let stored = load(id, desk)?;
                (stored.bundle.leaf().clone(), Some(stored))
            }
            (None, Some(path)) => {
                let certificate = read_certificate(path)?;
                let kept = find_kept(&certificate, desk);
                (certificate, kept)
            }
            (None, None) => {
                return Err(CliError::usage("no certificate was named").hint(
                    "give the id of one kept here, or the file of another with `--cert FILE`"
                        .to_owned(),
                ));
            }
        };
        let mut reference = match (&args.account.directory, &kept) {
            (Some(directory), _) => {
                let known = desk.certificates_from(directory).into_iter();
                AcmeRef {
                    ca_file: known.map(|(_, acme)| acme.ca_file).next().flatten(),
                    ..AcmeRef::new(directory.clone())
                }
            }
            (None, Some(stored)) => issuing(stored)?,
            (None, None) => {
                return Err(
                    CliError::usage("the certificate is not one of those kept here")
                        .hint("name the CA that issued it with `--directory`".to_owned()),
                );
            }
        };
        if let Some(path) = &args.account.ca_file {
            reference.ca_file = Some(absolute(path)?);
        }
        Ok(Self {
            certificate,
            reference,
            kept,
        })
    }
}

/// The CA that `stored` came from: the second one, when that stood in.
fn issuing(stored: &Stored) -> Result<AcmeRef, CliError> {
    let IssuerRef::Acme(acme) = &stored.record.issuer else {
        return Err(
            CliError::usage(format!("`{}` was issued by the private CA", stored.id))
                .hint(format!("revoke it with `certmint ca revoke {}`", stored.id)),
        );
    };
    let mut reference = AcmeRef::clone(acme);
    if let Some(obtained) = &stored.record.obtained {
        // As it is reached when it stands in.
        if obtained.directory != reference.directory && obtained.directory.preset().is_some() {
            reference.ca_file = None;
        }
        reference.directory.clone_from(&obtained.directory);
    }
    Ok(reference)
}

fn load(id: &CertId, desk: &Desk) -> Result<Stored, CliError> {
    desk.store.load(id)?.ok_or_else(|| {
        CliError::failed(anyhow::anyhow!("there is no certificate `{id}`")).hint(format!(
            "see what there is with `{} renew --dry-run`, or give a file with `--cert`",
            desk.program
        ))
    })
}

fn find_kept(certificate: &Certificate, desk: &Desk) -> Option<Stored> {
    let ids = desk.store.ids().ok()?;
    let mut stored = ids.iter().filter_map(|id| desk.store.load(id).ok()?);
    stored.find(|stored| stored.bundle.leaf().der() == certificate.der())
}

fn read_certificate(path: &Path) -> Result<Certificate, CliError> {
    let bytes = disk::read(path)?;
    let unreadable = |reason: String| {
        CliError::usage(format!(
            "`{}` is not a certificate: {reason}",
            path.display()
        ))
        .hint("give the leaf in PEM, `fullchain.pem` say".to_owned())
    };
    let all = Certificate::parse_pem(&bytes).map_err(|e| unreadable(causes(&e)))?;
    let first = all.into_iter().next();
    first.ok_or_else(|| unreadable("it has no PEM block".to_owned()))
}

/// The key, which must be the certificate's.
fn read_key(path: &Path, certificate: &Certificate) -> Result<PrivateKey, CliError> {
    let bytes = zeroize::Zeroizing::new(disk::read(path)?);
    let key = PrivateKey::from_pem(&bytes, None)
        .map_err(|e| CliError::usage(format!("`{}`: {}", path.display(), causes(&e))))?;
    if key.public_key_der() != certificate.spki() {
        return Err(CliError::usage(format!(
            "the key in `{}` is not the certificate's",
            path.display()
        )));
    }
    Ok(key)
}

/// Asks, and says as whom.
///
/// Who says that a key is known to others shows that it is by signing with it: CAs block
/// the key then, and not only the certificate. Where there is no account that may ask,
/// the key of a certificate kept here does as well.
async fn ask(
    desk: &Desk,
    session: &Session,
    target: &Target,
    key: Option<&PrivateKey>,
    reason: acme::Reason,
) -> Result<&'static str, CliError> {
    const BY_KEY: &str = "certificate key";
    const BY_ACCOUNT: &str = "account";
    let certificate = &target.certificate;
    let own = target.kept.as_ref().map(|stored| stored.bundle.key());
    let compromised = reason == acme::Reason::KeyCompromise;
    if let Some(key) = key.or_else(|| own.filter(|_| compromised)) {
        acme::revoke(session, Revoker::CertificateKey(key), certificate, reason).await?;
        return Ok(BY_KEY);
    }
    let home = desk.account(&target.reference.directory);
    let asked = acme::revoke(session, Revoker::Account(&home), certificate, reason).await;
    match (asked, own) {
        (Ok(()), _) => Ok(BY_ACCOUNT),
        (Err(AcmeError::NoAccount(_)), Some(key)) => {
            acme::revoke(session, Revoker::CertificateKey(key), certificate, reason).await?;
            Ok(BY_KEY)
        }
        (Err(refused), Some(key)) if is_refusal(&refused) => {
            let error = causes(&refused);
            tracing::warn!(error, "the account may not revoke it; asking by its key");
            acme::revoke(session, Revoker::CertificateKey(key), certificate, reason).await?;
            Ok(BY_KEY)
        }
        (Err(error), _) => Err(error.into()),
    }
}

/// Whether the CA does not take the account for the certificate's.
fn is_refusal(error: &AcmeError) -> bool {
    const FOREIGN: [u16; 2] = [401, 403];
    matches!(error, AcmeError::Refused { status, problem, .. }
        if FOREIGN.contains(status) || problem.is("accountDoesNotExist"))
}

fn reason(typed: RevocationReason) -> acme::Reason {
    match typed {
        RevocationReason::Unspecified => acme::Reason::Unspecified,
        RevocationReason::KeyCompromise => acme::Reason::KeyCompromise,
        RevocationReason::AffiliationChanged => acme::Reason::AffiliationChanged,
        RevocationReason::Superseded => acme::Reason::Superseded,
        RevocationReason::CessationOfOperation => acme::Reason::CessationOfOperation,
    }
}

fn print(
    target: &Target,
    by: &'static str,
    revoked: &Revocation,
    json: bool,
    desk: &Desk,
    printer: &mut Printer,
) {
    let certificate = &target.certificate;
    let directory = &target.reference.directory;
    if json {
        printer.json(&serde_json::json!({
            "schema": "certmint.acme-revoke/1",
            "id": target.kept.as_ref().map(|stored| &stored.id),
            "names": certificate.names(),
            "serial": certificate.serial_hex(),
            "directory": directory,
            "reason": revoked.reason.as_str(),
            "revoked_by": by,
            "revoked_at": rfc3339(revoked.at),
        }));
    } else {
        printer.result(&format!(
            "revoked {} at {directory} by its {by} ({}), serial {}\n",
            summary(certificate.names()),
            revoked.reason,
            certificate.serial_hex()
        ));
    }
    let Some(stored) = &target.kept else { return };
    let (id, program) = (&stored.id, &desk.program);
    match revoked.reason {
        acme::Reason::CessationOfOperation => printer.note(&format!(
            "`{id}` is not renewed any more; `{program} acme issue` with its names brings it back"
        )),
        acme::Reason::KeyCompromise => printer.hint(&format!(
            "`{id}` is still in use here: replace it and its key now with `{program} renew {id}`"
        )),
        _ => printer.hint(&format!(
            "`{id}` is still in use here: replace it now with `{program} renew {id}`"
        )),
    }
}

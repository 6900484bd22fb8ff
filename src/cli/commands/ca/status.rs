//! `certmint ca status`: gathers what the CA, its inventory and the store know.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::others::{self, Clients};
use super::trust::system_state;
use crate::bundle::Certificate;
use crate::cli::args::StatusArgs;
use crate::cli::commands::inspect::exit_for;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::view::{self, Listing};
use crate::clock::{Duration, Timestamp};
use crate::directory::state::{ORIGIN_KNOWN, Signed};
use crate::finding::words::{self, causes};
use crate::finding::{Finding, rules};
use crate::identifier::CertId;
use crate::inspect::status::{
    AuthorityInput, CaInput, CaStatus, CertInput, Counts, CrlInput, Failures, KeyPlace,
};
use crate::issuer::IssuerRef;
use crate::pki::ledger::Ledger;
use crate::pki::{Authority, CaError, KeyLocation, crl};
use crate::renew::policy::{Life, due_at, due_by};
use crate::store::file::FileStore;
use crate::store::{Attempts, Store, StoreError, Stored};

/// How long a certificate that was signed by hand for somebody else is still shown after
/// it expired. For as long it is known which ones were not signed by hand.
const AFTERGLOW: Duration = ORIGIN_KNOWN;

pub(super) fn run(
    args: &StatusArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let now = context.now();
    let authority = Authority::open(&context.home)?;
    let ledger = authority.ledger()?;
    let ca = describe_ca(&authority, &ledger, context, now)?;
    let early = args.days.map(|days| Duration::days(i64::from(days)));
    let certificates = Certificates {
        authority: &authority,
        ledger: &ledger,
        program: context.program(),
        #[cfg(feature = "acme")]
        home: &context.home,
        early,
        now,
    }
    .gather(&context.store()?)?;
    let status = CaStatus::new(&ca, &certificates, now);
    if args.json {
        printer.json(&status);
    } else {
        let listing = Listing {
            all: args.all,
            ..Listing::default()
        };
        printer.result(&view::ca_status(
            &status,
            context.screen(printer.out_color),
            listing,
        ));
    }
    Ok(exit_for(status.worst(), args.fail_on.fail_on))
}

fn describe_ca(
    authority: &Authority,
    ledger: &Ledger,
    context: &Context,
    now: Timestamp,
) -> Result<CaInput, CliError> {
    let counts = ledger.counts(now, now)?;
    let config = authority.config();
    Ok(CaInput {
        program: context.program(),
        home: context.home.clone(),
        name: config.name.to_string(),
        roots: authority
            .roots()
            .iter()
            .map(|root| AuthorityInput {
                name: root.name.clone(),
                certificate: root.certificate.clone(),
                path: root.path.join("cert.pem"),
                key: key_place(&root.key),
                renew_at: None,
                retired: root.retired || root.name != authority.newest_root().name,
            })
            .collect(),
        intermediates: authority
            .intermediates()
            .iter()
            .map(|intermediate| AuthorityInput {
                name: intermediate.name.clone(),
                certificate: intermediate.certificate.clone(),
                path: intermediate.path.join("cert.pem"),
                key: key_place(&intermediate.key),
                renew_at: (intermediate.name == authority.active().name)
                    .then(|| authority.rotation_due_at()),
                retired: intermediate.name != authority.active().name,
            })
            .collect(),
        name_constraints: match config.permit.to_string() {
            text if text.is_empty() => Vec::new(),
            text => text.split(", ").map(str::to_owned).collect(),
        },
        crl: first_crl_to_go_stale(authority, now)?,
        trust: system_state(authority, context),
        acme: None,
        counts: Counts {
            issued: counts.valid + counts.expired + counts.revoked,
            valid: counts.valid,
            expired: counts.expired,
            revoked: counts.revoked,
        },
        findings: unfinished_rotation(authority, &context.program())
            .into_iter()
            .collect(),
    })
}

fn key_place(key: &KeyLocation) -> KeyPlace {
    match key {
        KeyLocation::Here { path, encrypted } => KeyPlace::Here {
            path: path.clone(),
            encrypted: *encrypted,
            mode: mode_of(path),
        },
        KeyLocation::Elsewhere => KeyPlace::Elsewhere,
    }
}

fn mode_of(path: &Path) -> Option<u32> {
    const PERMISSIONS: u32 = 0o7777;
    std::fs::metadata(path)
        .ok()
        .map(|found| found.permissions().mode() & PERMISSIONS)
}

/// Of the lists in use, one for each intermediate, the one that goes stale first.
fn first_crl_to_go_stale(
    authority: &Authority,
    now: Timestamp,
) -> Result<Option<CrlInput>, CliError> {
    let dir = authority.paths().dir();
    let mut found = None;
    for issuer in authority.intermediates() {
        let (name, certificate) = (&issuer.name, &issuer.certificate);
        let Some(status) = crl::read_status(dir, name, certificate).map_err(CaError::from)? else {
            continue;
        };
        let path = crl::path(dir, name).map_err(CaError::from)?;
        let earlier =
            |(_, other): &(PathBuf, crl::CrlStatus)| status.next_update < other.next_update;
        if certificate.not_after() > now && found.as_ref().is_none_or(earlier) {
            found = Some((path, status));
        }
    }
    Ok(found.map(|(path, status)| CrlInput {
        path,
        number: status.number,
        revoked: u64::try_from(status.revoked).unwrap_or(u64::MAX),
        this_update: status.this_update,
        next_update: Some(status.next_update),
    }))
}

/// A crash between the two steps of a root's rotation, or one that waits for a key.
fn unfinished_rotation(authority: &Authority, program: &str) -> Option<Finding> {
    let (newest, used) = (&authority.newest_root().name, &authority.active().issuer);
    let fix = format!("{program} ca rotate root");
    (newest != used).then(|| rules::rotation_unfinished(newest, used, &fix))
}

/// Gathers every certificate that matters now.
struct Certificates<'a> {
    authority: &'a Authority,
    ledger: &'a Ledger,
    /// How suggested commands begin.
    program: String,
    /// The state directory.
    #[cfg(feature = "acme")]
    home: &'a Path,
    /// Counted as due this long before the end, whatever the life.
    early: Option<Duration>,
    now: Timestamp,
}

impl Certificates<'_> {
    fn gather(&self, store: &FileStore) -> Result<Vec<CertInput>, CliError> {
        let (mut certificates, mut ordered) = (Vec::new(), Ordered::default());
        for id in store.ids()? {
            certificates.push(match store.load(&id) {
                Ok(Some(stored)) => {
                    ordered.add(&stored);
                    self.kept_here(store, &stored)?
                }
                Ok(None) => continue,
                Err(error) => CertInput {
                    fix: self.fix_for(&id, &error)?,
                    ..CertInput::damaged(id.as_str(), vec![causes(&error)])
                },
            });
        }
        self.signed_for_others(&ordered, &mut certificates)?;
        Ok(certificates)
    }

    /// What mends a certificate that cannot be loaded, and so cannot be renewed.
    fn fix_for(&self, id: &CertId, error: &StoreError) -> Result<Option<String>, CliError> {
        if let StoreError::ExposedKey { path, .. } = error {
            let path = path.to_string_lossy();
            return Ok(Some(words::command("chmod", ["600", &path])));
        }
        if let StoreError::NothingUsable {
            issuer: Some(IssuerRef::Acme(acme)),
            ..
        } = error
        {
            // Its names are lost with it.
            let directory = acme.directory.to_string();
            let line = [
                "acme",
                "issue",
                "--id",
                id.as_str(),
                "--directory",
                &directory,
            ];
            return Ok(Some(format!(
                "{} NAME…",
                words::command(&self.program, line)
            )));
        }
        let Some(entry) = self.ledger.newest_by_id(id)? else {
            return Ok(None);
        };
        let names: Vec<String> = entry.names.iter().map(ToString::to_string).collect();
        let usage: &[&str] = match entry.usage.as_str() {
            "client" => &["--client"],
            "both" => &["--both"],
            _ => &[],
        };
        let mut line = vec![
            "ca",
            "issue",
            "--id",
            id.as_str(),
            "--key-type",
            &entry.key_type,
        ];
        line.extend(usage);
        line.extend(names.iter().map(String::as_str));
        Ok(Some(words::command(&self.program, line)))
    }

    fn kept_here(&self, store: &FileStore, stored: &Stored) -> Result<CertInput, CliError> {
        let leaf = stored.bundle.leaf();
        let attempts = store.attempts(&stored.id)?;
        let key = stored.path.as_ref().map(|dir| dir.join("privkey.pem"));
        Ok(CertInput {
            chain: stored.bundle.intermediates().to_vec(),
            path: stored.path.as_ref().map(|dir| dir.join("fullchain.pem")),
            key: key.and_then(|path| mode_of(&path).map(|mode| (path, mode))),
            renew_at: Some(self.due_at(stored, &attempts)),
            revoked: self.revocation(stored)?,
            failures: (attempts.failures > 0).then(|| Failures {
                count: attempts.failures,
                error: attempts.error.clone(),
                next_try: attempts.not_before,
            }),
            damage: stored.damage.clone(),
            ..CertInput::new(stored.id.as_str(), leaf.clone(), true)
        })
    }

    fn due_at(&self, stored: &Stored, attempts: &Attempts) -> Timestamp {
        let leaf = stored.bundle.leaf();
        let is_ours = stored.record.issuer.may_be_ours()
            && (!stored.record.issuer.is_public() || self.authority.issuer_of(leaf).is_some());
        // Since a new root was made, and `renew` will replace it.
        if is_ours && self.authority.superseded(leaf).is_some() {
            return self.now;
        }
        let plan = attempts.plan_for(&leaf.serial_hex());
        self.early_or(leaf, due_by(Life::of(leaf), plan, attempts, self.now))
    }

    fn early_or(&self, leaf: &Certificate, usual: Timestamp) -> Timestamp {
        self.early
            .map_or(usual, |early| usual.min(leaf.not_after() - early))
    }

    fn revocation(&self, stored: &Stored) -> Result<Option<(Timestamp, Option<String>)>, CliError> {
        let leaf = stored.bundle.leaf();
        if let IssuerRef::Acme(_) = stored.record.issuer {
            let noted = self.revoked_elsewhere(leaf);
            if noted.is_some() || !stored.record.issuer.may_be_ours() {
                return Ok(noted);
            }
        }
        let entry = self.ledger.by_serial(leaf.serial())?;
        let revoked = entry.and_then(|entry| entry.revoked);
        Ok(revoked.map(|revocation| (revocation.at, Some(revocation.reason.to_string()))))
    }

    /// Whether `acme revoke` was told to revoke it.
    #[cfg(feature = "acme")]
    fn revoked_elsewhere(&self, leaf: &Certificate) -> Option<(Timestamp, Option<String>)> {
        let revocation = crate::acme::Revocations::new(self.home).of(leaf, self.now)?;
        Some((revocation.at, Some(revocation.reason.to_string())))
    }

    #[cfg(not(feature = "acme"))]
    #[expect(clippy::unused_self, reason = "it has the shape of its other half")]
    fn revoked_elsewhere(&self, _: &Certificate) -> Option<(Timestamp, Option<String>)> {
        None
    }

    /// What was signed for a request: its key is elsewhere, and somebody has to renew it
    /// there, an ACME client or a person. Those that were `ordered` from here, by ACME,
    /// and what they took the place of are kept here.
    fn signed_for_others(
        &self,
        ordered: &Ordered,
        certificates: &mut Vec<CertInput>,
    ) -> Result<(), CliError> {
        let mut clients = Clients::default();
        let since = self.now - AFTERGLOW;
        for one in others::newest(self.ledger, since, |one| !ordered.has(one))? {
            let nobody_minds = match one.account {
                Some(_) => others::is_over(&one, self.now),
                None if one.is_revoked => {
                    others::has_successor(self.ledger, &one, self.now, |_| true)?
                }
                None => false,
            };
            if nobody_minds {
                continue;
            }
            let Some((entry, leaf)) = others::certificate(self.ledger, &one)? else {
                continue;
            };
            let fix = match &one.account {
                Some(id) => Some(clients.advice(id, self.authority, &self.program)?),
                None => None,
            };
            let renew_at = match one.account {
                // When it is due is between its client and the directory.
                Some(_) => self.early.map(|early| leaf.not_after() - early),
                None => Some(self.early_or(&leaf, due_at(Life::of(&leaf)))),
            };
            certificates.push(CertInput {
                account: one.account.map(|id| id.to_string()),
                old_root: self.authority.superseded(&leaf),
                renew_at,
                revoked: entry.revoked.map(|r| (r.at, Some(r.reason.to_string()))),
                path: None::<PathBuf>,
                fix,
                ..CertInput::new(leaf.display_name(), leaf, false)
            });
        }
        Ok(())
    }
}

/// Certificates that were ordered from here, by ACME; the inventory does not know that
/// they are kept here.
#[derive(Default)]
struct Ordered {
    serials: HashSet<Vec<u8>>,
    /// By their names.
    newest: HashMap<String, Timestamp>,
}

impl Ordered {
    fn add(&mut self, stored: &Stored) {
        let issuer = &stored.record.issuer;
        if *issuer == IssuerRef::Private || !issuer.may_be_ours() {
            return;
        }
        let leaf = stored.bundle.leaf();
        self.serials.insert(leaf.serial().to_vec());
        let names = Signed::names_key(leaf.names());
        let newest = self
            .newest
            .entry(names)
            .or_insert_with(|| leaf.not_before());
        *newest = leaf.not_before().max(*newest);
    }

    /// Whether `one` is one of them, or what one of them took the place of.
    fn has(&self, one: &Signed) -> bool {
        let newest = self.newest.get(&one.names);
        self.serials.contains(&one.serial) || newest.is_some_and(|newest| one.not_before <= *newest)
    }
}

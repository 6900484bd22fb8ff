//! `certmint ca issue`: one certificate, or thousands from a list.

use std::path::{Path, PathBuf};

use super::open_ca;
use crate::bundle::CertBundle;
use crate::cli::args::IssueArgs;
use crate::cli::commands::issuing::{
    IssuedJson, Listed, Problems, absolute, print_issued, read_list,
};
use crate::cli::commands::small_runtime;
use crate::cli::progress;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::table::counted;
use crate::clock::rfc3339;
use crate::identifier::{CertId, Identifier};
use crate::issuer::IssuerRef;
use crate::issuer::Profile;
use crate::key::PrivateKey;
use crate::pki::{self, PrivateCa};
use crate::renew;
use crate::store::file::FileStore;
use crate::store::{Record, Store, StoreError, Stored, disk, export};

pub(super) fn run(
    args: &IssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    check(args)?;
    match &args.from {
        Some(list) => issue_list(list, args, context, printer),
        None if args.csr_only => make_request(args, printer),
        None => issue_one(args, context, printer),
    }
}

/// What belongs together; clap cannot know it, since half may come from the environment.
fn check(args: &IssueArgs) -> Result<(), CliError> {
    if args.names.is_empty() && args.from.is_none() {
        return Err(CliError::usage("no name was given")
            .hint("give one or more names, or a list of them with `--from FILE`".to_owned()));
    }
    if args.csr_only && args.copies.out.is_none() {
        return Err(
            CliError::usage("`--csr-only` needs a directory for the key and the request")
                .hint("name it with `--out DIR`".to_owned()),
        );
    }
    args.copies.check()
}

/// One certificate to be issued.
struct Order {
    id: CertId,
    record: Record,
}

impl Order {
    fn new(names: Vec<Identifier>, id: CertId, out: Option<PathBuf>, args: &IssueArgs) -> Self {
        let profile = Profile {
            names,
            key_type: args.key_type,
            usage: args.usage.usage(),
            lifetime_seconds: args.days.map(|days| u64::from(days) * 86_400),
        };
        let record = Record {
            profile,
            issuer: IssuerRef::Private,
            obtained: None,
            reuse_key: args.reuse_key,
            exports: args.copies.exports(out),
            deploy_hook: args.deploy_hook.clone(),
        };
        Self { id, record }
    }

    fn key(&self) -> Result<PrivateKey, CliError> {
        PrivateKey::generate(self.record.profile.key_type).map_err(CliError::failed)
    }

    fn for_ca(&self) -> Result<pki::Order, CliError> {
        let (profile, key) = (self.record.profile.clone(), self.key()?);
        Ok(pki::Order {
            profile,
            key,
            id: Some(self.id.clone()),
        })
    }
}

fn issue_one(
    args: &IssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let id = match (&args.id, args.names.first()) {
        (Some(id), _) => id.clone(),
        (None, first) => CertId::for_name(first.expect("checked: there is a name")),
    };
    let out = args.copies.dir()?;
    let order = Order::new(args.names.clone(), id, out, args);
    let p12_passphrase = match (&args.p12, &args.p12_passphrase_file) {
        (Some(_), Some(file)) => Some(context.read_passphrase(file)?),
        (Some(_), None) => Some(context.new_passphrase("the PKCS#12 file")?),
        (None, _) => None,
    };
    let ca = open_ca(context, &args.passphrase)?;
    let store = context.store()?;
    // What cannot be written is said before anything is issued.
    prepare(&order)?;
    if let Some(path) = &args.p12 {
        check_parent(path)?;
    }
    let _lock = store.lock_cert(&order.id)?;
    let obtained = renew::obtain(&store, &ca, &order.id, &order.record, order.key()?);
    let stored = small_runtime()?.block_on(obtained)?;
    let exports = renew::export_all(&stored);
    if let (Some(path), Some(passphrase)) = (&args.p12, &p12_passphrase) {
        write_p12(&stored, path, passphrase)?;
    }
    warn_if_clamped(&stored, printer);
    print_result(&stored, exports.is_empty(), args, context, printer);
    match exports.into_iter().next() {
        Some(error) => Err(error.into()),
        None => Ok(Exit::Done),
    }
}

/// What is shorter than asked for is said, not left to be discovered.
fn warn_if_clamped(stored: &Stored, printer: &mut Printer) {
    let leaf = stored.bundle.leaf();
    let Some(asked) = stored.record.profile.lifetime() else {
        return;
    };
    // The backdated start belongs to the life; five minutes are not worth a word.
    if leaf.lifetime() + time::Duration::HOUR < asked {
        printer.warn(&format!(
            "its life ends at {}, with its issuer's, not after the {} days asked for",
            rfc3339(leaf.not_after()),
            asked.whole_days()
        ));
    }
}

fn prepare(order: &Order) -> Result<(), CliError> {
    for export in &order.record.exports {
        export::prepare(export)?;
    }
    Ok(())
}

/// A file that is written at the end needs a directory.
fn check_parent(path: &Path) -> Result<(), CliError> {
    let path = absolute(path)?;
    let parent = path.parent().unwrap_or(&path);
    match std::fs::metadata(parent) {
        Ok(found) if found.is_dir() && !path.is_dir() => Ok(()),
        Ok(_) => Err(CliError::usage(format!(
            "`{}` cannot be a file",
            path.display()
        ))),
        Err(error) => Err(StoreError::io("write into", parent)(error).into()),
    }
}

fn print_result(
    stored: &Stored,
    exported: bool,
    args: &IssueArgs,
    context: &Context,
    printer: &mut Printer,
) {
    if args.json {
        printer.json(&IssuedJson::of(stored));
        return;
    }
    let mut more = vec![("root", context.home.join("ca").join("root.pem"))];
    more.extend(args.p12.clone().map(|path| ("pkcs12", path)));
    print_issued(stored, exported, &more, printer);
}

#[cfg(feature = "p12")]
fn write_p12(
    stored: &Stored,
    path: &Path,
    passphrase: &crate::key::Passphrase,
) -> Result<(), CliError> {
    const PRIVATE: u32 = 0o600;
    let name = stored.bundle.leaf().display_name();
    let bytes = pki::p12::encode(&stored.bundle, &name, passphrase).map_err(CliError::failed)?;
    Ok(disk::replace(path, &bytes, PRIVATE)?)
}

#[cfg(not(feature = "p12"))]
fn write_p12(_: &Stored, _: &Path, _: &crate::key::Passphrase) -> Result<(), CliError> {
    Err(CliError::usage("this certmint was built without PKCS#12"))
}

/// `--csr-only`: a key and a request for somebody else's CA.
fn make_request(args: &IssueArgs, printer: &mut Printer) -> Result<Exit, CliError> {
    const PRIVATE: u32 = 0o600;
    const READABLE: u32 = 0o644;
    let dir = args.copies.dir()?.unwrap_or_default();
    let key = PrivateKey::generate(args.key_type).map_err(CliError::failed)?;
    let request = pki::request(&key, &args.names).map_err(CliError::failed)?;
    let (key_path, csr_path) = (dir.join("privkey.pem"), dir.join("request.csr"));
    disk::create_dir(&dir)?;
    disk::write_new(&key_path, key.to_pem().as_bytes(), PRIVATE)?;
    disk::write_new(&csr_path, request.as_bytes(), READABLE)?;
    disk::sync_dir(&dir)?;
    printer.result(&format!(
        "key      {}\nrequest  {}\n",
        key_path.display(),
        csr_path.display()
    ));
    Ok(Exit::Done)
}

/// `--from`: either every line can be issued, or nothing is.
fn issue_list(
    list: &Path,
    args: &IssueArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let listed = read_list(list, context)?;
    let ca = open_ca(context, &args.passphrase)?;
    let out = args.copies.dir()?;
    let mut problems = Problems::default();
    let mut orders = Vec::new();
    for Listed { line, id, names } in listed {
        let out = out.as_ref().map(|dir| dir.join(id.as_str()));
        let order = Order::new(names, id, out, args);
        if let Err(refused) = ca.check(&order.record.profile) {
            let reason = std::error::Error::source(&refused).unwrap_or(&refused);
            problems.push(line, reason);
        }
        orders.push(order);
    }
    if let Some(message) = problems.told(list) {
        return Err(CliError::failed(anyhow::anyhow!(message)));
    }
    issue_many(&orders, &ca, args, context, printer)
}

/// How many certificates are signed, recorded and made durable together.
const BATCH: usize = 250;

fn issue_many(
    orders: &[Order],
    ca: &PrivateCa,
    args: &IssueArgs,
    context: &Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let store = context.store()?;
    if let Some(first) = orders.first() {
        prepare(first)?;
    }
    let bar = progress::bar(orders.len(), context.terminals.stderr && !context.quiet);
    let mut issued = 0;
    for batch in orders.chunks(BATCH) {
        issue_batch(batch, ca, &store).map_err(|error| {
            bar.abandon();
            error.hint(format!(
                "{issued} of {} certificates are issued and stored",
                orders.len()
            ))
        })?;
        issued += batch.len();
        bar.inc(u64::try_from(batch.len()).unwrap_or_default());
    }
    bar.finish_and_clear();
    if args.json {
        let ids: Vec<&CertId> = orders.iter().map(|order| &order.id).collect();
        printer.json(&serde_json::json!({ "schema": "certmint.issue-many/1", "issued": ids }));
    } else {
        let dir = context.home.join("certs");
        printer.result(&format!(
            "issued {} under {}\n",
            counted(issued, "certificate"),
            dir.display()
        ));
    }
    Ok(Exit::Done)
}

fn issue_batch(batch: &[Order], ca: &PrivateCa, store: &FileStore) -> Result<(), CliError> {
    let _locks = batch
        .iter()
        .map(|order| store.lock_cert(&order.id))
        .collect::<Result<Vec<_>, _>>()?;
    let orders = batch
        .iter()
        .map(Order::for_ca)
        .collect::<Result<Vec<_>, _>>()?;
    let issued = ca
        .issue_many(orders)?
        .into_iter()
        .collect::<Result<Vec<_>, _>>()?;
    let entries: Vec<(CertId, CertBundle, Record)> = batch
        .iter()
        .zip(issued)
        .map(|(order, issued)| (order.id.clone(), issued.bundle, order.record.clone()))
        .collect();
    for stored in store.commit_all(&entries)? {
        renew::forget_attempts(store, &stored.id)?;
        if let Some(error) = renew::export_all(&stored).into_iter().next() {
            return Err(error.into());
        }
    }
    Ok(())
}

//! `certmint acme account …`: the accounts at CAs, one for each directory.

use std::path::PathBuf;

use serde::Serialize;

use super::desk::{Desk, external};
use crate::acme::{AccountInfo, Registration, Session};
use crate::cli::args::{
    AccountArgs, AccountCommand, AccountContactArgs, AccountDeactivateArgs, AccountRegisterArgs,
};
use crate::cli::commands::issuing::absolute;
use crate::cli::commands::own::For;
use crate::cli::commands::stop::until_stopped;
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::Context;
use crate::cli::table::counted;
use crate::identifier::{quoted, quoted_within};
use crate::issuer::{AcmeRef, Directory};
use crate::store::disk;

pub(super) fn run(
    command: &AccountCommand,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let desk = Desk::new(context)?;
    unlock_own(command, &desk, context, printer)?;
    let settle = desk.issuers.settle();
    match command {
        AccountCommand::Show(args) if args.account.directory.is_none() => {
            list(&desk, args.account.json, printer)
        }
        AccountCommand::Show(args) => until_stopped(show(&args.account, &desk, printer), settle),
        AccountCommand::Register(args) => until_stopped(register(args, &desk, printer), settle),
        AccountCommand::Contact(args) => until_stopped(contact(args, &desk, printer), settle),
        AccountCommand::Rollover(args) => until_stopped(rollover(args, &desk, printer), settle),
        AccountCommand::Deactivate(args) => until_stopped(deactivate(args, &desk, printer), settle),
    }
}

/// Makes ready this machine's own CA, if it is to be asked.
fn unlock_own(
    command: &AccountCommand,
    desk: &Desk,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<(), CliError> {
    let (args, what) = match command {
        AccountCommand::Show(args) => (&args.account, For::Asking),
        AccountCommand::Register(args) => (&args.account, For::Issuing),
        AccountCommand::Contact(args) => (&args.account, For::Asking),
        AccountCommand::Rollover(args) => (args, For::Asking),
        AccountCommand::Deactivate(args) => (&args.account, For::Asking),
    };
    match &args.directory {
        Some(directory) if directory.is_private() => {
            desk.unlock(what, &args.passphrase, context, printer)
        }
        _ => args.passphrase.refuse(),
    }
}

/// One account of `certmint.acme-accounts/1`; fields are only ever added.
#[derive(Serialize)]
struct Shown {
    directory: Directory,
    url: Option<String>,
    /// As the CA says; `null` when it was not asked.
    status: Option<String>,
    contact: Vec<String>,
    path: PathBuf,
}

impl Shown {
    fn text(&self) -> String {
        let none = || "none".to_owned();
        let mut text = format!("{}\n", self.directory);
        let url = self
            .url
            .clone()
            .unwrap_or_else(|| "not registered yet".to_owned());
        let contact = match self.contact.as_slice() {
            [] => none(),
            some => some
                .iter()
                .map(|c| c.strip_prefix("mailto:").unwrap_or(c))
                .collect::<Vec<_>>()
                .join(", "),
        };
        for (label, value) in [
            ("account", Some(url)),
            ("status", self.status.clone()),
            ("contact", Some(contact)),
            ("key in", Some(self.path.display().to_string())),
        ] {
            if let Some(value) = value {
                text.push_str(&format!("  {label:<9} {value}\n"));
            }
        }
        text
    }
}

fn print(accounts: &[Shown], json: bool, printer: &mut Printer) {
    if json {
        printer.json(&serde_json::json!({
            "schema": "certmint.acme-accounts/1",
            "accounts": accounts,
        }));
        return;
    }
    for account in accounts {
        printer.result(&account.text());
    }
}

/// Every account of the state directory, without asking anybody.
fn list(desk: &Desk, json: bool, printer: &mut Printer) -> Result<Exit, CliError> {
    let mut accounts = Vec::new();
    for directory in directories(desk) {
        let home = desk.account(&directory);
        match home.load() {
            Ok(Some(saved)) => accounts.push(Shown {
                url: saved.url.as_deref().map(|url| quoted_within(url, 300)),
                status: None,
                contact: saved.contact.iter().map(|c| quoted(c)).collect(),
                path: home.path(),
                directory,
            }),
            Ok(None) => {}
            Err(damaged) => {
                let error = CliError::from(damaged);
                printer.warn(&error.told_with_hints());
            }
        }
    }
    if accounts.is_empty() && !json {
        printer.note(&format!(
            "there is no account in `{}`",
            desk.home.join("acme").display()
        ));
        printer.hint(&format!(
            "the first certificate makes one, or `{} acme account register --directory …`",
            desk.program
        ));
    }
    print(&accounts, json, printer);
    Ok(Exit::Done)
}

/// The directories that there is an account of, sorted by the names of their files.
fn directories(desk: &Desk) -> Vec<Directory> {
    #[derive(serde::Deserialize)]
    struct File {
        directory: Directory,
    }
    let entries = std::fs::read_dir(desk.home.join("acme"));
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("account.json"))
        .collect();
    files.sort();
    let read = |path: &PathBuf| {
        let bytes = zeroize::Zeroizing::new(disk::read_if_exists(path).ok()??);
        Some(serde_json::from_slice::<File>(&bytes).ok()?.directory)
    };
    files.iter().filter_map(read).collect()
}

/// The directory that was named, as it is reached.
fn reference(args: &AccountArgs, desk: &Desk) -> Result<AcmeRef, CliError> {
    let Some(directory) = args.directory.clone() else {
        let known: Vec<String> = directories(desk).iter().map(ToString::to_string).collect();
        let hint = match known.as_slice() {
            [] => "name its directory with `--directory`".to_owned(),
            some => format!(
                "name it with `--directory`; there are accounts at {}",
                some.join(", ")
            ),
        };
        return Err(CliError::usage("no CA was named").hint(hint));
    };
    let ca_file = match &args.ca_file {
        Some(path) => Some(absolute(path)?),
        None => desk
            .certificates_from(&directory)
            .into_iter()
            .find_map(|(_, acme)| acme.ca_file),
    };
    Ok(AcmeRef {
        ca_file,
        ..AcmeRef::new(directory)
    })
}

fn shown(info: AccountInfo, directory: &Directory, desk: &Desk) -> Shown {
    Shown {
        directory: directory.clone(),
        url: Some(quoted_within(&info.url, 300)),
        status: Some(info.status),
        contact: info.contact,
        path: desk.account(directory).path(),
    }
}

/// Talks to the CA only when there is an account to talk about.
async fn session(reference: &AcmeRef, desk: &Desk) -> Result<Session, CliError> {
    let home = desk.account(&reference.directory);
    if home.load()?.is_none() {
        let directory = reference.directory.to_string();
        return Err(
            CliError::failed(crate::acme::AcmeError::NoAccount(directory)).hint(format!(
                "register one with `{} acme account register --directory {}`",
                desk.program, reference.directory
            )),
        );
    }
    desk.session(reference).await
}

async fn show(args: &AccountArgs, desk: &Desk, printer: &mut Printer) -> Result<Exit, CliError> {
    let reference = reference(args, desk)?;
    let session = session(&reference, desk).await?;
    let directory = &reference.directory;
    let info = desk.account(directory).show(&session).await?;
    print(&[shown(info, directory, desk)], args.json, printer);
    Ok(Exit::Done)
}

async fn register(
    args: &AccountRegisterArgs,
    desk: &Desk,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let reference = reference(&args.account, desk)?;
    let directory = &reference.directory;
    let eab = args.registration.external_ref()?;
    let wanted = Registration {
        contact: args.registration.emails.clone(),
        agree_to_terms: args.registration.agree_tos,
        external: eab.as_ref().map(external).transpose()?,
    };
    let home = desk.account(directory);
    let known = home.load()?.is_some_and(|saved| saved.url.is_some());
    let session = desk.session(&reference).await?;
    let info = if known {
        printer.note(&format!("there is an account at {directory} already"));
        if !wanted.contact.is_empty() {
            printer.hint(&format!(
                "change its addresses with `{} acme account contact`",
                desk.program
            ));
        }
        home.show(&session).await?
    } else {
        desk.register(&session, directory, wanted, printer).await?
    };
    print(&[shown(info, directory, desk)], args.account.json, printer);
    Ok(Exit::Done)
}

async fn contact(
    args: &AccountContactArgs,
    desk: &Desk,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    if args.emails.is_empty() && !args.none {
        return Err(CliError::usage("no address was given")
            .hint("give one or more, or `--none` to leave the CA no address".to_owned()));
    }
    let reference = reference(&args.account, desk)?;
    let session = session(&reference, desk).await?;
    let directory = &reference.directory;
    let home = desk.account(directory);
    let info = home.set_contact(&session, &args.emails).await?;
    print(&[shown(info, directory, desk)], args.account.json, printer);
    Ok(Exit::Done)
}

async fn rollover(
    args: &AccountArgs,
    desk: &Desk,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let reference = reference(args, desk)?;
    let session = session(&reference, desk).await?;
    let directory = &reference.directory;
    let home = desk.account(directory);
    home.roll_over(&session).await?;
    let info = home.show(&session).await?;
    printer.note(&format!("the account at {directory} has a new key"));
    print(&[shown(info, directory, desk)], args.json, printer);
    Ok(Exit::Done)
}

async fn deactivate(
    args: &AccountDeactivateArgs,
    desk: &Desk,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let reference = reference(&args.account, desk)?;
    let directory = &reference.directory;
    let session = session(&reference, desk).await?;
    if !args.yes {
        let users = desk.certificates_from(directory).len();
        let needed = match users {
            0 => String::new(),
            _ => format!(
                "\n{} will not be renewed without a new account.",
                counted(users, "certificate")
            ),
        };
        let question = format!(
            "An account that is deactivated cannot be brought back.{needed}\nDeactivate the account \
             at {directory}?"
        );
        match desk.asked(&question).await? {
            Some(true) => {}
            Some(false) => {
                return Err(CliError::failed(anyhow::anyhow!(
                    "the account is not deactivated"
                )));
            }
            None => {
                return Err(CliError::usage(format!(
                    "the account at {directory} would be ended for good, and nobody can be asked"
                ))
                .hint("say that it is meant with `--yes`".to_owned()));
            }
        }
    }
    let home = desk.account(directory);
    let url = home.load()?.and_then(|saved| saved.url);
    home.deactivate(&session).await?;
    let gone = Shown {
        directory: directory.clone(),
        url: url.as_deref().map(|url| quoted_within(url, 300)),
        status: Some("deactivated".to_owned()),
        contact: Vec::new(),
        path: home.path(),
    };
    if args.account.json {
        print(&[gone], true, printer);
    } else {
        printer.result(&format!("deactivated the account at {directory}\n"));
    }
    Ok(Exit::Done)
}

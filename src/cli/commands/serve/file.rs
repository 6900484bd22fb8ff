//! `certmint serve`: what a file says, on any number of listeners.
//!
//! Rules kept here: a file is checked as a whole, now and on every reload; nobody is
//! asked for a passphrase after the start; what takes effect at a start alone is told
//! with its line.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{custom_mode, is_encrypted, locked_key, private_mode, serve_plan, tell};
#[cfg(feature = "acme")]
use crate::cli::Environment;
use crate::cli::args::{AcmeListenerArgs, OperationArgs, ServeArgs, TlsArgs};
#[cfg(feature = "acme")]
use crate::cli::commands::own;
use crate::cli::config::{self, Config, ListenerArgs, Problems, Written};
use crate::cli::report::{CliError, Exit, Printer};
use crate::cli::resolve::{Context, passphrase_in};
use crate::cli::site::{Misfit, as_keys, settings, unfit_files};
#[cfg(feature = "acme")]
use crate::issuer::IssuerRef;
use crate::key::Passphrase;
use crate::pki::Authority;
use crate::serve::{CustomFiles, Operation, Plan, RawKeyFile, ServeMode, Site};
use crate::settings::{ListenAddr, ListenerSettings};

/// `serve`.
pub(in crate::cli::commands) fn run(
    args: ServeArgs,
    context: &mut Context,
    printer: &mut Printer,
) -> Result<Exit, CliError> {
    let path = std::path::absolute(&args.config).map_err(CliError::failed)?;
    let mut file = File {
        shown: args.config.clone(),
        path,
        home: context.home_is_given.then(|| context.home.clone()),
        usual_home: context.home.clone(),
        flags: args.operation,
        #[cfg(feature = "acme")]
        environment: context.environment.clone(),
        passphrases: BTreeMap::new(),
        running: None,
    };
    let read = |file: &File| {
        file.plan()
            .map_err(|problems| wrong(&file.shown, &problems))
    };
    let mut found = read(&file)?;
    if args.check_config {
        let (file, count) = (args.config.display(), found.plan.sites.len());
        let listeners = if count == 1 { "listener" } else { "listeners" };
        printer.result(&format!("{file}: fine, {count} {listeners}\n"));
        return Ok(Exit::Done);
    }
    file.passphrases = ask(&found.plan, context)?;
    if !file.passphrases.is_empty() {
        found = read(&file)?;
    }
    make_own(&found, context, printer)?;
    let plan = found.plan;
    file.home = Some(found.home);
    file.running = Some((plan.operation.clone(), found.said_home));
    let reread = move || file.plan().map(|found| found.plan);
    serve_plan(plan, Arc::new(reread), context, |ready| {
        tell(ready, printer)
    })
}

fn wrong(path: &Path, problems: &[String]) -> CliError {
    let count = match problems.len() {
        1 => "a problem".to_owned(),
        count => format!("{count} problems"),
    };
    let list = problems.join("\n  ");
    CliError::usage(format!("`{}` has {count}\n  {list}", path.display()))
}

/// Makes this machine's own CA when it is asked by ACME and there is none.
#[cfg(feature = "acme")]
fn make_own(found: &Found, context: &Context, printer: &mut Printer) -> Result<(), CliError> {
    let secrets = found.plan.sites.iter().filter_map(|site| match &site.mode {
        ServeMode::Acme(leaf) => leaf.issuer.asks_ours().then_some(&leaf.passphrase),
        ServeMode::OnDemand(site) => {
            let issuer = &site.settings.issuer;
            let asked = *issuer != IssuerRef::Private && issuer.may_be_ours();
            asked.then_some(&site.passphrase)
        }
        _ => None,
    });
    // Any of them, since all unlock one key.
    let Some(secret) = secrets.max_by_key(|secret| secret.is_some()) else {
        return Ok(());
    };
    own::make(&found.home, secret.clone(), context, printer)
}

#[cfg(not(feature = "acme"))]
#[expect(
    clippy::unnecessary_wraps,
    reason = "it has the shape of its other half"
)]
fn make_own(_: &Found, _: &Context, _: &mut Printer) -> Result<(), CliError> {
    Ok(())
}

/// Asks the person at the terminal, if there is one, for the passphrases that no file
/// has; by what they unlock.
fn ask(plan: &Plan, context: &mut Context) -> Result<BTreeMap<PathBuf, Passphrase>, CliError> {
    let mut asked = BTreeMap::new();
    if !context.can_ask() {
        return Ok(asked);
    }
    for site in &plan.sites {
        let (locked, what) = match &site.mode {
            ServeMode::Ca(leaf) if leaf.passphrase.is_none() && is_locked(&leaf.home) => {
                (leaf.home.clone(), "the CA's intermediate key".to_owned())
            }
            ServeMode::Acme(leaf)
                if leaf.issuer.asks_ours()
                    && leaf.passphrase.is_none()
                    && is_locked(&leaf.home) =>
            {
                (leaf.home.clone(), "the CA's intermediate key".to_owned())
            }
            ServeMode::OnDemand(site)
                if site.settings.issuer.may_be_ours()
                    && site.passphrase.is_none()
                    && is_locked(&site.home) =>
            {
                (site.home.clone(), "the CA's intermediate key".to_owned())
            }
            ServeMode::Custom(CustomFiles {
                key,
                passphrase: None,
                ..
            })
            | ServeMode::RawKey(RawKeyFile {
                key,
                passphrase: None,
            }) if is_encrypted(key).unwrap_or(false) => {
                (key.clone(), format!("the private key `{}`", key.display()))
            }
            _ => continue,
        };
        if let Entry::Vacant(entry) = asked.entry(locked) {
            entry.insert(context.passphrase_for(None, &what)?);
        }
    }
    Ok(asked)
}

/// Whether the CA in `home` has an encrypted key here.
fn is_locked(home: &Path) -> bool {
    let authority = Authority::open(home);
    authority.is_ok_and(|authority| authority.active().key.is_encrypted())
}

/// A file of settings, and what it is read with.
struct File {
    /// As it was typed.
    shown: PathBuf,
    path: PathBuf,
    /// The state directory whatever the file says.
    home: Option<PathBuf>,
    usual_home: PathBuf,
    /// They win over the file.
    flags: OperationArgs,
    #[cfg(feature = "acme")]
    environment: Environment,
    /// Those that a person has typed, by what they unlock.
    passphrases: BTreeMap<PathBuf, Passphrase>,
    /// What the server began with, and keeps to; and the state directory in the file.
    running: Option<(Operation, Option<PathBuf>)>,
}

/// What a file that is fine says.
struct Found {
    plan: Plan,
    home: PathBuf,
    /// The state directory that stands in it.
    said_home: Option<PathBuf>,
}

impl File {
    /// What the file says now, or all that is wrong with it.
    fn plan(&self) -> Result<Found, Vec<String>> {
        let mut problems = Problems::of(&self.path);
        let Some(config) = config::read(&self.path, &mut problems) else {
            return Err(problems.told());
        };
        let below = config.file.operation.clone();
        let operation = self.flags.clone().over(below).operation();
        let said_home = config.file.home.clone();
        let home = self.home.clone().or_else(|| said_home.clone());
        let home = home.unwrap_or_else(|| self.usual_home.clone());
        let sites = self.sites(&config, &home, &mut problems);
        collisions(&config, &sites, operation.admin, &mut problems);
        self.credentials(&config, &mut problems);
        if !problems.is_empty() {
            return Err(problems.told());
        }
        let for_next_start = self.for_next_start(&config, &operation);
        let plan = Plan {
            sites: sites.into_iter().map(|(_, site)| site).collect(),
            operation,
            for_next_start,
        };
        Ok(Found {
            plan,
            home,
            said_home,
        })
    }

    /// The sites that can be made of the listeners, each with the listener's number.
    fn sites(&self, config: &Config, home: &Path, problems: &mut Problems) -> Vec<(usize, Site)> {
        let mut sites = Vec::new();
        for (n, written) in config.listeners.iter().enumerate() {
            let line = |key: &str| written.lines.get(key).copied().unwrap_or(written.line);
            let add = |misfits: Vec<Misfit>, problems: &mut Problems| {
                for misfit in misfits {
                    problems.push(line(misfit.key), misfit.in_file());
                }
            };
            let settings = written.settings();
            let mode = self.mode(written, config, home);
            let mode = mode.map_err(|error| {
                let text = error.told_with_hints();
                problems.push(line(blamed(&text, written)), as_keys(&text));
            });
            let settings = settings.map_err(|misfits| add(misfits, problems));
            let (Ok(listener), Ok(mode)) = (settings, mode) else {
                continue;
            };
            let site = Site {
                place: Some(config::place(&self.path, written.line)),
                mode,
                listener,
                http: written.args.beside(),
            };
            add(unfit_files(&site), problems);
            sites.push((n, site));
        }
        sites
    }

    fn mode(&self, written: &Written, config: &Config, home: &Path) -> Result<ServeMode, CliError> {
        match &written.args {
            ListenerArgs::Insecure(args) => Ok(ServeMode::Insecure {
                allow_remote: args.allow_remote,
            }),
            ListenerArgs::Ca(args) => {
                let passphrase =
                    self.passphrase(args.passphrase.passphrase_file.as_deref(), home)?;
                private_mode(args, home, passphrase)
            }
            ListenerArgs::Custom(args) => {
                let passphrase = match locked_key(args) {
                    Some(key) => self.passphrase(args.passphrase_file.as_deref(), key)?,
                    None => None,
                };
                Ok(custom_mode(args, passphrase))
            }
            ListenerArgs::Acme(args) => self.public(args, config, home),
        }
    }

    #[cfg(feature = "acme")]
    fn public(
        &self,
        args: &AcmeListenerArgs,
        config: &Config,
        home: &Path,
    ) -> Result<ServeMode, CliError> {
        let credentials = (!config.dns.is_empty()).then_some(&*self.path);
        let mut mode = super::public::mode(args, credentials, home, &self.environment)?;
        let file = args.passphrase.passphrase_file.as_deref();
        super::public::unlock(&mut mode, self.passphrase(file, home)?);
        Ok(mode)
    }

    #[cfg(not(feature = "acme"))]
    fn public(&self, _: &AcmeListenerArgs, _: &Config, _: &Path) -> Result<ServeMode, CliError> {
        Err(crate::serve::ServeError::WithoutAcme.into())
    }

    /// What unlocks the keys in `locked`: in a file, or typed at the start.
    fn passphrase(
        &self,
        file: Option<&Path>,
        locked: &Path,
    ) -> Result<Option<Passphrase>, CliError> {
        if let Some(file) = file {
            return passphrase_in(file).map(Some);
        }
        Ok(self.passphrases.get(locked).cloned())
    }

    #[cfg(not(feature = "acme"))]
    fn credentials(&self, config: &Config, problems: &mut Problems) {
        for line in config.dns.values() {
            problems.push(*line, "this certmint was built without ACME: leave it out");
        }
    }

    /// The tables `[dns.NAME]` of the file itself.
    #[cfg(feature = "acme")]
    fn credentials(&self, config: &Config, problems: &mut Problems) {
        let Some(first) = config.dns.values().min() else {
            return;
        };
        let Err(error) = crate::acme::dns::DnsCredentials::read(&self.path) else {
            return;
        };
        let hint = error
            .hint()
            .map_or_else(String::new, |hint| format!("; {hint}"));
        for text in error.each() {
            let named = config.dns.iter().find(|(name, _)| {
                let at = format!("`dns.{name}");
                text.strip_prefix(&*at)
                    .is_some_and(|rest| rest.starts_with(['.', '`']))
            });
            let line = named.map_or(*first, |(_, line)| *line);
            problems.push(line, format!("{text}{hint}"));
        }
    }

    /// What differs from how the server began, and cannot be changed under it.
    fn for_next_start(&self, config: &Config, now: &Operation) -> Vec<String> {
        let Some((before, said)) = &self.running else {
            return Vec::new();
        };
        let said_home = &config.file.home;
        let changed = [
            ("home", said_home != said),
            ("admin", before.admin != now.admin),
            ("admin-socket", before.admin_socket != now.admin_socket),
            ("access-log", before.access_log != now.access_log),
            ("events", before.events != now.events),
            ("user", before.user != now.user),
        ];
        let told = changed.into_iter().filter(|(_, changed)| *changed);
        told.map(|(key, _)| {
            // Without a line it was taken out.
            let line = config.lines.get(key).copied().unwrap_or(1);
            format!("{}: `{key}`", config::place(&self.path, line))
        })
        .collect()
    }
}

impl Written {
    fn settings(&self) -> Result<ListenerSettings, Vec<Misfit>> {
        let (site, tls): (_, Option<&TlsArgs>) = match &self.args {
            ListenerArgs::Ca(args) => (&args.site, Some(&args.tls)),
            ListenerArgs::Acme(args) => (&args.site, Some(&args.tls)),
            ListenerArgs::Custom(args) => (&args.site, Some(&args.tls)),
            ListenerArgs::Insecure(args) => (&args.site, None),
        };
        settings(self.args.address(), site, tls)
    }
}

impl ListenerArgs {
    /// Where it serves.
    fn address(&self) -> ListenAddr {
        match self {
            Self::Ca(args) => args.https,
            Self::Acme(args) => args.https,
            Self::Custom(args) => args.https,
            Self::Insecure(args) => args.http,
        }
    }

    /// The plain port beside.
    fn beside(&self) -> Option<ListenAddr> {
        match self {
            Self::Ca(args) => args.http.0,
            Self::Acme(args) => args.http.0,
            Self::Custom(args) => args.http.0,
            Self::Insecure(_) => None,
        }
    }

    /// The key of the address that it serves on.
    fn address_key(&self) -> &'static str {
        match self {
            Self::Insecure(_) => "http",
            _ => "https",
        }
    }
}

/// The first key of the listener that is named in what went wrong.
fn blamed<'a>(text: &str, written: &'a Written) -> &'a str {
    let at = |key: &&String| text.find(&format!("`--{key}`"));
    let named = written.lines.keys().filter(|key| at(key).is_some());
    named.min_by_key(at).map_or("names", String::as_str)
}

/// Refuses addresses that two listeners want.
fn collisions(
    config: &Config,
    sites: &[(usize, Site)],
    admin: Option<ListenAddr>,
    problems: &mut Problems,
) {
    let mut taken: Vec<(ListenAddr, usize)> = Vec::new();
    let mut take = |address: ListenAddr, line: usize| {
        if let Some((other, earlier)) = taken.iter().find(|(other, _)| other.collides(address)) {
            problems.push(
                line,
                format!(
                    "{address} is taken: line {earlier} listens on {other}; give each listener \
                     an address of its own"
                ),
            );
        }
        taken.push((address, line));
    };
    if let Some(admin) = admin {
        take(admin, config.lines.get("admin").copied().unwrap_or(1));
    }
    for (n, site) in sites {
        let written = &config.listeners[*n];
        let line = |key| written.lines.get(key).copied().unwrap_or(written.line);
        take(site.listener.address, line(written.args.address_key()));
        if let Some(http) = site.http {
            take(http, line("http"));
        }
    }
}

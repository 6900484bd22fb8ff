//! What the commands for public CAs work with, and how an account is made: the terms
//! of service are shown, and agreed to by a flag or by the person at the terminal.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use crate::acme::dns::{Operator, TxtRecord};
use crate::acme::{
    AccountHome, AccountInfo, Authority, ExternalAccount, HttpClient, Limits, Opener, OwnAnswers,
    Registration, Session, Surroundings,
};
use crate::cli::args::{PassphraseArgs, RegistrationArgs};
use crate::cli::commands::issuing::absolute;
use crate::cli::commands::own::{self, For};
use crate::cli::person::Person;
use crate::cli::report::{CliError, Printer};
use crate::cli::resolve::Context;
use crate::clock::{Clock, Timestamp};
use crate::directory::Permit;
use crate::directory::embedded::Embedded;
use crate::finding::words::causes;
use crate::identifier::{CertId, Identifier, quoted_within};
use crate::issuer::{AcmeRef, BoxFuture, Directory, EabRef, IssueError, IssuerRef};
use crate::key::Passphrase;
use crate::renew::issuers::HomeIssuers;
use crate::store::Store;
use crate::store::file::FileStore;

/// What every command here needs.
pub(super) struct Desk {
    pub(super) home: PathBuf,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) store: FileStore,
    pub(super) opener: Arc<Opener>,
    pub(super) issuers: HomeIssuers,
    own: Arc<Own>,
    person: Option<Person>,
    /// How a command that is suggested begins.
    pub(super) program: String,
    /// Whether there is a terminal to draw on.
    pub(super) draws: bool,
}

impl Desk {
    /// Takes standard input for the person, if somebody is there.
    pub(super) fn new(context: &mut Context) -> Result<Self, CliError> {
        let store = context.store()?;
        let person = context.person();
        let (home, clock) = (context.home.clone(), Arc::clone(&context.clock));
        let operator = person.clone().map(|p| Arc::new(p) as Arc<dyn Operator>);
        let environment = context.environment.clone();
        let own = Arc::new(Own {
            home: home.clone(),
            clock: Arc::clone(&clock),
            passphrase: OnceLock::new(),
            names: Mutex::default(),
        });
        let opened = Arc::clone(&own);
        let opener = Arc::new(Opener::new(Surroundings {
            variables: Arc::new(move |name| environment.get(name).map(str::to_owned)),
            operator,
            own: Some(Arc::new(move |answers| opened.open(answers))),
            ..Surroundings::unattended(home.clone(), Arc::clone(&clock))
        }));
        let issuers = HomeIssuers::new(home.clone(), None, Arc::clone(&clock));
        Ok(Self {
            issuers: issuers.acme(Arc::clone(&opener)),
            program: context.program(),
            draws: context.terminals.stderr && !context.quiet,
            home,
            clock,
            store,
            opener,
            own,
            person,
        })
    }

    /// Makes ready this machine's own CA if `reference` asks it, to issue for `names`.
    pub(super) fn prepare_own(
        &self,
        reference: &AcmeRef,
        names: &[Identifier],
        args: &PassphraseArgs,
        context: &mut Context,
        printer: &mut Printer,
    ) -> Result<(), CliError> {
        if !reference.asks_ours() {
            return args.refuse();
        }
        self.own.names().extend(names.iter().cloned());
        self.unlock(For::Issuing, args, context, printer)
    }

    /// The same to speak of what it has issued, or of its accounts.
    pub(super) fn unlock(
        &self,
        what: For,
        args: &PassphraseArgs,
        context: &mut Context,
        printer: &mut Printer,
    ) -> Result<(), CliError> {
        if self.own.passphrase.get().is_none() {
            let passphrase = own::prepare(what, args, context, printer)?;
            let _ = self.own.passphrase.set(passphrase);
        }
        Ok(())
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(super) fn account(&self, directory: &Directory) -> AccountHome {
        AccountHome::new(&self.home, directory)
    }

    /// A run of talking to the CA that `reference` names.
    pub(super) async fn session(&self, reference: &AcmeRef) -> Result<Session, CliError> {
        let authority = self.opener.authority(reference)?;
        self.session_with(&authority).await
    }

    async fn session_with(&self, authority: &Authority) -> Result<Session, CliError> {
        Ok(authority.session(Limits::default(), &self.clock).await?)
    }

    /// Makes accounts where there are none yet: at the CA, and at the second one, which
    /// could not be asked for them at the moment when it is needed.
    pub(super) async fn ensure_accounts(
        &self,
        reference: &AcmeRef,
        agree: bool,
        printer: &mut Printer,
    ) -> Result<(), CliError> {
        let contact = reference.contact.clone();
        let wanted = Registration {
            contact: contact.clone(),
            agree_to_terms: agree,
            external: reference.eab.as_ref().map(external).transpose()?,
        };
        if !self.has_account(&reference.directory)? {
            let authority = self.opener.authority(reference)?;
            let session = self.session_with(&authority).await?;
            self.register(&session, &reference.directory, wanted, printer)
                .await?;
        }
        let Some(second) = &reference.fallback else {
            return Ok(());
        };
        if self.has_account(second)? {
            return Ok(());
        }
        let wanted = Registration {
            contact,
            agree_to_terms: agree,
            external: None,
        };
        let registered = async {
            let authority = self.opener.fallback(reference)?;
            let authority = authority.expect("the reference names a second CA");
            // It is not what was asked for: nobody waits long for it.
            let limits = Limits {
                failures: 1,
                ..Limits::default()
            };
            let session = authority.session(limits, &self.clock).await?;
            self.register(&session, second, wanted, printer).await
        };
        let Err(problem) = registered.await else {
            return Ok(());
        };
        printer.warn(&format!(
            "{second} cannot stand in, there is no account there: {}",
            problem.told()
        ));
        printer.hint(&format!(
            "make one with `{} acme account register --directory {second}`",
            self.program
        ));
        Ok(())
    }

    fn has_account(&self, directory: &Directory) -> Result<bool, CliError> {
        let saved = self.account(directory).load()?;
        Ok(saved.is_some_and(|saved| saved.url.is_some()))
    }

    /// Makes the account, or finds it again.
    pub(super) async fn register(
        &self,
        session: &Session,
        directory: &Directory,
        wanted: Registration,
        printer: &mut Printer,
    ) -> Result<AccountInfo, CliError> {
        let meta = &session.endpoints().meta;
        if meta.external_account_required && wanted.external.is_none() {
            return Err(CliError::usage(format!(
                "{directory} makes accounts only for customers whom it knows"
            ))
            .hint(
                "get a key id and an HMAC key at its site; give them with `--eab-kid` and \
                 `--eab-hmac-file`"
                    .to_owned(),
            ));
        }
        if let Some(terms) = &meta.terms_of_service {
            let terms = quoted_within(terms, 300);
            self.agree(directory, &terms, wanted.agree_to_terms, printer)
                .await?;
        }
        let wanted = Registration {
            agree_to_terms: true,
            ..wanted
        };
        let info = self.account(directory).register(session, &wanted).await?;
        printer.note(&format!(
            "registered an account at {directory}: {}",
            info.url
        ));
        Ok(info)
    }

    async fn agree(
        &self,
        directory: &Directory,
        terms: &str,
        agreed: bool,
        printer: &mut Printer,
    ) -> Result<(), CliError> {
        if agreed {
            printer.note(&format!("agreed to the terms of service at {terms}"));
            return Ok(());
        }
        let question =
            format!("The terms of service of {directory} are at\n  {terms}\nDo you agree to them?");
        match self.asked(&question).await? {
            Some(true) => Ok(()),
            Some(false) => Err(CliError::failed(anyhow::anyhow!(
                "no account without agreeing to the terms of service of {directory}"
            ))),
            None => Err(CliError::usage(format!(
                "the terms of service of {directory} at {terms} are not agreed to"
            ))
            .hint("read them, and agree with `--agree-tos`".to_owned())),
        }
    }

    /// What the person says; `None` when nobody is there.
    pub(super) async fn asked(&self, question: &str) -> Result<Option<bool>, CliError> {
        let Some(person) = &self.person else {
            return Ok(None);
        };
        let answer = person.agrees(question).await;
        answer.map(Some).map_err(CliError::failed)
    }

    /// The certificates that come from `directory`, and how they were obtained.
    pub(super) fn certificates_from(&self, directory: &Directory) -> Vec<(CertId, AcmeRef)> {
        let ids = self.store.ids().unwrap_or_default();
        let from = |id: CertId| {
            let stored = self.store.load(&id).ok()??;
            match stored.record.issuer {
                IssuerRef::Acme(acme) if acme.directory == *directory => Some((id, *acme)),
                _ => None,
            }
        };
        ids.into_iter().filter_map(from).collect()
    }
}

/// This machine's own CA, as the command that asks it has been told of it.
struct Own {
    home: PathBuf,
    clock: Arc<dyn Clock>,
    /// What unlocks it, once that is known.
    passphrase: OnceLock<Option<Passphrase>>,
    /// For which names it may be asked.
    names: Mutex<BTreeSet<Identifier>>,
}

impl Own {
    fn names(&self) -> MutexGuard<'_, BTreeSet<Identifier>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, answers: OwnAnswers) -> Result<Arc<dyn HttpClient>, IssueError> {
        let embedded = Embedded {
            home: self.home.clone(),
            passphrase: self.passphrase.get().cloned().flatten(),
            clock: Arc::clone(&self.clock),
            permit: Permit::Exactly(self.names().clone()),
        };
        embedded.open(answers)
    }
}

impl Operator for Person {
    fn create<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, std::io::Result<()>> {
        Box::pin(async move {
            let question = format!(
                "Create this TXT record:\n\n  {}. TXT \"{}\"\n\nThen press Enter. ",
                record.name, record.value
            );
            self.ask(question).await.map(drop)
        })
    }

    fn remove(&self, record: &TxtRecord) {
        Self::tell(&format!(
            "The TXT record {}. with the text \"{}\" may be removed now.\n",
            record.name, record.value
        ));
    }
}

impl RegistrationArgs {
    /// The external account, when one is given; paths are absolute.
    pub(in crate::cli::commands) fn external_ref(&self) -> Result<Option<EabRef>, CliError> {
        match (&self.eab_kid, &self.eab_hmac_file) {
            (None, None) => Ok(None),
            (Some(kid), Some(file)) => Ok(Some(EabRef {
                kid: kid.clone(),
                hmac_file: absolute(file)?,
            })),
            _ => Err(
                CliError::usage("an external account needs both its key id and its HMAC key")
                    .hint("give `--eab-kid` and `--eab-hmac-file` together".to_owned()),
            ),
        }
    }
}

/// The external account itself.
pub(super) fn external(eab: &EabRef) -> Result<ExternalAccount, CliError> {
    ExternalAccount::from_file(eab.kid.clone(), &eab.hmac_file).map_err(|error| {
        let hint = match &error {
            crate::acme::BadExternalAccount::Store(store) => store.hint(),
            _ => Some("copy both as the CA's site shows them".to_owned()),
        };
        CliError::usage(causes(&error)).hint(hint)
    })
}

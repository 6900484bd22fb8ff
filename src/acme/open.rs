//! From a certificate's record to an issuer that can make it again: which CA, whose
//! account, which solvers.
//!
//! Rules kept here: certificates share what their settings agree in, so that a run
//! over many reads a directory once, opens an account once, and opens a port once,
//! whoever answers on it; a secret is read only when it is needed, and never kept in a
//! record.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::dns::{CredentialError, Dns01, DnsCredentials, Operator, Settings, Sources};
use super::own::{OwnAnswers, OwnDirectory};
use super::{AcmeIssuer, Authority, ExternalAccount, HttpClient, Registration, Wishes};
use crate::challenge::{
    ChallengeKind, ChallengeTable, Journal, ServedAt, Solver, SolverError, StandaloneHttp01,
    StandaloneTlsAlpn01, TableSolver, Webroot01,
};
use crate::clock::Clock;
use crate::finding::words::causes;
use crate::identifier::EmailAddress;
use crate::issuer::{AcmeRef, Directory, EabRef, IssueError};
use crate::net::dns::Dns;
use crate::net::http::HttpClient as NetClient;
use crate::net::roots::Roots;

/// The value of a variable, for `env:` references in DNS credentials.
type Variables = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What an ACME issuer needs beyond the record of a certificate.
#[derive(Clone)]
pub struct Surroundings {
    /// The state directory.
    pub home: PathBuf,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Variables that DNS credentials may refer to.
    pub variables: Arc<Variables>,
    /// The person whom the DNS provider `manual` asks; none under cron.
    pub operator: Option<Arc<dyn Operator>>,
    /// The challenges that a running server answers; without it, listeners of our own.
    pub table: Option<Arc<ChallengeTable>>,
    /// Where that server does so.
    pub served: ServedAt,
    /// Whether the terms of service of a CA without an account may be agreed to.
    pub agree_to_terms: bool,
    /// This machine's own CA, where it can be asked.
    pub own: Option<Arc<OwnDirectory>>,
}

impl Surroundings {
    /// Those of a program that nobody watches.
    pub fn unattended(home: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            home,
            clock,
            variables: Arc::new(|_| None),
            operator: None,
            table: None,
            served: ServedAt::default(),
            agree_to_terms: false,
            own: None,
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("home", &self.home)
            .field("agree_to_terms", &self.agree_to_terms)
            .finish_non_exhaustive()
    }
}

/// Opens the ACME issuers of one state directory.
#[derive(Debug)]
pub struct Opener {
    surroundings: Surroundings,
    journal: Arc<Journal>,
    opened: Mutex<Opened>,
}

/// What is open, and shared from then on.
#[derive(Debug, Default)]
struct Opened {
    issuers: Shared<AcmeRef, AcmeIssuer>,
    authorities: Shared<AuthorityKey, Authority>,
    solvers: Shared<SolverKey, dyn Solver>,
}

/// References that agree in this have one account, and one pool of connections.
#[derive(Debug, Clone, PartialEq)]
struct AuthorityKey {
    directory: Directory,
    ca_file: Option<PathBuf>,
    contact: Vec<EmailAddress>,
    eab: Option<EabRef>,
    /// How challenges are answered, of which our own CA alone has to be told.
    answered: Option<Answered>,
}

/// Where our own CA looks at challenges.
#[derive(Debug, Clone, PartialEq)]
struct Answered {
    by: Vec<SolverKey>,
    dns_server: Option<SocketAddr>,
}

/// References that agree in this answer challenges by one solver: a port can be opened
/// only once, and a zone is not changed by two at a time.
#[derive(Debug, Clone, PartialEq)]
enum SolverKey {
    Table(ChallengeKind),
    Listener(ChallengeKind, SocketAddr),
    AnyPort(ChallengeKind, IpAddr),
    Webroot(PathBuf),
    Dns {
        credential: String,
        file: PathBuf,
        server: Option<SocketAddr>,
    },
}

/// A handful of things by what makes them the same.
#[derive(Debug)]
struct Shared<K, V: ?Sized>(Vec<(K, Arc<V>)>);

impl<K, V: ?Sized> Default for Shared<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: PartialEq, V: ?Sized> Shared<K, V> {
    fn find(&self, key: &K) -> Option<Arc<V>> {
        let known = self.0.iter().find(|(known, _)| known == key);
        known.map(|(_, value)| Arc::clone(value))
    }

    fn keep(&mut self, key: K, value: Arc<V>) -> Arc<V> {
        self.0.push((key, Arc::clone(&value)));
        value
    }
}

impl Opener {
    /// Where tls-alpn-01 is answered when nothing else is said.
    pub const HTTPS: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 443);
    /// Where http-01 is answered when nothing else is said.
    pub const HTTP: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 80);

    /// Where our own CA finds challenges answered when nothing else is said: on whichever
    /// port is free.
    pub const OWN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

    /// An opener that has opened nothing yet.
    pub fn new(surroundings: Surroundings) -> Self {
        Self {
            journal: Arc::new(Journal::new(&surroundings.home)),
            surroundings,
            opened: Mutex::default(),
        }
    }

    /// The issuer that `reference` describes.
    pub fn open(&self, reference: &AcmeRef) -> Result<Arc<AcmeIssuer>, IssueError> {
        let mut opened = self.lock();
        if let Some(issuer) = opened.issuers.find(reference) {
            return Ok(issuer);
        }
        let issuer = Arc::new(self.make(reference, &mut opened)?);
        Ok(opened.issuers.keep(reference.clone(), issuer))
    }

    /// The CA that `reference` names, and how we are known to it.
    pub fn authority(&self, reference: &AcmeRef) -> Result<Arc<Authority>, IssueError> {
        self.first(reference, &mut self.lock())
    }

    /// The second CA that `reference` names.
    pub fn fallback(&self, reference: &AcmeRef) -> Result<Option<Arc<Authority>>, IssueError> {
        self.second(reference, &mut self.lock())
    }

    /// Waits until what cancelled runs presented is cleaned up; to be called before
    /// the program ends.
    pub async fn settle(&self) {
        let issuers: Vec<_> = self.lock().issuers.0.clone();
        for (_, issuer) in issuers {
            issuer.settle().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, reference: &AcmeRef, opened: &mut Opened) -> Result<AcmeIssuer, IssueError> {
        let solvers = self.solvers(reference, opened)?;
        let first = self.first(reference, opened)?;
        let second = self.second(reference, opened)?;
        let wishes = Wishes {
            profile: reference.profile.clone(),
            preferred_chain: reference.preferred_chain.clone(),
        };
        let clock = Arc::clone(&self.surroundings.clock);
        let issuer = AcmeIssuer::new(first, solvers, wishes, clock);
        Ok(issuer.fallback(second))
    }

    fn first(
        &self,
        reference: &AcmeRef,
        opened: &mut Opened,
    ) -> Result<Arc<Authority>, IssueError> {
        let key = AuthorityKey {
            directory: reference.directory.clone(),
            ca_file: reference.ca_file.clone(),
            contact: reference.contact.clone(),
            eab: reference.eab.clone(),
            answered: self.answered(&reference.directory, reference)?,
        };
        self.shared_authority(key, opened)
    }

    /// The external account is known to the first CA alone; and a CA known by name is
    /// trusted by the system's roots, whatever the first one needs.
    fn second(
        &self,
        reference: &AcmeRef,
        opened: &mut Opened,
    ) -> Result<Option<Arc<Authority>>, IssueError> {
        let Some(directory) = reference.fallback.clone() else {
            return Ok(None);
        };
        let ca_file = reference.ca_file.clone();
        let key = AuthorityKey {
            ca_file: ca_file.filter(|_| directory.preset().is_none()),
            contact: reference.contact.clone(),
            eab: None,
            answered: self.answered(&directory, reference)?,
            directory,
        };
        self.shared_authority(key, opened).map(Some)
    }

    fn shared_authority(
        &self,
        key: AuthorityKey,
        opened: &mut Opened,
    ) -> Result<Arc<Authority>, IssueError> {
        if let Some(authority) = opened.authorities.find(&key) {
            return Ok(authority);
        }
        let http = match &key.answered {
            Some(answered) => self.own(&key.directory, answered, opened)?,
            None => outside(&key)?,
        };
        let registration = Registration {
            contact: key.contact.clone(),
            agree_to_terms: self.surroundings.agree_to_terms,
            external: key.eab.as_ref().and_then(external),
        };
        let home = &self.surroundings.home;
        let authority = Authority::new(key.directory.clone(), http, registration, home);
        Ok(opened.authorities.keep(key, Arc::new(authority)))
    }

    /// How the challenges of `directory` are answered, if that is our own CA's.
    fn answered(
        &self,
        directory: &Directory,
        reference: &AcmeRef,
    ) -> Result<Option<Answered>, IssueError> {
        if !directory.is_private() {
            return Ok(None);
        }
        let kinds = kinds(reference).into_iter();
        let ports = kinds.filter(|kind| *kind != ChallengeKind::Dns01);
        let by = ports.map(|kind| self.solver_key(kind, reference));
        Ok(Some(Answered {
            by: by.collect::<Result<_, _>>()?,
            dns_server: reference.dns_server,
        }))
    }

    /// The way to our own CA.
    fn own(
        &self,
        directory: &Directory,
        answered: &Answered,
        opened: &mut Opened,
    ) -> Result<Arc<dyn HttpClient>, IssueError> {
        let own = self.surroundings.own.as_ref().ok_or_else(not_here)?;
        let mut answers = OwnAnswers {
            served: self.surroundings.served.clone(),
            dns_server: answered.dns_server,
            ..OwnAnswers::default()
        };
        for key in &answered.by {
            answers.webroot |= matches!(key, SolverKey::Webroot(_));
            answers
                .solvers
                .push(self.shared_solver(key, directory, opened)?);
        }
        own(answers)
    }

    /// Who shows control of names, in order of preference.
    fn solvers(
        &self,
        reference: &AcmeRef,
        opened: &mut Opened,
    ) -> Result<Vec<Arc<dyn Solver>>, IssueError> {
        let shared = |kind| {
            let key = self.solver_key(kind, reference)?;
            self.shared_solver(&key, &reference.directory, opened)
        };
        kinds(reference).into_iter().map(shared).collect()
    }

    fn shared_solver(
        &self,
        key: &SolverKey,
        directory: &Directory,
        opened: &mut Opened,
    ) -> Result<Arc<dyn Solver>, IssueError> {
        if let Some(solver) = opened.solvers.find(key) {
            return Ok(solver);
        }
        let solver = self.solver(key, directory)?;
        Ok(opened.solvers.keep(key.clone(), solver))
    }

    fn solver_key(
        &self,
        kind: ChallengeKind,
        reference: &AcmeRef,
    ) -> Result<SolverKey, IssueError> {
        let serving = self.surroundings.table.is_some();
        // Our own CA is told the port that it turns out to be; others look at one.
        let ours_alone = reference.directory.is_private() && reference.fallback.is_none();
        let (https, http) = match ours_alone {
            true => (Self::OWN, Self::OWN),
            false => (Self::HTTPS, Self::HTTP),
        };
        let listener = |address: SocketAddr| match address.port() {
            0 if ours_alone => SolverKey::AnyPort(kind, address.ip()),
            _ => SolverKey::Listener(kind, address),
        };
        Ok(match (kind, &reference.webroot) {
            (ChallengeKind::Dns01, _) => {
                let (Some(credential), Some(file)) = (&reference.dns, &reference.dns_file) else {
                    return Err(no_credential());
                };
                SolverKey::Dns {
                    credential: credential.clone(),
                    file: file.clone(),
                    server: reference.dns_server,
                }
            }
            (ChallengeKind::Http01, Some(dir)) => SolverKey::Webroot(dir.clone()),
            (_, _) if serving => SolverKey::Table(kind),
            (ChallengeKind::Http01, None) => listener(reference.http.unwrap_or(http)),
            (ChallengeKind::TlsAlpn01, _) => listener(reference.https.unwrap_or(https)),
        })
    }

    fn solver(
        &self,
        key: &SolverKey,
        directory: &Directory,
    ) -> Result<Arc<dyn Solver>, IssueError> {
        let refused = |error: SolverError| {
            let hint = error.hint.clone();
            unusable(directory, error, hint)
        };
        Ok(match key {
            SolverKey::Dns {
                credential,
                file,
                server,
            } => {
                let solver = self.dns01(credential, file, *server);
                Arc::new(solver.map_err(|error| {
                    let hint = error.hint();
                    unusable(directory, error, hint)
                })?)
            }
            SolverKey::Webroot(dir) => {
                Arc::new(Webroot01::new(dir.clone(), Arc::clone(&self.journal)))
            }
            SolverKey::Table(kind) => {
                let table = self.surroundings.table.as_ref().map(Arc::clone);
                let table = table.unwrap_or_default();
                Arc::new(match kind {
                    ChallengeKind::TlsAlpn01 => TableSolver::tls_alpn01(table),
                    _ => TableSolver::http01(table),
                })
            }
            SolverKey::Listener(ChallengeKind::TlsAlpn01, address) => {
                Arc::new(StandaloneTlsAlpn01::new(*address).map_err(refused)?)
            }
            SolverKey::Listener(_, address) => {
                Arc::new(StandaloneHttp01::new(*address).map_err(refused)?)
            }
            SolverKey::AnyPort(ChallengeKind::TlsAlpn01, ip) => {
                Arc::new(StandaloneTlsAlpn01::on_any_port(*ip))
            }
            SolverKey::AnyPort(_, ip) => Arc::new(StandaloneHttp01::on_any_port(*ip)),
        })
    }

    fn dns01(
        &self,
        credential: &str,
        file: &Path,
        server: Option<SocketAddr>,
    ) -> Result<Dns01, CredentialError> {
        let Surroundings {
            clock,
            variables,
            operator,
            ..
        } = &self.surroundings;
        let sources = Sources {
            environment: &**variables,
        };
        let opened = DnsCredentials::read(file)?.get(credential, sources)?;
        let provider = opened.provider(Arc::clone(clock), operator.clone())?;
        let settings = Settings {
            credential: credential.to_owned(),
            ..Settings::default()
        };
        let journal = Arc::clone(&self.journal);
        Ok(Dns01::new(Dns::new(server), provider, journal, settings))
    }
}

/// The kinds of challenge that a certificate is obtained by, in order of preference.
fn kinds(reference: &AcmeRef) -> Vec<ChallengeKind> {
    match reference.challenge {
        Some(kind) => vec![kind],
        None if reference.dns.is_some() => vec![ChallengeKind::Dns01],
        None if reference.webroot.is_some() => vec![ChallengeKind::Http01],
        None => vec![ChallengeKind::TlsAlpn01, ChallengeKind::Http01],
    }
}

/// The way to a CA on the network.
fn outside(key: &AuthorityKey) -> Result<Arc<dyn HttpClient>, IssueError> {
    let roots = key.ca_file.clone().map_or(Roots::System, Roots::File);
    let http = NetClient::new(&roots).map_err(|error| {
        let hint = error.hint().to_owned();
        unusable(&key.directory, error, Some(hint))
    })?;
    Ok(Arc::new(http))
}

fn not_here() -> IssueError {
    IssueError {
        message: "this machine's own CA cannot be asked from here".to_owned(),
        hint: None,
        permanent: true,
        retry_after: None,
        source: None,
    }
}

fn no_credential() -> IssueError {
    IssueError {
        message: "dns-01 needs a DNS credential".to_owned(),
        hint: Some("name one with `--dns NAME` and its file with `--dns-file`".to_owned()),
        permanent: true,
        retry_after: None,
        source: None,
    }
}

/// The external account, when it can be read: an account that exists needs none.
fn external(eab: &EabRef) -> Option<ExternalAccount> {
    ExternalAccount::from_file(eab.kid.clone(), &eab.hmac_file)
        .inspect_err(|error| {
            let error = causes(error);
            tracing::debug!(kid = eab.kid, error, "the external account cannot be read");
        })
        .ok()
}

fn unusable(
    directory: &Directory,
    error: impl std::error::Error + Send + Sync + 'static,
    hint: Option<String>,
) -> IssueError {
    IssueError {
        message: format!("cannot ask {directory} for certificates"),
        hint,
        permanent: true,
        retry_after: None,
        source: Some(Box::new(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[test]
    fn what_settings_agree_in_is_opened_once() {
        let home = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let opener = Opener::new(Surroundings::unattended(home.path().to_owned(), clock));
        let mut one = AcmeRef::new("https://ca.test/dir".parse().unwrap());
        let roots = rcgen::generate_simple_self_signed(["ca.test".to_owned()]).unwrap();
        let file = home.path().join("roots.pem");
        crate::store::disk::replace(&file, roots.cert.pem().as_bytes(), 0o600).unwrap();
        one.ca_file = Some(file);
        let mut other = one.clone();
        other.profile = Some("shortlived".to_owned());
        let (a, b) = (opener.open(&one).unwrap(), opener.open(&other).unwrap());
        assert!(!Arc::ptr_eq(&a, &b));
        assert!(Arc::ptr_eq(&a, &opener.open(&one).unwrap()));
        let opened = |which: fn(&Opened) -> usize| which(&opener.lock());
        assert_eq!(opened(|o| o.authorities.0.len()), 1);
        // tls-alpn-01 and http-01, each on its port.
        assert_eq!(opened(|o| o.solvers.0.len()), 2);

        other.http = Some("127.0.0.1:5002".parse().unwrap());
        other.contact = vec![EmailAddress::parse("ada@example.com").unwrap()];
        other.fallback = Some("https://second.test/dir".parse().unwrap());
        opener.open(&other).unwrap();
        assert_eq!(opened(|o| o.authorities.0.len()), 3);
        assert_eq!(opened(|o| o.solvers.0.len()), 3);

        other.http = Some("127.0.0.1:0".parse().unwrap());
        assert!(opener.open(&other).unwrap_err().permanent);
    }

    #[test]
    fn our_own_ca_is_opened_once_for_each_way_that_challenges_are_answered() {
        let home = tempfile::tempdir().unwrap();
        let surroundings = |own| Surroundings {
            own,
            ..Surroundings::unattended(home.path().to_owned(), Arc::new(SystemClock))
        };
        let mut one = AcmeRef::new("private".parse().unwrap());
        let error = Opener::new(surroundings(None)).open(&one).unwrap_err();
        assert!(
            error.permanent && error.message.contains("own CA"),
            "{error}"
        );

        let made: Arc<Mutex<Vec<OwnAnswers>>> = Arc::default();
        let seen = Arc::clone(&made);
        let own = move |answers| -> Result<Arc<dyn HttpClient>, IssueError> {
            seen.lock().unwrap().push(answers);
            Ok(Arc::new(super::super::fake::FakeCa::new(
                &serde_json::json!({}),
                |_, _, _| None,
            )))
        };
        let opener = Opener::new(surroundings(Some(Arc::new(own))));
        let answers = || made.lock().unwrap();
        opener.open(&one).unwrap();
        one.profile = Some("shortlived".to_owned());
        opener.open(&one).unwrap();
        opener.authority(&one).unwrap();
        assert_eq!(answers().len(), 1);
        assert_eq!(answers()[0].solvers.len(), 2);

        // Elsewhere, also on any port; a public CA could not find that.
        one.challenge = Some(ChallengeKind::Http01);
        one.http = Some("127.0.0.1:0".parse().unwrap());
        opener.open(&one).unwrap();
        one.fallback = Some("google".parse().unwrap());
        assert!(opener.open(&one).unwrap_err().permanent);
        one.http = Some("127.0.0.1:8080".parse().unwrap());
        opener.open(&one).unwrap();
        one.webroot = Some(home.path().to_owned());
        opener.open(&one).unwrap();
        let webroots: Vec<bool> = answers().iter().map(|a| a.webroot).collect();
        assert_eq!(webroots, [false, false, false, true]);

        // As the second CA.
        let mut second = AcmeRef::new("google".parse().unwrap());
        second.fallback = Some("private".parse().unwrap());
        opener.fallback(&second).unwrap().unwrap();
        assert_eq!(answers().len(), 5);
    }
}

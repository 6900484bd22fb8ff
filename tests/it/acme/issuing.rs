//! An issuer that asks a CA of the test's, and a solver that only counts.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use certmint::acme::{AcmeIssuer, Authority, Limits, Registration, Wishes};
use certmint::challenge::{Challenge, ChallengeKind, Solver, SolverError};
use certmint::clock::SystemClock;
use certmint::identifier::{CertId, Identifier};
use certmint::issuer::{
    BoxFuture, IssueError, Issued, Issuer as _, Predecessor, Profile, Usage, Wanted,
};
use certmint::key::{KeyType, PrivateKey};
use certmint::net::http::HttpClient;
use certmint::net::roots::Roots;

/// Counts what it is asked to do, and does nothing.
#[derive(Debug)]
pub(crate) struct Counting {
    kind: ChallengeKind,
    pub(crate) open: AtomicUsize,
    pub(crate) presented: AtomicUsize,
}

impl Counting {
    pub(crate) fn new(kind: ChallengeKind) -> Arc<Self> {
        Arc::new(Self {
            kind,
            open: AtomicUsize::new(0),
            presented: AtomicUsize::new(0),
        })
    }
}

impl Solver for Counting {
    fn kind(&self) -> ChallengeKind {
        self.kind
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        self.open.fetch_add(challenges.len(), Ordering::SeqCst);
        self.presented.fetch_add(challenges.len(), Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        self.open.fetch_sub(challenges.len(), Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }
}

/// Agrees to everything.
pub(crate) fn registration() -> Registration {
    Registration {
        agree_to_terms: true,
        ..Registration::default()
    }
}

/// A client that trusts the roots in `ca_file` and waits `deadline` for an answer.
pub(crate) fn client(ca_file: &Path, deadline: Duration) -> Arc<HttpClient> {
    let http = HttpClient::new(&Roots::File(ca_file.to_owned())).unwrap();
    Arc::new(http.deadline(deadline))
}

/// An authority at `directory`, whose account is kept in `home`.
pub(crate) fn authority(home: &Path, directory: &str, http: Arc<HttpClient>) -> Arc<Authority> {
    let directory = directory.parse().unwrap();
    Arc::new(Authority::new(directory, http, registration(), home))
}

pub(crate) fn issuer(authority: Arc<Authority>, solvers: Vec<Arc<dyn Solver>>) -> AcmeIssuer {
    wishing(authority, solvers, Wishes::default())
}

pub(crate) fn wishing(
    authority: Arc<Authority>,
    solvers: Vec<Arc<dyn Solver>>,
    wishes: Wishes,
) -> AcmeIssuer {
    AcmeIssuer::new(authority, solvers, wishes, Arc::new(SystemClock))
}

/// Limits in which a hopeless case ends soon.
pub(crate) fn quick() -> Limits {
    Limits {
        total: Duration::from_secs(10),
        wait: Duration::from_secs(3),
        first_delay: Duration::from_millis(20),
        last_delay: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// A certificate of kind `kind` for `names`, in the place of `replaces`.
pub(crate) async fn renew(
    issuer: &AcmeIssuer,
    names: &[&str],
    kind: KeyType,
    replaces: Option<Predecessor<'_>>,
) -> Result<Issued, IssueError> {
    let names = names.iter().map(|name| Identifier::parse(name).unwrap());
    let profile = Profile {
        names: names.collect(),
        key_type: kind,
        usage: Usage::Server,
        lifetime_seconds: None,
    };
    let wanted = Wanted {
        id: &CertId::for_name(&profile.names[0]),
        profile: &profile,
        replaces,
    };
    let issued = issuer.issue(wanted, PrivateKey::generate(kind).unwrap());
    let issued = issued.await?;
    assert!(issued.bundle.covers(&profile.names));
    Ok(issued)
}

pub(crate) async fn issue(issuer: &AcmeIssuer, names: &[&str]) -> Result<Issued, IssueError> {
    renew(issuer, names, KeyType::P256, None).await
}

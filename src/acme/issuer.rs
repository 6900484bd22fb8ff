//! The ACME client as an issuer: one CA, perhaps a second, and an error that says it all.

use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::account::{Account, AccountHome, Registration};
use super::ari;
use super::error::AcmeError;
use super::http::{HttpClient, Limits, Session};
use super::order::{self, Order};
use super::proof::{self, Means};
use super::wire::Endpoints;
use crate::bundle::{CertBundle, Certificate};
use crate::challenge::{ChallengeKind, Solver};
use crate::clock::Clock;
use crate::finding::words::causes;
use crate::identifier::{Identifier, summary};
use crate::issuer::Directory;
use crate::issuer::{
    BoxFuture, IssueError, Issued, Issuer, Obtained, Predecessor, RenewalInfo, Wanted,
};
use crate::key::PrivateKey;

/// One CA, and how we are known to it.
#[derive(Debug)]
pub struct Authority {
    directory: Directory,
    http: Arc<dyn HttpClient>,
    registration: Registration,
    home: AccountHome,
    /// What the directory said, and when; a run for each of a hundred names need not
    /// ask again.
    endpoints: std::sync::Mutex<Option<(Instant, Arc<Endpoints>)>>,
    account: tokio::sync::Mutex<Option<Arc<Account>>>,
}

impl Authority {
    /// How long a directory object is believed.
    const DIRECTORY_AGE: Duration = Duration::from_secs(600);

    /// The CA at `directory`, reached through `http`; its account is kept in the state
    /// directory `home`, and made by `registration` when there is none.
    pub fn new(
        directory: Directory,
        http: Arc<dyn HttpClient>,
        registration: Registration,
        home: &Path,
    ) -> Self {
        Self {
            home: AccountHome::new(home, &directory),
            directory,
            http,
            registration,
            endpoints: std::sync::Mutex::default(),
            account: tokio::sync::Mutex::default(),
        }
    }

    /// Begins a run of talking to it.
    pub async fn session(
        &self,
        limits: Limits,
        clock: &Arc<dyn Clock>,
    ) -> Result<Session, AcmeError> {
        let (http, clock) = (Arc::clone(&self.http), Arc::clone(clock));
        if let Some(endpoints) = self.remembered() {
            return Session::resume(http, &self.directory, &endpoints, limits, clock);
        }
        let session = Session::open(http, &self.directory, limits, clock).await?;
        let read = (Instant::now(), Arc::clone(session.endpoints()));
        *self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(read);
        Ok(session)
    }

    fn remembered(&self) -> Option<Arc<Endpoints>> {
        let known = self
            .endpoints
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (read, endpoints) = known.as_ref()?;
        (read.elapsed() < Self::DIRECTORY_AGE).then(|| Arc::clone(endpoints))
    }

    async fn account(&self, session: &Session) -> Result<Arc<Account>, AcmeError> {
        let mut known = self.account.lock().await;
        if let Some(account) = known.as_ref() {
            return Ok(Arc::clone(account));
        }
        let account = Arc::new(self.home.open(session, &self.registration).await?);
        *known = Some(Arc::clone(&account));
        Ok(account)
    }

    /// The account in the place of one that the CA has forgotten.
    async fn renewed(&self, session: &Session, lost: &Account) -> Result<Arc<Account>, AcmeError> {
        let mut known = self.account.lock().await;
        if let Some(account) = known.as_ref()
            && account.url != lost.url
        {
            return Ok(Arc::clone(account));
        }
        let account = self.home.reopen(session, &self.registration, &lost.url);
        let account = Arc::new(account.await?);
        *known = Some(Arc::clone(&account));
        Ok(account)
    }
}

/// What is wanted of a CA beyond the names.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// One of the CA's profiles; not asked of the second CA.
    pub profile: Option<String>,
    /// Common name of an issuer that the chain should contain.
    pub preferred_chain: Option<String>,
}

/// Obtains certificates from an ACME CA, or from a second one when the first fails.
#[derive(Debug)]
pub struct AcmeIssuer {
    first: Arc<Authority>,
    fallback: Option<Arc<Authority>>,
    solvers: Vec<Arc<dyn Solver>>,
    wishes: Wishes,
    limits: Limits,
    clock: Arc<dyn Clock>,
    cleanups: TaskTracker,
    swept: OnceCell<()>,
}

impl AcmeIssuer {
    /// Asks `authority`, and shows control of names by `solvers`, in order of
    /// preference.
    pub fn new(
        authority: Arc<Authority>,
        solvers: Vec<Arc<dyn Solver>>,
        wishes: Wishes,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            first: authority,
            fallback: None,
            solvers,
            wishes,
            limits: Limits::default(),
            clock,
            cleanups: TaskTracker::new(),
            swept: OnceCell::new(),
        }
    }

    /// Also asks `authority`, when the first CA issues nothing.
    #[must_use]
    pub fn fallback(self, authority: Option<Arc<Authority>>) -> Self {
        Self {
            fallback: authority,
            ..self
        }
    }

    /// With other limits than the default.
    #[must_use]
    pub fn limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Waits until everything that was presented by cancelled runs is cleaned up; to be
    /// called before the program ends.
    pub async fn settle(&self) {
        self.cleanups.close();
        self.cleanups.wait().await;
        self.cleanups.reopen();
    }

    /// Obtains a certificate for a request made elsewhere: `csr` in DER for `names` and
    /// the public key `spki`. Gives the leaf and its issuers.
    pub async fn issue_request(
        &self,
        names: &[Identifier],
        csr: &[u8],
        spki: &[u8],
    ) -> Result<Vec<Certificate>, IssueError> {
        let request = Request {
            names,
            csr,
            spki,
            replaces: None,
        };
        let (chain, _) = self.obtain_anywhere(request).await?;
        Ok(chain)
    }

    /// From the first CA, else from the second.
    async fn obtain_anywhere(
        &self,
        request: Request<'_>,
    ) -> Result<(Vec<Certificate>, Obtained), IssueError> {
        let names = request.names;
        self.swept.get_or_init(|| self.sweep()).await;
        let error = match self.obtain(&self.first, request, &self.wishes).await {
            Ok(obtained) => return Ok(obtained),
            Err(error) => error,
        };
        let Some(second) = &self.fallback else {
            return Err(self.failed(names, error));
        };
        tracing::warn!(
            directory = %self.first.directory,
            fallback = %second.directory,
            error = %causes(&error),
            "asking the second CA"
        );
        let wishes = Wishes {
            preferred_chain: self.wishes.preferred_chain.clone(),
            ..Wishes::default()
        };
        match self.obtain(second, request, &wishes).await {
            Ok(obtained) => Ok(obtained),
            Err(other) => {
                let mut failed = self.failed(names, error);
                failed.permanent &= other.is_permanent();
                failed.message = format!(
                    "{}, and neither did {} ({})",
                    failed.message,
                    second.directory,
                    causes(&other)
                );
                Err(failed)
            }
        }
    }

    /// Removes what killed processes presented. What cannot be removed is logged.
    async fn sweep(&self) {
        for solver in &self.solvers {
            let kind = solver.kind();
            match tokio::time::timeout(proof::CLEAN_UP_DEADLINE, solver.sweep()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let error = causes(&error);
                    tracing::warn!(%kind, error, "could not clean up after an earlier run");
                }
                Err(_) => tracing::warn!(%kind, "cleaning up after an earlier run takes too long"),
            }
        }
    }

    async fn obtain(
        &self,
        authority: &Authority,
        request: Request<'_>,
        wishes: &Wishes,
    ) -> Result<(Vec<Certificate>, Obtained), AcmeError> {
        let limits = self.limits.for_names(request.names.len());
        let session = authority.session(limits, &self.clock).await?;
        let account = authority.account(&session).await?;
        let replaces = request.replaces.filter(|old| {
            old.obtained.directory == authority.directory && old.obtained.account == account.url
        });
        let replaces = replaces.and_then(|old| ari::certificate_id(old.leaf));
        let wanted = Order {
            names: request.names,
            profile: wishes.profile.as_deref(),
            replaces: replaces.as_ref(),
            preferred_chain: wishes.preferred_chain.as_deref(),
            csr: request.csr,
            spki: request.spki,
        };
        let means = |account, solvers| Means {
            session: &session,
            account,
            solvers,
            cleanups: &self.cleanups,
        };
        let by = |account: &Account| Obtained {
            directory: authority.directory.clone(),
            account: account.url.clone(),
        };
        let chain = match order::obtain(means(&account, &self.solvers), wanted).await {
            Err(error) if error.is_vanished_account() => {
                let account = authority.renewed(&session, &account).await?;
                let chain = order::obtain(means(&account, &self.solvers), wanted).await?;
                return Ok((chain, by(&account)));
            }
            Err(AcmeError::NotVerified { failures }) => {
                let failed: Vec<_> = failures.iter().filter_map(|f| f.kind).collect();
                let others = self.other_solvers(&failed);
                if others.is_empty() {
                    return Err(AcmeError::NotVerified { failures });
                }
                tracing::warn!(?failed, "not verified; trying the next kind of challenge");
                let again = order::obtain(means(&account, &others), wanted).await;
                // What the user asked for first is what the error should be about,
                // unless the second way got further than having no way.
                match again {
                    Err(AcmeError::NoChallenge { .. } | AcmeError::Solver(_)) => {
                        Err(AcmeError::NotVerified { failures })
                    }
                    other => other,
                }
            }
            other => other,
        };
        Ok((chain?, by(&account)))
    }

    fn other_solvers(&self, failed: &[ChallengeKind]) -> Vec<Arc<dyn Solver>> {
        let others = self.solvers.iter();
        let others = others.filter(|solver| !failed.contains(&solver.kind()));
        others.map(Arc::clone).collect()
    }

    fn failed(&self, names: &[Identifier], error: AcmeError) -> IssueError {
        IssueError {
            message: format!(
                "no certificate for {} from {}",
                summary(names),
                self.first.directory
            ),
            // What is said of ports and the internet is about CAs on the network.
            hint: error.hint().filter(|_| {
                !(self.first.directory.is_private()
                    && matches!(error, AcmeError::NotVerified { .. }))
            }),
            permanent: error.is_permanent(),
            retry_after: error.retry_after(),
            source: Some(Box::new(error)),
        }
    }
}

impl Issuer for AcmeIssuer {
    fn issue<'a>(
        &'a self,
        wanted: Wanted<'a>,
        key: PrivateKey,
    ) -> BoxFuture<'a, Result<Issued, IssueError>> {
        Box::pin(async move {
            let names = &wanted.profile.names;
            let csr = request_for(names, &key).map_err(|error| self.failed(names, error))?;
            let request = Request {
                names,
                csr: &csr,
                spki: &key.public_key_der(),
                replaces: wanted.replaces,
            };
            let (chain, obtained) = self.obtain_anywhere(request).await?;
            let bundle = CertBundle::new(key, chain);
            Ok(Issued {
                bundle: bundle.map_err(|error| self.failed(names, error.into()))?,
                obtained: Some(obtained),
            })
        })
    }

    fn renewal_info<'a>(
        &'a self,
        certificate: Predecessor<'a>,
    ) -> BoxFuture<'a, Result<Option<RenewalInfo>, IssueError>> {
        Box::pin(async move {
            let asked = &certificate.obtained.directory;
            let all = [Some(&self.first), self.fallback.as_ref()];
            let mut known = all.into_iter().flatten();
            let Some(authority) = known.find(|authority| authority.directory == *asked) else {
                return Ok(None);
            };
            let failed = |error| self.failed(certificate.leaf.names(), error);
            let session = authority.session(self.limits, &self.clock).await;
            let session = session.map_err(failed)?;
            let info = ari::renewal_info(&session, certificate.leaf).await;
            info.map_err(failed)
        })
    }

    fn backs_off(&self) -> bool {
        true
    }
}

#[derive(Debug, Clone, Copy)]
struct Request<'a> {
    names: &'a [Identifier],
    csr: &'a [u8],
    spki: &'a [u8],
    replaces: Option<Predecessor<'a>>,
}

/// A request in DER for `names` and nothing else: CAs take no more from it, and some
/// object to a common name.
fn request_for(names: &[Identifier], key: &PrivateKey) -> Result<Vec<u8>, AcmeError> {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for name in names {
        params.subject_alt_names.push(match name {
            Identifier::Dns(_) | Identifier::Wildcard(_) => {
                rcgen::SanType::DnsName(name.to_string().try_into()?)
            }
            Identifier::Ip(address) => rcgen::SanType::IpAddress(*address),
            Identifier::Email(_) | Identifier::Uri(_) => {
                return Err(AcmeError::UnsupportedName(name.clone()));
            }
        });
    }
    Ok(params.serialize_request(key)?.der().to_vec())
}

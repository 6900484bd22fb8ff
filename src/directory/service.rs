//! The directory itself: requests in, answers out, and what goes on in between.
//!
//! Rules kept here: an answer waits at most [`challenges::PATIENCE`] for what goes on;
//! what changes the memory or the inventory runs on threads that may block, and no
//! client that leaves stops it; every answer of the directory's own has a nonce and the
//! way back to it; a path is read in one place, and so is a signature.

mod accounts;
mod answer;
mod certificates;
mod challenges;
mod issuing;
mod limiter;
mod orders;
mod places;
mod publishing;
mod route;
mod signed;
mod slots;
mod tending;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::header::{HOST, HeaderValue};
use http::request::Parts;
use http::uri::Authority;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Bytes;
use serde::Serialize;
use tokio::time::timeout;
use url::Url;

use self::answer::Answer;
use self::challenges::{Begun, PATIENCE};
use self::issuing::Queue;
use self::limiter::Limiter;
use self::places::Place;
use self::publishing::Lists;
use self::route::{Route, Urls};
use self::signed::{only_account, only_key};
use self::slots::Slots;
use super::nonce::Nonces;
use super::problem::{Problem, ProblemType};
use super::state::{ChallengeId, OrderId, State, StateError};
use super::validate::Network;
use super::{Asker, Happening, Observer, Settings};
use crate::clock::Clock;
use crate::finding::words::causes;
use crate::identifier::DnsName;
use crate::issuer::BoxFuture;
use crate::key::Passphrase;
use crate::pki::{CaError, PrivateCa};
use crate::store::StoreError;

/// What a directory stands on.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The state directory, which holds the CA.
    pub home: PathBuf,
    /// Unlocks the CA's intermediate key.
    pub passphrase: Option<Passphrase>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Where challenges are looked at.
    pub network: Arc<dyn Network>,
    /// Who is told what happens.
    pub observer: Arc<dyn Observer>,
}

/// The private CA's ACME server.
#[derive(Debug)]
pub struct Service {
    settings: Settings,
    clock: Arc<dyn Clock>,
    network: Arc<dyn Network>,
    observer: Arc<dyn Observer>,
    ca: PrivateCa,
    state: State,
    nonces: Nonces,
    limiter: Limiter,
    queue: Queue,
    lists: Lists,
    /// For validations that go on at a time.
    slots: Slots,
    /// Says that this process is alive. Last: it is left when all else is.
    place: Place,
}

/// The directory object (RFC 8555 §7.1.1).
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    new_nonce: String,
    new_account: String,
    new_order: String,
    revoke_cert: String,
    key_change: String,
    renewal_info: String,
    meta: Meta<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_of_service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    website: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    caa_identities: Vec<&'a str>,
    external_account_required: bool,
    profiles: BTreeMap<&'a str, &'a str>,
}

/// What follows the part of a request that blocks. What is waited for goes on whether
/// or not somebody waits.
enum Next {
    /// Nothing.
    Answer(Answer),
    /// Something goes on, and is of interest to whoever asked. It may end in the answer.
    Wait(BoxFuture<'static, Option<Answer>>, Then),
}

/// What is told after a while.
enum Then {
    /// What became of a challenge.
    Challenge(ChallengeId, Urls),
    /// What became of an order.
    Order(OrderId, Urls),
    /// This.
    Answer(Answer),
}

impl Service {
    /// Where a client begins, below the URL of the server.
    pub const PATH: &str = "/directory";

    /// Opens the CA and its memory, and finishes what a directory that died has begun.
    /// Blocks on the disk.
    pub fn open(settings: Settings, surroundings: Surroundings) -> Result<Arc<Self>, OpenError> {
        let Surroundings {
            home,
            passphrase,
            clock,
            network,
            observer,
        } = surroundings;
        let ca = PrivateCa::open(&home, passphrase.as_ref(), Arc::clone(&clock))?;
        let paths = ca.authority().paths().clone();
        let place = if settings.embedded {
            Place::beside(&paths.locks())?.ok_or(OpenError::TooMany(home))?
        } else {
            Place::of_the_server(&paths.locks())?.ok_or(OpenError::RunByAnother(home))?
        };
        let service = Self {
            state: place.enter(State::open(&paths.ledger())?)?,
            nonces: Nonces::new().map_err(|_| OpenError::NoRandomness)?,
            limiter: Limiter::new(settings.limits.clone()),
            slots: Slots::new(settings.limits.validations),
            queue: Queue::default(),
            lists: Lists::default(),
            settings,
            clock,
            network,
            observer,
            ca,
            place,
        };
        if service.settings.embedded {
            // Nobody tends it.
            service.sweep();
        } else {
            service.recover()?;
        }
        Ok(Arc::new(service))
    }

    /// Signs for orders that nobody alive is at. What another process is at is its own.
    fn recover(&self) -> Result<(), OpenError> {
        self.place.clear_others(&self.state)?;
        for order in self.state.adopt(self.clock.now())? {
            let id = order.id.clone();
            let asker = Asker::new(&self.state.account(&order.account)?, None);
            let profile = self.profile(order.profile.as_deref());
            match profile.and_then(|profile| self.job(order, profile, asker)) {
                Ok(job) => drop(self.sign(job)),
                Err(problem) => {
                    tracing::warn!(order = %id, %problem, "an order that was interrupted cannot go on");
                    let failed = self.state.fail_order(&id, &problem, self.clock.now());
                    // The others are ours now as well, and go on.
                    if let Err(error) = failed {
                        let error = causes(&error);
                        tracing::error!(order = %id, error, "an order that failed could not be ended");
                    }
                }
            }
        }
        self.record_all();
        Ok(())
    }

    /// Answers one request of a client at `from`, whatever it is. Needs a tokio runtime.
    ///
    /// The body must be whole; one over [`super::jws::MAX_BODY`] is refused.
    pub async fn answer(
        self: &Arc<Self>,
        request: Request<Bytes>,
        from: IpAddr,
    ) -> Response<Bytes> {
        let (head, body) = request.into_parts();
        let urls = Urls::of(&head, self.settings.public_url.as_ref());
        let route = Route::parse(head.uri.path());
        let endpoint = route.as_ref().map_or("unknown", Route::endpoint);
        let index = urls.as_ref().ok().map(|urls| urls.at("directory"));
        let answered = match (route, urls) {
            (None, _) => Err(Problem::not_found("resource")),
            (_, Err(problem)) => Err(problem),
            (Some(route), Ok(urls)) => self.respond(route, head, body, urls, from).await,
        };
        let problem = match &answered {
            Ok(answer) => answer.problem(),
            Err(problem) => Some(problem),
        };
        let kind = problem.map(|problem| problem.kind().as_str());
        tracing::debug!(endpoint, %from, problem = kind, "answered");
        self.observer.saw(&Happening::Request {
            endpoint,
            client: Some(from),
            problem,
        });
        let nonce = self.nonces.issue(self.clock.now());
        let answer = answered.unwrap_or_else(|problem| self.explained(problem));
        answer.finish(&nonce, index.as_deref())
    }

    /// The words for a client that the server around the directory refuses with `status`,
    /// because of `reason`: a problem document, and what every answer has. `host` is what
    /// the client asked for, if that is known.
    pub fn refuse(
        &self,
        status: StatusCode,
        reason: &str,
        host: Option<&Authority>,
    ) -> Response<Bytes> {
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                ProblemType::RateLimited
            }
            _ => ProblemType::Malformed,
        };
        let problem = Problem::new(kind, reason).with_status(status);
        self.observer.saw(&Happening::Request {
            endpoint: "refused",
            client: None,
            problem: Some(&problem),
        });
        let mut request = Request::new(());
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            request.headers_mut().insert(HOST, host);
        }
        let (head, ()) = request.into_parts();
        let urls = Urls::of(&head, self.settings.public_url.as_ref()).ok();
        let nonce = self.nonces.issue(self.clock.now());
        Answer::from(problem).finish(&nonce, urls.map(|urls| urls.at("directory")).as_deref())
    }

    /// Answers one request over plain HTTP: CRLs, issuers' certificates, the roots.
    pub async fn answer_plain(self: &Arc<Self>, request: Request<Bytes>) -> Response<Bytes> {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let found = self.blocking(move |service| service.published(&method, &path));
        found.await.unwrap_or_else(Answer::from).plain()
    }

    /// A problem as an answer; with the terms, where these are the problem.
    fn explained(&self, problem: Problem) -> Answer {
        let terms = self.settings.terms_of_service.as_ref();
        let terms = terms.filter(|_| problem.kind() == ProblemType::UserActionRequired);
        let answer = Answer::from(problem);
        match terms {
            Some(terms) => answer.link(terms.as_str(), "terms-of-service"),
            None => answer,
        }
    }

    async fn respond(
        self: &Arc<Self>,
        route: Route,
        head: Parts,
        body: Bytes,
        urls: Urls,
        from: IpAddr,
    ) -> Result<Answer, Problem> {
        if !route.takes(&head.method) {
            let problem = Problem::malformed("this resource has no such method");
            let problem = problem.with_status(StatusCode::METHOD_NOT_ALLOWED);
            return Ok(Answer::from(problem).allow(route.allowed()));
        }
        let next = self
            .blocking(move |service| {
                if head.method == Method::POST {
                    service.signed(route, &head, &body, urls, from)
                } else {
                    service.read(&route, &head.method, &urls).map(Next::Answer)
                }
            })
            .await?;
        self.go_on(next).await
    }

    /// What follows a request, for as long as a client should wait.
    async fn go_on(self: &Arc<Self>, next: Next) -> Result<Answer, Problem> {
        let then = match next {
            Next::Answer(answer) => return Ok(answer),
            Next::Wait(work, then) => match timeout(PATIENCE, work).await {
                Ok(Some(answer)) => return Ok(answer),
                Ok(None) | Err(_) => then,
            },
        };
        match then {
            Then::Answer(answer) => Ok(answer),
            Then::Challenge(id, urls) => {
                let look = self.blocking(move |service| service.looked(&id, &urls));
                look.await
            }
            Then::Order(id, urls) => {
                let look = self.blocking(move |service| {
                    let order = service.state.order(&id, service.clock.now())?;
                    Ok(orders::shown(&order, &urls))
                });
                look.await
            }
        }
    }

    fn looked(&self, challenge: &ChallengeId, urls: &Urls) -> Result<Answer, Problem> {
        let found = self.state.authorization_of(challenge, self.clock.now())?;
        self.challenge(&found, challenge, urls)
    }

    /// What anybody may read.
    fn read(&self, route: &Route, method: &Method, urls: &Urls) -> Result<Answer, Problem> {
        match route {
            Route::Directory => Ok(self.index(urls)),
            Route::NewNonce if *method == Method::HEAD => Ok(Answer::empty(StatusCode::OK)),
            Route::NewNonce => Ok(Answer::empty(StatusCode::NO_CONTENT)),
            Route::RenewalInfo(id) => self.renewal_info(id),
            Route::Roots => Ok(self.roots()),
            _ => Err(Problem::not_found("resource")),
        }
    }

    /// What an account or a key asks for.
    fn signed(
        self: &Arc<Self>,
        route: Route,
        head: &Parts,
        body: &[u8],
        urls: Urls,
        from: IpAddr,
    ) -> Result<Next, Problem> {
        let (signatory, request) = self.authenticate(head, body, &urls)?;
        match route {
            Route::NewAccount => {
                only_key(&signatory)?;
                return self.new_account(&request, &urls, from).map(Next::Answer);
            }
            Route::RevokeCert => {
                let answer = self.revoke(&signatory, &request, from)?;
                self.note_revocation();
                let publishing = self.beside(|service| service.publish_revocations());
                let published = async move {
                    publishing.await;
                    None
                };
                return Ok(Next::Wait(Box::pin(published), Then::Answer(answer)));
            }
            _ => {}
        }
        let account = only_account(signatory)?;
        let answer = match route {
            Route::NewOrder => self.new_order(&account, &request, &urls, from),
            Route::KeyChange => self.key_change(&account, &request, &urls),
            Route::Account(id) => self.account(&account, &id, &request, &urls),
            Route::Orders(id, after) => {
                self.orders(&account, (&id, after.as_ref()), &request, &urls)
            }
            Route::Order(id) => self.order(&account, &id, &request, &urls),
            Route::Finalize(id) => {
                let job = self.finalize(&account, &id, &request, from)?;
                let told = self.sign(job);
                if self.record_some() {
                    // Dropped: it goes on all the same.
                    drop(self.beside(|service| service.record_all()));
                }
                let shown = urls.clone();
                let told = async move { Some(orders::shown(&told.await.ok()?, &shown)) };
                return Ok(Next::Wait(Box::pin(told), Then::Order(id, urls)));
            }
            Route::Authorization(id) => self.authorization(&account, &id, &request, &urls),
            Route::Challenge(id) => match self.begin_challenge(&account, &id, &request, from)? {
                Begun::Known(found) => self.challenge(&found, &id, &urls),
                Begun::Look(wanted, admitted) => {
                    let asker = Asker::new(&account, Some(from));
                    let looking = self.look(wanted, admitted, urls.account(&account.id), asker);
                    let (service, then) =
                        (Arc::clone(self), Then::Challenge(id.clone(), urls.clone()));
                    let shown = async move {
                        let found = looking.await.ok().flatten()?;
                        service.challenge(&found, &id, &urls).ok()
                    };
                    return Ok(Next::Wait(Box::pin(shown), then));
                }
            },
            Route::Certificate(id, chain) => {
                self.certificate(&account, (&id, chain), &request, &urls)
            }
            Route::Directory | Route::NewNonce => {
                request.expect_post_as_get()?;
                self.read(&route, &Method::GET, &urls)
            }
            Route::NewAccount | Route::RevokeCert | Route::RenewalInfo(_) | Route::Roots => {
                Err(Problem::not_found("resource"))
            }
        };
        answer.map(Next::Answer)
    }

    fn index(&self, urls: &Urls) -> Answer {
        let Settings {
            terms_of_service,
            website,
            caa_identities,
            profiles,
            ..
        } = &self.settings;
        Answer::json(&Index {
            new_nonce: urls.at("new-nonce"),
            new_account: urls.at("new-account"),
            new_order: urls.at("new-order"),
            revoke_cert: urls.at("revoke-cert"),
            key_change: urls.at("key-change"),
            renewal_info: urls.at("renewal-info"),
            meta: Meta {
                terms_of_service: terms_of_service.as_ref().map(Url::as_str),
                website: website.as_ref().map(Url::as_str),
                caa_identities: caa_identities.iter().map(DnsName::as_str).collect(),
                external_account_required: self.settings.require_eab,
                profiles: profiles
                    .iter()
                    .map(|profile| (profile.name.as_str(), profile.description.as_str()))
                    .collect(),
            },
        })
    }

    /// Runs what blocks where it may, beside the request.
    fn beside(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> BoxFuture<'static, ()> {
        let running = self.blocking(|service| {
            work(service);
            Ok(())
        });
        Box::pin(async { running.await.unwrap_or_default() })
    }

    /// Runs what blocks where it may. It begins at once, and goes on whether or not
    /// somebody waits.
    fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, Problem> + Send + 'static,
    ) -> impl Future<Output = Result<T, Problem>> + Send + 'static {
        let service = Arc::clone(self);
        let running = tokio::task::spawn_blocking(move || work(&service));
        async move {
            // A panic has been told of.
            running
                .await
                .unwrap_or_else(|_| Err(Problem::server_internal()))
        }
    }
}

/// Why a directory cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The CA cannot be used.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Its memory cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// Another process runs the directory of this CA.
    #[error("another process runs the directory of the CA in `{}`", .0.display())]
    RunByAnother(PathBuf),
    /// More processes run the directory of this CA than there are places.
    #[error("too many processes run the directory of the CA in `{}`", .0.display())]
    TooMany(PathBuf),
    /// Its lock cannot be taken.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system has no randomness.
    #[error("the system has no randomness")]
    NoRandomness,
}

impl OpenError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Ca(error) => error.hint(),
            Self::State(error) => error.hint(),
            Self::RunByAnother(_) => Some("use the one that runs, or stop it first".to_owned()),
            Self::TooMany(_) => Some("try again when some of them have ended".to_owned()),
            Self::Store(error) => error.hint(),
            Self::NoRandomness => None,
        }
    }
}

#[cfg(test)]
mod tests;

//! The private ACME directory under a server: its answers, its own certificate, and who
//! hears of what it does.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use http::uri::Authority;
use http::{Request, Response, StatusCode};
use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;

use super::{PrivateDirectory, ServeError, pool, private};
use crate::bundle::Certificate;
use crate::certificates::CertificateTable;
use crate::clock::Clock;
use crate::directory::jws::MAX_BODY;
use crate::directory::problem::ProblemType;
use crate::directory::validate::SystemNetwork;
use crate::directory::{Asker, Happening, Observer, Service, Surroundings};
use crate::event::{self, Event, Facts, Issued};
use crate::server::{Application, Telemetry};

/// A directory that can answer.
pub(super) struct Prepared {
    own: private::Loaded,
    service: Arc<Service>,
}

/// Finds the directory's own certificate, or has it issued, and opens the directory.
pub(super) fn prepare(plan: PrivateDirectory, means: &pool::Means) -> Result<Prepared, ServeError> {
    let PrivateDirectory {
        leaf,
        settings,
        resolver,
    } = plan;
    let local = settings.validation.allow_local;
    let surroundings = Surroundings {
        home: leaf.home.clone(),
        passphrase: leaf.passphrase.clone(),
        clock: Arc::clone(&means.clock),
        network: Arc::new(SystemNetwork::new(resolver).reach_local(local)),
        observer: Arc::new(means.telemetry.clone()),
    };
    // Opened first: whoever finds that another runs it touches nothing.
    let service = Service::open((*settings).clone(), surroundings)?;
    let own = private::load(leaf, &means.clock, &means.telemetry)?;
    Ok(Prepared { own, service })
}

impl Prepared {
    /// The directory's own certificate.
    pub(super) fn table(&self) -> &Arc<CertificateTable> {
        &self.own.kept.table
    }

    /// What serving begins with.
    pub(super) fn serving(&self) -> Certificate {
        self.own.kept.serving.clone()
    }

    /// What answers over https.
    pub(super) fn secured(&self) -> Arc<dyn Application> {
        Arc::new(Secured(Arc::clone(&self.service)))
    }

    /// What answers in plain HTTP.
    pub(super) fn plain(&self) -> Arc<dyn Application> {
        Arc::new(Plain(Arc::clone(&self.service)))
    }

    /// Renews the directory's own certificate, and looks after the directory, until
    /// `stop`.
    pub(super) async fn keep(self, clock: Arc<dyn Clock>, stop: CancellationToken) {
        let own = private::keep(self.own, clock, stop.clone());
        tokio::join!(own, self.service.tend(stop));
    }
}

/// ACME.
#[derive(Debug)]
struct Secured(Arc<Service>);

/// What is published.
#[derive(Debug)]
struct Plain(Arc<Service>);

type Answer<'a> = Pin<Box<dyn Future<Output = Response<Bytes>> + Send + 'a>>;

impl Application for Secured {
    fn max_body(&self) -> u64 {
        MAX_BODY as u64
    }

    fn answer(&self, request: Request<Bytes>, from: IpAddr) -> Answer<'_> {
        Box::pin(self.0.answer(request, from))
    }

    fn refuse(
        &self,
        status: StatusCode,
        reason: &str,
        host: Option<&Authority>,
    ) -> Option<Response<Bytes>> {
        Some(self.0.refuse(status, reason, host))
    }
}

impl Application for Plain {
    /// Nothing that is published is asked for with a body.
    fn max_body(&self) -> u64 {
        0
    }

    fn answer(&self, request: Request<Bytes>, _: IpAddr) -> Answer<'_> {
        Box::pin(self.0.answer_plain(request))
    }
}

impl Observer for Telemetry {
    fn saw(&self, happening: &Happening<'_>) {
        match *happening {
            Happening::Request { endpoint, problem } => {
                self.directory_request(endpoint, problem.map(ProblemType::as_str));
            }
            Happening::Registered { asker } => self.emit(&Event::AccountRegistered(told(asker))),
            Happening::Validated {
                kind,
                identifier,
                problem,
                asker,
            } => {
                self.directory_validation(kind.as_str(), problem.is_none());
                if let Some(problem) = problem {
                    self.emit(&Event::ValidationFailed {
                        domain: identifier.to_string(),
                        challenge: kind.as_str(),
                        error: problem.to_owned(),
                        asker: told(asker),
                    });
                }
            }
            Happening::Issued {
                certificate,
                is_renewal,
                asker,
            } => self.emit(&Event::issued(Issued {
                certificate: facts(certificate),
                source: event::DIRECTORY.to_owned(),
                is_renewal,
                asker: told(asker),
            })),
            Happening::Failed {
                names,
                is_renewal,
                problem,
                asker,
            } => {
                let first = names.first().map(ToString::to_string).unwrap_or_default();
                self.emit(&Event::CertificateFailed {
                    id: first.clone(),
                    domain: first,
                    source: event::DIRECTORY.to_owned(),
                    is_renewal,
                    error: problem.to_owned(),
                    retry_at: None,
                    asker: told(asker),
                });
            }
            Happening::Revoked {
                certificate,
                reason,
                asker,
            } => self.emit(&Event::CertificateRevoked {
                certificate: facts(certificate),
                reason,
                asker: told(asker),
            }),
        }
    }
}

fn told(asker: &Asker) -> event::Asker {
    event::Asker {
        account: asker.account.as_ref().map(ToString::to_string),
        eab_kid: asker.eab_kid.clone(),
        client: asker.client,
    }
}

/// Nobody here keeps it under an id.
fn facts(leaf: &Certificate) -> Facts {
    let first = leaf.names().first().map(ToString::to_string);
    Facts::new(&first.unwrap_or_default(), leaf)
}

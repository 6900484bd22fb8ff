//! The private ACME directory under a server: its answers, its own certificate, and who
//! hears of what it does.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::uri::Authority;
use http::{Request, Response, StatusCode};
use hyper::body::Bytes;
use tokio_util::sync::CancellationToken;

use super::{PrivateDirectory, ServeError, pool, private};
use crate::bundle::Certificate;
use crate::certificates::CertificateTable;
use crate::clock::{Clock, Throttle};
use crate::directory::jws::MAX_BODY;
use crate::directory::problem::{Problem, ProblemType};
use crate::directory::validate::SystemNetwork;
use crate::directory::{Asker, Happening, Observer, Service, Surroundings};
use crate::event::{self, Event, Facts, Issued};
use crate::identifier::summary;
use crate::server::{Application, Telemetry};

/// Refusals are told once in this time at most, with how many there were.
const SAY_AGAIN: Duration = Duration::from_secs(1);

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
        observer: Arc::new(Reporter::new(means.telemetry.clone())),
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

/// Tells the log, the events and the metrics.
#[derive(Debug)]
struct Reporter {
    telemetry: Telemetry,
    refusals: Throttle,
}

impl Reporter {
    fn new(telemetry: Telemetry) -> Self {
        Self {
            telemetry,
            refusals: Throttle::new(SAY_AGAIN),
        }
    }

    /// What an operator wants to know of a client that does not get what it wants; what
    /// clients get wrong and do better at once is left out.
    fn say_refused(&self, endpoint: &str, client: Option<IpAddr>, problem: &Problem) {
        use ProblemType::{BadNonce, Malformed, OrderNotReady, ServerInternal};
        if matches!(
            problem.kind(),
            BadNonce | Malformed | OrderNotReady | ServerInternal
        ) {
            return;
        }
        if let Some(held_back) = self.refusals.admit() {
            let client = client.map(tracing::field::display);
            let held_back = Some(held_back).filter(|&count| count > 0);
            tracing::info!(client, endpoint, held_back, "refused: {problem}");
        }
    }
}

impl Observer for Reporter {
    fn saw(&self, happening: &Happening<'_>) {
        say(happening);
        let telemetry = &self.telemetry;
        match *happening {
            Happening::Request {
                endpoint,
                client,
                problem,
            } => {
                let kind = problem.map(|problem| problem.kind().as_str());
                telemetry.directory_request(endpoint, kind);
                if let Some(problem) = problem {
                    self.say_refused(endpoint, client, problem);
                }
            }
            Happening::Registered { asker } => {
                telemetry.emit(&Event::AccountRegistered(told(asker)))
            }
            Happening::Validated {
                kind,
                identifier,
                problem,
                asker,
            } => {
                telemetry.directory_validation(kind.as_str(), problem.is_none());
                if let Some(problem) = problem {
                    telemetry.emit(&Event::ValidationFailed {
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
            } => telemetry.emit(&Event::issued(Issued {
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
                telemetry.emit(&Event::CertificateFailed {
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
            } => telemetry.emit(&Event::CertificateRevoked {
                certificate: facts(certificate),
                reason,
                asker: told(asker),
            }),
        }
    }
}

/// A line for each thing that happened to a certificate or an account.
fn say(happening: &Happening<'_>) {
    macro_rules! line {
        ($level:ident, $asker:expr, $($words:tt)*) => {{
            let account = $asker.account.as_ref().map(tracing::field::display);
            let client = $asker.client.map(tracing::field::display);
            tracing::$level!(account, client, $($words)*)
        }};
    }
    match *happening {
        Happening::Request { .. } => {}
        Happening::Registered { asker } => line!(info, asker, "a new account"),
        Happening::Validated { problem: None, .. } => {}
        Happening::Validated {
            kind,
            identifier,
            problem: Some(problem),
            asker,
        } => line!(warn, asker, "{kind} of {identifier} failed: {problem}"),
        Happening::Issued {
            certificate, asker, ..
        } => {
            let (serial, names) = (certificate.serial_hex(), summary(certificate.names()));
            line!(info, asker, serial, "issued a certificate for {names}");
        }
        Happening::Failed {
            names,
            problem,
            asker,
            ..
        } => {
            let names = summary(names);
            line!(warn, asker, "no certificate for {names}: {problem}");
        }
        Happening::Revoked {
            certificate,
            reason,
            asker,
        } => {
            let (serial, names) = (certificate.serial_hex(), summary(certificate.names()));
            line!(
                info,
                asker,
                serial,
                "revoked the certificate of {names} ({reason})"
            );
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

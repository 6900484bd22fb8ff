//! The server: accept, TLS, HTTP, and what stands behind it.
//!
//! Rules kept here: every port is bound before any accepts; nothing that one
//! client does ends the server or keeps another waiting; every wait has a
//! deadline from [`crate::settings::Limits`]; the server knows certificates by name only, never
//! who issued them.

mod accept;
mod access_log;
mod admin;
mod admin_socket;
mod application;
mod body;
mod client_auth;
mod clients;
mod connection;
mod files;
mod gate;
mod hello;
mod idle;
pub mod metrics;
mod page;
mod process;
mod proxy;
mod proxy_protocol;
mod rate;
mod redirect;
mod registry;
mod respond;
pub mod signals;
mod sink;
mod sockets;
mod telemetry;
mod tls;
pub mod watch;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::Certificates;
use crate::challenge::ChallengeTable;
use crate::clock::Clock;
use crate::settings::{Content, ListenerSettings};

pub use accept::raise_descriptor_limit;
pub use access_log::LineFormat;
pub use admin_socket::{AdminSocket, AdminSocketError, Controls, ReloadFn};
pub use application::Application;
pub use client_auth::TrustError;
pub use redirect::{Provisioning, Redirect};
pub use signals::Shutdown;
pub use sink::SinkError;
pub use sockets::Sockets;
pub use telemetry::{Reload, Telemetry};
pub use tls::TlsError;

use application::Hosted;
use redirect::Redirector;
use registry::Registry;
use respond::Handler;

/// One listening socket to be opened.
#[derive(Debug)]
pub struct Listener {
    /// Address, content and limits.
    pub settings: ListenerSettings,
    /// Whether it speaks TLS, and with which certificates.
    pub security: Security,
}

/// What protects a listener's connections.
#[derive(Debug, Clone)]
pub enum Security {
    /// Nothing: plain HTTP.
    Plain,
    /// TLS with these certificates.
    Tls(Arc<dyn Certificates>),
    /// TLS that also answers tls-alpn-01 validations while such challenges are open.
    /// Without any certificate it answers nothing else.
    TlsWithChallenges {
        /// What everybody else is served with.
        certificates: Arc<dyn Certificates>,
        /// The open challenges.
        challenges: Arc<ChallengeTable>,
    },
    /// Plain HTTP whose only duties are http-01 and the way to https; the content of
    /// the listener's settings is not served.
    Redirect(Redirect),
    /// An application answers, and the content of the listener's settings is not served.
    Application {
        /// Who answers.
        application: Arc<dyn Application>,
        /// TLS with these; plain HTTP without.
        certificates: Option<Arc<dyn Certificates>>,
    },
    /// Plain HTTP that tells programs how the server is: `/health`, `/metrics`, and
    /// `/ready`, which is 503 while provisioning lasts and once the server is stopping.
    Admin(Provisioning),
}

/// A server whose ports are bound.
#[derive(Debug)]
pub struct Server {
    registry: Arc<Registry>,
    tasks: Tasks,
    shutdown: Shutdown,
}

/// The connections and tunnels of a server, and what ends them at once.
#[derive(Debug, Clone, Default)]
struct Tasks {
    running: TaskTracker,
    cut: CancellationToken,
}

impl Tasks {
    /// Runs `work` until it ends or is cut.
    fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let cut = self.cut.clone();
        // In a box: what wraps it would otherwise hold room for it several times.
        let work = Box::pin(work);
        let work = async move { cut.run_until_cancelled(work).await };
        self.running.spawn(work);
    }
}

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request in flight was finished.
    Drained,
    /// This many connections were cut: the drain limit passed, or a second stop was
    /// asked for.
    Cut(usize),
}

impl Server {
    /// Binds every listener, or none. Clients that connect from now on wait in the
    /// backlog until [`Self::run`].
    ///
    /// `clock` is what the built-in page tells the time by; `shutdown` is what will
    /// stop the server; `telemetry` sees what it does.
    pub fn bind(
        listeners: Vec<Listener>,
        clock: &Arc<dyn Clock>,
        shutdown: Shutdown,
        telemetry: &Telemetry,
    ) -> Result<Self, ServerError> {
        Self::bind_with(Sockets::default(), listeners, clock, shutdown, telemetry)
    }

    /// Like [`Self::bind`], where some sockets are open already. Those that were inherited
    /// are all to be used.
    pub fn bind_with(
        mut open: Sockets,
        listeners: Vec<Listener>,
        clock: &Arc<dyn Clock>,
        shutdown: Shutdown,
        telemetry: &Telemetry,
    ) -> Result<Self, ServerError> {
        let tasks = Tasks::default();
        let registry = Registry::new(
            Arc::clone(clock),
            tasks.clone(),
            shutdown.clone(),
            telemetry.clone(),
        );
        registry.apply(listeners, &mut open)?;
        open.all_taken()?;
        Ok(Self {
            registry: Arc::new(registry),
            tasks,
            shutdown,
        })
    }

    /// What was bound, in the order of the listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.registry.addresses()
    }

    /// What changes the listeners while it runs.
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.registry))
    }

    /// Serves until the shutdown given to [`Self::bind`] is asked for, then lets
    /// requests in flight finish within the drain limit. Needs a tokio runtime.
    pub async fn run(self) -> Result<Ended, ServerError> {
        let Self {
            registry,
            tasks,
            shutdown,
        } = self;
        registry.start()?;
        shutdown.graceful().cancelled().await;
        let drain = registry.stop().await;
        tasks.running.close();
        tokio::select! {
            () = tasks.running.wait() => return Ok(Ended::Drained),
            () = tokio::time::sleep(drain) => {}
            () = shutdown.forced().cancelled() => {}
        }
        let left = tasks.running.len();
        tasks.cut.cancel();
        tasks.running.wait().await;
        Ok(Ended::Cut(left))
    }
}

/// Changes the listeners of a running server.
#[derive(Debug, Clone)]
pub struct Control(Arc<Registry>);

impl Control {
    /// Makes `listeners` those of the server: all of them, or none when one cannot be
    /// bound or set up. Returns the addresses, in their order.
    ///
    /// A listener is the one of before when it has the same address. It goes on
    /// accepting without a gap, and new connections see what it is told now; those that
    /// are open keep to the settings they began with. Where clients have to show who
    /// they are, and where there is no listener any more, those finish their requests
    /// and are then closed. Reads files; needs a tokio runtime.
    pub fn apply(&self, listeners: Vec<Listener>) -> Result<Vec<SocketAddr>, ServerError> {
        self.0.apply(listeners, &mut Sockets::default())
    }
}

/// Who answers a listener's requests, and its TLS. `ports` are those of all listeners.
fn duties(
    listener: &Listener,
    ports: &[u16],
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    (shutdown, telemetry): (&Shutdown, &Telemetry),
) -> Result<(Handler, Option<tls::Tls>), ServerError> {
    let (certificates, challenges) = match &listener.security {
        Security::Plain => return Ok((content(&listener.settings, clock, tasks)?, None)),
        Security::Redirect(duties) => {
            let port = *ports
                .get(duties.to)
                .ok_or(ServerError::NoSuchListener(duties.to))?;
            let duties = duties.clone();
            return Ok((Handler::Redirect(Redirector { duties, port }), None));
        }
        Security::Admin(provisioning) => {
            let admin = admin::Admin {
                provisioning: provisioning.clone(),
                shutdown: shutdown.clone(),
                telemetry: telemetry.clone(),
            };
            return Ok((Handler::Admin(admin), None));
        }
        Security::Application {
            application,
            certificates,
        } => {
            let limits = &listener.settings.limits;
            let hosted = Hosted::new(Arc::clone(application), limits);
            let policy = &listener.settings.tls;
            let tls = certificates.clone();
            let tls = tls.map(|certificates| tls::Tls::new(certificates, None, policy, clock));
            return Ok((Handler::Application(hosted), tls.transpose()?));
        }
        Security::Tls(certificates) => (certificates, None),
        Security::TlsWithChallenges {
            certificates,
            challenges,
        } => (certificates, Some(Arc::clone(challenges))),
    };
    let policy = &listener.settings.tls;
    let tls = tls::Tls::new(Arc::clone(certificates), challenges, policy, clock)?;
    Ok((content(&listener.settings, clock, tasks)?, Some(tls)))
}

fn content(
    settings: &ListenerSettings,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Handler, ServerError> {
    Ok(match &settings.content {
        Content::Page => Handler::Page(page::Page::new(Arc::clone(clock))),
        Content::Root(root) => {
            let files = files::Files::new(root).map_err(|source| ServerError::Root {
                root: root.clone(),
                source,
            });
            Handler::Files(files?)
        }
        Content::Upstream(upstream) => {
            let proxy = proxy::Proxy::new(upstream.clone(), &settings.limits, tasks)?;
            Handler::Proxy(Box::new(proxy))
        }
    })
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address cannot be listened on.
    #[error("could not listen on {address}")]
    Bind {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A socket that somebody else has opened cannot be used.
    #[error("the inherited socket `{name}` cannot be served on")]
    Inherited {
        /// Its name there.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// Sockets that somebody else has opened, and that nothing is served on.
    #[error("no listener has the address of the inherited socket: {0}")]
    LeftOver(String),
    /// The directory of static files cannot be read.
    #[error("could not serve the files below `{}`", root.display())]
    Root {
        /// The directory.
        root: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A redirect to a listener that is not in the list.
    #[error("there is no listener {0} to redirect to")]
    NoSuchListener(usize),
    /// Nobody can vouch for an https upstream.
    #[error("could not load the roots to verify the upstream with")]
    UpstreamRoots(#[source] crate::net::roots::RootsError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl ServerError {
    /// Whether somebody listens already where we would.
    fn is_in_use(&self) -> bool {
        matches!(self, Self::Bind { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { address, source } => match source.kind() {
                io::ErrorKind::AddrInUse => Some(format!(
                    "another program listens there: `ss -ltnp 'sport = :{}'` names it; or \
                     choose another port",
                    address.port()
                )),
                io::ErrorKind::PermissionDenied => Some(
                    "ports below 1024 need a privilege: run as a service with \
                     CAP_NET_BIND_SERVICE, or choose a port from 1024 up"
                        .to_owned(),
                ),
                io::ErrorKind::AddrNotAvailable => Some(format!(
                    "this machine has no address {}: `ip address` lists those it has",
                    address.ip()
                )),
                _ => None,
            },
            Self::Root { .. } => Some("name a directory that exists with `--root`".to_owned()),
            Self::UpstreamRoots(source) => Some(source.hint().to_owned()),
            Self::LeftOver(_) => Some(
                "give a listener that address, written as it is here, or take the socket out of \
                  the unit"
                    .to_owned(),
            ),
            Self::Tls(source) => source.hint(),
            Self::NoSuchListener(_) | Self::Inherited { .. } => None,
        }
    }
}

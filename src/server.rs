//! The server: accept, TLS, HTTP, and what stands behind it.
//!
//! Rules kept here: every port is bound before any accepts; nothing that one
//! client does ends the server or keeps another waiting; every wait has a
//! deadline from [`crate::settings::Limits`]; the server knows certificates by name only, never
//! who issued them.

mod accept;
mod admin;
mod body;
mod connection;
mod files;
mod page;
mod proxy;
mod redirect;
mod respond;
pub mod signals;
mod throttle;
mod tls;
pub mod watch;

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::certificates::Certificates;
use crate::challenge::ChallengeTable;
use crate::clock::Clock;
use crate::settings::{Content, ListenAddr, ListenerSettings};

pub use accept::raise_descriptor_limit;
pub use redirect::{Provisioning, Redirect};
pub use signals::Shutdown;

use accept::Serving;
use redirect::Redirector;
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
    /// Plain HTTP that tells programs how the server is: `/health`, and `/ready`, which
    /// is 503 while provisioning lasts.
    Admin(Provisioning),
}

/// A server whose ports are bound.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Bound>,
    drain: std::time::Duration,
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
        let work = async move { cut.run_until_cancelled(work).await };
        self.running.spawn(work);
    }
}

#[derive(Debug)]
struct Bound {
    socket: TcpListener,
    address: SocketAddr,
    serving: Arc<Serving>,
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
    /// stop the server.
    pub fn bind(
        listeners: Vec<Listener>,
        clock: &Arc<dyn Clock>,
        shutdown: Shutdown,
    ) -> Result<Self, ServerError> {
        let tasks = Tasks::default();
        let drain = listeners.iter().map(|l| l.settings.limits.drain).max();
        let sockets = listeners
            .iter()
            .map(|listener| bind(&listener.settings))
            .collect::<Result<Vec<_>, _>>()?;
        let ports: Vec<u16> = sockets.iter().map(|(_, address)| address.port()).collect();
        let bound = listeners
            .into_iter()
            .zip(sockets)
            .map(|(listener, (socket, address))| {
                let (handler, tls) = duties(&listener, &ports, clock, &tasks)?;
                let limits = listener.settings.limits;
                let serving = Serving::new(handler, tls, limits, tasks.clone(), shutdown.clone());
                Ok(Bound {
                    socket,
                    address,
                    serving: Arc::new(serving),
                })
            })
            .collect::<Result<_, ServerError>>()?;
        Ok(Self {
            listeners: bound,
            drain: drain.unwrap_or_default(),
            tasks,
            shutdown,
        })
    }

    /// What was bound, in the order of the listeners.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().map(|bound| bound.address).collect()
    }

    /// Serves until the shutdown given to [`Self::bind`] is asked for, then lets
    /// requests in flight finish within the drain limit. Needs a tokio runtime.
    pub async fn run(self) -> Result<Ended, ServerError> {
        let Self {
            listeners,
            drain,
            tasks,
            shutdown,
        } = self;
        let mut accepting = JoinSet::new();
        for bound in listeners {
            let address = bound.address;
            let socket = tokio::net::TcpListener::from_std(bound.socket)
                .map_err(|source| ServerError::Bind { address, source })?;
            accepting.spawn(accept::accept_loop(socket, bound.serving));
        }
        // They end when a stop is asked for.
        while accepting.join_next().await.is_some() {}
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

fn bind(settings: &ListenerSettings) -> Result<(TcpListener, SocketAddr), ServerError> {
    let ListenAddr(wanted) = settings.address;
    let bind_error = |source| ServerError::Bind {
        address: wanted,
        source,
    };
    let socket = accept::bind(wanted, &settings.limits).map_err(bind_error)?;
    let address = socket.local_addr().map_err(bind_error)?;
    Ok((socket, address))
}

/// Who answers a listener's requests, and its TLS. `ports` are those of all listeners.
fn duties(
    listener: &Listener,
    ports: &[u16],
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
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
            let provisioning = provisioning.clone();
            return Ok((Handler::Admin(admin::Admin { provisioning }), None));
        }
        Security::Tls(certificates) => (certificates, None),
        Security::TlsWithChallenges {
            certificates,
            challenges,
        } => (certificates, Some(Arc::clone(challenges))),
    };
    let tls = tls::Tls::new(Arc::clone(certificates), challenges).map_err(ServerError::Tls)?;
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
    /// The TLS library cannot be set up.
    #[error("could not set up TLS")]
    Tls(#[source] rustls::Error),
}

impl ServerError {
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
            Self::Tls(_) | Self::NoSuchListener(_) => None,
        }
    }
}

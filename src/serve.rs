//! Putting a server together: which certificates it has, and who keeps them fresh.
//!
//! [`ServeMode`] is matched once, here. Below this line the server knows only a
//! table of certificates; what fills it runs on a thread of its own (`keeper`), so
//! that writing to disk never delays a connection.

mod custom;
mod demand;
#[cfg(feature = "acme")]
mod directory;
mod keeper;
mod kept;
mod operation;
mod plan;
mod private;
mod pool;
#[cfg(feature = "acme")]
mod public;
mod raw_key;
mod reload;
mod running;
mod self_signed;
mod supervisor;
mod user;

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::bundle::{BundleError, Certificate};
use crate::certificates::{CertificateTable, Certificates, UnusableCertificate, UnusableRawKey};
use crate::clock::Clock;
use crate::directory::OpenError;
use crate::identifier::CertId;
use crate::issuer::BoxFuture;
use crate::key::KeyError;
use crate::on_demand::Desk;
use crate::renew::Failure;
use crate::server::{
    AdminSocketError, Ended, LineFormat, Provisioning, Redirect, Security, ServerError, Shutdown,
    SinkError, raise_descriptor_limit,
};
use crate::settings::ListenAddr;
use crate::store::StoreError;

use keeper::Keeper;
pub use plan::{
    CustomFiles, NamedLeaf, OnDemand, Operation, Plan, PrivateDirectory, PrivateLeaf, PublicLeaf,
    RawKeyFile, ServeMode, Site,
};
use pool::{Means, Pool};
use reload::Reloads;
pub use supervisor::Supervisor;
pub use user::UserError;

/// Reads the settings again: what the server is to be from now on, or everything that
/// is wrong with them. Blocks on the disk.
pub type Reread = dyn Fn() -> Result<Plan, Vec<String>> + Send + Sync;

/// What a server is given besides its settings.
pub struct Surroundings {
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Who is told how far it is.
    pub supervisor: Supervisor,
    /// What a line of the access log looks like.
    pub log_format: LineFormat,
    /// Listening sockets that are open already, with their names: each is used by the
    /// listener with its address.
    pub sockets: Vec<(String, TcpListener)>,
    /// What SIGHUP and the admin socket have done.
    pub reread: Arc<Reread>,
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings").finish_non_exhaustive()
    }
}

/// What a server says of each listener once that serves.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it serves with.
    pub shown: Shown,
}

/// What clients are shown, so that they know whom they talk to.
#[derive(Debug, Clone)]
pub enum Shown {
    /// Nothing: plain HTTP.
    Nothing,
    /// A certificate.
    Certificate(Certificate),
    /// One that nobody vouches for.
    SelfSigned(Certificate),
    /// A raw public key with this fingerprint (RFC 7250).
    RawKey(String),
    /// For each name a certificate that is made when it is asked for.
    OnDemand,
}

/// Serves until SIGTERM or SIGINT; `on_ready` is called for each listener once its port
/// is bound and its certificate is there. Ends in peace also when it is told to stop
/// before that. SIGHUP has the settings read again.
pub fn serve(
    plan: Plan,
    surroundings: Surroundings,
    on_ready: impl FnMut(&Ready),
) -> Result<Ended, ServeError> {
    plan.check()?;
    let Surroundings {
        clock,
        supervisor,
        log_format,
        sockets,
        reread,
    } = surroundings;
    // Before there is any other thread.
    let prepared = operation::prepare(
        &plan.operation,
        &running::addresses(&plan),
        sockets,
        plan.sites.iter().flat_map(|site| site.mode.states()),
        Arc::clone(&clock),
        log_format,
    )?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let (shutdown, (reload, reloads)) = {
        let _inside = runtime.enter();
        let signals = || Ok((Shutdown::on_signals()?, Reloads::on_signal()?));
        signals().map_err(ServeError::Runtime)?
    };
    let telemetry = prepared.telemetry.clone();
    let means = Means {
        clock,
        stop: shutdown.graceful().clone(),
        telemetry: telemetry.clone(),
        provisioning: Provisioning::begun(),
    };
    let pool = Pool::of(&plan.sites, &[], &means)?;
    let start = running::Start {
        plan,
        pool,
        means,
        sockets: prepared.sockets,
        shutdown,
        reload,
        reloads,
        supervisor,
        reread,
    };
    let ended = runtime.block_on(running::run(start, on_ready));
    telemetry.settle();
    ended
}

/// Certificates that can be served, or obtained once the ports are bound, with what
/// keeps them fresh.
enum Source {
    None,
    Private(private::Loaded),
    OnDemand(Box<demand::Prepared>),
    #[cfg(feature = "acme")]
    Public(Box<public::Prepared>),
    Custom(custom::Loaded),
    RawKey(raw_key::Loaded),
    SelfSigned(self_signed::Made),
    #[cfg(feature = "acme")]
    Directory(Box<directory::Prepared>),
}

/// What a plain port beside a TLS one does.
#[derive(Debug, Clone)]
enum Beside {
    /// Sends clients to https, after answers to challenges.
    Redirect(Redirect),
    /// Has an application answer.
    #[cfg(feature = "acme")]
    Application(Arc<dyn crate::server::Application>),
}

/// What serving begins with.
type First = BoxFuture<'static, Result<Shown, ServeError>>;

fn at_once(shown: Shown) -> First {
    Box::pin(std::future::ready(Ok(shown)))
}

impl Source {
    fn load(mode: ServeMode, means: &Means) -> Result<Self, ServeError> {
        let (clock, telemetry) = (&means.clock, &means.telemetry);
        Ok(match mode {
            ServeMode::Insecure { .. } => Self::None,
            ServeMode::Ca(leaf) => Self::Private(private::load(leaf, clock, telemetry)?),
            #[cfg(feature = "acme")]
            ServeMode::Acme(leaf) => Self::Public(Box::new(public::prepare(*leaf, means)?)),
            #[cfg(not(feature = "acme"))]
            ServeMode::Acme(_) => return Err(ServeError::WithoutAcme),
            ServeMode::OnDemand(site) => Self::OnDemand(Box::new(demand::prepare(*site, means)?)),
            ServeMode::Custom(files) => Self::Custom(custom::load(files, telemetry)?),
            ServeMode::RawKey(file) => Self::RawKey(raw_key::load(file)?),
            ServeMode::SelfSigned(names) => Self::SelfSigned(self_signed::make(&names, &**clock)?),
            #[cfg(feature = "acme")]
            ServeMode::Directory(plan) => {
                Self::Directory(Box::new(directory::prepare(*plan, means)?))
            }
            #[cfg(not(feature = "acme"))]
            ServeMode::Directory(_) => return Err(ServeError::WithoutAcme),
        })
    }

    /// What everybody is served with; of those that say more, [`Self::security`] does.
    fn certificates(&self) -> Option<Arc<dyn Certificates>> {
        let table = match self {
            Self::None | Self::OnDemand(_) => return None,
            Self::Private(loaded) => &loaded.kept.table,
            #[cfg(feature = "acme")]
            Self::Public(prepared) => &prepared.table,
            Self::Custom(loaded) => &loaded.table,
            Self::SelfSigned(made) => &made.table,
            #[cfg(feature = "acme")]
            Self::Directory(prepared) => prepared.table(),
            Self::RawKey(loaded) => {
                return Some(Arc::<crate::certificates::RawKey>::clone(&loaded.served));
            }
        };
        Some(Arc::<CertificateTable>::clone(table))
    }

    /// Who answers those who ask for names without a certificate.
    fn desk(&self) -> Option<Arc<Desk>> {
        match self {
            Self::OnDemand(prepared) => Some(prepared.desk()),
            _ => None,
        }
    }

    fn security(&self) -> Security {
        match (self, self.certificates()) {
            (Self::OnDemand(prepared), _) => prepared.security(),
            (_, None) => Security::Plain,
            #[cfg(feature = "acme")]
            (Self::Public(prepared), Some(certificates)) => Security::TlsWithChallenges {
                certificates,
                challenges: Arc::clone(&prepared.challenges),
            },
            #[cfg(feature = "acme")]
            (Self::Directory(prepared), certificates @ Some(_)) => Security::Application {
                application: prepared.secured(),
                certificates,
            },
            (_, Some(certificates)) => Security::Tls(certificates),
        }
    }

    /// What a plain port beside it answers with; none beside plain HTTP.
    fn beside(&self) -> Option<Beside> {
        Some(match self {
            #[cfg(feature = "acme")]
            Self::Public(prepared) => Beside::Redirect(prepared.redirect()),
            Self::OnDemand(prepared) => Beside::Redirect(prepared.redirect()),
            #[cfg(feature = "acme")]
            Self::Directory(prepared) => Beside::Application(prepared.plain()),
            _ => Beside::Redirect(Redirect {
                certificates: self.certificates()?,
                challenges: Arc::default(),
                provisioning: Provisioning::default(),
                to: 0,
            }),
        })
    }

    /// Keeps what is served fresh, in a thread of its own, and gives what comes first.
    fn keep(
        self,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
        again: Arc<Notify>,
    ) -> Result<(Option<Keeper>, First), ServeError> {
        Ok(match self {
            Self::None => (None, at_once(Shown::Nothing)),
            Self::Private(loaded) => {
                let first = at_once(Shown::Certificate(loaded.kept.serving.clone()));
                let keeper = Keeper::start(stop, move |stop| private::keep(loaded, clock, stop))?;
                (Some(keeper), first)
            }
            #[cfg(feature = "acme")]
            Self::Public(prepared) => {
                let (tell, first) = tokio::sync::oneshot::channel();
                let keeper = Keeper::start(stop, move |stop| {
                    public::keep(*prepared, clock, stop, again, tell)
                })?;
                (Some(keeper), obtained(first))
            }
            Self::OnDemand(prepared) => demand_keeper(*prepared, clock, stop, again)?,
            Self::Custom(loaded) => {
                let first = at_once(Shown::Certificate(loaded.serving.clone()));
                let keeper =
                    Keeper::start(stop, move |stop| custom::keep(loaded, clock, stop, again))?;
                (Some(keeper), first)
            }
            Self::RawKey(loaded) => {
                let first = at_once(Shown::RawKey(loaded.fingerprint.clone()));
                let keeper = Keeper::start(stop, move |stop| raw_key::keep(loaded, stop))?;
                (Some(keeper), first)
            }
            Self::SelfSigned(made) => {
                let first = at_once(Shown::SelfSigned(made.serving.clone()));
                let keeper = Keeper::start(stop, move |stop| self_signed::keep(made, clock, stop))?;
                (Some(keeper), first)
            }
            #[cfg(feature = "acme")]
            Self::Directory(prepared) => {
                let first = at_once(Shown::Certificate(prepared.serving()));
                let keeper = Keeper::start(stop, move |stop| prepared.keep(clock, stop))?;
                (Some(keeper), first)
            }
        })
    }
}

/// Waits for the first certificate.
#[cfg(feature = "acme")]
fn obtained(first: tokio::sync::oneshot::Receiver<Result<Certificate, ServeError>>) -> First {
    Box::pin(async {
        match first.await {
            Ok(first) => first.map(Shown::Certificate),
            // Told to stop: the server's end tells the same.
            Err(_) => std::future::pending().await,
        }
    })
}

fn demand_keeper(
    prepared: demand::Prepared,
    clock: Arc<dyn Clock>,
    stop: CancellationToken,
    again: Arc<Notify>,
) -> Result<(Option<Keeper>, First), ServeError> {
    let first = prepared.first();
    #[cfg(feature = "acme")]
    let (tell, told) = tokio::sync::oneshot::channel();
    let keeper = Keeper::start(stop, move |stop| {
        prepared.keep(
            clock,
            stop,
            again,
            #[cfg(feature = "acme")]
            tell,
        )
    })?;
    #[cfg(feature = "acme")]
    let first = first.unwrap_or_else(|| obtained(told));
    #[cfg(not(feature = "acme"))]
    let first = first.unwrap_or_else(|| at_once(Shown::OnDemand));
    Ok((Some(keeper), first))
}

/// Why a server does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// One of several listeners.
    #[error("the listener on {address}{}", at(place.as_deref()))]
    Listener {
        /// Its address.
        address: ListenAddr,
        /// Where it is written.
        place: Option<String>,
        /// What is wrong with it.
        source: Box<Self>,
    },
    /// Plain HTTP on an address that others can reach.
    #[error("plain http on {0} could be read and changed by anybody on the way")]
    Remote(ListenAddr),
    /// There is no certificate, and none could be issued.
    #[error("there is no valid certificate for `{id}`, and none could be issued{}", within_seconds(*within))]
    NoCertificate {
        /// Its id.
        id: CertId,
        /// How long it was tried, when that was as long as it might be.
        within: Option<Duration>,
        /// Why not.
        source: Box<Failure>,
    },
    /// Another process keeps the certificate fresh, and answers its challenges.
    #[error("another server keeps the certificate `{0}` already")]
    KeptByAnother(CertId),
    /// Another process makes certificates on demand, and looks after them.
    #[error("another server makes certificates on demand in `{}` already", .0.display())]
    OnDemandByAnother(PathBuf),
    /// Nobody can vouch for the address where permission is asked for.
    #[error("could not load the roots to verify the address of `--ask` with")]
    AskRoots(#[source] crate::net::roots::RootsError),
    /// The private CA that is to make certificates on demand cannot be used.
    #[error("the private CA cannot make certificates on demand")]
    Ca(#[from] crate::pki::CaError),
    /// The private ACME directory cannot be run.
    #[error("the private ACME directory cannot be run")]
    Directory(#[from] OpenError),
    /// A public CA is to be asked, or control over names to be looked at, and this program
    /// cannot.
    #[error("this certmint was built without ACME")]
    WithoutAcme,
    /// The files do not give a certificate with its key.
    #[error("cannot serve with the certificate in `{}` and the key in `{}`", cert.display(), key.display())]
    Files {
        /// The certificate's.
        cert: PathBuf,
        /// The key's.
        key: PathBuf,
        /// What does not fit.
        source: BundleError,
    },
    /// A file does not give a key that can be served without certificate.
    #[error("cannot serve with the raw key in `{}`", path.display())]
    RawKeyFile {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: KeyError,
    },
    /// The key is none that can be served without certificate.
    #[error("cannot serve with the raw key in `{}`", path.display())]
    RawKey {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        source: UnusableRawKey,
    },
    /// No certificate could be made for these names.
    #[error("no self-signed certificate could be made: {0}")]
    SelfSigned(String),
    /// A file cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The TLS library does not take the certificate.
    #[error(transparent)]
    Unusable(#[from] UnusableCertificate),
    /// The server did not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// Threads or signal handlers could not be set up.
    #[error("could not start the server's threads")]
    Runtime(#[source] std::io::Error),
    /// The process cannot go on as the user that is wanted.
    #[error(transparent)]
    User(#[from] UserError),
    /// There is no place for the access log or the events.
    #[error(transparent)]
    Log(SinkError),
    /// There is no admin socket.
    #[error(transparent)]
    AdminSocket(#[from] AdminSocketError),
    /// Nothing to listen on was given.
    #[error("there is no address to listen on")]
    NoListener,
}

fn at(place: Option<&str>) -> String {
    place.map_or_else(String::new, |place| format!(" ({place})"))
}

fn within_seconds(within: Option<Duration>) -> String {
    within.map_or_else(String::new, |time| format!(" within {} s", time.as_secs()))
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Listener { source, .. } => source.hint(),
            Self::Remote(_) => {
                Some("serve with TLS (`certmint serve-ca`), or say `--allow-remote`".to_owned())
            }
            Self::NoCertificate { source, .. } => source.hint(),
            Self::Files {
                source: BundleError::KeyMismatch,
                cert,
                ..
            } => Some(format!(
                "the key of this certificate is another one; look with `certmint inspect {}`",
                cert.display()
            )),
            Self::KeptByAnother(_) => Some(
                "stop it first, or give this one a directory of its own with `--cache-dir`"
                    .to_owned(),
            ),
            Self::OnDemandByAnother(_) => Some(
                "stop it first, or give this one a directory of its own with `--cache-dir`; \
                 listeners of one server can share it when they are told the same"
                    .to_owned(),
            ),
            Self::AskRoots(source) => Some(source.hint().to_owned()),
            Self::Ca(source) => source.hint(),
            Self::Directory(source) => source.hint(),
            Self::WithoutAcme => Some("use a build with the feature `acme`".to_owned()),
            Self::Store(StoreError::OtherIssuer { .. }) => Some(
                "a certificate stays with the CA it came from; keep this one in a directory of \
                 its own with `--cache-dir`"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::User(error) => error.hint(),
            Self::Log(error) => error.hint(),
            Self::AdminSocket(error) => error.hint(),
            Self::RawKey { .. } => Some(
                "make one with `openssl genpkey -algorithm ed25519`, readable by its owner alone"
                    .to_owned(),
            ),
            Self::SelfSigned(_) => {
                Some("name hosts or addresses, such as `localhost` and `127.0.0.1`".to_owned())
            }
            Self::Files { .. }
            | Self::RawKeyFile { .. }
            | Self::Unusable(_)
            | Self::Runtime(_)
            | Self::NoListener => None,
        }
    }
}

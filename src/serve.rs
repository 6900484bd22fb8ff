//! Putting a server together: which certificates it has, and who keeps them fresh.
//!
//! [`ServeMode`] is matched once, here. Below this line the server knows only a
//! table of certificates; what fills it runs on a thread of its own (`keeper`), so
//! that writing to disk never delays a connection.

mod custom;
mod keeper;
mod kept;
mod private;
#[cfg(feature = "acme")]
mod public;
mod supervisor;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::bundle::{BundleError, Certificate};
use crate::certificates::{CertificateTable, UnusableCertificate};
use crate::clock::Clock;
use crate::identifier::CertId;
use crate::issuer::{AcmeRef, BoxFuture, Profile};
use crate::key::Passphrase;
use crate::renew::Failure;
use crate::renew::issuers::Variables;
use crate::server::{
    Ended, Listener, Provisioning, Security, Server, ServerError, Shutdown, raise_descriptor_limit,
};
use crate::settings::{Content, ListenAddr, ListenerSettings};
use crate::store::StoreError;

use keeper::Keeper;
pub use supervisor::Supervisor;

/// Where a server's certificates come from.
#[derive(Debug)]
pub enum ServeMode {
    /// Nowhere: plain HTTP.
    Insecure {
        /// Others than this machine may connect.
        allow_remote: bool,
    },
    /// The private CA issues and renews one.
    Ca(PrivateLeaf),
    /// A public CA does.
    Acme(Box<PublicLeaf>),
    /// Files that somebody else keeps fresh.
    Custom(CustomFiles),
}

/// A certificate of the private CA, kept in a state directory.
#[derive(Debug)]
pub struct PrivateLeaf {
    /// The state directory.
    pub home: PathBuf,
    /// Under which it is kept.
    pub id: CertId,
    /// What it is to be.
    pub profile: Profile,
    /// Unlocks the CA's intermediate key.
    pub passphrase: Option<Passphrase>,
}

/// A certificate of a public CA, obtained through this server itself.
pub struct PublicLeaf {
    /// The state directory, which holds the account.
    pub home: PathBuf,
    /// The state directory that the certificate is kept in.
    pub cache_dir: PathBuf,
    /// Under which it is kept.
    pub id: CertId,
    /// What it is to be.
    pub profile: Profile,
    /// Which CA, and how it is asked.
    pub issuer: AcmeRef,
    /// Variables that DNS credentials may refer to.
    pub variables: Arc<Variables>,
    /// Whether the terms of service of a CA without an account may be agreed to.
    pub agree_to_terms: bool,
    /// The plain port: http-01, and the way to https.
    pub http: Option<ListenAddr>,
    /// How long a start without a certificate may take.
    pub start_timeout: Duration,
}

impl fmt::Debug for PublicLeaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicLeaf")
            .field("id", &self.id)
            .field("profile", &self.profile)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// A certificate and its key in files of the operator's.
#[derive(Debug, Clone)]
pub struct CustomFiles {
    /// Leaf and intermediates, PEM.
    pub cert: PathBuf,
    /// The private key, PEM.
    pub key: PathBuf,
    /// Unlocks the key.
    pub passphrase: Option<Passphrase>,
}

/// A server to be put together.
#[derive(Debug)]
pub struct Site {
    /// Where its certificates come from.
    pub mode: ServeMode,
    /// Where it listens, and what it serves.
    pub listener: ListenerSettings,
    /// Where programs ask how it is.
    pub admin: Option<ListenAddr>,
    /// Who is told how far it is.
    pub supervisor: Supervisor,
}

/// What a server says once it serves.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that it serves with; none in plain HTTP.
    pub certificate: Option<Certificate>,
}

/// Serves until SIGTERM or SIGINT; `on_ready` is called once the ports are bound and the
/// certificate is there. Ends in peace also when it is told to stop before that.
pub fn serve(
    site: Site,
    clock: Arc<dyn Clock>,
    on_ready: impl FnOnce(&Ready),
) -> Result<Ended, ServeError> {
    check_address(&site.mode, site.listener.address)?;
    let source = Source::load(site.mode, &clock)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    let listeners = source.listeners(site.listener, site.admin);
    runtime.block_on(run(source, listeners, site.supervisor, clock, on_ready))
}

async fn run(
    source: Source,
    listeners: Vec<Listener>,
    supervisor: Supervisor,
    clock: Arc<dyn Clock>,
    on_ready: impl FnOnce(&Ready),
) -> Result<Ended, ServeError> {
    let shutdown = Shutdown::on_signals().map_err(ServeError::Runtime)?;
    let server = Server::bind(listeners, &clock, shutdown.clone())?;
    let addresses = server.addresses();
    let address = *addresses.first().ok_or(ServeError::NoListener)?;
    supervisor.stopping_on(shutdown.graceful().clone());
    let (keeper, first) = source.keep(clock, shutdown.graceful().clone())?;
    let keeper_ended = async {
        if let Some(keeper) = keeper {
            keeper.ended(shutdown.forced()).await;
        }
    };
    // It accepts while the first certificate is on its way: that may need answers to
    // challenges.
    let mut running = pin!(server.run());
    let first = tokio::select! {
        ended = &mut running => {
            keeper_ended.await;
            tracing::info!("stopped before there was a certificate");
            return Ok(ended?);
        }
        first = supervisor.starting("obtaining the certificate", first) => first,
    };
    match first {
        Ok(certificate) => {
            on_ready(&Ready {
                address,
                certificate,
            });
            supervisor.ready("serving");
        }
        Err(error) => {
            // It ends by itself, once it has taken back what it presented; nobody is
            // served whom forcing would cut.
            keeper_ended.await;
            shutdown.force();
            running.await?;
            return Err(error);
        }
    }
    let ended = running.await?;
    keeper_ended.await;
    Ok(ended)
}

/// Plain HTTP to other machines needs to be wanted.
fn check_address(mode: &ServeMode, address: ListenAddr) -> Result<(), ServeError> {
    match mode {
        ServeMode::Insecure {
            allow_remote: false,
        } if !address.0.ip().is_loopback() => Err(ServeError::Remote(address)),
        _ => Ok(()),
    }
}

/// Certificates that can be served, or obtained once the ports are bound, with what
/// keeps them fresh.
enum Source {
    None,
    Private(private::Loaded),
    #[cfg(feature = "acme")]
    Public(Box<public::Prepared>, Option<ListenAddr>),
    Custom(custom::Loaded),
}

/// The certificate that serving begins with; none in plain HTTP.
type First = BoxFuture<'static, Result<Option<Certificate>, ServeError>>;

fn at_once(certificate: Option<&Certificate>) -> First {
    Box::pin(std::future::ready(Ok(certificate.cloned())))
}

impl Source {
    fn load(mode: ServeMode, clock: &Arc<dyn Clock>) -> Result<Self, ServeError> {
        Ok(match mode {
            ServeMode::Insecure { .. } => Self::None,
            ServeMode::Ca(leaf) => Self::Private(private::load(leaf, clock)?),
            #[cfg(feature = "acme")]
            ServeMode::Acme(leaf) => {
                let http = leaf.http;
                Self::Public(Box::new(public::prepare(*leaf, clock)?), http)
            }
            #[cfg(not(feature = "acme"))]
            ServeMode::Acme(_) => return Err(ServeError::WithoutAcme),
            ServeMode::Custom(files) => Self::Custom(custom::load(files)?),
        })
    }

    fn table(&self) -> Option<Arc<CertificateTable>> {
        match self {
            Self::None => None,
            Self::Private(loaded) => Some(Arc::clone(&loaded.kept.table)),
            #[cfg(feature = "acme")]
            Self::Public(prepared, _) => Some(Arc::clone(&prepared.table)),
            Self::Custom(loaded) => Some(Arc::clone(&loaded.table)),
        }
    }

    fn security(&self) -> Security {
        match (self, self.table()) {
            (_, None) => Security::Plain,
            #[cfg(feature = "acme")]
            (Self::Public(prepared, _), Some(certificates)) => Security::TlsWithChallenges {
                certificates,
                challenges: Arc::clone(&prepared.challenges),
            },
            (_, Some(certificates)) => Security::Tls(certificates),
        }
    }

    /// What lasts until everything that is to be served can be.
    fn provisioning(&self) -> Provisioning {
        match self {
            #[cfg(feature = "acme")]
            Self::Public(prepared, _) => prepared.provisioning.clone(),
            _ => Provisioning::default(),
        }
    }

    /// The listener that serves, first, and those beside it.
    fn listeners(&self, main: ListenerSettings, admin: Option<ListenAddr>) -> Vec<Listener> {
        let beside = |address: ListenAddr, security| Listener {
            settings: ListenerSettings {
                address,
                content: Content::Page,
                limits: main.limits.clone(),
            },
            security,
        };
        let admin = admin.map(|address| beside(address, Security::Admin(self.provisioning())));
        let plain = match self {
            #[cfg(feature = "acme")]
            Self::Public(prepared, Some(address)) => {
                Some(beside(*address, Security::Redirect(prepared.redirect())))
            }
            _ => None,
        };
        let main = Listener {
            security: self.security(),
            settings: main,
        };
        [Some(main), plain, admin].into_iter().flatten().collect()
    }

    /// Keeps what is served fresh, in a thread of its own, and gives what comes first.
    fn keep(
        self,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
    ) -> Result<(Option<Keeper>, First), ServeError> {
        Ok(match self {
            Self::None => (None, at_once(None)),
            Self::Private(loaded) => {
                let first = at_once(Some(&loaded.kept.serving));
                let keeper = Keeper::start(stop, move |stop| private::keep(loaded, clock, stop))?;
                (Some(keeper), first)
            }
            #[cfg(feature = "acme")]
            Self::Public(prepared, _) => {
                let (tell, first) = tokio::sync::oneshot::channel();
                let keeper =
                    Keeper::start(stop, move |stop| public::keep(*prepared, clock, stop, tell))?;
                let first = async {
                    match first.await {
                        Ok(first) => first.map(Some),
                        // Told to stop: the server's end tells the same.
                        Err(_) => std::future::pending().await,
                    }
                };
                (Some(keeper), Box::pin(first))
            }
            Self::Custom(loaded) => {
                let first = at_once(Some(&loaded.serving));
                let keeper = Keeper::start(stop, move |stop| custom::keep(loaded, clock, stop))?;
                (Some(keeper), first)
            }
        })
    }
}

/// Why a server does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
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
    /// A public CA is to be asked, and this program cannot.
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
    /// Nothing to listen on was given.
    #[error("there is no address to listen on")]
    NoListener,
}

fn within_seconds(within: Option<Duration>) -> String {
    within.map_or_else(String::new, |time| format!(" within {} s", time.as_secs()))
}

impl ServeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
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
            Self::WithoutAcme => Some("use a build with the feature `acme`".to_owned()),
            Self::Store(StoreError::OtherIssuer { .. }) => Some(
                "a certificate stays with the CA it came from; keep this one in a directory of \
                 its own with `--cache-dir`"
                    .to_owned(),
            ),
            Self::Store(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Files { .. } | Self::Unusable(_) | Self::Runtime(_) | Self::NoListener => None,
        }
    }
}

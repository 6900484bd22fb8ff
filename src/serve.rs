//! Putting a server together: which certificates it has, and who keeps them fresh.
//!
//! [`ServeMode`] is matched once, here. Below this line the server knows only a
//! table of certificates; what fills it runs on a thread of its own (`keeper`), so
//! that writing to disk never delays a connection.

mod custom;
mod keeper;
mod private;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::bundle::BundleError;
use crate::certificates::{CertificateTable, UnusableCertificate};
use crate::clock::Clock;
use crate::identifier::CertId;
use crate::issuer::Profile;
use crate::key::Passphrase;
use crate::renew::Failure;
use crate::server::{
    Ended, Listener, Security, Server, ServerError, Shutdown, raise_descriptor_limit,
};
use crate::settings::{ListenAddr, ListenerSettings};
use crate::store::StoreError;

use keeper::Keeper;

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

/// What a server says once its ports are bound.
#[derive(Debug)]
pub struct Ready {
    /// Where it listens.
    pub address: SocketAddr,
    /// The certificate that it serves with; none in plain HTTP.
    pub certificate: Option<crate::bundle::Certificate>,
}

/// Serves until SIGTERM or SIGINT; `on_ready` is called once the port is bound.
pub fn serve(
    mode: ServeMode,
    listener: ListenerSettings,
    clock: Arc<dyn Clock>,
    on_ready: impl FnOnce(&Ready),
) -> Result<Ended, ServeError> {
    check_address(&mode, listener.address)?;
    let source = Source::load(mode, &clock)?;
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Runtime)?;
    runtime.block_on(async {
        let shutdown = Shutdown::on_signals().map_err(ServeError::Runtime)?;
        let listener = Listener {
            settings: listener,
            security: source.security(),
        };
        let server = Server::bind(vec![listener], &clock, shutdown.clone())?;
        let address = server
            .addresses()
            .first()
            .copied()
            .ok_or(ServeError::NoListener)?;
        let certificate = source.certificate().cloned();
        let keeper = source.keep(clock, shutdown.graceful().clone())?;
        on_ready(&Ready {
            address,
            certificate,
        });
        let ended = server.run().await?;
        if let Some(keeper) = keeper {
            keeper.ended().await;
        }
        Ok(ended)
    })
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

/// Certificates that are loaded and can be served, with what keeps them fresh.
enum Source {
    None,
    Private(private::Loaded),
    Custom(custom::Loaded),
}

impl Source {
    fn load(mode: ServeMode, clock: &Arc<dyn Clock>) -> Result<Self, ServeError> {
        Ok(match mode {
            ServeMode::Insecure { .. } => Self::None,
            ServeMode::Ca(leaf) => Self::Private(private::load(leaf, clock)?),
            ServeMode::Custom(files) => Self::Custom(custom::load(files)?),
        })
    }

    fn table(&self) -> Option<&Arc<CertificateTable>> {
        match self {
            Self::None => None,
            Self::Private(loaded) => Some(&loaded.table),
            Self::Custom(loaded) => Some(&loaded.table),
        }
    }

    fn security(&self) -> Security {
        match self.table() {
            None => Security::Plain,
            Some(table) => Security::Tls(Arc::clone(table) as _),
        }
    }

    fn certificate(&self) -> Option<&crate::bundle::Certificate> {
        match self {
            Self::None => None,
            Self::Private(loaded) => Some(&loaded.serving),
            Self::Custom(loaded) => Some(&loaded.serving),
        }
    }

    fn keep(
        self,
        clock: Arc<dyn Clock>,
        stop: tokio_util::sync::CancellationToken,
    ) -> Result<Option<Keeper>, ServeError> {
        match self {
            Self::None => Ok(None),
            Self::Private(loaded) => {
                Keeper::start(stop, move |stop| private::keep(loaded, clock, stop)).map(Some)
            }
            Self::Custom(loaded) => {
                Keeper::start(stop, move |stop| custom::keep(loaded, clock, stop)).map(Some)
            }
        }
    }
}

/// Why a server does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Plain HTTP on an address that others can reach.
    #[error("plain http on {0} could be read and changed by anybody on the way")]
    Remote(ListenAddr),
    /// There is no certificate, and none could be issued.
    #[error("there is no valid certificate for `{id}`, and none could be issued")]
    NoCertificate {
        /// Its id.
        id: CertId,
        /// Why not.
        source: Failure,
    },
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
            Self::Store(error) => error.hint(),
            Self::Server(error) => error.hint(),
            Self::Files { .. } | Self::Unusable(_) | Self::Runtime(_) | Self::NoListener => None,
        }
    }
}

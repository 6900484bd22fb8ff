//! A Unix socket for those who may tell the server what to do: HTTP/1.1, so that
//! `curl --unix-socket` speaks it.
//!
//! Rules kept here: its mode is 0600 from the moment it exists; only our own user and root
//! are answered, whatever the mode has become; what a dead server left is replaced, and a
//! living one's is not; it is removed at the end, unless it is another's by then.

use std::convert::Infallible;
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::admin::{Admin, Told};
use super::redirect::Provisioning;
use super::respond::NO_STORE;
use super::signals::Shutdown;
use super::telemetry::Telemetry;
use crate::store::{Lock, StoreError, disk};

/// Who may read and write the socket.
const MODE: u32 = 0o600;

/// Connections that are served at the same time; more wait.
const CONNECTIONS: usize = 16;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 16;

/// How long a connection may last; a reload may ask for much.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a client may take to send its request's header.
const HEADER: Duration = Duration::from_secs(10);

/// How long those who are being answered are waited for at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// Wait before accepting again after the system refused to.
const PAUSE: Duration = Duration::from_millis(100);

/// Reads the settings again: words about what is in force now, or why nothing changed.
pub type ReloadFn = Arc<dyn Fn() -> BoxFuture<'static, Result<String, String>> + Send + Sync>;

/// What the socket's requests are answered from.
#[derive(Clone)]
pub struct Controls {
    /// `/metrics` and `/status`.
    pub telemetry: Telemetry,
    /// `/ready`.
    pub provisioning: Provisioning,
    /// `POST /stop`.
    pub shutdown: Shutdown,
    /// `POST /reload`.
    pub reload: ReloadFn,
}

impl std::fmt::Debug for Controls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Controls").finish_non_exhaustive()
    }
}

/// An admin socket that exists, and is removed when this is dropped.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    _place: Place,
}

impl AdminSocket {
    /// Makes the socket, and its directory with mode 0700 when there is none. Needs a
    /// tokio runtime.
    pub fn bind(path: &Path) -> Result<Self, AdminSocketError> {
        let io_error = |source| AdminSocketError::Bind {
            path: path.to_owned(),
            source,
        };
        let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io_error(io::ErrorKind::InvalidFilename.into()));
        };
        let dir = if dir.as_os_str().is_empty() {
            Path::new(".")
        } else {
            disk::create_dir(dir)?;
            dir
        };
        // Between two servers that start at once, only a lock decides: each could take the
        // other's socket for a dead one's.
        let lock = Lock::try_acquire(dir, &format!("{}.lock", name.to_string_lossy()))?;
        let Some(lock) = lock else {
            return Err(AdminSocketError::Taken(path.to_owned()));
        };
        make_room(path)?;
        let socket = listen(path).map_err(io_error)?;
        let found = std::fs::symlink_metadata(path).map_err(io_error)?;
        let place = Place {
            path: path.to_owned(),
            identity: identity(&found),
            _lock: lock,
        };
        Ok(Self {
            listener: UnixListener::from_std(socket).map_err(io_error)?,
            _place: place,
        })
    }

    /// Answers until the server has stopped: until `ended` is done.
    pub async fn serve(self, controls: Controls, ended: impl Future<Output = ()>) {
        let ours = rustix::process::geteuid().as_raw();
        let answering = TaskTracker::new();
        let accepting = async {
            let places = Arc::new(Semaphore::new(CONNECTIONS));
            loop {
                let place = Arc::clone(&places).acquire_owned().await;
                let Ok((stream, _)) = self.listener.accept().await else {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                };
                if !is_welcome(&stream, ours) {
                    continue;
                }
                let controls = controls.clone();
                answering.spawn(async move {
                    let _place = place;
                    // Who is too slow is not told so.
                    let _ = tokio::time::timeout(PATIENCE, converse(stream, controls)).await;
                });
            }
        };
        tokio::select! {
            () = accepting => {}
            () = ended => {}
        }
        answering.close();
        let _ = tokio::time::timeout(FAREWELL, answering.wait()).await;
    }
}

/// A name in the file system, with the socket that is ours there.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    identity: (u64, u64),
    /// Held until the socket is removed.
    _lock: Lock,
}

impl Drop for Place {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| identity(&found) == self.identity)
            && let Err(error) = disk::remove_file(&self.path)
        {
            tracing::warn!(%error, "the admin socket is left behind");
        }
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Removes what a dead server left.
fn make_room(path: &Path) -> Result<(), AdminSocketError> {
    let Ok(found) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(AdminSocketError::NotASocket(path.to_owned()));
    }
    match StdUnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            tracing::info!(path = %path.display(), "replacing the admin socket of a server that is gone");
            Ok(disk::remove_file(path)?)
        }
        // Somebody listens, or may: we are not the one to end that.
        _ => Err(AdminSocketError::Taken(path.to_owned())),
    }
}

/// A listening socket at `path`. Linux gives the file the mode of the socket, less the
/// umask, so there is no moment in which others could connect.
fn listen(path: &Path) -> io::Result<std::os::unix::net::UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(MODE))?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_welcome(stream: &UnixStream, ours: u32) -> bool {
    let uid = stream.peer_cred().map(|peer| peer.uid());
    let welcome = uid.as_ref().is_ok_and(|uid| *uid == 0 || *uid == ours);
    if !welcome {
        tracing::warn!(?uid, "somebody else was turned away from the admin socket");
    }
    welcome
}

async fn converse(stream: UnixStream, controls: Controls) {
    let controls = Arc::new(controls);
    let service = service_fn(move |request: Request<Incoming>| {
        let controls = Arc::clone(&controls);
        async move { Ok::<_, Infallible>(controls.answer(&request).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the admin socket ended");
    }
}

const READING: &str = "GET, HEAD";
const ACTING: &str = "POST";

impl Controls {
    async fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let allowed = if matches!(path, "/reload" | "/stop") {
            ACTING
        } else {
            READING
        };
        if !allowed.split(", ").any(|m| m == request.method().as_str()) {
            let words = format!("{path} takes {allowed}");
            let mut refusal = words_as(StatusCode::METHOD_NOT_ALLOWED, words);
            refusal
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static(allowed));
            return refusal;
        }
        match path {
            "/status" => json(StatusCode::OK, &self.telemetry.status()),
            "/reload" => match (self.reload)().await {
                Ok(words) => words_as(StatusCode::OK, words),
                Err(words) => words_as(StatusCode::CONFLICT, words),
            },
            "/stop" => {
                self.shutdown.stop();
                words_as(StatusCode::ACCEPTED, "stopping".to_owned())
            }
            path => self.tell(path).await,
        }
    }

    async fn tell(&self, path: &str) -> Response<Full<Bytes>> {
        let admin = Admin {
            provisioning: self.provisioning.clone(),
            shutdown: self.shutdown.clone(),
            telemetry: self.telemetry.clone(),
        };
        match admin.tell(path).await {
            Some(Told::Words(status, words)) => words_as(status, words.to_owned()),
            Some(Told::Metrics(text)) => respond(StatusCode::OK, super::admin::EXPOSITION, text),
            None => words_as(
                StatusCode::NOT_FOUND,
                "there are /status, /health, /ready, /metrics, /reload and /stop".to_owned(),
            ),
        }
    }
}

fn words_as(status: StatusCode, mut words: String) -> Response<Full<Bytes>> {
    words.push('\n');
    let kind = HeaderValue::from_static("text/plain; charset=utf-8");
    respond(status, kind, words)
}

fn json(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let kind = HeaderValue::from_static("application/json");
    respond(status, kind, format!("{value:#}\n"))
}

fn respond(status: StatusCode, kind: HeaderValue, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
    response
}

/// Why there is no admin socket.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// A server that runs answers there.
    #[error("another server answers at the admin socket `{}`", .0.display())]
    Taken(PathBuf),
    /// There is something that no server has made.
    #[error("`{}` exists and is no socket", .0.display())]
    NotASocket(PathBuf),
    /// The socket cannot be made.
    #[error("could not make the admin socket `{}`", path.display())]
    Bind {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Its directory or its lock cannot be made.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AdminSocketError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Taken(_) => Some("stop it first, or give this one another path".to_owned()),
            Self::NotASocket(path) => Some(format!(
                "move `{}` away, or choose another path",
                path.display()
            )),
            Self::Bind { path, .. } => (path.as_os_str().len() > 107)
                .then(|| "a socket's path has at most 107 bytes: choose a shorter one".to_owned()),
            Self::Store(error) => error.hint(),
        }
    }
}

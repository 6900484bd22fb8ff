//! One upstream server and the connections to it.
//!
//! Rules kept here: a connection carries one request at a time on HTTP/1.1 and is
//! used again only after the whole answer was read; what waits unused is bounded and
//! closed after a while; whoever holds a connection counts as load.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::future::Either;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::body::Outgoing;
use super::health::Health;
use crate::clock::Throttle;
use crate::finding::words::causes;
use crate::settings::{UpstreamProtocol, UpstreamServer};

/// How long an unused connection is kept.
const IDLE: Duration = Duration::from_secs(30);

/// Most unused connections that are kept.
const MAX_IDLE: usize = 256;

/// Most requests at the same time on one HTTP/2 connection; more open another.
const MAX_STREAMS: usize = 100;

/// Largest header of an answer, in bytes.
const MAX_HEADER: u32 = 64 * 1024;

/// Most lines in the header of an answer.
const MAX_HEADER_LINES: usize = 100;

/// When the kernel begins to ask whether a silent upstream is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// How often a failure is logged.
const SAY_AGAIN: Duration = Duration::from_secs(5);

/// How TLS is spoken to upstreams: with either version of HTTP, or with 1.1 alone,
/// which is the one that can change protocols.
#[derive(Debug, Clone)]
pub(super) struct UpstreamTls {
    any: Arc<ClientConfig>,
    http1: Arc<ClientConfig>,
}

impl UpstreamTls {
    pub(super) fn new(roots: rustls::RootCertStore) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let http1 = Arc::new(config.clone());
        config.alpn_protocols.insert(0, b"h2".to_vec());
        Ok(Self {
            any: Arc::new(config),
            http1,
        })
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoConnection {
    /// Its name has no address, or none of them answers.
    #[error("could not connect")]
    Connect(#[source] io::Error),
    /// TLS to it failed.
    #[error("no TLS to it")]
    Tls(#[source] io::Error),
    /// It does not take the first bytes of HTTP.
    #[error("no HTTP to it")]
    Http(#[source] hyper::Error),
    /// It did not answer in time.
    #[error("no connection within {0:?}")]
    TimedOut(Duration),
}

/// One server.
#[derive(Debug)]
pub(super) struct Backend {
    pub(super) server: UpstreamServer,
    pub(super) health: Health,
    pub(super) trouble: Throttle,
    connect: Duration,
    tls: Option<UpstreamTls>,
    load: AtomicUsize,
    idle: Mutex<Idle>,
    shared: Mutex<Vec<Shared>>,
    /// Whether TLS led to HTTP/2 the last time.
    speaks_http2: AtomicBool,
    /// Held while the one HTTP/2 connection that many wait for is made.
    connecting: tokio::sync::Mutex<()>,
}

/// Unused HTTP/1.1 connections, the longest unused first.
#[derive(Debug, Default)]
struct Idle {
    connections: Vec<(Instant, http1::SendRequest<Outgoing>)>,
    sweeping: bool,
}

/// An HTTP/2 connection, and its users counted by their tickets.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    sender: http2::SendRequest<Outgoing>,
    tickets: Arc<()>,
}

impl Shared {
    fn has_room(&self) -> bool {
        let users = Arc::strong_count(&self.tickets).saturating_sub(1);
        users < MAX_STREAMS
    }
}

/// A connection that can take a request now.
#[derive(Debug)]
pub(super) enum Channel {
    Http1(http1::SendRequest<Outgoing>),
    Http2(Shared),
}

impl Channel {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    /// Sends one request. The error has the request when none of it was sent.
    pub(super) fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Outgoing>>>> {
        match self {
            Self::Http1(sender) => Either::Left(sender.try_send_request(request)),
            Self::Http2(shared) => Either::Right(shared.sender.try_send_request(request)),
        }
    }
}

/// The load of one request, until it is dropped.
#[derive(Debug)]
pub(super) struct Load(Arc<Backend>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Relaxed);
    }
}

/// A connection in use, until the answer has ended.
#[derive(Debug)]
pub(super) struct Lease {
    channel: Option<Channel>,
    load: Load,
}

impl Lease {
    pub(super) fn new(channel: Channel, load: Load) -> Self {
        Self {
            channel: Some(channel),
            load,
        }
    }

    /// Who is connected to.
    pub(super) fn server(&self) -> &UpstreamServer {
        &self.load.0.server
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(Channel::Http1(mut sender)) = self.channel.take() else {
            return;
        };
        let backend = &self.load.0;
        if sender.is_ready() {
            backend.put_back(sender);
        } else if !sender.is_closed()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            // The connection has a last step to make, or closes because the answer
            // was not read to its end.
            let backend = Arc::clone(backend);
            runtime.spawn(async move {
                if sender.ready().await.is_ok() {
                    backend.put_back(sender);
                }
            });
        }
    }
}

impl Backend {
    pub(super) fn new(server: UpstreamServer, connect: Duration, tls: Option<UpstreamTls>) -> Self {
        Self {
            server,
            health: Health::new(),
            trouble: Throttle::new(SAY_AGAIN),
            connect,
            tls,
            load: AtomicUsize::new(0),
            idle: Mutex::default(),
            shared: Mutex::default(),
            speaks_http2: AtomicBool::new(false),
            connecting: tokio::sync::Mutex::new(()),
        }
    }

    /// Requests that are under way.
    pub(super) fn load(&self) -> usize {
        self.load.load(Relaxed)
    }

    pub(super) fn begin(self: &Arc<Self>) -> Load {
        self.load.fetch_add(1, Relaxed);
        Load(Arc::clone(self))
    }

    /// A connection that was used before; it may be gone without our knowing yet.
    pub(super) fn used(&self, http1_only: bool) -> Option<Channel> {
        if !http1_only && let Some(channel) = self.shared_channel() {
            return Some(channel);
        }
        let mut idle = self.idle();
        while let Some((since, sender)) = idle.connections.pop() {
            if sender.is_ready() && since.elapsed() < IDLE {
                return Some(Channel::Http1(sender));
            }
        }
        None
    }

    /// A connection for a request, new unless others just made one that it can share.
    pub(super) async fn open(self: &Arc<Self>, http1_only: bool) -> Result<Channel, NoConnection> {
        let opening = async {
            let http2 = match self.server.protocol() {
                UpstreamProtocol::Http => false,
                UpstreamProtocol::H2c => true,
                UpstreamProtocol::Https => !http1_only && self.speaks_http2.load(Relaxed),
            };
            if !http2 {
                return self.connect(http1_only).await;
            }
            let _one_at_a_time = self.connecting.lock().await;
            match self.shared_channel() {
                Some(channel) => Ok(channel),
                None => self.connect(http1_only).await,
            }
        };
        tokio::time::timeout(self.connect, opening)
            .await
            .unwrap_or(Err(NoConnection::TimedOut(self.connect)))
    }

    async fn connect(self: &Arc<Self>, http1_only: bool) -> Result<Channel, NoConnection> {
        let stream = self.tcp().await.map_err(NoConnection::Connect)?;
        let Some(tls) = &self.tls else {
            return match self.server.protocol() {
                UpstreamProtocol::H2c => self.http2(stream).await,
                UpstreamProtocol::Http | UpstreamProtocol::Https => http1(stream).await,
            };
        };
        let config = if http1_only { &tls.http1 } else { &tls.any };
        let invalid = |e| NoConnection::Tls(io::Error::new(io::ErrorKind::InvalidInput, e));
        let name = ServerName::try_from(self.host().to_owned()).map_err(invalid)?;
        let connector = TlsConnector::from(Arc::clone(config));
        let stream = connector
            .connect(name, stream)
            .await
            .map_err(NoConnection::Tls)?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        if !http1_only {
            self.speaks_http2.store(http2, Relaxed);
        }
        if http2 {
            self.http2(stream).await
        } else {
            http1(stream).await
        }
    }

    /// The host without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.server.authority().host().trim_matches(['[', ']'])
    }

    /// A connection to the first address that takes one; each gets an equal part of
    /// the time.
    async fn tcp(&self) -> io::Result<TcpStream> {
        let found = tokio::net::lookup_host((self.host(), self.server.port())).await?;
        let addresses: Vec<_> = found.collect();
        let part = self.connect / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
        let mut last = io::Error::new(io::ErrorKind::NotFound, "its name has no address");
        for address in addresses {
            match tokio::time::timeout(part, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE);
                    socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn http2<T>(self: &Arc<Self>, stream: T) -> Result<Channel, NoConnection>
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEADER)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(NoConnection::Http)?;
        drive(connection);
        let shared = Shared {
            sender,
            tickets: Arc::new(()),
        };
        self.shared().push(shared.clone());
        self.sweep_later(&mut self.idle());
        Ok(Channel::Http2(shared))
    }

    /// A place on an HTTP/2 connection that is open.
    fn shared_channel(&self) -> Option<Channel> {
        if self.server.protocol() == UpstreamProtocol::Http {
            return None;
        }
        let mut shared = self.shared();
        shared.retain(|connection| !connection.sender.is_closed());
        let free = shared.iter().find(|connection| connection.has_room())?;
        Some(Channel::Http2(free.clone()))
    }

    fn put_back(self: &Arc<Self>, sender: http1::SendRequest<Outgoing>) {
        let mut idle = self.idle();
        if idle.connections.len() < MAX_IDLE {
            idle.connections.push((Instant::now(), sender));
            self.sweep_later(&mut idle);
        }
    }

    /// Sees to it that what nobody uses any more is closed.
    fn sweep_later(self: &Arc<Self>, idle: &mut Idle) {
        if idle.sweeping {
            return;
        }
        idle.sweeping = true;
        tokio::spawn(sweep(Arc::downgrade(self)));
    }

    /// Closes what has been unused for long; whether anything is left.
    fn swept(&self) -> bool {
        let mut idle = self.idle();
        let fresh = |(since, sender): &(Instant, http1::SendRequest<_>)| {
            since.elapsed() < IDLE && !sender.is_closed()
        };
        idle.connections.retain(fresh);
        let mut shared = self.shared();
        // An HTTP/2 connection lives for one sweep after its last user at most.
        shared.retain(|s| !s.sender.is_closed() && Arc::strong_count(&s.tickets) > 1);
        idle.sweeping = !(idle.connections.is_empty() && shared.is_empty());
        idle.sweeping
    }

    // The lists are whole after every step, also one that panicked.
    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shared(&self) -> MutexGuard<'_, Vec<Shared>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sweep(backend: Weak<Backend>) {
    loop {
        tokio::time::sleep(IDLE).await;
        match backend.upgrade() {
            Some(backend) if backend.swept() => {}
            _ => return,
        }
    }
}

async fn http1<T>(stream: T) -> Result<Channel, NoConnection>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(MAX_HEADER as usize)
        .max_header_size(MAX_HEADER as usize)
        .max_headers(MAX_HEADER_LINES)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(NoConnection::Http)?;
    drive(connection.with_upgrades());
    Ok(Channel::Http1(sender))
}

/// Moves the bytes of a connection until it ends; its users hear of errors.
fn drive(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) {
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a connection to an upstream ended: {}", causes(&error));
        }
    });
}

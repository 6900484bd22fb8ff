//! Listening sockets and what is done with each connection they take.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::Tasks;
use super::connection::{self, Connection, HttpBuilder, Io};
use super::respond::Handler;
use super::signals::Shutdown;
use super::throttle::Throttle;
use super::tls::{HandshakeError, Opened, Tls};
use crate::finding::words::causes;
use crate::settings::Limits;

/// Connections that may wait to be accepted, in the kernel.
const BACKLOG: i32 = 4096;

/// Wait before accepting again when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the same trouble of a listener is logged.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// When the kernel begins to ask whether a silent peer is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Everything that the connections of one listener share.
#[derive(Debug)]
pub(super) struct Serving {
    pub(super) handler: Arc<Handler>,
    /// Answers plain HTTP on a TLS port.
    switch: Arc<Handler>,
    tls: Option<Tls>,
    pub(super) http: HttpBuilder,
    pub(super) limits: Limits,
    connections: Arc<Semaphore>,
    tasks: Tasks,
    pub(super) shutdown: Shutdown,
    full: Throttle,
    exhausted: Throttle,
}

impl Serving {
    pub(super) fn new(
        handler: Handler,
        tls: Option<Tls>,
        limits: Limits,
        tasks: Tasks,
        shutdown: Shutdown,
    ) -> Self {
        Self {
            handler: Arc::new(handler),
            switch: Arc::new(Handler::SwitchToTls(
                tls.as_ref().map(|tls| Arc::clone(tls.certificates())),
            )),
            tls,
            http: connection::http_builder(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            limits,
            tasks,
            shutdown,
            full: Throttle::new(SAY_AGAIN),
            exhausted: Throttle::new(SAY_AGAIN),
        }
    }
}

/// Opens a listening socket that does not block.
pub(super) fn bind(address: SocketAddr, limits: &Limits) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // Restarting must not wait for old connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Linux hands these on to each accepted connection, which saves the calls there.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    let stall = u32::try_from(limits.stall.as_millis()).unwrap_or(u32::MAX);
    rustix::net::sockopt::set_tcp_user_timeout(&socket, stall)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Raises the soft limit of open descriptors to the hard one: each connection
/// needs one, and a proxied connection two. Returns the limit then in force,
/// `None` when there is none.
pub fn raise_descriptor_limit() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

/// Accepts until a stop is asked for. The socket is closed on return.
pub(super) async fn accept_loop(listener: tokio::net::TcpListener, serving: Arc<Serving>) {
    let graceful = serving.shutdown.graceful().clone();
    loop {
        // Taken before accepting: past the limit, clients wait in the backlog.
        let Some(permit) = graceful.run_until_cancelled(permit(&serving)).await else {
            return;
        };
        match graceful.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, peer))) => {
                let shared = Arc::clone(&serving);
                serving.tasks.spawn(handle(stream, peer, permit, shared));
            }
            Some(Err(error)) => {
                drop(permit);
                graceful
                    .run_until_cancelled(accept_failed(&error, &serving))
                    .await;
            }
        }
    }
}

async fn permit(serving: &Serving) -> OwnedSemaphorePermit {
    let semaphore = &serving.connections;
    if let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() {
        return permit;
    }
    if serving.full.admit().is_some() {
        tracing::warn!(
            "{} connections are open, the limit: new ones wait",
            serving.limits.connections
        );
    }
    Arc::clone(semaphore)
        .acquire_owned()
        .await
        .expect("the semaphore is never closed")
}

async fn accept_failed(error: &io::Error, serving: &Serving) {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    let exhausted = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    if errno.is_some_and(|errno| exhausted.contains(&errno)) {
        if serving.exhausted.admit().is_some() {
            tracing::error!(
                "cannot accept connections: {error}; they wait until others close \
                 (raise the limit of open files, `LimitNOFILE=` of a service)"
            );
        }
        tokio::time::sleep(PAUSE).await;
    } else {
        // The client went away before it was accepted (ECONNABORTED and the like).
        tracing::debug!("a connection was lost before it was accepted: {error}");
    }
}

/// One connection from accept to close.
async fn handle(
    stream: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    serving: Arc<Serving>,
) {
    let (io, connection, handler) = match open(stream, peer, &serving).await {
        Ok(Some(opened)) => opened,
        Ok(None) => return tracing::debug!(%peer, "answered a tls-alpn-01 validation"),
        Err(error) => {
            let cause = causes(&error);
            return tracing::debug!(%peer, "no handshake: {cause}");
        }
    };
    // In a box of its own, so that a stalled handshake does not hold room for it.
    let served = Box::pin(connection::serve(io, permit, connection, handler, &serving));
    if let Err(error) = served.await {
        let cause = causes(&*error);
        tracing::debug!(%peer, "the connection ended: {cause}");
    }
}

/// What a connection turned out to be; `None` when it has already been answered.
async fn open(
    stream: TcpStream,
    peer: SocketAddr,
    serving: &Serving,
) -> Result<Option<(Io, Arc<Connection>, Arc<Handler>)>, HandshakeError> {
    let local = stream.local_addr().map_err(HandshakeError::Io)?;
    let mut connection = Connection::new(local, peer);
    let Some(tls) = &serving.tls else {
        let handler = Arc::clone(&serving.handler);
        return Ok(Some((Io::Plain(stream), Arc::new(connection), handler)));
    };
    // One deadline for the whole handshake, however it is cut into pieces.
    let deadline = Instant::now() + serving.limits.handshake;
    let opening = tls.open(stream, connection.local.ip());
    let graceful = serving.shutdown.graceful();
    let opened = graceful
        .run_until_cancelled(timeout_at(deadline, opening))
        .await
        .ok_or(HandshakeError::Stopping)?
        .map_err(|_| HandshakeError::TimedOut)??;
    match opened {
        Opened::Tls(stream, session) => {
            connection.tls = Some(session);
            let handler = Arc::clone(&serving.handler);
            Ok(Some((Io::Tls(stream), Arc::new(connection), handler)))
        }
        Opened::PlainHttp(stream) => {
            let handler = Arc::clone(&serving.switch);
            Ok(Some((Io::Plain(stream), Arc::new(connection), handler)))
        }
        Opened::Validation => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_inherit_what_was_set_on_the_listener() {
        let limits = Limits::default();
        let listener = bind("127.0.0.1:0".parse().unwrap(), &limits).unwrap();
        let _client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = loop {
            match listener.accept() {
                Ok(accepted) => break accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(e) => panic!("{e}"),
            }
        };
        assert!(accepted.nodelay().unwrap());
        assert!(socket2::SockRef::from(&accepted).keepalive().unwrap());
        assert_eq!(
            rustix::net::sockopt::tcp_user_timeout(&accepted).unwrap(),
            60_000
        );
    }
}

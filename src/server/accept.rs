//! Listening sockets and what is done with each connection they take.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use ipnet::IpNet;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Tasks;
use super::clients::{Clients, Seat};
use super::connection::{self, Connection, HttpBuilder, Io};
use super::gate::Gate;
use super::idle::Idlers;
use super::proxy_protocol::{self, HeaderError};
use super::respond::Handler;
use super::signals::Shutdown;
use super::telemetry::Witness;
use super::tls::{HandshakeError, Opened, Tls};
use crate::clock::Throttle;
use crate::finding::words::causes;
use crate::net::client::ClientPrefix;
use crate::settings::{Limits, ListenerSettings};

/// Connections that may wait to be accepted, in the kernel.
const BACKLOG: i32 = 4096;

/// Wait before accepting again when the process is out of descriptors, and before
/// looking again for idle connections when all places are taken.
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
    /// Answers while the certificate of the name asked for is being made.
    pending: Arc<Handler>,
    tls: Option<Tls>,
    pub(super) http: HttpBuilder,
    pub(super) limits: Limits,
    pub(super) gate: Arc<Gate>,
    pub(super) idlers: Arc<Idlers>,
    connections: Arc<Semaphore>,
    clients: Arc<Clients>,
    /// Who begins with a PROXY protocol header.
    balancers: Vec<IpNet>,
    tasks: Tasks,
    /// Of those that began under these settings.
    pub(super) shutdown: Shutdown,
    pub(super) witness: Witness,
    full: Throttle,
    exhausted: Throttle,
    refused: Throttle,
}

/// A connection's place among those that are counted; free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    _connection: OwnedSemaphorePermit,
    /// Among those of its client.
    _client: Seat,
}

impl Place {
    fn new(connection: OwnedSemaphorePermit, client: Seat) -> Self {
        Self {
            _connection: connection,
            _client: client,
        }
    }
}

/// Why a connection is closed before anything else.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// [`Limits::connections_per_client`].
    #[error("{0} has as many connections as one client may have")]
    ClientFull(ClientPrefix),
    /// A load balancer did not say whom it speaks for.
    #[error("no word of whom the load balancer speaks for")]
    Unannounced(#[source] HeaderError),
}

impl Refusal {
    /// A label for counters.
    fn outcome(&self) -> &'static str {
        match self {
            Self::ClientFull(_) => "client_full",
            Self::Unannounced(error) => error.outcome(),
        }
    }
}

impl Serving {
    pub(super) fn new(
        handler: Handler,
        tls: Option<Tls>,
        settings: ListenerSettings,
        tasks: Tasks,
        shutdown: Shutdown,
        witness: Witness,
    ) -> Self {
        let ListenerSettings {
            limits,
            proxy_protocol,
            ..
        } = settings;
        Self {
            handler: Arc::new(handler),
            switch: Arc::new(Handler::SwitchToTls(
                tls.as_ref().map(|tls| Arc::clone(tls.certificates())),
            )),
            pending: Arc::new(Handler::Pending),
            tls,
            http: connection::http_builder(&limits),
            gate: Arc::new(Gate::new(&limits, &witness)),
            idlers: Arc::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            clients: Arc::new(Clients::new(limits.connections_per_client)),
            balancers: proxy_protocol,
            limits,
            tasks,
            shutdown,
            witness,
            full: Throttle::new(SAY_AGAIN),
            exhausted: Throttle::new(SAY_AGAIN),
            refused: Throttle::new(SAY_AGAIN),
        }
    }

    fn is_balancer(&self, peer: SocketAddr) -> bool {
        let peer = peer.ip().to_canonical();
        self.balancers.iter().any(|network| network.contains(&peer))
    }

    /// A place among the connections of `client`.
    fn seat(&self, client: SocketAddr) -> Result<Seat, Refusal> {
        let client = ClientPrefix::from(client.ip());
        let seat = self.clients.admit(client);
        seat.ok_or(Refusal::ClientFull(client))
    }

    /// Closes a connection at once.
    fn refuse(&self, stream: &TcpStream, peer: SocketAddr, refusal: &Refusal) {
        // Without a word and without a trace in the kernel; if it cannot be done so,
        // it is closed in the usual way.
        let _ = stream.set_zero_linger();
        let (outcome, cause) = (refusal.outcome(), causes(refusal));
        self.witness.counts().refused.count(outcome);
        if let Some(unlogged) = self.refused.admit() {
            tracing::warn!(%peer, outcome, unlogged, "a connection was refused: {cause}");
        }
    }
}

impl Serving {
    /// Takes over from `old` what counts the connections of a listener across reloads.
    pub(super) fn succeeding(mut self, old: &Self) -> Self {
        let (before, now) = (old.limits.connections, self.limits.connections);
        self.connections = Arc::clone(&old.connections);
        self.idlers = Arc::clone(&old.idlers);
        self.clients = Arc::clone(&old.clients);
        self.clients.change(self.limits.connections_per_client);
        if (old.limits.rate, old.limits.body) == (self.limits.rate, self.limits.body) {
            // Who has asked too often is not forgiven.
            self.gate = Arc::clone(&old.gate);
        }
        if now > before {
            self.connections.add_permits(now - before);
        } else if let Ok(fewer @ 1..) = u32::try_from(before - now) {
            // Those that are taken fall away as they come back.
            let connections = Arc::clone(&self.connections);
            tokio::spawn(async move {
                if let Ok(permits) = connections.acquire_many_owned(fewer).await {
                    permits.forget();
                }
            });
        }
        self
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
    socket.bind(&address.into())?;
    prepare(&socket, limits)?;
    Ok(socket.into())
}

/// Makes a socket that somebody else has bound like one of [`bind`]'s.
pub(super) fn adopt(socket: TcpListener, limits: &Limits) -> io::Result<TcpListener> {
    let socket = Socket::from(socket);
    prepare(&socket, limits)?;
    Ok(socket.into())
}

fn prepare(socket: &Socket, limits: &Limits) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    // Linux hands these on to each accepted connection, which saves the calls there.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE))?;
    set_stall(socket, limits)?;
    // The kernel takes a second call as a new length of the backlog.
    socket.listen(BACKLOG)
}

/// Stops listening, so that a socket with an overlapping address can begin to; what was
/// not accepted yet is lost.
pub(super) fn stand_aside(socket: impl std::os::fd::AsFd) -> io::Result<()> {
    // The address stays bound; that harms nobody who may reuse it.
    Ok(rustix::net::shutdown(&socket, rustix::net::Shutdown::Read)?)
}

/// How long the kernel waits for a client that takes nothing.
pub(super) fn set_stall(socket: impl std::os::fd::AsFd, limits: &Limits) -> io::Result<()> {
    let stall = u32::try_from(limits.stall.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(&socket, stall)?)
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

/// Accepts until `closed`; each connection is served by what `current` holds when it
/// comes.
pub(super) async fn accept_loop(
    listener: Arc<tokio::net::TcpListener>,
    current: Arc<ArcSwap<Serving>>,
    closed: CancellationToken,
) {
    loop {
        match closed.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, peer))) => {
                let serving = current.load_full();
                tokio::select! {
                    biased;
                    // Who is accepted while it closes has a place, if there is one.
                    () = admit(stream, peer, &serving) => {}
                    () = closed.cancelled() => return,
                }
            }
            Some(Err(error)) => {
                let serving = current.load_full();
                closed
                    .run_until_cancelled(accept_failed(&error, &serving))
                    .await;
            }
        }
    }
}

/// Gives a new connection its place. Past the limit it waits for one, and the others
/// wait in the backlog.
async fn admit(stream: TcpStream, peer: SocketAddr, serving: &Arc<Serving>) {
    let shared = Arc::clone(serving);
    if serving.is_balancer(peer) {
        let permit = permit(serving).await;
        serving.tasks.spawn(introduce(stream, peer, permit, shared));
        return;
    }
    // Who has too many already is not worth waiting for.
    match serving.seat(peer) {
        Ok(seat) => {
            let place = Place::new(permit(serving).await, seat);
            serving.tasks.spawn(meet(stream, peer, place, shared));
        }
        Err(refusal) => serving.refuse(&stream, peer, &refusal),
    }
}

async fn permit(serving: &Serving) -> OwnedSemaphorePermit {
    let semaphore = &serving.connections;
    if let Ok(permit) = Arc::clone(semaphore).try_acquire_owned() {
        return permit;
    }
    if serving.full.admit().is_some() {
        tracing::warn!(
            "{} connections are open, the limit: new ones wait for idle ones to leave",
            serving.limits.connections
        );
    }
    loop {
        serving.idlers.make_room();
        let freed = Arc::clone(semaphore).acquire_owned();
        if let Ok(permit) = tokio::time::timeout(PAUSE, freed).await {
            return permit.expect("the semaphore is never closed");
        }
    }
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
    } else if errno == Some(Errno::INVAL) {
        // The listener stands aside; it is closed soon.
        tokio::time::sleep(PAUSE).await;
    } else {
        // The client went away before it was accepted (ECONNABORTED and the like).
        tracing::debug!("a connection was lost before it was accepted: {error}");
    }
}

/// A load balancer's connection: who is behind it comes first.
async fn introduce(
    mut stream: TcpStream,
    balancer: SocketAddr,
    permit: OwnedSemaphorePermit,
    serving: Arc<Serving>,
) {
    let deadline = Instant::now() + serving.limits.handshake;
    let header = timeout_at(deadline, proxy_protocol::read(&mut stream));
    // In a box of its own: it is gone before the handshake begins.
    let header = Box::pin(serving.shutdown.graceful().run_until_cancelled(header));
    let ends = match header.await {
        None => return,
        Some(Ok(Ok(ends))) => ends,
        Some(Ok(Err(error))) => {
            return serving.refuse(&stream, balancer, &Refusal::Unannounced(error));
        }
        Some(Err(_)) => {
            let refusal = Refusal::Unannounced(HeaderError::TimedOut);
            return serving.refuse(&stream, balancer, &refusal);
        }
    };
    let peer = ends.map_or(balancer, |ends| ends.source);
    let place = match serving.seat(peer) {
        Ok(seat) => Place::new(permit, seat),
        Err(refusal) => return serving.refuse(&stream, peer, &refusal),
    };
    let local = ends.map_or_else(|| stream.local_addr(), |ends| Ok(ends.destination));
    let Ok(local) = local else { return };
    let connection = Connection::new(local, peer);
    Box::pin(handle(stream, connection, place, deadline, serving)).await;
}

/// A client's own connection.
async fn meet(stream: TcpStream, peer: SocketAddr, place: Place, serving: Arc<Serving>) {
    let deadline = Instant::now() + serving.limits.handshake;
    match stream.local_addr() {
        Ok(local) => {
            handle(
                stream,
                Connection::new(local, peer),
                place,
                deadline,
                serving,
            )
            .await
        }
        Err(error) => tracing::debug!(%peer, "a connection was lost: {error}"),
    }
}

/// One connection to its close. `deadline` is that of its handshake.
async fn handle(
    stream: TcpStream,
    connection: Connection,
    place: Place,
    deadline: Instant,
    serving: Arc<Serving>,
) {
    let _open = serving.witness.connection();
    let peer = connection.peer;
    let (io, connection, handler) = match open(stream, connection, deadline, &serving).await {
        Ok(Some(opened)) => opened,
        Ok(None) => return tracing::debug!(%peer, "answered a tls-alpn-01 validation"),
        Err(error) => {
            serving.witness.counts().handshakes.count(error.outcome());
            let cause = causes(&error);
            return tracing::debug!(%peer, outcome = error.outcome(), "no handshake: {cause}");
        }
    };
    // In a box of its own, so that a stalled handshake does not hold room for it.
    let served = Box::pin(connection::serve(io, place, connection, handler, &serving));
    if let Err(error) = served.await {
        let cause = causes(&*error);
        tracing::debug!(%peer, "the connection ended: {cause}");
    }
}

/// What a connection turned out to be; `None` when it has already been answered.
async fn open(
    stream: TcpStream,
    mut connection: Connection,
    deadline: Instant,
    serving: &Serving,
) -> Result<Option<(Io, Arc<Connection>, Arc<Handler>)>, HandshakeError> {
    let Some(tls) = &serving.tls else {
        let handler = Arc::clone(&serving.handler);
        return Ok(Some((Io::Plain(stream), Arc::new(connection), handler)));
    };
    // One deadline for the whole handshake, however it is cut into pieces.
    // In a box of its own, as each future that it is passed through has room for it.
    let opening = Box::pin(tls.open(stream, &connection, deadline));
    let graceful = serving.shutdown.graceful();
    let opened = graceful
        .run_until_cancelled(timeout_at(deadline, opening))
        .await
        .ok_or(HandshakeError::Stopping)?
        .map_err(|_| HandshakeError::TimedOut)??;
    let handshakes = &serving.witness.counts().handshakes;
    match opened {
        Opened::Tls(stream, session) => {
            let (outcome, handler) = match (session.stands_in, session.resumed) {
                (Some(_), _) => ("placeholder", &serving.pending),
                (None, true) => ("resumed", &serving.handler),
                (None, false) => ("full", &serving.handler),
            };
            handshakes.count(outcome);
            connection.tls = Some(session);
            let handler = Arc::clone(handler);
            Ok(Some((Io::Tls(stream), Arc::new(connection), handler)))
        }
        Opened::PlainHttp(stream) => {
            handshakes.count("plain_http");
            let handler = Arc::clone(&serving.switch);
            Ok(Some((Io::Plain(stream), Arc::new(connection), handler)))
        }
        Opened::Validation => {
            handshakes.count("validation");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificates::CertificateTable;
    use crate::clock::SystemClock;
    use crate::server::Telemetry;
    use crate::settings::{Content, TlsPolicy};

    fn serving(tls: Option<Tls>, limits: Limits) -> Serving {
        let settings = ListenerSettings {
            limits,
            ..ListenerSettings::new("127.0.0.1:0".parse().unwrap(), Content::Page)
        };
        let witness = Telemetry::default().listener("127.0.0.1:0");
        let (tasks, shutdown) = (Tasks::default(), Shutdown::new());
        Serving::new(
            Handler::SwitchToTls(None),
            tls,
            settings,
            tasks,
            shutdown,
            witness,
        )
    }

    /// What the tasks of connections hold while they wait for their clients, in
    /// bytes. A future that is passed from one to another is soon in each of them.
    #[tokio::test]
    async fn what_waits_for_a_client_is_small() {
        let (table, clock) = (CertificateTable::strict(), Arc::new(SystemClock) as Arc<_>);
        let tls = Tls::new(Arc::new(table), None, &TlsPolicy::default(), &clock).unwrap();
        let serving = Arc::new(serving(Some(tls), Limits::default()));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let connection = async || {
            let address = listener.local_addr().unwrap();
            let _client = TcpStream::connect(address).await.unwrap();
            listener.accept().await.unwrap()
        };
        let (stream, peer) = connection().await;
        let ends = Connection::new(peer, peer);
        let tls = serving.tls.as_ref().unwrap();
        let tls = tls.open(stream, &ends, Instant::now());
        let (stream, peer) = connection().await;
        let place = Place::new(permit(&serving).await, serving.seat(peer).unwrap());
        let own = meet(stream, peer, place, Arc::clone(&serving));
        let (stream, peer) = connection().await;
        let permit = permit(&serving).await;
        let passed_on = introduce(stream, peer, permit, Arc::clone(&serving));
        let sizes = [
            ("handshake", size_of_val(&tls), 800),
            ("connection", size_of_val(&own), 2500),
            ("connection by a balancer", size_of_val(&passed_on), 2500),
        ];
        for (what, size, most) in sizes {
            assert!(size < most, "{what}: {size} bytes");
        }
    }

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

    #[tokio::test]
    async fn a_limit_of_connections_changes_under_those_that_are_open() {
        let serving = |connections| {
            let limits = Limits {
                connections,
                ..Limits::default()
            };
            serving(None, limits)
        };
        let first = serving(3);
        let taken = permit(&first).await;
        let fewer = serving(1).succeeding(&first);
        while fewer.connections.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        drop(taken);
        let taken = permit(&fewer).await;
        assert_eq!(fewer.connections.available_permits(), 0);
        let more = serving(4).succeeding(&fewer);
        assert_eq!(more.connections.available_permits(), 3);
        drop(taken);
        assert_eq!(more.connections.available_permits(), 4);
    }
}

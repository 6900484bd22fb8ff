//! Solvers that listen by themselves while challenges are open, for a machine on
//! which nothing else has the port.
//!
//! Rules kept here: only open challenges are answered; the port is bound before
//! `present` returns and free when `clean_up` does; a connection has one deadline,
//! and there are never more than [`CONNECTIONS`].

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_rustls::LazyConfigAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::validation;
use super::{Challenge, ChallengeKind, ChallengeTable, HTTP_PREFIX, Solver, SolverError};
use crate::issuer::BoxFuture;

/// From accepting a connection to its end.
const DEADLINE: Duration = Duration::from_secs(5);
/// Connections at the same time; more wait in the listen backlog.
const CONNECTIONS: usize = 64;
/// Connections that may wait to be accepted, in the kernel.
const BACKLOG: i32 = 128;
/// Largest head of a request, in bytes.
const HEAD: usize = 8 * 1024;
/// Wait before accepting again when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers http-01 on a port of its own: 80, or what port 80 is forwarded to.
#[derive(Debug)]
pub struct StandaloneHttp01(Stand);

/// Answers tls-alpn-01 on a port of its own: 443, or what port 443 is forwarded to.
#[derive(Debug)]
pub struct StandaloneTlsAlpn01(Stand);

impl StandaloneHttp01 {
    /// A solver that listens on `address`; port 0 is refused, no CA would find it.
    pub fn new(address: SocketAddr) -> Result<Self, SolverError> {
        Stand::on(ChallengeKind::Http01, address).map(Self)
    }

    /// A solver on a port of the system's choice, for a CA that is told which.
    pub fn on_any_port(ip: IpAddr) -> Self {
        Self(Stand::new(ChallengeKind::Http01, SocketAddr::new(ip, 0)))
    }
}

impl StandaloneTlsAlpn01 {
    /// A solver that listens on `address`; port 0 is refused, no CA would find it.
    pub fn new(address: SocketAddr) -> Result<Self, SolverError> {
        Stand::on(ChallengeKind::TlsAlpn01, address).map(Self)
    }

    /// A solver on a port of the system's choice, for a CA that is told which.
    pub fn on_any_port(ip: IpAddr) -> Self {
        Self(Stand::new(ChallengeKind::TlsAlpn01, SocketAddr::new(ip, 0)))
    }
}

impl Solver for StandaloneHttp01 {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::Http01
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.0.present(challenges))
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.0.clean_up(challenges))
    }

    fn listening<'a>(&'a self) -> BoxFuture<'a, Option<SocketAddr>> {
        Box::pin(self.0.listening())
    }
}

impl Solver for StandaloneTlsAlpn01 {
    fn kind(&self) -> ChallengeKind {
        ChallengeKind::TlsAlpn01
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.0.present(challenges))
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.0.clean_up(challenges))
    }

    fn listening<'a>(&'a self) -> BoxFuture<'a, Option<SocketAddr>> {
        Box::pin(self.0.listening())
    }
}

/// What both kinds have in common: a port that is open while challenges are.
#[derive(Debug)]
struct Stand {
    kind: ChallengeKind,
    address: SocketAddr,
    deadline: Duration,
    table: Arc<ChallengeTable>,
    open: Mutex<Option<Open>>,
}

/// The listener while it runs; dropping it stops it.
#[derive(Debug)]
struct Open {
    address: SocketAddr,
    task: JoinHandle<()>,
    _stop: DropGuard,
}

impl Stand {
    fn on(kind: ChallengeKind, address: SocketAddr) -> Result<Self, SolverError> {
        if address.port() == 0 {
            return Err(SolverError::new(format!(
                "{kind} cannot be answered on port 0 of {}",
                address.ip()
            ))
            .hint(format!(
                "name port {}, or the one that it is forwarded to",
                port(kind)
            ))
            .permanent());
        }
        Ok(Self::new(kind, address))
    }

    fn new(kind: ChallengeKind, address: SocketAddr) -> Self {
        Self {
            kind,
            address,
            deadline: DEADLINE,
            table: Arc::default(),
            open: Mutex::new(None),
        }
    }

    async fn listening(&self) -> Option<SocketAddr> {
        self.open.lock().await.as_ref().map(|open| open.address)
    }

    async fn present(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        let mut open = self.open.lock().await;
        self.table.insert(challenges)?;
        if open.is_none() && !self.table.is_empty() {
            *open = Some(self.listen()?);
        }
        Ok(())
    }

    async fn clean_up(&self, challenges: &[Challenge]) -> Result<(), SolverError> {
        let mut open = self.open.lock().await;
        self.table.remove(challenges);
        if self.table.is_empty()
            && let Some(Open { task, _stop, .. }) = open.take()
        {
            drop(_stop);
            // So that the port is free for whoever comes next. It cannot fail: a panic
            // of one connection stays in that connection's task.
            let _ = task.await;
        }
        Ok(())
    }

    fn listen(&self) -> Result<Open, SolverError> {
        let failed = |e| could_not_listen(self.kind, self.address, e);
        let listener = bind(self.address).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let stop = CancellationToken::new();
        let accepting = accept_loop(listener, self.kind, self.deadline, Arc::clone(&self.table));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            stopped.run_until_cancelled(accepting).await;
        });
        tracing::debug!("listening on {address} for {} validations", self.kind);
        Ok(Open {
            address,
            task,
            _stop: stop.drop_guard(),
        })
    }
}

/// The port that CAs look at.
fn port(kind: ChallengeKind) -> u16 {
    if kind == ChallengeKind::TlsAlpn01 {
        443
    } else {
        80
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    // The next run must not wait for this one's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn could_not_listen(kind: ChallengeKind, address: SocketAddr, error: io::Error) -> SolverError {
    let number = address.port();
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => Some(format!(
            "another program listens there: `ss -ltnp 'sport = :{number}'` names it; stop it \
             for the moment, or let it serve the answers (`--webroot DIR`)"
        )),
        io::ErrorKind::PermissionDenied => Some(
            "ports below 1024 need a privilege: run as root or with CAP_NET_BIND_SERVICE, or \
             listen on a higher port that this one is forwarded to"
                .to_owned(),
        ),
        io::ErrorKind::AddrNotAvailable => Some(format!(
            "this machine has no address {}: `ip address` lists those it has",
            address.ip()
        )),
        _ => None,
    };
    SolverError {
        hint,
        // A busy port may be free again at the next attempt.
        permanent: matches!(
            error.kind(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::AddrNotAvailable
        ),
        ..SolverError::new(format!("could not listen on {address} to answer {kind}"))
            .caused_by(error)
    }
}

/// Accepts until dropped; what is open then is dropped with it.
async fn accept_loop(
    listener: TcpListener,
    kind: ChallengeKind,
    deadline: Duration,
    table: Arc<ChallengeTable>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let place = Arc::clone(&places)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((stream, peer)) => {
                let table = Arc::clone(&table);
                connections.spawn(async move {
                    let _place = place;
                    let answered = timeout(deadline, answer(stream, kind, &table)).await;
                    match answered {
                        Ok(Ok(())) => tracing::debug!(%peer, "answered a {kind} validation"),
                        Ok(Err(e)) => tracing::debug!(%peer, "no {kind} validation: {e}"),
                        Err(_) => tracing::debug!(%peer, "a {kind} connection took too long"),
                    }
                });
            }
            Err(error) => {
                tracing::debug!("a connection was lost before it was accepted: {error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn answer(
    stream: TcpStream,
    kind: ChallengeKind,
    table: &Arc<ChallengeTable>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    if kind == ChallengeKind::Http01 {
        return Ok(answer_http(stream, table).await?);
    }
    let start = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
    let Some(certificate) = validation::asked(&start.client_hello(), table) else {
        return Err("it asks for no open challenge".into());
    };
    Ok(validation::answer(start, certificate).await?)
}

async fn answer_http(stream: TcpStream, table: &Arc<ChallengeTable>) -> Result<(), hyper::Error> {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(table, request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .await
}

/// The answer to one request; hyper leaves the body away for HEAD.
fn respond(table: &ChallengeTable, method: &Method, path: &str) -> Response<Full<Bytes>> {
    let token = path.strip_prefix(HTTP_PREFIX);
    let answer = token.and_then(|token| table.http_answer(token));
    let readable = method == Method::GET || method == Method::HEAD;
    let (status, body) = match answer {
        Some(text) if readable => (StatusCode::OK, text.as_bytes().to_vec()),
        Some(_) => (StatusCode::METHOD_NOT_ALLOWED, Vec::new()),
        None => (StatusCode::NOT_FOUND, b"no such challenge\n".to_vec()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::challenge::tests::challenge;

    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ";

    async fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn the_port_is_open_while_a_challenge_is() {
        let solver = StandaloneHttp01::on_any_port(LOOPBACK);
        assert_eq!(solver.listening().await, None);
        let first = [challenge(ChallengeKind::Http01, "a.test", TOKEN)];
        let second = [challenge(
            ChallengeKind::Http01,
            "b.test",
            "0123456789abcdef",
        )];
        solver.clean_up(&first).await.unwrap();
        solver.present(&first).await.unwrap();
        let address = solver.listening().await.unwrap();
        solver.present(&second).await.unwrap();
        assert_eq!(solver.listening().await, Some(address));
        solver.clean_up(&second).await.unwrap();
        assert_eq!(solver.listening().await, Some(address));
        solver.clean_up(&first).await.unwrap();
        solver.clean_up(&first).await.unwrap();
        assert_eq!(solver.listening().await, None);
        std::net::TcpListener::bind(address).unwrap();
    }

    #[tokio::test]
    async fn open_tokens_are_answered_and_nothing_else() {
        let solver = StandaloneHttp01::on_any_port(LOOPBACK);
        let open = [challenge(ChallengeKind::Http01, "a.test", TOKEN)];
        solver.present(&open).await.unwrap();
        let address = solver.listening().await.unwrap();
        let long = format!("x: {}\r\n", "y".repeat(HEAD));
        let answer = open[0].key_authorization.as_str();
        for (method, path, more, status, body) in [
            ("GET", TOKEN, "", "200 OK", answer),
            ("HEAD", TOKEN, "", "200 OK", ""),
            ("POST", TOKEN, "content-length: 0\r\n", "405", ""),
            ("GET", "", "", "404", "no such challenge\n"),
            ("GET", "0123456789abcdef", "", "404", "no such challenge\n"),
            (
                "GET",
                "../../../../../etc/passwd",
                "",
                "404",
                "no such challenge\n",
            ),
            ("GET", TOKEN, &long, "431", ""),
        ] {
            let request = format!("{method} {HTTP_PREFIX}{path} HTTP/1.1\r\nhost: x\r\n{more}\r\n");
            let said = exchange(address, &request).await;
            let (head, found) = said.split_once("\r\n\r\n").unwrap();
            assert!(
                head.starts_with(&format!("HTTP/1.1 {status}")),
                "{path}: {head}"
            );
            assert_eq!(found, body, "{method} {path}");
        }
        assert!(
            exchange(address, "\x16\x03\x01 no HTTP\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 400")
        );
        solver.clean_up(&open).await.unwrap();
    }

    #[tokio::test]
    async fn a_silent_client_is_left_at_the_deadline() {
        for (kind, begun) in [
            (ChallengeKind::Http01, "GET / HTTP/1.1\r\n"),
            (ChallengeKind::TlsAlpn01, "\x16\x03\x01"),
        ] {
            let solver = Stand {
                deadline: Duration::from_millis(20),
                ..Stand::new(kind, SocketAddr::new(LOOPBACK, 0))
            };
            let open = [challenge(solver.kind, "a.test", TOKEN)];
            solver.present(&open).await.unwrap();
            let address = solver.listening().await.unwrap();
            let said = timeout(Duration::from_secs(30), exchange(address, begun)).await;
            assert_eq!(said.unwrap(), "", "{kind}");
        }
    }

    #[tokio::test]
    async fn a_port_that_is_taken_and_port_0_are_errors_with_a_remedy() {
        let taken = std::net::TcpListener::bind((LOOPBACK, 0)).unwrap();
        let address = taken.local_addr().unwrap();
        let solver = StandaloneTlsAlpn01::new(address).unwrap();
        let open = [challenge(ChallengeKind::TlsAlpn01, "a.test", TOKEN)];
        let error = solver.present(&open).await.unwrap_err();
        assert!(
            !error.permanent && error.message.contains(&address.to_string()),
            "{error}"
        );
        assert!(error.hint.unwrap().contains("ss -ltnp"));
        solver.clean_up(&open).await.unwrap();

        let error = StandaloneHttp01::new("127.0.0.1:0".parse().unwrap()).unwrap_err();
        assert!(error.permanent && error.hint.unwrap().contains("port 80"));
    }
}

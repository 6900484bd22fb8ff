//! An application behind a listener: it gets whole requests, and its answers are sent.
//!
//! Rules kept here: a body is read up to a cap and within a deadline before the
//! application sees the request; what all bodies that are being read take is bounded,
//! and one client leaves room for others; the request names its host in one way, whatever
//! version of HTTP it came by; all other duties of a server are done around it.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{CACHE_CONTROL, CONNECTION, EXPECT, HOST, HeaderValue};
use http::uri::Authority;
use http::{Request, Response, StatusCode, Uri, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::body::Body;
use super::clients::{Clients, Seat};
use super::connection::Connection;
use super::gate::{Gate, Refusal};
use super::respond::{NO_STORE, Words, linger, text};
use crate::net::client::ClientPrefix;
use crate::settings::Limits;

/// How long the whole of a body may take, unless a transfer may not even stand still for
/// so long: nobody has shown yet who they are.
const BODY_WITHIN: Duration = Duration::from_secs(15);
/// Bodies that are read at the same time.
const MAX_BODIES: usize = 1024;
/// The same of one client: an IPv4 address or an IPv6 /64.
const MAX_BODIES_PER_CLIENT: usize = 64;

/// Whoever answers the requests of a listener in place of its content.
///
/// A request comes with its body whole, its target as a path, and the host asked for in
/// its one `Host` header, if there is any. HEAD comes as HEAD; the body of the answer is
/// left away for it.
pub trait Application: Send + Sync + fmt::Debug {
    /// Longest body of a request, in bytes; a longer one is answered with 413. The
    /// listener's own limit holds as well. A thousand of them may be in memory while they
    /// are read.
    fn max_body(&self) -> u64;

    /// Answers one request of the client at `from`. Dropped when the client leaves.
    fn answer(
        &self,
        request: Request<Bytes>,
        from: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>>;

    /// The application's own words for a request that the listener refuses with `status`,
    /// because of `reason`, so that its clients understand it; `None` leaves it to the
    /// listener. `host` is what was asked for, where it is one of ours. The headers that
    /// the listener has for it are kept.
    fn refuse(
        &self,
        status: StatusCode,
        reason: &str,
        host: Option<&Authority>,
    ) -> Option<Response<Bytes>> {
        let _ = (status, reason, host);
        None
    }
}

/// An application within the limits of its listener.
#[derive(Debug)]
pub(super) struct Hosted {
    application: Arc<dyn Application>,
    /// Longest body, in bytes.
    body: u64,
    /// How long the whole of a body may take.
    within: Duration,
    readers: Readers,
}

/// Room for bodies that are being read.
#[derive(Debug)]
struct Readers {
    all: Semaphore,
    clients: Arc<Clients>,
}

/// Room for one body, until it is dropped.
#[derive(Debug)]
struct Reading<'a> {
    _room: SemaphorePermit<'a>,
    _seat: Seat,
}

impl Readers {
    fn new(all: usize, each: usize) -> Self {
        Self {
            all: Semaphore::new(all),
            clients: Arc::new(Clients::new(each)),
        }
    }

    fn admit(&self, client: ClientPrefix) -> Result<Reading<'_>, Refusal> {
        let seat = self.clients.admit(client).ok_or(Refusal::ManyBodies)?;
        let room = self.all.try_acquire().map_err(|_| Refusal::Busy)?;
        Ok(Reading {
            _room: room,
            _seat: seat,
        })
    }
}

/// Why a body is not there.
enum Missing {
    /// A limit stands against it; what is left of it.
    Refused(Refusal, Incoming),
    /// It did not come in time.
    Late,
    /// The client broke off.
    Broken,
}

impl Hosted {
    pub(super) fn new(application: Arc<dyn Application>, limits: &Limits) -> Self {
        Self {
            body: application.max_body().min(limits.body),
            within: limits.stall.min(BODY_WITHIN),
            readers: Readers::new(MAX_BODIES, MAX_BODIES_PER_CLIENT),
            application,
        }
    }

    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        host: Option<Authority>,
        connection: &Connection,
        gate: &Gate,
    ) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let version = parts.version;
        // A client that expects 100 has not sent its body yet, and need not; one that
        // speaks HTTP/2 may think otherwise.
        let waits = parts.headers.contains_key(EXPECT) && version != Version::HTTP_2;
        let body = match self.read(body, connection.peer.ip()).await {
            Ok(body) => body,
            Err(Missing::Refused(refusal, rest)) => {
                if !waits {
                    linger(rest);
                }
                return gate.refuse(refusal, version);
            }
            Err(Missing::Late) => return broken(StatusCode::REQUEST_TIMEOUT, version),
            Err(Missing::Broken) => return broken(StatusCode::BAD_REQUEST, version),
        };
        let path = parts.uri.path_and_query().cloned();
        parts.uri = path.map(Uri::from).unwrap_or_default();
        parts.headers.remove(HOST);
        if let Some(host) = host.and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            parts.headers.insert(HOST, host);
        }
        let request = Request::from_parts(parts, body);
        let answer = self.application.answer(request, connection.peer.ip()).await;
        answer.map(|bytes| match bytes.is_empty() {
            true => Body::empty(),
            false => Body::bytes(bytes),
        })
    }

    /// A refusal of the listener in the words of the application; other answers as they
    /// are.
    pub(super) fn in_its_words(
        &self,
        answer: Response<Body>,
        host: Option<&Authority>,
    ) -> Response<Body> {
        let Some(Words(reason)) = answer.extensions().get() else {
            return answer;
        };
        let host = host.filter(|_| answer.status() != StatusCode::MISDIRECTED_REQUEST);
        let worded = self.application.refuse(answer.status(), reason, host);
        let Some(worded) = worded else {
            return answer;
        };
        let (words, body) = worded.into_parts();
        let mut answer = answer.map(|_| Body::bytes(body));
        answer.headers_mut().extend(words.headers);
        answer
    }

    async fn read(&self, mut body: Incoming, client: IpAddr) -> Result<Bytes, Missing> {
        let told = body.size_hint().lower();
        if told > self.body {
            return Err(Missing::Refused(Refusal::BodyTooLong, body));
        }
        if body.is_end_stream() {
            return Ok(Bytes::new());
        }
        let _reading = match self.readers.admit(client.into()) {
            Ok(reading) => reading,
            Err(refusal) => return Err(Missing::Refused(refusal, body)),
        };
        let reading = async {
            let mut whole = Vec::with_capacity(length(told));
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Missing::Broken)?;
                let Ok(part) = frame.into_data() else {
                    continue;
                };
                if (whole.len() + part.len()) as u64 > self.body {
                    return Ok(None);
                }
                make_room(&mut whole, part.len(), length(self.body));
                whole.extend_from_slice(&part);
            }
            Ok(Some(Bytes::from(whole)))
        };
        match tokio::time::timeout(self.within, reading).await {
            Ok(Ok(Some(whole))) => Ok(whole),
            Ok(Ok(None)) => Err(Missing::Refused(Refusal::BodyTooLong, body)),
            Ok(Err(missing)) => Err(missing),
            Err(_) => Err(Missing::Late),
        }
    }
}

/// Room for `more` bytes: doubled as usual, but never past `most`.
fn make_room(whole: &mut Vec<u8>, more: usize, most: usize) {
    if whole.capacity() - whole.len() < more {
        let doubled = (whole.len() * 2).min(most);
        let wanted = doubled.max(whole.len() + more);
        whole.reserve_exact(wanted - whole.len());
    }
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// The answer to a body that did not come.
fn broken(status: StatusCode, version: Version) -> Response<Body> {
    let mut response = text(status, "the body of the request did not come");
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, NO_STORE);
    if version != Version::HTTP_2 {
        // What comes of it later is in the way of the next request.
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_read_so_many_at_a_time_for_each_client_and_for_all() {
        let readers = Readers::new(3, 2);
        let client = |last: u8| ClientPrefix::from(IpAddr::from([192, 0, 2, last]));
        let first = readers.admit(client(1)).unwrap();
        let _second = readers.admit(client(1)).unwrap();
        let refused = |last| readers.admit(client(last)).unwrap_err();
        assert_eq!(refused(1), Refusal::ManyBodies);
        let third = readers.admit(client(2)).unwrap();
        assert_eq!(refused(2), Refusal::Busy);
        assert_eq!(refused(3), Refusal::Busy);
        drop(first);
        let _again = readers.admit(client(1)).unwrap();
        drop(third);
        readers.admit(client(3)).unwrap();
    }

    #[test]
    fn a_body_takes_no_more_room_than_it_may_be_long() {
        let most = 1000;
        let mut whole = Vec::new();
        for part in [1, 100, 300, 200, 398, 1] {
            make_room(&mut whole, part, most);
            whole.resize(whole.len() + part, 0);
            assert!(whole.capacity() <= most, "{}", whole.capacity());
        }
        assert_eq!(whole.len(), most);
    }
}

//! Which headers pass a proxy.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    COOKIE, EXPECT, FORWARDED, HOST, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, SET_COOKIE, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;
use hyper::body::Bytes;

use crate::server::connection::Connection;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Headers that belong to one connection (RFC 9110 §7.6.1), besides those that
/// `Connection` names. `Expect` is answered by whoever reads the body, here.
const HOP_BY_HOP: [HeaderName; 10] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
    HeaderName::from_static("http2-settings"),
    EXPECT,
];

/// What `Connection` mostly names; taken away anyway.
const USUAL: [&str; 3] = ["keep-alive", "upgrade", "te"];

/// What a trusted proxy says of its client.
const KEPT_OF_PROXIES: [HeaderName; 5] = [
    FORWARDED,
    X_FORWARDED_FOR,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
    X_FORWARDED_PROTO,
];

/// What only a proxy says, whatever follows: also who the client is by its certificate,
/// ours (RFC 9440 and `X-Client-Cert-…`) and by the names that other proxies use.
const CLAIMS_BEGIN: [&str; 5] = [
    "x-forwarded-",
    "client-cert",
    "x-client-cert",
    "ssl-client-",
    "x-ssl-client-",
];

const CLAIMS: [&str; 2] = ["forwarded", "x-real-ip"];

/// What means nothing, or harm, after a body.
const NEVER_TRAILERS: [HeaderName; 9] = [
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    CONTENT_RANGE,
    CONTENT_TYPE,
    COOKIE,
    HOST,
    SET_COOKIE,
    TRAILER,
];

/// What the headers that were taken away asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Hop {
    /// The protocols to change to, when `Connection` names `Upgrade`.
    pub(super) upgrade: Option<HeaderValue>,
    /// The client takes trailers.
    pub(super) trailers: bool,
}

/// Takes away the headers that end here.
pub(super) fn take_hop_by_hop(headers: &mut HeaderMap) -> Hop {
    let mut hop = Hop::default();
    // Few headers have any of these, and to look costs less than to remove.
    let has = |headers: &HeaderMap, name| headers.keys().any(|key| key == name);
    if has(headers, &TE) {
        hop.trailers = has_token(headers, &TE, "trailers");
    }
    if has(headers, &CONNECTION) {
        if has_token(headers, &CONNECTION, "upgrade") {
            hop.upgrade = headers.get(UPGRADE).cloned();
        }
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            .filter(|token| !USUAL.iter().any(|usual| token.eq_ignore_ascii_case(usual)))
            .filter_map(|token| token.parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        if has(headers, name) {
            headers.remove(name);
        }
    }
    hop
}

/// What is said of one connection to whoever is behind.
#[derive(Debug)]
pub(in crate::server) struct Forwarding {
    /// Who asks.
    client: HeaderValue,
    /// Where.
    port: HeaderValue,
    /// Begins `Forwarded`.
    by: Box<str>,
    /// `Forwarded` for the host that was asked for last.
    last: Mutex<Option<(Authority, HeaderValue)>>,
}

impl Forwarding {
    pub(in crate::server) fn new(client: IpAddr, port: u16) -> Self {
        let by = match client {
            IpAddr::V4(address) => format!("for={address}"),
            IpAddr::V6(address) => format!("for=\"[{address}]\""),
        };
        let client = HeaderValue::try_from(client.to_string());
        Self {
            client: client.expect("an address is visible ASCII"),
            port: port.into(),
            by: by.into(),
            last: Mutex::new(None),
        }
    }

    /// `Forwarded` of a request for `host`: the same for most that follow.
    fn forwarded(&self, host: Option<&Authority>, scheme: &str) -> Option<HeaderValue> {
        let by = &self.by;
        let Some(host) = host else {
            return HeaderValue::try_from(format!("{by};proto={scheme}")).ok();
        };
        // It is whole after every step.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match &*last {
            Some((of, value)) if of.as_str() == host.as_str() => Some(value.clone()),
            _ => {
                let value = format!("{by};host=\"{host}\";proto={scheme}");
                let value = HeaderValue::try_from(value).ok()?;
                *last = Some((host.clone(), value.clone()));
                Some(value)
            }
        }
    }
}

/// Says who asked, in place of whatever the client claims, which is a stranger. What
/// a trusted proxy says is kept, and the proxy is added to it.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    connection: &Connection,
    host: Option<&Authority>,
    trusted: bool,
) {
    let is_known = |name: &HeaderName| trusted && KEPT_OF_PROXIES.contains(name);
    let claimed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| is_claim(name) && !is_known(name))
        .cloned()
        .collect();
    for name in claimed {
        headers.remove(name);
    }
    let forwarding = connection.forwarding();
    if let Some(value) = host.and_then(|host| host_value(headers, host)) {
        headers.entry(X_FORWARDED_HOST).or_insert(value);
    }
    if let Some(forwarded) = forwarding.forwarded(host, connection.scheme()) {
        add_to_list(headers, FORWARDED, forwarded);
    }
    add_to_list(headers, X_FORWARDED_FOR, forwarding.client.clone());
    let scheme = HeaderValue::from_static(connection.scheme());
    headers.entry(X_FORWARDED_PROTO).or_insert(scheme);
    let port = || forwarding.port.clone();
    headers.entry(X_FORWARDED_PORT).or_insert_with(port);
    if let Some(tls) = &connection.tls {
        for (name, value) in tls.client_headers() {
            headers.insert(name, value.clone());
        }
    }
}

/// The host as a header, shared with the `Host` of the request where that is the same.
pub(super) fn host_value(headers: &HeaderMap, host: &Authority) -> Option<HeaderValue> {
    match headers.get(HOST) {
        Some(same) if same.as_bytes() == host.as_str().as_bytes() => Some(same.clone()),
        _ => HeaderValue::from_str(host.as_str()).ok(),
    }
}

/// Adds an element to the end of a list in a header, which becomes one line.
fn add_to_list(headers: &mut HeaderMap, name: HeaderName, element: HeaderValue) {
    if !headers.contains_key(&name) {
        headers.insert(name, element);
        return;
    }
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(list)) {
        headers.insert(name, value);
    }
}

/// Takes out of trailers what says how a message is framed, routed or read, and
/// who sent it (RFC 9110 §6.5.1).
pub(super) fn clean_trailers(trailers: &mut HeaderMap) {
    let misplaced: Vec<HeaderName> = trailers
        .keys()
        .filter(|n| NEVER_TRAILERS.contains(n) || HOP_BY_HOP.contains(n) || is_claim(n))
        .cloned()
        .collect();
    for name in misplaced {
        trailers.remove(name);
    }
}

/// Whether a message has no transfer coding besides one `chunked`. hyper also takes
/// off a `chunked` that follows others; the others would be lost with the header.
pub(super) fn is_chunked_alone(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

/// One `Cookie` line of several, into which HTTP/2 may split it (RFC 9113 §8.2.3).
pub(super) fn join_cookies(headers: &mut HeaderMap) {
    let mut lines = headers.get_all(COOKIE).iter();
    if lines.next().is_none() || lines.next().is_none() {
        return;
    }
    let lines: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if let Ok(joined) = HeaderValue::from_bytes(&lines.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

/// Whether a header claims what only a proxy may say. All but letters and digits
/// counts as hyphens, since CGI and its heirs cannot tell them apart.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    let begins = |wanted: &str| {
        name.len() >= wanted.len()
            && name
                .bytes()
                .zip(wanted.bytes())
                .all(|(a, b)| a == b || (b == b'-' && !a.is_ascii_alphanumeric()))
    };
    let is = |wanted: &str| name.len() == wanted.len() && begins(wanted);
    CLAIMS_BEGIN.into_iter().any(begins) || CLAIMS.into_iter().any(is)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| {
        let token = token.split(';').next().unwrap_or_default();
        token.trim().eq_ignore_ascii_case(wanted)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        lines
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn headers_of_the_connection_end_here_also_those_it_names() {
        let mut headers = map(&[
            ("connection", "close, X-Named"),
            ("connection", "x-other , , \"odd"),
            ("x-named", "1"),
            ("x-other", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("te", "gzip, trailers;q=0.5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("http2-settings", "AAMAAABkAAQAAP__"),
            ("expect", "100-continue"),
            ("x-kept", "1"),
            ("trailer", "x-sum"),
        ]);
        let hop = take_hop_by_hop(&mut headers);
        assert_eq!(names(&headers), ["trailer", "x-kept"]);
        assert_eq!(
            hop,
            Hop {
                upgrade: None,
                trailers: true
            }
        );
    }

    #[test]
    fn an_upgrade_counts_only_when_connection_names_it() {
        let upgrade = |lines: &[(&str, &str)]| take_hop_by_hop(&mut map(lines)).upgrade;
        assert_eq!(upgrade(&[("upgrade", "websocket")]), None);
        assert_eq!(
            upgrade(&[
                ("connection", "keep-alive, Upgrade"),
                ("upgrade", "websocket")
            ]),
            Some(HeaderValue::from_static("websocket"))
        );
    }

    #[test]
    fn split_cookies_become_one_line() {
        let mut headers = map(&[("cookie", "a=1; b=2"), ("cookie", "c=3"), ("x", "y")]);
        join_cookies(&mut headers);
        let cookies: Vec<_> = headers.get_all(COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn what_a_stranger_says_of_itself_is_overwritten() {
        let mut headers = map(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2"),
            ("x_forwarded_for", "10.0.0.3"),
            ("x-forwarded_proto", "gopher"),
            ("x-forwarded-port", "1"),
            ("x-real-ip", "10.0.0.4"),
            ("forwarded", "for=10.0.0.5"),
            ("x-forward", "kept"),
        ]);
        let connection = Connection::new(
            "[::1]:443".parse().unwrap(),
            "[2001:db8::7]:5000".parse().unwrap(),
        );
        let host = Authority::from_static("a.test:8443");
        set_forwarded(&mut headers, &connection, Some(&host), false);
        let get = |name: &str| {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(values.len(), 1, "{name}");
            values[0].to_str().unwrap().to_owned()
        };
        assert_eq!(get("x-forwarded-for"), "2001:db8::7");
        assert_eq!(get("x-forwarded-proto"), "http");
        assert_eq!(get("x-forwarded-host"), "a.test:8443");
        assert_eq!(get("x-forwarded-port"), "443");
        assert_eq!(
            get("forwarded"),
            "for=\"[2001:db8::7]\";host=\"a.test:8443\";proto=http"
        );
        assert_eq!(
            names(&headers),
            [
                "forwarded",
                "x-forward",
                "x-forwarded-for",
                "x-forwarded-host",
                "x-forwarded-port",
                "x-forwarded-proto"
            ]
        );
    }

    #[test]
    fn a_claim_is_one_however_it_is_spelled() {
        for (name, claim) in [
            ("client-cert", true),
            ("client_cert", true),
            ("client.cert", true),
            ("client-cert-chain", true),
            ("x-client-cert-fingerprint", true),
            ("x_client_cert_san", true),
            ("x!client~cert", true),
            ("x-ssl-client-verify", true),
            ("ssl_client_s_dn", true),
            ("x-forwarded-client-cert", true),
            ("forwarded", true),
            ("x.real.ip", true),
            // what means something else
            ("client", false),
            ("clientxcert", false),
            ("x-client-version", false),
            ("forwarded-by", false),
            ("x-real-ips", false),
            ("ssl", false),
        ] {
            assert_eq!(is_claim(&HeaderName::from_static(name)), claim, "{name}");
        }
    }

    #[test]
    fn what_a_trusted_proxy_says_is_kept_and_it_is_added() {
        let mut headers = map(&[
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.2, 10.0.0.3"),
            ("x_forwarded_for", "10.0.0.4"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-other", "x"),
            ("forwarded", "for=10.0.0.1;proto=https"),
        ]);
        let connection = Connection::new(
            "10.0.0.8:80".parse().unwrap(),
            "10.0.0.9:5000".parse().unwrap(),
        );
        set_forwarded(&mut headers, &connection, None, true);
        for (name, value) in [
            ("x-forwarded-for", "10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.9"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-port", "80"),
            (
                "forwarded",
                "for=10.0.0.1;proto=https, for=10.0.0.9;proto=http",
            ),
        ] {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(values, [value], "{name}");
        }
        assert_eq!(headers.len(), 4, "{headers:?}");
    }

    #[test]
    fn trailers_frame_route_and_claim_nothing() {
        let mut trailers = map(&[
            ("x-sum", "42"),
            ("grpc-status", "0"),
            ("content-length", "7"),
            ("transfer-encoding", "chunked"),
            ("host", "evil.test"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_real_ip", "10.0.0.1"),
            ("client_cert", ":AAAA:"),
            ("connection", "upgrade"),
            ("authorization", "Basic x"),
        ]);
        clean_trailers(&mut trailers);
        assert_eq!(names(&trailers), ["grpc-status", "x-sum"]);
    }

    #[test]
    fn chunked_is_the_only_transfer_coding() {
        for (lines, alone) in [
            (&[][..], true),
            (&["chunked"][..], true),
            (&["Chunked "], true),
            // bad values
            (&["chunked", "chunked"], false),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["identity"], false),
            (&["xchunked"], false),
            (&["chunked;a=b"], false),
            (&[""], false),
        ] {
            let lines: Vec<_> = lines.iter().map(|v| ("transfer-encoding", *v)).collect();
            assert_eq!(is_chunked_alone(&map(&lines)), alone, "{lines:?}");
        }
    }
}

//! Which headers pass a proxy.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, EXPECT, FORWARDED, HeaderMap, HeaderName, HeaderValue, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::Authority;

use crate::server::connection::Connection;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
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
    let mut hop = Hop {
        upgrade: None,
        trailers: has_token(headers, &TE, "trailers"),
    };
    if headers.contains_key(CONNECTION) {
        if has_token(headers, &CONNECTION, "upgrade") {
            hop.upgrade = headers.get(UPGRADE).cloned();
        }
        let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
            .filter_map(|token| token.parse().ok())
            .collect();
        for name in named {
            headers.remove(name);
        }
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    hop
}

/// Says who asked, in place of whatever the client claims: it is a stranger.
pub(super) fn set_forwarded(
    headers: &mut HeaderMap,
    connection: &Connection,
    host: Option<&Authority>,
) {
    let claimed: Vec<HeaderName> = headers.keys().filter(|n| is_claim(n)).cloned().collect();
    for name in claimed {
        headers.remove(name);
    }
    let peer = connection.peer.ip();
    let mut forwarded = match peer {
        IpAddr::V4(address) => format!("for={address}"),
        IpAddr::V6(address) => format!("for=\"[{address}]\""),
    };
    if let Some(host) = host {
        let _ = write!(forwarded, ";host=\"{host}\"");
        if let Ok(value) = HeaderValue::from_str(host.as_str()) {
            headers.insert(X_FORWARDED_HOST, value);
        }
    }
    let _ = write!(forwarded, ";proto={}", connection.scheme());
    if let Ok(value) = HeaderValue::try_from(forwarded) {
        headers.insert(FORWARDED, value);
    }
    if let Ok(value) = HeaderValue::try_from(peer.to_string()) {
        headers.insert(X_FORWARDED_FOR, value);
    }
    let scheme = HeaderValue::from_static(connection.scheme());
    headers.insert(X_FORWARDED_PROTO, scheme);
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

/// Whether a header claims what only a proxy may say. Underscores count as
/// hyphens, since CGI and its heirs cannot tell them apart.
fn is_claim(name: &HeaderName) -> bool {
    let name = name.as_str();
    let is = |wanted: &str| {
        name.len() >= wanted.len()
            && name
                .bytes()
                .zip(wanted.bytes())
                .all(|(a, b)| a == b || (a == b'_' && b == b'-'))
    };
    is("x-forwarded-") || name == "forwarded" || (is("x-real-ip") && name.len() == 9)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
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
        set_forwarded(&mut headers, &connection, Some(&host));
        let get = |name: &str| {
            let values: Vec<_> = headers.get_all(name).iter().collect();
            assert_eq!(values.len(), 1, "{name}");
            values[0].to_str().unwrap().to_owned()
        };
        assert_eq!(get("x-forwarded-for"), "2001:db8::7");
        assert_eq!(get("x-forwarded-proto"), "http");
        assert_eq!(get("x-forwarded-host"), "a.test:8443");
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
                "x-forwarded-proto"
            ]
        );
    }
}

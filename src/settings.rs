//! Resolved settings as types: what a command was told, once flags, environment,
//! file and defaults are combined. A value that exists can be acted on.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use http::uri::Authority;
use url::Url;

use crate::identifier::quoted;

/// An address to listen on: an IP address and a port, where port 0 lets the
/// system choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenAddr(pub SocketAddr);

impl FromStr for ListenAddr {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        if let Ok(address) = text.parse() {
            return Ok(Self(address));
        }
        let refuse = |hint: String| InvalidSetting {
            text: text.to_owned(),
            reason: "not an address and port".to_owned(),
            hint: Some(hint),
        };
        let port = text.rsplit_once(':').map_or(text, |(_, port)| port);
        let port = port.parse::<u16>().unwrap_or(8443);
        Err(refuse(format!(
            "write `127.0.0.1:{port}` for this machine alone, `[::]:{port}` for every address"
        )))
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One listening socket and what stands behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerSettings {
    /// Where to listen.
    pub address: ListenAddr,
    /// What to answer with.
    pub content: Content,
    /// How much of what.
    pub limits: Limits,
}

/// What a listener answers requests with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Content {
    /// A page that shows the connection's own certificate.
    #[default]
    Page,
    /// The files below a directory.
    Root(PathBuf),
    /// Another HTTP server's answers.
    Upstream(Upstream),
}

/// An HTTP server behind this one: `http://host:port[/prefix]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    authority: Authority,
    prefix: String,
}

impl Upstream {
    /// Its host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// What is put before every path; empty, or starting with `/` and not ending
    /// with one.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl FromStr for Upstream {
    type Err = InvalidSetting;

    fn from_str(text: &str) -> Result<Self, InvalidSetting> {
        let refuse = |reason: &str| InvalidSetting {
            text: text.to_owned(),
            reason: reason.to_owned(),
            hint: Some("write `http://host:port` or `http://host:port/prefix`".to_owned()),
        };
        let url = Url::parse(text).map_err(|e| refuse(&format!("not a URL: {e}")))?;
        if url.scheme() != "http" {
            return Err(refuse("only `http` upstreams are supported"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refuse("an upstream has no user and password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("an upstream has no query and no fragment"));
        }
        let authority = url[url::Position::BeforeHost..url::Position::AfterPort]
            .parse()
            .map_err(|_| refuse("it has no usable host"))?;
        Ok(Self {
            authority,
            prefix: url.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.prefix)
    }
}

/// How long a client may take and how many there may be, for one listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// From accepting a connection to the end of its TLS handshake. 10 seconds.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header; also from the
    /// start of a connection to the end of its first header. 10 seconds.
    pub header: Duration,
    /// How long a connection without a request is kept. An HTTP/2 PING is not a
    /// request. 60 seconds.
    pub idle: Duration,
    /// How long a transfer may stand still: the client neither sends the next part
    /// of a body nor takes the next part of an answer. 60 seconds.
    pub stall: Duration,
    /// Connections at the same time; more wait in the listen backlog. 16,384.
    pub connections: usize,
    /// How long requests in flight may take to end after a stop was asked for.
    /// 30 seconds.
    pub drain: Duration,
    /// To connect to the upstream. 5 seconds.
    pub upstream_connect: Duration,
    /// From the end of a request to the header of the upstream's answer. 60 seconds.
    pub upstream_answer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            header: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            connections: 16_384,
            drain: Duration::from_secs(30),
            upstream_connect: Duration::from_secs(5),
            upstream_answer: Duration::from_secs(60),
        }
    }
}

/// Why a text is not the setting it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{}`: {reason}", quoted(text))]
pub struct InvalidSetting {
    text: String,
    reason: String,
    hint: Option<String>,
}

impl InvalidSetting {
    /// What to write instead.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listen_address_is_an_ip_address_and_a_port() {
        for (text, expected) in [
            ("127.0.0.1:8443", Some("127.0.0.1:8443")),
            ("[::]:443", Some("[::]:443")),
            ("127.0.0.1:0", Some("127.0.0.1:0")),
            // bad values
            ("", None),
            ("8443", None),
            (":8443", None),
            ("localhost:8443", None),
            ("127.0.0.1", None),
            ("::1:443", None),
            ("127.0.0.1:70000", None),
        ] {
            let parsed = text.parse::<ListenAddr>().ok().map(|a| a.to_string());
            assert_eq!(parsed.as_deref(), expected, "{text:?}");
        }
        let error = ":9000".parse::<ListenAddr>().unwrap_err();
        assert!(error.hint().unwrap().contains("127.0.0.1:9000"));
    }

    #[test]
    fn an_upstream_is_a_plain_http_url_without_secrets() {
        for (text, expected) in [
            ("http://localhost:3000", Some(("localhost:3000", ""))),
            ("http://localhost:3000/", Some(("localhost:3000", ""))),
            ("http://[::1]:3000/api/v1/", Some(("[::1]:3000", "/api/v1"))),
            ("http://BACKEND/", Some(("backend", ""))),
            // bad values
            ("", None),
            ("localhost:3000", None),
            ("https://localhost:3000", None),
            ("ftp://localhost", None),
            ("http://", None),
            ("http://u:p@localhost", None),
            ("http://localhost/?q", None),
            ("http://localhost/#f", None),
            ("http://local host/", None),
        ] {
            let parsed = text.parse::<Upstream>().ok();
            let parts = parsed
                .as_ref()
                .map(|u| (u.authority().as_str(), u.prefix()));
            assert_eq!(parts, expected, "{text:?}");
        }
    }
}

//! `certmint health`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;
use http::uri::{Authority, PathAndQuery, Uri};

use super::Span;
use crate::cli::values;
use crate::identifier::quoted;

/// Asked when nothing else is said.
pub(in crate::cli) const DEFAULT: &str = "http://127.0.0.1:9900/ready";

#[derive(Debug, Args)]
pub(in crate::cli) struct HealthArgs {
    /// `http://host:port[/path]` of a server's admin address, or `unix:PATH` of its admin
    /// socket; /ready is asked where no path is given [env: CERTMINT_HEALTH_URL] [default:
    /// http://127.0.0.1:9900/ready]
    #[arg(value_name = "URL")]
    pub(in crate::cli) url: Option<Asked>,
    /// How long the answer may take
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = values::duration)]
    pub(in crate::cli) timeout: Span,
}

/// Who is asked how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Asked {
    Http(Authority, PathAndQuery),
    Unix(PathBuf),
}

impl Asked {
    /// What is asked where no path is given.
    pub(in crate::cli) const READY: PathAndQuery = PathAndQuery::from_static("/ready");
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let refuse = || {
            let text = quoted(text);
            format!("`{text}` is neither `http://host:port[/path]` nor `unix:PATH`")
        };
        let uri: Uri = text.parse().map_err(|_| refuse())?;
        let path = uri.path_and_query().filter(|path| path.as_str() != "/");
        let path = path.cloned().unwrap_or(Self::READY);
        match (uri.scheme_str(), uri.authority()) {
            (Some("http"), Some(host))
                if !host.host().is_empty() && !host.as_str().contains('@') =>
            {
                Ok(Self::Http(host.clone(), path))
            }
            _ => Err(refuse()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_asked_by_address_or_by_socket() {
        let http = |host: &str, path: &str| {
            Some(Asked::Http(host.parse().unwrap(), path.parse().unwrap()))
        };
        for (text, expected) in [
            (DEFAULT, http("127.0.0.1:9900", "/ready")),
            ("http://a:1", http("a:1", "/ready")),
            ("http://a:1/", http("a:1", "/ready")),
            ("http://[::1]:1/health", http("[::1]:1", "/health")),
            ("unix:/run/x.sock", Some(Asked::Unix("/run/x.sock".into()))),
            // bad values
            ("", None),
            ("unix:", None),
            ("a:1", None),
            ("/ready", None),
            ("https://a:1", None),
            ("http://u:p@a:1", None),
            ("http://", None),
        ] {
            assert_eq!(text.parse().ok(), expected, "{text:?}");
        }
    }
}

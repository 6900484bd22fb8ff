//! What `inspect` is asked to look at, told apart by form.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::finding::words;
use crate::identifier::{DnsName, Identifier, InvalidName};

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A file that holds certificates, keys, requests or CRLs.
    File(PathBuf),
    /// A directory of such files.
    Directory(PathBuf),
    /// Standard input.
    Stdin,
    /// A TLS server.
    Endpoint(Endpoint),
}

/// A TLS server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its name or address.
    pub host: Host,
    /// Its TCP port.
    pub port: u16,
}

/// The host part of an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name, to be resolved.
    Name(DnsName),
    /// An address.
    Address(IpAddr),
}

impl Host {
    /// What a certificate must name to be good for this host.
    pub fn identifier(&self) -> Identifier {
        match self {
            Self::Name(name) => Identifier::Dns(name.clone()),
            Self::Address(address) => Identifier::Ip(*address),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Name(name) => write!(f, "{name}:{}", self.port),
            Host::Address(IpAddr::V4(address)) => write!(f, "{address}:{}", self.port),
            Host::Address(IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
        }
    }
}

impl Target {
    /// Port of `https://` without one.
    const HTTPS: u16 = 443;

    /// Reads `-`, a path, `host:port`, `[::1]:port` or `https://host[:port]`.
    ///
    /// Whatever exists as a file or directory is that. Looks at the file system,
    /// resolves nothing.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text == "-" {
            return Ok(Self::Stdin);
        }
        let path = Path::new(text);
        if path.is_dir() {
            return Ok(Self::Directory(path.to_owned()));
        }
        // A broken link is looked at too, so that the error is about the file.
        if path.symlink_metadata().is_ok() {
            return Ok(Self::File(path.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("https://") {
            return https(text, rest);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(TargetError::Scheme(scheme.to_owned()));
        }
        match split_port(text) {
            Some((host, port)) if !host.contains('/') => endpoint(text, host, port),
            _ => Err(TargetError::NotFound {
                path: path.to_owned(),
                endpoint: suggestion(text),
            }),
        }
    }
}

fn https(text: &str, rest: &str) -> Result<Target, TargetError> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(TargetError::Password);
    }
    match split_port(authority) {
        Some((host, port)) => endpoint(text, host, port),
        None => host(text, authority).map(|host| {
            Target::Endpoint(Endpoint {
                host,
                port: Target::HTTPS,
            })
        }),
    }
}

/// Splits at the last colon, unless it belongs to a bare IPv6 address.
fn split_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare_v6 = host.contains(':') && !host.ends_with(']');
    (!bare_v6).then_some((host, port))
}

fn endpoint(text: &str, host_text: &str, port: &str) -> Result<Target, TargetError> {
    let port = match port.parse::<u16>() {
        Ok(port) if port > 0 => port,
        _ => return Err(TargetError::Port(port.to_owned())),
    };
    let host = host(text, host_text)?;
    Ok(Target::Endpoint(Endpoint { host, port }))
}

fn host(text: &str, host: &str) -> Result<Host, TargetError> {
    match Identifier::parse(host) {
        Ok(Identifier::Dns(name)) => Ok(Host::Name(name)),
        Ok(Identifier::Ip(address)) => Ok(Host::Address(address)),
        Ok(_) => Err(TargetError::NotAHost(text.to_owned())),
        Err(source) => Err(TargetError::Name(source)),
    }
}

/// The endpoint that a person may have meant who typed just a host.
fn suggestion(text: &str) -> Option<String> {
    const FILES: [&str; 10] = [
        "pem", "crt", "cer", "der", "key", "p12", "pfx", "csr", "crl", "txt",
    ];
    let host = match Identifier::parse(text).ok()? {
        Identifier::Dns(name) if name.as_str().contains('.') => Host::Name(name),
        Identifier::Ip(address) => Host::Address(address),
        _ => return None,
    };
    let extension = text.rsplit('.').next().unwrap_or_default();
    if FILES.contains(&extension) {
        return None;
    }
    let endpoint = Endpoint {
        host,
        port: Target::HTTPS,
    };
    Some(endpoint.to_string())
}

/// Why a text is nothing that can be looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Neither a file nor an address.
    #[error("there is no file `{}`", words::path(path))]
    NotFound {
        /// What was asked for.
        path: PathBuf,
        /// The server that may have been meant.
        endpoint: Option<String>,
    },
    /// Another scheme than https.
    #[error("`{}://` is not a kind of address that speaks TLS from the start", crate::identifier::quoted(.0))]
    Scheme(String),
    /// A URL with user information.
    #[error("an address has no user name and no password")]
    Password,
    /// Not a number from 1 to 65535.
    #[error("`{}` is not a port", crate::identifier::quoted(.0))]
    Port(String),
    /// A wildcard, an e-mail address, a URI.
    #[error("`{}` does not name one host", crate::identifier::quoted(.0))]
    NotAHost(String),
    /// The host is no name.
    #[error(transparent)]
    Name(InvalidName),
}

impl TargetError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound {
                endpoint: Some(endpoint),
                ..
            } => Some(format!("if you meant a server, write `{endpoint}`")),
            Self::NotFound { .. } | Self::Port(_) | Self::NotAHost(_) => {
                Some("give a file, a directory, `-`, or `HOST:PORT`".to_owned())
            }
            Self::Scheme(_) => Some("write `HOST:PORT`".to_owned()),
            Self::Password => Some("write `https://HOST` or `HOST:PORT`".to_owned()),
            Self::Name(name) => name.hint().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests prepare files")]

    use super::*;

    fn wire(text: &str) -> String {
        match Target::parse(text) {
            Ok(Target::Endpoint(endpoint)) => endpoint.to_string(),
            Ok(other) => format!("{other:?}"),
            Err(error) => format!("refused: {error}"),
        }
    }

    #[test]
    fn the_form_tells_a_server_from_a_file() {
        for (text, expected) in [
            ("example.com:443", "example.com:443"),
            ("https://Example.com", "example.com:443"),
            ("https://example.com:8443/a?b#c", "example.com:8443"),
            ("[::1]:8443", "[::1]:8443"),
            ("https://[::1]", "[::1]:443"),
            ("127.0.0.1:1", "127.0.0.1:1"),
            ("localhost:8443", "localhost:8443"),
            ("bücher.example:443", "xn--bcher-kva.example:443"),
            ("-", "Stdin"),
        ] {
            assert_eq!(wire(text), expected);
        }
        for text in [
            "example.com:0",
            "example.com:65536",
            "example.com:https",
            "https://user@example.com",
            "ftp://example.com",
            "*.example.com:443",
            "a..b:443",
            ":443",
            "",
            "https://",
            "/no/such/file.pem",
            "::1",
            "a\u{1b}b:443",
        ] {
            assert!(wire(text).starts_with("refused"), "{text}: {}", wire(text));
            assert!(!wire(text).contains('\u{1b}'), "{text:?}");
        }
    }

    #[test]
    fn what_exists_is_a_file_whatever_it_looks_like() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("example.com:443");
        std::fs::write(&odd, "x").unwrap();
        let parse = |p: &Path| Target::parse(p.to_str().unwrap()).unwrap();
        assert_eq!(parse(&odd), Target::File(odd.clone()));
        assert_eq!(parse(dir.path()), Target::Directory(dir.path().to_owned()));
        let dangling = dir.path().join("link");
        std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
        assert_eq!(parse(&dangling), Target::File(dangling.clone()));
    }

    #[test]
    fn a_bare_host_is_met_with_what_to_type() {
        let hint = |text: &str| Target::parse(text).unwrap_err().hint().unwrap();
        assert!(hint("example.com").contains("`example.com:443`"));
        assert!(hint("::1").contains("`[::1]:443`"));
        assert!(!hint("server.pem").contains("server.pem:443"));
    }
}

//! From the text of one flag to its value.
//!
//! Parsers for clap: each error says what is wrong with the text and, where it
//! is clear, what to type instead.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::clock::Duration;
use crate::identifier::{CertId, DnsName, EmailAddress, Identifier, InvalidName, Subtree, quoted};
use crate::inspect::Target;
use crate::issuer::{ChallengeKind, Directory, InvalidDirectory, UnknownChallengeKind};
use crate::key::KeyType;
use crate::on_demand::gate::{InvalidPattern, NamePattern};
use crate::pki::ledger::Reason;
use crate::settings::{InvalidSetting, ListenAddr};
use crate::trust::StoreKind;

/// A DNS name, wildcard, address, e-mail address or URI.
pub(super) fn identifier(text: &str) -> Result<Identifier, String> {
    Identifier::parse(text).map_err(|e| with_hint(&e))
}

/// An e-mail address.
pub(super) fn email(text: &str) -> Result<EmailAddress, String> {
    EmailAddress::parse(text).map_err(|e| with_hint(&e))
}

/// Where an ACME CA begins.
pub(super) fn directory(text: &str) -> Result<Directory, String> {
    text.parse()
        .map_err(|e: InvalidDirectory| format!("{e}; {}", e.hint()))
}

/// A kind of challenge.
pub(super) fn challenge(text: &str) -> Result<ChallengeKind, String> {
    text.parse()
        .map_err(|e: UnknownChallengeKind| e.to_string())
}

/// A permitted domain or address range.
pub(super) fn subtree(text: &str) -> Result<Subtree, String> {
    text.parse().map_err(|e: InvalidName| with_hint(&e))
}

/// A domain.
pub(super) fn domain(text: &str) -> Result<DnsName, String> {
    DnsName::parse(text).map_err(|e| with_hint(&e))
}

/// Where something can be read.
pub(super) fn page(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| matches!(url.scheme(), "https" | "http") && url.has_host());
    url.ok_or_else(|| format!("`{}` is no page; write `https://…`", quoted(text)))
}

/// What the URLs of a server begin with.
pub(super) fn origin(text: &str) -> Result<Url, String> {
    let bare = |url: &Url| {
        let more = url.query().is_some() || url.fragment().is_some();
        let person = !url.username().is_empty() || url.password().is_some();
        url.scheme() == "https" && url.has_host() && url.path() == "/" && !more && !person
    };
    let url = Url::parse(text).ok().filter(bare);
    url.ok_or_else(|| {
        let text = quoted(text);
        format!(
            "`{text}` is not the beginning of a URL; write `https://host` or `https://host:port`"
        )
    })
}

fn with_hint(error: &InvalidName) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// A certificate's id; a name stands for the id it gives.
pub(super) fn cert_id(text: &str) -> Result<CertId, String> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(invalid) => match Identifier::parse(text) {
            Ok(name) => Ok(CertId::for_name(&name)),
            Err(_) => Err(format!("{invalid}")),
        },
    }
}

/// A kind of key.
pub(super) fn key_type(text: &str) -> Result<KeyType, String> {
    text.parse()
        .map_err(|e: crate::key::KeyError| e.to_string())
}

/// A kind of key for a CA, which has to last for years and to be known everywhere.
pub(super) fn ca_key_type(text: &str) -> Result<KeyType, String> {
    match key_type(text)? {
        KeyType::Rsa2048 => Err("2048 bits are too few for a CA; use rsa3072 or rsa4096".into()),
        KeyType::P521 => Err("few clients verify P-521; use p384 for a CA".into()),
        kind => Ok(kind),
    }
}

/// A reason for revocation.
pub(super) fn reason(text: &str) -> Result<Reason, String> {
    text.parse()
        .map_err(|e: crate::pki::ledger::UnknownReason| e.to_string())
}

/// A trust store.
pub(super) fn store_kind(text: &str) -> Result<StoreKind, String> {
    StoreKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| {
            format!(
                "`{}` is not a trust store; use system, nss or java",
                quoted(text)
            )
        })
}

/// What `inspect` looks at.
pub(super) fn target(text: &str) -> Result<Target, String> {
    Target::parse(text).map_err(|e| e.to_string())
}

/// Permission bits in octal, such as `0640`.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode & !0o777 == 0 && mode & 0o400 != 0 => Ok(mode),
        _ => Err("a mode is octal, such as 0640, and lets the owner read".to_owned()),
    }
}

/// An address with a port.
pub(super) fn listen(text: &str) -> Result<ListenAddr, String> {
    setting(text)
}

/// Where challenges are answered. No CA finds a port that the system chose.
pub(super) fn listen_socket(text: &str) -> Result<SocketAddr, String> {
    let ListenAddr(address) = listen(text)?;
    if address.port() == 0 {
        return Err(
            "no CA would find it on port 0; name 80 for http-01, 443 for tls-alpn-01, or the \
             port that it is forwarded to"
                .to_owned(),
        );
    }
    Ok(address)
}

/// A name server: an address, with port 53 unless another is given.
pub(super) fn name_server(text: &str) -> Result<SocketAddr, String> {
    const PORT: u16 = 53;
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let alone = bare.parse().map(|ip: IpAddr| SocketAddr::new(ip, PORT));
    let address = alone.ok().or_else(|| text.parse().ok());
    address.filter(|a| a.port() != 0).ok_or_else(|| {
        format!(
            "`{}` is not a name server; write `192.0.2.53` or `192.0.2.53:5353`",
            quoted(text)
        )
    })
}

/// A setting of a server.
pub(super) fn setting<T: FromStr<Err = InvalidSetting>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|e| told(&e))
}

/// A network, or one address.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let alone = text.parse().map(|ip: IpAddr| IpNet::from(ip));
    alone.or_else(|_| text.parse()).map_err(|_| {
        format!(
            "`{}` is not a network; write `10.0.0.0/8`, or one address",
            quoted(text)
        )
    })
}

fn told(error: &InvalidSetting) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// The settings of a CA that are checked as text.
pub(super) fn ca_text<T>(text: &str) -> Result<T, String>
where
    T: TryFrom<String, Error = crate::pki::InvalidSetting>,
{
    T::try_from(text.to_owned()).map_err(|e| e.to_string())
}

/// A length of time such as `30d`, `12h` or `1h 30m`; a day has 24 hours.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || {
        format!(
            "`{}` is not a length of time; write `30d` or `12h`",
            quoted(text)
        )
    };
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let length = span
        .to_duration(jiff::SpanRelativeTo::days_are_24_hours())
        .map_err(|_| wrong())?;
    if length.is_negative() {
        return Err("a length of time is not negative".to_owned());
    }
    Ok(Duration::seconds(length.as_secs()))
}

/// A wait between the start of a scheduled run and its work.
pub(super) fn splay(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        longest if longest <= Duration::DAY => Ok(longest),
        _ => Err("a run is not put off by more than `1d`".to_owned()),
    }
}

/// Names that may have a certificate.
pub(super) fn pattern(text: &str) -> Result<NamePattern, String> {
    text.parse()
        .map_err(|error: InvalidPattern| error.to_string())
}

/// Where permission is asked for: nobody on the way may answer in its place.
pub(super) fn ask_url(text: &str) -> Result<Url, String> {
    let refuse = || {
        format!(
            "`{}` cannot be asked: write `https://…`, or `http://127.0.0.1:…` for this machine",
            quoted(text)
        )
    };
    let url = Url::parse(text).map_err(|_| refuse())?;
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    };
    let secret = !url.username().is_empty() || url.password().is_some();
    match url.scheme() {
        _ if secret => Err("a name and a password in an address are seen by everybody".to_owned()),
        "https" if url.has_host() => Ok(url),
        "http" if is_here => Ok(url),
        _ => Err(refuse()),
    }
}

/// A command line for a hook, checked but kept as text.
pub(super) fn command_line(text: &str) -> Result<String, String> {
    match shell_words::split(text) {
        Ok(words) if !words.is_empty() => Ok(text.to_owned()),
        Ok(_) => Err("the command is empty".to_owned()),
        Err(e) => Err(format!("the command's quotes do not match: {e}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time_are_read_as_people_write_them() {
        for (text, seconds) in [
            ("30d", 2_592_000),
            ("12h", 43_200),
            ("1h 30m", 5_400),
            ("0s", 0),
        ] {
            assert_eq!(duration(text).unwrap().whole_seconds(), seconds, "{text}");
        }
        for bad in ["", "30", "-1d", "month", "30dd"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_run_waits_a_day_at_most() {
        assert_eq!(splay("20m"), Ok(Duration::minutes(20)));
        assert_eq!(splay("1d"), Ok(Duration::DAY));
        for bad in ["25h", "-1m", "20"] {
            assert!(splay(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_mode_lets_at_least_its_owner_read() {
        assert_eq!(mode("0640"), Ok(0o640));
        for bad in ["rw", "1777", "0040", "9"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn challenges_are_answered_and_name_servers_asked_on_ports_that_exist() {
        for (text, want) in [
            ("192.0.2.53", "192.0.2.53:53"),
            ("[2001:db8::53]", "[2001:db8::53]:53"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
        ] {
            assert_eq!(name_server(text).unwrap().to_string(), want);
        }
        for bad in ["", "ns.test", "192.0.2.53:0", "192.0.2.53:x"] {
            assert!(name_server(bad).is_err(), "{bad}");
        }
        assert!(listen_socket("127.0.0.1:5002").is_ok());
        let refused = listen_socket("127.0.0.1:0").unwrap_err();
        assert!(refused.contains("443"), "{refused}");
    }

    #[test]
    fn urls_begin_with_a_host_and_nothing_more() {
        assert!(origin("https://ca.test:9443").is_ok() && page("http://ca.test/a?b").is_ok());
        for bad in [
            "",
            "ca.test",
            "http://ca.test",
            "https://ca.test/acme",
            "https://ca.test/?a",
            "https://me@ca.test",
            "https://",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
        for bad in ["", "ca.test", "ftp://ca.test/", "mailto:a@ca.test"] {
            assert!(page(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_name_stands_for_its_id() {
        assert_eq!(cert_id("*.a.test").unwrap().as_str(), "_wildcard.a.test");
        assert!(cert_id("../a").is_err());
    }
}

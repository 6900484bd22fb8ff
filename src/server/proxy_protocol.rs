//! The PROXY protocol, versions 1 and 2: how a load balancer says whose connection it
//! passes on (haproxy.org, `doc/proxy-protocol.txt`).
//!
//! Rules kept here: not a byte beyond the header is taken from the connection, so that
//! TLS or HTTP begins where the header ends, however it is cut into packets; the
//! header's length is bounded; what is not exactly a header is refused, never guessed
//! at. Written by hand: a parser of a buffer, which is what crates offer, would leave
//! the reading and its bounds to us all the same.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;

/// How version 2 begins (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// How version 1 begins (§2.1).
const WORD: &[u8] = b"PROXY ";

/// Longest line of version 1, with its end (§2.1).
const MAX_LINE: usize = 107;

/// Longest rest of a header of version 2, addresses and extensions. What balancers
/// send is a tenth of it.
const MAX_REST: usize = 4096;

/// Room for two IPv6 addresses and ports, the most that is looked at.
const ADDRESSES: usize = 36;

/// The ends of the client's own connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// The client.
    pub(super) source: SocketAddr,
    /// Where the client connected to.
    pub(super) destination: SocketAddr,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// The connection begins with something else.
    #[error("the connection does not begin with a PROXY protocol header")]
    Missing,
    /// It begins like one, and then is none.
    #[error("the PROXY protocol header is malformed")]
    Malformed,
    /// It is longer than anything that balancers send.
    #[error("the PROXY protocol header is longer than {MAX_REST} bytes")]
    TooLong,
    /// The connection ended within it.
    #[error("the PROXY protocol header does not end")]
    Io(#[source] io::Error),
    /// [`crate::settings::Limits::handshake`] passed.
    #[error("the PROXY protocol header did not come in time")]
    TimedOut,
}

impl HeaderError {
    /// A label for counters.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Missing => "proxy_header_missing",
            Self::Malformed => "proxy_header_malformed",
            Self::TooLong => "proxy_header_too_long",
            Self::Io(_) => "proxy_header_cut",
            Self::TimedOut => "proxy_header_timed_out",
        }
    }
}

/// Takes the header off a connection. `None` when it speaks for the balancer itself
/// (a health check, an address that is none of the internet's). Has no deadline of its
/// own.
pub(super) async fn read(stream: &mut TcpStream) -> Result<Option<Ends>, HeaderError> {
    // The shortest of either version has 15 bytes.
    let mut start = [0; SIGNATURE.len()];
    take(stream, &mut start).await?;
    if start == SIGNATURE {
        read_binary(stream).await
    } else if start.starts_with(WORD) {
        read_line(stream, &start).await
    } else {
        Err(HeaderError::Missing)
    }
}

async fn take(stream: &mut (impl AsyncRead + Unpin), into: &mut [u8]) -> Result<(), HeaderError> {
    let taken = stream.read_exact(into).await;
    taken.map(|_| ()).map_err(HeaderError::Io)
}

/// The rest of a header of version 2, after its signature.
async fn read_binary(stream: &mut TcpStream) -> Result<Option<Ends>, HeaderError> {
    let mut fixed = [0; 4];
    take(stream, &mut fixed).await?;
    let [command, family, length @ ..] = fixed;
    let length = usize::from(u16::from_be_bytes(length));
    if length > MAX_REST {
        return Err(HeaderError::TooLong);
    }
    let mut addresses = [0; ADDRESSES];
    let looked_at = length.min(ADDRESSES);
    take(stream, &mut addresses[..looked_at]).await?;
    let ends = parse_binary(command, family, &addresses[..looked_at])?;
    // Extensions, which nobody here asks for.
    let mut skipped = [0; 256];
    let mut left = length - looked_at;
    while left > 0 {
        let part = left.min(skipped.len());
        take(stream, &mut skipped[..part]).await?;
        left -= part;
    }
    Ok(ends)
}

/// Version and command, family and protocol, and the bytes after the length (§2.2).
fn parse_binary(command: u8, family: u8, bytes: &[u8]) -> Result<Option<Ends>, HeaderError> {
    match command {
        // LOCAL: the rest is skipped, whatever it says.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(HeaderError::Malformed),
    }
    let ends = match family {
        // A TCP connection over IPv4 or IPv6.
        0x11 => bytes.first_chunk().map(|bytes: &[u8; 12]| {
            let [a, b, c, d, e, f, g, h, ports @ ..] = *bytes;
            (
                IpAddr::from([a, b, c, d]),
                IpAddr::from([e, f, g, h]),
                ports,
            )
        }),
        0x21 => bytes.split_first_chunk::<16>().and_then(|(source, rest)| {
            let (destination, ports) = rest.split_first_chunk::<16>()?;
            Some((
                IpAddr::from(*source),
                IpAddr::from(*destination),
                *ports.first_chunk()?,
            ))
        }),
        // Neither: datagrams, Unix sockets, not said. The balancer's own address has to
        // do, as it does for HAProxy.
        _ if family >> 4 <= 3 && family & 0x0f <= 2 => return Ok(None),
        _ => None,
    };
    let (source, destination, [a, b, c, d]) = ends.ok_or(HeaderError::Malformed)?;
    Ok(Some(Ends {
        source: SocketAddr::new(source, u16::from_be_bytes([a, b])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([c, d])),
    }))
}

/// The rest of a line of version 1, whose first bytes are `start`.
async fn read_line(stream: &mut TcpStream, start: &[u8]) -> Result<Option<Ends>, HeaderError> {
    let mut line = [0; MAX_LINE];
    line[..start.len()].copy_from_slice(start);
    let mut length = start.len();
    while line[..length].last() != Some(&b'\n') {
        // Looked at first, so that nothing after the line is taken.
        let room = &mut line[length..];
        if room.is_empty() {
            return Err(HeaderError::Malformed);
        }
        let seen = stream.peek(room).await.map_err(HeaderError::Io)?;
        if seen == 0 {
            return Err(HeaderError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let end = room[..seen].iter().position(|&byte| byte == b'\n');
        let part = end.map_or(seen, |end| end + 1);
        take(stream, &mut room[..part]).await?;
        length += part;
    }
    let line = line[..length].strip_suffix(b"\r\n");
    let line = line.and_then(|line| std::str::from_utf8(line).ok());
    parse_line(line.ok_or(HeaderError::Malformed)?)
}

/// `PROXY TCP4 source destination port port`, without its end (§2.1).
fn parse_line(line: &str) -> Result<Option<Ends>, HeaderError> {
    fn ends<A: FromStr + Into<IpAddr>>(mut words: std::str::Split<'_, char>) -> Option<Ends> {
        let mut address = || words.next()?.parse::<A>().ok().map(Into::into);
        let (source, destination) = (address()?, address()?);
        let mut number = || words.next().and_then(port);
        let (from, to) = (number()?, number()?);
        words.next().is_none().then_some(Ends {
            source: SocketAddr::new(source, from),
            destination: SocketAddr::new(destination, to),
        })
    }
    let mut words = line.split(' ');
    let ends = match (words.next(), words.next()) {
        (Some("PROXY"), Some("TCP4")) => ends::<Ipv4Addr>(words),
        (Some("PROXY"), Some("TCP6")) => ends::<Ipv6Addr>(words),
        // Whatever follows is to be ignored.
        (Some("PROXY"), Some("UNKNOWN")) => return Ok(None),
        _ => None,
    };
    ends.map(Some).ok_or(HeaderError::Malformed)
}

/// A port in its one canonical form.
fn port(word: &str) -> Option<u16> {
    let port: u16 = word.parse().ok()?;
    (port.to_string() == word).then_some(port)
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is read of `bytes`, sent in pieces of `piece`, and what is left after it.
    async fn exchange(bytes: &[u8], piece: usize) -> (Result<Option<Ends>, HeaderError>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sent = async {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.set_nodelay(true).unwrap();
            for piece in bytes.chunks(piece) {
                // The other side may have had enough.
                if client.write_all(piece).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        };
        let received = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let read = read(&mut stream).await;
            let mut rest = Vec::new();
            if read.is_ok() {
                stream.read_to_end(&mut rest).await.unwrap();
            }
            (read, rest)
        };
        tokio::join!(sent, received).1
    }

    fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];

    fn v6() -> Vec<u8> {
        let address = |n| {
            let address: Ipv6Addr = format!("2001:db8::{n}").parse().unwrap();
            address.octets()
        };
        [&address(1)[..], &address(2), &[0x12, 0x34, 0x01, 0xbb]].concat()
    }

    #[tokio::test]
    async fn good_headers_are_taken_off_to_the_byte_however_they_are_cut() {
        let four = Some("192.0.2.1:4660 198.51.100.2:443");
        let six = Some("[2001:db8::1]:4660 [2001:db8::2]:443");
        let line = |text: &str| format!("PROXY {text}\r\n").into_bytes();
        let extended = |addresses: &[u8]| [addresses, &[0x04; 700]].concat();
        let longest_line = format!("PROXY UNKNOWN {}\r\n", "f".repeat(MAX_LINE - 16));
        for (name, header, expected) in [
            (
                "1, IPv4",
                line("TCP4 192.0.2.1 198.51.100.2 4660 443"),
                four,
            ),
            (
                "1, IPv6",
                line("TCP6 2001:db8::1 2001:db8::2 4660 443"),
                six,
            ),
            ("1, unknown", line("UNKNOWN"), None),
            (
                "1, unknown with more",
                line("UNKNOWN ffff::1 ffff::2 65535 65535"),
                None,
            ),
            ("1, the longest", longest_line.into_bytes(), None),
            ("2, IPv4", binary(0x21, 0x11, &V4), four),
            ("2, IPv6", binary(0x21, 0x21, &v6()), six),
            ("2, extensions", binary(0x21, 0x11, &extended(&V4)), four),
            (
                "2, extensions, IPv6",
                binary(0x21, 0x21, &extended(&v6())),
                six,
            ),
            ("2, local", binary(0x20, 0x00, &[]), None),
            (
                "2, local that names somebody",
                binary(0x20, 0x11, &V4),
                None,
            ),
            ("2, unspecified", binary(0x21, 0x00, &[]), None),
            ("2, unix", binary(0x21, 0x31, &[b'/'; 216]), None),
            ("2, datagrams", binary(0x21, 0x12, &V4), None),
            (
                "2, the longest",
                binary(0x21, 0x11, &[&V4[..], &[0; MAX_REST - 12]].concat()),
                four,
            ),
        ] {
            for piece in [1, 5, 4096] {
                let sent = [&header[..], b"\x16\x03\x01GET\n"].concat();
                let (read, rest) = exchange(&sent, piece).await;
                let ends = read.unwrap_or_else(|e| panic!("{name}: {e}"));
                let shown = ends.map(|e| format!("{} {}", e.source, e.destination));
                assert_eq!(shown.as_deref(), expected, "{name}");
                assert_eq!(rest, b"\x16\x03\x01GET\n", "{name} in pieces of {piece}");
            }
        }
    }

    #[tokio::test]
    async fn bad_headers_are_refused() {
        let line = |text: &str| format!("{text}\r\n").into_bytes();
        let mut cases = vec![
            ("proxy_header_missing", b"GET / HTTP/1.1\r\n".to_vec()),
            ("proxy_header_missing", b"proxy TCP4 1.2.3.4".to_vec()),
            (
                "proxy_header_missing",
                b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00".to_vec(),
            ),
            (
                "proxy_header_missing",
                [b" ", &binary(0x21, 0x11, &V4)[..]].concat(),
            ),
            (
                "proxy_header_too_long",
                binary(0x21, 0x11, &[0; MAX_REST + 1]),
            ),
            // The connection ends first.
            ("proxy_header_cut", Vec::new()),
            ("proxy_header_cut", b"PROXY TCP4 1".to_vec()),
            (
                "proxy_header_cut",
                b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2".to_vec(),
            ),
            ("proxy_header_cut", binary(0x21, 0x11, &V4)[..20].to_vec()),
        ];
        let malformed_lines = [
            "PROXY TCP4 192.0.2.1 198.51.100.2 4660",
            "PROXY TCP4 192.0.2.1 198.51.100.2 4660 443 1",
            "PROXY TCP4 192.0.2.1 198.51.100.2 4660 443 ",
            "PROXY TCP4  192.0.2.1 198.51.100.2 4660 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 4660 65536",
            "PROXY TCP4 192.0.2.1 198.51.100.2 04660 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 +4660 443",
            "PROXY TCP4 192.0.2.1 198.51.100.2 -1 443",
            "PROXY TCP4 192.0.2.01 198.51.100.2 4660 443",
            "PROXY TCP4 192.0.2 198.51.100.2 4660 443",
            "PROXY TCP4 2001:db8::1 2001:db8::2 4660 443",
            "PROXY TCP6 192.0.2.1 198.51.100.2 4660 443",
            "PROXY TCP6 [2001:db8::1] [2001:db8::2] 4660 443",
            "PROXY UDP4 192.0.2.1 198.51.100.2 4660 443",
            "PROXY tcp4 192.0.2.1 198.51.100.2 4660 443",
            "PROXY  TCP4 192.0.2.1 198.51.100.2 4660 443",
            "PROXY UNKNOWN\u{fffd}",
            "PROXY \u{0}\u{0}\u{0}\u{0}\u{0}\u{0}\u{0}",
        ];
        for text in malformed_lines {
            cases.push(("proxy_header_malformed", line(text)));
        }
        let feed_alone = b"PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\n".to_vec();
        let endless = format!("PROXY UNKNOWN {}", "f".repeat(MAX_LINE)).into_bytes();
        let not_utf8 = b"PROXY UNKNOWN \xff\xfe\r\n".to_vec();
        for header in [feed_alone, endless, not_utf8] {
            cases.push(("proxy_header_malformed", header));
        }
        for (command, family, rest) in [
            (0x22, 0x11, &V4[..]),
            (0x11, 0x11, &V4),
            (0x31, 0x11, &V4),
            (0x01, 0x11, &V4),
            (0x21, 0x41, &V4),
            (0x21, 0x13, &V4),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x11, &[]),
            (0x21, 0x21, &V4),
            (0x21, 0x21, &v6()[..35]),
        ] {
            cases.push(("proxy_header_malformed", binary(command, family, rest)));
        }
        for (expected, sent) in cases {
            for piece in [1, 4096] {
                let shown = String::from_utf8_lossy(&sent);
                let (read, _) = exchange(&sent, piece).await;
                let outcome = read.map_err(|e| e.outcome());
                assert_eq!(outcome, Err(expected), "{shown:?} in pieces of {piece}");
            }
        }
    }
}

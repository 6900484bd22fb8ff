//! An upstream that takes nothing for granted: it reads requests to the letter of
//! RFC 9112 and remembers every deviation.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What arrived.
#[derive(Debug, Default)]
pub(super) struct Arrived {
    /// The paths of the requests that arrived whole.
    pub(super) whole: Vec<String>,
    /// Those whose body never ended.
    pub(super) cut: Vec<String>,
    /// What should not have been sent.
    pub(super) faults: Vec<String>,
}

pub(super) struct Recorder {
    pub(super) address: SocketAddr,
    arrived: Arc<Mutex<Arrived>>,
}

impl Recorder {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::new(Mutex::new(Arrived::default()));
        let shared = Arc::clone(&arrived);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, arrived) = (stream.unwrap(), Arc::clone(&shared));
                std::thread::spawn(move || serve(&stream, &arrived));
            }
        });
        Self { address, arrived }
    }

    pub(super) fn take(&self) -> Arrived {
        std::mem::take(&mut self.arrived.lock().unwrap())
    }
}

fn serve(stream: &TcpStream, arrived: &Mutex<Arrived>) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut seen = String::new();
        match request(&mut reader, &mut seen) {
            Ok(None) => return,
            Ok(Some((method, path))) => {
                arrived.lock().unwrap().whole.push(path.clone());
                let length = path.len();
                let body = if method == "HEAD" { "" } else { &path };
                let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                let mut stream = stream;
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
            Err(Fault::Cut(path)) => return arrived.lock().unwrap().cut.push(path),
            Err(Fault::Wrong(why)) => {
                let fault = format!("{why} in {seen:?}");
                return arrived.lock().unwrap().faults.push(fault);
            }
        }
    }
}

enum Fault {
    /// The connection ended within the body for this path.
    Cut(String),
    Wrong(&'static str),
}

/// One line without its end, which has to be CRLF; `None` at the end of all.
fn line(reader: &mut impl BufRead, seen: &mut String) -> Result<Option<String>, Fault> {
    let mut bytes = Vec::new();
    let _ = reader.read_until(b'\n', &mut bytes);
    if bytes.is_empty() {
        return Ok(None);
    }
    seen.push_str(&String::from_utf8_lossy(&bytes));
    let Some(line) = bytes.strip_suffix(b"\r\n") else {
        return Err(Fault::Wrong("a line that does not end with CRLF"));
    };
    if line.iter().any(|byte| matches!(byte, 0..=31 | 127)) {
        return Err(Fault::Wrong("a control character"));
    }
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
}

fn request(
    reader: &mut impl BufRead,
    seen: &mut String,
) -> Result<Option<(String, String)>, Fault> {
    let Some(first) = line(reader, seen)? else {
        return Ok(None);
    };
    let words: Vec<&str> = first.split(' ').collect();
    let [method, path, "HTTP/1.1"] = words[..] else {
        return Err(Fault::Wrong("a first line of other than three words"));
    };
    if !method.bytes().all(is_token) || method.is_empty() || !path.starts_with('/') {
        return Err(Fault::Wrong("an odd method or path"));
    }
    let (method, path) = (method.to_owned(), path.to_owned());
    let (mut hosts, mut lengths, mut codings) = (Vec::new(), Vec::new(), Vec::new());
    loop {
        let header = line(reader, seen)?.ok_or(Fault::Wrong("a header that does not end"))?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header
            .split_once(':')
            .ok_or(Fault::Wrong("a header line without colon"))?;
        if !name.bytes().all(is_token) || name.is_empty() {
            return Err(Fault::Wrong("an odd header name"));
        }
        match name.to_ascii_lowercase().as_str() {
            "host" => hosts.push(value.trim().to_owned()),
            "content-length" => lengths.push(value.trim().to_owned()),
            "transfer-encoding" => codings.push(value.trim().to_owned()),
            "upgrade" | "http2-settings" | "keep-alive" | "expect" => {
                return Err(Fault::Wrong("a header that belongs to the connection"));
            }
            _ => {}
        }
    }
    if hosts.len() != 1 || hosts[0] == "evil" {
        return Err(Fault::Wrong("not one Host"));
    }
    let cut = |_| Fault::Cut(path.clone());
    match (&lengths[..], &codings[..]) {
        ([], []) => {}
        ([length], []) => {
            let plain: u64 = length.parse().map_err(|_| Fault::Wrong("an odd length"))?;
            if plain.to_string() != *length {
                return Err(Fault::Wrong("an odd length"));
            }
            body(reader, plain).map_err(cut)?;
        }
        ([], [coding]) if coding == "chunked" => chunks(reader, seen, &path)?,
        _ => return Err(Fault::Wrong("contradictory framing")),
    }
    Ok(Some((method, path)))
}

fn body(reader: &mut impl BufRead, length: u64) -> Result<(), ()> {
    let read = std::io::copy(&mut reader.take(length), &mut std::io::sink());
    (read.ok() == Some(length)).then_some(()).ok_or(())
}

fn chunks(reader: &mut impl BufRead, seen: &mut String, path: &str) -> Result<(), Fault> {
    let cut = |()| Fault::Cut(path.to_owned());
    loop {
        let size = line(reader, seen)?.ok_or(()).map_err(cut)?;
        if size.is_empty() || !size.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Fault::Wrong("an odd chunk size"));
        }
        let size = u64::from_str_radix(&size, 16).map_err(|_| Fault::Wrong("an odd size"))?;
        if size == 0 {
            break;
        }
        body(reader, size).map_err(cut)?;
        match line(reader, seen)? {
            Some(end) if end.is_empty() => {}
            Some(_) => return Err(Fault::Wrong("a chunk longer than it said")),
            None => return Err(cut(())),
        }
    }
    loop {
        let trailer = line(reader, seen)?.ok_or(()).map_err(cut)?;
        let (name, _) = trailer.split_once(':').unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            _ if trailer.is_empty() => return Ok(()),
            "" | "content-length" | "transfer-encoding" | "host" => {
                return Err(Fault::Wrong("an odd trailer"));
            }
            _ => {}
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

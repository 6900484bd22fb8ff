//! HTTP/2 answers that their client leaves lying: each is given up on its own, whatever
//! the upstream and the other answers of the connection do.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use certmint::settings::{Content, Limits};

use super::http2::{DATA, END_HEADERS, END_STREAM, GET, HEADERS, RST_STREAM, begin, frame};
use super::proxy::upstream;
use super::site::{PATIENCE, Site, read_until};

const WINDOW_UPDATE: u8 = 8;

/// What a client may take its time for; short, so that the tests are.
const STALL: Duration = Duration::from_millis(1500);

/// Settings that open a window of one byte for each answer.
const ONE_BYTE: &[u8] = b"\x00\x04\x00\x00\x00\x01";

/// An upstream whose first answer has `first` and does not end, and whose others have
/// `rest` and end when `ends`.
fn behind(first: &'static str, rest: &'static str, ends: bool) -> Content {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let content = upstream(&listener);
    std::thread::spawn(move || {
        let mut open = Vec::new();
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            read_until(&mut stream, "\r\n\r\n");
            let body = if n == 0 { first } else { rest };
            let length = body.len() + usize::from(n == 0 || !ends);
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
            open.push(stream);
        }
    });
    content
}

fn site(content: Content) -> Site {
    let limits = Limits {
        stall: STALL,
        header: Duration::from_secs(1),
        ..Limits::default()
    };
    Site::plain_with(content, limits)
}

/// Reads frames until one of `kind` on `stream`; its payload.
#[track_caller]
fn await_frame(connection: &mut TcpStream, kind: u8, stream: u32) -> Vec<u8> {
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    loop {
        let mut head = [0; 9];
        connection
            .read_exact(&mut head)
            .unwrap_or_else(|e| panic!("no frame {kind} on {stream}: {e}"));
        let [a, b, c, is, _, of @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload).unwrap();
        if (is, u32::from_be_bytes(of)) == (kind, stream) {
            return payload;
        }
    }
}

fn get(connection: &mut TcpStream, stream: u32) {
    let get = frame(HEADERS, END_STREAM | END_HEADERS, stream, GET);
    connection.write_all(&get).unwrap();
}

fn open_window(connection: &mut TcpStream, stream: u32) {
    let more = frame(WINDOW_UPDATE, 0, stream, &1000_u32.to_be_bytes());
    connection.write_all(&more).unwrap();
}

#[test]
fn an_answer_that_is_not_taken_is_given_up_while_another_waits_for_its_upstream() {
    let large = "x".repeat(100_000).leak();
    let site = site(behind("", large, false));
    let mut connection = begin(site.connect(), b"");
    get(&mut connection, 1);
    await_frame(&mut connection, HEADERS, 1);
    let start = Instant::now();
    get(&mut connection, 3);
    // CANCEL.
    let reset = await_frame(&mut connection, RST_STREAM, 3);
    assert_eq!(reset, 8_u32.to_be_bytes());
    assert!(start.elapsed() > STALL, "{:?}", start.elapsed());
    // The connection goes on.
    open_window(&mut connection, 0);
    get(&mut connection, 5);
    await_frame(&mut connection, HEADERS, 5);
}

#[test]
fn a_shut_window_is_no_less_shut_because_the_upstream_has_nothing_more_to_say() {
    let site = site(behind("", "0123456789", false));
    let mut connection = begin(site.connect(), ONE_BYTE);
    get(&mut connection, 1);
    await_frame(&mut connection, HEADERS, 1);
    let start = Instant::now();
    get(&mut connection, 3);
    assert_eq!(await_frame(&mut connection, DATA, 3), b"0");
    await_frame(&mut connection, RST_STREAM, 3);
    assert!(start.elapsed() > STALL, "{:?}", start.elapsed());
}

#[test]
fn a_client_that_takes_an_answer_bit_by_bit_keeps_it() {
    let site = site(behind("", "0123456789", false));
    let mut connection = begin(site.connect(), ONE_BYTE);
    get(&mut connection, 1);
    await_frame(&mut connection, HEADERS, 1);
    get(&mut connection, 3);
    assert_eq!(await_frame(&mut connection, DATA, 3), b"0");
    for byte in b"123456789" {
        std::thread::sleep(STALL / 2);
        let more = frame(WINDOW_UPDATE, 0, 3, &1_u32.to_be_bytes());
        connection.write_all(&more).unwrap();
        assert_eq!(await_frame(&mut connection, DATA, 3), [*byte]);
    }
    // Having taken all, it owes nothing, and the upstream may be silent.
    std::thread::sleep(STALL * 3);
    let mut more = frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes());
    more.extend(frame(6, 0, 0, b"certmint"));
    connection.write_all(&more).unwrap();
    await_frame(&mut connection, 6, 0);
}

#[test]
fn the_end_of_an_answer_that_is_not_taken_ends_the_connection() {
    let site = site(behind("", "0123456789", true));
    let mut connection = begin(site.connect(), ONE_BYTE);
    get(&mut connection, 1);
    await_frame(&mut connection, HEADERS, 1);
    get(&mut connection, 3);
    await_frame(&mut connection, DATA, 3);
    let start = Instant::now();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    let closed = connection.read_to_end(&mut Vec::new());
    assert!(closed.is_ok_and(|_| true), "still open");
    assert!(start.elapsed() > STALL, "{:?}", start.elapsed());
}

//! An application behind a listener: what it gets to see, and what it is spared.

use std::future::Future;
use std::io::Write;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use certmint::server::{Application, Ended};
use certmint::settings::{Content, Hsts, Limits, ListenerSettings, TlsPolicy};
use http::uri::Authority;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Bytes;

use super::http_page::Page;
use super::site::{Site, anywhere, curl, read_to_close, read_until};
use crate::support::{TestEnv, tool};

const LONGEST: usize = 1000;

/// Says what it was asked, in a header for those who get no body.
#[derive(Debug)]
struct Echo;

impl Application for Echo {
    fn max_body(&self) -> u64 {
        LONGEST as u64
    }

    fn answer(
        &self,
        request: Request<Bytes>,
        from: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>> {
        let hosts: Vec<_> = request.headers().get_all("host").iter().collect();
        let asked = format!(
            "{} {} {hosts:?} {from} {}",
            request.method(),
            request.uri(),
            request.body().len()
        );
        let slowly = request.uri().path() == "/slow";
        let empty = request.uri().path() == "/empty";
        Box::pin(async move {
            if slowly {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            let mut response = Response::new(Bytes::from(asked.clone()));
            if empty {
                response = Response::default();
                *response.status_mut() = StatusCode::NO_CONTENT;
            }
            response
                .headers_mut()
                .insert("asked", asked.parse().unwrap());
            response
        })
    }
}

/// Has words of its own for what is refused, and all else of [`Echo`].
#[derive(Debug)]
struct Worded;

impl Application for Worded {
    fn max_body(&self) -> u64 {
        Echo.max_body()
    }

    fn answer(
        &self,
        request: Request<Bytes>,
        from: IpAddr,
    ) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send + '_>> {
        Echo.answer(request, from)
    }

    fn refuse(
        &self,
        status: StatusCode,
        reason: &str,
        host: Option<&Authority>,
    ) -> Option<Response<Bytes>> {
        let host = host.map_or("nobody", Authority::host);
        let words = format!("{} for {host}: {reason}", status.as_u16());
        let mut response = Response::new(Bytes::from(words));
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("text/own"));
        headers.insert("own", HeaderValue::from_static("1"));
        Some(response)
    }
}

fn site(env: &TestEnv, limits: Limits) -> Site {
    site_of(env, limits, Arc::new(Echo))
}

fn site_of(env: &TestEnv, limits: Limits, application: Arc<dyn Application>) -> Site {
    let settings = ListenerSettings {
        limits,
        tls: TlsPolicy {
            hsts: Some(Hsts {
                max_age: Duration::from_secs(60),
                include_subdomains: false,
            }),
            ..TlsPolicy::default()
        },
        ..anywhere(Content::Page)
    };
    Site::application(env, settings, application)
}

#[test]
fn it_sees_the_whole_request_in_one_form_by_every_version() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = site(&env, Limits::default());
    let host = format!("[\"localhost:{}\"] 127.0.0.1", site.address.port());
    let body = "x".repeat(LONGEST);
    for version in ["--http1.1", "--http2"] {
        let ask = |path: &str, more: &[&str]| {
            let url = site.url(path);
            let args = [&["-i", version, &url][..], more].concat();
            Page::parse(curl(&env, &site, &args).success().stdout())
        };
        let page = ask("/a/b?c=d", &[]);
        page.has(" 200")
            .has("strict-transport-security: max-age=60");
        assert_eq!(page.body, format!("GET /a/b?c=d {host} 0"));
        let page = ask("/", &["-d", &body, "-H", "expect:"]);
        assert_eq!(page.body, format!("POST / {host} {LONGEST}"));
        // Its length is not told before.
        let chunked = ["-d", &body, "-H", "transfer-encoding: chunked"];
        assert_eq!(ask("/", &chunked).body, format!("POST / {host} {LONGEST}"));
        let page = ask("/x", &["-I"]);
        page.has(" 200")
            .has("asked: head /x ")
            .has("content-length: ");
        assert_eq!(page.body, "");
        ask("/empty", &[]).has(" 204").has("asked: get /empty ");
        ask("/", &["-H", "host: other.test"]).has(" 421");
    }
}

#[test]
fn a_body_that_is_too_long_or_too_slow_never_reaches_it() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let limits = Limits {
        stall: Duration::from_millis(500),
        ..Limits::default()
    };
    let site = site(&env, limits);
    let body = "x".repeat(LONGEST + 1);
    for version in ["--http1.1", "--http2"] {
        for how in ["x: y", "transfer-encoding: chunked", "expect: 100-continue"] {
            let url = site.url("/");
            let args = ["-i", version, "-H", how, "-d", &body, &url];
            let page = Page::parse(curl(&env, &site, &args).success().stdout());
            page.has(" 413").has("cache-control: no-store");
            assert!(!page.head.contains("asked"), "{}", page.head);
        }
    }
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\r\nabc";
    stream.write_all(head.as_bytes()).unwrap();
    let said = read_to_close(&mut stream);
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(
        said.contains("connection: close") && !said.contains("asked"),
        "{said}"
    );
}

#[test]
fn a_client_whose_bodies_do_not_end_keeps_no_other_from_being_heard() {
    const MOST: usize = 64;
    let env = TestEnv::new();
    let site = site_of(&env, Limits::default(), Arc::new(Worded));
    let client = Arc::new(site.client("http/1.1"));
    // What is asked to go on has begun to be read.
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\n\
                expect: 100-continue\r\n\r\n";
    let ask = |from: [u8; 4], words: &str| {
        let stream = site.connect_from(from);
        let mut stream = site.handshake_by(&client, "localhost", stream).unwrap();
        stream.write_all(head.as_bytes()).unwrap();
        let said = read_until(&mut stream, words);
        (stream, said)
    };
    let hoarder = [127, 0, 0, 1];
    let mut held: Vec<_> = (0..MOST).map(|_| ask(hoarder, "100 Continue")).collect();
    let (_, refused) = ask(hoarder, "try again later");
    for words in [
        "HTTP/1.1 429 ",
        "retry-after: 5",
        "own: 1",
        "connection: close",
    ] {
        assert!(refused.contains(words), "no `{words}` in {refused}");
    }
    let (mut other, _) = ask([127, 0, 0, 2], "100 Continue");
    other.write_all(b"0123456789").unwrap();
    read_until(&mut other, "127.0.0.2 10");
    // What has no body takes no room.
    let mut plain = site.handshake("localhost", "http/1.1").unwrap();
    plain
        .write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .unwrap();
    read_until(&mut plain, "127.0.0.1 0");
    // One that has come makes room for another.
    let (mut first, _) = held.pop().unwrap();
    first.write_all(b"0123456789").unwrap();
    read_until(&mut first, "127.0.0.1 10");
    ask(hoarder, "100 Continue");
}

#[test]
fn the_rate_of_requests_is_limited_before_it_is_asked() {
    let env = TestEnv::new();
    let limits = Limits {
        rate: Some("1/s burst 1".parse().unwrap()),
        ..Limits::default()
    };
    let site = site(&env, limits);
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    // Several at once: a busy machine would let the second come late enough.
    let get = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(9);
    stream.write_all(get.as_bytes()).unwrap();
    let said = read_until(&mut stream, "try again later");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let (_, refused) = said.split_once("HTTP/1.1 429 ").unwrap();
    assert!(!refused.contains("asked"), "{said}");
}

#[test]
fn what_the_listener_refuses_is_said_in_its_words() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let limits = Limits {
        rate: Some("1/s burst 3".parse().unwrap()),
        ..Limits::default()
    };
    let body = "x".repeat(LONGEST + 1);
    for version in ["--http1.1", "--http2"] {
        let site = site_of(&env, limits.clone(), Arc::new(Worded));
        let ask = |args: &[&str]| {
            let url = site.url("/");
            let args = [&["-i", version, &url][..], args].concat();
            let page = Page::parse(curl(&env, &site, &args).success().stdout());
            if !page.head.contains(" 200") {
                page.has("content-type: text/own").has("own: 1");
                assert_eq!(page.head.matches("content-type").count(), 1);
            }
            page
        };
        let page = ask(&["-d", &body]);
        page.has(" 413").has("cache-control: no-store");
        let told = "413 for localhost: the body of the request is too long";
        assert_eq!(page.body, told);
        let page = ask(&["-H", "host: other.test"]);
        assert!(page.body.starts_with("421 for nobody: "), "{}", page.body);
        let page = ask(&["-H", "host: other.test:x"]);
        page.has(" 400");
        // What is left of its turns is soon used up.
        let refused = |args: &[&str]| {
            let mut pages = (0..100).map(|_| ask(args));
            pages.find(|page| page.head.contains(" 429")).unwrap()
        };
        let page = refused(&[]);
        page.has("retry-after: ");
        let told = "429 for localhost: too many requests; try again later";
        assert_eq!(page.body, told);
        let page = refused(&["-I"]);
        page.has(&format!("content-length: {}", told.len()));
        assert_eq!(page.body, "");
    }
}

#[test]
fn a_stop_waits_for_its_answer() {
    let env = TestEnv::new();
    let site = site(&env, Limits::default());
    let mut stream = site.handshake("localhost", "http/1.1").unwrap();
    let get = b"GET /slow HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n\
                content-length: 1\r\n\r\n";
    stream.write_all(get).unwrap();
    // The server reads the body: the request is being answered.
    read_until(&mut stream, "100 Continue");
    site.shutdown.stop();
    stream.write_all(b"x").unwrap();
    let said = read_to_close(&mut stream);
    assert!(said.contains("GET /slow"), "{said}");
    assert_eq!(site.ended(), Ended::Drained);
}

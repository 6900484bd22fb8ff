//! Upstreams of every protocol, several of them, and those that misbehave.

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use certmint::settings::{Content, Limits, Upstream};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::{OK, accept, read_head, recorder, upstream};
use crate::server::site::{PATIENCE, Site, read_to_close, read_until};
use crate::support::{TestEnv, tool};

fn parse(url: &str) -> Upstream {
    url.parse().unwrap()
}

/// What the built-in page of the site behind says of its connection with us.
fn page_behind(front: &Site) -> serde_json::Value {
    let said = front.exchange(
        "GET / HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\nconnection: close\r\n\r\n",
    );
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{said}");
    serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {said}"))
}

#[test]
fn upstreams_speak_http1_h2c_or_https_as_their_url_says() {
    let env = TestEnv::new();
    let behind = Site::plain(Content::Page);
    for (scheme, version) in [("http", "HTTP/1.1"), ("h2c", "HTTP/2")] {
        let url = parse(&format!("{scheme}://{}", behind.address));
        let front = Site::plain(Content::Upstream(url));
        for _ in 0..3 {
            assert_eq!(page_behind(&front)["http"], version);
        }
    }
    let behind = Site::page(&env);
    let url = format!("https://localhost:{}", behind.address.port());
    let trusting = parse(&url).with_roots(behind.root_pem.clone());
    let front = Site::plain(Content::Upstream(trusting));
    for _ in 0..3 {
        let page = page_behind(&front);
        assert_eq!(page["http"], "HTTP/2");
        assert_eq!(page["tls"]["server_name"], "localhost");
    }
}

#[test]
fn an_https_upstream_that_nobody_vouches_for_is_502() {
    let env = TestEnv::new();
    let (behind, other) = (Site::page(&env), TestEnv::new());
    let strange = Site::page(&other);
    let get = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let port = behind.address.port();
    for (url, roots) in [
        // Another's root, then a name that is not in the certificate.
        (
            format!("https://localhost:{port}"),
            strange.root_pem.clone(),
        ),
        (format!("https://127.0.0.2:{port}"), behind.root_pem.clone()),
    ] {
        let front = Site::plain(Content::Upstream(parse(&url).with_roots(roots)));
        let said = front.exchange(get);
        assert!(said.starts_with("HTTP/1.1 502"), "{url}: {said}");
    }
}

/// An upstream that sends back each body with its trailers, over either version.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    std::thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let service =
                    hyper::service::service_fn(async |request: http::Request<Incoming>| {
                        let mut response = http::Response::new(request.into_body());
                        let announced = http::HeaderValue::from_static("x-sum");
                        response.headers_mut().insert("trailer", announced);
                        Ok::<_, std::convert::Infallible>(response)
                    });
                tokio::spawn(async move {
                    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                    let _ = http.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
    });
    address
}

#[test]
fn trailers_go_both_ways_over_either_version() {
    let Some(nghttp) = tool("nghttp") else { return };
    let env = TestEnv::new();
    let body = env.write("body", "hello").display().to_string();
    let address = echo();
    for scheme in ["http", "h2c"] {
        let url = parse(&format!("{scheme}://{address}"));
        let front = Site::plain(Content::Upstream(url));
        // nghttp sends `trailer: x-sum` by itself.
        let args = [
            "-v",
            "-d",
            &body,
            "--trailer=x-sum: 42",
            "-H",
            "te: trailers",
            &front.url("/"),
        ];
        let out = env.command(&nghttp, args).run().success();
        let said = out.stdout();
        let sent = said.find("send HEADERS frame").unwrap();
        let answered = said[sent..]
            .find("recv (stream_id")
            .map(|at| &said[sent + at..]);
        let answered = answered.unwrap_or_else(|| panic!("{said}"));
        assert!(answered.contains(":status: 200"), "{scheme}: {said}");
        assert!(answered.contains("x-sum: 42"), "{scheme}: {said}");
    }
}

#[test]
fn a_connection_that_went_stale_is_replaced_once_and_only_when_that_is_safe() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain(upstream(&listener));
    let keep = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut client = site.connect();
    client.write_all(get.as_bytes()).unwrap();
    let mut first = accept(&listener);
    read_head(&mut first);
    first.write_all(keep).unwrap();
    read_until(&mut client, "ok");

    // Closed with the request in it: asked again on a new connection.
    client.write_all(get.as_bytes()).unwrap();
    read_head(&mut first);
    drop(first);
    let mut second = accept(&listener);
    read_head(&mut second);
    second.write_all(keep).unwrap();
    assert!(read_until(&mut client, "ok").starts_with("HTTP/1.1 200"));

    // Whether that one was acted upon, nobody knows: not asked again.
    let post = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n";
    client.write_all(post.as_bytes()).unwrap();
    read_head(&mut second);
    drop(second);
    assert!(read_until(&mut client, "usable").starts_with("HTTP/1.1 502"));

    // A new connection that is closed says something about the upstream.
    client.write_all(get.as_bytes()).unwrap();
    let mut third = accept(&listener);
    read_head(&mut third);
    drop(third);
    assert!(read_until(&mut client, "usable").starts_with("HTTP/1.1 502"));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "asked again");

    // One that was closed while nobody used it costs nothing, not even with POST.
    listener.set_nonblocking(false).unwrap();
    client.write_all(get.as_bytes()).unwrap();
    let mut fourth = accept(&listener);
    read_head(&mut fourth);
    fourth.write_all(keep).unwrap();
    read_until(&mut client, "ok");
    drop(fourth);
    std::thread::sleep(Duration::from_millis(50));
    client.write_all(post.as_bytes()).unwrap();
    let mut fifth = accept(&listener);
    read_head(&mut fifth);
    fifth.write_all(keep).unwrap();
    assert!(read_until(&mut client, "ok").starts_with("HTTP/1.1 200"));
}

#[test]
fn one_upstream_that_is_down_is_not_noticed_and_the_less_busy_one_is_asked() {
    let dead = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (one, two) = (
        TcpListener::bind("127.0.0.1:0").unwrap(),
        TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let url = |address: SocketAddr| parse(&format!("http://{address}"));
    let all = url(dead)
        .and(url(one.local_addr().unwrap()))
        .and(url(two.local_addr().unwrap()));
    let site = Site::plain(Content::Upstream(all));
    let ask = || {
        let mut client = site.connect();
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .unwrap();
        client
    };
    // Keeps one upstream busy: whichever got it.
    let mut waiting = ask();
    let (tell, told) = std::sync::mpsc::channel();
    for listener in [one, two] {
        let tell = tell.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                tell.send((listener.local_addr().unwrap(), stream.unwrap()))
                    .unwrap();
            }
        });
    }
    let (busy, mut first) = told.recv_timeout(PATIENCE).unwrap();
    read_head(&mut first);
    for n in 0..12 {
        let mut client = ask();
        let (address, mut behind) = told.recv_timeout(PATIENCE).unwrap();
        assert_ne!(address, busy, "request {n}");
        read_head(&mut behind);
        behind.write_all(OK.as_bytes()).unwrap();
        assert!(
            read_to_close(&mut client).starts_with("HTTP/1.1 200"),
            "request {n}"
        );
    }
    first.write_all(OK.as_bytes()).unwrap();
    assert!(read_to_close(&mut waiting).starts_with("HTTP/1.1 200"));
}

#[test]
fn answers_that_are_too_large_or_read_two_ways_are_not_passed_on() {
    let large = format!(
        "HTTP/1.1 200 OK\r\nx: {}\r\ncontent-length: 0\r\n\r\n",
        "x".repeat(70_000)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n",
        "x: y\r\n".repeat(101)
    );
    let ok = "HTTP/1.1 200 OK\r\n";
    for answer in [
        large.as_str(),
        &many,
        &format!("{ok}content-length: 2\r\ncontent-length: 3\r\n\r\nok"),
        &format!("{ok}content-length: 2, 2x\r\n\r\nok"),
        &format!("{ok}content-length: -2\r\n\r\nok"),
        &format!("{ok}transfer-encoding: gzip\r\n\r\nok"),
        &format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        &format!("{ok}transfer-encoding: chunked, identity\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
        &format!("{ok}x: a\r\n b\r\ncontent-length: 2\r\n\r\nok"),
        &format!("{ok}x y: a\r\ncontent-length: 2\r\n\r\nok"),
        &format!("{ok}x: a\0\r\ncontent-length: 2\r\n\r\nok"),
        &format!("{ok}x: a\rset-cookie: b\r\ncontent-length: 2\r\n\r\nok"),
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        "ICY 200 OK\r\n\r\nok",
    ] {
        let leaked: &'static str = Box::leak(answer.to_owned().into_boxed_str());
        let (content, _requests) = recorder("\r\n\r\n", leaked);
        let site = Site::plain(content);
        let said = site.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let shown = &answer[..answer.len().min(200)];
        assert!(said.starts_with("HTTP/1.1 502"), "{shown:?}: {said}");
        assert!(!said.contains("set-cookie"), "{shown:?}: {said}");
    }
}

#[test]
fn an_answer_is_framed_anew_and_what_follows_it_is_nobodys() {
    // Length and chunks: the chunks count.
    let (content, _requests) = recorder(
        "\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 60\r\ntransfer-encoding: chunked\r\n\r\n\
         2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother",
    );
    let site = Site::plain(content);
    let mut client = site.connect();
    for _ in 0..3 {
        client
            .write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            .unwrap();
        let said = read_until(&mut client, "0\r\n\r\n").to_ascii_lowercase();
        assert!(said.ends_with("\r\n\r\n2\r\nok\r\n0\r\n\r\n"), "{said}");
        assert!(!said.contains("content-length"), "{said}");
        assert_eq!(said.matches("http/1.1").count(), 1, "{said}");
    }
    // An answer before anything was asked is nobody's either.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain(upstream(&listener));
    let mut client = site.connect();
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    client.write_all(get.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    read_head(&mut behind);
    let two = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nother";
    behind.write_all(two.as_bytes()).unwrap();
    assert!(read_until(&mut client, "ok").ends_with("ok"));
    client.write_all(get.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    read_head(&mut behind);
    behind.write_all(OK.as_bytes()).unwrap();
    assert!(read_until(&mut client, "\r\n\r\nok").ends_with("ok"));
}

#[test]
fn what_the_upstream_says_of_itself_is_kept_and_hints_before_the_answer_are_not() {
    let (content, _requests) = recorder(
        "\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\nHTTP/1.0 200 Fine\r\n\
         date: Tue, 15 Nov 1994 08:12:31 GMT\r\nserver: own/1\r\nset-cookie: a=1\r\n\
         set-cookie: b=2\r\n\r\nuntil the end",
    );
    let site = Site::plain(content);
    let said = site.exchange("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200"), "{said}");
    for line in [
        "date: tue, 15 nov 1994 08:12:31 gmt",
        "server: own/1",
        "set-cookie: a=1",
        "set-cookie: b=2",
    ] {
        assert_eq!(head.matches(line).count(), 1, "{line} in {said}");
    }
    assert_eq!(head.matches("date:").count(), 1, "{said}");
    assert!(
        !head.contains("link:") && body.contains("until the end"),
        "{said}"
    );
    // A client of HTTP/1.0 gets what it can read.
    let (content, requests) = recorder(
        "\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    );
    let site = Site::plain(content);
    let said = site.exchange("GET / HTTP/1.0\r\n\r\n");
    assert!(
        said.ends_with("\r\n\r\nok") && !said.contains("chunked"),
        "{said}"
    );
    let request = requests.recv_timeout(PATIENCE).unwrap();
    assert!(request.contains("host: 127.0.0.1:"), "{request}");
}

#[test]
fn a_client_is_told_to_continue_only_once_somebody_wants_its_body() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::plain(upstream(&listener));
    let head = "PUT / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n";
    let mut client = site.connect();
    client.write_all(head.as_bytes()).unwrap();
    let mut behind = accept(&listener);
    let request = read_head(&mut behind);
    assert!(!request.contains("expect"), "{request}");
    assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 100"));
    client.write_all(b"hello").unwrap();
    read_until(&mut behind, "hello");
    behind.write_all(OK.as_bytes()).unwrap();
    assert!(read_until(&mut client, "ok").starts_with("HTTP/1.1 200"));

    let site = Site::plain(upstream(&TcpListener::bind("127.0.0.1:0").unwrap()));
    let mut client = site.connect();
    client.write_all(head.as_bytes()).unwrap();
    assert!(read_until(&mut client, "\r\n\r\n").starts_with("HTTP/1.1 502"));
}

#[test]
fn a_proxy_that_is_trusted_may_say_for_whom_it_asks() {
    let claims = "GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 10.0.0.1\r\n\
                  x-forwarded-proto: https\r\nforwarded: for=10.0.0.1\r\nconnection: close\r\n\r\n";
    for (trusted, forwarded_for, proto) in [
        ("127.0.0.0/8", "10.0.0.1, 127.0.0.1", "https"),
        ("10.0.0.0/8", "127.0.0.1", "http"),
    ] {
        let (content, requests) = recorder("\r\n\r\n", OK);
        let Content::Upstream(upstream) = content else {
            panic!()
        };
        let upstream = upstream.trusting([trusted.parse().unwrap()]);
        let site = Site::plain_with(Content::Upstream(upstream), Limits::default());
        site.exchange(claims);
        let request = requests.recv_timeout(PATIENCE).unwrap();
        for line in [
            format!("\r\nx-forwarded-for: {forwarded_for}\r\n"),
            format!("\r\nx-forwarded-proto: {proto}\r\n"),
            format!("\r\nx-forwarded-port: {}\r\n", site.address.port()),
        ] {
            assert!(request.contains(&line), "no {line:?} in {request}");
        }
    }
}

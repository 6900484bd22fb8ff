//! Requests on the wrong connection, and what clients are told of https.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use certmint::certificates::{CertificateTable, SourceId};
use certmint::key::KeyType;
use certmint::settings::{Content, Hsts, Limits, ListenerSettings, TlsPolicy};

use super::http_page::Page;
use super::pki::Pki;
use super::proxy::upstream;
use super::site::{Site, anywhere, curl, read_until, source};
use crate::support::{TestEnv, tool};

/// What curl sees that connects under `name` and then asks for `host`, believing any
/// certificate.
fn ask(env: &TestEnv, site: &Site, name: &str, host: &str, more: &[&str]) -> Page {
    let port = site.address.port();
    let (url, host) = (format!("https://{name}:{port}/"), format!("host: {host}"));
    let resolve = format!("{name}:{port}:127.0.0.1");
    let args = ["-k", "-i", "-H", &host, "--resolve", &resolve, &url];
    let out = curl(env, site, &[&args[..], more].concat());
    Page::parse(out.success().stdout())
}

fn status(page: &Page) -> &str {
    page.head.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn a_host_that_the_certificate_does_not_cover_is_misdirected() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let pki = Pki::new();
    let bundle = pki.leaf(KeyType::P256, &["a.test", "b.test", "*.w.test"]);
    let table = CertificateTable::strict();
    let other = pki.leaf(KeyType::P256, &["c.test", "127.0.0.1"]);
    for (name, bundle) in [("a", &bundle), ("c", &other)] {
        let bundle = std::slice::from_ref(bundle);
        table.replace(SourceId::new(name), bundle).unwrap();
    }
    let site = Site::with_table(&env, pki, table, &bundle, anywhere(Content::Page));
    for version in ["--http1.1", "--http2"] {
        for (name, host, expected) in [
            ("a.test", "a.test", "200"),
            ("a.test", "A.Test", "200"),
            ("a.test", "a.test:443", "200"),
            ("a.test", "a.test.", "200"),
            ("a.test", "b.test", "200"),
            ("a.test", "x.w.test", "200"),
            ("x.w.test", "y.w.test", "200"),
            ("127.0.0.1", "127.0.0.1", "200"),
            ("127.0.0.1", "c.test", "200"),
            ("c.test", "127.0.0.1", "200"),
            // misdirected
            ("a.test", "c.test", "421"),
            ("a.test", "w.test", "421"),
            ("a.test", "x.y.w.test", "421"),
            ("a.test", "127.0.0.1", "421"),
            ("a.test", "[::1]", "421"),
            ("a.test", "evil.test", "421"),
            ("a.test", "a.test.evil.test", "421"),
            ("c.test", "a.test", "421"),
            ("127.0.0.1", "a.test", "421"),
            ("127.0.0.1", "127.0.0.2", "421"),
        ] {
            let page = ask(&env, &site, name, host, &[version]);
            assert_eq!(status(&page), expected, "{version} {name} {host}");
        }
    }
}

/// As `serve-custom` does with a certificate for another name.
#[test]
fn a_default_certificate_stands_in_for_what_the_client_asked_for_and_nothing_else() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let pki = Pki::new();
    let bundle = pki.leaf(KeyType::P256, &["d.test"]);
    let table = CertificateTable::with_default(source());
    table
        .replace(source(), std::slice::from_ref(&bundle))
        .unwrap();
    let site = Site::with_table(&env, pki, table, &bundle, anywhere(Content::Page));
    for (name, host, expected) in [
        ("d.test", "d.test", "200"),
        ("localhost", "localhost", "200"),
        ("my_host.test", "my_host.test", "200"),
        ("127.0.0.1", "127.0.0.1", "200"),
        // Behind NAT the client knows another address.
        ("127.0.0.1", "192.0.2.7", "200"),
        ("127.0.0.1", "d.test", "200"),
        ("localhost", "d.test", "200"),
        // misdirected
        ("localhost", "other.test", "421"),
        ("localhost", "127.0.0.1", "421"),
        ("127.0.0.1", "other.test", "421"),
        ("d.test", "localhost", "421"),
    ] {
        let page = ask(&env, &site, name, host, &[]);
        assert_eq!(status(&page), expected, "{name} {host}");
    }
}

#[test]
fn a_misdirected_request_never_reaches_the_upstream() {
    let env = TestEnv::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let site = Site::tls(&env, upstream(&listener), Limits::default());
    for request in [
        "GET / HTTP/1.1\r\nhost: evil.test\r\n\r\n",
        "GET https://evil.test/ HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "GET / HTTP/1.0\r\nhost: evil.test\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: evil.test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
    ] {
        let mut stream = site.handshake("localhost", "http/1.1").unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let said = read_until(&mut stream, "\r\n\r\n");
        assert!(said.contains(" 421 Misdirected Request"), "{said}");
    }
    assert!(listener.accept().is_err());
}

#[test]
fn https_is_promised_only_where_it_would_be_believed() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let pki = Pki::new();
    let good = pki.leaf(KeyType::P256, &["a.test", "*.w.test", "127.0.0.1"]);
    let expired = pki.signed(KeyType::P256, &["old.test"], |params| {
        params.not_after = rcgen::date_time_ymd(2025, 2, 1);
    });
    let table = CertificateTable::with_default(source());
    table
        .replace(source(), std::slice::from_ref(&good))
        .unwrap();
    let old = std::slice::from_ref(&expired);
    table.replace(SourceId::new("old"), old).unwrap();
    let settings = |content, include_subdomains| ListenerSettings {
        tls: TlsPolicy {
            hsts: Some(Hsts {
                max_age: Duration::from_secs(86_400),
                include_subdomains,
            }),
            ..TlsPolicy::default()
        },
        ..anywhere(content)
    };
    let site = Site::with_table(&env, pki, table, &good, settings(Content::Page, true));
    let value = "strict-transport-security: max-age=86400; includesubdomains\r\n";
    for (name, host, promised) in [
        ("a.test", "a.test", true),
        ("a.test", "x.w.test", true),
        ("127.0.0.1", "a.test", true),
        // An address, a name the certificate is not for, and one that has run out.
        ("127.0.0.1", "127.0.0.1", false),
        ("localhost", "localhost", false),
        ("old.test", "old.test", false),
        ("a.test", "evil.test", false),
    ] {
        let page = ask(&env, &site, name, host, &[]);
        assert_eq!(
            page.head.contains(value),
            promised,
            "{name} {host}: {page:?}"
        );
        assert_eq!(page.head.contains("strict-transport"), promised);
    }
    let not_found = ask(
        &env,
        &site,
        "a.test",
        "a.test",
        &["--request-target", "/none"],
    );
    not_found.has(" 404").has(value);
    let plain = site.exchange("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    assert!(
        !plain.to_ascii_lowercase().contains("strict-transport"),
        "{plain}"
    );

    // What an upstream says itself stays.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let site = Site::tls_with(&env, settings(upstream(&listener), false));
    let behind = std::thread::spawn(move || {
        for own in ["", "strict-transport-security: max-age=0\r\n"] {
            let (mut stream, _) = listener.accept().unwrap();
            read_until(&mut stream, "\r\n\r\n");
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n";
            stream
                .write_all(format!("{answer}{own}\r\n").as_bytes())
                .unwrap();
        }
    });
    for expected in ["max-age=86400", "max-age=0"] {
        let page = ask(&env, &site, "localhost", "localhost", &[]);
        page.has(&format!("strict-transport-security: {expected}"));
        assert_eq!(page.head.matches("strict-transport").count(), 1, "{page:?}");
    }
    behind.join().unwrap();

    let plain = Site::plain_with(Content::Page, Limits::default());
    let said = plain.exchange("GET / HTTP/1.1\r\nhost: a.test\r\nconnection: close\r\n\r\n");
    assert!(
        !said.to_ascii_lowercase().contains("strict-transport"),
        "{said}"
    );
}

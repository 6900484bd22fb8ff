//! Static files, and the ways out of their directory that are closed.

use std::os::unix::fs::symlink;

use certmint::settings::{Content, Limits};

use super::http_page::Page;
use super::site::{Site, curl};
use crate::support::{TestEnv, tool};

const SECRET: &str = "outside the root";

/// A root with something of everything.
fn root(env: &TestEnv) -> std::path::PathBuf {
    env.write("secret.txt", SECRET);
    env.write("www-old/secret.txt", SECRET);
    env.write("www/index.html", "<p>index");
    env.write("www/a.txt", "0123456789");
    env.write("www/name with ä.css", "body{}");
    env.write("www/app.js", "plain".repeat(100));
    env.write("www/app.js.br", "brotli");
    env.write("www/app.js.gz", "gzip");
    env.write("www/app.js.zst", "zstd");
    env.write("www/dir/index.html", "<p>dir");
    env.write("www/empty/.keep", "");
    env.write("www/.env", SECRET);
    env.write("www/.git/config", SECRET);
    env.write("www/dir/.htaccess", SECRET);
    env.write("www/.well-known/security.txt", "contact");
    env.write("www/.well-known/.hidden", SECRET);
    let www = env.path("www");
    symlink("../secret.txt", www.join("out.txt")).unwrap();
    symlink(env.path("secret.txt"), www.join("out-absolute.txt")).unwrap();
    symlink("..", www.join("up")).unwrap();
    symlink("/proc/self/environ", www.join("environ")).unwrap();
    symlink("loop", www.join("loop")).unwrap();
    symlink("dir/index.html", www.join("in.html")).unwrap();
    symlink(www.join("a.txt"), www.join("in-absolute.txt")).unwrap();
    symlink(env.path("secret.txt"), www.join("a.txt.gz")).unwrap();
    rustix::fs::mkfifoat(
        rustix::fs::CWD,
        www.join("pipe"),
        rustix::fs::Mode::from_raw_mode(0o644),
    )
    .unwrap();
    www
}

fn site(env: &TestEnv) -> Site {
    Site::plain(Content::Root(root(env)))
}

#[test]
fn files_are_served_with_type_ranges_and_conditions() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = site(&env);
    let get = |args: &[&str], path: &str| {
        let url = site.url(path);
        let out = curl(&env, &site, &[args, &["-i", &url]].concat()).success();
        Page::parse(out.stdout())
    };
    let whole = get(&[], "/a.txt");
    whole
        .has(" 200")
        .has("content-type: text/plain")
        .has("content-length: 10")
        .has("accept-ranges: bytes")
        .has("x-content-type-options: nosniff");
    assert_eq!(whole.body, "0123456789");
    let etag = whole
        .head
        .lines()
        .find(|l| l.starts_with("etag: "))
        .unwrap();
    let etag = format!("if-none-match: {}", etag.trim_start_matches("etag: "));
    assert_eq!(get(&["-H", &etag], "/a.txt").has(" 304").body, "");
    let later = "if-modified-since: Fri, 01 Jan 2100 00:00:00 GMT";
    get(&["-H", later], "/a.txt").has(" 304");
    let part = get(&["-r", "2-4"], "/a.txt");
    part.has(" 206").has("content-range: bytes 2-4/10");
    assert_eq!(part.body, "234");
    assert_eq!(get(&["-r", "-3"], "/a.txt").has(" 206").body, "789");
    get(&["-r", "90-"], "/a.txt").has(" 416");
    let head = get(&["-I"], "/a.txt");
    assert_eq!(head.has("content-length: 10").body, "");
    get(&["-X", "POST"], "/a.txt")
        .has(" 405")
        .has("allow: get, head");

    assert_eq!(get(&[], "/").body, "<p>index");
    get(&[], "/dir").has(" 307").has("location: /dir/");
    let index = get(&[], "/dir/");
    assert_eq!(index.has("content-type: text/html").body, "<p>dir");
    let named = get(&[], "/name%20with%20%C3%A4.css");
    named.has("content-type: text/css");
    assert_eq!(get(&[], "/.well-known/security.txt").body, "contact");
    for link in ["/in.html", "/in-absolute.txt", "/up/www/a.txt"] {
        get(&[], link).has(" 200");
    }
}

#[test]
fn what_was_compressed_before_is_sent_to_those_that_can_read_it() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = site(&env);
    let url = site.url("/app.js");
    for (accepted, encoding, body) in [
        ("br", "content-encoding: br", "brotli"),
        ("gzip", "content-encoding: gzip", "gzip"),
        ("zstd", "content-encoding: zstd", "zstd"),
        ("identity", "content-type: text/javascript", "plain"),
    ] {
        let accept = format!("accept-encoding: {accepted}");
        let out = curl(&env, &site, &["-i", "-H", &accept, &url]).success();
        let page = Page::parse(out.stdout());
        page.has(encoding).has("vary: accept-encoding");
        assert!(page.body.starts_with(body), "{accepted}: {}", page.body);
    }
}

#[test]
fn nothing_hidden_and_nothing_outside_the_root_is_there() {
    let env = TestEnv::new();
    let site = site(&env);
    for path in [
        "/.env",
        "/%2eenv",
        "/%2Egit/config",
        "/.git/",
        "/dir/.htaccess",
        "/.well-known/.hidden",
        "/empty/.keep",
        "/empty/",
        "/../secret.txt",
        "/dir/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/dir/..%5c..%5csecret.txt",
        "/..;/secret.txt",
        "/%252e%252e/secret.txt",
        "/%c0%ae%c0%ae/secret.txt",
        "/../www-old/secret.txt",
        "/%2fetc/passwd",
        "//etc/passwd",
        "//dir",
        "/out.txt",
        "/out-absolute.txt",
        "/up/secret.txt",
        "/environ",
        "/loop",
        "/pipe",
        "/a.txt%00.html",
        "/./.env",
        "/dir/%2e%2e/%2e%2e/secret.txt",
        "/%2e%2e%5csecret.txt",
        "/.%2e/secret.txt",
        "/%2e./secret.txt",
        "/%2E%2E%2Fsecret.txt",
        "/..%252fsecret.txt",
        "/%25%32%65%25%32%65/secret.txt",
        "/..%c0%afsecret.txt",
        "/%e0%80%ae%e0%80%ae/secret.txt",
        "/%uff0e%uff0e/secret.txt",
        "/.well-known/../.env",
        "/.well-known/%2e%2e/.env",
        "/.well-known/../../secret.txt",
        "/dir/.well-known/security.txt",
        "/.WELL-KNOWN/security.txt",
        "/a.txt%2f",
        "/a.txt%5c",
        "/%00",
        "/a.txt%00",
        "/a.txt/",
        "/a.txt/b",
        "/none",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let said = site.exchange(&request);
        assert!(said.starts_with("HTTP/1.1 404"), "{path}: {said}");
        assert!(
            !said.contains(SECRET) && !said.contains("location"),
            "{path}: {said}"
        );
    }
    // The compressed variant is a link that leads out: there is none, then.
    let request =
        "GET /a.txt HTTP/1.1\r\nhost: a\r\naccept-encoding: gzip\r\nconnection: close\r\n\r\n";
    let said = site.exchange(request);
    assert!(said.ends_with("0123456789"), "{said}");
}

#[test]
fn a_root_swapped_by_its_link_is_the_new_one_at_once() {
    let env = TestEnv::new();
    env.write("1/a.txt", "one");
    env.write("2/a.txt", "two");
    symlink("1", env.path("www")).unwrap();
    let site = Site::plain_with(Content::Root(env.path("www")), Limits::default());
    let get = "GET /a.txt HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    assert!(site.exchange(get).ends_with("one"));
    symlink("2", env.path("new")).unwrap();
    std::fs::rename(env.path("new"), env.path("www")).unwrap();
    assert!(site.exchange(get).ends_with("two"));
}

/// What a connection of its own is told, as status, header and body.
fn ask(site: &Site, method: &str, target: &str, lines: &str) -> Page {
    let request =
        format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{lines}\r\n");
    Page::parse(&site.exchange(&request))
}

/// The value of a header line.
fn value<'a>(page: &'a Page, name: &str) -> &'a str {
    let prefix = format!("{name}: ");
    let mut lines = page.head.lines();
    lines
        .find_map(|line| line.strip_prefix(&prefix))
        .unwrap_or_else(|| panic!("no {name} in {}", page.head))
}

#[test]
fn a_range_counts_when_it_is_one_of_bytes_and_of_the_same_file() {
    let env = TestEnv::new();
    let site = site(&env);
    let whole = ask(&site, "GET", "/a.txt", "");
    let (tag, time) = (value(&whole, "etag"), value(&whole, "last-modified"));
    // The header was put in lower case, which a date is not.
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    let time = time.split(' ').map(capital).collect::<Vec<_>>().join(" ");
    let time = time.replace("Gmt", "GMT");
    let part = "range: bytes=2-4\r\n";
    for (lines, status, body) in [
        (part.to_owned(), " 206", "234"),
        ("range: bytes=8-\r\n".into(), " 206", "89"),
        ("range: bytes=8-99\r\n".into(), " 206", "89"),
        ("range: bytes=-3\r\n".into(), " 206", "789"),
        ("range: bytes=-99\r\n".into(), " 200", "0123456789"),
        ("range: Bytes=0-0\r\n".into(), " 206", "0"),
        (format!("{part}if-range: {tag}\r\n"), " 206", "234"),
        (format!("{part}if-range: {time}\r\n"), " 206", "234"),
        // Not the same, or not surely.
        (
            format!("{part}if-range: \"other\"\r\n"),
            " 200",
            "0123456789",
        ),
        (format!("{part}if-range: W/{tag}\r\n"), " 200", "0123456789"),
        (
            format!("{part}if-range: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
            " 200",
            "0123456789",
        ),
        (format!("if-range: {tag}\r\n"), " 200", "0123456789"),
        // Of what we do not know, and several: the whole is right, too.
        ("range: lines=2-4\r\n".into(), " 200", "0123456789"),
        ("range: bytes=0-1,4-5\r\n".into(), " 200", "0123456789"),
        (
            format!("range: bytes={}0-0\r\n", "0-0,".repeat(999)),
            " 200",
            "0123456789",
        ),
        // Nothing of it is there.
        ("range: bytes=10-\r\n".into(), " 416", ""),
        ("range: bytes=5-2\r\n".into(), " 416", ""),
        ("range: bytes=-0\r\n".into(), " 416", ""),
        ("range: bytes=99999999999999999999-\r\n".into(), " 416", ""),
    ] {
        let page = ask(&site, "GET", "/a.txt", &lines);
        page.has(status)
            .has("vary: accept-encoding")
            .has("accept-ranges: bytes");
        assert_eq!(page.body, body, "{lines}");
        if status == " 416" {
            page.has("content-range: bytes */10");
        }
    }
    env.write("www/none.txt", "");
    for range in ["bytes=0-", "bytes=0-0", "bytes=-5"] {
        let page = ask(&site, "GET", "/none.txt", &format!("range: {range}\r\n"));
        page.has(" 200").has("content-length: 0");
    }
    // A range means something with GET alone.
    let head = ask(&site, "HEAD", "/a.txt", part);
    assert_eq!(head.has(" 200").has("content-length: 10").body, "");
}

#[test]
fn conditions_are_judged_in_the_order_of_the_rfc() {
    let env = TestEnv::new();
    let site = site(&env);
    let whole = ask(&site, "GET", "/a.txt", "");
    let tag = value(&whole, "etag").to_owned();
    let (old, late) = (
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "Fri, 01 Jan 2100 00:00:00 GMT",
    );
    for method in ["GET", "HEAD"] {
        for (lines, status) in [
            (format!("if-none-match: {tag}\r\n"), " 304"),
            (format!("if-none-match: W/{tag}\r\n"), " 304"),
            (format!("if-none-match: \"a\", {tag}\r\n"), " 304"),
            ("if-none-match: *\r\n".into(), " 304"),
            ("if-none-match: \"a\"\r\n".into(), " 200"),
            (format!("if-modified-since: {late}\r\n"), " 304"),
            (format!("if-modified-since: {old}\r\n"), " 200"),
            ("if-modified-since: yesterday\r\n".into(), " 200"),
            (
                format!("if-none-match: \"a\"\r\nif-modified-since: {late}\r\n"),
                " 200",
            ),
            (format!("if-match: {tag}\r\n"), " 200"),
            ("if-match: \"a\"\r\n".into(), " 412"),
            (format!("if-unmodified-since: {old}\r\n"), " 412"),
            (
                format!("if-match: {tag}\r\nif-unmodified-since: {old}\r\n"),
                " 200",
            ),
        ] {
            let page = ask(&site, method, "/a.txt", &lines);
            page.has(status).has("vary: accept-encoding");
            if status != " 200" || method == "HEAD" {
                assert_eq!(page.body, "", "{method} {lines}");
            }
            if status == " 304" {
                assert_eq!(value(&page, "etag"), tag);
            }
        }
    }
}

#[test]
fn every_answer_says_what_it_is_and_what_it_depends_on() {
    let env = TestEnv::new();
    let site = site(&env);
    for (name, kind) in [
        ("a.txt", "text/plain; charset=utf-8"),
        ("index.html", "text/html; charset=utf-8"),
        ("app.js", "text/javascript; charset=utf-8"),
        ("x.css", "text/css; charset=utf-8"),
        ("x.json", "application/json"),
        ("x.svg", "image/svg+xml"),
        ("x.png", "image/png"),
        ("x.wasm", "application/wasm"),
        ("x.unheard-of", "application/octet-stream"),
        ("x", "application/octet-stream"),
    ] {
        if name.starts_with('x') {
            env.write(format!("www/{name}"), "0123456789");
        }
        let target = format!("/{name}");
        let get = ask(&site, "GET", &target, "");
        assert_eq!(value(&get, "content-type"), kind, "{name}");
        get.has("x-content-type-options: nosniff")
            .has("etag: ")
            .has("last-modified: ");
        // HEAD says the same of everything but the moment.
        let lines = |page: &Page| {
            let mut lines: Vec<String> = page.head.lines().map(str::to_owned).collect();
            lines.retain(|line| !line.starts_with("date:"));
            lines.sort();
            lines
        };
        for accepted in ["", "accept-encoding: gzip, br;q=0, zstd;q=0\r\n"] {
            let (get, head) = (
                ask(&site, "GET", &target, accepted),
                ask(&site, "HEAD", &target, accepted),
            );
            assert_eq!(lines(&get), lines(&head), "{name}");
        }
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let page = ask(&site, method, "/a.txt", "");
        page.has(" 405")
            .has("allow: get, head")
            .has("x-content-type-options: nosniff");
    }
    ask(&site, "GET", "/none", "")
        .has(" 404")
        .has("x-content-type-options: nosniff");
}

#[test]
fn a_compressed_variant_that_cannot_be_read_hides_nothing() {
    let env = TestEnv::new();
    let root = root(&env);
    std::fs::create_dir(root.join("a.txt.br")).unwrap();
    symlink("loop", root.join("a.txt.zst")).unwrap();
    let site = Site::plain(Content::Root(root));
    for (accepted, encoding) in [
        ("br", ""),
        ("zstd", ""),
        ("gzip", ""),
        ("br, zstd, gzip", ""),
        ("x, *", ""),
    ] {
        let page = ask(
            &site,
            "GET",
            "/a.txt",
            &format!("accept-encoding: {accepted}\r\n"),
        );
        assert_eq!(page.has(" 200").body, "0123456789", "{accepted}{encoding}");
        assert!(!page.head.contains("content-encoding"), "{accepted}");
    }
    for (accepted, body) in [
        ("gzip;q=0.5, br;q=0.4", "gzip"),
        ("gzip;q=0, br", "brotli"),
        ("zstd;q=1, br;q=0.9", "zstd"),
        ("GZIP", "gzip"),
        ("gzip;q=0", "plain"),
        ("deflate, x", "plain"),
    ] {
        let page = ask(
            &site,
            "GET",
            "/app.js",
            &format!("accept-encoding: {accepted}\r\n"),
        );
        assert!(page.body.starts_with(body), "{accepted}: {}", page.body);
        page.has("content-type: text/javascript");
    }
    // A part of a variant is a part of its bytes.
    let lines = "accept-encoding: br\r\nrange: bytes=0-2\r\n";
    let page = ask(&site, "GET", "/app.js", lines);
    assert_eq!(
        page.has(" 206").has("content-range: bytes 0-2/6").body,
        "bro"
    );
}

#[test]
fn a_redirect_to_a_directory_stays_here() {
    let env = TestEnv::new();
    let site = site(&env);
    for (target, location) in [
        ("/dir", "/dir/"),
        ("/dir?a=b&c", "/dir/?a=b&c"),
        ("/%64ir", "/%64ir/"),
        ("/./dir", "/./dir/"),
        ("http://evil.test/dir", "/dir/"),
    ] {
        let page = ask(&site, "GET", target, "");
        assert_eq!(value(page.has(" 307"), "location"), location, "{target}");
    }
    for target in [
        "//evil.test/dir",
        "//evil.test",
        "///dir",
        "//dir",
        "/%2fdir",
        "/%5cdir",
        "/\\dir",
    ] {
        let page = ask(&site, "GET", target, "");
        assert!(!page.has(" 404").head.contains("location"), "{target}");
    }
}

#[test]
fn a_file_that_changes_while_it_is_served_is_sent_as_it_was_or_cut() {
    use std::io::{Read, Write};

    const SIZE: usize = 24 << 20;
    let env = TestEnv::new();
    let site = Site::plain(Content::Root(
        env.write("www/large", vec![b'a'; SIZE])
            .parent()
            .unwrap()
            .into(),
    ));
    let file = env.path("www/large");
    let begin = || {
        let mut stream = site.connect();
        let get = "GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
        stream.write_all(get.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream
    };
    let rest = |mut stream: std::net::TcpStream| {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        bytes
    };
    // Renamed over: the one that was asked for.
    let stream = begin();
    env.write("new", vec![b'b'; SIZE / 2]);
    std::fs::rename(env.path("new"), &file).unwrap();
    let got = rest(stream);
    assert!(got.len() == SIZE && got.iter().all(|&b| b == b'a'));
    assert_eq!(rest(begin()).len(), SIZE / 2);
    // Grown: as long as was promised.
    std::fs::write(&file, vec![b'c'; SIZE]).unwrap();
    let stream = begin();
    let mut append = std::fs::File::options().append(true).open(&file).unwrap();
    append.write_all(&[b'd'; 1 << 20]).unwrap();
    let got = rest(stream);
    assert!(got.len() == SIZE && got.iter().all(|&b| b == b'c'));
    // Cut short: the connection ends, and nothing stands in for the rest.
    let stream = begin();
    append.set_len(1 << 20).unwrap();
    let got = rest(stream);
    assert!(
        got.len() < SIZE && got.iter().all(|&b| b == b'c'),
        "{}",
        got.len()
    );
}

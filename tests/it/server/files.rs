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

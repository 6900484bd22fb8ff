//! The server as its clients see it: curl, OpenSSL, rustls, and clients that
//! misbehave.

mod acme;
mod addresses;
mod application;
mod bounds;
mod browser;
mod client_auth;
mod direction;
mod drain;
mod files;
mod http2;
mod limits;
mod pki;
mod proxy;
mod proxy_protocol;
mod reload;
mod scanners;
mod site;
mod slow;
mod smuggling;
mod stalled;
mod telemetry;
mod tls;
mod untaken;

#[cfg(feature = "acme")]
pub(crate) use acme::Twin;
use http_page::Page;
#[cfg(feature = "acme")]
pub(crate) use site::connect_from;
use site::{Site, curl};
#[cfg(feature = "acme")]
pub(crate) use stalled::memory;

use crate::support::{TestEnv, tool};

mod http_page {
    /// What `curl -i` printed, taken apart.
    #[derive(Debug)]
    pub(super) struct Page {
        pub(super) head: String,
        pub(super) body: String,
    }

    impl Page {
        pub(super) fn parse(text: &str) -> Self {
            let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
            Self {
                head: head.to_ascii_lowercase(),
                body: body.to_owned(),
            }
        }

        #[track_caller]
        pub(super) fn has(&self, line: &str) -> &Self {
            assert!(self.head.contains(line), "no `{line}` in\n{}", self.head);
            self
        }
    }
}

#[test]
fn the_page_shows_the_certificate_to_browsers_programs_and_terminals() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = Site::page(&env);
    let get = |accept: &str, version: &str| {
        let accept = format!("accept: {accept}");
        let out = curl(&env, &site, &["-i", version, "-H", &accept, &site.url("/")]);
        Page::parse(out.success().stdout())
    };
    let html = get("text/html", "--http2");
    html.has("http/2 200")
        .has("content-type: text/html; charset=utf-8")
        .has("content-security-policy: default-src 'none'; style-src 'sha256-")
        .has("x-content-type-options: nosniff")
        .has("cache-control: no-store");
    for part in [
        "<h1>localhost</h1>",
        "TLS 1.3",
        "Test Intermediate",
        "127.0.0.1",
    ] {
        assert!(html.body.contains(part), "no {part} in {}", html.body);
    }
    assert!(!html.body.contains("<script"));

    let json = get("application/json", "--http1.1");
    json.has("http/1.1 200")
        .has("content-type: application/json");
    let json: serde_json::Value = serde_json::from_str(&json.body).unwrap();
    assert_eq!(json["schema"], "certmint.connection/1");
    assert_eq!(json["http"], "HTTP/1.1");
    assert_eq!(json["tls"]["version"], "TLS 1.3");
    assert_eq!(json["tls"]["alpn"], "http/1.1");
    assert_eq!(json["tls"]["server_name"], "localhost");
    assert_eq!(json["tls"]["resumed"], false);
    assert_eq!(json["certificate"]["names"][0], "localhost");
    let serial = site.leaf.serial_hex();
    assert_eq!(json["certificate"]["serial"], serial.as_str());
    assert_eq!(
        json["certificate"]["chain"][0]["subject"],
        "CN=Test Intermediate"
    );

    let words = get("*/*", "--http1.1");
    words.has("content-type: text/plain");
    assert!(
        words
            .body
            .starts_with("This connection is encrypted with TLS 1.3.")
    );
}

#[test]
fn the_page_can_be_read_and_nothing_else() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = Site::page(&env);
    let url = site.url("/");
    let head = curl(&env, &site, &["-I", &url]).success();
    let head = Page::parse(head.stdout());
    head.has(" 200").has("content-length: ");
    assert_eq!(head.body, "");
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let out = curl(&env, &site, &["-i", "-X", method, "-d", "x", &url]).success();
        Page::parse(out.stdout())
            .has(" 405")
            .has("allow: get, head");
    }
    let out = curl(&env, &site, &["-i", &site.url("/else")]).success();
    Page::parse(out.stdout()).has(" 404");
}

#[test]
fn without_tls_the_page_says_so() {
    let Some(_) = tool("curl") else { return };
    let env = TestEnv::new();
    let site = Site::plain(certmint::settings::Content::Page);
    let url = site.url("/");
    let html = curl(&env, &site, &["-H", "accept: text/html", &url]).success();
    assert!(html.stdout().contains("Not encrypted"), "{}", html.stdout());
    let json = curl(&env, &site, &["-H", "accept: application/json", &url]).success();
    let json: serde_json::Value = serde_json::from_str(json.stdout()).unwrap();
    assert!(json["tls"].is_null() && json["certificate"].is_null());
}

//! The built-in page in a browser: Chromium without a screen, which verifies the
//! certificate by its own store of roots and tells what the page's policy forbids.

use std::path::Path;
use std::time::Duration;

use super::site::Site;
use crate::support::{Output, TestEnv, tool};

/// A browser takes its time to start.
const PATIENCE: Duration = Duration::from_mins(3);

/// The document that `url` is for Chromium, and on standard error its console.
fn visit(env: &TestEnv, chromium: &Path, url: &str) -> Output {
    // Root has no sandbox; the profile is the environment's.
    let mode = ["--headless=new", "--no-sandbox", "--disable-gpu"];
    let quiet = ["--disable-background-networking", "--no-first-run"];
    let profile = format!("--user-data-dir={}", env.path("profile").display());
    let shown = ["--enable-logging=stderr", "--dump-dom", url];
    let run = env.command(chromium, mode).args(quiet).arg(profile);
    run.args(shown).deadline(PATIENCE).run()
}

/// What Chromium's console says: scripts that fail, and all that a policy forbids.
fn console(visit: &Output) -> Vec<&str> {
    let lines = visit.stderr().lines();
    lines.filter(|line| line.contains(":CONSOLE")).collect()
}

#[test]
fn chromium_trusts_the_root_and_shows_the_page_without_complaint() {
    let (Some(chromium), Some(certutil)) = (tool("chromium"), tool("certutil")) else {
        return;
    };
    let env = TestEnv::new();
    let site = Site::page(&env);
    let url = site.url("/");
    // A stranger's certificate: the browser's own page instead of ours.
    let stranger = visit(&env, &chromium, &url);
    assert!(!stranger.stdout().contains("certmint"), "{stranger:?}");
    // Begun anew: it remembers what it did not trust.
    std::fs::remove_dir_all(env.path("profile")).unwrap();

    let store = env.home().join(".pki/nssdb");
    std::fs::create_dir_all(&store).unwrap();
    let store = format!("sql:{}", store.display());
    let root = site.root_pem.to_str().unwrap();
    let made = env.command(&certutil, ["-N", "--empty-password", "-d", &store]);
    let _ = made.run().success();
    let trusting = ["-A", "-n", "root", "-t", "C,,", "-i", root, "-d", &store];
    let _ = env.command(&certutil, trusting).run().success();
    let seen = visit(&env, &chromium, &url).success();
    let page = seen.stdout().replace("<wbr>", "");
    let serial = site.leaf.serial_hex();
    for part in [
        "<title>localhost · certmint</title>",
        "<h1>localhost</h1>",
        "<li>127.0.0.1</li>",
        "TLS 1.3",
        "<dd>HTTP/2</dd>",
        "<dd>h2</dd>",
        "X25519MLKEM768",
        "Test Intermediate",
        &serial,
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert_eq!(console(&seen), [""; 0], "{page}");
    let missing = visit(&env, &chromium, &site.url("/else")).success();
    assert!(missing.stdout().contains("the only page here is /"));
}

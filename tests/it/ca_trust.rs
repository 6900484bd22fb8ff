//! `certmint ca trust`, in a system that is a directory of the test.

use crate::ca::{Ca, json, openssl};
use crate::support::tool;

#[test]
fn the_system_store_is_changed_below_its_root_and_only_when_asked() {
    if tool("update-ca-certificates").is_none() || tool("openssl").is_none() {
        return;
    }
    if !rustix::process::geteuid().is_root() {
        crate::support::tools::skip("root");
        return;
    }
    let ca = Ca::new();
    for dir in [
        "etc/ssl/certs",
        "usr/local/share/ca-certificates",
        "usr/share/ca-certificates",
    ] {
        std::fs::create_dir_all(ca.path("sys").join(dir)).unwrap();
    }
    // Debian's tool keeps the last list when there would be none at all.
    ca.write("sys/etc/ca-certificates.conf", "other.crt\n");
    let other = Ca::new();
    ca.write(
        "sys/usr/share/ca-certificates/other.crt",
        other.read("state/ca/root.pem"),
    );
    let sys = ca.path("sys");
    let trust = |args: &[&str]| {
        ca.ca(["trust"])
            .args(args)
            .args(["--store", "system", "--sysroot"])
            .arg(&sys)
            .run()
    };
    let state = || {
        let report = json(&trust(&["status", "--json"]).success(), "certmint.trust/1");
        serde_json::to_string(&report["stores"]).unwrap()
    };
    assert!(
        trust(&["status"])
            .success()
            .stdout()
            .contains("not trusted")
    );
    let dry = trust(&["install", "--dry-run"]).success();
    assert!(dry.stdout().contains("ca-certificates"), "{}", dry.stdout());
    assert!(
        trust(&["status"])
            .success()
            .stdout()
            .contains("not trusted")
    );

    let out = trust(&["install"]).success();
    assert!(
        out.stdout().contains("trusts the root now"),
        "{}",
        out.stdout()
    );
    assert!(out.stderr().contains("SSL_CERT_FILE") || out.stderr().contains("NODE_EXTRA_CA_CERTS"));
    assert!(state().contains("trusted"), "{}", state());
    let _ = openssl(&ca, &["verify", "-no-CAfile", "-no-CAstore", "-CApath"])
        .arg(sys.join("etc/ssl/certs"))
        .arg(ca.roots())
        .run()
        .success();
    let again = trust(&["install"]).success();
    assert!(again.stdout().contains("already"), "{}", again.stdout());
    let out = trust(&["uninstall"]).success();
    assert!(
        out.stdout().contains("no longer holds the root now"),
        "{}",
        out.stdout()
    );
    assert!(
        trust(&["status"])
            .success()
            .stdout()
            .contains("not trusted")
    );
    let _ = trust(&["uninstall"]).success();
    let out = ca
        .ca(["trust", "status", "--store", "windows"])
        .run()
        .code(2);
    assert!(out.stderr().contains("system, nss or java"));
}

//! `certmint ca revoke` and `certmint ca crl`: what clients that look then do.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::ca::{Ca, json, openssl};
use crate::support::{Output, tool};

/// OpenSSL's verdict on the leaf in `dir`, with the CRL in `crl` (PEM).
fn checked(ca: &Ca, dir: &Path, crl: &Path) -> Output {
    openssl(ca, &["verify", "-x509_strict", "-crl_check", "-CAfile"])
        .arg(ca.roots())
        .arg("-untrusted")
        .arg(dir.join("chain.pem"))
        .arg("-CRLfile")
        .arg(crl)
        .arg(dir.join("cert.pem"))
        .run()
}

#[test]
fn openssl_refuses_what_was_revoked_by_name_serial_or_id_and_nothing_else() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let by_name = ca.issue(&["name.test"]);
    let by_serial = ca.issue(&["serial.test"]);
    let by_id = {
        let _ = ca.ca(["issue", "id.test", "--id", "my-id"]).run().success();
        ca.current("my-id")
    };
    let kept = ca.issue(&["kept.test"]);
    let serial = ca.serial(&by_serial.join("cert.pem"));
    let coloned = serial
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).to_uppercase())
        .collect::<Vec<_>>()
        .join(":");
    for (target, reason) in [
        ("NAME.test", "keyCompromise"),
        (&*coloned, "superseded"),
        ("my-id", "cessationOfOperation"),
    ] {
        let out = ca
            .ca(["revoke", target, "--reason", reason, "--json"])
            .run();
        let report = json(&out.success(), "certmint.revoke/1");
        assert_eq!(report["revoked"].as_array().unwrap().len(), 1, "{target}");
        assert_eq!(report["revoked"][0]["already"], false);
    }
    let crl = ca.state().join("ca/crl/I1.crl.pem");
    for dir in [&by_name, &by_serial, &by_id] {
        let out = checked(&ca, dir, &crl);
        assert!(
            out.stderr().contains("certificate revoked"),
            "{}",
            out.stderr()
        );
    }
    let _ = checked(&ca, &kept, &crl).success();
    let text = openssl(&ca, &["crl", "-noout", "-text", "-in"])
        .arg(&crl)
        .run();
    let text = text.success();
    for reason in ["Key Compromise", "Superseded", "Cessation Of Operation"] {
        assert!(text.stdout().contains(reason), "{reason}");
    }
    // Once more is no failure, and neither date nor reason changes.
    let out = ca
        .ca(["revoke", &serial, "--reason", "keyCompromise", "--json"])
        .run();
    let report = json(&out.success(), "certmint.revoke/1");
    assert_eq!(report["revoked"][0]["already"], true);
    assert_eq!(report["revoked"][0]["reason"], "superseded");
    let again = ca.ca(["revoke", &serial]).run().success();
    assert!(
        again.stdout().contains("was revoked before"),
        "{}",
        again.stdout()
    );
}

#[test]
fn an_old_key_that_does_not_open_hides_no_revocation_of_the_new_one() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let _ = ca.ca(["rotate", "intermediate"]).run().success();
    let dir = ca.issue(&["a.test"]);
    let key = ca.state().join("ca/intermediate/I1/key.pem");
    std::fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
    let out = ca.ca(["revoke", "a.test"]).run().code(1);
    assert!(out.stdout().contains("a.test  revoked"), "{}", out.stdout());
    assert!(out.stdout().contains("crl of I2"), "{}", out.stdout());
    assert!(out.stderr().contains("I1/key.pem"), "{}", out.stderr());
    assert!(out.stderr().contains("chmod 600"), "{}", out.stderr());
    let crl = ca.state().join("ca/crl/I2.crl.pem");
    let verdict = checked(&ca, &dir, &crl);
    assert!(verdict.stderr().contains("certificate revoked"));
    // A copy is of the list of who issues, or there is none.
    let out = ca.ca(["crl", "--out", "copy"]).run().code(1);
    assert!(out.stderr().contains("I1/key.pem"), "{}", out.stderr());
    let copy = std::fs::read_to_string(ca.path("copy")).unwrap();
    assert_eq!(copy, std::fs::read_to_string(crl).unwrap());
}

#[test]
fn a_name_means_all_its_valid_certificates() {
    let ca = Ca::new();
    let _ = ca.issue(&["a.test"]);
    let _ = ca.issue(&["a.test", "b.test"]);
    let _ = ca.issue(&["b.test"]);
    let out = ca.ca(["revoke", "a.test", "--json"]).run().success();
    let report = json(&out, "certmint.revoke/1");
    assert_eq!(report["revoked"].as_array().unwrap().len(), 2);
    let out = ca.ca(["list", "--revoked"]).run().success();
    assert_eq!(out.stdout().lines().count(), 3, "{}", out.stdout());
    // What is revoked is renewed at once.
    let out = ca.certmint(["renew"]).run().success();
    assert!(
        out.stdout().contains("a.test"),
        "{}{}",
        out.stdout(),
        out.stderr()
    );
    assert!(
        !out.stdout().contains("b.test  renewed"),
        "{}",
        out.stdout()
    );
}

#[test]
fn what_cannot_be_revoked_is_said_and_no_crl_is_made() {
    let ca = Ca::new();
    let _ = ca.issue(&["a.test"]);
    let listed = ca.ca(["list", "--all", "--json"]).run().success();
    let listed = json(&listed, "certmint.list/1");
    let rows = listed["certificates"].as_array().unwrap();
    let root = rows.iter().find(|row| row["role"] == "root").unwrap();
    let table = [
        ("unknown.test", 1, "ca list"),
        ("00ff00ff00ff00ff", 1, "ca list"),
        ("", 1, "ca list"),
        ("../../evil", 1, "ca list"),
        ("a\u{1b}[31m", 1, "\\u{1b}"),
        (root["serial"].as_str().unwrap(), 2, "ca rotate"),
    ];
    for (target, code, said) in table {
        let out = ca.ca(["revoke", target]).run().code(code);
        assert!(out.stderr().contains(said), "{target}: {}", out.stderr());
        assert!(!out.stderr().contains('\u{1b}'));
    }
    let out = ca
        .ca(["revoke", "a.test", "--reason", "because"])
        .run()
        .code(2);
    assert!(out.stderr().contains("keyCompromise"), "{}", out.stderr());
    let _ = ca.ca(["revoke"]).run().code(2);
    assert!(!ca.state().join("ca/crl").exists());
}

#[test]
fn a_crl_goes_where_it_is_asked_to_with_a_number_that_only_grows() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let number = |file: &str, form: &str| {
        let args = ["crl", "-noout", "-crlnumber", "-inform", form, "-in", file];
        let out = openssl(&ca, &args).run().success();
        let hex = out
            .stdout()
            .trim()
            .trim_start_matches("crlNumber=0x")
            .to_owned();
        u64::from_str_radix(&hex, 16).unwrap()
    };
    let out = ca.ca(["crl"]).run().success();
    assert!(out.stdout().contains("I1.crl"), "{}", out.stdout());
    let _ = ca.ca(["crl", "--out", "a.pem"]).run().success();
    let _ = ca
        .ca(["crl", "--out", "b.der", "--der", "--days", "30"])
        .run()
        .success();
    let out = ca.ca(["crl", "--out", "-", "-q"]).run().success();
    assert!(out.stdout().starts_with("-----BEGIN X509 CRL-----"));
    ca.write("c.pem", out.stdout());
    let numbers = [
        number("a.pem", "PEM"),
        number("b.der", "DER"),
        number("c.pem", "PEM"),
    ];
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    let chain = ca.state().join("ca/chain.pem");
    let out = openssl(
        &ca,
        &["crl", "-noout", "-verify", "-in", "a.pem", "-CAfile"],
    )
    .arg(&chain)
    .run()
    .success();
    assert!(out.stderr().contains("verify OK"), "{}", out.stderr());
    let script = format!(
        "{} ca crl --der --out - > d.der",
        env!("CARGO_BIN_EXE_certmint")
    );
    let run = ca
        .command("/bin/sh", ["-c", &script])
        .env("CERTMINT_HOME", ca.state());
    let _ = run.run().success();
    assert!(
        number("d.der", "DER") > numbers[2],
        "DER on a pipe is not mangled"
    );
    let out = ca.ca(["crl", "--der"]).run().code(2);
    assert!(out.stderr().contains("--out"));
    for bad in ["0", "366", "x"] {
        let _ = ca.ca(["crl", "--days", bad]).run().code(2);
    }
}

#[test]
fn addresses_of_the_crl_stand_in_what_lives_over_a_week() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::with(["--crl-url", "http://crl.test/lists"]);
    let text = |dir: &Path| {
        let out = openssl(&ca, &["x509", "-noout", "-text", "-in"])
            .arg(dir.join("cert.pem"))
            .run()
            .success();
        out.stdout().to_owned()
    };
    let long = text(&ca.issue(&["long.test", "--days", "30"]));
    assert!(long.contains("URI:http://crl.test/lists/I1.crl"), "{long}");
    let short = text(&ca.issue(&["short.test", "--days", "6"]));
    assert!(!short.contains("crl.test"), "{short}");
}

//! `certmint ca status`: every finding provoked as it would come about.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::ca::{Ca, json};
use crate::support::{Output, tool};

/// `ca status` as it will be this much later, when there is faketime.
fn later(ca: &Ca, offset: &str, args: &[&str]) -> Option<Output> {
    let faketime = tool("faketime")?;
    let under = [faketime.to_str().unwrap(), "-f", offset];
    Some(ca.ca(["status"]).args(args).under(under).run())
}

/// The ids of every finding in a report, wherever it hangs.
fn findings(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if name == "findings" {
                    let all = field.as_array().unwrap().iter();
                    found.extend(all.map(|f| f["id"].as_str().unwrap().to_owned()));
                }
                found.extend(findings(field));
            }
        }
        Value::Array(items) => found.extend(items.iter().flat_map(findings)),
        _ => {}
    }
    found
}

#[test]
fn a_healthy_ca_says_so_with_exit_code_0_in_text_and_json() {
    let ca = Ca::new();
    let _ = ca.issue(&["a.test", "b.test"]);
    let out = ca.ca(["status"]).run().success();
    assert!(
        out.stdout()
            .contains("the CA is healthy, and so is its one certificate")
    );
    assert!(!out.stdout().contains('\u{1b}'), "no colour on a pipe");
    let report = json(
        &ca.ca(["status", "--json"]).run().success(),
        "certmint.ca-status/1",
    );
    assert_eq!(report["overall"], "ok");
    assert_eq!(findings(&report), [""; 0]);
    let block = &report["ca"];
    assert_eq!(block["name"], "Test");
    assert_eq!(block["home"], ca.state().to_str().unwrap());
    assert_eq!(block["roots"][0]["generation"], "R1");
    assert_eq!(block["roots"][0]["key_location"], "here");
    assert_eq!(block["intermediates"][0]["active"], true);
    assert_eq!(block["counts"]["issued"], 1);
    let cert = &report["certificates"][0];
    assert_eq!(cert["name"], "a.test");
    assert_eq!(cert["managed"], true);
    assert_eq!(cert["status"], "ok");
    for (field, kind) in [("not_after", "T"), ("renew_at", "T"), ("generated_at", "T")] {
        let from = if field == "generated_at" {
            &report
        } else {
            cert
        };
        let text = from[field].as_str().unwrap();
        assert!(
            text.contains(kind) && text.ends_with('Z'),
            "{field}: {text}"
        );
    }
    assert!(cert["seconds_left"].as_i64().unwrap() > 80 * 86_400);
    assert_eq!(cert["key"]["mode"], "0600");
    let _ = ca.ca(["init", "--if-missing"]).run().success();
}

#[test]
fn what_ends_soon_is_3_and_what_has_ended_is_4_unless_told_otherwise() {
    let ca = Ca::new();
    let _ = ca.issue(&["a.test"]);
    let table = [
        ("+50d", 0, "", "the CA is healthy"),
        ("+65d", 3, "due", "certmint renew a.test"),
        ("+85d", 4, "overdue", "certmint renew a.test"),
        ("+91d", 4, "expired", "certmint renew a.test"),
        ("-3d", 4, "not-yet-valid", "check this machine's clock"),
    ];
    for (offset, code, finding, said) in table {
        let Some(out) = later(&ca, offset, &[]) else {
            return;
        };
        let out = out.code(code);
        assert!(out.stdout().contains(said), "{offset}: {}", out.stdout());
        let out = later(&ca, offset, &["--json"]).unwrap().code(code);
        let found = findings(&json(&out, "certmint.ca-status/1"));
        assert_eq!(
            found.iter().any(|f| f == finding),
            code != 0,
            "{offset}: {found:?}"
        );
        let wanted = [
            ("critical", if code == 4 { 4 } else { 0 }),
            ("never", 0),
            ("warn", code),
        ];
        for (level, code) in wanted {
            let _ = later(&ca, offset, &["--fail-on", level])
                .unwrap()
                .code(code);
        }
    }
    let out = ca.ca(["status", "--days", "100"]).run().code(3);
    assert!(out.stdout().contains("due"), "{}", out.stdout());
    // The suggested command does what it promises.
    let renewed = ca.certmint(["renew", "a.test", "--force"]).run().success();
    assert!(renewed.stdout().contains("renewed"));
    let _ = ca.ca(["status"]).run().success();
}

#[test]
fn a_root_that_ends_is_told_long_before() {
    let ca = Ca::with(["--root-days", "400", "--intermediate-days", "400"]);
    let Some(out) = later(&ca, "+330d", &["--json"]) else {
        return;
    };
    let report = json(&out.code(3), "certmint.ca-status/1");
    assert!(findings(&report).contains(&"due".to_owned()));
    let text = later(&ca, "+330d", &[]).unwrap().code(3);
    assert!(
        text.stdout().contains("certmint ca rotate root"),
        "{}",
        text.stdout()
    );
}

#[test]
fn a_key_open_to_others_is_critical_and_refused() {
    let ca = Ca::new();
    let dir = ca.issue(&["a.test"]);
    let open = |path: &std::path::Path, mode: u32| {
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    };
    let leaf = dir.join("privkey.pem");
    open(&leaf, 0o644);
    let out = ca.ca(["status"]).run().code(4);
    assert!(
        out.stdout().contains("0644") && out.stdout().contains("chmod 600"),
        "{}",
        out.stdout()
    );
    let again = ca.certmint(["renew", "a.test"]).run().code(1);
    assert!(again.stderr().contains("chmod 600"), "{}", again.stderr());
    open(&leaf, 0o600);
    let _ = ca.ca(["status"]).run().success();
    let key = ca.state().join("ca/intermediate/I1/key.pem");
    open(&key, 0o640);
    let out = ca.ca(["status"]).run().code(4);
    assert!(out.stdout().contains("key-mode"), "{}", out.stdout());
    let out = ca.ca(["issue", "b.test"]).run().code(1);
    assert!(
        out.stderr().contains("key.pem") && out.stderr().contains("chmod"),
        "{}",
        out.stderr()
    );
    open(&key, 0o600);
    let _ = ca.ca(["issue", "b.test"]).run().success();
}

#[test]
fn revocation_and_a_stale_crl_are_critical_and_name_the_command() {
    let ca = Ca::new();
    let _ = ca.issue(&["a.test"]);
    let _ = ca
        .ca(["revoke", "a.test", "--reason", "keyCompromise"])
        .run()
        .success();
    let out = ca.ca(["status"]).run().code(4);
    for said in ["revoked", "keyCompromise", "certmint renew a.test"] {
        assert!(out.stdout().contains(said), "{said}: {}", out.stdout());
    }
    let _ = ca.certmint(["renew"]).run().success();
    let _ = ca.ca(["status"]).run().success();
    let Some(out) = later(&ca, "+8d", &[]) else {
        return;
    };
    let out = out.code(4);
    assert!(out.stdout().contains("stale-crl"), "{}", out.stdout());
    assert!(out.stdout().contains("certmint ca crl"), "{}", out.stdout());
    let soon = later(&ca, "+160h", &[]).unwrap().code(3);
    assert!(
        soon.stdout().contains("will be out of date"),
        "{}",
        soon.stdout()
    );
}

#[test]
fn a_damaged_generation_is_passed_over_and_told() {
    let ca = Ca::new();
    let dir = ca.issue(&["a.test"]);
    let _ = ca.issue(&["a.test"]);
    // Somebody replaces the key of the newest by that of another.
    let other = ca.issue(&["b.test"]).join("privkey.pem");
    let key = std::fs::read(&other).unwrap();
    std::fs::write(dir.join("privkey.pem"), key).unwrap();
    let out = ca.ca(["status"]).run();
    assert!(
        matches!(out.status().code(), Some(3 | 4)),
        "{}",
        out.stdout()
    );
    assert!(out.stdout().contains("damaged") && out.stdout().contains("a.test"));
    let out = ca.certmint(["renew"]).run().success();
    assert!(out.stdout().contains("a.test  renewed"), "{}", out.stdout());
    let _ = ca.ca(["status"]).run().success();
    // All of it gone: that one is critical, the others are still shown.
    for generation in ["1", "2", "3"] {
        let path = ca
            .state()
            .join("certs/a.test")
            .join(generation)
            .join("cert.pem");
        std::fs::write(path, "garbage").ok();
    }
    let out = ca.ca(["status"]).run().code(4);
    assert!(out.stdout().contains("b.test"), "{}", out.stdout());
    let out = ca.ca(["status", "--json"]).run().code(4);
    let report = json(&out, "certmint.ca-status/1");
    let cert = &report["certificates"][0];
    assert_eq!(cert["status"], "damaged");
    // The command under it mends it.
    let fix = cert["findings"][0]["fix"].as_str().unwrap();
    assert!(fix.starts_with("certmint ca issue --id a.test"), "{fix}");
    let words: Vec<&str> = fix.split(' ').skip(1).collect();
    let _ = ca.certmint(words).run().success();
    let _ = ca.ca(["status"]).run().success();
}

#[test]
fn a_damaged_ca_is_an_error_that_names_the_file() {
    let ca = Ca::new();
    let path = ca.state().join("ca/intermediate/I1/cert.pem");
    std::fs::write(&path, "garbage").unwrap();
    for args in [["status"], ["list"]] {
        let out = ca.ca(args).run().code(1);
        assert!(out.stderr().contains("I1/cert.pem"), "{}", out.stderr());
        assert!(out.stderr().contains("ca restore"), "{}", out.stderr());
    }
}

#[test]
fn hundreds_of_healthy_certificates_fit_a_screen_and_the_sick_one_is_on_top() {
    let ca = Ca::new();
    let list: String = (0..300).map(|n| format!("h{n:03}.test\n")).collect();
    let _ = ca.ca(["issue", "--from", "-"]).stdin(list).run().success();
    let _ = ca.ca(["revoke", "h271.test"]).run().success();
    let out = ca.ca(["status"]).run().code(4);
    let lines: Vec<&str> = out.stdout().lines().collect();
    assert!(lines.len() < 60, "{} lines", lines.len());
    let first = lines.iter().position(|l| l.contains(".test")).unwrap();
    assert!(lines[first].contains("h271.test"), "{}", lines[first]);
    assert!(
        out.stdout().contains("more, all ok (--all shows them)"),
        "{}",
        out.stdout()
    );
    let all = ca.ca(["status", "--all"]).run().code(4);
    assert!(all.stdout().contains("h299.test"));
    let json = json(
        &ca.ca(["status", "--json"]).run().code(4),
        "certmint.ca-status/1",
    );
    assert_eq!(json["certificates"].as_array().unwrap().len(), 300);
}

#[test]
fn on_a_terminal_of_80_columns_nothing_is_cut_that_matters() {
    let Some(script) = tool("script") else { return };
    let ca = Ca::new();
    let _ = ca.issue(&[
        "a-rather-long-name-for-a-host.in-some-department.example.test",
        "b.test",
    ]);
    let _ = ca.ca(["revoke", "b.test"]).run().success();
    let command = format!(
        "stty cols 80; exec {} ca status",
        env!("CARGO_BIN_EXE_certmint")
    );
    for (no_color, colored) in [("", true), ("1", false)] {
        let out = ca
            .command(&script, ["-qec", &command, "/dev/null"])
            .env("CERTMINT_HOME", ca.state())
            .env("TERM", "xterm")
            .env("NO_COLOR", no_color)
            .run()
            .code(4);
        assert_eq!(out.stdout().contains('\u{1b}'), colored);
        if !colored {
            let wide = |line: &&str| line.trim_end().chars().count() > 80 && !line.contains("fix:");
            let long: Vec<&str> = out.stdout().lines().filter(wide).collect();
            assert!(long.is_empty(), "{long:#?}");
        }
        assert!(out.stdout().contains("revoked"));
    }
}

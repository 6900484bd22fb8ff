//! `certmint ca init`: what it makes, refuses, and leaves behind.

use std::os::unix::fs::PermissionsExt;
use std::thread;

use crate::ca::{Ca, assert_private, contains, extension, json, mode, openssl, tree, verify};
use crate::support::{TestEnv, tool};

#[test]
fn init_makes_a_root_and_an_intermediate_that_openssl_verifies() {
    if tool("openssl").is_none() {
        return;
    }
    let env = TestEnv::new();
    let out = env.certmint(["ca", "init", "--name", "Home"]).run();
    let out = out.success();
    let state = env.state();
    let (root, chain) = (state.join("ca/root.pem"), state.join("ca/chain.pem"));
    assert!(
        out.stdout().contains(root.to_str().unwrap()),
        "{}",
        out.stdout()
    );
    assert!(out.stderr().contains("certmint ca trust install"));
    let _ = openssl(&env, &["verify", "-x509_strict", "-CAfile"])
        .arg(&root)
        .arg(&chain)
        .run()
        .success();
    assert_eq!(extension(&env, &root, "basicConstraints"), "CA:TRUE");
    assert_eq!(
        extension(&env, &chain, "basicConstraints"),
        "CA:TRUE, pathlen:0"
    );
    let text = openssl(
        &env,
        &[
            "x509",
            "-noout",
            "-subject",
            "-fingerprint",
            "-sha256",
            "-in",
        ],
    )
    .arg(&root)
    .run()
    .success();
    let (subject, fingerprint) = text.stdout().split_once('\n').unwrap();
    assert!(
        subject.ends_with("O = Home, CN = Home Root R1"),
        "{subject}"
    );
    let fingerprint = fingerprint.split_once('=').unwrap().1.trim();
    assert!(out.stdout().contains(fingerprint), "{}", out.stdout());
    assert_private(&state);
    assert_eq!(mode(&state), 0o700);
    let healthy = env.certmint(["ca", "status"]).run().success();
    assert!(healthy.stdout().contains("the CA is healthy"));
}

#[test]
fn every_key_type_for_a_ca_signs_what_openssl_verifies() {
    if tool("openssl").is_none() {
        return;
    }
    let table = [
        ("p256", "prime256v1"),
        ("p384", "secp384r1"),
        ("ed25519", "ED25519"),
        ("rsa3072", "(3072 bit)"),
    ];
    for (kind, shown) in table {
        let ca = Ca::with(["--key-type", kind]);
        let dir = ca.issue(&["a.test"]);
        let _ = verify(&ca, &dir, &ca.roots()).run().success();
        for file in ["ca/root.pem", "ca/chain.pem"] {
            let text = openssl(&ca, &["x509", "-noout", "-text", "-in"])
                .arg(ca.state().join(file))
                .run()
                .success();
            assert!(text.stdout().contains(shown), "{kind}: {}", text.stdout());
        }
    }
    let env = TestEnv::new();
    for weak in ["rsa2048", "p521", "rsa1024", "dsa"] {
        let out = env.certmint(["ca", "init", "--key-type", weak]).run();
        assert!(out.code(2).stderr().contains("--key-type"));
    }
    assert!(!env.state().exists());
}

#[test]
fn ten_processes_that_ask_for_a_missing_ca_make_exactly_one() {
    let env = TestEnv::new();
    let outputs: Vec<_> = thread::scope(|scope| {
        let run = || env.certmint(["ca", "init", "--if-missing", "--json"]).run();
        let all: Vec<_> = (0..10).map(|_| scope.spawn(run)).collect();
        all.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let reports: Vec<_> = outputs
        .into_iter()
        .map(|out| json(&out.success(), "certmint.ca-init/1"))
        .collect();
    let made = reports.iter().filter(|r| r["created"] == true).count();
    assert_eq!(made, 1);
    let one = &reports[0]["root"]["sha256"];
    assert!(one.as_str().unwrap().len() == 64);
    assert!(reports.iter().all(|r| r["root"]["sha256"] == *one));
    let _ = env.certmint(["ca", "issue", "a.test"]).run().success();
}

#[test]
fn a_ca_that_is_there_is_kept_unless_replaced_by_force_and_then_backed_up() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let old_dir = ca.issue(&["old.test"]);
    let old_root = ca.read("state/ca/root.pem");
    let out = ca.ca(["init"]).run().code(1);
    assert!(
        out.stderr().contains("there is already a CA"),
        "{}",
        out.stderr()
    );
    assert!(out.stderr().contains("--if-missing") && out.stderr().contains("--force"));
    assert_eq!(ca.read("state/ca/root.pem"), old_root);

    let out = ca.ca(["init", "--force", "--json"]).run().success();
    let report = json(&out, "certmint.ca-init/1");
    let backup = std::path::PathBuf::from(report["backup"].as_str().unwrap());
    assert!(backup.starts_with(ca.state()), "{}", backup.display());
    assert_ne!(ca.read("state/ca/root.pem"), old_root);
    // The old CA is whole: its certificates verify with what was kept.
    let kept = std::fs::read_to_string(backup.join("root.pem")).unwrap();
    assert_eq!(kept, old_root);
    assert!(backup.join("root/R1/key.pem").is_file() && backup.join("ca.sqlite").is_file());
    let _ = verify(&ca, &old_dir, &backup.join("root.pem"))
        .run()
        .success();
    let _ = verify(&ca, &ca.issue(&["new.test"]), &ca.roots())
        .run()
        .success();
    assert_private(&ca.state());
}

#[test]
fn directories_mounted_from_outside_are_taken_as_they_are() {
    for place in ["state", "state/ca"] {
        let env = TestEnv::new();
        let dir = env.path(place);
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::set_permissions(&dir, PermissionsExt::from_mode(0o755)).unwrap();
        let _ = env.certmint(["ca", "init"]).run().success();
        let _ = env.certmint(["ca", "issue", "a.test"]).run().success();
        assert_eq!(mode(&dir), 0o755, "{place}");
        let keys = ["root/R1", "intermediate/I1"];
        for key in keys {
            assert_eq!(mode(&env.state().join("ca").join(key)), 0o700);
        }
    }
}

#[test]
fn what_is_not_a_ca_is_neither_replaced_nor_mixed_with_one() {
    for force in [false, true] {
        let env = TestEnv::new();
        let foreign = env.write("state/ca/family photos.tar", "precious");
        let run = env.certmint(["ca", "init"]);
        let run = if force { run.arg("--force") } else { run };
        let out = run.run().code(1);
        assert!(
            out.stderr().contains("family photos.tar"),
            "{}",
            out.stderr()
        );
        assert!(out.stderr().contains("--home"));
        assert_eq!(std::fs::read(&foreign).unwrap(), b"precious");
        let entries = tree(&env.state().join("ca"));
        assert_eq!(entries, [foreign]);
    }
    let env = TestEnv::new();
    env.write("state", "a file");
    let out = env.certmint(["ca", "init"]).run().code(1);
    assert!(out.stderr().contains("state"));
    assert_eq!(env.read("state"), "a file");
}

#[test]
fn a_failed_init_leaves_nothing_that_blocks_the_next() {
    let env = TestEnv::new();
    let file = env.write("file", "");
    let out = env.certmint(["ca", "init", "--root-out"]).arg(&file).run();
    assert!(out.code(1).stderr().contains("file"));
    let inside = env.state().join("ca/offline");
    let out = env
        .certmint(["ca", "init", "--root-out"])
        .arg(&inside)
        .run();
    assert!(
        out.code(1)
            .stderr()
            .contains("inside the CA's own directory")
    );
    let _ = env.certmint(["ca", "status"]).run().code(1);
    let _ = env.certmint(["ca", "init"]).run().success();
    let _ = env.certmint(["ca", "issue", "a.test"]).run().success();
}

/// Stands in no output, file or argument list.
const CANARY: &str = "canary-7f3a horse battery";

#[test]
fn a_passphrase_comes_from_file_stdin_or_descriptor_and_shows_nowhere() {
    let table: [&[&str]; 3] = [
        &["--passphrase-file", "pass"],
        &["--passphrase-file", "-"],
        &["--passphrase-file", "/dev/fd/3"],
    ];
    for how in table {
        let env = TestEnv::new();
        env.write("pass", format!("{CANARY}\nsecond line\n"));
        let run = |args: &[&str]| {
            env.certmint(args)
                .args(how)
                .stdin(format!("{CANARY}\n"))
                .under(["/bin/sh", "-c", "exec 3<pass; exec \"$@\"", "sh"])
                .run()
        };
        let all = [
            &["ca", "init", "-vv"][..],
            &["ca", "issue", "-vv", "a.test"],
            &["ca", "revoke", "-vv", "a.test"],
            &["ca", "rotate", "intermediate", "-vv"],
        ];
        // Unlocking is slow on purpose: the whole list once is enough.
        let some = if how[1] == "pass" { 4 } else { 2 };
        for args in all.into_iter().take(some) {
            let out = run(args).success();
            assert!(!out.stdout().contains("canary"), "{args:?}");
            assert!(!out.stderr().contains("canary"), "{args:?}");
        }
        for path in tree(&env.state()).iter().filter(|p| p.is_file()) {
            let bytes = std::fs::read(path).unwrap();
            assert!(!contains(&bytes, b"canary"), "{}", path.display());
        }
        for key in ["root/R1", "intermediate/I1"] {
            let pem = env.read(format!("state/ca/{key}/key.pem"));
            assert!(pem.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
            if tool("openssl").is_some() {
                let path = env.state().join("ca").join(key).join("key.pem");
                let _ = openssl(&env, &["pkey", "-noout", "-passin", "file:pass", "-in"])
                    .arg(path)
                    .run()
                    .success();
            }
        }
    }
}

#[test]
fn an_encrypted_key_without_its_passphrase_is_an_error_and_never_a_hang() {
    let env = TestEnv::new();
    env.write("pass", CANARY);
    env.write("wrong", "wrong");
    env.write("empty", "\n");
    let _ = env
        .certmint(["ca", "init", "--passphrase-file", "pass"])
        .run()
        .success();
    let out = env.certmint(["ca", "issue", "a.test"]).run().code(2);
    assert!(out.stderr().contains("encrypted") && out.stderr().contains("--passphrase-file"));
    let issue = |file: &str| env.certmint(["ca", "issue", "a.test", "--passphrase-file", file]);
    let out = issue("wrong").run().code(1);
    assert!(out.stderr().contains("passphrase"), "{}", out.stderr());
    assert!(issue("empty").run().code(2).stderr().contains("empty"));
    assert!(issue("absent").run().code(1).stderr().contains("absent"));
    assert!(!env.state().join("certs/a.test/current").exists());
    let _ = issue("pass").run().success();
    let _ = env
        .certmint(["ca", "issue", "b.test"])
        .env("CERTMINT_CA_ISSUE_PASSPHRASE_FILE", "pass")
        .run()
        .success();
    let out = TestEnv::new().certmint(["ca", "init", "--encrypt"]).run();
    assert!(out.code(2).stderr().contains("nobody can be asked"));
    let out = env.certmint(["ca", "issue", "c.test", "--passphrase", CANARY]);
    let _ = out.run().code(2);
}

#[test]
fn root_and_intermediate_may_have_different_passphrases() {
    let env = TestEnv::new();
    env.write("root-pass", "for the root");
    env.write("pass", "for the intermediate");
    let both = [
        "--root-passphrase-file",
        "root-pass",
        "--passphrase-file",
        "pass",
    ];
    let _ = env.certmint(["ca", "init"]).args(both).run().success();
    let one = ["--passphrase-file", "pass"];
    let _ = env
        .certmint(["ca", "issue", "a.test"])
        .args(one)
        .run()
        .success();
    let out = env
        .certmint(["ca", "rotate", "intermediate"])
        .args(one)
        .run();
    assert!(
        out.code(1).stderr().contains("different"),
        "the hint says so"
    );
    for args in [["ca", "rotate", "intermediate"], ["ca", "rotate", "root"]] {
        let _ = env.certmint(args).args(both).run().success();
    }
    let _ = env
        .certmint(["ca", "issue", "b.test"])
        .args(one)
        .run()
        .success();
    if tool("openssl").is_some() {
        for (key, file) in [
            ("root/R2", "file:root-pass"),
            ("intermediate/I3", "file:pass"),
        ] {
            let path = env.state().join("ca").join(key).join("key.pem");
            let _ = openssl(&env, &["pkey", "-noout", "-passin", file, "-in"])
                .arg(path)
                .run()
                .success();
        }
    }
    // Only the root's key is worth a passphrase to some.
    let env = TestEnv::new();
    env.write("root-pass", "for the root");
    let _ = env
        .certmint(["ca", "init"])
        .args(&both[..2])
        .run()
        .success();
    let _ = env.certmint(["ca", "issue", "a.test"]).run().success();
}

#[test]
fn with_the_root_key_elsewhere_all_but_rotation_works() {
    if tool("openssl").is_none() {
        return;
    }
    let disk = "disk";
    let ca = Ca::with(["--root-out", disk]);
    assert!(!ca.state().join("ca/root/R1/key.pem").exists());
    let keys = tree(&ca.path(disk));
    let [key] = keys.as_slice() else {
        panic!("{keys:?}")
    };
    assert_eq!(mode(key), 0o600);
    let status = ca.ca(["status"]).run().success();
    assert!(status.stdout().contains("elsewhere"), "{}", status.stdout());
    let dir = ca.issue(&["a.test"]);
    let _ = verify(&ca, &dir, &ca.roots()).run().success();
    for args in [&["revoke", "a.test"][..], &["crl"], &["list"]] {
        let _ = ca.ca(args).run().success();
    }
    for what in ["intermediate", "root"] {
        let out = ca.ca(["rotate", what]).run().code(1);
        assert!(out.stderr().contains("--root-key"), "{}", out.stderr());
        let name = key.file_name().unwrap().to_str().unwrap();
        assert!(out.stderr().contains(name), "{}", out.stderr());
    }
    let _ = ca
        .ca(["rotate", "intermediate", "--root-key"])
        .arg(key)
        .run()
        .success();
    let out = ca
        .ca(["rotate", "root", "--root-key"])
        .arg(key)
        .run()
        .success();
    assert!(!ca.state().join("ca/root/R2/key.pem").exists());
    let keys = tree(&ca.path(disk));
    assert_eq!(keys.len(), 2, "{keys:?}");
    let new = keys.iter().find(|k| *k != key).unwrap();
    assert!(out.stdout().contains(new.to_str().unwrap()));
    let _ = verify(&ca, &ca.issue(&["b.test"]), &ca.roots())
        .run()
        .success();
    // A key that is not the root's is told from it.
    let out = ca
        .ca(["rotate", "intermediate", "--root-key"])
        .arg(key)
        .run();
    assert!(out.code(1).stderr().contains("is not that of R2"));
}

#[test]
fn a_constrained_ca_refuses_before_it_signs_and_clients_enforce_it_too() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::with(["--permit", "home.arpa,10.0.0.0/8", "--permit", "fd00::/8"]);
    for file in ["ca/root.pem", "ca/chain.pem"] {
        let cert = ca.state().join(file);
        let text = extension(&ca, &cert, "nameConstraints");
        assert!(text.contains("DNS:home.arpa"), "{file}: {text}");
        assert!(text.contains("IP:10.0.0.0/255.0.0.0"), "{file}: {text}");
    }
    for name in [
        "home.arpa",
        "*.home.arpa",
        "10.1.2.3",
        "fd00::1",
        "ada@home.arpa",
    ] {
        let _ = ca.ca(["issue", "--both", name]).run().success();
    }
    let dir = ca.issue(&["a.home.arpa", "10.0.0.1", "fd00::2"]);
    let _ = verify(&ca, &dir, &ca.roots()).run().success();
    let count = || {
        let out = ca.ca(["list", "--json"]).run().success();
        let list = json(&out, "certmint.list/1");
        list["certificates"].as_array().unwrap().len()
    };
    let before = count();
    for name in [
        "example.com",
        "xhome.arpa",
        "*.arpa",
        "192.168.0.1",
        "::1",
        "ada@example.com",
    ] {
        let out = ca.ca(["issue", "a.home.arpa", name]).run().code(1);
        let said = out.stderr();
        assert!(said.contains(name) && said.contains("outside"), "{said}");
        assert!(said.contains("home.arpa, 10.0.0.0/8"), "{said}");
    }
    assert_eq!(count(), before);
    // Somebody who holds the intermediate's key signs what it must not: refused by clients.
    let evil = ca.path("evil");
    std::fs::create_dir(&evil).unwrap();
    ca.write("evil/ext", "subjectAltName=DNS:evil.example\n");
    let script = "openssl req -newkey rsa:2048 -nodes -keyout key -subj / -out csr && \
        openssl x509 -req -in csr -CA ../state/ca/chain.pem -CAkey \
        ../state/ca/intermediate/I1/key.pem -CAserial serial -CAcreateserial -days 1 -extfile ext -out cert.pem && \
        cp ../state/ca/chain.pem chain.pem";
    let _ = ca
        .command("/bin/sh", ["-c", script])
        .current_dir(&evil)
        .run()
        .success();
    let out = openssl(&ca, &["verify", "-CAfile"])
        .arg(ca.roots())
        .arg("-untrusted")
        .arg(evil.join("chain.pem"))
        .arg(evil.join("cert.pem"))
        .run()
        .code(2);
    assert!(
        out.stderr().contains("permitted subtree violation"),
        "{}",
        out.stderr()
    );
}

#[test]
fn settings_of_a_ca_are_checked_before_anything_is_written() {
    let env = TestEnv::new();
    let table: [(&[&str], &str); 11] = [
        (&["--name", ""], "empty"),
        (&["--name", "a\u{1b}[31mb"], "\\u{1b}"),
        (&["--country", "Switzerland"], "two upper-case letters"),
        (&["--root-days", "0"], "1..=36500"),
        (&["--intermediate-days", "x"], "invalid digit"),
        (&["--permit", "*.home.arpa"], "home.arpa"),
        (&["--permit", "10.0.0.0/99"], "10.0.0.0/99"),
        (
            &["--permit", "ada@home.arpa"],
            "only domains and address ranges",
        ),
        (&["--crl-url", "https://crl.test/"], "http"),
        (&["--if-missing", "--force"], "cannot be used with"),
        (&["--passphrase-file", "absent"], "absent"),
    ];
    for (args, said) in table {
        let out = env.certmint(["ca", "init"]).args(args).run();
        let code = out.status().code();
        assert!(matches!(code, Some(1 | 2)), "{args:?}: {code:?}");
        assert!(out.stderr().contains(said), "{args:?}: {}", out.stderr());
        assert!(!out.stderr().contains('\u{1b}'), "{args:?}");
        assert!(!env.state().exists(), "{args:?}");
    }
    let long = "x".repeat(65);
    let _ = env.certmint(["ca", "init", "--name", &long]).run().code(2);
}

#[test]
fn an_intermediate_never_outlives_its_root_and_subjects_carry_what_was_asked() {
    if tool("openssl").is_none() {
        return;
    }
    let args = [
        "--org",
        "Example & Söhne",
        "--country",
        "CH",
        "--root-days",
        "30",
    ];
    let ca = Ca::with(args);
    let out = openssl(
        &ca,
        &[
            "x509",
            "-noout",
            "-subject",
            "-nameopt",
            "utf8,sep_comma_plus",
            "-in",
        ],
    )
    .arg(ca.roots())
    .run()
    .success();
    let want = "subject=C=CH,O=Example & Söhne,CN=Test Root R1";
    assert_eq!(out.stdout().trim(), want);
    let end = |file: &str| {
        let out = openssl(&ca, &["x509", "-noout", "-enddate", "-in"])
            .arg(ca.state().join(file))
            .run()
            .success();
        out.stdout().to_owned()
    };
    assert_eq!(end("ca/root.pem"), end("ca/chain.pem"));
    let out = ca.ca(["issue", "--days", "60", "a.test"]).run().success();
    assert!(out.stderr().contains("warning:"), "{}", out.stderr());
    assert!(out.stderr().contains("not after the 60 days asked for"));
}

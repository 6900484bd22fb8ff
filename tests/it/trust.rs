//! Trust stores, driven by the programs that own them, none of them this machine's.

use std::path::{Path, PathBuf};

use certmint::bundle::Certificate;
use certmint::trust::{Anchor, Change, Outcome, StoreKind, TrustState, TrustTarget, plan, status};

use crate::support::{PATH, TestEnv, tool};

#[test]
fn debians_store_trusts_after_install_and_forgets_after_uninstall() {
    let env = TestEnv::new();
    let (Some(_), Some(openssl)) = (tool("update-ca-certificates"), tool("openssl")) else {
        return;
    };
    let mut target = target(&env);
    target.sysroot = env.path("root");
    std::fs::create_dir_all(env.path("root/etc/ssl/certs")).unwrap();
    std::fs::create_dir_all(env.path("root/usr/local/share/ca-certificates")).unwrap();
    env.write("root/etc/ca-certificates.conf", "other.crt\n");
    let other = anchor(&env, "other");
    env.write(
        "root/usr/share/ca-certificates/other.crt",
        other.certificate().to_pem(),
    );
    let anchors = [anchor(&env, "R1"), anchor(&env, "R2")];
    let verify = |name: &str, code: i32| {
        let (store, file) = (
            env.path("root/etc/ssl/certs"),
            env.path(format!("{name}.pem")),
        );
        env.command(&openssl, ["verify", "-no-CAfile", "-no-CAstore", "-CApath"])
            .arg(store)
            .arg(file)
            .run()
            .code(code)
    };

    assert_eq!(states(&target, &anchors, StoreKind::System), ["absent"; 2]);
    assert_eq!(
        change(&target, Change::Install, &anchors, StoreKind::System),
        [Outcome::Done]
    );
    assert_eq!(states(&target, &anchors, StoreKind::System), ["trusted"; 2]);
    for name in ["R1", "R2", "other"] {
        let _ = verify(name, 0);
    }
    let again = change(&target, Change::Install, &anchors, StoreKind::System);
    assert_eq!(again, [Outcome::Unchanged]);

    // A retired root goes alone.
    let first = &anchors[..1];
    assert_eq!(
        change(&target, Change::Uninstall, first, StoreKind::System),
        [Outcome::Done]
    );
    let left = states(&target, &anchors, StoreKind::System);
    assert_eq!(left, ["absent", "trusted"]);
    let _ = (verify("R1", 2), verify("R2", 0));
    let file = env.path(format!(
        "root/usr/local/share/ca-certificates/{}.crt",
        anchors[0].name()
    ));
    assert!(!file.exists());
    let all = change(&target, Change::Uninstall, &anchors, StoreKind::System);
    assert_eq!(all, [Outcome::Done]);
    let _ = (verify("R2", 2), verify("other", 0));
}

#[test]
fn a_dry_run_changes_nothing() {
    let env = TestEnv::new();
    if tool("update-ca-certificates").is_none() {
        return;
    }
    let mut target = target(&env);
    target.sysroot = env.path("root");
    env.write("root/etc/ca-certificates.conf", "");
    let anchors = [anchor(&env, "R1")];
    let plans = plan(&target, Change::Install, &anchors, &[StoreKind::System]);
    let line = plans[0].command_line();
    assert!(
        line.contains("install -D -m 0644 ") && line.contains("--etccertsdir"),
        "{line}"
    );
    assert!(!env.path("root/usr").exists() && !env.path("root/etc/ssl").exists());
}

#[test]
fn browsers_trust_after_install_and_forget_after_uninstall() {
    let env = TestEnv::new();
    let Some(certutil) = tool("certutil") else {
        return;
    };
    let firefox = env.home().join(".mozilla/firefox/abc.default-release");
    let shared = env.home().join(".pki/nssdb");
    std::fs::create_dir_all(&firefox).unwrap();
    std::fs::create_dir_all(env.home().join(".mozilla/firefox/Crash Reports")).unwrap();
    std::fs::create_dir_all(env.home().join("snap/chromium/current/.pki/nssdb")).unwrap();
    let _ = nss(&env, &certutil, &firefox, &["-N", "--empty-password"], 0);
    let target = target(&env);
    let anchors = [anchor(&env, "R1"), anchor(&env, "R2")];
    // The user has imported the second root by hand.
    let by_hand = ["-A", "-t", "CT,,", "-n", "my own CA", "-i", "R2.pem"];
    let _ = nss(&env, &certutil, &firefox, &by_hand, 0);

    let places: Vec<PathBuf> = plan(&target, Change::Install, &anchors, &[StoreKind::Nss])
        .into_iter()
        .filter_map(|plan| plan.place)
        .collect();
    assert_eq!(places, [shared.clone(), firefox.clone()]);
    let done = [Outcome::Done, Outcome::Done];
    assert_eq!(
        change(&target, Change::Install, &anchors, StoreKind::Nss),
        done
    );
    let unchanged = [Outcome::Unchanged, Outcome::Unchanged];
    assert_eq!(
        change(&target, Change::Install, &anchors, StoreKind::Nss),
        unchanged
    );
    assert_eq!(states(&target, &anchors, StoreKind::Nss), ["trusted"; 4]);
    let name = anchors[0].name();
    for place in [&shared, &firefox] {
        // What a TLS client asks: is this a CA for servers?
        let _ = nss(&env, &certutil, place, &["-V", "-u", "L", "-n", &name], 0);
    }

    // Taking the mark away is seen.
    let _ = nss(
        &env,
        &certutil,
        &shared,
        &["-M", "-t", ",,", "-n", &name],
        0,
    );
    assert_eq!(states(&target, &anchors[..1], StoreKind::Nss)[0], "absent");
    let repaired = [Outcome::Done, Outcome::Unchanged];
    assert_eq!(
        change(&target, Change::Install, &anchors, StoreKind::Nss),
        repaired
    );

    // "my own CA" is one of the roots, imported by hand.
    assert_eq!(
        change(&target, Change::Uninstall, &anchors, StoreKind::Nss),
        [Outcome::Done, Outcome::StillTrusted]
    );
    let listed = nss(&env, &certutil, &firefox, &["-L"], 0);
    assert!(
        listed.contains("my own CA") && !listed.contains("certmint-"),
        "{listed}"
    );
    assert!(!nss(&env, &certutil, &shared, &["-L"], 0).contains("certmint-"));
    assert_eq!(
        change(&target, Change::Uninstall, &anchors, StoreKind::Nss),
        unchanged
    );
}

#[test]
fn a_database_with_a_master_password_is_a_failure_and_not_a_hang() {
    let env = TestEnv::new();
    let Some(certutil) = tool("certutil") else {
        return;
    };
    let shared = env.home().join(".pki/nssdb");
    std::fs::create_dir_all(&shared).unwrap();
    let password = env.write("password", "secret\n");
    let args = ["-N", "-f", password.to_str().unwrap()];
    let _ = nss(&env, &certutil, &shared, &args, 0);
    let target = target(&env);
    let anchors = [anchor(&env, "R1")];
    let plans = plan(&target, Change::Install, &anchors, &[StoreKind::Nss]);
    let error = plans[0].apply(&target).unwrap_err();
    assert!(error.to_string().contains("certutil"), "{error}");
    assert!(error.hint().contains("by hand"), "{}", error.hint());
}

#[test]
fn java_trusts_after_install_and_forgets_after_uninstall() {
    let env = TestEnv::new();
    let Some(keytool) = tool("keytool") else {
        return;
    };
    let mut target = target(&env);
    let java = env.path("java");
    let cacerts = java.join("lib/security/cacerts");
    target.java_home = Some(java);
    let anchors = [anchor(&env, "R1"), anchor(&env, "R2")];
    let reason = states(&target, &anchors[..1], StoreKind::Java).remove(0);
    assert!(reason.starts_with("no `lib/security/cacerts` under"));

    // What Debian's hook does with roots of the system's store: an alias of its own.
    std::fs::create_dir_all(cacerts.parent().unwrap()).unwrap();
    let import = ["-importcert", "-noprompt", "-storepass", "changeit"];
    let _ = env
        .command(&keytool, import)
        .args(["-alias", "debian:R1.pem", "-file", "R1.pem", "-keystore"])
        .arg(&cacerts)
        .run()
        .success();
    let (install, uninstall) = (Change::Install, Change::Uninstall);
    let states = || states(&target, &anchors, StoreKind::Java);
    let change = |what| change(&target, what, &anchors, StoreKind::Java);

    assert_eq!(states(), ["trusted", "absent"]);
    assert_eq!(change(install), [Outcome::Done]);
    assert_eq!(states(), ["trusted", "trusted"]);
    assert_eq!(change(install), [Outcome::Unchanged]);
    // One of them is there under another name, which is not ours to remove.
    assert_eq!(change(uninstall), [Outcome::StillTrusted]);
    assert_eq!(states(), ["trusted", "absent"]);
}

#[test]
fn the_java_of_this_machine_is_not_changed_for_another_system() {
    let env = TestEnv::new();
    if tool("keytool").is_none() {
        return;
    }
    let mut target = target(&env);
    target.sysroot = env.path("root");
    let anchors = [anchor(&env, "R1")];
    let state = states(&target, &anchors, StoreKind::Java).remove(0);
    assert!(state.contains("JAVA_HOME"));
}

/// A user in this environment, on a system that is not this machine's unless the
/// test says which.
fn target(env: &TestEnv) -> TrustTarget {
    let euid = rustix::process::geteuid().as_raw();
    TrustTarget::new(env.home(), PATH.into(), euid)
}

/// A self-signed root in `NAME.pem`.
fn anchor(env: &TestEnv, name: &str) -> Anchor {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2100, 1, 1);
    let subject = &mut params.distinguished_name;
    subject.push(rcgen::DnType::CommonName, format!("{name}, a test's own"));
    let root = params.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(root.der()).unwrap();
    let path = env.write(format!("{name}.pem"), certificate.to_pem());
    Anchor::new(certificate, path)
}

fn change(
    target: &TrustTarget,
    change: Change,
    anchors: &[Anchor],
    kind: StoreKind,
) -> Vec<Outcome> {
    plan(target, change, anchors, &[kind])
        .iter()
        .map(|plan| {
            plan.apply(target)
                .unwrap_or_else(|e| panic!("{e}: {}", plan.command_line()))
        })
        .collect()
}

/// What each store says of each root: `trusted`, `absent`, or why it cannot say.
fn states(target: &TrustTarget, anchors: &[Anchor], kind: StoreKind) -> Vec<String> {
    let rows = status(target, anchors, &[kind]);
    let words = rows.into_iter().map(|row| match row.state {
        TrustState::Trusted => "trusted".to_owned(),
        TrustState::Absent => "absent".to_owned(),
        TrustState::Unavailable(why) => why,
    });
    words.collect()
}

/// Runs `certutil` on one database and returns what it printed.
fn nss(env: &TestEnv, certutil: &Path, dir: &Path, args: &[&str], code: i32) -> String {
    let out = env
        .command(certutil, args)
        .arg("-d")
        .arg(format!("sql:{}", dir.display()))
        .run()
        .code(code);
    out.stdout().to_owned()
}

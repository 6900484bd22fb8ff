//! `certmint ca backup` and `certmint ca restore`.

use std::os::unix::fs::PermissionsExt;

use crate::ca::{Ca, assert_private, json, mode, tree, verify};
use crate::support::{TestEnv, tool};

#[test]
fn what_was_saved_comes_back_whole_on_another_machine() {
    if tool("openssl").is_none() {
        return;
    }
    let ca = Ca::new();
    let _ = ca.issue(&["a.test"]);
    let _ = ca.issue(&["b.test", "--id", "other"]);
    let _ = ca.ca(["revoke", "b.test"]).run().success();
    let archive = ca.path("backup.tar");
    let out = ca.ca(["backup"]).arg(&archive).run().success();
    assert!(out.stdout().contains(archive.to_str().unwrap()));
    assert!(out.stderr().contains("private keys"), "{}", out.stderr());
    assert_eq!(mode(&archive), 0o600);
    // What happens afterwards is not in it.
    let _ = ca.issue(&["later.test"]);

    let new = TestEnv::new();
    let out = new
        .certmint(["ca", "restore"])
        .arg(&archive)
        .run()
        .success();
    assert!(out.stdout().contains("2 certificates"), "{}", out.stdout());
    assert_private(&new.state());
    assert_eq!(new.read("state/ca/root.pem"), ca.read("state/ca/root.pem"));
    let listed = new.certmint(["ca", "list", "--json"]).run().success();
    let listed = json(&listed, "certmint.list/1");
    assert_eq!(listed["certificates"].as_array().unwrap().len(), 2);
    let dir = new.state().join("certs/a.test/current");
    let _ = verify(&new, &dir, &new.state().join("ca/root.pem"))
        .run()
        .success();
    // It works: what was revoked stays so, and new ones are issued.
    let out = new.certmint(["renew", "--dry-run"]).run().success();
    assert!(
        out.stdout().contains("other  would be renewed"),
        "{}",
        out.stdout()
    );
    let _ = new.certmint(["ca", "issue", "c.test"]).run().success();
}

#[test]
fn nothing_is_overwritten_unless_told_and_then_it_is_kept() {
    let ca = Ca::new();
    let _ = ca.issue(&["a.test"]);
    let archive = ca.path("backup.tar");
    let _ = ca.ca(["backup"]).arg(&archive).run().success();
    let out = ca.ca(["backup"]).arg(&archive).run().code(1);
    assert!(out.stderr().contains("exists already"), "{}", out.stderr());
    let inside = ca.state().join("ca/backup.tar");
    let _ = ca.ca(["backup"]).arg(&inside).run().code(1);
    assert!(!inside.exists());

    let other = Ca::new();
    let theirs = other.read("state/ca/root.pem");
    let out = other.ca(["restore"]).arg(&archive).run().code(1);
    assert!(out.stderr().contains("--force"), "{}", out.stderr());
    assert_eq!(other.read("state/ca/root.pem"), theirs);
    let out = other
        .ca(["restore", "--force"])
        .arg(&archive)
        .run()
        .success();
    assert_eq!(
        other.read("state/ca/root.pem"),
        ca.read("state/ca/root.pem")
    );
    let kept = tree(&other.state().join("backup"));
    let old = kept.iter().filter(|path| path.ends_with("root.pem"));
    let same = |path: &&std::path::PathBuf| std::fs::read_to_string(path).unwrap() == theirs;
    assert!(old.filter(same).count() == 1, "{kept:?}\n{}", out.stdout());
    let _ = other.ca(["status"]).run().success();
}

#[test]
fn an_archive_that_is_not_whole_is_refused_and_leaves_nothing() {
    let ca = Ca::new();
    let archive = ca.path("backup.tar");
    let _ = ca.ca(["backup"]).arg(&archive).run().success();
    let whole = std::fs::read(&archive).unwrap();
    let mut flipped = whole.clone();
    let at = flipped
        .windows(11)
        .position(|w| w == b"BEGIN CERTI")
        .unwrap();
    flipped[at + 60] ^= 1;
    let half = &whole[..whole.len() / 2];
    let table: [(&str, &[u8]); 4] = [
        ("flipped", &flipped),
        ("half", half),
        ("garbage", b"hello"),
        ("empty", b""),
    ];
    for (name, bytes) in table {
        let bad = ca.write(name, bytes);
        std::fs::set_permissions(&bad, PermissionsExt::from_mode(0o600)).unwrap();
        let env = TestEnv::new();
        let out = env.certmint(["ca", "restore"]).arg(&bad).run().code(1);
        assert!(out.stderr().contains(name), "{name}: {}", out.stderr());
        let _ = env.certmint(["ca", "status"]).run().code(1);
        let keys: Vec<_> = tree(&env.state())
            .into_iter()
            .filter(|path| path.ends_with("key.pem"))
            .collect();
        assert!(keys.is_empty(), "{name}: {keys:?}");
        let _ = env.certmint(["ca", "init"]).run().success();
    }
    let out = TestEnv::new()
        .certmint(["ca", "restore", "absent"])
        .run()
        .code(1);
    assert!(out.stderr().contains("absent"));
}

#[test]
fn a_backup_is_consistent_while_certificates_are_issued() {
    let ca = Ca::new();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            for n in 0..8 {
                let _ = ca.issue(&[&format!("h{n}.test")]);
            }
        });
        for n in 0..4 {
            let _ = ca.ca(["backup", &format!("b{n}.tar")]).run().success();
        }
        busy.join().unwrap();
    });
    for n in 0..4 {
        let env = TestEnv::new();
        let archive = ca.path(format!("b{n}.tar"));
        let _ = env.certmint(["ca", "restore"]).arg(archive).run().success();
        let status = env.certmint(["ca", "status", "--json"]).run().success();
        let status = json(&status, "certmint.ca-status/1");
        let kept = status["certificates"].as_array().unwrap().len();
        let issued = status["ca"]["counts"]["issued"].as_u64().unwrap();
        // Recorded first, kept second: the inventory may be one ahead, never behind.
        assert!(
            issued as usize >= kept,
            "{issued} in the inventory, {kept} kept"
        );
    }
}

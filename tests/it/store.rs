//! The store as a process of its own: under every umask, as root and as another
//! user, on a full disk, and by what it asks of the kernel.
//!
//! The process is this test binary, started again for one of the tests below that
//! are otherwise ignored; it works in `state` below its current directory, and only
//! where [`MARKER`] lies.

use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use certmint::bundle::{CertBundle, Certificate};
use certmint::clock::SystemClock;
use certmint::identifier::{CertId, Identifier};
use certmint::issuer::IssuerRef;
use certmint::issuer::{Profile, Usage};
use certmint::key::{KeyType, PrivateKey};
use certmint::store::file::FileStore;
use certmint::store::{Attempts, Export, Ownership, Record, Store, StoreError, export};

use crate::support::{Run, TestEnv, tool};

/// The file without which the children below do nothing.
const MARKER: &str = "for-a-child";
/// The name that the children keep a certificate for.
pub(crate) const NAME: &str = "a.test";
/// What only the children's batch commits.
pub(crate) const BATCH: [&str; 3] = ["a.test", "b.test", "c.test"];

/// This binary, started again for the ignored test `name` of this file.
pub(crate) fn child(env: &TestEnv, name: &str) -> Run {
    env.write(MARKER, "");
    let exe = std::env::current_exe().unwrap();
    let test = format!("store::{name}");
    // With one thread, libtest runs the test on the main one.
    env.command(exe, ["--ignored", "--exact", &test, "--test-threads=1"])
}

pub(crate) fn id(name: &str) -> CertId {
    name.parse().unwrap()
}

pub(crate) fn open(state: &Path) -> FileStore {
    FileStore::open(state, Arc::new(SystemClock)).unwrap()
}

/// A self-signed certificate with its key.
pub(crate) fn bundle(name: &str) -> CertBundle {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let chain = vec![Certificate::from_der(certificate.der()).unwrap()];
    CertBundle::new(key, chain).unwrap()
}

pub(crate) fn record(name: &str) -> Record {
    Record {
        profile: Profile {
            names: vec![Identifier::parse(name).unwrap()],
            key_type: KeyType::P256,
            usage: Usage::Server,
            lifetime_seconds: None,
        },
        issuer: IssuerRef::Private,
        obtained: None,
        reuse_key: false,
        exports: Vec::new(),
        deploy_hook: None,
    }
}

/// The directory of a child, or `None` when somebody ran the ignored tests.
fn workplace() -> Option<PathBuf> {
    /// More than libtest's main thread opens and writes.
    const CALLS: u32 = 24;
    let dir = std::env::current_dir().unwrap();
    let there = dir.join(MARKER).exists();
    // strace counts the calls of each thread by itself, and would hit those of
    // libtest too, if ours had the same numbers.
    for _ in 0..CALLS * u32::from(there) {
        std::fs::write("/dev/null", "x").unwrap();
    }
    there.then_some(dir)
}

#[test]
#[ignore = "a child of other tests"]
fn child_commits() {
    let Some(dir) = workplace() else { return };
    let store = open(&dir.join("state"));
    let _lock = store.lock_cert(&id(NAME)).unwrap();
    store.recover(&id(NAME)).unwrap();
    store
        .commit(&id(NAME), &bundle(NAME), &record(NAME))
        .unwrap();
    store.set_attempts(&id(NAME), &Attempts::default()).unwrap();
}

#[test]
#[ignore = "a child of other tests"]
fn child_commits_a_batch() {
    let Some(dir) = workplace() else { return };
    let batch = BATCH.map(|name| (id(name), bundle(name), record(name)));
    open(&dir.join("state")).commit_all(&batch).unwrap();
}

#[test]
#[ignore = "a child of other tests"]
fn child_exports() {
    let Some(dir) = workplace() else { return };
    let stored = open(&dir.join("state")).load(&id(NAME)).unwrap().unwrap();
    export::write(&stored.bundle, &export_to(&dir)).unwrap();
}

#[test]
#[ignore = "a child of other tests"]
fn child_removes() {
    let Some(dir) = workplace() else { return };
    open(&dir.join("state")).remove(&id(NAME)).unwrap();
}

/// Fills the disk, then makes room page by page: each file of a commit in turn is
/// the one that does not fit.
#[test]
#[ignore = "a child of other tests"]
fn child_fills_the_disk() {
    const PAGE: u64 = 4096;
    let Some(dir) = workplace() else { return };
    let store = open(&dir.join("state"));
    let commit = || store.commit(&id(NAME), &bundle(NAME), &record(NAME));
    let old = commit().unwrap();
    let mut filler = std::fs::File::create(dir.join("state/filler")).unwrap();
    while filler.write_all(&[0; PAGE as usize]).is_ok() {}
    let mut failures = 0;
    let new = loop {
        let error = match commit() {
            Ok(stored) => break stored,
            Err(StoreError::Io { source, .. }) => source.kind(),
            Err(e) => panic!("{e}"),
        };
        assert_eq!(error, ErrorKind::StorageFull);
        let stored = store.load(&id(NAME)).unwrap().unwrap();
        assert_eq!(stored.bundle.leaf(), old.bundle.leaf());
        let left = store.certs_dir().join(NAME);
        assert_eq!(std::fs::read_dir(left).unwrap().count(), 2);
        failures += 1;
        let size = filler.metadata().unwrap().len();
        filler.set_len(size - PAGE).unwrap();
    };
    assert!(failures >= 5, "one for each file: {failures}");
    assert_eq!(new.generation, 2);
}

pub(crate) fn export_to(dir: &Path) -> Export {
    Export {
        dir: dir.join("state/out"),
        ownership: Ownership {
            mode: Some(0o640),
            ..Ownership::default()
        },
    }
}

#[test]
fn modes_are_exact_whatever_the_umask_and_whoever_runs() {
    for umask in ["000", "022", "077", "0777"] {
        for other_user in [false, true] {
            let env = TestEnv::new();
            if other_user && !give_to_nobody(&env) {
                continue;
            }
            for name in [
                "child_commits",
                "child_commits",
                "child_commits_a_batch",
                "child_exports",
            ] {
                let mut run = child(&env, name).under([
                    "sh",
                    "-c",
                    &format!("umask {umask}; exec \"$@\""),
                    "sh",
                ]);
                if other_user {
                    run = run.under(AS_NOBODY);
                }
                let _ = run.run().success();
            }
            let seen = tree(&env.state());
            assert!(seen.len() > 40, "{seen:#?}");
            for (path, mode) in seen {
                let case = format!("umask {umask}, other user {other_user}");
                assert_eq!(mode, wanted_mode(&path), "{path:?}: {mode:o}, {case}");
            }
        }
    }
}

/// Runs a program as the user that owns nothing.
const AS_NOBODY: [&str; 4] = [
    "setpriv",
    "--reuid=65534",
    "--regid=65534",
    "--clear-groups",
];

/// Whether the environment could be given to another user, who can run this binary.
fn give_to_nobody(env: &TestEnv) -> bool {
    let root = env.path("home").metadata().unwrap().uid() == 0;
    if !root || tool("setpriv").is_none() {
        return false;
    }
    chown(env.path(""), Some(65534), Some(65534)).unwrap();
    let exe = std::env::current_exe().unwrap();
    let tried = env.command("test", ["-x"]).arg(exe).under(AS_NOBODY).run();
    tried.status().success()
}

/// The permission bits that the documentation promises.
fn wanted_mode(path: &Path) -> u32 {
    let name = path.file_name().unwrap().to_str().unwrap();
    let exported = path.parent().unwrap().ends_with("out");
    match name {
        "out" => 0o750,
        _ if path.is_dir() => 0o700,
        "privkey.pem" | "combined.pem" if exported => 0o640,
        "cert.pem" | "chain.pem" | "fullchain.pem" => 0o644,
        _ => 0o600,
    }
}

/// Every file and directory below `dir` with its permission bits; links are left out.
fn tree(dir: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = vec![(dir.to_owned(), dir.metadata().unwrap().mode() & 0o7777)];
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(tree(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path(), entry.metadata().unwrap().mode() & 0o7777));
        }
    }
    found
}

#[test]
fn a_full_disk_costs_nothing_but_the_commit() {
    let (Some(_), Some(_)) = (tool("unshare"), tool("mount")) else {
        return;
    };
    let env = TestEnv::new();
    let mount = "mkdir state && mount -t tmpfs -o size=64k,mode=700 tmpfs state && exec \"$@\"";
    let privileges = ["unshare", "--map-root-user", "--mount"];
    let tried = env
        .command("true", [""; 0])
        .under(["sh", "-c", mount, "sh"]);
    if !tried.under(privileges).run().status().success() {
        crate::support::tools::skip("a mount namespace");
        return;
    }
    std::fs::remove_dir(env.state()).unwrap();
    let _ = child(&env, "child_fills_the_disk")
        .under(["sh", "-c", mount, "sh"])
        .under(privileges)
        .run()
        .success();
}

//! What the tests of `certmint ca` share: a CA made by the binary, and OpenSSL to
//! judge it.

use std::ffi::OsStr;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::support::{Output, Run, TestEnv};

/// An environment with a CA in its state directory.
pub(crate) struct Ca(TestEnv);

impl Deref for Ca {
    type Target = TestEnv;

    fn deref(&self) -> &TestEnv {
        &self.0
    }
}

impl Ca {
    /// A CA called `Test` with the defaults.
    pub(crate) fn new() -> Self {
        Self::with([""; 0])
    }

    /// A CA called `Test` made with more arguments of `ca init`.
    pub(crate) fn with(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        let ca = Self(TestEnv::new());
        let init = ca.ca(["init", "--name", "Test"]).args(args);
        let _ = init.run().success();
        ca
    }

    /// `certmint ca …`.
    pub(crate) fn ca(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.certmint(["ca"]).args(args)
    }

    /// Issues with these arguments and returns the directory of what was issued:
    /// that of the first argument's id.
    pub(crate) fn issue(&self, args: &[&str]) -> PathBuf {
        let _ = self.ca(["issue"]).args(args).run().success();
        self.current(&args[0].replace("*.", "_wildcard."))
    }

    /// The directory of the generation in use.
    pub(crate) fn current(&self, id: &str) -> PathBuf {
        self.state().join("certs").join(id).join("current")
    }

    /// The exported roots.
    pub(crate) fn roots(&self) -> PathBuf {
        self.state().join("ca/root.pem")
    }

    /// The serial number of a certificate, lower-case hex.
    pub(crate) fn serial(&self, cert: &Path) -> String {
        let out = openssl(self, &["x509", "-noout", "-serial", "-in"])
            .arg(cert)
            .run()
            .success();
        let hex = out.stdout().trim().trim_start_matches("serial=");
        hex.to_ascii_lowercase()
    }
}

/// OpenSSL with these arguments.
pub(crate) fn openssl(env: &TestEnv, args: &[&str]) -> Run {
    env.command("openssl", args)
}

/// `openssl verify -x509_strict` of the leaf in `dir` with the chain beside it.
pub(crate) fn verify(env: &TestEnv, dir: &Path, roots: &Path) -> Run {
    openssl(env, &["verify", "-x509_strict", "-CAfile"])
        .arg(roots)
        .arg("-untrusted")
        .arg(dir.join("chain.pem"))
        .arg(dir.join("cert.pem"))
}

/// One extension of a certificate, as OpenSSL words it, on one line.
pub(crate) fn extension(env: &TestEnv, cert: &Path, name: &str) -> String {
    let out = openssl(env, &["x509", "-noout", "-ext", name, "-in"])
        .arg(cert)
        .run()
        .success();
    let lines: Vec<&str> = out.stdout().lines().skip(1).map(str::trim).collect();
    lines.join(" ")
}

/// The output as JSON, with the schema that it must name.
#[track_caller]
pub(crate) fn json(out: &Output, schema: &str) -> serde_json::Value {
    let value: serde_json::Value = serde_json::from_str(out.stdout())
        .unwrap_or_else(|e| panic!("not JSON: {e}\n{}", out.stdout()));
    assert_eq!(value["schema"], schema);
    value
}

/// Permission bits.
pub(crate) fn mode(path: &Path) -> u32 {
    let found = path.symlink_metadata();
    found
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
        .mode()
        & 0o7777
}

/// Every file and directory below `dir`, links not followed.
pub(crate) fn tree(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(next) = pending.pop() {
        let Ok(entries) = std::fs::read_dir(&next) else {
            continue;
        };
        for entry in entries {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                pending.push(entry.path());
            }
            found.push(entry.path());
        }
    }
    found.sort();
    found
}

/// No key and no directory below `dir` is open to others.
#[track_caller]
pub(crate) fn assert_private(dir: &Path) {
    for path in tree(dir) {
        let meta = path.symlink_metadata().unwrap();
        if meta.is_symlink() {
            continue;
        }
        let secret = meta.is_dir()
            || std::fs::read(&path).is_ok_and(|bytes| contains(&bytes, b"PRIVATE KEY"));
        let open = mode(&path) & 0o077;
        assert!(!secret || open == 0, "{} has mode {open:o}", path.display());
    }
}

/// Whether `needle` is somewhere in `bytes`.
pub(crate) fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

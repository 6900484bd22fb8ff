//! Trust stores: where the operating system, browsers and Java keep the roots that
//! they believe.
//!
//! Rules kept here:
//! - every step is a program with its arguments, run without a shell, so that what
//!   a dry run prints is exactly what happens;
//! - nothing is elevated: when a step needs more privileges than the caller has,
//!   none of that store's steps is run, and the command is printed instead;
//! - a root is known by its fingerprint, in file names and aliases too, and only
//!   what carries that name is ever removed;
//! - success is what the store says afterwards, not what a program returned.

mod java;
mod nss;
mod program;
mod system;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::bundle::Certificate;
use crate::finding::words::causes;

/// Whose trust stores are meant, and what may be done to them. The library reads
/// no environment: the caller says all of it.
#[derive(Debug, Clone)]
pub struct TrustTarget {
    /// Root of the file system that holds the system's store; `/` unless an image
    /// is being built.
    pub sysroot: PathBuf,
    /// The user's home directory, where browsers keep their databases.
    pub home: PathBuf,
    /// Where programs are looked for (`PATH`). Add `/usr/sbin` and `/sbin`: users
    /// often lack them, and the system's programs are there.
    pub path: OsString,
    /// The Java installation to change (`JAVA_HOME`); `None` means that of the
    /// `keytool` on the path.
    pub java_home: Option<PathBuf>,
    /// Who we are; 0 may do everything.
    pub euid: u32,
}

impl TrustTarget {
    /// The running machine, for the user with this home, path and id.
    pub fn new(home: PathBuf, path: OsString, euid: u32) -> Self {
        Self {
            sysroot: PathBuf::from("/"),
            home,
            path,
            java_home: None,
            euid,
        }
    }

    /// Where `program` is, or the reason why a store cannot be used.
    fn program(&self, program: &str, package: &str) -> Result<PathBuf, String> {
        std::env::split_paths(&self.path)
            .map(|dir| dir.join(program))
            .find(|path| path.is_absolute() && path.is_file())
            .ok_or_else(|| format!("`{program}` is not installed ({package})"))
    }

    fn is_running_system(&self) -> bool {
        self.sysroot == Path::new("/")
    }

    /// Whether changing `path` takes another user than this one. Permissions that
    /// come from a group are not seen: asking for root once too often is harmless.
    fn needs_root(&self, path: &Path) -> bool {
        let owner = path
            .ancestors()
            .find_map(|path| std::fs::metadata(path).ok())
            .map(|metadata| metadata.uid());
        self.euid != 0 && owner != Some(self.euid)
    }

    fn step(&self, argv: &[&OsStr], changes: &Path) -> Step {
        Step {
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            needs_root: self.needs_root(changes),
        }
    }
}

/// Kinds of trust store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// The operating system's: curl, OpenSSL, Python, Go and most others.
    System,
    /// NSS databases: Firefox and Chromium.
    Nss,
    /// Java's `cacerts`.
    Java,
}

impl StoreKind {
    /// All of them. The system comes first: on Debian it feeds Java's as well.
    pub const ALL: [Self; 3] = [Self::System, Self::Nss, Self::Java];

    /// Its name on the command line and in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Nss => "nss",
            Self::Java => "java",
        }
    }
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A root to be trusted, and the PEM file that holds it and nothing else.
#[derive(Debug, Clone)]
pub struct Anchor {
    certificate: Certificate,
    path: PathBuf,
}

impl Anchor {
    /// A root and its file; the path should be absolute, for it is printed as part
    /// of commands.
    pub fn new(certificate: Certificate, path: PathBuf) -> Self {
        Self { certificate, path }
    }

    /// The root.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// Its name in every store: `certmint-` and the first 16 hex digits of its
    /// SHA-256 fingerprint.
    pub fn name(&self) -> String {
        format!("certmint-{:.16}", self.certificate.sha256_hex())
    }

    /// Whether one of the PEM certificates in `text` is this root. What else is in
    /// `text` need not be readable.
    fn is_among(&self, text: &[u8]) -> bool {
        CertificateDer::pem_slice_iter(text)
            .flatten()
            .any(|der| der == *self.certificate.der())
    }
}

/// What to do to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Make it trust the roots.
    Install,
    /// Remove what an earlier installation put there.
    Uninstall,
}

/// One program to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// It changes what belongs to another user.
    pub needs_root: bool,
}

impl fmt::Display for Step {
    /// The step as it would be typed into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.needs_root {
            f.write_str("sudo ")?;
        }
        for (position, word) in self.argv.iter().enumerate() {
            let gap = if position == 0 { "" } else { " " };
            write!(f, "{gap}{}", shell_words::quote(&word.to_string_lossy()))?;
        }
        Ok(())
    }
}

/// What would be done to one store.
#[derive(Debug)]
pub struct Plan {
    /// Which kind of store.
    pub kind: StoreKind,
    /// Its directory or file, when there is one.
    pub place: Option<PathBuf>,
    change: Change,
    anchors: Vec<Anchor>,
    todo: Result<(Box<dyn Backend>, Vec<Step>), String>,
}

impl Plan {
    /// The steps in order; none when everything is as wanted, or nothing can be done.
    pub fn steps(&self) -> &[Step] {
        self.todo.as_ref().map_or(&[], |(_, steps)| steps)
    }

    /// Why nothing can be done to this store.
    pub fn unavailable(&self) -> Option<&str> {
        self.todo.as_ref().err().map(String::as_str)
    }

    /// The steps as one line for a shell.
    pub fn command_line(&self) -> String {
        let steps: Vec<String> = self.steps().iter().map(Step::to_string).collect();
        steps.join(" && ")
    }

    /// Runs the steps and asks the store whether they worked.
    ///
    /// # Errors
    /// When a step cannot be started, fails, or takes longer than a minute; when the
    /// store cannot be read; and when it is unchanged in the end.
    pub fn apply(&self, target: &TrustTarget) -> Result<Outcome, TrustError> {
        let (backend, steps) = match &self.todo {
            Err(reason) => return Ok(Outcome::Unavailable(reason.clone())),
            Ok((_, steps)) if steps.is_empty() => return Ok(Outcome::Unchanged),
            Ok(todo) => (&todo.0, &todo.1),
        };
        if steps.iter().any(|step| step.needs_root) {
            return Ok(Outcome::NeedsRoot(self.command_line()));
        }
        for step in steps {
            program::run(target, &step.argv)?;
        }
        for anchor in &self.anchors {
            if wants(self.change, backend.as_ref(), target, anchor)? {
                return Err(TrustError::NoEffect {
                    kind: self.kind,
                    place: backend.place().to_owned(),
                    name: anchor.name(),
                });
            }
        }
        self.done(backend.as_ref(), target)
    }

    /// Ours is gone from the store, but it may believe the root all the same.
    fn done(&self, backend: &dyn Backend, target: &TrustTarget) -> Result<Outcome, TrustError> {
        if self.change == Change::Uninstall {
            for anchor in &self.anchors {
                if backend.trusts(target, anchor)? {
                    return Ok(Outcome::StillTrusted);
                }
            }
        }
        Ok(Outcome::Done)
    }
}

/// What became of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The steps were run, and the store confirms it.
    Done,
    /// What certmint had installed was removed, but the store believes the root all
    /// the same: somebody else installed it too, or the store was not rebuilt.
    StillTrusted,
    /// Nothing was left to do.
    Unchanged,
    /// Nothing was done; this command line does it.
    NeedsRoot(String),
    /// There is no such store here, or a program is missing.
    Unavailable(String),
}

/// Plans to make stores of these kinds trust `anchors`, or to remove them: one plan
/// for each store found, or one that says why there is none.
///
/// A plan is made from what the stores hold now. Applying one can change another
/// store (Debian's system store feeds Java's): plan and apply kind by kind.
pub fn plan(
    target: &TrustTarget,
    change: Change,
    anchors: &[Anchor],
    kinds: &[StoreKind],
) -> Vec<Plan> {
    let mut plans = Vec::new();
    for (kind, backends) in backends(target, kinds, change) {
        match backends {
            Err(reason) => plans.push(Plan {
                kind,
                place: None,
                change,
                anchors: Vec::new(),
                todo: Err(reason),
            }),
            Ok(backends) => plans.extend(backends.into_iter().map(|backend| Plan {
                kind,
                place: Some(backend.place().to_owned()),
                change,
                anchors: anchors.to_vec(),
                todo: steps(target, change, anchors, backend),
            })),
        }
    }
    plans
}

/// Whether one store trusts one root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Which kind of store.
    pub store: StoreKind,
    /// Its directory or file, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// The root's SHA-256 fingerprint, in lower-case hex.
    pub sha256: String,
    /// What the store says.
    #[serde(flatten)]
    pub state: TrustState,
}

/// What a store says about a root.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase", tag = "state", content = "reason")]
pub enum TrustState {
    /// It is there, and believed.
    Trusted,
    /// It is not there, or not believed.
    Absent,
    /// There is no such store, or it cannot be asked; the reason.
    Unavailable(String),
}

/// Asks every store of these kinds about every root.
pub fn status(target: &TrustTarget, anchors: &[Anchor], kinds: &[StoreKind]) -> Vec<Status> {
    let mut rows = Vec::new();
    for (store, backends) in backends(target, kinds, Change::Uninstall) {
        for anchor in anchors {
            let row = |path: Option<&Path>, state| Status {
                store,
                path: path.map(Path::to_owned),
                sha256: anchor.certificate.sha256_hex(),
                state,
            };
            match &backends {
                Err(reason) => rows.push(row(None, TrustState::Unavailable(reason.clone()))),
                Ok(backends) => rows.extend(backends.iter().map(|backend| {
                    let state = match backend.trusts(target, anchor) {
                        Ok(true) => TrustState::Trusted,
                        Ok(false) => TrustState::Absent,
                        Err(error) => TrustState::Unavailable(causes(&error)),
                    };
                    row(Some(backend.place()), state)
                })),
            }
        }
    }
    rows
}

/// Variables that make runtimes with roots of their own believe `roots` (a PEM
/// file). Only Node.js adds them to what it knows; the others replace it.
pub fn environment(roots: &Path) -> [(&'static str, &Path); 3] {
    [
        ("NODE_EXTRA_CA_CERTS", roots),
        ("SSL_CERT_FILE", roots),
        ("REQUESTS_CA_BUNDLE", roots),
    ]
}

/// One store that was found.
trait Backend: fmt::Debug {
    /// Its directory or file.
    fn place(&self) -> &Path;

    /// Whether programs that use it believe the root, whoever put it there.
    fn trusts(&self, target: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError>;

    /// Whether it holds the root under the name that we give it.
    fn holds(&self, target: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError>;

    /// How to make `change` for `anchors`, of which there is at least one.
    fn steps(&self, target: &TrustTarget, change: Change, anchors: &[&Anchor]) -> Vec<Step>;
}

type Backends = Result<Vec<Box<dyn Backend>>, String>;

fn backends(
    target: &TrustTarget,
    kinds: &[StoreKind],
    change: Change,
) -> Vec<(StoreKind, Backends)> {
    kinds
        .iter()
        .map(|&kind| {
            let found = match kind {
                StoreKind::System => system::find(target),
                StoreKind::Nss => nss::find(target, change),
                StoreKind::Java => java::find(target),
            };
            (kind, found)
        })
        .collect()
}

fn steps(
    target: &TrustTarget,
    change: Change,
    anchors: &[Anchor],
    backend: Box<dyn Backend>,
) -> Result<(Box<dyn Backend>, Vec<Step>), String> {
    let mut wanted = Vec::new();
    for anchor in anchors {
        if wants(change, backend.as_ref(), target, anchor).map_err(|error| causes(&error))? {
            wanted.push(anchor);
        }
    }
    let steps = if wanted.is_empty() {
        Vec::new()
    } else {
        backend.steps(target, change, &wanted)
    };
    Ok((backend, steps))
}

/// Whether `change` has still to be made.
fn wants(
    change: Change,
    backend: &dyn Backend,
    target: &TrustTarget,
    anchor: &Anchor,
) -> Result<bool, TrustError> {
    match change {
        Change::Install => Ok(!backend.trusts(target, anchor)?),
        Change::Uninstall => backend.holds(target, anchor),
    }
}

/// A file of a store; empty when there is none.
fn read(path: &Path) -> Result<Vec<u8>, TrustError> {
    let unread = |source| TrustError::Unread {
        path: path.to_owned(),
        source,
    };
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(unread)?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE)
        .read_to_end(&mut bytes)
        .map_err(unread)?;
    Ok(bytes)
}

/// Why a trust store could not be changed or read.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A program could not be started.
    #[error("could not start `{command}`")]
    Start {
        /// With its arguments.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program failed.
    #[error("`{command}` failed ({status}): {output}")]
    Failed {
        /// With its arguments.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The end of what it printed, in one line.
        output: String,
    },
    /// A program took too long and was killed.
    #[error("`{command}` did not end within {seconds} s and was killed")]
    TimedOut {
        /// With its arguments.
        command: String,
        /// How long it had.
        seconds: u64,
    },
    /// A file of the store cannot be read.
    #[error("could not read `{}`", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Every program said it had worked, and the store is unchanged.
    #[error("the {kind} store `{}` is unchanged: `{name}` did not take effect", place.display())]
    NoEffect {
        /// Which kind of store.
        kind: StoreKind,
        /// Its directory or file.
        place: PathBuf,
        /// The root's name there.
        name: String,
    },
}

impl TrustError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Start { .. } => "check that the program is installed and executable".to_owned(),
            Self::Failed { command, .. } | Self::TimedOut { command, .. } => {
                format!("run `{command}` by hand to see why")
            }
            Self::Unread { .. } => "check its permissions".to_owned(),
            Self::NoEffect { .. } => {
                "see what is wanted with `certmint ca trust install --dry-run`".to_owned()
            }
        }
    }
}

/// Bytes read from a file of a store; the system's bundle has 0.2 MiB.
const MAX_FILE: u64 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::testing::{anchor, dir_all, fake_programs, write};
    use super::*;

    #[test]
    fn a_root_is_named_by_its_fingerprint_and_found_among_garbage() {
        let (one, other) = (anchor("R1"), anchor("R2"));
        assert_eq!(one.name().len(), "certmint-".len() + 16);
        assert!(one.certificate().sha256_hex().starts_with(&one.name()[9..]));
        let pem = one.certificate().to_pem();
        let bundle =
            format!("# words\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{pem}");
        assert!(one.is_among(bundle.as_bytes()));
        assert!(!other.is_among(bundle.as_bytes()) && !one.is_among(b"\xff-----BEGIN"));
    }

    #[test]
    fn without_privileges_nothing_is_run_and_the_whole_command_is_told() {
        let machine = Machine::new(1000);
        let plans = machine.plan(Change::Install);
        let line = match plans[0].apply(&machine.target).unwrap() {
            Outcome::NeedsRoot(line) => line,
            other => panic!("{other:?}"),
        };
        assert!(
            line.starts_with("sudo ") && line.matches(" && sudo ").count() == 1,
            "{line}"
        );
        assert!(!machine.ran().exists(), "a program was run");
    }

    #[test]
    fn what_the_owner_may_change_needs_no_root() {
        let machine = Machine::new(0);
        assert!(!machine.target.needs_root(Path::new("/etc/no/such")));
        let mut target = machine.target.clone();
        target.euid = 1000;
        assert!(target.needs_root(Path::new("/etc/no/such")));
        target.euid = std::fs::metadata(&target.home).unwrap().uid();
        assert!(!target.needs_root(&target.home.join("not/there/yet")));
    }

    #[test]
    fn a_program_that_says_it_worked_is_not_believed() {
        let machine = Machine::new(0);
        let plans = machine.plan(Change::Install);
        let error = plans[0].apply(&machine.target).unwrap_err();
        assert!(matches!(error, TrustError::NoEffect { .. }), "{error}");
        assert!(machine.ran().exists());
    }

    #[test]
    fn what_is_already_so_takes_no_step_and_others_are_left_alone() {
        let machine = Machine::new(0);
        let root = machine.target.sysroot.clone();
        // Put there by somebody else, under another name.
        let pem = machine.anchor.certificate().to_pem();
        write(&root.join("etc/ssl/certs/ca-certificates.crt"), &pem);
        write(&root.join("usr/local/share/ca-certificates/mine.crt"), &pem);
        for change in [Change::Install, Change::Uninstall] {
            let plans = machine.plan(change);
            assert_eq!(plans[0].steps(), []);
            assert_eq!(plans[0].apply(&machine.target).unwrap(), Outcome::Unchanged);
        }
        let rows = machine.status();
        assert_eq!(rows[0].state, TrustState::Trusted);
        // Under our name but another certificate: not ours to remove.
        let file = format!(
            "usr/local/share/ca-certificates/{}.crt",
            machine.anchor.name()
        );
        write(&root.join(file), &anchor("other").certificate().to_pem());
        assert_eq!(machine.plan(Change::Uninstall)[0].steps(), []);
    }

    #[test]
    fn a_status_says_trusted_absent_or_why_not() {
        let machine = Machine::new(0);
        let rows = machine.status();
        assert_eq!(rows[0].state, TrustState::Absent);
        let json = serde_json::to_value(&rows[0]).unwrap();
        assert_eq!(
            (&json["store"], &json["state"]),
            (&"system".into(), &"absent".into())
        );
        let rows = status(
            &machine.target,
            std::slice::from_ref(&machine.anchor),
            &[StoreKind::Java],
        );
        let json = serde_json::to_value(&rows[0]).unwrap();
        assert_eq!(json["state"], "unavailable");
        assert_eq!(
            json["reason"],
            "`keytool` is not installed (any Java runtime)"
        );
    }

    #[test]
    fn steps_are_shown_as_a_shell_would_take_them() {
        let step = Step {
            argv: ["/bin/x", "a b", "c'd"].map(OsString::from).to_vec(),
            needs_root: true,
        };
        assert_eq!(step.to_string(), "sudo /bin/x 'a b' 'c'\\''d'");
    }

    /// A Debian with programs that do nothing but leave a mark.
    struct Machine {
        dir: tempfile::TempDir,
        target: TrustTarget,
        anchor: Anchor,
    }

    impl Machine {
        fn new(euid: u32) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = fake_programs(dir.path());
            let mut target = TrustTarget::new(dir.path().join("home"), path.into(), euid);
            target.sysroot = dir.path().join("root");
            dir_all(&target.home);
            dir_all(&target.sysroot.join("usr/local/share/ca-certificates"));
            // Whoever runs the tests owns these directories.
            let owner = std::fs::metadata(dir.path()).unwrap().uid();
            target.euid = if euid == 0 { owner } else { owner + 1 };
            let anchor = anchor("R1");
            Self {
                dir,
                target,
                anchor,
            }
        }

        fn plan(&self, change: Change) -> Vec<Plan> {
            let anchors = [self.anchor.clone()];
            plan(&self.target, change, &anchors, &[StoreKind::System])
        }

        fn status(&self) -> Vec<Status> {
            let anchors = [self.anchor.clone()];
            status(&self.target, &anchors, &[StoreKind::System])
        }

        fn ran(&self) -> PathBuf {
            self.dir.path().join("ran")
        }
    }
}

/// What the tests of all stores share.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "lays out the file systems that tests look at"
)]
mod testing {
    use super::*;

    /// A root whose file is said to be `/ca/NAME.pem`.
    pub(super) fn anchor(name: &str) -> Anchor {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        let der = params.self_signed(&key).unwrap();
        let certificate = Certificate::from_der(der.der()).unwrap();
        Anchor::new(certificate, PathBuf::from(format!("/ca/{name}.pem")))
    }

    pub(super) fn dir_all(path: &Path) {
        std::fs::create_dir_all(path).unwrap();
    }

    pub(super) fn write(path: &Path, text: &str) {
        dir_all(path.parent().unwrap());
        std::fs::write(path, text).unwrap();
    }

    /// `dir/bin` with every program of every system's store; each leaves a mark in
    /// `dir/ran` and does nothing.
    pub(super) fn fake_programs(dir: &Path) -> PathBuf {
        let bin = dir.join("bin");
        dir_all(&bin);
        // Written by a child: while this process held them open for writing, a fork by
        // another test's thread could keep them from being run (ETXTBSY).
        let script =
            "for name in chroot install rm trust update-ca-certificates update-ca-trust; do
            printf '#!/bin/sh\\necho >> %s/../ran\\n' \"$PWD\" > $name; chmod 755 $name; done";
        let status = std::process::Command::new("/bin/sh")
            .args(["-c", script])
            .current_dir(&bin)
            .status();
        assert!(status.unwrap().success());
        bin
    }
}

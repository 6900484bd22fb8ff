//! Making a CA, all or nothing.
//!
//! Everything is written into `ca/.staging` first, `ca.json` last: that file makes
//! the staging complete. Then each entry is moved into `ca/`, `ca.json` last again:
//! there it makes the CA. Incomplete staging is swept by the next `init`; complete
//! staging without a CA is moved in by the next `init` or whoever opens the CA.
//! Nothing is ever deleted of a CA that is replaced.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::authority::{self, Authority};
use super::config::{CaConfig, CaName, Country, CrlUrl, Organization};
use super::error::CaError;
use super::issue::entry;
use super::key_file::{self, PUBLIC_MODE};
use super::ledger::{Entry, Ledger, Role};
use super::lint::{Kind, Ordered};
use super::paths::{self, CaPaths};
use super::profile;
use super::sign::{Rehearsal, sign};
use crate::bundle::Certificate;
use crate::clock::{Timestamp, rfc3339};
use crate::identifier::{NameConstraints, quoted};
use crate::key::{KeyType, Passphrase, PrivateKey};
use crate::store::{Lock, StoreError, disk};

/// What a new CA shall be like.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// Stands in the common names.
    pub name: CaName,
    /// The organization; `None` means the name.
    pub org: Option<Organization>,
    /// The country; none by default.
    pub country: Option<Country>,
    /// Kind of key of root and intermediates.
    pub key_type: KeyType,
    /// Life of the root; 3650 days by default.
    pub root_days: u32,
    /// Life of the intermediate; 1095 days by default, never longer than the root.
    pub intermediate_days: u32,
    /// What may be issued; everything by default.
    pub permit: NameConstraints,
    /// Encrypts the root's key.
    pub root_passphrase: Option<Passphrase>,
    /// Encrypts the intermediate's key.
    pub intermediate_passphrase: Option<Passphrase>,
    /// Directory that receives the root's key instead of the CA.
    pub root_out: Option<PathBuf>,
    /// Where revocation lists will be published.
    pub crl_url: Option<CrlUrl>,
    /// A CA that exists already is what was wanted.
    pub if_missing: bool,
    /// A CA that exists already is moved to `backup/`.
    pub force: bool,
}

impl InitRequest {
    /// A CA called `name`, with the defaults.
    pub fn new(name: CaName) -> Self {
        Self {
            name,
            org: None,
            country: None,
            key_type: KeyType::default(),
            root_days: 3650,
            intermediate_days: 1095,
            permit: NameConstraints::default(),
            root_passphrase: None,
            intermediate_passphrase: None,
            root_out: None,
            crl_url: None,
            if_missing: false,
            force: false,
        }
    }
}

/// What `init` did.
#[derive(Debug, Clone)]
pub struct InitOutcome {
    /// The CA.
    pub authority: Authority,
    /// Whether it was made just now.
    pub created: bool,
    /// Where the CA is that was there before.
    pub backup: Option<PathBuf>,
    /// Where the root's key was written outside the CA.
    pub root_key: Option<PathBuf>,
}

/// Makes a CA in the state directory `home`.
///
/// Any number of processes may do this at once: one makes it, and those that said
/// `if_missing` find it.
pub fn init(home: &Path, request: &InitRequest, now: Timestamp) -> Result<InitOutcome, CaError> {
    let paths = CaPaths::new(home);
    let keep = request.if_missing && !request.force;
    if keep && exists(&paths)? {
        return found(home);
    }
    let config = settings(request, now)?;
    check_root_out(&paths, request)?;
    // Directories that are mounted from outside keep their owner and mode.
    for dir in [paths.home(), paths.dir()] {
        ensure_dir(dir)?;
    }
    let _lock = lock(&paths)?;
    settle(&paths)?;
    let replace = exists(&paths)?;
    if replace && keep {
        return found(home);
    }
    if replace && !request.force {
        return Err(CaError::AlreadyInitialised {
            path: paths.dir().to_owned(),
        });
    }
    let backup = if replace {
        Some(prepare_backup(&paths, now)?)
    } else {
        refuse_foreign(&paths)?;
        None
    };
    let root_key = stage(&paths, &config, request, backup.as_deref(), now)?;
    if let Some(backup) = &backup {
        // From here on there is no CA until the new one is complete.
        disk::rename(&paths.config(), &backup.join(CaPaths::CONFIG))?;
    }
    roll_forward(&paths)?;
    Ok(InitOutcome {
        authority: Authority::read(paths)?,
        created: true,
        backup,
        root_key,
    })
}

/// Whether there is a CA.
pub(super) fn exists(paths: &CaPaths) -> Result<bool, CaError> {
    is_complete(paths)
}

/// Whether everything was written: `ca.json` is there.
pub(super) fn is_complete(paths: &CaPaths) -> Result<bool, CaError> {
    let config = paths.config();
    Ok(config
        .try_exists()
        .map_err(StoreError::io("read", &config))?)
}

/// Moves complete staging into its place. The caller holds the lock.
pub(super) fn roll_forward(paths: &CaPaths) -> Result<(), CaError> {
    let staging = paths.staging();
    if exists(paths)? || !is_complete(&staging)? {
        return Ok(());
    }
    let marker = replaces(&staging);
    if let Some(name) = disk::read_if_exists(&marker)? {
        let name = String::from_utf8_lossy(&name);
        let backup = paths.backups().join(name.trim());
        for entry in entries(paths.dir())? {
            if entry != CaPaths::STAGING && entry != LOST_AND_FOUND {
                disk::rename(&paths.dir().join(&entry), &backup.join(&entry))?;
            }
        }
        disk::remove_file(&marker)?;
        disk::sync_dir(staging.dir())?;
    }
    for entry in entries(staging.dir())? {
        if entry != CaPaths::CONFIG {
            disk::rename(&staging.dir().join(&entry), &paths.dir().join(&entry))?;
        }
    }
    disk::rename(&staging.config(), &paths.config())?;
    Ok(disk::remove_tree(staging.dir())?)
}

/// Takes the lock under which the CA is changed.
pub(super) fn lock(paths: &CaPaths) -> Result<Lock, CaError> {
    disk::create_dir(&paths.locks())?;
    Ok(Lock::acquire(&paths.locks(), CaPaths::LOCK)?)
}

/// Makes a directory unless it is there, whoever it belongs to.
pub(super) fn ensure_dir(path: &Path) -> Result<(), CaError> {
    if path.is_dir() {
        return Ok(());
    }
    Ok(disk::create_dir(path)?)
}

/// Refuses to keep the root's key in the very directory that it shall stay out of.
fn check_root_out(paths: &CaPaths, request: &InitRequest) -> Result<(), CaError> {
    match &request.root_out {
        Some(dir) if is_inside(dir, paths.dir()) => {
            Err(CaError::RootOutInside { path: dir.clone() })
        }
        _ => Ok(()),
    }
}

/// Whether `path` is `dir` or below it, also through links as far as both exist.
pub(super) fn is_inside(path: &Path, dir: &Path) -> bool {
    let real = |p: &Path| p.canonicalize().unwrap_or_else(|_| p.to_owned());
    path.starts_with(dir) || real(path).starts_with(real(dir))
}

/// Entries of the CA's directory that nobody put there.
const LOST_AND_FOUND: &str = "lost+found";

fn settings(request: &InitRequest, now: Timestamp) -> Result<CaConfig, CaError> {
    let (org, country) = (request.org.clone(), request.country.clone());
    let mut config = CaConfig::new(request.name.clone(), org, country, now)
        .with_days(request.root_days, request.intermediate_days)?;
    config.key_type = request.key_type;
    config.permit = request.permit.clone();
    config.crl_url = request.crl_url.clone();
    Ok(config)
}

fn found(home: &Path) -> Result<InitOutcome, CaError> {
    Ok(InitOutcome {
        authority: Authority::open(home)?,
        created: false,
        backup: None,
        root_key: None,
    })
}

/// Brings what the last `init` left behind to an end, one way or the other.
fn settle(paths: &CaPaths) -> Result<(), CaError> {
    roll_forward(paths)?;
    Ok(disk::remove_tree(paths.staging().dir())?)
}

fn refuse_foreign(paths: &CaPaths) -> Result<(), CaError> {
    match entries(paths.dir())?.iter().find(|e| *e != LOST_AND_FOUND) {
        None => Ok(()),
        Some(entry) => Err(CaError::Foreign {
            path: paths.dir().to_owned(),
            entry: quoted(entry),
        }),
    }
}

/// The directory that the CA will be moved to: `backup/ca-<moment>-<root>`.
fn prepare_backup(paths: &CaPaths, now: Timestamp) -> Result<PathBuf, CaError> {
    const DIGITS: usize = 8;
    // A CA that cannot be read any more is replaced all the same.
    let root = Authority::read(paths.clone()).map_or_else(
        |_| "damaged".to_owned(),
        |authority| authority.newest_root().certificate.sha256_hex(),
    );
    let prefix: String = root.chars().take(DIGITS).collect();
    let moment = rfc3339(now).replace(['-', ':'], "");
    disk::create_dir(&paths.backups())?;
    let device = |path: &Path| -> Result<u64, CaError> {
        let metadata = std::fs::metadata(path).map_err(StoreError::io("read", path))?;
        Ok(metadata.dev())
    };
    if device(paths.dir())? != device(&paths.backups())? {
        return Err(CaError::OtherFileSystem {
            path: paths.dir().to_owned(),
            backup: paths.backups(),
        });
    }
    let backup = paths.backups().join(format!("ca-{moment}-{prefix}"));
    disk::create_dir(&backup)?;
    disk::sync_dir(&paths.backups())?;
    Ok(backup)
}

/// Names the backup that what is in the CA's place has to be moved to first.
fn replaces(staging: &CaPaths) -> PathBuf {
    staging.dir().join("replaces")
}

/// Writes the whole CA into the staging directory; returns where the root's key
/// went if not there. What a failure leaves is removed as far as possible.
fn stage(
    paths: &CaPaths,
    config: &CaConfig,
    request: &InitRequest,
    backup: Option<&Path>,
    now: Timestamp,
) -> Result<Option<PathBuf>, CaError> {
    let staging = paths.staging();
    let mut root_key = None;
    let written = write_staging(&staging, config, request, backup, now, &mut root_key);
    if written.is_err() {
        // The next `init` does the same; the error at hand is the one that matters.
        let _ = disk::remove_tree(staging.dir());
        if let Some(path) = &root_key {
            let _ = disk::remove_file(path);
        }
    }
    written.map(|()| root_key)
}

fn write_staging(
    staging: &CaPaths,
    config: &CaConfig,
    request: &InitRequest,
    backup: Option<&Path>,
    now: Timestamp,
    root_out: &mut Option<PathBuf>,
) -> Result<(), CaError> {
    let made = Hierarchy::make(config, now)?;
    let (root_dir, dir) = (
        staging.roots().join("R1"),
        staging.intermediates().join("I1"),
    );
    for path in [&root_dir, &dir] {
        disk::create_dir(path)?;
    }
    write_certificate(&paths::certificate(&root_dir), &made.root)?;
    write_certificate(&paths::certificate(&dir), &made.intermediate)?;
    let passphrase = request.root_passphrase.as_ref();
    match &request.root_out {
        None => key_file::write(&paths::key(&root_dir), &made.root_key, passphrase)?,
        Some(out) => {
            *root_out = Some(write_outside(
                out,
                "R1",
                &made.root,
                &made.root_key,
                passphrase,
            )?);
        }
    }
    let passphrase = request.intermediate_passphrase.as_ref();
    key_file::write(&paths::key(&dir), &made.intermediate_key, passphrase)?;
    write_certificate(&staging.root_export(), &made.root)?;
    write_certificate(&staging.chain_export(), &made.intermediate)?;
    made.record(staging, config, now)?;
    if let Some(name) = backup.and_then(Path::file_name) {
        let name = name.as_encoded_bytes();
        disk::write_new(&replaces(staging), name, PUBLIC_MODE)?;
    }
    let (roots, intermediates) = (staging.roots(), staging.intermediates());
    for path in [&root_dir, &dir, &roots, &intermediates] {
        disk::sync_dir(path)?;
    }
    disk::sync_dir(staging.dir())?;
    // By a rename: a file that was begun and not written would make it complete.
    Ok(disk::replace(
        &staging.config(),
        &config.to_json(),
        PUBLIC_MODE,
    )?)
}

/// Writes a root's key into a directory outside the CA.
pub(super) fn write_outside(
    dir: &Path,
    name: &str,
    root: &Certificate,
    key: &PrivateKey,
    passphrase: Option<&Passphrase>,
) -> Result<PathBuf, CaError> {
    ensure_dir(dir)?;
    let path = dir.join(key_file::offline_name(name, root));
    key_file::write(&path, key, passphrase)?;
    disk::sync_dir(dir)?;
    Ok(path)
}

pub(super) fn write_certificate(path: &Path, certificate: &Certificate) -> Result<(), CaError> {
    let text = certificate.to_pem();
    Ok(disk::write_new(path, text.as_bytes(), PUBLIC_MODE)?)
}

/// A root and an intermediate, fresh.
struct Hierarchy {
    root_key: PrivateKey,
    root: Certificate,
    intermediate_key: PrivateKey,
    intermediate: Certificate,
}

impl Hierarchy {
    fn make(config: &CaConfig, now: Timestamp) -> Result<Self, CaError> {
        let rehearsal = Rehearsal::new().map_err(CaError::Generation)?;
        let (root, root_key) = make_root(config, "R1", now, &rehearsal)?;
        let (intermediate, intermediate_key) =
            make_intermediate(config, "I1", &root, &root_key, now, &rehearsal)?;
        Ok(Self {
            root_key,
            root,
            intermediate_key,
            intermediate,
        })
    }

    fn record(&self, paths: &CaPaths, config: &CaConfig, now: Timestamp) -> Result<(), CaError> {
        let kind = config.key_type.as_str();
        let entries = [
            entry(&self.root, Role::Root, "R1", "ca", kind, now),
            entry(
                &self.intermediate,
                Role::Intermediate,
                "R1",
                "ca",
                kind,
                now,
            ),
        ];
        record(paths, &entries)
    }
}

/// Writes `entries` into the CA's ledger.
pub(super) fn record(paths: &CaPaths, entries: &[Entry]) -> Result<(), CaError> {
    Ok(Ledger::open(&paths.ledger())?.record(entries)?)
}

/// Makes a root with a fresh key.
pub(super) fn make_root(
    config: &CaConfig,
    name: &str,
    now: Timestamp,
    rehearsal: &Rehearsal,
) -> Result<(Certificate, PrivateKey), CaError> {
    let key = PrivateKey::generate(config.key_type).map_err(CaError::Generation)?;
    let params = profile::root(config, name, &key, now)?;
    let ordered = Ordered {
        kind: Kind::Root {
            permit: &config.permit,
        },
        spki: &key.public_key_der(),
        issuer: None,
        not_before: params.not_before,
        not_after: params.not_after,
    };
    let certificate = sign(&params, &key, &key, &ordered, rehearsal)?;
    Ok((certificate, key))
}

/// Makes an intermediate with a fresh key under `root`.
pub(super) fn make_intermediate(
    config: &CaConfig,
    name: &str,
    root: &Certificate,
    root_key: &PrivateKey,
    now: Timestamp,
    rehearsal: &Rehearsal,
) -> Result<(Certificate, PrivateKey), CaError> {
    let key = PrivateKey::generate(config.key_type).map_err(CaError::Generation)?;
    let params = profile::intermediate(config, name, &key, root, now)?;
    let ordered = Ordered {
        kind: Kind::Intermediate {
            permit: &config.permit,
        },
        spki: &key.public_key_der(),
        issuer: Some(root),
        not_before: params.not_before,
        not_after: params.not_after,
    };
    let certificate = sign(&params, &key, root_key, &ordered, rehearsal)?;
    Ok((certificate, key))
}

/// The names in a directory, sorted.
fn entries(dir: &Path) -> Result<Vec<String>, CaError> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(StoreError::io("read", dir))? {
        let entry = entry.map_err(StoreError::io("read", dir))?;
        let name = entry.file_name().into_string();
        names.push(name.map_err(|_| authority::damaged(dir, "a name in it is not text"))?);
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files by hand")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::pki::test_ca::{key, make, now, open, profile, request};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn fingerprint(home: &Path) -> String {
        let authority = Authority::open(home).unwrap();
        authority.newest_root().certificate.sha256_hex()
    }

    #[test]
    fn a_new_ca_is_complete_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("deep/home");
        let made = make(&home);
        assert!(made.created && made.backup.is_none() && made.root_key.is_none());
        let paths = CaPaths::new(&home);
        assert_eq!(
            entries(paths.dir()).unwrap(),
            [
                "ca.json",
                "ca.sqlite",
                "chain.pem",
                "intermediate",
                "root",
                "root.pem"
            ]
        );
        assert_eq!(mode(paths.dir()), 0o700);
        for key in [
            paths.roots().join("R1/key.pem"),
            paths.intermediates().join("I1/key.pem"),
        ] {
            assert_eq!(mode(&key), 0o600, "{}", key.display());
        }
        let root = &made.authority.roots()[0];
        assert_eq!(root.certificate.subject(), "O=Test, CN=Test Root R1");
        let life = root.certificate.not_after() - now();
        assert_eq!(life.whole_days(), 3650);
        let active = made.authority.active();
        assert_eq!((active.name.as_str(), active.issuer.as_str()), ("I1", "R1"));
    }

    #[test]
    fn ten_at_once_make_one_ca() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let mut request = request();
        request.if_missing = true;
        let outcomes: Vec<InitOutcome> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..10)
                .map(|_| scope.spawn(|| init(&home, &request, now()).unwrap()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|o| o.created).count(), 1);
        for outcome in outcomes {
            let root = &outcome.authority.newest_root().certificate;
            assert_eq!(root.sha256_hex(), fingerprint(&home));
        }
        request.if_missing = false;
        let again = init(&home, &request, now()).unwrap_err();
        assert!(matches!(again, CaError::AlreadyInitialised { .. }));
    }

    #[test]
    fn directories_mounted_empty_are_taken_and_foreign_ones_refused() {
        let dir = tempfile::tempdir().unwrap();
        let paths = CaPaths::new(dir.path());
        std::fs::create_dir_all(paths.dir().join("lost+found")).unwrap();
        make(dir.path());

        let dir = tempfile::tempdir().unwrap();
        let paths = CaPaths::new(dir.path());
        std::fs::create_dir_all(paths.dir()).unwrap();
        std::fs::write(paths.dir().join("thesis.txt"), "x").unwrap();
        let refused = init(dir.path(), &request(), now()).unwrap_err();
        assert!(refused.to_string().contains("thesis.txt"), "{refused}");
        assert_eq!(entries(paths.dir()).unwrap(), ["thesis.txt"]);
        // Nothing was left that blocks the next.
        std::fs::remove_file(paths.dir().join("thesis.txt")).unwrap();
        make(dir.path());
    }

    #[test]
    fn force_moves_the_old_ca_aside_whole() {
        let dir = tempfile::tempdir().unwrap();
        let old = make(dir.path()).authority;
        let mut request = request();
        request.force = true;
        let made = init(dir.path(), &request, now()).unwrap();
        assert_ne!(
            old.newest_root().certificate,
            made.authority.newest_root().certificate
        );
        let backup = made.backup.unwrap();
        let name = backup.file_name().unwrap().to_str().unwrap();
        let prefix = &old.newest_root().certificate.sha256_hex()[..8];
        assert_eq!(name, format!("ca-20270115T080000Z-{prefix}"));
        // The backup is a CA that opens where it is put.
        let elsewhere = tempfile::tempdir().unwrap();
        std::fs::rename(&backup, elsewhere.path().join("ca")).unwrap();
        let moved = open(elsewhere.path(), crate::clock::Duration::ZERO);
        moved.issue_now(&profile(&["a.test"]), key()).unwrap();
    }

    #[test]
    fn a_root_key_kept_elsewhere_is_not_in_the_ca() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let mut request = request();
        request.root_out = Some(home.join("ca/usb"));
        let refused = init(&home, &request, now()).unwrap_err();
        assert!(matches!(refused, CaError::RootOutInside { .. }));
        request.root_out = Some(dir.path().join("usb"));
        let made = init(&home, &request, now()).unwrap();
        let path = made.root_key.unwrap();
        let root = made.authority.newest_root();
        let hash = &root.certificate.spki_sha256_hex()[..8];
        assert_eq!(path, dir.path().join(format!("usb/root-R1-{hash}.key.pem")));
        assert_eq!(mode(&path), 0o600);
        assert_eq!(root.key, authority::KeyLocation::Elsewhere);
        open(&home, crate::clock::Duration::ZERO)
            .issue_now(&profile(&["a.test"]), key())
            .unwrap();
    }

    #[test]
    fn a_failed_init_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let mut request = request();
        let usb = dir.path().join("usb");
        std::fs::write(&usb, "a file, not a directory").unwrap();
        request.root_out = Some(usb.clone());
        init(&home, &request, now()).unwrap_err();
        assert_eq!(entries(&home.join("ca")).unwrap(), [""; 0]);
        request.root_days = 0;
        let refused = init(&home, &request, now()).unwrap_err();
        assert!(refused.to_string().contains("0 days"), "{refused}");
        make(&home);
    }

    /// The states that a crash can leave, made by hand: after each step the next
    /// one to come finds a whole CA, or none.
    #[test]
    fn a_crash_at_any_move_is_rolled_forward() {
        let old = tempfile::tempdir().unwrap();
        make(old.path());
        for replace in [false, true] {
            for moves in 0..20 {
                let dir = tempfile::tempdir().unwrap();
                let home = dir.path().join("home");
                let paths = CaPaths::new(&home);
                if replace {
                    copy(old.path(), &home);
                } else {
                    std::fs::create_dir_all(paths.dir()).unwrap();
                }
                let backup = replace.then(|| prepare_backup(&paths, now()).unwrap());
                let config = settings(&request(), now()).unwrap();
                stage(&paths, &config, &request(), backup.as_deref(), now()).unwrap();
                let staged = Authority::read(paths.staging()).unwrap();
                let wanted = staged.newest_root().certificate.sha256_hex();
                let before = replace.then(|| fingerprint(&home));
                let moved = move_some(&paths, backup.as_deref(), moves);

                let found = fingerprint(&home);
                if moved == 0 && replace {
                    // Nothing was moved: the old CA is still the CA.
                    assert_eq!(Some(found), before);
                } else {
                    assert_eq!(found, wanted, "replace {replace}, {moves} moves");
                    let mut left = entries(paths.dir()).unwrap();
                    // An empty one is swept by the next init.
                    left.retain(|entry| entry != CaPaths::STAGING);
                    assert_eq!(left.len(), 6, "{left:?}");
                }
                open(&home, crate::clock::Duration::ZERO)
                    .issue_now(&profile(&["a.test"]), key())
                    .unwrap();
                if let (Some(backup), true) = (backup, moved > 0) {
                    assert!(backup.join("ca.json").exists());
                    assert!(backup.join("root/R1/key.pem").exists());
                }
            }
        }
    }

    /// Does the first `moves` moves of an init that replaces, or of one that does not.
    fn move_some(paths: &CaPaths, backup: Option<&Path>, moves: usize) -> usize {
        let staging = paths.staging();
        let mut plan = Vec::new();
        if let Some(backup) = backup {
            plan.push((paths.config(), backup.join("ca.json")));
            for entry in entries(paths.dir()).unwrap() {
                if entry != "ca.json" && entry != CaPaths::STAGING {
                    plan.push((paths.dir().join(&entry), backup.join(&entry)));
                }
            }
            plan.push((replaces(&staging), paths.home().join("gone")));
        }
        let new = entries(staging.dir()).unwrap();
        for entry in new.iter().filter(|e| *e != "ca.json" && *e != "replaces") {
            plan.push((staging.dir().join(entry), paths.dir().join(entry)));
        }
        plan.push((staging.config(), paths.config()));
        for (from, to) in plan.iter().take(moves) {
            std::fs::rename(from, to).unwrap();
        }
        moves.min(plan.len())
    }

    fn copy(from: &Path, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                std::fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    #[test]
    fn incomplete_staging_is_no_ca_and_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let paths = CaPaths::new(dir.path());
        std::fs::create_dir_all(paths.staging().roots().join("R1")).unwrap();
        let none = Authority::open(dir.path()).unwrap_err();
        assert!(matches!(none, CaError::NotInitialised { .. }));
        make(dir.path());
        assert!(!paths.staging().dir().exists());
    }
}

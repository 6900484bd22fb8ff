//! New generations of intermediate and root, without an error in between.
//!
//! A generation is a directory: written beside the others, recorded in the ledger,
//! then renamed into its place. A root is rotated in two such steps, the root with
//! its cross-certificate and the intermediate under it; what a crash leaves undone,
//! the next rotation completes.

use std::path::{Path, PathBuf};

use super::authority::{Authority, KeyLocation, Root, number};
use super::error::CaError;
use super::init::{
    self, ensure_dir, make_intermediate, make_root, write_certificate, write_outside,
};
use super::issue::{check_validity, entry};
use super::key_file::{self, PUBLIC_MODE};
use super::ledger::Role;
use super::lint::{Kind, Ordered};
use super::paths::{self, CaPaths};
use super::profile;
use super::sign::{Rehearsal, sign};
use crate::bundle::Certificate;
use crate::clock::Timestamp;
use crate::key::{Passphrase, PrivateKey};
use crate::store::disk;

/// How to make a new intermediate.
#[derive(Debug, Clone, Default)]
pub struct RotateIntermediate {
    /// The root's key, when it is not in the CA.
    pub root_key: Option<PathBuf>,
    /// Unlocks the root's key.
    pub root_passphrase: Option<Passphrase>,
    /// Encrypts the new key; needed when the present one is encrypted.
    pub passphrase: Option<Passphrase>,
}

/// A new intermediate was made.
#[derive(Debug, Clone)]
pub struct IntermediateRotation {
    /// The CA as it is now.
    pub authority: Authority,
    /// The new intermediate, such as `I2`.
    pub intermediate: String,
}

/// How to make a new root.
#[derive(Debug, Clone, Default)]
pub struct RotateRoot {
    /// The present root's key, when it is not in the CA.
    pub root_key: Option<PathBuf>,
    /// Unlocks the present root's key.
    pub root_passphrase: Option<Passphrase>,
    /// Encrypts the new root's key; the present one's passphrase by default, when
    /// that one is encrypted.
    pub new_root_passphrase: Option<Passphrase>,
    /// Encrypts the new intermediate's key; needed when the present one is encrypted.
    pub intermediate_passphrase: Option<Passphrase>,
    /// Directory that receives the new root's key; beside `root_key` when that was
    /// given, else in the CA.
    pub root_out: Option<PathBuf>,
}

/// A new root was made, or its making completed.
#[derive(Debug, Clone)]
pub struct RootRotation {
    /// The CA as it is now.
    pub authority: Authority,
    /// The new root, such as `R2`.
    pub root: String,
    /// The intermediate under it, such as `I2`.
    pub intermediate: String,
    /// The root was there, and only its intermediate was made.
    pub completed: bool,
    /// Where the new root's key was written outside the CA.
    pub root_key: Option<PathBuf>,
}

/// Makes a new intermediate under the newest root; the old one stays for its CRL.
pub fn rotate_intermediate(
    home: &Path,
    request: &RotateIntermediate,
    now: Timestamp,
) -> Result<IntermediateRotation, CaError> {
    let (authority, _lock) = open(home)?;
    let passphrase = intermediate_passphrase(&authority, request.passphrase.as_ref())?;
    let root = authority.newest_root();
    check_validity(&root.name, &root.certificate, now)?;
    let unlock = request.root_passphrase.as_ref();
    let key = root_key(&authority, root, request.root_key.as_deref(), unlock)?;
    let intermediate = add_intermediate(&authority, root, &key, passphrase, now)?;
    let authority = refreshed(&authority, now)?;
    Ok(IntermediateRotation {
        authority,
        intermediate,
    })
}

/// Makes a new root, signed also by the present one, and an intermediate under it.
///
/// From then on leaves carry a chain that both the clients of the old root and
/// those of the new one verify; [`finish_root_rotation`] ends that. When the newest
/// root has no intermediate yet, that is made, and nothing else.
pub fn rotate_root(
    home: &Path,
    request: &RotateRoot,
    now: Timestamp,
) -> Result<RootRotation, CaError> {
    let (authority, _lock) = open(home)?;
    let passphrase = intermediate_passphrase(&authority, request.intermediate_passphrase.as_ref())?;
    let newest = authority.newest_root();
    check_validity(&newest.name, &newest.certificate, now)?;
    let unlock = request.root_passphrase.as_ref();
    let newest_key = root_key(&authority, newest, request.root_key.as_deref(), unlock)?;
    let completed = authority.active().issuer != newest.name;
    let (authority, key, outside) = if completed {
        (authority.clone(), newest_key, None)
    } else {
        let (key, outside) = add_root(&authority, newest, &newest_key, request, now)?;
        (refreshed(&authority, now)?, key, outside)
    };
    let root = authority.newest_root();
    let intermediate = add_intermediate(&authority, root, &key, passphrase, now)?;
    let authority = refreshed(&authority, now)?;
    Ok(RootRotation {
        root: authority.newest_root().name.clone(),
        authority,
        intermediate,
        completed,
        root_key: outside,
    })
}

/// Retires every root but the newest: `root.pem` holds that one alone, and chains
/// end below it. To be done once every client has the new root.
pub fn finish_root_rotation(home: &Path, now: Timestamp) -> Result<Authority, CaError> {
    let (authority, _lock) = open(home)?;
    let newest = authority.newest_root();
    let old: Vec<String> = authority
        .roots()
        .iter()
        .filter(|root| !root.retired && root.name != newest.name)
        .map(|root| root.name.clone())
        .collect();
    if old.is_empty() {
        return Err(CaError::NoRotation);
    }
    if authority.active().issuer != newest.name {
        return Err(CaError::RotationIncomplete {
            root: newest.name.clone(),
        });
    }
    let mut config = authority.config().clone();
    config.retired_roots.extend(old);
    let path = authority.paths().config();
    disk::replace(&path, &config.to_json(), PUBLIC_MODE)?;
    refreshed(&authority, now)
}

fn open(home: &Path) -> Result<(Authority, crate::store::Lock), CaError> {
    // Once without the lock, so that asking for a CA where there is none leaves
    // nothing behind; then again, since it may have been rotated meanwhile.
    let paths = Authority::open(home)?.paths().clone();
    let lock = init::lock(&paths)?;
    Ok((Authority::read(paths)?, lock))
}

fn refreshed(authority: &Authority, now: Timestamp) -> Result<Authority, CaError> {
    let authority = Authority::read(authority.paths().clone())?;
    authority.write_exports(now)?;
    Ok(authority)
}

/// The passphrase for a new intermediate's key. It is never less protected than the
/// key that it replaces.
fn intermediate_passphrase<'a>(
    authority: &Authority,
    given: Option<&'a Passphrase>,
) -> Result<Option<&'a Passphrase>, CaError> {
    let active = authority.active();
    match &active.key {
        KeyLocation::Here {
            path,
            encrypted: true,
        } if given.is_none() => Err(CaError::KeyLocked {
            name: active.name.clone(),
            path: path.clone(),
        }),
        _ => Ok(given),
    }
}

fn root_key(
    authority: &Authority,
    root: &Root,
    given: Option<&Path>,
    passphrase: Option<&Passphrase>,
) -> Result<PrivateKey, CaError> {
    match (given, &root.key) {
        (Some(path), _) if !init::is_inside(path, authority.paths().home()) => {
            key_file::read_outside(&root.name, path, passphrase, &root.certificate)
        }
        (Some(path), _) => key_file::read(&root.name, path, passphrase, &root.certificate),
        (None, KeyLocation::Here { path, .. }) => {
            key_file::read(&root.name, path, passphrase, &root.certificate)
        }
        (None, KeyLocation::Elsewhere) => Err(CaError::KeyElsewhere {
            name: root.name.clone(),
            path: paths::key(&root.path),
            written_as: key_file::offline_name(&root.name, &root.certificate),
        }),
    }
}

/// Makes the next root and its cross-certificate by `old`.
fn add_root(
    authority: &Authority,
    old: &Root,
    old_key: &PrivateKey,
    request: &RotateRoot,
    now: Timestamp,
) -> Result<(PrivateKey, Option<PathBuf>), CaError> {
    let (paths, config) = (authority.paths(), authority.config());
    let name = format!("R{}", number(&old.name, 'R').unwrap_or_default() + 1);
    let rehearsal = Rehearsal::new().map_err(CaError::Generation)?;
    let (root, key) = make_root(config, &name, now, &rehearsal)?;
    let params = profile::cross(config, &name, &key, &root, &old.certificate)?;
    let ordered = Ordered {
        kind: Kind::Root {
            permit: &config.permit,
        },
        spki: root.spki(),
        issuer: Some(&old.certificate),
        not_before: params.not_before,
        not_after: params.not_after,
    };
    let cross = sign(&params, &key, old_key, &ordered, &rehearsal)?;

    let old_is_encrypted = match (&old.key, &request.root_key) {
        (_, Some(_)) | (KeyLocation::Elsewhere, _) => request.root_passphrase.is_some(),
        (KeyLocation::Here { encrypted, .. }, None) => *encrypted,
    };
    let inherited = request
        .root_passphrase
        .as_ref()
        .filter(|_| old_is_encrypted);
    let passphrase = request.new_root_passphrase.as_ref().or(inherited);
    let beside = request.root_key.as_deref().and_then(Path::parent);
    let out = request.root_out.as_deref().or(beside);

    let roots = paths.roots();
    let staged = Staged::begin(&roots)?;
    write_certificate(&paths::certificate(staged.path()), &root)?;
    write_certificate(&paths::cross(staged.path()), &cross)?;
    let outside = match out.filter(|dir| !init::is_inside(dir, paths.dir())) {
        Some(dir) => Some(write_outside(dir, &name, &root, &key, passphrase)?),
        None => {
            key_file::write(&paths::key(staged.path()), &key, passphrase)?;
            None
        }
    };
    let kind = config.key_type.as_str();
    let entries = [
        entry(&root, Role::Root, &name, "ca", kind, now),
        entry(&cross, Role::Cross, &old.name, "ca", kind, now),
    ];
    init::record(paths, &entries)?;
    staged.commit(&name)?;
    Ok((key, outside))
}

/// Makes the next intermediate under `root`; returns its name.
fn add_intermediate(
    authority: &Authority,
    root: &Root,
    root_key: &PrivateKey,
    passphrase: Option<&Passphrase>,
    now: Timestamp,
) -> Result<String, CaError> {
    let (paths, config) = (authority.paths(), authority.config());
    let last = number(&authority.active().name, 'I').unwrap_or_default();
    let name = format!("I{}", last + 1);
    let rehearsal = Rehearsal::new().map_err(CaError::Generation)?;
    let (certificate, key): (Certificate, PrivateKey) =
        make_intermediate(config, &name, &root.certificate, root_key, now, &rehearsal)?;
    let intermediates = paths.intermediates();
    let staged = Staged::begin(&intermediates)?;
    write_certificate(&paths::certificate(staged.path()), &certificate)?;
    key_file::write(&paths::key(staged.path()), &key, passphrase)?;
    let kind = config.key_type.as_str();
    let new = entry(
        &certificate,
        Role::Intermediate,
        &root.name,
        "ca",
        kind,
        now,
    );
    init::record(paths, &[new])?;
    staged.commit(&name)?;
    Ok(name)
}

/// A generation that is being written; invisible until it is committed.
struct Staged<'a> {
    parent: &'a Path,
    path: PathBuf,
}

impl<'a> Staged<'a> {
    fn begin(parent: &'a Path) -> Result<Self, CaError> {
        let path = parent.join(CaPaths::STAGING);
        disk::remove_tree(&path)?;
        ensure_dir(&path)?;
        Ok(Self { parent, path })
    }

    fn path(&self) -> &Path {
        &self.path
    }

    fn commit(self, name: &str) -> Result<(), CaError> {
        disk::sync_dir(&self.path)?;
        Ok(disk::rename(&self.path, &self.parent.join(name))?)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests prepare files by hand")]
mod tests {
    use super::*;
    use crate::clock::Duration;
    use crate::pki::test_ca::{key, make, now, open, profile, request};

    fn roots(authority: &Authority) -> Vec<String> {
        authority.roots().iter().map(|r| r.name.clone()).collect()
    }

    #[test]
    fn a_root_rotation_that_crashed_in_between_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let authority = make(dir.path()).authority;
        let old = authority.newest_root().clone();
        let old_key = root_key(&authority, &old, None, None).unwrap();
        let later = now() + Duration::DAY;
        add_root(&authority, &old, &old_key, &RotateRoot::default(), later).unwrap();

        // Half-way, everything goes on under the old root.
        let half = Authority::open(dir.path()).unwrap();
        assert_eq!(roots(&half), ["R1", "R2"]);
        assert_eq!(
            (
                half.active().name.as_str(),
                half.active_root().name.as_str()
            ),
            ("I1", "R1")
        );
        assert_eq!(half.chain_above_leaf(later).len(), 1);
        let ca = open(dir.path(), Duration::DAY);
        let bundle = ca.issue_now(&profile(&["a.test"]), key()).unwrap();
        let superseded = ca.authority().superseded(bundle.leaf());
        assert_eq!(superseded, None, "or it would be renewed for ever");
        let early = finish_root_rotation(dir.path(), later).unwrap_err();
        assert!(matches!(early, CaError::RotationIncomplete { .. }));

        let done = rotate_root(dir.path(), &RotateRoot::default(), later).unwrap();
        assert!(done.completed);
        assert_eq!(roots(&done.authority), ["R1", "R2"]);
        assert_eq!(done.authority.active_root().name, "R2");
        assert_eq!(done.authority.chain_above_leaf(later).len(), 2);
    }

    #[test]
    fn what_a_crash_left_half_written_is_not_seen_and_swept() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let staging = dir.path().join("ca/intermediate/.staging");
        std::fs::create_dir(&staging).unwrap();
        std::fs::write(staging.join("key.pem"), "half").unwrap();
        let rotation = RotateIntermediate::default();
        let done = rotate_intermediate(dir.path(), &rotation, now()).unwrap();
        assert_eq!(done.intermediate, "I2");
        assert!(!staging.exists());
        let names = done
            .authority
            .intermediates()
            .iter()
            .map(|i| i.name.as_str());
        assert_eq!(names.collect::<Vec<_>>(), ["I1", "I2"]);
    }

    #[test]
    fn the_cross_certificate_is_the_new_root_within_the_old_ones_life() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let later = now() + Duration::days(3000);
        let done = rotate_root(dir.path(), &RotateRoot::default(), later).unwrap();
        let [old, new] = done.authority.roots() else {
            panic!("two roots")
        };
        let cross = new.cross.as_ref().unwrap();
        assert_eq!(cross.subject(), new.certificate.subject());
        assert_eq!(cross.spki(), new.certificate.spki());
        assert_eq!(cross.not_after(), old.certificate.not_after());
        assert_eq!(cross.basic_constraints().unwrap().path_len, None);
        assert!(new.certificate.not_after() > old.certificate.not_after());
        // Once the old root has expired, the cross-certificate is of no use.
        let chain = |moment| done.authority.chain_above_leaf(moment).len();
        assert_eq!(chain(later), 2);
        assert_eq!(chain(old.certificate.not_after() + Duration::SECOND), 1);
        assert_eq!(done.authority.roots_pem(later).matches("BEGIN").count(), 2);
        let expired = old.certificate.not_after() + Duration::SECOND;
        assert_eq!(
            done.authority.roots_pem(expired).matches("BEGIN").count(),
            1
        );
    }

    #[test]
    fn a_new_key_is_never_less_protected_than_the_old() {
        let dir = tempfile::tempdir().unwrap();
        let mut request = request();
        let secret = |text: &str| Some(Passphrase::new(text.to_owned()).unwrap());
        request.root_passphrase = secret("root's");
        request.intermediate_passphrase = secret("intermediate's");
        init::init(dir.path(), &request, now()).unwrap();
        let mut rotation = RotateRoot {
            root_passphrase: secret("root's"),
            ..Default::default()
        };
        let refused = rotate_root(dir.path(), &rotation, now()).unwrap_err();
        assert!(matches!(refused, CaError::KeyLocked { .. }), "{refused}");
        rotation.intermediate_passphrase = secret("intermediate's");
        let done = rotate_root(dir.path(), &rotation, now()).unwrap();
        for key in [
            &done.authority.newest_root().key,
            &done.authority.active().key,
        ] {
            assert!(
                matches!(
                    key,
                    KeyLocation::Here {
                        encrypted: true,
                        ..
                    }
                ),
                "{key:?}"
            );
        }
        rotation.root_passphrase = None;
        let refused = rotate_root(dir.path(), &rotation, now()).unwrap_err();
        assert!(matches!(refused, CaError::KeyLocked { .. }), "{refused}");
    }

    #[test]
    fn a_root_key_kept_elsewhere_begets_one_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        let mut request = request();
        request.root_out = Some(dir.path().join("usb"));
        let made = init::init(&home, &request, now()).unwrap();
        let missing = rotate_root(&home, &RotateRoot::default(), now()).unwrap_err();
        assert!(missing.hint().unwrap().contains("--root-key"), "{missing}");
        let rotation = RotateRoot {
            root_key: made.root_key.clone(),
            ..Default::default()
        };
        let done = rotate_root(&home, &rotation, now()).unwrap();
        let new = done.root_key.unwrap();
        assert_eq!(
            new.parent(),
            made.root_key.as_deref().and_then(Path::parent)
        );
        assert_eq!(done.authority.newest_root().key, KeyLocation::Elsewhere);
        // The old root's key is not that of the new root.
        let wrong = rotate_root(&home, &rotation, now()).unwrap_err();
        assert!(wrong.to_string().contains("not that of R2"), "{wrong}");
    }

    #[test]
    fn the_rotation_falls_due_between_half_and_the_last_fifth() {
        let due = |days: u32| {
            let dir = tempfile::tempdir().unwrap();
            let mut request = request();
            request.intermediate_days = days;
            let made = init::init(dir.path(), &request, now()).unwrap();
            let at = made.authority.rotation_due_at();
            assert!(made.authority.rotation_due(at));
            assert!(!made.authority.rotation_due(at - Duration::SECOND));
            (made.authority.active().certificate.not_after() - at).whole_days()
        };
        assert_eq!(due(1095), 219, "a fifth");
        assert_eq!(due(500), 180, "two lives of a leaf");
        assert_eq!(due(200), 100, "never above half");
    }

    #[test]
    fn the_root_falls_due_when_an_intermediate_would_end_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let authority = make(dir.path()).authority;
        let end = authority.newest_root().certificate.not_after();
        assert!(!authority.root_rotation_due(end - Duration::days(1096)));
        assert!(authority.root_rotation_due(end - Duration::days(1095)));
    }

    #[test]
    fn finishing_without_a_rotation_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        make(dir.path());
        let refused = finish_root_rotation(dir.path(), now()).unwrap_err();
        assert!(matches!(refused, CaError::NoRotation));
        let nothing = tempfile::tempdir().unwrap();
        let refused = finish_root_rotation(nothing.path(), now()).unwrap_err();
        assert!(matches!(refused, CaError::NotInitialised { .. }));
        assert_eq!(std::fs::read_dir(nothing.path()).unwrap().count(), 0);
    }
}

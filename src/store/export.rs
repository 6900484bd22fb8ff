//! Copies of a certificate for other programs, outside the state directory.
//!
//! Rules kept here: a file has its content, mode and owner before it takes its
//! name, so that nobody reads half of one or too much of one; all are written
//! before the first is renamed; what is planted under a target's name is
//! replaced, never followed. Several files cannot change in one step, so a crash
//! between two renames leaves a mix: [`is_current`] sees it, and the next run
//! writes again. A program that wants to be safe from it reads `combined.pem`.

use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;
use super::disk::{self, Owner};
use super::generation::{PemFile, pem_files};
use crate::bundle::{CertBundle, Certificate, to_pem};

/// Where copies go and who may read them; kept across renewals.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Export {
    /// The directory that receives the files.
    pub dir: PathBuf,
    /// Mode, owner and group of what is written.
    #[serde(flatten)]
    pub ownership: Ownership,
}

/// Mode, owner and group of exported files.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Ownership {
    /// Permission bits of files that hold a key; others get the same with read for
    /// all added. Default 0600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<u32>,
    /// User name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Group name or id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// Mode of a key when nothing else was asked for.
const KEY_MODE: u32 = 0o600;
/// The bits that a mode may have; no export is a program.
const MODE_BITS: u32 = 0o666;
/// Read for all.
const READ_ALL: u32 = 0o444;

/// Writes `privkey.pem`, `cert.pem`, `chain.pem`, `fullchain.pem` and
/// `combined.pem` into the export's directory, which is made when absent.
pub fn write(bundle: &CertBundle, export: &Export) -> Result<(), StoreError> {
    let access = Access::resolve(&export.ownership)?;
    disk::create_shared_dir(&export.dir, access.dir_mode(), access.owner)?;
    // A crash may have left a key there; the caller holds the certificate's lock.
    disk::sweep_temporary(&export.dir)?;
    let mut staged = Vec::new();
    for file in pem_files(bundle) {
        let (path, mode) = (export.dir.join(file.name), access.mode(&file));
        staged.push(disk::stage(
            &path,
            file.text.as_bytes(),
            mode,
            access.owner,
        )?);
    }
    for file in staged {
        file.put()?;
    }
    disk::sync_dir(&export.dir)
}

/// Writes a chain whose key is held by somebody else: `cert.pem`, `chain.pem` and
/// `fullchain.pem`, with the export's mode and read for all.
pub fn write_chain(chain: &[Certificate], export: &Export) -> Result<(), StoreError> {
    let access = Access::resolve(&export.ownership)?;
    disk::create_shared_dir(&export.dir, access.dir_mode(), access.owner)?;
    let (leaf, above) = chain.split_at(chain.len().min(1));
    let mut staged = Vec::new();
    for (name, part) in [
        ("cert.pem", leaf),
        ("chain.pem", above),
        ("fullchain.pem", chain),
    ] {
        let (path, mode) = (export.dir.join(name), access.key_mode | READ_ALL);
        let text = to_pem(part);
        staged.push(disk::stage(&path, text.as_bytes(), mode, access.owner)?);
    }
    for file in staged {
        file.put()?;
    }
    disk::sync_dir(&export.dir)
}

/// Makes the export's directory and looks its owner up, so that what would fail
/// does so before there is anything to copy.
pub fn prepare(export: &Export) -> Result<(), StoreError> {
    let access = Access::resolve(&export.ownership)?;
    disk::create_shared_dir(&export.dir, access.dir_mode(), access.owner)
}

/// Whether the export holds exactly what [`write()`] would put there.
pub fn is_current(bundle: &CertBundle, export: &Export) -> bool {
    Access::resolve(&export.ownership).is_ok_and(|access| {
        pem_files(bundle)
            .iter()
            .all(|file| access.fits(&export.dir.join(file.name), file))
    })
}

/// An [`Ownership`] whose names are resolved.
struct Access {
    key_mode: u32,
    owner: Owner,
}

impl Access {
    fn resolve(ownership: &Ownership) -> Result<Self, StoreError> {
        let number = |kind, table, name: &Option<String>| {
            name.as_deref()
                .map(|name| look_up(kind, Path::new(table), name))
                .transpose()
        };
        Ok(Self {
            key_mode: ownership.mode.unwrap_or(KEY_MODE) & MODE_BITS,
            owner: Owner {
                user: number("user", "/etc/passwd", &ownership.owner)?,
                group: number("group", "/etc/group", &ownership.group)?,
            },
        })
    }

    fn mode(&self, file: &PemFile) -> u32 {
        if file.secret {
            self.key_mode
        } else {
            self.key_mode | READ_ALL
        }
    }

    /// A directory is entered by those who may read the key.
    fn dir_mode(&self) -> u32 {
        let may_read = self.key_mode & READ_ALL;
        0o700 | may_read | may_read >> 2
    }

    fn fits(&self, path: &Path, file: &PemFile) -> bool {
        let plain = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_file() && found.len() == file.text.len() as u64);
        let Some(Ok(mut opened)) = plain.then(|| File::open(path)) else {
            return false;
        };
        let attributes = opened.metadata().is_ok_and(|found| {
            found.mode() & 0o7777 == self.mode(file)
                && self.owner.user.is_none_or(|user| user == found.uid())
                && self.owner.group.is_none_or(|group| group == found.gid())
        });
        let mut text = zeroize::Zeroizing::new(Vec::with_capacity(file.text.len() + 1));
        attributes && opened.read_to_end(&mut text).is_ok() && *text == file.text.as_bytes()
    }
}

/// The id of a user or group in a file such as `/etc/passwd`.
///
/// Read here because a static binary cannot ask the C library, which loads
/// modules for it; who comes from a directory service is given by number.
fn look_up(kind: &'static str, table: &Path, name: &str) -> Result<u32, StoreError> {
    if let Ok(number) = name.parse() {
        return Ok(number);
    }
    let text = disk::read(table)?;
    String::from_utf8_lossy(&text)
        .lines()
        .find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next() == Some(name);
            found.then(|| fields.nth(1)?.parse().ok()).flatten()
        })
        .ok_or_else(|| StoreError::UnknownOwner {
            kind,
            name: name.to_owned(),
            table: table.to_owned(),
        })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests plant and damage files")]

    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::super::fixture::bundle;
    use super::*;

    const FILES: [&str; 5] = [
        "privkey.pem",
        "cert.pem",
        "chain.pem",
        "fullchain.pem",
        "combined.pem",
    ];

    fn export(dir: &Path, mode: Option<u32>) -> Export {
        Export {
            dir: dir.to_owned(),
            ownership: Ownership {
                mode,
                ..Ownership::default()
            },
        }
    }

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & 0o7777
    }

    #[test]
    fn keys_have_the_mode_asked_for_and_certificates_are_for_all() {
        let home = tempfile::tempdir().unwrap();
        let bundle = bundle("a.test");
        for (asked, dir_mode, key, public) in [
            (None, 0o700, 0o600, 0o644),
            (Some(0o640), 0o750, 0o640, 0o644),
            (Some(0o400), 0o700, 0o400, 0o444),
            (Some(0o4777), 0o755, 0o666, 0o666),
        ] {
            let dir = home.path().join(format!("new/{asked:?}"));
            let export = export(&dir, asked);
            write(&bundle, &export).unwrap();
            let modes = FILES.map(|name| mode(&dir.join(name)));
            assert_eq!(modes, [key, public, public, public, key], "{asked:?}");
            assert_eq!(mode(&dir), dir_mode, "{asked:?}");
            assert!(is_current(&bundle, &export));
            assert_eq!(fs::read_dir(&dir).unwrap().count(), FILES.len());
        }
    }

    #[test]
    fn an_existing_directory_keeps_its_mode_and_other_files() {
        let home = tempfile::tempdir().unwrap();
        fs::set_permissions(home.path(), Permissions::from_mode(0o755)).unwrap();
        fs::write(home.path().join("nginx.conf"), "x").unwrap();
        write(&bundle("a.test"), &export(home.path(), None)).unwrap();
        assert_eq!(mode(home.path()), 0o755);
        assert!(home.path().join("nginx.conf").exists());
    }

    #[test]
    fn a_link_planted_at_a_target_is_replaced_and_its_victim_is_not() {
        let home = tempfile::tempdir().unwrap();
        let (dir, victim) = (home.path().join("out"), home.path().join("victim"));
        fs::create_dir(&dir).unwrap();
        fs::write(&victim, "untouched").unwrap();
        for name in FILES {
            symlink(&victim, dir.join(name)).unwrap();
        }
        let (bundle, export) = (bundle("a.test"), export(&dir, None));
        assert!(!is_current(&bundle, &export));
        write(&bundle, &export).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(is_current(&bundle, &export));
    }

    #[test]
    fn every_difference_is_seen_and_mended() {
        let home = tempfile::tempdir().unwrap();
        let (new, export) = (bundle("a.test"), export(home.path(), None));
        for name in FILES {
            let path = home.path().join(name);
            let damages: [&dyn Fn(); 4] = [
                &|| fs::remove_file(&path).unwrap(),
                &|| fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap(),
                &|| fs::write(&path, "").unwrap(),
                &|| {
                    let mut text = fs::read(&path).unwrap();
                    text[30] ^= 1;
                    fs::write(&path, text).unwrap();
                },
            ];
            for (n, damage) in damages.into_iter().enumerate() {
                write(&new, &export).unwrap();
                damage();
                assert!(!is_current(&new, &export), "{name} {n}");
            }
        }
        // half of the renames of a renewal
        write(&new, &export).unwrap();
        let other = bundle("a.test");
        fs::write(home.path().join("privkey.pem"), &*other.key().to_pem()).unwrap();
        assert!(!is_current(&new, &export) && !is_current(&other, &export));
        write(&other, &export).unwrap();
        assert!(is_current(&other, &export) && !is_current(&new, &export));
    }

    #[test]
    fn owners_go_by_name_or_number_and_unknown_ones_are_named() {
        let table = tempfile::NamedTempFile::new().unwrap();
        fs::write(
            &table,
            "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:\nbad:x:y\n",
        )
        .unwrap();
        let find = |name| look_up("user", table.path(), name);
        assert_eq!(find("web").unwrap(), 33);
        assert_eq!(find("1234").unwrap(), 1234);
        for unknown in ["", "we", "webb", "bad", "x", "-1"] {
            let error = find(unknown).unwrap_err();
            assert!(error.to_string().contains("there is no user"), "{error}");
            assert!(error.hint().unwrap().contains("numeric id"));
        }
    }

    #[test]
    fn an_owner_is_set_before_the_file_has_its_name() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("out");
        let export = Export {
            dir: dir.clone(),
            ownership: Ownership {
                mode: Some(0o640),
                owner: Some("12345".into()),
                group: Some("54321".into()),
            },
        };
        let (bundle, written) = (bundle("a.test"), write(&bundle("a.test"), &export));
        if rustix::process::geteuid().is_root() {
            write(&bundle, &export).unwrap();
            assert!(is_current(&bundle, &export));
            for path in FILES.map(|name| dir.join(name)).iter().chain([&dir]) {
                let found = path.metadata().unwrap();
                assert_eq!((found.uid(), found.gid()), (12345, 54321), "{path:?}");
            }
        } else {
            assert!(written.unwrap_err().hint().unwrap().contains("only root"));
            assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_key_left_by_a_crash_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let crashed = disk::stage(
            &home.path().join("privkey.pem"),
            b"x",
            0o600,
            Owner::default(),
        );
        std::mem::forget(crashed.unwrap());
        write(&bundle("a.test"), &export(home.path(), None)).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), FILES.len());
    }
}

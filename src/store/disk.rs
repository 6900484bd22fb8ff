//! The one home of writes to the file system.
//!
//! Rules kept here: a file has its mode from the moment it exists and exactly,
//! whatever the umask; no write goes through a symbolic link; what a function
//! calls written has been synced; what replaces something is complete before it
//! takes the name; an error leaves no half-made file behind, and a crash only
//! files whose names [`sweep_temporary`] knows.
//!
//! Closing is not checked because it cannot be told apart: every file is synced
//! before it is closed, alone or with its whole file system, so nothing is left that
//! closing could fail to write.

#![expect(
    clippy::disallowed_methods,
    reason = "the one home of writes to the file system"
)]

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown, symlink,
};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use super::StoreError;

/// Mode of every directory that is made here.
const DIR_MODE: u32 = 0o700;
/// The permission bits of a mode.
const PERMISSIONS: u32 = 0o7777;
/// Permission bits that a private key must not have.
const OPEN_TO_OTHERS: u32 = 0o077;
/// Largest file read; a certificate, a CRL or a state file is far smaller.
pub const MAX_FILE: u64 = 16 * 1024 * 1024;
/// How the names of files begin that are not yet what they shall be.
const TEMPORARY: &str = ".tmp-certmint-";

/// Whether a write is synced at once, or by a later [`sync_filesystem`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// Each file and directory by itself.
    Now,
    /// All together, by the caller.
    Later,
}

/// Makes a directory that only its owner can enter, and what is missing above it.
///
/// A directory that exists is taken as it is, unless it belongs to another user
/// than us or root.
pub fn create_dir(path: &Path) -> Result<(), StoreError> {
    make_dirs(path, Durability::Now)
}

/// Makes a directory that everybody may enter and read. Nothing is done when it
/// exists, whosever it is.
pub fn create_public_dir(path: &Path) -> Result<(), StoreError> {
    create_shared_dir(path, 0o755, Owner::default())
}

/// Removes a directory that holds nothing; nothing to do when it is absent or still
/// holds something.
pub fn remove_empty_dir(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => unless_missing(other).map_err(StoreError::io("remove", path)),
    }
}

/// Writes a file that must not exist yet and syncs it, but not its directory.
pub fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    write_file(path, bytes, mode, Durability::Now)
}

/// Writes a file beside `path`, syncs it, and gives it that name in one step; a
/// symbolic link there is replaced, not followed.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    stage(path, bytes, mode, Owner::default())?.put()?;
    sync_dir(parent(path))
}

/// Makes the names in a directory survive a power cut.
pub fn sync_dir(path: &Path) -> Result<(), StoreError> {
    let synced = File::open(path).and_then(|dir| dir.sync_all());
    match synced {
        // Some network and FUSE file systems cannot sync a directory by itself.
        Err(e) if is_errno(&e, rustix::io::Errno::INVAL) => Ok(()),
        other => other.map_err(StoreError::io("sync", path)),
    }
}

/// Renames a file or directory, replacing what is there, and syncs both parents.
pub fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(StoreError::io("rename", from))?;
    sync_dir(parent(to))?;
    if parent(from) == parent(to) {
        return Ok(());
    }
    sync_dir(parent(from))
}

/// Removes a file or a directory with all it holds; nothing to do when absent.
pub fn remove_tree(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => {
            // After a crash under a strange umask it cannot be opened.
            let _ = restore_access(path);
            fs::remove_dir_all(path)
        }
        Ok(_) => fs::remove_file(path),
        Err(e) => Err(e),
    };
    unless_missing(removed).map_err(StoreError::io("remove", path))
}

/// Removes a file; nothing to do when absent.
pub fn remove_file(path: &Path) -> Result<(), StoreError> {
    unless_missing(fs::remove_file(path)).map_err(StoreError::io("remove", path))
}

/// Reads a file of at most [`MAX_FILE`] bytes.
pub fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    let (mut file, _) = open(path)?;
    read_all(&mut file, path).map(|mut bytes| std::mem::take(&mut *bytes))
}

/// Like [`read`], but `None` when there is no such file.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Reads a private key; refused when its mode lets anybody but its owner near.
pub fn read_key(path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let (mut file, found) = open(path)?;
    let mode = found.mode() & PERMISSIONS;
    if mode & OPEN_TO_OTHERS != 0 {
        return Err(StoreError::ExposedKey {
            path: path.to_owned(),
            mode,
        });
    }
    read_all(&mut file, path)
}

/// Who shall own a file; `None` leaves it to the operating system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

/// A file or directory that waits for its name; removed when dropped before it got it.
#[derive(Debug)]
pub(super) struct Staged {
    temporary: Option<PathBuf>,
    target: PathBuf,
}

impl Staged {
    /// Where it is until it has its name.
    pub(super) fn path(&self) -> &Path {
        self.temporary.as_deref().unwrap_or(&self.target)
    }

    /// Gives it its name. The caller syncs the directory.
    pub(super) fn put(mut self) -> Result<(), StoreError> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.target).map_err(StoreError::io("rename", &self.target))?;
        }
        self.temporary = None;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = remove_tree(temporary);
        }
    }
}

/// Writes and syncs a file that is to take the name `target`.
pub(super) fn stage(
    target: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Owner,
) -> Result<Staged, StoreError> {
    // Until it has its owner, nobody else may read it.
    let private = |temporary: &Path| create_new(temporary, mode & DIR_MODE);
    let (mut file, temporary) =
        with_temporary_name(target, private).map_err(StoreError::io("create", target))?;
    let staged = Staged {
        temporary: Some(temporary),
        target: target.to_owned(),
    };
    if owner != Owner::default() {
        fchown(&file, owner.user, owner.group)
            .map_err(StoreError::io(StoreError::CHANGE_OWNER, target))?;
    }
    set_mode(&file, mode)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all())
        .map_err(StoreError::io("write", target))?;
    Ok(staged)
}

/// A symbolic link to `to`, waiting for the name `link`.
pub(super) fn stage_link(to: &str, link: &Path) -> Result<Staged, StoreError> {
    with_temporary_name(link, |temporary| symlink(to, temporary))
        .map_err(StoreError::io("link", link))
        .map(|((), temporary)| Staged {
            temporary: Some(temporary),
            target: link.to_owned(),
        })
}

/// A directory to be filled, waiting for the name `target`.
pub(super) fn stage_dir(target: &Path) -> Result<Staged, StoreError> {
    let make = |temporary: &Path| mkdir(temporary).and_then(|()| restore_access(temporary));
    with_temporary_name(target, make)
        .map_err(StoreError::io("create", target))
        .map(|((), temporary)| Staged {
            temporary: Some(temporary),
            target: target.to_owned(),
        })
}

/// Moves a file or directory into the directory `to` and removes it there, so
/// that no crash leaves half of it under its name. When it cannot be removed at
/// once, [`sweep_temporary`] does it later. Nothing to do when absent.
pub(super) fn discard(path: &Path, to: &Path) -> Result<(), StoreError> {
    let rename = |target: &Path| match target.symlink_metadata() {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(path, target),
    };
    let renamed = with_temporary_name(&to.join("_"), rename);
    if is_missing(&renamed) {
        return Ok(());
    }
    let ((), temporary) = renamed.map_err(StoreError::io("remove", path))?;
    remove_tree(&temporary)
}

/// Makes a directory and its parents.
pub(super) fn make_dirs(path: &Path, durability: Durability) -> Result<(), StoreError> {
    let mut made = mkdir(path);
    if is_missing(&made) && parent(path) != Path::new(".") {
        make_dirs(parent(path), durability)?;
        made = mkdir(path);
    }
    match made {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return accept_dir(path),
        other => other.and_then(|()| restore_access(path)),
    }
    .map_err(StoreError::io("create", path))?;
    match durability {
        Durability::Now => sync_dir(parent(path)),
        Durability::Later => Ok(()),
    }
}

/// Makes a directory for other programs: it has its mode and owner when it
/// appears. Nothing is done when it exists.
pub(super) fn create_shared_dir(path: &Path, mode: u32, owner: Owner) -> Result<(), StoreError> {
    if path.is_dir() {
        return Ok(());
    }
    let above = parent(path);
    if !above.is_dir() {
        create_dir(above)?;
    }
    let staged = stage_dir(path)?;
    File::open(staged.path())
        .and_then(|dir| {
            fchown(&dir, owner.user, owner.group)?;
            set_mode(&dir, mode)
        })
        .map_err(StoreError::io(StoreError::CHANGE_OWNER, path))?;
    staged.put()?;
    sync_dir(above)
}

/// Writes a file that must not exist yet.
pub(super) fn write_file(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    durability: Durability,
) -> Result<(), StoreError> {
    let mut file = create_new(path, mode).map_err(StoreError::io("create", path))?;
    let written = set_mode(&file, mode)
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| match durability {
            Durability::Now => file.sync_all(),
            Durability::Later => Ok(()),
        });
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written.map_err(StoreError::io("write", path))
}

/// Syncs the file system that holds `path`: the cheap way to sync many files.
///
/// Linux reports failed writes here since version 5.8.
pub(super) fn sync_filesystem(path: &Path) -> Result<(), StoreError> {
    File::open(path)
        .and_then(|dir| rustix::fs::syncfs(dir).map_err(io::Error::from))
        .map_err(StoreError::io("sync", path))
}

/// Removes what a crash of [`replace`] and its like left in a directory. The
/// caller excludes everybody else who writes there.
pub fn sweep_temporary(dir: &Path) -> Result<(), StoreError> {
    for name in list(dir)? {
        if name.to_string_lossy().starts_with(TEMPORARY) {
            remove_tree(&dir.join(name))?;
        }
    }
    Ok(())
}

/// The names in a directory; none when it is absent.
pub(super) fn list(dir: &Path) -> Result<Vec<OsString>, StoreError> {
    let entries = fs::read_dir(dir);
    if is_missing(&entries) {
        return Ok(Vec::new());
    }
    entries
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .map_err(StoreError::io("read", dir))
}

/// Opens a file to write at its end, which is never synced; makes it when absent, with
/// mode 0600. A link is followed: it is the operator's, who named it.
pub fn open_append(path: &Path) -> Result<File, StoreError> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .map_err(StoreError::io("open", path))
}

/// Opens a file for locking; makes it when absent, mode 0600.
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    let open = || {
        OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(flags(OFlags::NOFOLLOW))
            .open(path)
    };
    let file = open().or_else(|refused| {
        // A strange umask, and somebody died (or is) between making the file
        // and setting its mode.
        let is_file = fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
        let ours = is_file && fs::set_permissions(path, Permissions::from_mode(0o600)).is_ok();
        if ours { open() } else { Err(refused) }
    });
    file.and_then(|file| {
        if file.metadata()?.mode() & 0o600 != 0o600 {
            set_mode(&file, 0o600)?;
        }
        Ok(file)
    })
    .map_err(StoreError::io("open", path))
}

fn mkdir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(DIR_MODE).create(path)
}

/// Gives the owner back what a strange umask took away.
pub(super) fn restore_access(dir: &Path) -> io::Result<()> {
    let mode = fs::symlink_metadata(dir)?.mode() & PERMISSIONS;
    if mode & DIR_MODE == DIR_MODE {
        return Ok(());
    }
    fs::set_permissions(dir, Permissions::from_mode(mode | DIR_MODE))
}

/// Whether an existing directory may hold our files. Its owner could put other
/// files in their place, so that must be us or root.
fn accept_dir(path: &Path) -> Result<(), StoreError> {
    let found = fs::metadata(path).map_err(StoreError::io("read", path))?;
    if !found.is_dir() {
        return Err(StoreError::io("create", path)(
            io::ErrorKind::NotADirectory.into(),
        ));
    }
    let us = rustix::process::geteuid();
    if us.is_root() || found.uid() == 0 {
        return Ok(());
    }
    if found.uid() != us.as_raw() {
        return Err(StoreError::NotOurs {
            path: path.to_owned(),
            owner: found.uid(),
        });
    }
    restore_access(path).map_err(StoreError::io("open", path))
}

fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(flags(OFlags::NOFOLLOW))
        .open(path)
}

/// Makes something beside `target` under a name that nobody else has.
fn with_temporary_name<T>(
    target: &Path,
    make: impl Fn(&Path) -> io::Result<T>,
) -> io::Result<(T, PathBuf)> {
    /// More leftovers of crashes than there can be between two sweeps.
    const TRIES: u32 = 1000;
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    for _ in 0..TRIES {
        // Two containers on one volume may have the same process id; whoever
        // comes second takes the next number.
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{TEMPORARY}{}-{number}", std::process::id());
        let temporary = parent(target).join(name);
        match make(&temporary) {
            Ok(made) => return Ok((made, temporary)),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Makes the mode exact where the umask narrowed it.
fn set_mode(file: &File, mode: u32) -> io::Result<()> {
    if file.metadata()?.mode() & PERMISSIONS == mode {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode))
}

/// Opens a regular file, or a pipe as shells make them for `<(command)`.
fn open(path: &Path) -> Result<(File, Metadata), StoreError> {
    let opened = File::open(path).and_then(|file| {
        let found = file.metadata()?;
        Ok((file, found))
    });
    let (file, found) = opened.map_err(StoreError::io("read", path))?;
    if found.is_dir() {
        return Err(StoreError::io("read", path)(
            io::ErrorKind::IsADirectory.into(),
        ));
    }
    Ok((file, found))
}

fn read_all(file: &mut File, path: &Path) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let expected = file.metadata().map_or(0, |found| found.len().min(MAX_FILE));
    // Large enough from the start: growing would leave copies of a key behind.
    let capacity = usize::try_from(expected).unwrap_or_default() + 1;
    let mut bytes = Zeroizing::new(Vec::with_capacity(capacity));
    file.take(MAX_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(StoreError::io("read", path))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(StoreError::Malformed {
            path: path.to_owned(),
            reason: format!("it is larger than {} MiB", MAX_FILE >> 20),
        });
    }
    Ok(bytes)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

fn is_missing<T>(result: &io::Result<T>) -> bool {
    result
        .as_ref()
        .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
}

fn unless_missing(result: io::Result<()>) -> io::Result<()> {
    if is_missing(&result) { Ok(()) } else { result }
}

pub(super) fn is_errno(error: &io::Error, errno: rustix::io::Errno) -> bool {
    error.raw_os_error() == Some(errno.raw_os_error())
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.symlink_metadata().unwrap().mode() & PERMISSIONS
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = list(dir)
            .unwrap()
            .into_iter()
            .map(|name| name.into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_file_has_its_mode_and_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write_new(&path, b"one", 0o600).unwrap();
        assert_eq!(
            (mode(&path), read(&path).unwrap()),
            (0o600, b"one".to_vec())
        );
        let error = write_new(&path, b"two", 0o600).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert_eq!(read(&path).unwrap(), b"one");
    }

    #[test]
    fn a_planted_link_is_never_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let [victim, dangling, target] =
            ["victim", "dangling", "target"].map(|n| dir.path().join(n));
        fs::write(&victim, "untouched").unwrap();
        symlink(&victim, &target).unwrap();
        symlink(dir.path().join("absent"), &dangling).unwrap();
        assert!(write_new(&target, b"key", 0o600).is_err());
        assert!(write_new(&dangling, b"key", 0o600).is_err());
        assert!(open_lock(&target).is_err());
        replace(&target, b"key", 0o600).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"untouched");
        assert!(target.symlink_metadata().unwrap().is_file());
        assert!(!dir.path().join("absent").exists());
        assert_eq!(mode(&target), 0o600);
    }

    #[test]
    fn a_failed_replacement_leaves_no_file_behind() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a");
        fs::create_dir(&target).unwrap();
        assert!(replace(&target, b"x", 0o600).is_err());
        assert_eq!(names(dir.path()), ["a"]);
    }

    #[test]
    fn sweeping_takes_only_what_is_ours() {
        let dir = tempfile::tempdir().unwrap();
        let staged = stage(&dir.path().join("a"), b"x", 0o600, Owner::default()).unwrap();
        std::mem::forget(staged); // as a crash would
        std::mem::forget(stage_link("1", &dir.path().join("b")).unwrap());
        fs::write(dir.path().join(".tmp-other"), "x").unwrap();
        assert_eq!(names(dir.path()).len(), 3);
        sweep_temporary(dir.path()).unwrap();
        assert_eq!(names(dir.path()), [".tmp-other"]);
        sweep_temporary(&dir.path().join("absent")).unwrap();
    }

    #[test]
    fn directories_are_private_all_the_way_and_existing_ones_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (top, deep) = (dir.path().join("a"), dir.path().join("a/b/c"));
        create_dir(&deep).unwrap();
        assert_eq!([mode(&top), mode(&deep)], [0o700, 0o700]);
        fs::set_permissions(&top, Permissions::from_mode(0o755)).unwrap();
        create_dir(&top).unwrap();
        assert_eq!(mode(&top), 0o755);
        // what a crash under a strange umask leaves
        fs::set_permissions(&deep, Permissions::from_mode(0o000)).unwrap();
        restore_access(&deep).unwrap();
        assert_eq!(mode(&deep), 0o700);
        let file = top.join("file");
        write_new(&file, b"", 0o600).unwrap();
        assert!(create_dir(&file).is_err());
        assert!(create_dir(&file.join("below")).is_err());
    }

    #[test]
    fn a_key_that_others_can_touch_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key.pem");
        write_new(&path, b"secret", 0o600).unwrap();
        for (bits, fine) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
            (0o601, false),
            (0o644, false),
        ] {
            fs::set_permissions(&path, Permissions::from_mode(bits)).unwrap();
            match read_key(&path) {
                Ok(bytes) => assert!(fine && *bytes == b"secret", "{bits:o}"),
                Err(StoreError::ExposedKey { mode, .. }) => {
                    assert!(!fine && mode == bits, "{bits:o}")
                }
                Err(e) => panic!("{bits:o}: {e}"),
            }
        }
    }

    #[test]
    fn reading_is_bounded_and_tells_absence_from_failure() {
        let dir = tempfile::tempdir().unwrap();
        let huge = dir.path().join("huge");
        File::create(&huge).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert!(read(&huge).unwrap_err().to_string().contains("16 MiB"));
        assert!(
            read_if_exists(&dir.path().join("absent"))
                .unwrap()
                .is_none()
        );
        assert!(read_if_exists(dir.path()).is_err());
    }

    #[test]
    fn removing_is_content_with_absence_and_does_not_follow_links() {
        let dir = tempfile::tempdir().unwrap();
        let [tree, link] = ["tree", "link"].map(|n| dir.path().join(n));
        create_dir(&tree.join("sub")).unwrap();
        write_new(&tree.join("sub/file"), b"", 0o600).unwrap();
        symlink(&tree, &link).unwrap();
        remove_tree(&link).unwrap();
        assert_eq!(names(dir.path()), ["tree"]);
        // what a crash under a strange umask leaves
        create_dir(&tree.join("closed")).unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree.join("closed")).unwrap();
        for _ in 0..2 {
            remove_tree(&tree).unwrap();
            remove_file(&tree).unwrap();
        }
        assert!(names(dir.path()).is_empty());
    }
}

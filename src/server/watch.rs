//! Notices that files changed.
//!
//! The kernel tells of changes in directories, not of what a path leads to: so
//! every directory on the way is watched, through each symbolic link, and after
//! any news what the path leads to is compared with what it led to before. That
//! catches a file rewritten in place, one renamed over it, and a directory swapped
//! by its link (`..data`, as Kubernetes does). Network file systems tell nothing,
//! so the comparison also runs every [`POLL`].

use std::collections::BTreeSet;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How often files are compared without news.
pub const POLL: Duration = Duration::from_secs(10);

/// Quiet time after news before files are compared: a file is rarely written at
/// once. Whoever watches several files must expect to see them half replaced.
const SETTLE: Duration = Duration::from_millis(20);

/// Longest wait for quiet.
const SETTLE_MAX: Duration = Duration::from_secs(2);

/// Symbolic links followed on one path, as the kernel does.
const MAX_LINKS: usize = 40;

/// Tells of changes to the files it was made for; dropping it ends the watch.
#[derive(Debug)]
pub struct Watch(mpsc::Receiver<()>);

impl Watch {
    /// Waits until one of the files has changed, come or gone since the last time.
    /// Several changes in a row are told once.
    pub async fn changed(&mut self) {
        if self.0.recv().await.is_none() {
            // The watching task is gone only with the runtime itself.
            std::future::pending::<()>().await;
        }
    }
}

/// Watches `paths`, which need not exist. Needs a tokio runtime.
pub fn watch_paths(paths: Vec<PathBuf>) -> Watch {
    watch_paths_every(paths, POLL)
}

fn watch_paths_every(paths: Vec<PathBuf>, poll: Duration) -> Watch {
    let (told, tell) = mpsc::channel(1);
    // Here and not in the task: what changes after this call is news.
    let state = State::new(paths);
    tokio::spawn(watch(state, told, poll));
    Watch(tell)
}

async fn watch(mut state: State, told: mpsc::Sender<()>, poll: Duration) {
    loop {
        tokio::select! {
            () = told.closed() => return,
            () = state.news() => {}
            () = tokio::time::sleep(poll) => {}
        }
        // Looking may take long on a network file system.
        let looked = tokio::task::spawn_blocking(move || {
            let changed = state.look();
            (state, changed)
        });
        let Ok((returned, changed)) = looked.await else {
            return;
        };
        state = returned;
        if changed {
            // Full means that the last change was not taken yet: one word is enough.
            let _ = told.try_send(());
        }
    }
}

struct State {
    paths: Vec<PathBuf>,
    seen: Vec<Option<Print>>,
    /// `None` when the kernel has no more watches to give: polling remains.
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
}

impl State {
    fn new(paths: Vec<PathBuf>) -> Self {
        let (event, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |_| {
            let _ = event.try_send(());
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!("cannot watch files, looking every {POLL:?} instead: {error}");
            })
            .ok();
        let mut state = Self {
            seen: Vec::new(),
            paths,
            watcher,
            watched: BTreeSet::new(),
            events,
        };
        state.follow();
        state.seen = state.prints();
        state
    }

    /// Waits for news, then for quiet.
    async fn news(&mut self) {
        if self.events.recv().await.is_none() {
            return std::future::pending().await;
        }
        let latest = Instant::now() + SETTLE_MAX;
        while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.events.recv()).await {
            if Instant::now() >= latest {
                break;
            }
        }
    }

    /// Whether any path leads to something else than before.
    fn look(&mut self) -> bool {
        // Links may lead elsewhere now, and what lies there may change meanwhile:
        // watch first, then look.
        self.follow();
        let now = self.prints();
        let changed = now != self.seen;
        self.seen = now;
        changed
    }

    fn prints(&self) -> Vec<Option<Print>> {
        self.paths.iter().map(|path| Print::of(path)).collect()
    }

    /// Watches the directories that the paths lead through now, and no others.
    fn follow(&mut self) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let wanted: BTreeSet<PathBuf> = self.paths.iter().flat_map(|p| directories(p)).collect();
        for gone in self.watched.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        // A directory may have been replaced by another of the same name, whose
        // watch ended with it: adding one that exists changes nothing.
        self.watched = wanted
            .into_iter()
            .filter(|dir| {
                watcher
                    .watch(dir, RecursiveMode::NonRecursive)
                    .inspect_err(|error| tracing::debug!("{}: {error}", dir.display()))
                    .is_ok()
            })
            .collect();
    }
}

/// The directories in which a change can make `path` lead elsewhere: of the file
/// itself, of each symbolic link on the way, and the nearest that exists where
/// something is missing.
fn directories(path: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut ahead = parts_reversed(&absolute);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == Path::new("..") {
            here.pop();
            continue;
        }
        let next = here.join(&part);
        let Ok(metadata) = next.symlink_metadata() else {
            found.insert(here);
            return found;
        };
        if metadata.is_symlink() && links < MAX_LINKS {
            links += 1;
            found.insert(here.clone());
            let Ok(target) = next.read_link() else {
                return found;
            };
            if target.is_absolute() {
                here = PathBuf::from("/");
            }
            ahead.extend(parts_reversed(&target));
        } else if ahead.is_empty() {
            // A watch on the parent alone would not tell of a directory's entries.
            found.insert(if metadata.is_dir() {
                next
            } else {
                here.clone()
            });
        } else {
            here = next;
        }
    }
    found
}

fn parts_reversed(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| PathBuf::from(part.as_os_str()))
        .collect()
}

/// What tells one state of a file from another.
#[derive(Debug, PartialEq, Eq)]
struct Print {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    /// Also moves when owner or mode do.
    changed: (i64, i64),
}

impl Print {
    fn of(path: &Path) -> Option<Self> {
        let metadata: Metadata = path.metadata().ok()?;
        Some(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the other program that writes the files"
)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Longer than any of these may take, shorter than the poll.
    const PATIENCE: Duration = Duration::from_secs(8);

    async fn told(watch: &mut Watch) -> bool {
        tokio::time::timeout(PATIENCE, watch.changed())
            .await
            .is_ok()
    }

    /// Nothing more is told: waits past the time in which news settles.
    async fn quiet(watch: &mut Watch) -> bool {
        let wait = SETTLE * 4;
        tokio::time::timeout(wait, watch.changed()).await.is_err()
    }

    fn watch(path: &Path) -> Watch {
        watch_paths_every(vec![path.to_owned()], Duration::from_secs(3600))
    }

    #[tokio::test]
    async fn a_file_renamed_over_or_rewritten_in_place_is_noticed_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        fs::write(&path, "one").unwrap();
        let mut watch = watch(&path);
        fs::write(dir.path().join("other.pem"), "other").unwrap();
        assert!(quiet(&mut watch).await, "another file is none of ours");
        fs::write(&path, "two").unwrap();
        assert!(told(&mut watch).await, "rewritten in place");
        // Emptied and filled are two changes to a machine that is busy.
        while !quiet(&mut watch).await {}
        fs::write(dir.path().join("new"), "three").unwrap();
        fs::rename(dir.path().join("new"), &path).unwrap();
        assert!(told(&mut watch).await, "renamed over");
        assert!(quiet(&mut watch).await);
    }

    #[tokio::test]
    async fn a_symlink_swap_as_kubernetes_does_is_noticed_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let swap = |n: u32| {
            let generation = format!("..2026_{n}");
            fs::create_dir(root.join(&generation)).unwrap();
            fs::write(root.join(&generation).join("tls.crt"), n.to_string()).unwrap();
            symlink(&generation, root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        };
        swap(1);
        symlink("..data/tls.crt", root.join("tls.crt")).unwrap();
        let mut watch = watch(&root.join("tls.crt"));
        for n in 2..5 {
            swap(n);
            fs::remove_dir_all(root.join(format!("..2026_{}", n - 1))).unwrap();
            assert!(told(&mut watch).await, "swap {n}");
        }
        assert!(quiet(&mut watch).await);
    }

    #[tokio::test]
    async fn changes_behind_links_to_other_directories_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let (live, archive) = (dir.path().join("live"), dir.path().join("archive"));
        fs::create_dir(&live).unwrap();
        fs::create_dir(&archive).unwrap();
        fs::write(archive.join("1.pem"), "one").unwrap();
        symlink("../archive/1.pem", live.join("cert.pem")).unwrap();
        symlink(live.join("cert.pem"), dir.path().join("cert.pem")).unwrap();
        let mut watch = watch(&dir.path().join("cert.pem"));
        fs::write(archive.join("1.pem"), "two").unwrap();
        assert!(told(&mut watch).await, "behind two links");
        fs::write(archive.join("2.pem"), "three").unwrap();
        symlink("../archive/2.pem", live.join("new")).unwrap();
        fs::rename(live.join("new"), live.join("cert.pem")).unwrap();
        assert!(told(&mut watch).await, "the inner link swapped");
        fs::write(archive.join("2.pem"), "fourth").unwrap();
        assert!(told(&mut watch).await, "behind the new link");
    }

    #[tokio::test]
    async fn a_directory_that_is_missing_for_a_moment_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let tls = dir.path().join("etc/tls");
        let path = tls.join("cert.pem");
        let mut watch = watch(&path);
        fs::create_dir_all(&tls).unwrap();
        fs::write(&path, "one").unwrap();
        assert!(told(&mut watch).await, "came to be");
        fs::remove_dir_all(dir.path().join("etc")).unwrap();
        assert!(told(&mut watch).await, "gone");
        fs::create_dir_all(&tls).unwrap();
        fs::write(&path, "two").unwrap();
        assert!(told(&mut watch).await, "back");
        fs::write(&path, "three").unwrap();
        assert!(told(&mut watch).await, "changed in the new directory");
    }

    #[tokio::test]
    async fn without_news_from_the_kernel_the_poll_notices() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cert.pem");
        fs::write(&path, "one").unwrap();
        let mut state = State::new(vec![path.clone()]);
        state.watcher = None;
        let (told_to, tell) = mpsc::channel(1);
        tokio::spawn(super::watch(state, told_to, Duration::from_millis(20)));
        let mut watch = Watch(tell);
        fs::write(&path, "two").unwrap();
        assert!(told(&mut watch).await);
    }
}

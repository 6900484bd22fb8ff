//! Reads from a trace whether what was renamed had been made durable before, and
//! the rename itself after: what no kill can show, because the kernel remembers
//! what a disk would have lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{can_trace, prepared, traced};
use crate::store::child;
use crate::support::TestEnv;

/// What one line of a trace means for durability.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// A file was made or written, with its mode when it was made.
    Written(String, Option<Creation>),
    /// A name was made in a directory.
    Named(String),
    /// A file or directory was synced.
    Synced(String),
    /// The file system was synced.
    AllSynced,
    /// A symbolic link to the first was made at the second.
    Linked(String, String),
    /// The first was renamed to the second.
    Renamed(String, String),
}

#[derive(Debug, PartialEq, Eq)]
struct Creation {
    flags: String,
    mode: String,
}

/// How many pointers and how many other files a trace saw renamed, all of them in
/// good order, or what was wrong. Looks only at what lies below `dir`.
pub(crate) fn check(log: &str, dir: &Path) -> Result<(usize, usize), String> {
    let events: Vec<Event> = log.lines().filter_map(|line| event(line, dir)).collect();
    let mut state = State::default();
    let (mut pointers, mut others) = (0, 0);
    for event in &events {
        state.moved_pointer_is_synced(event)?;
        match event {
            // On its way out: nothing is lost when that is.
            Event::Renamed(_, to) if is_temporary(to) => {}
            Event::Renamed(from, to) => {
                match state.links.remove(from) {
                    Some(generation) => {
                        pointers += 1;
                        state.nothing_dirty_below(&join(parent(to), &generation), to)?;
                        state.nothing_dirty_below(parent(to), to)?;
                        state.moved.insert(parent(to).to_owned());
                    }
                    None => others += 1,
                }
                state.nothing_dirty_below(from, to)?;
                state.dirty_dirs.insert(parent(to).to_owned());
            }
            other => state.apply(other),
        }
    }
    if let Some(dir) = state.dirty_dirs.iter().next() {
        return Err(format!("`{dir}` was never synced after its last change"));
    }
    Ok((pointers, others))
}

/// Every file that may hold a key was made for its owner alone, and nothing else
/// took its place. `locks` and databases apart, no file is opened that exists.
pub(crate) fn check_creations(log: &str, dir: &Path) -> Result<usize, String> {
    let mut keys = 0;
    for line in log.lines() {
        let Some(Event::Written(path, Some(made))) = event(line, dir) else {
            continue;
        };
        let lock = path.contains("/locks/");
        for flag in ["O_NOFOLLOW", "O_CLOEXEC", "O_EXCL"] {
            let needed = flag != "O_EXCL" || !lock;
            if needed && !made.flags.contains(flag) {
                return Err(format!("`{path}` was made without {flag}"));
            }
        }
        // A temporary file may be anything.
        let file = path.rsplit_once('/').map_or(&*path, |(_, file)| file);
        let private = ["privkey", "combined", ".tmp", "cert.json"]
            .iter()
            .any(|word| file.starts_with(word));
        if private || lock {
            keys += 1;
            if made.mode != "0600" {
                return Err(format!("`{path}` was made with mode {}", made.mode));
            }
        }
    }
    Ok(keys)
}

#[derive(Debug, Default)]
struct State {
    /// Files whose content is not synced.
    dirty: BTreeSet<String>,
    /// Directories whose names are not synced.
    dirty_dirs: BTreeSet<String>,
    /// Symbolic links that have not been renamed yet, and where they lead.
    links: BTreeMap<String, String>,
    /// Directories whose pointer was moved since they were synced.
    moved: BTreeSet<String>,
}

impl State {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Written(path, made) => {
                self.dirty.insert(path.clone());
                // A lock that is lost is made again.
                if made.is_some() && !path.contains("/locks/") {
                    self.dirty_dirs.insert(parent(path).to_owned());
                }
            }
            Event::Named(path) => {
                self.dirty_dirs.insert(parent(path).to_owned());
            }
            Event::Synced(path) => {
                self.dirty.remove(path);
                self.dirty_dirs.remove(path);
                self.moved.remove(path);
            }
            Event::AllSynced => {
                self.moved.clear();
                self.dirty.clear();
                self.dirty_dirs.clear();
            }
            Event::Linked(target, link) => {
                self.links.insert(link.clone(), target.clone());
            }
            Event::Renamed(..) => {}
        }
    }

    /// The move of a pointer is synced before anything else happens beside it.
    fn moved_pointer_is_synced(&self, event: &Event) -> Result<(), String> {
        let dir = match event {
            Event::Synced(_) | Event::AllSynced => return Ok(()),
            Event::Written(path, _) | Event::Named(path) => parent(path),
            Event::Linked(_, path) | Event::Renamed(_, path) => parent(path),
        };
        match self.moved.contains(dir) {
            true => Err(format!("`{dir}` was not synced after its pointer moved")),
            false => Ok(()),
        }
    }

    /// Neither `path` nor what lies below it waits for a sync, when that is to be
    /// reached by the name `to`.
    fn nothing_dirty_below(&self, path: &str, to: &str) -> Result<(), String> {
        let below = |other: &&String| *other == path || other.starts_with(&format!("{path}/"));
        let waiting = self.dirty.iter().chain(&self.dirty_dirs).find(below);
        match waiting {
            Some(other) => Err(format!("`{to}` was renamed before `{other}` was synced")),
            None => Ok(()),
        }
    }
}

fn event(line: &str, dir: &Path) -> Option<Event> {
    let line = line
        .trim_start_matches(|c: char| c.is_ascii_digit())
        .trim_start();
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    if result.starts_with("-1") {
        return None;
    }
    let quoted: Vec<String> = arguments
        .split('"')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect();
    let described = || {
        let (_, rest) = arguments.split_once('<')?;
        Some(rest.split_once('>')?.0.to_owned())
    };
    let event = match name {
        "openat" if arguments.contains("O_CREAT") => {
            let (_, flags) = arguments.rsplit_once("\", ")?;
            let (flags, mode) = flags.trim_end_matches(')').split_once(", ")?;
            let (flags, mode) = (flags.to_owned(), mode.to_owned());
            Event::Written(quoted.first()?.clone(), Some(Creation { flags, mode }))
        }
        "write" | "pwrite64" | "writev" | "ftruncate" => Event::Written(described()?, None),
        "fsync" | "fdatasync" => Event::Synced(described()?),
        "syncfs" => Event::AllSynced,
        "mkdir" => Event::Named(quoted.first()?.clone()),
        "symlink" => Event::Linked(quoted.first()?.clone(), quoted.get(1)?.clone()),
        "rename" => Event::Renamed(quoted.first()?.clone(), quoted.get(1)?.clone()),
        _ => return None,
    };
    let path = match &event {
        Event::AllSynced => return Some(event),
        Event::Written(path, _) | Event::Named(path) | Event::Synced(path) => path,
        Event::Linked(_, path) | Event::Renamed(_, path) => path,
    };
    Path::new(path).starts_with(dir).then_some(event)
}

fn is_temporary(path: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(_, name)| name.starts_with(".tmp-"))
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

fn join(dir: &str, name: &str) -> String {
    format!("{dir}/{name}")
}

/// What strace wrote about one child, and where the child worked.
fn log_of(name: &str, generations: usize) -> Option<(String, tempfile::TempDir)> {
    let (env, dir) = (TestEnv::new(), prepared(generations));
    if !can_trace(&env) {
        return None;
    }
    let run = child(&env, name).current_dir(dir.path());
    let (out, log) = traced(run, dir.path(), true, None);
    let _ = out.success();
    Some((log, dir))
}

#[test]
fn every_rename_follows_the_syncs_it_needs_and_is_synced() {
    for (name, generations, expected) in [
        ("child_commits", 0, (1, 2)),
        ("child_commits", 3, (1, 2)),
        ("child_commits_a_batch", 1, (3, 3)),
        ("child_exports", 1, (0, 6)),
    ] {
        let Some((log, dir)) = log_of(name, generations) else {
            return;
        };
        assert_eq!(check(&log, dir.path()), Ok(expected), "{name}\n{log}");
    }
}

#[test]
fn keys_are_private_from_their_creation() {
    for name in ["child_commits", "child_commits_a_batch", "child_exports"] {
        let Some((log, dir)) = log_of(name, 1) else {
            return;
        };
        let keys = check_creations(&log, dir.path()).unwrap();
        assert!(keys > 3, "{name}: {keys}");
    }
}

#[test]
fn a_missing_sync_is_found() {
    let good = "\
        1 mkdir(\"/d/c/1\", 0700) = 0\n\
        1 fsync(3</d/c>) = 0\n\
        1 openat(AT_FDCWD</d>, \"/d/c/1/k\", O_WRONLY|O_CREAT|O_EXCL, 0600) = 3</d/c/1/k>\n\
        1 write(3</d/c/1/k>, \"\"..., 5) = 5\n\
        1 fsync(3</d/c/1/k>) = 0\n\
        1 fsync(3</d/c/1>) = 0\n\
        1 symlink(\"1\", \"/d/c/.tmp-1\") = 0\n\
        1 rename(\"/d/c/.tmp-1\", \"/d/c/current\") = 0\n\
        1 fsync(3</d/c>) = 0\n";
    let dir = Path::new("/d");
    assert_eq!(check(good, dir), Ok((1, 0)));
    let syncs: Vec<usize> = (0..)
        .zip(good.lines())
        .filter(|(_, line)| line.contains("fsync"))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(syncs, [1, 4, 5, 8]);
    for missing in syncs.into_iter().skip(1) {
        let bad: String = good
            .lines()
            .enumerate()
            .filter(|(n, _)| *n != missing)
            .map(|(_, line)| format!("{line}\n"))
            .collect();
        assert!(check(&bad, dir).is_err(), "without line {missing}");
    }
    let batch = good
        .replace("fsync(3</d/c/1/k>)", "getpid()")
        .replace("fsync(3</d/c/1>)", "syncfs(3</d>)");
    assert_eq!(check(&batch, dir), Ok((1, 0)));
    for (change, to) in [("O_EXCL, 0600", "O_EXCL, 0644"), ("|O_EXCL", "")] {
        let bad = good
            .replace("/k", "/privkey.pem")
            .replace("O_WRONLY", "O_NOFOLLOW|O_CLOEXEC");
        assert_eq!(check_creations(&bad, dir), Ok(1));
        assert!(
            check_creations(&bad.replace(change, to), dir).is_err(),
            "{change}"
        );
    }
}

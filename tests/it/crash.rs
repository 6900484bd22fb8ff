//! Kills and fails a command at each system call that changes something, looks at
//! what is left, and lets the next run heal it.
//!
//! A first run under strace lists the mutating calls of the one thread that makes
//! them. Then, each time on a fresh copy of the prepared directory, the command is
//! killed before the call, or the call fails with an error of the kernel's. strace
//! counts calls by name and thread, so that a call is found again by its name and
//! its number; a run in which another call was hit counts as missed.
//!
//! By default every [`SHORT`]th call is tried, each fault beginning elsewhere;
//! `CERTMINT_TEST_CRASH=all` tries all.

mod commands;
mod order;

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use certmint::store::file::FileStore;
use certmint::store::{Store, export};

use crate::store::{BATCH, NAME, bundle, child, export_to, id, open, record};
use crate::support::{Output, Run, TestEnv, tool, tools};

/// Every system call that can change a file, a name or a mode. Those that not every
/// machine or strace knows have a question mark.
const MUTATING: &str = "openat,?open,?creat,write,pwrite64,writev,pwritev,pwritev2,\
    copy_file_range,sendfile,ftruncate,truncate,fallocate,fsync,fdatasync,sync_file_range,\
    syncfs,?rename,?renameat,renameat2,?mkdir,mkdirat,?rmdir,?unlink,unlinkat,?symlink,\
    symlinkat,?link,linkat,?chmod,fchmod,fchmodat,?fchmodat2,?chown,fchown,fchownat,?lchown,\
    utimensat,setxattr,fsetxattr";
/// Which calls are tried when not all are.
const SHORT: usize = 4;
/// Runs at once: the machine of the tests has two cores.
const WORKERS: usize = 2;

/// What is done to a command at one of its system calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It is killed before the call.
    Kill,
    /// The call fails: the disk is full.
    NoSpace,
    /// The call fails: the disk is broken.
    Io,
    /// The call fails: too many open files.
    NoDescriptor,
}

impl Fault {
    pub(crate) const ALL: [Self; 4] = [Self::Kill, Self::NoSpace, Self::Io, Self::NoDescriptor];

    fn action(self) -> &'static str {
        match self {
            Self::Kill => "signal=KILL",
            Self::NoSpace => "error=ENOSPC",
            Self::Io => "error=EIO",
            Self::NoDescriptor => "error=EMFILE",
        }
    }

    /// Whether the kernel could do this at that call, and it would make a difference.
    fn fits(self, call: &Call) -> bool {
        let name = &call.name;
        let removes = name.starts_with("unlink") || name == "rmdir" || name.contains("chmod");
        match self {
            Self::Kill => call.changes,
            Self::NoSpace => call.changes && !removes,
            Self::Io => true,
            Self::NoDescriptor => name.starts_with("open"),
        }
    }
}

/// A system call that concerns something below the directory of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    name: String,
    /// Which of this thread's calls of that name, from 1.
    number: usize,
    /// Whether it changes something; opening a file to read it does not.
    changes: bool,
    /// As strace showed it.
    shown: String,
}

/// A command and what must hold after a fault in it.
pub(crate) struct Sweep<'a> {
    /// Copied for each run.
    pub(crate) prepared: &'a Path,
    /// The command, which works in the directory given, a copy of `prepared`.
    pub(crate) command: &'a (dyn Fn(&Path) -> Run + Sync),
    /// Looks at the directory after the fault; the command may have succeeded all
    /// the same. An error is a broken promise.
    pub(crate) check: &'a (dyn Fn(&Path) -> Result<(), String> + Sync),
    /// The next run: puts right what is left, and checks that all is as it should be.
    pub(crate) heal: &'a (dyn Fn(&Path) -> Result<(), String> + Sync),
}

/// How a command ended that had met a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    Killed,
    Failed,
    /// The failure was one that does not matter.
    Succeeded,
    /// The fault hit another call than it should have, twice.
    Missed,
}

#[derive(Debug)]
struct Row {
    call: Call,
    fault: Fault,
    ended: Ended,
    problem: Option<String>,
}

/// The outcomes of a sweep.
#[derive(Debug)]
#[must_use = "ask it whether all went well: `.assert_clean()`"]
pub(crate) struct Table(Vec<Row>);

impl Sweep<'_> {
    /// Tries every fault at every call, or every [`SHORT`]th.
    pub(crate) fn run(&self) -> Table {
        let all = std::env::var("CERTMINT_TEST_CRASH").is_ok_and(|v| v == "all");
        self.run_each(if all { 1 } else { SHORT })
    }

    /// Tries every fault at every `stride`th call.
    pub(crate) fn run_each(&self, stride: usize) -> Table {
        self.age();
        let (calls, follow) = self.calls();
        let jobs: Vec<(Fault, &Call)> = Fault::ALL
            .into_iter()
            .enumerate()
            .flat_map(|(offset, fault)| {
                let fitting = calls.iter().filter(move |call| fault.fits(call));
                let chosen = fitting.skip(offset % stride).step_by(stride);
                chosen.map(move |call| (fault, call))
            })
            .collect();
        let next = AtomicUsize::new(0);
        let rows = Mutex::new(Vec::new());
        thread::scope(|scope| {
            for _ in 0..WORKERS {
                scope.spawn(|| {
                    while let Some((fault, call)) = jobs.get(next.fetch_add(1, Ordering::SeqCst)) {
                        let row = self.try_fault(*fault, call, follow);
                        rows.lock().unwrap().push(row);
                    }
                });
            }
        });
        Table(rows.into_inner().unwrap())
    }

    /// The mutating calls of an undisturbed run, and whether they are made by
    /// another thread than the first.
    fn calls(&self) -> (Vec<Call>, bool) {
        let copy = self.copy();
        let (out, log) = traced((self.command)(copy.path()), copy.path(), true, None);
        let _ = out.success();
        let threads = by_thread(&log);
        let first = log.split(' ').next().unwrap_or_default();
        let mut mutating: Vec<(&str, Vec<Call>)> = threads
            .into_iter()
            .map(|(thread, lines)| (thread, calls_below(&lines, copy.path())))
            .filter(|(_, calls)| calls.iter().any(|call| call.changes))
            .collect();
        assert_eq!(
            mutating.len(),
            1,
            "writes come from one thread: {mutating:#?}"
        );
        let (thread, calls) = mutating.remove(0);
        (calls, thread != first)
    }

    fn try_fault(&self, fault: Fault, call: &Call, follow: bool) -> Row {
        let mut ended = Ended::Missed;
        for _ in 0..2 {
            let copy = self.copy();
            let at = Some((fault, call));
            let (out, log) = traced((self.command)(copy.path()), copy.path(), follow, at);
            ended = how_it_ended(&out, &log, fault, call, copy.path());
            if ended != Ended::Missed {
                let problem = (self.check)(copy.path())
                    .map_err(|e| format!("after the fault: {e}"))
                    .and_then(|()| {
                        (self.heal)(copy.path()).map_err(|e| format!("after the next run: {e}"))
                    });
                return Row {
                    call: call.clone(),
                    fault,
                    ended,
                    problem: problem.err(),
                };
            }
        }
        Row {
            call: call.clone(),
            fault,
            ended,
            problem: None,
        }
    }

    /// Makes all that was prepared a day old: what has just changed is looked at more
    /// often, and the calls would depend on how long ago that was.
    fn age(&self) {
        let touched = std::process::Command::new("find")
            .arg(self.prepared)
            .args(["-exec", "touch", "-h", "-d", "1 day ago", "{}", "+"])
            .status();
        assert!(touched.unwrap().success());
    }

    /// A fresh copy of the prepared directory, in memory where that is possible:
    /// whether a kill is survived does not depend on the kind of disk.
    fn copy(&self) -> tempfile::TempDir {
        let copy = scratch();
        let copied = std::process::Command::new("cp")
            .arg("-a")
            .arg(self.prepared.join("."))
            .arg(copy.path())
            .status();
        assert!(copied.unwrap().success());
        copy
    }
}

impl Table {
    /// Fails the test when a promise was broken, or when too many runs say nothing.
    #[track_caller]
    pub(crate) fn assert_clean(&self) {
        let broken = self.0.iter().filter(|row| row.problem.is_some()).count();
        let missed = self
            .0
            .iter()
            .filter(|row| row.ended == Ended::Missed)
            .count();
        assert!(
            broken == 0 && missed * 20 <= self.0.len() && !self.0.is_empty(),
            "{self}"
        );
    }

    /// Writes the table to `target/tmp/crash-<label>.txt`, for whoever wants to see it.
    pub(crate) fn keep(&self, label: &str) {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let text = format!("{label}: {} runs\n{self}", self.0.len());
        std::fs::write(dir.join(format!("crash-{label}.txt")), text).unwrap();
    }
}

/// Calls × outcomes, and below it every broken promise.
impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cells: BTreeMap<(&str, Fault), BTreeMap<String, usize>> = BTreeMap::new();
        for row in &self.0 {
            let outcome = match &row.problem {
                Some(_) => "BROKEN".to_owned(),
                None => format!("{:?}", row.ended).to_lowercase(),
            };
            let cell = cells.entry((&row.call.name, row.fault)).or_default();
            *cell.entry(outcome).or_default() += 1;
        }
        for ((call, fault), outcomes) in cells {
            let counts: Vec<String> = outcomes.iter().map(|(o, n)| format!("{n} {o}")).collect();
            writeln!(
                f,
                "{call:<12} {:<14} {}",
                format!("{fault:?}"),
                counts.join(", ")
            )?;
        }
        for row in self.0.iter().filter(|row| row.problem.is_some()) {
            let problem = row.problem.as_deref().unwrap_or_default();
            writeln!(f, "{:?} at `{}`: {problem}", row.fault, row.call.shown)?;
        }
        Ok(())
    }
}

/// A directory in memory where there is one.
pub(crate) fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("certmint-crash-");
    builder
        .tempdir_in(memory)
        .or_else(|_| builder.tempdir())
        .unwrap()
}

/// Whether strace is there and allowed to do its work, which not every container
/// lets it; says so when the test is skipped.
pub(crate) fn can_trace(env: &TestEnv) -> bool {
    if tool("strace").is_none() {
        return false;
    }
    let tried = env
        .command("true", [""; 0])
        .under(["strace", "-qq", "-e", "trace=none"]);
    let allowed = tried.run().status().success();
    if !allowed {
        tools::skip("permission to trace");
    }
    allowed
}

/// Runs a command under strace, perhaps with a fault in it; what strace wrote
/// comes with it.
pub(crate) fn traced(
    command: Run,
    dir: &Path,
    follow: bool,
    fault: Option<(Fault, &Call)>,
) -> (Output, String) {
    let log = dir.with_extension("strace");
    let mut strace = vec!["strace", "-y", "-s", "0", "-o"];
    strace.push(log.to_str().unwrap());
    let set = format!("trace={MUTATING}");
    strace.extend(["-e", &set]);
    if follow {
        strace.push("-f");
    }
    let inject = fault.map(|(fault, call)| {
        format!(
            "inject={}:{}:when={}",
            call.name,
            fault.action(),
            call.number
        )
    });
    if let Some(inject) = &inject {
        strace.extend(["-e", inject]);
    }
    let out = command.under(strace).run();
    let text = std::fs::read_to_string(&log).unwrap();
    std::fs::remove_file(&log).unwrap();
    (out, text)
}

/// The lines of each thread of a log made with `-f`, without the thread's number.
fn by_thread(log: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut threads: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (thread, line) in log.lines().filter_map(|line| line.split_once(' ')) {
        threads.entry(thread).or_default().push(line.trim_start());
    }
    threads
}

/// The calls among the lines of one thread that concern something below `dir`.
fn calls_below(lines: &[&str], dir: &Path) -> Vec<Call> {
    let dir = dir.to_str().unwrap();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for line in lines {
        let Some((name, arguments)) = line.split_once('(') else {
            continue;
        };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            continue; // `<... fsync resumed>) = 0`, counted when it began
        }
        let number = counts.entry(name).or_default();
        *number += 1;
        // What `-y` says of the current directory is not where the file is.
        let arguments = match arguments.strip_prefix("AT_FDCWD<") {
            Some(rest) => rest.split_once('>').map_or(rest, |(_, rest)| rest),
            None => arguments,
        };
        let reads = name.starts_with("open")
            && !["O_CREAT", "O_WRONLY", "O_RDWR", "O_TRUNC"]
                .iter()
                .any(|flag| arguments.contains(flag));
        if arguments.contains(dir) {
            calls.push(Call {
                name: name.to_owned(),
                number: *number,
                changes: !reads,
                shown: (*line).to_owned(),
            });
        }
    }
    calls
}

fn how_it_ended(out: &Output, log: &str, fault: Fault, call: &Call, dir: &Path) -> Ended {
    let dir = dir.to_str().unwrap();
    let of_call = |line: &&str| line.contains(&format!("{}(", call.name)) && line.contains(dir);
    let hit = match fault {
        // The last call of all: with several threads, others may end beside it.
        Fault::Kill => log.lines().rev().take(3).any(|line| of_call(&line)),
        _ => log
            .lines()
            .any(|line| line.contains("(INJECTED)") && of_call(&line)),
    };
    match (hit, out.status().signal(), out.status().code()) {
        (false, ..) => Ended::Missed,
        (true, Some(9), _) => Ended::Killed,
        (true, _, Some(0)) => Ended::Succeeded,
        _ => Ended::Failed,
    }
}

/// A directory with two generations more than are kept, less one, of [`NAME`].
fn prepared(generations: usize) -> tempfile::TempDir {
    let dir = scratch();
    std::fs::write(dir.path().join("for-a-child"), "").unwrap();
    let store = open(&dir.path().join("state"));
    for _ in 0..generations {
        store
            .commit(&id(NAME), &bundle(NAME), &record(NAME))
            .unwrap();
    }
    dir
}

fn generation(dir: &Path) -> Result<Option<u64>, String> {
    let stored = open(&dir.join("state"))
        .load(&id(NAME))
        .map_err(|e| e.to_string())?;
    match stored {
        Some(stored) if !stored.damage.is_empty() => Err(format!("damaged: {:?}", stored.damage)),
        stored => Ok(stored.map(|stored| stored.generation)),
    }
}

/// Recovers, commits and exports in this process; then nothing may be left over.
fn heals(dir: &Path) -> Result<(), String> {
    let text = |e: certmint::store::StoreError| format!("{e:?}");
    let store = open(&dir.join("state"));
    let before = store.load(&id(NAME)).map_err(text)?;
    store.recover_all().map_err(text)?;
    if generation(dir)? < before.map(|stored| stored.generation) {
        return Err("healing went back to an older generation".into());
    }
    let new = store
        .commit(&id(NAME), &bundle(NAME), &record(NAME))
        .map_err(text)?;
    if generation(dir)? != Some(new.generation) {
        return Err("what was committed is not what is loaded".into());
    }
    let exports = export_to(dir);
    export::write(&new.bundle, &exports).map_err(text)?;
    let left = leftovers(&dir.join("state"));
    if !export::is_current(&new.bundle, &exports) || !left.is_empty() {
        return Err(format!("left over: {left:?}"));
    }
    Ok(())
}

/// What should not outlast the next run: temporary files, trash, generations that
/// are too many.
fn leftovers(state: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut dirs = vec![state.to_owned()];
    while let Some(dir) = dirs.pop() {
        let entries: Vec<PathBuf> = std::fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        let numbers = entries.iter().filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.bytes().all(|b| b.is_ascii_digit())
        });
        if numbers.count() > FileStore::KEEP || (dir.ends_with(".trash") && !entries.is_empty()) {
            found.push(dir);
        }
        for path in entries {
            if path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with(".tmp")
            {
                found.push(path);
            } else if path.is_dir() && !path.is_symlink() {
                dirs.push(path);
            }
        }
    }
    found
}

/// Runs the sweep of one child on a store with some generations.
fn sweep_child(
    label: &str,
    name: &str,
    prepared: &Path,
    check: &(dyn Fn(&Path) -> Result<(), String> + Sync),
) {
    let env = TestEnv::new();
    if !can_trace(&env) {
        return;
    }
    let table = Sweep {
        prepared,
        command: &|dir| child(&env, name).current_dir(dir),
        check,
        heal: &heals,
    }
    .run();
    table.assert_clean();
    table.keep(label);
}

#[test]
fn a_first_commit_leaves_nothing_or_all_wherever_it_is_hit() {
    sweep_child("first", "child_commits", prepared(0).path(), &|dir| {
        // It may be there before `current` names it: then it can be used already.
        let stored = open(&dir.join("state")).load(&id(NAME));
        match stored.map(|stored| stored.map(|s| s.generation)) {
            Ok(None | Some(1)) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
}

#[test]
fn a_renewal_leaves_old_or_new_wherever_it_is_hit() {
    sweep_child(
        "renewal",
        "child_commits",
        prepared(3).path(),
        &|dir| match generation(dir)? {
            Some(3 | 4) => Ok(()),
            other => Err(format!("generation {other:?}")),
        },
    );
}

#[test]
fn a_batch_leaves_each_old_or_new_wherever_it_is_hit() {
    sweep_child(
        "batch",
        "child_commits_a_batch",
        prepared(1).path(),
        &|dir| {
            for name in BATCH {
                let stored = open(&dir.join("state"))
                    .load(&id(name))
                    .map_err(|e| e.to_string())?;
                let new = stored.map(|s| (s.generation, s.damage.len()));
                match (name, new) {
                    (NAME, Some((1 | 2, 0))) => {}
                    (NAME, other) => return Err(format!("{name}: {other:?}")),
                    (_, None | Some((1, _))) => {}
                    (_, other) => return Err(format!("{name}: {other:?}")),
                }
            }
            Ok(())
        },
    );
}

#[test]
fn an_export_hit_anywhere_harms_no_certificate_and_is_written_again() {
    let dir = prepared(1);
    let old = bundle(NAME);
    export::write(&old, &export_to(dir.path())).unwrap();
    sweep_child("export", "child_exports", dir.path(), &|dir| {
        let out = export_to(dir).dir;
        for name in ["privkey.pem", "combined.pem", "fullchain.pem"] {
            let text = std::fs::read(out.join(name)).map_err(|e| e.to_string())?;
            if text.is_empty() || !text.ends_with(b"-----\n") {
                return Err(format!("{name} is torn"));
            }
        }
        (generation(dir)? == Some(1))
            .then_some(())
            .ok_or_else(|| "the store changed".into())
    });
}

#[test]
fn a_removal_leaves_all_or_nothing_wherever_it_is_hit() {
    sweep_child(
        "removal",
        "child_removes",
        prepared(2).path(),
        &|dir| match generation(dir)? {
            None | Some(2) => Ok(()),
            other => Err(format!("generation {other:?}")),
        },
    );
}

#[test]
fn a_write_that_stops_short_leaves_the_old_generation() {
    if tool("prlimit").is_none() {
        return;
    }
    let env = TestEnv::new();
    // With the signal the process dies at the limit, without it the write fails.
    for script in ["exec \"$@\"", "trap '' XFSZ; exec \"$@\""] {
        for limit in [0, 1, 100, 300, 600, 750] {
            let dir = prepared(1);
            let out = child(&env, "child_commits")
                .current_dir(dir.path())
                .under(["prlimit", &format!("--fsize={limit}"), "--"])
                .under(["sh", "-c", script, "sh"])
                .run();
            assert!(!out.status().success(), "limit {limit}");
            assert_eq!(generation(dir.path()), Ok(Some(1)), "limit {limit}");
            assert_eq!(heals(dir.path()), Ok(()), "limit {limit}");
        }
    }
}

#[test]
fn calls_are_counted_by_name_and_thread() {
    let log = "\
        7 openat(AT_FDCWD</data>, \"/proc/self\", O_RDONLY) = 3</proc/self>\n\
        7 mkdir(\"/data/a\", 0700 <unfinished ...>\n\
        8 write(1</dev/null>, \"\"..., 3) = 3\n\
        7 <... mkdir resumed>) = 0\n\
        7 openat(AT_FDCWD</x>, \"/data/a/f\", O_WRONLY|O_CREAT, 0600) = 3</data/a/f>\n\
        7 openat(AT_FDCWD</x>, \"/data/a/f\", O_RDONLY) = 4</data/a/f>\n\
        7 write(3</data/a/f>, \"\"..., 3) = 3\n\
        7 +++ exited with 0 +++\n";
    let threads = by_thread(log);
    let calls = calls_below(&threads["7"], Path::new("/data"));
    let found: Vec<_> = calls
        .iter()
        .map(|c| (c.name.as_str(), c.number, c.changes))
        .collect();
    let expected = [
        ("mkdir", 1, true),
        ("openat", 2, true),
        ("openat", 3, false),
        ("write", 1, true),
    ];
    assert_eq!(found, expected);
    assert!(calls_below(&threads["8"], Path::new("/data")).is_empty());
}

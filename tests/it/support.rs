//! What every integration test starts from: an environment that holds nothing of
//! the machine's, and programs run in it.
//!
//! Rules kept here: children see a cleared environment, never inherit standard
//! input, and always have a deadline; whatever was started is dead when its handle
//! is dropped; servers bind port 0 and say what they got.

#[cfg(feature = "acme")]
pub(crate) mod bind;
pub(crate) mod client;
#[cfg(feature = "acme")]
pub(crate) mod directory;
pub(crate) mod dns;
#[cfg(feature = "acme")]
pub(crate) mod fault;
#[cfg(feature = "acme")]
pub(crate) mod pebble;
mod run;
mod server;
pub(crate) mod tools;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

pub(crate) use run::{Output, Run};
pub(crate) use server::{Server, address_in};
pub(crate) use tools::tool;

/// What to run a program under, so that it sees its clock moved: `-5d`, `+2h`. Its
/// timers keep to the real one. `None` after saying that the test is skipped.
#[track_caller]
pub(crate) fn faketime(moved: &str) -> Option<Vec<String>> {
    // Not `faketime` itself, which stays between us and the program's signals.
    Some(vec![
        "/usr/bin/env".to_owned(),
        format!("LD_PRELOAD={}", libfaketime()?),
        format!("FAKETIME={moved}"),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
    ])
}

/// Shows a figure to whoever looks at the run.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The library that `faketime` preloads.
#[track_caller]
pub(crate) fn libfaketime() -> Option<String> {
    // Asked once: it trips over what killed processes of the same id left in /dev/shm.
    static LIBRARY: OnceLock<String> = OnceLock::new();
    let faketime = tool("faketime")?;
    let library = LIBRARY.get_or_init(|| {
        let env = TestEnv::new();
        let args = ["-m", "-f", "+0", "/usr/bin/env"];
        let shown = env.command(faketime, args).run().success();
        let mut lines = shown.stdout().lines();
        let library = lines.find_map(|line| line.strip_prefix("LD_PRELOAD="));
        library.unwrap().to_owned()
    });
    Some(library.clone())
}

/// The search path of every child: the system's directories and nothing of the user's.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A directory of its own for one test; removed at the end.
#[derive(Debug)]
pub(crate) struct TestEnv {
    dir: TempDir,
}

impl TestEnv {
    /// An empty environment: `home/` and `tmp/` exist, the state directory does not.
    pub(crate) fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("certmint-test-")
            .tempdir()
            .unwrap();
        for name in ["home", "tmp"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    /// `relative` inside this environment.
    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(relative)
    }

    /// The state directory that certmint is told to use (`CERTMINT_HOME`).
    pub(crate) fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// The user's home directory (`HOME`).
    pub(crate) fn home(&self) -> PathBuf {
        self.path("home")
    }

    /// Writes a file and the directories above it, and returns its path.
    pub(crate) fn write(&self, relative: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// The text of a file.
    pub(crate) fn read(&self, relative: impl AsRef<Path>) -> String {
        let path = self.path(relative);
        std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// certmint with these arguments, to be run or spawned.
    pub(crate) fn certmint(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        self.command(env!("CARGO_BIN_EXE_certmint"), args)
            .env("CERTMINT_HOME", self.state())
    }

    /// certmint with a private CA called `Test` under it.
    pub(crate) fn with_ca() -> Self {
        let env = Self::new();
        let _ = env
            .certmint(["ca", "init", "--name", "Test"])
            .run()
            .success();
        env
    }

    /// Another program with these arguments, in the same environment.
    pub(crate) fn command(
        &self,
        program: impl AsRef<OsStr>,
        args: impl IntoIterator<Item = impl AsRef<OsStr>>,
    ) -> Run {
        Run::new(program.as_ref(), args, self.dir.path())
            .env("PATH", PATH)
            .env("HOME", self.home())
            .env("TMPDIR", self.path("tmp"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::time::Duration;

    use super::*;

    #[test]
    fn children_see_nothing_of_the_callers_environment() {
        let env = TestEnv::new();
        let seen = env.command("/usr/bin/env", [""; 0]).run().success();
        let mut names: Vec<&str> = seen
            .stdout()
            .lines()
            .filter_map(|line| Some(line.split_once('=')?.0))
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["HOME", "LANG", "PATH", "TMPDIR", "TZ"]);
        assert!(env.home().is_dir() && !env.state().exists());
    }

    #[test]
    fn outputs_carry_code_and_both_streams_and_stdin_is_given_or_empty() {
        let env = TestEnv::new();
        let script = "cat; echo said >&2; exit 3";
        let out = env.command("/bin/sh", ["-c", script]).stdin("given").run();
        let out = out.code(3);
        assert_eq!((out.stdout(), out.stderr()), ("given", "said\n"));
        let out = env.command("/bin/cat", [""; 0]).arg("-").run().success();
        assert_eq!(out.stdout(), "");
        let out = env.command("/bin/sh", ["-c", "kill -9 $$"]).run();
        assert_eq!(out.status().signal(), Some(9));
    }

    #[test]
    fn a_prefix_wraps_the_command() {
        let env = TestEnv::new();
        env.write("dir/file", "x");
        let out = env
            .command("/bin/sh", ["-c", "umask; pwd; cat file"])
            .under(["/bin/sh", "-c", "umask 027; exec \"$@\"", "sh"])
            .current_dir(env.path("dir"))
            .run()
            .success();
        assert!(out.stdout().starts_with("0027\n") && out.stdout().ends_with("/dir\nx"));
        assert_eq!(env.read("dir/file"), "x");
    }

    #[test]
    #[should_panic(expected = "did not end within")]
    fn a_child_that_hangs_is_killed_at_its_deadline() {
        let env = TestEnv::new();
        let _ = env
            .command("/bin/sleep", ["600"])
            .deadline(Duration::from_millis(200))
            .run();
    }

    #[test]
    fn a_server_is_awaited_by_its_words_and_ends_on_term() {
        let env = TestEnv::new();
        let script = "trap 'echo bye >&2; exit 7' TERM
            echo 'listening on https://127.0.0.1:8443/' >&2
            echo 'admin on [::1]:99, ready' >&2
            while :; do sleep 0.05; done";
        let mut server = env.command("/bin/sh", ["-c", script]).spawn();
        assert_eq!(server.await_address("https").port(), 8443);
        assert_eq!(server.await_address("admin").to_string(), "[::1]:99");
        assert!(server.pid() > 0 && server.log().contains("listening"));
        let out = server.terminate().code(7);
        assert!(out.stderr().ends_with("bye\n"), "{}", out.stderr());
    }

    #[test]
    fn a_dropped_server_is_dead() {
        let env = TestEnv::new();
        let mut server = env
            .command("/bin/sh", ["-c", "echo up >&2; exec sleep 600"])
            .spawn();
        server.await_line("up");
        let proc_dir = PathBuf::from(format!("/proc/{}", server.pid()));
        assert!(proc_dir.exists());
        drop(server);
        assert!(!proc_dir.exists());
    }

    #[test]
    fn addresses_are_found_in_words() {
        let table = [
            ("listening https=127.0.0.1:1 http=off", Some("127.0.0.1:1")),
            ("https://[::]:443/x", Some("[::]:443")),
            ("at 12:30:59 nothing", None),
            ("", None),
        ];
        for (line, want) in table {
            assert_eq!(address_in(line).map(|a| a.to_string()).as_deref(), want);
        }
    }

    #[test]
    fn a_tool_is_found_by_name_and_never_by_path() {
        assert!(tool("sh").is_some_and(|path| path.is_absolute()));
        assert!(tools::find("../bin/sh").is_none());
        assert!(tools::find("no-such-program-anywhere").is_none());
    }
}

//! Programs of other people, run with a deadline and a bound on what they print.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::{TrustError, TrustTarget};

/// Runs a program to its end and returns what it printed on standard output. It
/// sees a cleared environment and no standard input.
pub(super) fn run(target: &TrustTarget, argv: &[OsString]) -> Result<Vec<u8>, TrustError> {
    run_within(target, argv, DEADLINE)
}

fn run_within(
    target: &TrustTarget,
    argv: &[OsString],
    deadline: Duration,
) -> Result<Vec<u8>, TrustError> {
    let words = argv.iter().map(|word| word.to_string_lossy());
    let command = shell_words::join(words);
    let (program, args) = argv.split_first().expect("a step names a program");
    let mut child = Command::new(program)
        .args(args)
        .env_clear()
        .env("PATH", &target.path)
        .env("HOME", &target.home)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A group of its own, so that a script dies with all that it started.
        .process_group(0)
        .spawn()
        .map_err(|source| TrustError::Start {
            command: command.clone(),
            source,
        })?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let (ended, status) = channel();
    thread::spawn(move || ended.send(child.wait()));

    let until = Instant::now() + deadline;
    let left = || until.saturating_duration_since(Instant::now());
    let outcome = (|| {
        let status = status.recv_timeout(left()).ok()?;
        let stdout = stdout.recv_timeout(left()).ok()?;
        let stderr = stderr.recv_timeout(left()).ok()?;
        Some((status, stdout, stderr))
    })();
    let Some((status, stdout, stderr)) = outcome else {
        if let Some(group) = group {
            // Fails only when everybody has just gone.
            let _ = kill_process_group(group, Signal::KILL);
        }
        // Not later than a moment from now: when all have let go of their output.
        let _ = status.recv_timeout(LAST_WORDS);
        let _ = stdout.recv_timeout(LAST_WORDS);
        let _ = stderr.recv_timeout(LAST_WORDS);
        return Err(TrustError::TimedOut {
            command,
            seconds: deadline.as_secs(),
        });
    };
    match status {
        Err(source) => Err(TrustError::Start { command, source }),
        Ok(status) if status.success() => Ok(stdout),
        Ok(status) => Err(TrustError::Failed {
            command,
            status,
            output: tail(&stderr, &stdout),
        }),
    }
}

/// Reads a pipe to its end in a thread of its own and keeps [`MAX_OUTPUT`] bytes.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut pipe) = pipe {
            // An error ends the output like an end of file does.
            let _ = (&mut pipe).take(MAX_OUTPUT).read_to_end(&mut kept);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        sender.send(kept)
    });
    receiver
}

/// The last words of a program, without control characters.
fn tail(stderr: &[u8], stdout: &[u8]) -> String {
    let (stderr, stdout) = (
        String::from_utf8_lossy(stderr),
        String::from_utf8_lossy(stdout),
    );
    let said = if stderr.trim().is_empty() {
        stdout
    } else {
        stderr
    };
    let words: Vec<&str> = said.split_whitespace().collect();
    let line: String = words
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let skip = line.chars().count().saturating_sub(MAX_TAIL);
    line.chars().skip(skip).collect()
}

/// How long a program may take; `keytool` needs a second or two, rebuilding the
/// system's store ten on a slow machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// How long a killed program has to be gone.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Output kept per stream. `keytool -list -rfc` prints 0.3 MiB.
const MAX_OUTPUT: u64 = 8 * 1024 * 1024;

/// Characters of a program's output shown in an error.
const MAX_TAIL: usize = 400;

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn what_a_program_prints_is_returned_or_stands_in_the_error() {
        assert_eq!(sh("echo out; echo err >&2", 60).unwrap(), b"out\n");
        let error = sh("echo out; printf 'no\\033[m\\n way' >&2; exit 3", 60).unwrap_err();
        assert!(error.to_string().ends_with("3): no[m way"), "{error}");
        let error = sh("echo only out; exit 1", 60).unwrap_err();
        assert!(error.to_string().ends_with("): only out"), "{error}");
    }

    #[test]
    fn output_beyond_the_bound_is_dropped_and_the_program_not_blocked() {
        let printed = sh("head -c 9000000 /dev/zero", 60).unwrap();
        assert_eq!(printed.len() as u64, MAX_OUTPUT);
    }

    #[test]
    fn a_program_and_its_children_die_at_the_deadline() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
        let error = sh(&script, 1).unwrap_err();
        assert!(matches!(error, TrustError::TimedOut { seconds: 1, .. }));
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let stat = PathBuf::from(format!("/proc/{}/stat", pid.trim()));
        // A killed orphan may wait for its new parent to collect it.
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        let until = Instant::now() + Duration::from_secs(10);
        while is_alive() {
            assert!(Instant::now() < until, "still there");
            thread::yield_now();
        }
    }

    #[test]
    fn programs_see_only_what_they_are_given_and_no_input() {
        let printed = sh("cat; env", 60).unwrap();
        let text = String::from_utf8(printed).unwrap();
        assert!(text.contains("HOME=/nowhere\n") && text.contains("LC_ALL=C\n"));
        assert!(!text.contains("CARGO"), "{text}");
    }

    #[test]
    fn a_missing_program_is_named() {
        let argv = [OsString::from("/no/such/program"), OsString::from("a b")];
        let error = run(&target(), &argv).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not start `/no/such/program 'a b'`"
        );
    }

    fn sh(script: &str, seconds: u64) -> Result<Vec<u8>, TrustError> {
        let argv = ["/bin/sh", "-c", script].map(OsString::from);
        run_within(&target(), &argv, Duration::from_secs(seconds))
    }

    fn target() -> TrustTarget {
        TrustTarget::new("/nowhere".into(), "/usr/bin:/bin".into(), 0)
    }
}

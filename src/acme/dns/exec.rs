//! Records written by a program of the user's.
//!
//! It is started as `PROGRAM [ARGUMENT…] present|cleanup NAME VALUE`, the form that
//! lego's `exec` provider has, so that programs made for that go on working. An
//! argument vector, never a shell line; a cleared environment but for `PATH`, `HOME`
//! and `CERTMINT_DNS_ZONE`; a deadline, at which its whole process group ends.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

use super::{DnsProvider, TxtRecord};
use crate::challenge::SolverError;
use crate::identifier::quoted;
use crate::issuer::BoxFuture;

/// A program that writes records.
#[derive(Debug)]
pub struct Exec {
    program: String,
    arguments: Vec<String>,
    home: Option<String>,
    deadline: Duration,
}

impl Exec {
    /// How long the program may take: APIs that answer once a zone is published are slow.
    pub const DEADLINE: Duration = Duration::from_secs(180);

    /// A provider that starts `program` with `arguments` before what it is told.
    /// `home` is the program's `HOME`.
    pub fn new(
        program: String,
        arguments: Vec<String>,
        home: Option<String>,
        deadline: Duration,
    ) -> Self {
        Self {
            program,
            arguments,
            home,
            deadline,
        }
    }

    async fn run(&self, action: &str, record: &TxtRecord) -> Result<(), SolverError> {
        let name = quoted(&self.program);
        let mut child = self.command(action, record).spawn().map_err(|error| {
            SolverError::new(format!("could not start `{name}`"))
                .hint(
                    "give `command` in the credential as an absolute path, and make it executable",
                )
                .permanent()
                .caused_by(error)
        })?;
        // Ends the group at the deadline, and when this future is dropped.
        let mut group = Group(child.id());
        let ended = tokio::time::timeout(self.deadline, finish(&mut child)).await;
        let (status, said) = match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => {
                return Err(
                    SolverError::new(format!("could not wait for `{name}`")).caused_by(error)
                );
            }
            Err(_) => {
                let seconds = self.deadline.as_secs();
                return Err(SolverError::new(format!(
                    "`{name} {action}` did not end within {seconds} s and was killed"
                ))
                .hint("raise `deadline-seconds` in the credential if it needs longer"));
            }
        };
        // It has ended by itself, and what it leaves running is its own affair.
        group.0 = None;
        if status.success() {
            return Ok(());
        }
        let said = said.lines().last().map_or_else(String::new, quoted);
        let said = if said.is_empty() {
            said
        } else {
            format!(": {said}")
        };
        Err(SolverError::new(format!(
            "`{name} {action}` ended with {status}{said}"
        )))
    }

    fn command(&self, action: &str, record: &TxtRecord) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .args([action, &record.name.absolute(), &record.value])
            .env_clear()
            .env("PATH", PATH)
            .env("CERTMINT_DNS_ZONE", record.zone.absolute())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(home) = &self.home {
            command.env("HOME", home);
        }
        command
    }
}

impl DnsProvider for Exec {
    fn add<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.run("present", record))
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(self.run("cleanup", record))
    }
}

/// A process group that is killed when this is dropped. Its leader has not been
/// waited for: the id is not yet another's.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok());
        if let Some(group) = leader.and_then(Pid::from_raw) {
            // Fails only when everybody has gone.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Waits for the end, and returns the head of what was said on standard error.
async fn finish(child: &mut Child) -> std::io::Result<(ExitStatus, String)> {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Read past the cap too, or a talkative program would block on its pipe.
        let mut head = stderr.take(OUTPUT_MAX);
        head.read_to_end(&mut said).await?;
        tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await?;
    }
    let status = child.wait().await?;
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// The search path of programs; cron's own is shorter than what people test with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a failing program's output is kept.
const OUTPUT_MAX: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::dns::DomainName;

    fn record() -> TxtRecord {
        TxtRecord {
            zone: DomainName::parse("example.test").unwrap(),
            name: DomainName::parse("_acme-challenge.a.example.test").unwrap(),
            value: "v-_1".to_owned(),
        }
    }

    fn sh(script: &str, deadline: Duration) -> Exec {
        let arguments = ["-c", script, "sh"].map(str::to_owned).to_vec();
        Exec::new("/bin/sh".to_owned(), arguments, None, deadline)
    }

    #[tokio::test]
    async fn it_is_told_in_arguments_what_lego_would_tell_it_and_sees_no_environment() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let script = format!("{{ echo \"$@\"; env; }} >> {}", out.display());
        let exec = sh(&script, Exec::DEADLINE);
        exec.add(&record()).await.unwrap();
        exec.remove(&record()).await.unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        assert!(
            text.contains("present _acme-challenge.a.example.test. v-_1\n"),
            "{text}"
        );
        assert!(
            text.contains("cleanup _acme-challenge.a.example.test. v-_1\n"),
            "{text}"
        );
        assert!(text.contains("CERTMINT_DNS_ZONE=example.test.\n"), "{text}");
        assert!(!text.contains("CARGO"), "{text}");
    }

    #[tokio::test]
    async fn a_failure_shows_the_last_line_said_and_a_missing_program_is_named() {
        let error = sh(
            "echo one >&2; printf 'no\\033[2J way\\n' >&2; exit 7",
            Exec::DEADLINE,
        )
        .add(&record())
        .await
        .unwrap_err();
        assert!(error.message.contains("exit status: 7: no"), "{error}");
        assert!(!error.message.contains('\x1b'), "{error}");
        let missing = Exec::new("/no/such".into(), vec![], None, Exec::DEADLINE);
        let error = missing.add(&record()).await.unwrap_err();
        assert!(
            error.permanent && error.message.contains("/no/such"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn at_the_deadline_the_program_and_its_children_are_killed() {
        let dir = tempfile::tempdir().unwrap();
        let pid_file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", pid_file.display());
        let error = sh(&script, Duration::from_secs(1))
            .add(&record())
            .await
            .unwrap_err();
        assert!(error.message.contains("within 1 s"), "{error}");
        let pid = std::fs::read_to_string(pid_file).unwrap();
        let stat = format!("/proc/{}/stat", pid.trim());
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            assert!(std::time::Instant::now() < until, "still there");
            tokio::task::yield_now().await;
        }
    }
}

//! Programs of the user's that run after a certificate has changed.
//!
//! A hook is an argument vector, never a shell line; its environment is cleared
//! but for `PATH` and what describes the certificate; it has a deadline, and its
//! whole process group ends with it.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::identifier::quoted;
use crate::store::Stored;

/// A command to run, already split into words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hook {
    program: String,
    arguments: Vec<String>,
}

/// What a hook is told: variables of its environment, by their names after
/// `CERTMINT_HOOK_`.
#[derive(Debug, Clone, Default)]
pub struct Context(Vec<(&'static str, String)>);

impl Context {
    /// What a hook is told about `stored`.
    pub fn of(stored: &Stored) -> Self {
        let names: Vec<String> = stored
            .record
            .profile
            .names
            .iter()
            .map(ToString::to_string)
            .collect();
        let path = stored.path.as_ref().map(|p| p.display().to_string());
        Self::default()
            .with("ID", stored.id.to_string())
            .with("PATH", path.unwrap_or_default())
            .with("NAMES", names.join(","))
    }

    /// Also this.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.0.push((name, value.into()));
        self
    }
}

/// The search path of hooks; cron's own is shorter than what people test with.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How much of a failing hook's output is repeated.
const OUTPUT_MAX: u64 = 4096;

impl Hook {
    /// Splits a command line by shell-words rules; nothing is expanded.
    pub fn parse(line: &str) -> Result<Self, HookFailure> {
        let malformed = || HookFailure::Malformed(quoted(line));
        let mut words = shell_words::split(line)
            .map_err(|_| malformed())?
            .into_iter();
        let program = words.next().ok_or_else(malformed)?;
        Ok(Self {
            program,
            arguments: words.collect(),
        })
    }

    /// Runs the hook to its end, or ends it at the deadline.
    pub async fn run(&self, context: &Context, deadline: Duration) -> Result<(), HookFailure> {
        self.execute(context, deadline, 0).await.map(drop)
    }

    /// [`Self::run`], for what the hook writes to its standard output: at most `longest`
    /// bytes, or it has failed.
    pub async fn run_for_output(
        &self,
        context: &Context,
        deadline: Duration,
        longest: u64,
    ) -> Result<Zeroizing<Vec<u8>>, HookFailure> {
        let output = self.execute(context, deadline, longest + 1).await?;
        if u64::try_from(output.len()).unwrap_or(u64::MAX) > longest {
            return Err(HookFailure::Talkative {
                program: quoted(&self.program),
                longest,
            });
        }
        Ok(output)
    }

    /// Runs it, and keeps the first `wanted` bytes of what it writes.
    async fn execute(
        &self,
        context: &Context,
        deadline: Duration,
        wanted: u64,
    ) -> Result<Zeroizing<Vec<u8>>, HookFailure> {
        let name = || quoted(&self.program);
        let stdout = if wanted > 0 {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        let mut child = self
            .command(context)
            .stdout(stdout)
            .spawn()
            .map_err(|source| HookFailure::Start {
                program: name(),
                source,
            })?;
        let group = child.id();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let finished = tokio::time::timeout(deadline, async {
            let (output, complaint) =
                tokio::join!(beginning(stdout, wanted), beginning(stderr, OUTPUT_MAX));
            (child.wait().await, output, complaint)
        })
        .await;
        match finished {
            Ok((Ok(status), output, _)) if status.success() => Ok(output),
            Ok((Ok(status), _, complaint)) => Err(HookFailure::Failed {
                program: name(),
                status,
                output: String::from_utf8_lossy(&complaint)
                    .lines()
                    .last()
                    .map_or_else(String::new, quoted),
            }),
            Ok((Err(source), ..)) => Err(HookFailure::Start {
                program: name(),
                source,
            }),
            Err(_) => {
                end_group(group, &mut child).await;
                Err(HookFailure::Deadline {
                    program: name(),
                    deadline,
                })
            }
        }
    }

    fn command(&self, context: &Context) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", PATH)
            .envs(
                context
                    .0
                    .iter()
                    .map(|(name, value)| (format!("CERTMINT_HOOK_{name}"), value)),
            )
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        command
    }
}

/// The first bytes of what comes through a pipe. The rest is read too, or a talkative
/// hook would block on its pipe.
async fn beginning(pipe: Option<impl AsyncRead + Unpin>, wanted: u64) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::default();
    if let Some(pipe) = pipe {
        let mut head = pipe.take(wanted);
        let _ = head.read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut head.into_inner(), &mut tokio::io::sink()).await;
    }
    bytes
}

async fn end_group(group: Option<u32>, child: &mut Child) {
    let pid = group
        .and_then(|id| i32::try_from(id).ok())
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // Gone already is as good.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
    let _ = child.wait().await;
}

/// Why a hook did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HookFailure {
    /// It cannot be split into words.
    #[error("the hook `{0}` is not a command")]
    Malformed(String),
    /// The program could not be started.
    #[error("could not run the hook `{program}`")]
    Start {
        /// What was to be run.
        program: String,
        /// Why not.
        source: std::io::Error,
    },
    /// It said that it failed.
    #[error("the hook `{program}` failed ({status}){}{output}", if output.is_empty() { "" } else { ": " })]
    Failed {
        /// What was run.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last line it wrote to standard error.
        output: String,
    },
    /// It wrote more than anybody reads.
    #[error("the hook `{program}` wrote more than {longest} bytes")]
    Talkative {
        /// What was run.
        program: String,
        /// How much is read.
        longest: u64,
    },
    /// It ran too long and was ended.
    #[error("the hook `{program}` was ended after {} seconds", deadline.as_secs())]
    Deadline {
        /// What was run.
        program: String,
        /// How long it had.
        deadline: Duration,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> Context {
        Context::default()
            .with("ID", "a.test")
            .with("PATH", "/nowhere")
            .with("NAMES", "a.test,$(id)")
    }

    async fn run(line: &str) -> Result<(), HookFailure> {
        Hook::parse(line)
            .unwrap()
            .run(&context(), Duration::from_secs(10))
            .await
    }

    #[tokio::test]
    async fn a_hook_is_no_shell_line_and_sees_only_its_own_environment() {
        assert!(run("/bin/sh -c 'test \"$CERTMINT_HOOK_NAMES\" = \"a.test,\\$(id)\" && test -z \"$HOME\"'").await.is_ok());
        let failure = run("/bin/false ; true").await.unwrap_err();
        assert!(matches!(failure, HookFailure::Failed { .. }), "{failure}");
        assert!(Hook::parse("  ").is_err());
        assert!(Hook::parse("a 'b").is_err());
    }

    #[tokio::test]
    async fn a_failing_hook_is_quoted_without_its_escapes() {
        let failure = run("/bin/sh -c 'printf \"\\033[31mno such unit\" >&2; exit 3'")
            .await
            .unwrap_err();
        let text = failure.to_string();
        assert!(
            text.contains("no such unit") && !text.contains('\u{1b}'),
            "{text}"
        );
        assert!(matches!(
            run("/no/such/program").await,
            Err(HookFailure::Start { .. })
        ));
    }

    #[tokio::test]
    async fn a_hook_that_hangs_is_ended_with_its_children() {
        let hook = Hook::parse("/bin/sh -c 'sleep 60 & wait'").unwrap();
        let failure = hook
            .run(&context(), Duration::from_millis(200))
            .await
            .unwrap_err();
        assert!(matches!(failure, HookFailure::Deadline { .. }), "{failure}");
    }

    #[tokio::test]
    async fn a_talkative_hook_does_not_block() {
        assert!(
            run("/bin/sh -c 'head -c 1000000 /dev/zero >&2'")
                .await
                .is_ok()
        );
    }
}

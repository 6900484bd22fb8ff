//! Programs that others wrote, and what happens when one is missing.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a program is, or `None` after saying that this test is skipped.
///
/// ```ignore
/// let Some(openssl) = tool("openssl") else { return };
/// ```
#[must_use]
#[track_caller]
pub(crate) fn tool(program: &str) -> Option<PathBuf> {
    let found = find(program);
    if found.is_none() {
        skip(program);
    }
    found
}

/// Says that the running test is skipped for want of `what`, and counts it; fails
/// the test under `CERTMINT_TEST_REQUIRE_TOOLS=1`.
#[track_caller]
pub(crate) fn skip(what: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    let line = format!("skipped: {test} needs {what}");
    let required = std::env::var_os("CERTMINT_TEST_REQUIRE_TOOLS").is_some_and(|v| v == "1");
    assert!(!required, "{line}, and every tool is required here");
    let count = SKIPPED.fetch_add(1, Ordering::SeqCst) + 1;
    // The handle, not the macro: the harness captures what macros print.
    writeln!(std::io::stderr(), "{line} ({count} so far)").ok();
    let record = Path::new(env!("CARGO_TARGET_TMPDIR")).join("skipped");
    let file = OpenOptions::new().append(true).create(true).open(record);
    // One write per line, so that lines of parallel tests stay whole.
    file.unwrap()
        .write_all(format!("{line}\n").as_bytes())
        .unwrap();
}

/// `program` on the search path: the caller's, the system's, and the Python
/// environment that `.ci/run` makes below the target directory.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return None;
    }
    let own = std::env::var_os("PATH").unwrap_or_default();
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../venv/bin");
    std::env::split_paths(&own)
        .chain(std::env::split_paths(super::PATH))
        .chain([venv])
        .map(|dir| dir.join(program))
        .find(|path| path.is_absolute() && path.is_file())
}

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

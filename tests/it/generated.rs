//! `man/` and `completions/` are what the binary renders, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::TestEnv;

#[test]
fn the_manual_pages_are_current() {
    assert_current("man");
}

#[test]
fn the_completions_are_current() {
    assert_current("completions");
}

/// Renders `what` with the hidden subcommand and compares it with the committed
/// directory of the same name.
fn assert_current(what: &str) {
    let env = TestEnv::new();
    let fresh = env.path(what);
    let _ = env.certmint(["generate", what]).arg(&fresh).run().success();
    let remedy = format!("run `cargo run -- generate {what} {what}` and commit the result");
    let (fresh, committed) = (
        contents(&fresh),
        contents(&Path::new(env!("CARGO_MANIFEST_DIR")).join(what)),
    );
    assert!(!fresh.is_empty(), "nothing was rendered");
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&fresh), names(&committed), "{remedy}");
    for (name, bytes) in &fresh {
        assert!(
            *bytes == committed[name],
            "{what}/{name} is stale: {remedy}"
        );
    }
}

fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    std::fs::read_dir(dir)
        .unwrap_or_else(|e| panic!("{}: {e}", dir.display()))
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

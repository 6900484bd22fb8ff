//! Rules of the repository that no compiler knows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The oldest versions without a known vulnerability that matters here.
const FLOORS: &[(&str, [u64; 3])] = &[
    ("rustls", [0, 23, 45]),
    ("rustls-webpki", [0, 103, 13]),
    ("h2", [0, 4, 16]),
    ("aws-lc-sys", [0, 39, 0]),
    ("hickory-proto", [0, 26, 1]),
];

/// One TLS stack and one provider of cryptography; the `rsa` crate leaks its key
/// through timing (RUSTSEC-2023-0071).
const BANNED: &[&str] = &["native-tls", "openssl", "openssl-sys", "ring", "rsa"];

#[test]
fn locked_versions_keep_their_floors() {
    let below: Vec<String> = locked()
        .into_iter()
        .filter_map(|(name, version)| {
            let (_, floor) = FLOORS.iter().find(|(known, _)| *known == name)?;
            (numbers(&version) < *floor).then(|| format!("{name} {version} < {floor:?}"))
        })
        .collect();
    assert!(below.is_empty(), "too old: {below:?}");
    for name in ["rustls", "rustls-webpki", "h2", "aws-lc-sys"] {
        assert!(locked().iter().any(|(n, _)| n == name), "no {name}");
    }
}

#[test]
fn versions_compare_as_numbers() {
    assert!(numbers("0.23.9") < [0, 23, 45]);
    assert!(numbers("0.103.16+x") > [0, 103, 13]);
    assert_eq!(numbers("1.2.3-rc.1"), [1, 2, 3]);
}

/// Asked of cargo and not of Cargo.lock, which names optional dependencies that
/// nothing switches on (`ring` below rustls-webpki).
#[test]
fn banned_crates_are_not_built() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--offline", "--all-features"])
        .args(["--edges", "all", "--prefix", "none", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&tree.stderr);
    assert!(tree.status.success(), "cargo tree: {errors}");
    let text = String::from_utf8(tree.stdout).unwrap();
    let built: BTreeSet<&str> = text.lines().filter_map(|l| l.split(' ').next()).collect();
    assert!(built.contains("aws-lc-rs"), "{built:?}");
    let banned: Vec<_> = BANNED.iter().filter(|name| built.contains(*name)).collect();
    assert!(banned.is_empty(), "built although banned: {banned:?}");
}

#[test]
fn every_source_file_says_why_it_exists() {
    let silent: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|file| !text(file).starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "without `//!` at the top: {silent:?}");
}

#[test]
fn every_source_file_is_part_of_its_module() {
    let orphans: Vec<PathBuf> = rust_files()
        .into_iter()
        .filter(|file| file.starts_with("src") || file.starts_with("tests"))
        .filter(|file| declared_in(file).is_some_and(|parent| !declares(&parent, file)))
        .collect();
    assert!(orphans.is_empty(), "compiled by nobody: {orphans:?}");
}

#[test]
fn nothing_unfinished_and_nothing_of_one_machine_is_in_the_tree() {
    // Written in two halves, so that this file does not find itself.
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let places = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];
    let mut found = Vec::new();
    for file in files() {
        let text = text(&file);
        for (number, line) in text.lines().enumerate() {
            let unfinished = words.iter().any(|word| has_word(line, word));
            if unfinished || places.iter().any(|place| has_path(line, place)) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "remove these:\n{}", found.join("\n"));
}

#[test]
fn words_and_paths_are_found_where_they_begin() {
    assert!(has_word("a TASK: b", "TASK") && has_word("TASK", "TASK"));
    assert!(!has_word("MULTITASKING", "TASK") && !has_word("TASK_FORCE", "TASK"));
    assert!(has_path("see `/top/x`", "/top/") && has_path("/top/x", "/top/"));
    assert!(!has_path("ca/top/R1", "/top/") && !has_path("DIR/top/x", "/top/"));
}

#[test]
fn what_a_visitor_looks_for_is_there() {
    for name in [
        "CHANGELOG.md",
        "Cargo.lock",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
    ] {
        assert!(!text(Path::new(name)).trim().is_empty(), "{name} is empty");
    }
    let changelog = text(Path::new("CHANGELOG.md"));
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        changelog.contains(&format!("## [{version}]")) || changelog.contains("## [Unreleased]"),
        "CHANGELOG.md has no section for {version}"
    );
    let command = "cargo test";
    assert!(text(Path::new("README.md")).contains(&format!("$ {command}\n")));
    // Not part of a published package.
    if root().join(".ci/run").exists() {
        assert!(text(Path::new(".ci/run")).contains(&format!("    {command} ")));
    }
    for name in BANNED {
        let banned = format!("crate = \"{name}\"");
        assert!(text(Path::new("deny.toml")).contains(&banned), "{name}");
    }
}

/// Every file of the project, relative to its root: what git tracks or could, or,
/// in a source archive, what lies there.
pub(crate) fn files() -> Vec<PathBuf> {
    let git = root().join(".git").exists().then(|| {
        Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root())
            .output()
    });
    let mut files: Vec<PathBuf> = match git {
        Some(Ok(listed)) if listed.status.success() => String::from_utf8(listed.stdout)
            .unwrap()
            .split_terminator('\0')
            .map(PathBuf::from)
            .filter(|file| root().join(file).is_file())
            .collect(),
        _ => walk(Path::new("")),
    };
    files.sort();
    assert!(files.contains(&PathBuf::from("src/lib.rs")), "{files:?}");
    files
}

#[test]
fn a_source_archive_lists_the_same_files() {
    let walked: BTreeSet<PathBuf> = walk(Path::new("")).into_iter().collect();
    let missed: Vec<PathBuf> = files()
        .into_iter()
        .filter(|file| !walked.contains(file))
        .collect();
    assert!(missed.is_empty(), "{missed:?}");
}

/// All files below `dir`, but for what is built.
fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(dir)).unwrap() {
        let entry = entry.unwrap();
        let path = dir.join(entry.file_name());
        if path.starts_with("target") || path.starts_with(".git") || path.starts_with("docs/book") {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

fn rust_files() -> Vec<PathBuf> {
    let mut files = files();
    files.retain(|file| file.extension().is_some_and(|e| e == "rs"));
    files
}

/// The file that has to declare `file` as its module; `None` for the roots.
fn declared_in(file: &Path) -> Option<PathBuf> {
    let dir = file.parent()?;
    let stem = file.file_stem()?.to_str()?;
    let roots = ["src/lib.rs", "src/main.rs", "tests/it/main.rs"];
    if roots.iter().any(|root| file == Path::new(root)) {
        return None;
    }
    assert_ne!(stem, "mod", "{}: name it for its noun", file.display());
    Some(match dir.to_str()? {
        "src" => PathBuf::from("src/lib.rs"),
        "tests/it" => PathBuf::from("tests/it/main.rs"),
        _ => dir.with_extension("rs"),
    })
}

fn declares(parent: &Path, file: &Path) -> bool {
    let module = format!("mod {};", file.file_stem().unwrap().to_str().unwrap());
    root().join(parent).is_file()
        && text(parent).lines().any(|line| {
            let line = line.trim_start();
            line.ends_with(&module) && !line.starts_with("//")
        })
}

fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(part) && !line[at + word.len()..].starts_with(part))
}

fn has_path(line: &str, place: &str) -> bool {
    line.match_indices(place)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-}/~".contains(c)))
}

/// Names and versions in Cargo.lock.
fn locked() -> Vec<(String, String)> {
    let text = text(Path::new("Cargo.lock"));
    let mut lines = text.lines();
    let mut found = Vec::new();
    while let Some(line) = lines.next() {
        let (Some(name), Some(next)) = (quoted(line, "name"), lines.clone().next()) else {
            continue;
        };
        found.push((name, quoted(next, "version").unwrap()));
    }
    found
}

fn quoted(line: &str, key: &str) -> Option<String> {
    let value = line.strip_prefix(key)?.strip_prefix(" = \"")?;
    Some(value.strip_suffix('"')?.to_owned())
}

fn numbers(version: &str) -> [u64; 3] {
    let core = version.split(['-', '+']).next().unwrap();
    let mut parts = core.split('.').map(|part| part.parse().unwrap());
    std::array::from_fn(|_| parts.next().unwrap())
}

fn text(file: &Path) -> String {
    let bytes = std::fs::read(root().join(file));
    let bytes = bytes.unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

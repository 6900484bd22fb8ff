//! Holds the layers: a module uses only what stands before it in the table.
//!
//! Every `crate::` path of every source file is collected from its tokens, so that
//! comments and strings do not count, paths inside macros and tests do, and
//! `super::` that climbs to the top is seen as well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// The layers, lowest first. A module may use what stands on a line above its own,
/// and what stands left of it on the same line.
const LAYERS: &[&[&str]] = &[
    &["clock", "identifier", "key", "bundle", "event"],
    // The store remembers how a certificate was made: `issuer::Profile`.
    &[
        "settings",
        "finding",
        "net",
        "issuer",
        "store",
        "challenge",
        "certificates",
    ],
    &["pki", "acme"],
    &["renew", "on_demand"],
    &["directory"],
    &["server"],
    &["inspect", "trust"],
    &["serve"],
    &["cli"],
];

/// What the table would allow and the design does not: issuers are strangers, and
/// a server knows certificates but never who issues them.
const STRANGERS: &[(&str, &str)] = &[
    ("acme", "pki"),
    ("server", "pki"),
    ("server", "acme"),
    ("server", "issuer"),
];

#[test]
fn a_module_uses_only_what_stands_before_it() {
    let mut wrong = Vec::new();
    for file in sources() {
        let user = top_level(&file);
        if user == "lib" {
            continue;
        }
        for used in uses(&file) {
            if !may_use(&user, &used) {
                wrong.push(format!("{} uses `{used}`", file.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "against the layers:\n{}",
        wrong.join("\n")
    );
}

#[test]
fn the_library_declares_known_modules_in_the_order_of_the_layers() {
    let text = std::fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let declared: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let unknown: Vec<_> = declared.iter().filter(|m| rank(m).is_none()).collect();
    assert!(unknown.is_empty(), "not in the table: {unknown:?}");
    assert!(
        declared.is_sorted_by_key(|module| rank(module)),
        "declare them in the order of the layers: {declared:?}"
    );
}

#[test]
fn main_knows_only_the_command_line() {
    let main = root().join("src/main.rs");
    let text = std::fs::read_to_string(&main).unwrap();
    let mut used = BTreeSet::new();
    paths(text.parse().unwrap(), 1, &mut used);
    used.remove("cli");
    assert!(used.is_empty(), "main uses {used:?}");
}

#[test]
fn the_collector_sees_every_way_to_write_a_path() {
    let table: &[(usize, &str, &[&str])] = &[
        (1, "use crate::key::PrivateKey;", &["key"]),
        (
            1,
            "use crate::{key::{A, B}, bundle, store as s};",
            &["bundle", "key", "store"],
        ),
        (1, "pub(crate) fn f() { m!(crate::net::get()) }", &["net"]),
        (
            1,
            "// crate::no\n/// crate::no\nconst S: &str = \"crate::no\";",
            &[],
        ),
        (
            1,
            "use super::key::X; mod tests { use super::no::Y; }",
            &["key"],
        ),
        (
            1,
            "mod tests { mod deeper { use super::super::super::key; } }",
            &["key"],
        ),
        (
            2,
            "use super::no; use super::super::{key, store};",
            &["key", "store"],
        ),
        (1, "fn main() { certmint::cli::main() }", &["cli"]),
        (1, "struct A<'a>(&'a str); use crate::A;", &[]),
    ];
    for (depth, text, want) in table {
        let mut used = BTreeSet::new();
        paths(text.parse().unwrap(), *depth, &mut used);
        let used: Vec<&str> = used.iter().map(String::as_str).collect();
        assert_eq!(&used, want, "{text}");
    }
}

#[test]
fn the_table_says_who_may_use_whom() {
    let table = [
        ("bundle", "key", true),
        ("key", "bundle", false),
        ("pki", "store", true),
        ("store", "pki", false),
        ("pki", "acme", false),
        ("acme", "pki", false),
        ("server", "certificates", true),
        ("server", "pki", false),
        ("serve", "pki", true),
        ("cli", "serve", true),
        ("main", "cli", true),
        ("key", "key", true),
        ("stranger", "key", false),
    ];
    for (user, used, want) in table {
        assert_eq!(may_use(user, used), want, "{user} -> {used}");
    }
}

fn may_use(user: &str, used: &str) -> bool {
    if user == used || (user, used) == ("main", "cli") {
        return true;
    }
    let (Some(user_rank), Some(used_rank)) = (rank(user), rank(used)) else {
        return false;
    };
    used_rank < user_rank && !STRANGERS.contains(&(user, used))
}

fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().copied().flatten().position(|m| *m == module)
}

/// The top-level modules that a file names.
fn uses(file: &Path) -> BTreeSet<String> {
    let inner = file.strip_prefix("src").unwrap();
    let text = std::fs::read_to_string(root().join(file)).unwrap();
    let tokens = text
        .parse()
        .unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut used = BTreeSet::new();
    paths(tokens, inner.components().count(), &mut used);
    used
}

/// Adds the top-level modules named in `tokens`, which stand `depth` modules below
/// the crate's root. Only names in small letters are modules.
fn paths(tokens: TokenStream, depth: usize, used: &mut BTreeSet<String>) {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let mut at = 0;
    while at < tokens.len() {
        let rest = &tokens[at..];
        at += 1;
        if let [
            TokenTree::Ident(word),
            TokenTree::Ident(_),
            TokenTree::Group(body),
            ..,
        ] = rest
            && word == "mod"
        {
            paths(body.stream(), depth + 1, used);
            at += 2;
        } else if let TokenTree::Group(group) = &rest[0] {
            paths(group.stream(), depth, used);
        } else if let Some(length) = path_to_root(rest, depth) {
            at += length - 1;
            note(tokens.get(at), used);
        }
    }
}

/// How many tokens at the start of `rest` are a path to the crate's root.
fn path_to_root(rest: &[TokenTree], depth: usize) -> Option<usize> {
    let step = |tokens: &[TokenTree], names: &[&str]| match tokens {
        [
            TokenTree::Ident(name),
            TokenTree::Punct(a),
            TokenTree::Punct(b),
            ..,
        ] => names.iter().any(|n| name == n) && a.as_char() == ':' && b.as_char() == ':',
        _ => false,
    };
    if step(rest, &["crate", "certmint"]) {
        return Some(3);
    }
    let climbed = rest.chunks(3).take_while(|c| step(c, &["super"])).count();
    (climbed > 0 && climbed >= depth).then_some(climbed * 3)
}

/// Notes the module that stands after a path to the root, or those in its braces.
fn note(token: Option<&TokenTree>, used: &mut BTreeSet<String>) {
    match token {
        Some(TokenTree::Ident(name)) => {
            let name = name.to_string();
            if name != "self" && name.starts_with(|c: char| c.is_ascii_lowercase()) {
                used.insert(name);
            }
        }
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
            let tokens: Vec<TokenTree> = group.stream().into_iter().collect();
            let is_comma = |t: &TokenTree| matches!(t, TokenTree::Punct(p) if p.as_char() == ',');
            for part in tokens.split(is_comma) {
                note(part.first(), used);
            }
        }
        _ => {}
    }
}

fn sources() -> Vec<PathBuf> {
    let files = crate::house::files();
    files
        .into_iter()
        .filter(|file| file.starts_with("src") && file.extension().is_some_and(|e| e == "rs"))
        .collect()
}

/// `src/pki/ledger.rs` belongs to `pki`.
fn top_level(file: &Path) -> String {
    let first = file.components().nth(1).unwrap();
    let stem = Path::new(first.as_os_str()).file_stem().unwrap();
    stem.to_str().unwrap().to_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

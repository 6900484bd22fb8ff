//! NSS databases: what Firefox and Chromium believe, one database per profile.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::{Anchor, Backend, Backends, Change, Step, TrustError, TrustTarget, program};

/// The database that Chromium and other programs of the user share.
const SHARED: &str = ".pki/nssdb";

/// Other databases; the last part `*` stands for every profile.
const OTHERS: &[&str] = &[
    ".local/share/pki/nssdb",
    "snap/chromium/current/.pki/nssdb",
    ".mozilla/firefox/*",
    ".config/mozilla/firefox/*",
    "snap/firefox/common/.mozilla/firefox/*",
    ".var/app/org.mozilla.firefox/.mozilla/firefox/*",
];

/// Every database of the user. The shared one is there even before its first use:
/// installing creates it.
pub(super) fn find(target: &TrustTarget, change: Change) -> Backends {
    let mut dirs = Vec::new();
    for pattern in OTHERS {
        match pattern.strip_suffix("/*") {
            None => dirs.push(target.home.join(pattern)),
            Some(profiles) => dirs.extend(entries(&target.home.join(profiles))),
        }
    }
    dirs.retain(|dir| is_database(dir));
    let shared = target.home.join(SHARED);
    if change == Change::Install || is_database(&shared) {
        dirs.insert(0, shared);
    }
    if dirs.is_empty() {
        return Err(format!(
            "no browser has a database under `{}`",
            target.home.display()
        ));
    }
    let package = "package libnss3-tools, nss-tools or nss";
    let certutil = target.program("certutil", package)?;
    let install = target.program("install", "package coreutils")?;
    Ok(dirs
        .into_iter()
        .map(|dir| {
            let (certutil, install) = (certutil.clone(), install.clone());
            let store: Box<dyn Backend> = Box::new(NssStore {
                dir,
                certutil,
                install,
            });
            store
        })
        .collect())
}

#[derive(Debug)]
struct NssStore {
    dir: PathBuf,
    certutil: PathBuf,
    install: PathBuf,
}

impl NssStore {
    fn certutil(&self, args: &[&str]) -> Vec<OsString> {
        let mut database = OsString::from("sql:");
        database.push(&self.dir);
        let mut argv = vec![self.certutil.clone().into(), "-d".into(), database];
        argv.extend(args.iter().map(OsString::from));
        argv
    }

    /// Nicknames and trust flags of what the database holds.
    fn list(&self, target: &TrustTarget) -> Result<Vec<(String, String)>, TrustError> {
        if !is_database(&self.dir) {
            return Ok(Vec::new());
        }
        let printed = program::run(target, &self.certutil(&["-L"]))?;
        Ok(parse_list(&String::from_utf8_lossy(&printed)))
    }

    fn is_named(
        &self,
        target: &TrustTarget,
        anchor: &Anchor,
        nickname: &str,
    ) -> Result<bool, TrustError> {
        let argv = self.certutil(&["-L", "-a", "-n", nickname]);
        Ok(anchor.is_among(&program::run(target, &argv)?))
    }
}

impl Backend for NssStore {
    fn place(&self) -> &Path {
        &self.dir
    }

    /// The root must be there and marked `C` for TLS servers. NSS keeps one entry per
    /// certificate, so that one imported by hand has a name of the user's.
    fn trusts(&self, target: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError> {
        let ours = anchor.name();
        let mut believed: Vec<String> = self
            .list(target)?
            .into_iter()
            .filter(|(_, flags)| flags.split(',').next().is_some_and(|tls| tls.contains('C')))
            .map(|(nickname, _)| nickname)
            .collect();
        believed.sort_by_key(|nickname| *nickname != ours);
        for nickname in believed.iter().take(MAX_ASKED) {
            if self.is_named(target, anchor, nickname)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn holds(&self, target: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError> {
        let ours = anchor.name();
        let listed = self.list(target)?.iter().any(|(name, _)| *name == ours);
        Ok(listed && self.is_named(target, anchor, &ours)?)
    }

    fn steps(&self, target: &TrustTarget, change: Change, anchors: &[&Anchor]) -> Vec<Step> {
        let step = |argv: &[OsString]| {
            let words: Vec<_> = argv.iter().map(OsString::as_os_str).collect();
            target.step(&words, &self.dir)
        };
        let mut steps = Vec::new();
        if change == Change::Install && !is_database(&self.dir) {
            let (flags, dir) = (["-d", "-m", "0700"].map(OsString::from), &self.dir);
            let mut argv = vec![self.install.clone().into()];
            argv.extend(flags);
            argv.push(dir.into());
            steps.push(step(&argv));
            steps.push(step(&self.certutil(&["-N", "--empty-password"])));
        }
        steps.extend(anchors.iter().map(|anchor| {
            let name = anchor.name();
            step(&match change {
                Change::Install => {
                    let mut argv = self.certutil(&["-A", "-t", "C,,", "-n", &name, "-i"]);
                    argv.push(anchor.path.clone().into());
                    argv
                }
                Change::Uninstall => self.certutil(&["-D", "-n", &name]),
            })
        }));
        steps
    }
}

fn is_database(dir: &Path) -> bool {
    dir.join("cert9.db").is_file()
}

/// What lies in `dir`, sorted; nothing when it cannot be listed.
fn entries(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .take(MAX_PROFILES)
        .collect();
    paths.sort();
    paths
}

/// `certutil -L` prints a nickname, which may hold blanks, and the trust flags, which
/// are three fields of letters joined by commas.
fn parse_list(text: &str) -> Vec<(String, String)> {
    text.lines()
        .filter_map(|line| {
            let (nickname, flags) = line.trim_end().rsplit_once(' ')?;
            let is_flags = flags.split(',').count() == 3
                && flags.chars().all(|c| c == ',' || "pPcCTuw".contains(c));
            is_flags.then(|| (nickname.trim().to_owned(), flags.to_owned()))
        })
        .collect()
}

/// Entries with the right flags that are looked at; a profile has a handful.
const MAX_ASKED: usize = 64;

/// Profiles looked at in one directory.
const MAX_PROFILES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_certutil_is_read_with_blanks_in_nicknames() {
        let text = "\nCertificate Nickname                      Trust Attributes\n\
                    \u{20}                                         SSL,S/MIME,JAR/XPI\n\n\
                    certmint-0123456789abcdef                 C,,  \n\
                    A name, with: blanks                      CT,C,C\n\
                    nothing                                   ,,\n\
                    odd line\n";
        let want = [
            ("certmint-0123456789abcdef", "C,,"),
            ("A name, with: blanks", "CT,C,C"),
            ("nothing", ",,"),
        ];
        let want = want.map(|(name, flags)| (name.to_owned(), flags.to_owned()));
        assert_eq!(parse_list(text), want);
    }
}

//! The operating system's trust store, which each family of distributions keeps in
//! its own way. Which one this is, is told by what is there.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Anchor, Backend, Backends, Change, Step, TrustError, TrustTarget, read};

/// How a family of distributions keeps its roots; paths are relative to the root
/// of the file system.
#[derive(Debug)]
struct Family {
    names: &'static str,
    /// One of these is there on this family only.
    signs: &'static [&'static str],
    /// Where the administrator's roots go.
    anchors: &'static str,
    /// What rebuilds the store after a root was added or removed.
    refresh: &'static [&'static str],
    refresh_after_removal: &'static [&'static str],
    /// The package that brings the program.
    package: &'static str,
    /// What programs read in the end.
    bundle: &'static str,
}

/// Tried in this order: SUSE has `update-ca-certificates` as well, so that Debian's
/// comes last.
const FAMILIES: &[Family] = &[
    Family {
        names: "RHEL, Fedora",
        signs: &["etc/pki/ca-trust/source"],
        anchors: "etc/pki/ca-trust/source/anchors",
        refresh: &["update-ca-trust", "extract"],
        refresh_after_removal: &["update-ca-trust", "extract"],
        package: "package ca-certificates",
        bundle: "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    },
    Family {
        names: "SUSE",
        signs: &["etc/pki/trust", "usr/share/pki/trust"],
        anchors: "etc/pki/trust/anchors",
        refresh: &["update-ca-certificates"],
        refresh_after_removal: &["update-ca-certificates"],
        package: "package ca-certificates",
        bundle: "var/lib/ca-certificates/ca-bundle.pem",
    },
    Family {
        names: "Arch",
        signs: &["etc/ca-certificates/trust-source"],
        anchors: "etc/ca-certificates/trust-source/anchors",
        refresh: &["trust", "extract-compat"],
        refresh_after_removal: &["trust", "extract-compat"],
        package: "package p11-kit",
        bundle: "etc/ca-certificates/extracted/tls-ca-bundle.pem",
    },
    Family {
        names: DEBIAN,
        signs: &[
            "etc/ca-certificates.conf",
            "usr/local/share/ca-certificates",
        ],
        anchors: "usr/local/share/ca-certificates",
        refresh: &["update-ca-certificates"],
        refresh_after_removal: &["update-ca-certificates", "--fresh"],
        package: "package ca-certificates",
        bundle: "etc/ssl/certs/ca-certificates.crt",
    },
];

const DEBIAN: &str = "Debian, Ubuntu, Alpine";

/// The store of the system below the target's root.
pub(super) fn find(target: &TrustTarget) -> Backends {
    if target.sysroot.join("etc/NIXOS").exists() {
        return Err(
            "NixOS is configured, not changed: put the root's file into \
             `security.pki.certificateFiles`"
                .to_owned(),
        );
    }
    let there = |sign: &&str| target.sysroot.join(sign).exists();
    let family = FAMILIES
        .iter()
        .find(|family| family.signs.iter().any(there))
        .ok_or_else(|| {
            let names: Vec<_> = FAMILIES.iter().map(|family| family.names).collect();
            format!(
                "no trust store of {} under `{}` (package ca-certificates)",
                names.join(", "),
                target.sysroot.display()
            )
        })?;
    Ok(vec![Box::new(SystemStore {
        place: target.sysroot.join(family.anchors),
        bundle: target.sysroot.join(family.bundle),
        install: target.program("install", "package coreutils")?,
        rm: target.program("rm", "package coreutils")?,
        refresh: refresh(target, family, Change::Install)?,
        refresh_after_removal: refresh(target, family, Change::Uninstall)?,
    })])
}

#[derive(Debug)]
struct SystemStore {
    place: PathBuf,
    bundle: PathBuf,
    install: PathBuf,
    rm: PathBuf,
    refresh: Vec<OsString>,
    refresh_after_removal: Vec<OsString>,
}

impl SystemStore {
    fn file(&self, anchor: &Anchor) -> PathBuf {
        self.place.join(format!("{}.crt", anchor.name()))
    }
}

impl Backend for SystemStore {
    fn place(&self) -> &Path {
        &self.place
    }

    /// Looks into the bundle: what programs read, not what was put in front of it.
    fn trusts(&self, _: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError> {
        Ok(anchor.is_among(&read(&self.bundle)?))
    }

    fn holds(&self, _: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError> {
        Ok(anchor.is_among(&read(&self.file(anchor))?))
    }

    fn steps(&self, target: &TrustTarget, change: Change, anchors: &[&Anchor]) -> Vec<Step> {
        let mut steps: Vec<Step> = anchors
            .iter()
            .map(|anchor| {
                let file = self.file(anchor);
                let argv: &[&OsStr] = match change {
                    Change::Install => &[
                        self.install.as_ref(),
                        "-D".as_ref(),
                        "-m".as_ref(),
                        "0644".as_ref(),
                        anchor.path.as_ref(),
                        file.as_ref(),
                    ],
                    Change::Uninstall => &[self.rm.as_ref(), "-f".as_ref(), file.as_ref()],
                };
                target.step(argv, &self.place)
            })
            .collect();
        let refresh = match change {
            Change::Install => &self.refresh,
            Change::Uninstall => &self.refresh_after_removal,
        };
        let argv: Vec<&OsStr> = refresh.iter().map(OsString::as_os_str).collect();
        steps.push(target.step(&argv, self.bundle.parent().unwrap_or(&self.bundle)));
        steps
    }
}

/// The command that rebuilds the store: on the running system its own program,
/// below another root that system's program under `chroot`. Debian's script can be
/// told every path instead, which needs no privileges.
fn refresh(target: &TrustTarget, family: &Family, change: Change) -> Result<Vec<OsString>, String> {
    let words = match change {
        Change::Install => family.refresh,
        Change::Uninstall => family.refresh_after_removal,
    };
    let (program, args) = words.split_first().expect("every family has a program");
    let args = args.iter().map(OsString::from);
    let is_alpine = target.sysroot.join("etc/alpine-release").exists();
    if target.is_running_system() || (family.names == DEBIAN && !is_alpine) {
        let program = target.program(program, family.package)?;
        let mut argv = vec![program.into_os_string()];
        argv.extend(args);
        if !target.is_running_system() {
            for (flag, path) in DEBIAN_PATHS {
                argv.extend([flag.into(), target.sysroot.join(path).into_os_string()]);
            }
        }
        return Ok(argv);
    }
    let chroot = target.program("chroot", "package coreutils")?;
    let mut argv = vec![chroot.into_os_string(), target.sysroot.clone().into()];
    argv.push(program.into());
    argv.extend(args);
    Ok(argv)
}

/// Flags of Debian's `update-ca-certificates` that its manual does not mention.
const DEBIAN_PATHS: [(&str, &str); 5] = [
    ("--certsconf", "etc/ca-certificates.conf"),
    ("--certsdir", "usr/share/ca-certificates"),
    ("--localcertsdir", "usr/local/share/ca-certificates"),
    ("--etccertsdir", "etc/ssl/certs"),
    ("--hooksdir", "etc/ca-certificates/update.d"),
];

#[cfg(test)]
mod tests {
    use super::super::testing::{anchor, dir_all, fake_programs};
    use super::super::{StoreKind, plan};
    use super::*;

    #[test]
    fn each_family_is_known_by_what_is_there_and_changed_its_own_way() {
        let table = [
            (
                "etc/pki/ca-trust/source",
                "ROOT/etc/pki/ca-trust/source/anchors",
                ["BIN/chroot ROOT update-ca-trust extract"; 2],
            ),
            (
                "etc/pki/trust/anchors",
                "ROOT/etc/pki/trust/anchors",
                ["BIN/chroot ROOT update-ca-certificates"; 2],
            ),
            (
                "etc/ca-certificates/trust-source",
                "ROOT/etc/ca-certificates/trust-source/anchors",
                ["BIN/chroot ROOT trust extract-compat"; 2],
            ),
            (
                "etc/alpine-release/usr/local/share/ca-certificates",
                "ROOT/usr/local/share/ca-certificates",
                [
                    "BIN/chroot ROOT update-ca-certificates",
                    "BIN/chroot ROOT update-ca-certificates --fresh",
                ],
            ),
        ];
        for (signs, place, refresh) in table {
            let dir = tempfile::tempdir().unwrap();
            let (root, bin) = (dir.path().join("root"), fake_programs(dir.path()));
            for sign in signs.split_inclusive("alpine-release/") {
                dir_all(&root.join(sign));
            }
            let mut target = TrustTarget::new(dir.path().into(), bin.clone().into(), 0);
            target.sysroot = root.clone();
            let shorten = |text: String| {
                let text = text.replace(root.to_str().unwrap(), "ROOT");
                text.replace(bin.to_str().unwrap(), "BIN")
            };
            let anchor = anchor("R1");
            let file = format!("{place}/{}.crt", anchor.name());
            let plans = plan(
                &target,
                Change::Install,
                std::slice::from_ref(&anchor),
                &SYSTEM,
            );
            assert_eq!(
                shorten(plans[0].command_line()),
                format!("BIN/install -D -m 0644 /ca/R1.pem {file} && {}", refresh[0])
            );
            let store = find(&target).unwrap().remove(0);
            let steps = store.steps(&target, Change::Uninstall, &[&anchor]);
            let lines: Vec<String> = steps.iter().map(Step::to_string).map(shorten).collect();
            assert_eq!(lines, [format!("BIN/rm -f {file}"), refresh[1].to_owned()]);
        }
    }

    #[test]
    fn the_running_system_uses_its_own_program() {
        let dir = tempfile::tempdir().unwrap();
        let bin = fake_programs(dir.path());
        let target = TrustTarget::new(dir.path().into(), bin.clone().into(), 0);
        for family in FAMILIES {
            let argv = refresh(&target, family, Change::Install).unwrap();
            let program = bin.join(family.refresh[0]).into_os_string();
            assert_eq!((&argv[0], argv.len()), (&program, family.refresh.len()));
        }
    }

    #[test]
    fn what_is_not_known_or_not_installed_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let mut target = TrustTarget::new(dir.path().into(), "/no/such/dir".into(), 0);
        target.sysroot = dir.path().into();
        let reason = |target: &TrustTarget| find(target).unwrap_err();
        assert!(reason(&target).starts_with("no trust store of RHEL, Fedora, SUSE"));
        dir_all(&dir.path().join("usr/local/share/ca-certificates"));
        assert_eq!(
            reason(&target),
            "`install` is not installed (package coreutils)"
        );
        dir_all(&dir.path().join("etc/NIXOS"));
        assert!(reason(&target).contains("security.pki.certificateFiles"));
    }

    const SYSTEM: [StoreKind; 1] = [StoreKind::System];
}

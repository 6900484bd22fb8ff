//! Java's `cacerts`, changed by its own `keytool`.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use super::{Anchor, Backend, Backends, Change, Step, TrustError, TrustTarget, program};

/// The store of the target's Java, or of the `keytool` on the path.
pub(super) fn find(target: &TrustTarget) -> Backends {
    let package = "any Java runtime";
    let own = target
        .java_home
        .as_ref()
        .map(|home| home.join("bin/keytool"));
    let keytool = match own.filter(|keytool| keytool.is_file()) {
        Some(keytool) => keytool,
        None => target.program("keytool", package)?,
    };
    let home = match &target.java_home {
        Some(home) => home.clone(),
        // The keytool found is this machine's: its store is not the sysroot's.
        None if !target.is_running_system() => {
            return Err("name the Java of the other system with `JAVA_HOME`".to_owned());
        }
        None => home_of(&keytool)?,
    };
    let place = ["lib/security/cacerts", "jre/lib/security/cacerts"]
        .map(|path| home.join(path))
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| format!("no `lib/security/cacerts` under `{}`", home.display()))?;
    // Distributions link it to where the packages keep it.
    let place = place.canonicalize().unwrap_or(place);
    Ok(vec![Box::new(JavaStore { keytool, place })])
}

#[derive(Debug)]
struct JavaStore {
    keytool: PathBuf,
    place: PathBuf,
}

impl JavaStore {
    fn keytool(&self, args: &[&OsStr]) -> Vec<OsString> {
        let mut argv = vec![self.keytool.clone().into_os_string()];
        argv.extend(args.iter().map(|&arg| arg.to_owned()));
        argv.extend(["-keystore".into(), self.place.clone().into_os_string()]);
        // Every cacerts has this password; what it holds is public.
        argv.extend(["-storepass".into(), "changeit".into()]);
        argv
    }

    /// Everything that the store holds, as `keytool` prints it.
    fn list(&self, target: &TrustTarget) -> Result<String, TrustError> {
        let argv = self.keytool(&["-list".as_ref(), "-rfc".as_ref()]);
        let printed = program::run(target, &argv)?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}

impl Backend for JavaStore {
    fn place(&self) -> &Path {
        &self.place
    }

    fn trusts(&self, target: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError> {
        Ok(anchor.is_among(self.list(target)?.as_bytes()))
    }

    fn holds(&self, target: &TrustTarget, anchor: &Anchor) -> Result<bool, TrustError> {
        let listed = self.list(target)?;
        let entry = entry(&listed, &anchor.name());
        Ok(entry.is_some_and(|entry| anchor.is_among(entry.as_bytes())))
    }

    fn steps(&self, target: &TrustTarget, change: Change, anchors: &[&Anchor]) -> Vec<Step> {
        anchors
            .iter()
            .map(|anchor| {
                let name = anchor.name();
                let argv = match change {
                    Change::Install => self.keytool(&[
                        "-importcert".as_ref(),
                        "-noprompt".as_ref(),
                        "-alias".as_ref(),
                        name.as_ref(),
                        "-file".as_ref(),
                        anchor.path.as_ref(),
                    ]),
                    Change::Uninstall => {
                        self.keytool(&["-delete".as_ref(), "-alias".as_ref(), name.as_ref()])
                    }
                };
                let words: Vec<_> = argv.iter().map(OsString::as_os_str).collect();
                target.step(&words, &self.place)
            })
            .collect()
    }
}

/// `JAVA/bin/keytool`, once all links are followed, belongs to `JAVA`.
fn home_of(keytool: &Path) -> Result<PathBuf, String> {
    let real = keytool
        .canonicalize()
        .map_err(|error| format!("`{}` leads nowhere: {error}", keytool.display()))?;
    let home = real.parent().and_then(Path::parent);
    home.map(Path::to_owned)
        .ok_or_else(|| format!("no Java around `{}`", real.display()))
}

/// What `keytool -list -rfc` prints about one alias.
fn entry<'a>(listed: &'a str, alias: &str) -> Option<&'a str> {
    listed.split("Alias name: ").skip(1).find(|entry| {
        let name = entry.lines().next();
        name.is_some_and(|name| name.trim().eq_ignore_ascii_case(alias))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_by_its_whole_alias() {
        let listed = "Your keystore contains 2 entries\n\nAlias name: debian:certmint-0a.pem\n\
                      X\n\nAlias name: certmint-0a\nCreation date: today\nPEM\n*****\n";
        assert!(entry(listed, "certmint-0a").unwrap().contains("PEM"));
        assert!(entry(listed, "certmint-0").is_none());
        assert!(entry("", "certmint-0a").is_none());
    }
}

//! Going on as an ordinary user once the ports are bound.
//!
//! Rules kept here: the kernel changes one thread at a time, so it is done while the
//! process has one only, and is refused otherwise; what the kernel says afterwards is
//! compared with what was asked for; nothing is served as root after a failure. Users and
//! groups are those of `/etc/passwd` and `/etc/group`; others can be given as numbers.

use std::fs::read_to_string;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::identifier::quoted;

/// Whom to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    shown: String,
    uid: u32,
    gid: u32,
    /// With the primary one, ascending.
    groups: Vec<u32>,
}

impl Account {
    /// `name` or `name:group`, each of which may be a number.
    pub(super) fn find(text: &str) -> Result<Self, UserError> {
        let read = |path: &'static str| {
            read_to_string(path).map_err(|source| UserError::Files { path, source })
        };
        Self::find_in(text, &read("/etc/passwd")?, &read("/etc/group")?)
    }

    fn find_in(text: &str, passwd: &str, groups: &str) -> Result<Self, UserError> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let entries = || passwd.lines().map(fields);
        let known = entries()
            .find(|entry| entry.first() == Some(&user))
            .or_else(|| entries().find(|entry| entry.get(2) == Some(&user)));
        let name = known.as_ref().and_then(|entry| entry.first().copied());
        let number = |entry: &Vec<&str>, place: usize| entry.get(place)?.parse().ok();
        let uid = known
            .as_ref()
            .map_or_else(|| user.parse().ok(), |entry| number(entry, 2));
        let uid = uid.ok_or_else(|| UserError::NoUser(quoted(user)))?;
        let gid = match group {
            Some(group) => groups
                .lines()
                .map(fields)
                .find(|entry| entry.first() == Some(&group))
                .map_or_else(|| group.parse().ok(), |entry| number(&entry, 2))
                .ok_or_else(|| UserError::NoGroup(quoted(group)))?,
            None => known
                .as_ref()
                .and_then(|entry| number(entry, 3))
                .ok_or_else(|| UserError::NoUser(quoted(user)))?,
        };
        if uid == 0 {
            return Err(UserError::Root);
        }
        let is_member = |entry: &Vec<&str>| {
            let mut members = entry.get(3).unwrap_or(&"").split(',');
            members.any(|member| Some(member) == name)
        };
        let mut all: Vec<u32> = groups
            .lines()
            .map(fields)
            .filter(is_member)
            .filter_map(|entry| number(&entry, 2))
            .chain([gid])
            .collect();
        all.sort_unstable();
        all.dedup();
        Ok(Self {
            shown: text.to_owned(),
            uid,
            gid,
            groups: all,
        })
    }

    /// Becomes this user, for good. Nothing to do when the process is this user already.
    pub(super) fn assume(&self) -> Result<(), UserError> {
        if Standing::read()?.is(self) {
            return Ok(());
        }
        if !geteuid().is_root() {
            return Err(UserError::NotRoot(self.shown.clone()));
        }
        let threads = std::fs::read_dir("/proc/self/task").map_err(UserError::Unknown)?;
        let threads = threads.count();
        if threads != 1 {
            return Err(UserError::Threads(threads));
        }
        let groups: Vec<Gid> = self.groups.iter().map(|id| Gid::from_raw(*id)).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        set_thread_groups(&groups)
            .and_then(|()| set_thread_res_gid(gid, gid, gid))
            .and_then(|()| set_thread_res_uid(uid, uid, uid))
            .map_err(|error| UserError::Refused(error.into()))?;
        let way_back = set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).is_ok();
        if way_back || !Standing::read()?.is(self) {
            return Err(UserError::Incomplete);
        }
        Ok(())
    }

    /// Refuses a state directory that this user, who we are, cannot work in.
    pub(super) fn check_state(&self, path: &Path) -> Result<(), UserError> {
        let all = Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(CWD, path, all, AtFlags::EACCESS) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(UserError::State {
                path: path.to_owned(),
                user: self.shown.clone(),
                source: error.into(),
            }),
        }
    }
}

fn fields(line: &str) -> Vec<&str> {
    line.split(':').collect()
}

/// Who this thread is, as the kernel says.
#[derive(Debug, Default)]
struct Standing {
    /// Real, effective, saved, and for files.
    uids: Vec<u32>,
    gids: Vec<u32>,
    groups: Vec<u32>,
    has_capabilities: bool,
}

impl Standing {
    fn read() -> Result<Self, UserError> {
        let status = read_to_string("/proc/thread-self/status").map_err(UserError::Unknown)?;
        Ok(Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let value = |name: &str| {
            let mut lines = status.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        };
        let numbers = |name: &str| {
            let words = value(name).unwrap_or_default().split_ascii_whitespace();
            words.filter_map(|word| word.parse().ok()).collect()
        };
        let mut groups: Vec<u32> = numbers("Groups");
        groups.sort_unstable();
        let some = |name: &&str| value(name).is_none_or(|set| set.trim().chars().any(|c| c != '0'));
        Self {
            uids: numbers("Uid"),
            gids: numbers("Gid"),
            groups,
            has_capabilities: ["CapPrm", "CapEff", "CapAmb"].iter().any(some),
        }
    }

    fn is(&self, account: &Account) -> bool {
        self.uids == [account.uid; 4]
            && self.gids == [account.gid; 4]
            && self.groups == account.groups
            && !self.has_capabilities
    }
}

/// Why the process does not go on as another user.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The files that name users cannot be read.
    #[error("could not read `{path}`")]
    Files {
        /// Which one.
        path: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// Nobody has that name, or a number was given without a group.
    #[error("there is no user `{0}` in `/etc/passwd`")]
    NoUser(String),
    /// No group has that name.
    #[error("there is no group `{0}` in `/etc/group`")]
    NoGroup(String),
    /// Root is no ordinary user.
    #[error("the user to go on as is root")]
    Root,
    /// Only root can become somebody else.
    #[error("only root can go on as the user `{0}`")]
    NotRoot(String),
    /// Threads would keep their rights.
    #[error("the process has {0} threads already, and each would keep its rights")]
    Threads(usize),
    /// The kernel does not say who we are.
    #[error("could not read in /proc who this process is")]
    Unknown(#[source] io::Error),
    /// The kernel does not let us.
    #[error("could not change to the user")]
    Refused(#[source] io::Error),
    /// Some right is left.
    #[error("after the change to the user some right of root's is left")]
    Incomplete,
    /// The user cannot read or write the state directory.
    #[error("the user `{user}` cannot work in `{}`", path.display())]
    State {
        /// The directory.
        path: PathBuf,
        /// Who.
        user: String,
        /// Why not.
        source: io::Error,
    },
}

impl UserError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoUser(_) => {
                Some("make it with `useradd --system`, or give numbers: `1000:1000`".to_owned())
            }
            Self::NotRoot(_) => Some(
                "start as root, or leave the user out: the server runs as whoever starts it"
                    .to_owned(),
            ),
            Self::Root => Some("leave the user out to go on as root".to_owned()),
            Self::State { path, user, .. } => {
                let user = user.split(':').next().unwrap_or_default();
                Some(format!(
                    "give it all of it: `chown -R {user}: {}`; directories above need `x`",
                    path.display()
                ))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str =
        "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/:/bin/false\nodd\n7:x:8:9::/:\n";
    const GROUP: &str =
        "root:x:0:\nweb:x:34:\ncerts:x:50:other,web\nmore:x:40:web\nweb2:x:51:web2\n";

    #[test]
    fn an_account_is_a_name_or_a_number_with_the_groups_of_the_name() {
        for (text, expected) in [
            ("web", Some((33, 34, vec![34, 40, 50]))),
            ("33", Some((33, 34, vec![34, 40, 50]))),
            ("web:certs", Some((33, 50, vec![40, 50]))),
            ("web:99", Some((33, 99, vec![40, 50, 99]))),
            ("1234:99", Some((1234, 99, vec![99]))),
            // A name that looks like a number is a name first.
            ("7", Some((8, 9, vec![9]))),
            // bad values
            ("", None),
            ("nobody", None),
            ("odd", None),
            ("1234", None),
            ("web:none", None),
            ("web:", None),
            (":web", None),
            ("-1:1", None),
            ("99999999999:1", None),
            ("root", None),
            ("0:34", None),
        ] {
            let found = Account::find_in(text, PASSWD, GROUP).ok();
            let found = found.map(|account| (account.uid, account.gid, account.groups));
            assert_eq!(found, expected, "{text:?}");
        }
    }

    #[test]
    fn a_right_that_is_left_is_seen() {
        let account = Account::find_in("web", PASSWD, GROUP).unwrap();
        let status = |uid: &str, groups: &str, capability: &str| {
            let none = "0000000000000000";
            Standing::parse(&format!(
                "Uid:\t{uid}\nGid:\t34\t34\t34\t34\nGroups:\t{groups} \nCapPrm:\t{none}\n\
                 CapEff:\t{none}\nCapAmb:\t{capability}\n"
            ))
        };
        let (uid, groups, none) = ("33\t33\t33\t33", "50 40 34", "0000000000000000");
        assert!(status(uid, groups, none).is(&account));
        assert!(!status("33\t33\t0\t33", groups, none).is(&account));
        assert!(!status(uid, "50 40 34 0", none).is(&account));
        assert!(!status(uid, groups, "0000000000000400").is(&account));
        assert!(!Standing::parse("").is(&account));
    }
}

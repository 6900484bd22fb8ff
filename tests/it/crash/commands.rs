//! The commands that make and change a CA, killed and failed at each system call:
//! what was usable still is, and running the command again puts all right.

use std::path::Path;

use certmint::pki::{Authority, CaError, crl};
use certmint::store::Store;

use super::{Sweep, scratch};
use crate::store::{id, open};
use crate::support::{Run, TestEnv, tool};

/// The state directory of one copy.
fn state(dir: &Path) -> std::path::PathBuf {
    dir.join("state")
}

fn certmint(env: &TestEnv, dir: &Path, args: &[&str]) -> Run {
    env.certmint(args).env("CERTMINT_HOME", state(dir))
}

/// Runs to the end; whatever it says is the error.
fn succeeds(env: &TestEnv, dir: &Path, args: &[&str]) -> Result<(), String> {
    let out = certmint(env, dir, args).run();
    if out.status().success() {
        return Ok(());
    }
    Err(format!("{args:?}: {}", out.stderr()))
}

/// A CA with a certificate for `old.test`.
fn prepared(env: &TestEnv) -> tempfile::TempDir {
    let dir = scratch();
    for args in [["ca", "init"].as_slice(), &["ca", "issue", "old.test"]] {
        succeeds(env, dir.path(), args).unwrap();
    }
    dir
}

/// Whether a certificate is there, and whole.
fn usable(dir: &Path, name: &str) -> Result<Option<u64>, String> {
    let stored = open(&state(dir))
        .load(&id(name))
        .map_err(|e| e.to_string())?;
    match stored {
        Some(stored) if !stored.damage.is_empty() => Err(format!("{:?}", stored.damage)),
        stored => Ok(stored.map(|stored| stored.generation)),
    }
}

/// The CA and what it had issued are as good as before.
fn undisturbed(dir: &Path) -> Result<(), String> {
    Authority::open(&state(dir)).map_err(|e| e.to_string())?;
    match usable(dir, "old.test")? {
        Some(_) => Ok(()),
        None => Err("old.test is gone".to_owned()),
    }
}

/// What is current is in the inventory.
fn recorded(dir: &Path, name: &str) -> Result<(), String> {
    let stored = open(&state(dir))
        .load(&id(name))
        .map_err(|e| e.to_string())?;
    let stored = stored.ok_or_else(|| format!("{name} is not there"))?;
    let ledger = Authority::open(&state(dir))
        .map_err(|e| e.to_string())?
        .ledger();
    let entry = ledger
        .map_err(|e| e.to_string())?
        .by_serial(stored.bundle.leaf().serial());
    match entry {
        Ok(Some(_)) => Ok(()),
        other => Err(format!("{name} is not in the inventory: {other:?}")),
    }
}

type Check<'a> = &'a (dyn Fn(&Path) -> Result<(), String> + Sync);

fn sweep(
    label: &str,
    env: &TestEnv,
    prepared: &Path,
    args: &[&str],
    check: Check<'_>,
    heal: Check<'_>,
) {
    let command = |dir: &Path| certmint(env, dir, args);
    let sweep = Sweep {
        prepared,
        command: &command,
        check,
        heal,
    };
    let table = sweep.run();
    table.keep(label);
    table.assert_clean();
    stop_short(&sweep);
}

/// Lets no file grow beyond a limit, so that writes stop in the middle: with the
/// signal the process dies there, without it the write fails.
fn stop_short(sweep: &Sweep<'_>) {
    if tool("prlimit").is_none() {
        return;
    }
    for script in ["exec \"$@\"", "trap '' XFSZ; exec \"$@\""] {
        for limit in [0, 1, 100, 300, 700, 5_000, 30_000] {
            let copy = sweep.copy();
            let _ = (sweep.command)(copy.path())
                .under(["prlimit", &format!("--fsize={limit}"), "--"])
                .under(["sh", "-c", script, "sh"])
                .run();
            let looked = (sweep.check)(copy.path()).and_then(|()| (sweep.heal)(copy.path()));
            assert_eq!(looked, Ok(()), "limit {limit}, {script}");
        }
    }
}

#[test]
fn ca_init_leaves_no_ca_or_a_whole_one_and_the_next_init_is_not_blocked() {
    if tool("strace").is_none() {
        return;
    }
    let env = TestEnv::new();
    let empty = scratch();
    std::fs::write(empty.path().join("for-a-copy"), "").unwrap();
    let check = |dir: &Path| match Authority::open(&state(dir)) {
        Ok(_) | Err(CaError::NotInitialised { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    };
    let heal = |dir: &Path| {
        succeeds(&env, dir, &["ca", "init", "--if-missing"])?;
        succeeds(&env, dir, &["ca", "issue", "new.test"])?;
        recorded(dir, "new.test")
    };
    sweep(
        "ca-init",
        &env,
        empty.path(),
        &["ca", "init"],
        &check,
        &heal,
    );
}

#[test]
fn ca_issue_leaves_all_else_alone_and_nothing_half_made() {
    if tool("strace").is_none() {
        return;
    }
    let env = TestEnv::new();
    let prepared = prepared(&env);
    let check = |dir: &Path| {
        undisturbed(dir)?;
        // It may be there before `current` names it: then it can be used already.
        let found = open(&state(dir)).load(&id("new.test"));
        found.map(|_| ()).map_err(|e| e.to_string())
    };
    let heal = |dir: &Path| {
        succeeds(&env, dir, &["ca", "issue", "new.test"])?;
        recorded(dir, "new.test")
    };
    sweep(
        "ca-issue",
        &env,
        prepared.path(),
        &["ca", "issue", "new.test"],
        &check,
        &heal,
    );
}

#[test]
fn renew_leaves_the_old_certificate_or_the_new_one() {
    if tool("strace").is_none() {
        return;
    }
    let env = TestEnv::new();
    let prepared = prepared(&env);
    let check = |dir: &Path| {
        undisturbed(dir)?;
        match usable(dir, "old.test")? {
            Some(1 | 2) => Ok(()),
            other => Err(format!("generation {other:?}")),
        }
    };
    let heal = |dir: &Path| {
        succeeds(&env, dir, &["renew"])?;
        succeeds(&env, dir, &["renew", "--force"])?;
        recorded(dir, "old.test")
    };
    sweep(
        "renew",
        &env,
        prepared.path(),
        &["renew", "--force"],
        &check,
        &heal,
    );
}

#[test]
fn ca_revoke_leaves_a_valid_crl_and_its_number_never_goes_back() {
    if tool("strace").is_none() {
        return;
    }
    let env = TestEnv::new();
    let prepared = prepared(&env);
    succeeds(&env, prepared.path(), &["ca", "crl"]).unwrap();
    let number = |dir: &Path| -> Result<(u64, usize), String> {
        let authority = Authority::open(&state(dir)).map_err(|e| e.to_string())?;
        let active = authority.active();
        let status = crl::read_status(authority.paths().dir(), &active.name, &active.certificate);
        let status = status.map_err(|e| e.to_string())?;
        Ok(status.map_or((0, 0), |status| (status.number, status.revoked)))
    };
    let check = |dir: &Path| -> Result<(), String> {
        undisturbed(dir)?;
        match number(dir)? {
            (1.., _) => Ok(()),
            none => Err(format!("crl number and entries {none:?}")),
        }
    };
    let heal = |dir: &Path| -> Result<(), String> {
        let (before, _) = number(dir)?;
        succeeds(&env, dir, &["ca", "revoke", "old.test"])?;
        match number(dir)? {
            (after, 1) if after > before => Ok(()),
            other => Err(format!("crl number and entries {other:?}, before {before}")),
        }
    };
    sweep(
        "ca-revoke",
        &env,
        prepared.path(),
        &["ca", "revoke", "old.test"],
        &check,
        &heal,
    );
}

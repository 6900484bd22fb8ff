//! `certmint serve-custom`: files that somebody else keeps fresh, however they
//! replace them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use certmint::bundle::Certificate;

use crate::support::client::Client;
use crate::support::{Run, Server, TestEnv, faketime, say, tool};

const REPLACED: &str = "certificate replaced";

/// A certificate for `localhost` with its key.
pub(crate) struct Pair {
    cert: Vec<u8>,
    key: Vec<u8>,
    pub(crate) serial: String,
}

/// `count` pairs of one CA, and its root.
pub(crate) fn pairs(env: &TestEnv, count: usize) -> (Vec<Pair>, PathBuf) {
    let _ = env.certmint(["ca", "init"]).run().success();
    let list: String = (0..count)
        .map(|n| format!("p{n}.test,localhost\n"))
        .collect();
    let list = env.write("list", list);
    let _ = env
        .certmint(["ca", "issue", "--from", list.to_str().unwrap()])
        .run()
        .success();
    let pair = |n| {
        let dir = env.state().join(format!("certs/p{n}.test/current"));
        let cert = fs::read(dir.join("fullchain.pem")).unwrap();
        let leaf = fs::read(dir.join("cert.pem")).unwrap();
        let leaf = pem::parse(leaf).unwrap();
        let leaf = Certificate::from_der(leaf.contents()).unwrap();
        Pair {
            cert,
            key: fs::read(dir.join("privkey.pem")).unwrap(),
            serial: leaf.serial_hex(),
        }
    };
    let root = env.state().join("ca/root.pem");
    ((0..count).map(pair).collect(), root)
}

/// `cert.pem` and `key.pem` in a directory of their own.
pub(crate) struct Files {
    cert: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new(env: &TestEnv, pair: &Pair) -> Self {
        let dir = env.path("tls");
        fs::create_dir(&dir).unwrap();
        let files = Self {
            cert: dir.join("cert.pem"),
            key: dir.join("key.pem"),
        };
        files.rewrite(pair);
        fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
        files
    }

    /// In place: for a moment key and certificate are those of two pairs.
    fn rewrite(&self, pair: &Pair) {
        fs::write(&self.key, &pair.key).unwrap();
        fs::write(&self.cert, &pair.cert).unwrap();
    }

    /// By renaming whole files over the old ones, one after the other.
    fn rename(&self, pair: &Pair) {
        for (path, bytes) in [(&self.cert, &pair.cert), (&self.key, &pair.key)] {
            let fresh = path.with_extension("new");
            fs::write(&fresh, bytes).unwrap();
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(fresh, path).unwrap();
        }
    }

    pub(crate) fn serve(&self, env: &TestEnv) -> Run {
        let args = ["serve-custom", "--https", "127.0.0.1:0"];
        env.certmint(args)
            .args([Path::new("--cert"), &self.cert])
            .args([Path::new("--key"), &self.key])
    }
}

/// A directory as the kubelet mounts a Secret.
pub(crate) struct Mount {
    dir: PathBuf,
    pub(crate) files: Files,
}

impl Mount {
    pub(crate) fn new(env: &TestEnv, pair: &Pair) -> Self {
        let dir = env.path("secret");
        fs::create_dir(&dir).unwrap();
        let mount = Self {
            files: Files {
                cert: dir.join("tls.crt"),
                key: dir.join("tls.key"),
            },
            dir,
        };
        mount.swap(0, pair);
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), mount.dir.join(name)).unwrap();
        }
        mount
    }

    /// A new directory, one rename of a link, and the old directory is removed.
    pub(crate) fn swap(&self, n: usize, pair: &Pair) {
        let name = format!("..2026_{n}");
        let fresh = self.dir.join(&name);
        fs::create_dir(&fresh).unwrap();
        for (file, bytes) in [("tls.crt", &pair.cert), ("tls.key", &pair.key)] {
            fs::write(fresh.join(file), bytes).unwrap();
            let mode = fs::Permissions::from_mode(0o640);
            fs::set_permissions(fresh.join(file), mode).unwrap();
        }
        let data = self.dir.join("..data");
        let old = fs::read_link(&data).ok();
        symlink(&name, self.dir.join("..data_tmp")).unwrap();
        fs::rename(self.dir.join("..data_tmp"), &data).unwrap();
        if let Some(old) = old {
            fs::remove_dir_all(self.dir.join(old)).unwrap();
        }
    }
}

/// What clients saw that connected again and again meanwhile.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) handshakes: AtomicUsize,
    pub(crate) failures: AtomicUsize,
    stop: AtomicBool,
}

/// Runs `work` while `count` clients connect and verify without pause.
///
/// Each client makes at least one connection before, and one after.
pub(crate) fn hammered(
    client: &Client,
    count: usize,
    known: &BTreeSet<&str>,
    work: impl FnOnce(),
) -> Seen {
    let seen = Seen::default();
    let started = std::sync::Barrier::new(count + 1);
    thread::scope(|scope| {
        for _ in 0..count {
            scope.spawn(|| {
                let mut waiting = Some(&started);
                loop {
                    let last = seen.stop.load(Ordering::SeqCst);
                    match client.connect() {
                        Ok(connection) if known.contains(connection.serial().as_str()) => {}
                        _ => {
                            seen.failures.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    seen.handshakes.fetch_add(1, Ordering::SeqCst);
                    if let Some(started) = waiting.take() {
                        started.wait();
                    }
                    if last {
                        return;
                    }
                }
            });
        }
        started.wait();
        work();
        seen.stop.store(true, Ordering::SeqCst);
    });
    seen
}

pub(crate) fn start(run: Run, root: &Path) -> (Server, Client) {
    let mut server = run.spawn();
    let address = server.await_address("serving https://");
    let client = Client::new(root, address, "localhost");
    (server, client)
}

/// Waits for the swap to `pair`, which the next connection must see.
#[track_caller]
fn await_swap(server: &mut Server, client: &Client, pair: &Pair) {
    loop {
        let line = server.await_line(REPLACED);
        if line.contains(&pair.serial) {
            break;
        }
    }
    assert_eq!(client.serial(), pair.serial);
}

#[test]
fn pairs_renamed_and_rewritten_in_place_are_never_mixed() {
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 51);
    let known: BTreeSet<&str> = pairs.iter().map(|pair| pair.serial.as_str()).collect();
    let files = Files::new(&env, &pairs[0]);
    let (mut server, client) = start(files.serve(&env), &root);
    assert_eq!(client.serial(), pairs[0].serial);
    let mut open = client.connect().unwrap();
    let seen = hammered(&client, 2, &known, || {
        for (n, pair) in pairs.iter().enumerate().skip(1) {
            if n % 2 == 0 {
                files.rewrite(pair);
            } else {
                files.rename(pair);
            }
            await_swap(&mut server, &client, pair);
        }
    });
    assert_eq!(seen.failures.into_inner(), 0);
    assert!(seen.handshakes.into_inner() > 50);
    assert!(
        open.get("/").starts_with("HTTP/1.1 200"),
        "the first connection lives on"
    );
    // A pair that was half replaced for a moment is nobody's concern.
    let out = server.terminate().success();
    assert!(!out.stderr().contains("WARN"), "{}", out.stderr());
}

/// 100 ms on an idle machine; this one may be busy: what counts here is that it does not take until files are looked at without news, 10 seconds.
#[test]
fn a_new_leaf_is_on_the_wire_soon_after_the_rename() {
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 6);
    let files = Files::new(&env, &pairs[0]);
    let (server, client) = start(files.serve(&env), &root);
    let mut slowest = Duration::ZERO;
    for pair in &pairs[1..] {
        files.rename(pair);
        let renamed = Instant::now();
        while client.serial() != pair.serial {
            assert!(
                renamed.elapsed() < Duration::from_secs(5),
                "{:?}",
                renamed.elapsed()
            );
        }
        slowest = slowest.max(renamed.elapsed());
    }
    say(&format!("the slowest swap took {slowest:?}"));
    let _ = server.terminate().success();
}

#[test]
fn an_intermediate_that_comes_after_its_leaf_is_sent_as_well() {
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 2);
    let files = Files::new(&env, &pairs[0]);
    let (mut server, client) = start(files.serve(&env), &root);
    let whole = pem::parse_many(&pairs[1].cert).unwrap();
    fs::write(&files.key, &pairs[1].key).unwrap();
    fs::write(&files.cert, pem::encode(&whole[0])).unwrap();
    server.await_line(REPLACED);
    assert!(
        client.connect().is_err(),
        "nothing leads from the leaf to the root"
    );
    fs::write(&files.cert, &pairs[1].cert).unwrap();
    await_swap(&mut server, &client, &pairs[1]);
    let _ = server.terminate().success();
}

#[test]
fn two_hundred_clients_notice_nothing_of_twenty_kubernetes_swaps() {
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 21);
    let known: BTreeSet<&str> = pairs.iter().map(|pair| pair.serial.as_str()).collect();
    let mount = Mount::new(&env, &pairs[0]);
    let (mut server, client) = start(mount.files.serve(&env), &root);
    let seen = hammered(&client, 200, &known, || {
        for (n, pair) in pairs.iter().enumerate().skip(1) {
            mount.swap(n, pair);
            await_swap(&mut server, &client, pair);
        }
    });
    assert_eq!(seen.failures.into_inner(), 0);
    assert!(seen.handshakes.into_inner() >= 400);
    let out = server.terminate().success();
    assert!(!out.stderr().contains("WARN"), "{}", out.stderr());
}

#[test]
fn what_cannot_be_used_keeps_the_old_with_a_warning_until_it_can() {
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 5);
    let [old, second, third, fourth, fifth] = &pairs[..] else {
        panic!("five pairs")
    };
    let files = Files::new(&env, old);
    let (mut server, client) = start(files.serve(&env), &root);
    let kept = |server: &mut Server, pair: &Pair, words: &str| {
        let line = server.await_line("serving on");
        assert!(line.contains("WARN") && line.contains(words), "{line}");
        assert_eq!(client.serial(), pair.serial);
    };
    let cert = files.cert.to_str().unwrap();
    fs::write(&files.cert, "garbage").unwrap();
    kept(&mut server, old, cert);
    files.rename(second);
    await_swap(&mut server, &client, second);
    fs::remove_file(&files.key).unwrap();
    kept(&mut server, second, files.key.to_str().unwrap());
    files.rename(third);
    await_swap(&mut server, &client, third);
    // The certificate alone: its key may follow, or the certificate go back.
    fs::write(&files.cert, &fourth.cert).unwrap();
    kept(&mut server, third, "key");
    fs::write(&files.key, &fourth.key).unwrap();
    await_swap(&mut server, &client, fourth);
    fs::remove_dir_all(env.path("tls")).unwrap();
    kept(&mut server, fourth, cert);
    fs::create_dir(env.path("tls")).unwrap();
    files.rename(fifth);
    await_swap(&mut server, &client, fifth);
    let _ = server.terminate().success();
}

#[test]
fn the_key_of_another_certificate_is_refused_with_both_names() {
    let env = TestEnv::new();
    let (pairs, _) = pairs(&env, 2);
    let files = Files::new(&env, &pairs[0]);
    fs::write(&files.key, &pairs[1].key).unwrap();
    let out = files.serve(&env).run().code(1);
    let said = out.stderr();
    for path in [&files.cert, &files.key] {
        assert!(said.contains(&format!("`{}`", path.display())), "{said}");
    }
    assert!(
        said.contains("hint: ") && !said.contains("serving http"),
        "{said}"
    );
    for (cert, key, words) in [
        ("missing.pem", "tls/key.pem", "missing.pem"),
        ("tls/cert.pem", "missing.pem", "missing.pem"),
        ("tls/key.pem", "tls/key.pem", "tls/key.pem"),
        ("tls/cert.pem", "tls/cert.pem", "tls/cert.pem"),
        ("tls", "tls/key.pem", "tls"),
    ] {
        let files = Files {
            cert: env.path(cert),
            key: env.path(key),
        };
        let out = files.serve(&env).run().code(1);
        assert!(out.stderr().contains(words), "{}", out.stderr());
        assert!(!out.stderr().contains("serving http"), "{}", out.stderr());
    }
}

#[test]
fn an_encrypted_key_opens_with_its_passphrase_also_after_a_swap() {
    let Some(openssl) = tool("openssl") else {
        return;
    };
    let env = TestEnv::new();
    let (mut pairs, root) = pairs(&env, 2);
    let secret = env.write("secret", "correct horse\n");
    for pair in &mut pairs {
        let key = env.write("plain.pem", &pair.key);
        let args = ["pkcs8", "-topk8", "-passout", "pass:correct horse", "-in"];
        let out = env.command(&openssl, args).arg(key).run().success();
        assert!(out.stdout().contains("ENCRYPTED"));
        pair.key = out.stdout().into();
    }
    let files = Files::new(&env, &pairs[0]);
    let out = files.serve(&env).run();
    let out = out.code(2);
    assert!(
        out.stderr().contains("--passphrase-file"),
        "{}",
        out.stderr()
    );
    let wrong = env.write("wrong", "battery staple\n");
    let unlock = |file: &Path| files.serve(&env).arg("--passphrase-file").arg(file);
    let out = unlock(&wrong).run().code(1);
    assert!(out.stderr().contains("key.pem"), "{}", out.stderr());
    let (mut server, client) = start(unlock(&secret), &root);
    assert_eq!(client.serial(), pairs[0].serial);
    files.rename(&pairs[1]);
    await_swap(&mut server, &client, &pairs[1]);
    let out = server.terminate().success();
    assert!(!out.stderr().contains("correct horse"));
}

#[test]
fn a_readable_key_and_an_expired_certificate_are_warned_of_and_served() {
    let env = TestEnv::new();
    let (pairs, root) = pairs(&env, 1);
    let files = Files::new(&env, &pairs[0]);
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o644)).unwrap();
    let mut server = files.serve(&env).spawn();
    let line = server.await_line("can be read by every user");
    assert!(
        line.contains("WARN") && line.contains("chmod 600"),
        "{line}"
    );
    let client = Client::new(&root, server.await_address("serving https://"), "localhost");
    assert_eq!(client.serial(), pairs[0].serial);
    let _ = server.terminate().success();

    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o600)).unwrap();
    for (moved, words) in [("+91d", "has expired"), ("-30d", "is not valid yet")] {
        let Some(moved) = faketime(moved) else { return };
        let mut server = files.serve(&env).under(moved).spawn();
        let address = server.await_address("serving https://");
        let line = server.await_line(words);
        assert!(line.contains("ERROR"), "{line}");
        // A client with the right time is served all the same.
        assert!(Client::new(&root, address, "localhost").connect().is_ok());
        let _ = server.terminate().success();
    }
}

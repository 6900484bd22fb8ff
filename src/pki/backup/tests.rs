//! Archives made, altered and put back.

use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tar::{EntryType, Header};

use super::*;
use crate::bundle::{CertBundle, Certificate};
use crate::clock::{Duration, ManualClock};
use crate::identifier::Identifier;
use crate::issuer::IssuerRef;
use crate::issuer::{Profile, Usage};
use crate::key::{KeyType, PrivateKey};
use crate::pki::ledger::tests::{leaf, now};
use crate::pki::ledger::{Filter, Reason};
use crate::store::file::FileStore;
use crate::store::{Record, Store as _};

/// A state directory with a CA and one certificate of two generations.
struct Scene {
    dir: tempfile::TempDir,
    ledger: Ledger,
}

impl Scene {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        for (name, text) in [
            ("ca/ca.json", "{}"),
            ("ca/root/R1/cert.pem", "root"),
            ("ca/root/R1/key.pem", "secret"),
            ("ca/intermediate/I1/cert.pem", "intermediate"),
            ("ca/crl/I1.crl", "list"),
            ("ca/root.pem", "root"),
            ("ca/.staging/left", "by a crash"),
            ("certs/lost+found/x", "not ours"),
        ] {
            let path = home.join(name);
            disk::create_dir(path.parent().unwrap()).unwrap();
            disk::write_new(&path, text.as_bytes(), 0o644).unwrap();
        }
        let ledger = Ledger::open(&home.join(LEDGER)).unwrap();
        ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
        ledger.next_crl_number("I1").unwrap();
        let scene = Self { dir, ledger };
        renew(&scene.home(), "a.test");
        renew(&scene.home(), "a.test");
        scene
    }

    fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    fn other(&self) -> PathBuf {
        self.dir.path().join("other")
    }

    fn archive(&self) -> PathBuf {
        self.dir.path().join("ca.tar")
    }

    fn create(&self) -> Result<Contents, BackupError> {
        create(&self.home(), &self.archive(), &self.ledger, now())
    }

    /// The archive's entries, after `change` had its way with them.
    fn altered(&self, change: impl FnOnce(&mut Vec<Entry>)) -> PathBuf {
        let mut entries = read_entries(&self.archive());
        change(&mut entries);
        let path = self.dir.path().join("altered.tar");
        disk::remove_file(&path).unwrap();
        disk::write_new(&path, &tar_of(&entries), 0o600).unwrap();
        path
    }
}

/// Issues the next generation, as a renewal does.
fn renew(home: &Path, name: &str) {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    let params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let certificate = Certificate::from_der(certificate.der()).unwrap();
    let bundle = CertBundle::new(key, vec![certificate]).unwrap();
    let names = vec![Identifier::parse(name).unwrap()];
    let id = CertId::for_name(&names[0]);
    let record = Record {
        profile: Profile {
            names,
            key_type: KeyType::P256,
            usage: Usage::Server,
            lifetime_seconds: None,
        },
        issuer: IssuerRef::Private,
        obtained: None,
        reuse_key: false,
        exports: Vec::new(),
        deploy_hook: None,
    };
    let store = FileStore::open(home, Arc::new(ManualClock::new(now()))).unwrap();
    let _lock = store.lock(id.as_str()).unwrap();
    store.commit(&id, &bundle, &record).unwrap();
}

/// One entry of an archive as it stands in the file.
#[derive(Clone)]
struct Entry {
    kind: EntryType,
    name: Vec<u8>,
    target: Vec<u8>,
    data: Vec<u8>,
}

fn file(name: &str, data: &str) -> Entry {
    Entry {
        kind: EntryType::Regular,
        name: name.into(),
        target: Vec::new(),
        data: data.into(),
    }
}

fn link(name: &str, target: &str) -> Entry {
    Entry {
        kind: EntryType::Symlink,
        target: target.into(),
        ..file(name, "")
    }
}

fn read_entries(path: &Path) -> Vec<Entry> {
    use std::io::Read as _;
    let mut archive = tar::Archive::new(std::fs::File::open(path).unwrap());
    let entries = archive.entries().unwrap().raw(true);
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let mut data = Vec::new();
            entry.read_to_end(&mut data).unwrap();
            let header = entry.header();
            Entry {
                kind: header.entry_type(),
                name: header.path_bytes().into_owned(),
                target: header.link_name_bytes().unwrap_or_default().into_owned(),
                data,
            }
        })
        .collect()
}

/// Writes the names into the headers as they are, which the builder would refuse.
fn tar_of(entries: &[Entry]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for entry in entries {
        let mut header = Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..entry.name.len()].copy_from_slice(&entry.name);
        gnu.linkname[..entry.target.len()].copy_from_slice(&entry.target);
        header.set_entry_type(entry.kind);
        header.set_mode(0o4777);
        header.set_size(entry.data.len() as u64);
        header.set_cksum();
        builder.append(&header, entry.data.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// Every file below `dir` with its contents, and every link with its target, but
/// for the inventory.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_symlink() {
                let target = path.read_link().unwrap();
                found.insert(name, target.to_str().unwrap().into());
            } else if kind.is_dir() {
                open.push(path);
            } else if !name.starts_with(LEDGER) {
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().permissions().mode() & 0o7777
}

/// Changes the manifest, which is the last entry.
fn edit_manifest(entries: &mut [Entry], change: impl FnOnce(&mut serde_json::Value)) {
    let manifest = entries.last_mut().unwrap();
    let mut value = serde_json::from_slice(&manifest.data).unwrap();
    change(&mut value);
    manifest.data = serde_json::to_vec(&value).unwrap();
}

/// Lists an entry in a manifest as what it is.
fn list(manifest: &mut serde_json::Value, entry: &Entry) {
    let name = String::from_utf8(entry.name.clone()).unwrap();
    if entry.kind == EntryType::Symlink {
        manifest["links"][name] = String::from_utf8(entry.target.clone()).unwrap().into();
    } else {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &entry.data);
        let sha256 = data_encoding::HEXLOWER.encode(hash.as_ref());
        manifest["files"][name] = serde_json::json!({ "sha256": sha256, "size": entry.data.len() });
    }
}

#[test]
fn what_was_copied_comes_back_whole_and_private() {
    let scene = Scene::new();
    let contents = scene.create().unwrap();
    assert_eq!((contents.certificates, contents.made_at), (1, now()));
    assert_eq!(mode(&scene.archive()), 0o600);
    let other = scene.other();
    let restored = restore(&scene.archive(), &other, false, now()).unwrap();
    assert_eq!(
        restored,
        Restored {
            contents,
            moved: None
        }
    );

    let mut expected = tree(&scene.home());
    let left_out = |name: &String| {
        name.contains("/.") || name.starts_with("certs/lost+found") || name.starts_with("locks/")
    };
    expected.retain(|name, _| !left_out(name));
    let mut found = tree(&other);
    found.retain(|name, _| !name.starts_with("locks/"));
    assert_eq!(found, expected);
    assert_eq!(found["certs/a.test/current"], b"2");
    for name in expected.keys().filter(|name| !name.ends_with(CURRENT)) {
        assert_eq!(mode(&other.join(name)), 0o600, "{name}");
    }
    for dir in ["ca", "ca/root/R1", "certs", "certs/a.test/1"] {
        assert_eq!(mode(&other.join(dir)), 0o700, "{dir}");
    }
    assert_eq!(mode(&other.join(LEDGER)), 0o600);
    assert!(other.join(".restore").symlink_metadata().is_err());

    let store = FileStore::open(&other, Arc::new(ManualClock::new(now()))).unwrap();
    let loaded = store.load(&"a.test".parse().unwrap()).unwrap().unwrap();
    assert_eq!((loaded.generation, loaded.damage.len()), (2, 0));
    let ledger = Ledger::open(&other.join(LEDGER)).unwrap();
    assert!(
        ledger
            .by_serial(&leaf(1, "a.test", 1).serial)
            .unwrap()
            .is_some()
    );
    // The original may have signed some since.
    for _ in 0..100 {
        scene.ledger.next_crl_number("I1").unwrap();
    }
    let next = |ledger: &Ledger| ledger.next_crl_number("I1").unwrap();
    assert!(next(&ledger) > next(&scene.ledger));
}

#[test]
fn long_ids_fit() {
    let scene = Scene::new();
    let labels = [60, 60, 60, 19].map(|length| "a".repeat(length)).join(".");
    let name = &labels[..CertId::MAX];
    renew(&scene.home(), name);
    assert_eq!(scene.create().unwrap().certificates, 2);
    restore(&scene.archive(), &scene.other(), false, now()).unwrap();
    assert!(
        scene
            .other()
            .join(CERTS)
            .join(name)
            .join("current/privkey.pem")
            .is_file()
    );
}

#[test]
fn an_archive_is_never_overwritten_and_never_half_made() {
    let scene = Scene::new();
    disk::write_new(&scene.archive(), b"precious", 0o600).unwrap();
    assert!(matches!(scene.create(), Err(BackupError::Exists(_))));
    assert_eq!(std::fs::read(scene.archive()).unwrap(), b"precious");
    disk::remove_file(&scene.archive()).unwrap();
    symlink("/etc/passwd", scene.home().join("ca/root/R1/link.pem")).unwrap();
    assert!(matches!(scene.create(), Err(BackupError::NotRegular(_))));
    assert!(scene.archive().symlink_metadata().is_err());
    let inside = scene.home().join("ca/root/ca.tar");
    let outcome = create(&scene.home(), &inside, &scene.ledger, now());
    assert!(matches!(outcome, Err(BackupError::Inside(_))));
    let outcome = create(&scene.other(), &scene.archive(), &scene.ledger, now());
    assert!(matches!(outcome, Err(BackupError::NotInitialised(_))));
}

#[test]
fn a_ca_that_is_there_is_refused_or_moved_aside_but_never_lost() {
    let scene = Scene::new();
    scene.create().unwrap();
    let home = scene.home();
    drop(scene.ledger);
    let archive = scene.dir.path().join("ca.tar");
    disk::replace(&home.join("ca/root.pem"), b"newer", 0o644).unwrap();
    let before = tree(&home);
    let outcome = restore(&archive, &home, false, now());
    assert!(matches!(outcome, Err(BackupError::Occupied(_))));
    assert_eq!(tree(&home), before);
    for round in 1..3 {
        let moved = restore(&archive, &home, true, now())
            .unwrap()
            .moved
            .unwrap();
        assert!(moved.starts_with(home.join("backup")), "{round}");
        assert!(moved.join(LEDGER).is_file() && moved.join("certs/a.test/2").is_dir());
        let old = std::fs::read(moved.join("ca/root.pem")).unwrap();
        assert_eq!(
            old,
            if round == 1 {
                b"newer".as_slice()
            } else {
                b"root"
            }
        );
        assert_eq!(std::fs::read(home.join("ca/root.pem")).unwrap(), b"root");
    }
}

#[test]
fn hostile_archives_are_refused_and_change_nothing() {
    let scene = Scene::new();
    scene.create().unwrap();
    let good = scene.altered(|_| {});
    assert!(restore(&good, &scene.dir.path().join("good"), false, now()).is_ok());

    type Change<'a> = Box<dyn FnOnce(&mut Vec<Entry>) + 'a>;
    // Listed in the manifest, so that nothing but its own check can refuse it.
    let add = |entry: Entry| -> Change<'_> {
        Box::new(move |entries| {
            edit_manifest(entries, |manifest| list(manifest, &entry));
            entries.insert(0, entry);
        })
    };
    let named = |name: &str| add(file(name, "x"));
    let kind = |kind: EntryType| {
        add(Entry {
            kind,
            ..link("ca/root/evil", "/etc/passwd")
        })
    };
    let edit = |name: &'static str, change: fn(&mut Entry)| -> Change<'_> {
        Box::new(move |entries| {
            let found = entries
                .iter_mut()
                .find(|entry| entry.name == name.as_bytes());
            change(found.unwrap());
        })
    };
    let drop_entry = |name: &'static str| -> Change<'_> {
        Box::new(move |entries| entries.retain(|entry| entry.name != name.as_bytes()))
    };
    let table: Vec<(&str, Change<'_>)> = vec![
        ("traversal", named("../evil")),
        ("traversal below", named("ca/../../evil")),
        ("absolute", named("/tmp/evil")),
        ("dot", named("ca/./evil")),
        ("empty part", named("ca//evil")),
        ("hidden", named("ca/.evil")),
        ("backslash", named("ca/..\\evil")),
        ("elsewhere", named("evil")),
        ("locks", named("locks/ca")),
        ("bad id", named("certs/A/1/cert.pem")),
        ("bad generation", named("certs/a.test/01/cert.pem")),
        ("too deep", named("ca/a/b/c/d")),
        ("log of the inventory", named("ca/ca.sqlite-wal")),
        ("file called current", named("certs/b.test/current")),
        (
            "extra file",
            Box::new(|entries| entries.insert(0, file("ca/extra.pem", "x"))),
        ),
        (
            "twice",
            Box::new(|entries| entries.insert(1, entries[0].clone())),
        ),
        ("symlink", add(link("ca/root/evil", "/etc/passwd"))),
        ("pointer out", add(link("certs/b.test/current", "../../ca"))),
        ("pointer to nothing", add(link("certs/b.test/current", "9"))),
        ("pointer elsewhere", add(link("ca/current", "1"))),
        (
            "pointer with an id of its own",
            add(link("certs/../current", "1")),
        ),
        ("hard link", kind(EntryType::Link)),
        ("directory", kind(EntryType::Directory)),
        ("fifo", kind(EntryType::Fifo)),
        ("device", kind(EntryType::Char)),
        ("sparse", kind(EntryType::GNUSparse)),
        ("pax", kind(EntryType::XHeader)),
        ("long link", kind(EntryType::GNULongLink)),
        (
            "long name",
            add(Entry {
                kind: EntryType::GNULongName,
                ..file("n", &"a/".repeat(600))
            }),
        ),
        (
            "altered byte",
            edit("ca/root/R1/key.pem", |entry| entry.data[0] ^= 1),
        ),
        (
            "altered inventory",
            edit("ca/ca.sqlite", |entry| entry.data[5000] ^= 1),
        ),
        (
            "altered pointer",
            edit("certs/a.test/current", |entry| entry.target = b"1".to_vec()),
        ),
        (
            "shorter file",
            edit("ca/root.pem", |entry| entry.data.truncate(1)),
        ),
        ("lost file", drop_entry("ca/root.pem")),
        ("lost pointer", drop_entry("certs/a.test/current")),
        ("lost inventory", drop_entry(LEDGER)),
        ("lost manifest", drop_entry(MANIFEST)),
        (
            "two manifests",
            Box::new(|entries| entries.push(entries.last().unwrap().clone())),
        ),
        (
            "no manifest",
            edit(MANIFEST, |entry| entry.data = b"{}".to_vec()),
        ),
        (
            "another kind",
            edit(MANIFEST, |entry| {
                let text = String::from_utf8(entry.data.clone()).unwrap();
                entry.data = text
                    .replace("certmint.backup/1", "certmint.backup/9")
                    .into();
            }),
        ),
        ("empty", Box::new(Vec::clear)),
    ];
    for (what, change) in table {
        let altered = scene.altered(change);
        let outcome = restore(&altered, &scene.other(), false, now());
        assert!(
            matches!(outcome, Err(BackupError::Refused { .. })),
            "{what}: {outcome:?}"
        );
        let left = tree(&scene.other());
        assert!(
            left.keys().all(|name| name.starts_with("locks/")),
            "{what}: {left:?}"
        );
        assert!(
            scene.dir.path().join("evil").symlink_metadata().is_err(),
            "{what}"
        );
    }
}

#[test]
fn a_lost_file_is_missed_even_when_the_manifest_lost_it_too() {
    let scene = Scene::new();
    scene.create().unwrap();
    for needed in [CONFIG, LEDGER] {
        let altered = scene.altered(|entries| {
            entries.retain(|entry| entry.name != needed.as_bytes());
            edit_manifest(entries, |manifest| {
                manifest["files"].as_object_mut().unwrap().remove(needed);
            });
        });
        let error = restore(&altered, &scene.other(), false, now()).unwrap_err();
        assert!(error.to_string().contains(needed), "{error}");
    }
}

#[test]
fn an_archive_cut_anywhere_is_refused() {
    let scene = Scene::new();
    scene.create().unwrap();
    let whole = std::fs::read(scene.archive()).unwrap();
    let cut = scene.dir.path().join("cut.tar");
    // What follows the manifest is padding.
    let needed = whole.len() - 2 * 512;
    for length in (0..needed - 512)
        .step_by(whole.len() / 60)
        .chain([1, 511, 512, 513])
    {
        disk::replace(&cut, &whole[..length], 0o600).unwrap();
        let outcome = restore(&cut, &scene.other(), false, now());
        assert!(
            matches!(
                outcome,
                Err(BackupError::Refused { .. } | BackupError::Unreadable { .. })
            ),
            "{length}: {outcome:?}"
        );
    }
    assert!(!scene.other().join("ca").exists());
}

#[test]
fn an_inventory_of_a_newer_program_is_refused_before_anything_moves() {
    let scene = Scene::new();
    scene.create().unwrap();
    let altered = scene.altered(|entries| {
        let is_ledger = |entry: &&mut Entry| entry.name == LEDGER.as_bytes();
        let ledger = entries.iter_mut().find(is_ledger).unwrap();
        // `user_version` in SQLite's header.
        ledger.data[60..64].copy_from_slice(&99_u32.to_be_bytes());
        let ledger = ledger.clone();
        edit_manifest(entries, |manifest| list(manifest, &ledger));
    });
    let before = tree(&scene.home());
    let error = restore(&altered, &scene.home(), true, now()).unwrap_err();
    assert!(
        error.to_string().contains("made by a newer certmint"),
        "{error}"
    );
    assert_eq!(tree(&scene.home()), before);
}

#[test]
fn a_copy_made_while_others_write_is_whole_every_time() {
    let scene = Scene::new();
    let stop = AtomicBool::new(false);
    let home = scene.home();
    std::thread::scope(|scope| {
        let _stop = StopWhenDone(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                renew(&home, "a.test");
                renew(&home, "b.test");
            }
        });
        scope.spawn(|| {
            let ledger = Ledger::open(&home.join(LEDGER)).unwrap();
            for n in 100.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let entry = leaf(n, "c.test", 1);
                ledger.record(std::slice::from_ref(&entry)).unwrap();
                ledger
                    .revoke(&entry.serial, Reason::Superseded, now())
                    .unwrap();
                disk::replace(&home.join("ca/crl/I1.crl"), &entry.serial, 0o644).unwrap();
            }
        });
        for round in 0..8 {
            let archive = scene.dir.path().join(format!("{round}.tar"));
            create(
                &home,
                &archive,
                &scene.ledger,
                now() + Duration::seconds(round),
            )
            .unwrap();
            let other = scene.dir.path().join(format!("other-{round}"));
            restore(&archive, &other, false, now()).unwrap();
            let store = FileStore::open(&other, Arc::new(ManualClock::new(now()))).unwrap();
            for id in store.ids().unwrap() {
                let loaded = store.load(&id).unwrap().unwrap();
                assert!(loaded.damage.is_empty(), "{id}: {:?}", loaded.damage);
                assert!(
                    other
                        .join(CERTS)
                        .join(id.as_str())
                        .join(CURRENT)
                        .is_symlink()
                );
            }
            let ledger = Ledger::open(&other.join(LEDGER)).unwrap();
            let mut unrevoked = 0;
            let filter = Filter {
                revoked: Some(false),
                ..Filter::default()
            };
            ledger.for_each(&filter, |_| unrevoked += 1).unwrap();
            // Each of the writer's is recorded, then revoked.
            assert!((1..=2).contains(&unrevoked), "{unrevoked}");
        }
    });
}

/// Lets the writers end, also when the test fails.
struct StopWhenDone<'a>(&'a AtomicBool);

impl Drop for StopWhenDone<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_pointer_to_nothing_stays_behind_and_the_generations_come() {
    let scene = Scene::new();
    let pointer = scene.home().join("certs/a.test/current");
    disk::remove_file(&pointer).unwrap();
    symlink("9", &pointer).unwrap();
    scene.create().unwrap();
    restore(&scene.archive(), &scene.other(), false, now()).unwrap();
    let store = FileStore::open(&scene.other(), Arc::new(ManualClock::new(now()))).unwrap();
    let loaded = store.load(&"a.test".parse().unwrap()).unwrap().unwrap();
    assert_eq!(loaded.generation, 2);
}

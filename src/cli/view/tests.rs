//! Whole screens, as a person sees them.

use std::path::PathBuf;

use unicode_width::UnicodeWidthStr;

use super::super::table::Screen;
use super::*;
use crate::bundle::Certificate;
use crate::clock::Duration;
use crate::finding::rules::tests::{TestCa, now, root};
use crate::inspect::status::{
    AuthorityInput, CaInput, CaStatus, CertInput, Counts, CrlInput, Failures, KeyPlace, TrustInput,
};

const PLAIN: Screen = Screen {
    width: 80,
    color: false,
    unicode: true,
};

struct World {
    root: TestCa,
    intermediate: TestCa,
}

impl World {
    fn new() -> Self {
        let root = root("Home Root R1", |_| {});
        let intermediate = root.intermediate("Home Intermediate I1", |_| {});
        Self { root, intermediate }
    }

    fn leaf(&self, name: &str, before: Duration, after: Duration) -> Certificate {
        let (leaf, _) = self.intermediate.leaf(name, |p| {
            p.not_before = now() - before;
            p.not_after = now() + after;
        });
        leaf
    }

    fn ca(&self) -> CaInput {
        let authority = |name: &str, ca: &TestCa, key| AuthorityInput {
            name: name.into(),
            certificate: ca.certificate.clone(),
            path: PathBuf::from(format!("/srv/ca/{name}/cert.pem")),
            key,
            renew_at: None,
            retired: false,
        };
        CaInput {
            program: "certmint".into(),
            home: PathBuf::from("/var/lib/certmint"),
            name: "Home".into(),
            roots: vec![authority("R1", &self.root, KeyPlace::Elsewhere)],
            intermediates: vec![authority(
                "I1",
                &self.intermediate,
                KeyPlace::Here {
                    path: PathBuf::from("/var/lib/certmint/ca/intermediate/I1/key.pem"),
                    encrypted: true,
                    mode: Some(0o600),
                },
            )],
            name_constraints: vec!["home.arpa".into(), "10.0.0.0/8".into()],
            crl: Some(CrlInput {
                path: PathBuf::from("/var/lib/certmint/ca/crl/crl.pem"),
                number: 7,
                revoked: 1,
                this_update: now() - Duration::hours(12),
                next_update: Some(now() + Duration::hours(156)),
            }),
            trust: vec![
                TrustInput {
                    store: "system".into(),
                    state: "ok".into(),
                    path: None,
                },
                TrustInput {
                    store: "nss".into(),
                    state: "1/2".into(),
                    path: None,
                },
            ],
            counts: Counts {
                issued: 1204,
                valid: 5,
                expired: 1198,
                revoked: 1,
            },
            ..CaInput::default()
        }
    }

    fn troubled(&self) -> Vec<CertInput> {
        let day = Duration::days(1);
        let mut failing = CertInput::new(
            "mail.home.arpa",
            self.leaf("mail.home.arpa", day * 62, day * 28),
            true,
        );
        failing.failures = Some(Failures {
            count: 3,
            error: Some("could not reach the directory".into()),
            next_try: Some(now() + Duration::minutes(72)),
        });
        let mut exposed = CertInput::new(
            "print.home.arpa",
            self.leaf("print.home.arpa", day, day * 89),
            true,
        );
        exposed.key = Some((
            PathBuf::from("/var/lib/certmint/certs/print.home.arpa/1/privkey.pem"),
            0o644,
        ));
        let (many, _) = self.intermediate.leaf("web.home.arpa", |p| {
            p.not_before = now() - day * 62;
            p.not_after = now() + day * 28;
            p.subject_alt_names
                .push(rcgen::SanType::DnsName("www.home.arpa".try_into().unwrap()));
            p.subject_alt_names
                .push(rcgen::SanType::IpAddress("10.0.0.1".parse().unwrap()));
        });
        vec![
            CertInput::new(
                "fresh.home.arpa",
                self.leaf("fresh.home.arpa", day, day * 89),
                true,
            ),
            CertInput::new("web.home.arpa", many, true),
            CertInput::new(
                "nas.home.arpa",
                self.leaf("nas.home.arpa", day * 90, Duration::hours(-39)),
                true,
            ),
            CertInput::new(
                "hand.home.arpa",
                self.leaf("hand.home.arpa", day * 85, day * 5),
                false,
            ),
            failing,
            exposed,
            CertInput::damaged(
                "broken.home.arpa",
                vec!["the manifest names another key".into()],
            ),
        ]
    }

    fn status(&self, certificates: &[CertInput]) -> CaStatus {
        CaStatus::new(&self.ca(), certificates, now())
    }
}

#[test]
fn a_troubled_ca_at_80_columns() {
    let world = World::new();
    let text = ca_status(&world.status(&world.troubled()), PLAIN, Listing::default());
    let fingerprint = world.root.certificate.fingerprint();
    let (first, second) = fingerprint.split_at(48);
    let expected = format!(
        "\
Private CA Home                                                       ✗ critical
           KEY    EXPIRES (UTC)  LEFT  STATUS  PRIVATE KEY
  root R1  P-256  2036-11-19      10y  ok      kept elsewhere
  int. I1  P-256  2029-11-21       3y  ok      here, encrypted
  home       /var/lib/certmint
  may name   home.arpa, 10.0.0.0/8
  crl        #7, 1 revoked, next in 6d 12h
  trust      system ok, nss 1/2
  R1 sha256  {first}
             {second}

  NAME              STATUS   EXPIRES (UTC)        LEFT  USED         RENEWS
✗ nas.home.arpa     expired  2026-11-20 09:00  -1d 15h  ▓▓▓▓▓▓ 100%  overdue 31d
    fix: certmint renew nas.home.arpa
✗ broken.home.arpa  damaged
    ✗ damaged: `broken.home.arpa` is damaged: the manifest names another key
    fix: certmint renew broken.home.arpa
✗ hand.home.arpa    overdue  2026-11-27 00:00       5d  ▓▓▓▓▓░  94%  by hand
    fix: certmint ca issue hand.home.arpa
✗ print.home.arpa   flawed   2027-02-19 00:00      89d  ░░░░░░   1%  in 59d
    ✗ key-mode: the private key
      `/var/lib/certmint/certs/print.home.arpa/1/privkey.pem` is open to
      everybody (mode 0644)
    fix: chmod 600 /var/lib/certmint/certs/print.home.arpa/1/privkey.pem
! mail.home.arpa    failing  2026-12-20 00:00      28d  ▓▓▓▓░░  68%  overdue 2d
    ! failing: renewing `mail.home.arpa` failed 3 times: could not reach the
      directory; next try in 1h 12m
    fix: certmint renew mail.home.arpa
! web.home.arpa +2  due      2026-12-20 00:00      28d  ▓▓▓▓░░  68%  overdue 2d
    fix: certmint renew web.home.arpa
✓ fresh.home.arpa   ok       2027-02-19 00:00      89d  ░░░░░░   1%  in 59d

7 certificates: 4 critical, 2 need attention, 1 ok
issued so far: 1,204, of which 5 valid, 1,198 expired, 1 revoked
"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_healthy_ca_says_so_and_asks_for_nothing() {
    let world = World::new();
    let day = Duration::days(1);
    for (names, sentence) in [
        (vec![], "✓ the CA is healthy\n"),
        (
            vec!["a.home.arpa"],
            "✓ the CA is healthy, and so is its one certificate\n",
        ),
        (
            vec!["a.home.arpa", "b.home.arpa"],
            "✓ the CA is healthy, and so is every one of its 2 certificates\n",
        ),
    ] {
        let certs: Vec<CertInput> = names
            .iter()
            .map(|name| CertInput::new(*name, world.leaf(name, day, day * 89), true))
            .collect();
        let status = world.status(&certs);
        assert_eq!(status.worst(), None);
        let text = ca_status(&status, PLAIN, Listing::default());
        assert!(text.contains(sentence), "{text}");
        assert!(
            !text.contains("fix:") && !text.contains(['✗', '!']),
            "{text}"
        );
    }
}

#[test]
fn ten_thousand_certificates_are_one_screen() {
    let world = World::new();
    let day = Duration::days(1);
    let fresh = world.leaf("fresh.home.arpa", day, day * 89);
    let due = world.leaf("due.home.arpa", day * 62, day * 28);
    let mut certs: Vec<CertInput> = (0..9_998)
        .map(|n| CertInput::new(format!("host{n:04}.home.arpa"), fresh.clone(), true))
        .collect();
    certs.insert(5_000, CertInput::new("due.home.arpa", due, true));
    certs.push(CertInput::damaged(
        "broken.home.arpa",
        vec!["no leaf".into()],
    ));
    let status = world.status(&certs);
    let text = ca_status(&status, PLAIN, Listing::default());
    assert!(
        text.contains("  … and 9,980 more, all ok (--all shows them)\n"),
        "{text}"
    );
    assert!(text.lines().count() < 45, "{text}");
    let broken = text.find("✗ broken").unwrap();
    let due = text.find("! due").unwrap();
    assert!(
        broken < due && due < text.find("✓ host0000").unwrap(),
        "worst first"
    );
    let few = ca_status(
        &status,
        PLAIN,
        Listing {
            rows: 1,
            all: false,
        },
    );
    assert!(few.contains("… and 9,999 more: 1 due, 9,998 ok"), "{few}");
    let all = ca_status(
        &status,
        PLAIN,
        Listing {
            all: true,
            ..Listing::default()
        },
    );
    assert!(all.contains("host9997") && !all.contains("more"));
}

#[test]
fn every_screen_fits_its_width_but_for_what_is_copied() {
    let world = World::new();
    let day = Duration::days(1);
    let mut certs = world.troubled();
    let long = format!("{}.home.arpa", vec!["a".repeat(60); 3].join("."));
    certs.push(CertInput::new(
        &long,
        world.leaf(&long, day * 80, day * 10),
        true,
    ));
    let status = world.status(&certs);
    for width in [60, 80, 100, 120, 200] {
        for unicode in [true, false] {
            let screen = Screen {
                width,
                unicode,
                color: false,
            };
            let text = ca_status(
                &status,
                screen,
                Listing {
                    all: true,
                    ..Listing::default()
                },
            );
            assert!(unicode || text.is_ascii());
            for line in text
                .lines()
                .filter(|line| !line.contains(&"a".repeat(60)) && !line.contains('/'))
            {
                assert!(line.width() <= width.max(66), "{width}: {line}");
            }
            assert!(
                text.contains(&format!("fix: certmint renew {long}\n")),
                "a command is never cut"
            );
        }
    }
}

#[test]
fn colour_only_adds_to_the_plain_text() {
    let world = World::new();
    let status = world.status(&world.troubled());
    let plain = ca_status(&status, PLAIN, Listing::default());
    let color = ca_status(
        &status,
        Screen {
            color: true,
            ..PLAIN
        },
        Listing::default(),
    );
    assert_ne!(plain, color);
    assert_eq!(anstream::adapter::strip_str(&color).to_string(), plain);
    for line in color.lines() {
        let starts = line.matches("\u{1b}[").count();
        assert_eq!(
            starts,
            line.matches("\u{1b}[0m").count() * 2,
            "colours end on their line: {line:?}"
        );
    }
}

#[test]
fn what_a_ca_is_called_cannot_move_the_cursor() {
    let world = World::new();
    let evil = "x\u{1b}[2J\r\u{202e}\u{9b}0m";
    let mut ca = world.ca();
    ca.name = evil.into();
    ca.home = PathBuf::from(evil);
    ca.acme = Some(evil.into());
    ca.name_constraints = vec![evil.into()];
    ca.trust[0].state = evil.into();
    let mut cert = CertInput::damaged(evil, vec![evil.into()]);
    cert.key = Some((PathBuf::from(evil), 0o666));
    let text = ca_status(
        &CaStatus::new(&ca, &[cert], now()),
        PLAIN,
        Listing::default(),
    );
    let bad = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!text.contains(bad), "{text:?}");
}

#[test]
fn the_json_is_the_documented_one() {
    let world = World::new();
    let json = serde_json::to_value(world.status(&world.troubled())).unwrap();
    assert_eq!(json["schema"], "certmint.ca-status/1");
    assert_eq!(json["generated_at"], "2026-11-22T00:00:00Z");
    assert_eq!(json["overall"], "critical");
    assert_eq!(json["ca"]["roots"][0]["generation"], "R1");
    assert_eq!(json["ca"]["roots"][0]["key_location"], "elsewhere");
    assert_eq!(json["ca"]["crl"]["next_update"], "2026-11-28T12:00:00Z");
    assert_eq!(json["ca"]["counts"]["issued"], 1204);
    let first = &json["certificates"][0];
    assert_eq!(first["name"], "nas.home.arpa");
    assert_eq!(first["status"], "expired");
    assert_eq!(first["managed"], true);
    assert_eq!(first["role"], "leaf");
    assert_eq!(first["not_after"], "2026-11-20T09:00:00Z");
    assert_eq!(first["seconds_left"], -140_400);
    assert_eq!(first["key"]["alg"], "P-256");
    assert_eq!(first["sans"]["dns"][0], "nas.home.arpa");
    assert_eq!(first["findings"][0]["id"], "expired");
    assert_eq!(first["findings"][0]["severity"], "critical");
    assert_eq!(first["findings"][0]["fix"], "certmint renew nas.home.arpa");
    let hex = first["sha256"].as_str().unwrap();
    assert!(hex.len() == 64 && hex == hex.to_lowercase());
    assert_eq!(first["renew_at"], "2026-10-21T22:00:00Z");
    let by_hand = &json["certificates"][2];
    assert_eq!(
        (&by_hand["managed"], &by_hand["renew_at"]),
        (&false.into(), &serde_json::Value::Null)
    );
    let broken = &json["certificates"][1];
    assert_eq!(broken["name"], "broken.home.arpa");
    assert_eq!(broken["status"], "damaged");
    assert!(broken.get("not_after").is_none());
}

/// What `inspect` shows of `path`, with every digest written as `…`.
fn inspected(path: &std::path::Path, screen: Screen) -> String {
    use crate::inspect::{Options, Target, inspect};
    let target = Target::parse(path.to_str().unwrap()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let (options, mut nothing) = (Options::default(), std::io::empty());
    let seen = inspect(&target, &mut nothing, &options, now());
    let text = report(&runtime.block_on(seen).unwrap(), screen);
    let dir = path.ancestors().find(|p| p.ends_with("pki")).unwrap();
    let digest = |word: &str| word.len() >= 16 && word.chars().all(|c| c.is_ascii_hexdigit());
    text.replace(dir.to_str().unwrap(), "/pki")
        .split('\n')
        .map(|line| match line.rsplit_once(' ') {
            Some((head, last)) if digest(last) => format!("{head} …"),
            _ => line.to_owned(),
        })
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_chain_in_a_file_at_80_columns() {
    let dir = tempfile::Builder::new().prefix("p").tempdir().unwrap();
    let dir = dir.path().join("pki");
    std::fs::create_dir(&dir).unwrap();
    let world = World::new();
    let leaf = world.leaf("web.home.arpa", Duration::days(62), Duration::days(28));
    let chain = [
        leaf,
        world.root.certificate.clone(),
        world.intermediate.certificate.clone(),
    ];
    let file = dir.join("chain.pem");
    std::fs::write(&file, crate::bundle::to_pem(&chain[..])).unwrap();
    let expected = "\
  ! misordered-chain: the chain is out of order; it should be `web.home.arpa`,
    `Home Intermediate I1`, `Home Root R1`
    fix: put the leaf first, then each one's issuer
  ! due: `web.home.arpa` has used 68 % of its life and ends in 28d, at
    2026-12-20 00:00 UTC
  · root-in-chain: the chain carries its root `Home Root R1`, which clients do
    not need

  1 leaf web.home.arpa  ! due
    names      web.home.arpa
    subject    CN=web.home.arpa
    issuer     CN=Home Intermediate I1
    valid      2026-09-21 00:00 to 2026-12-20 00:00 UTC
    left       28d ▓▓▓▓▓▓▓░░░ 68% used
    key        P-256
    signature  ECDSA with SHA-256
    usage      digitalSignature; for serverAuth
    serial     …
    sha256     …
  2 root Home Root R1  ✓ ok
    subject    CN=Home Root R1
    issuer     itself
    valid      2026-11-21 23:00 to 2036-11-19 00:00 UTC
    left       10y ░░░░░░░░░░ 0% used
    key        P-256
    signature  ECDSA with SHA-256
    usage      keyCertSign, cRLSign
    serial     …
    sha256     …
";
    let text = inspected(&file, PLAIN);
    assert!(text.contains(expected), "{text}");
    assert!(
        text.lines().next().unwrap().ends_with("! warning"),
        "{text}"
    );
    assert!(text.ends_with("\n! 2 warnings, 1 note\n"), "{text}");
}

#[test]
fn a_directory_at_80_columns() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("pki");
    std::fs::create_dir(&dir).unwrap();
    let world = World::new();
    let (good, key) = world.intermediate.leaf("good.test", |_| {});
    let (bad, _) = world.intermediate.leaf("bad.test", |_| {});
    let put = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        std::fs::write(dir.join(name), text).unwrap();
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(dir.join(name), mode).unwrap();
    };
    put(
        "good.pem",
        &crate::bundle::to_pem(&[good, world.intermediate.certificate.clone()]),
    );
    put("good.key", &key.serialize_pem());
    put("bad.pem", &bad.to_pem());
    put("bad.key", &key.serialize_pem());
    put("notes.txt", "nothing");
    put("empty.pem", "");
    let expected = "\n  ! unreadable: `/pki/empty.pem`: its name promises a certificate or key, but it holds none

  FILE      HOLDS                              STATUS  EXPIRES (UTC)     LEFT
✗ bad.key   another's key P-256 0600
    ✗ key-mismatch: the private key `/pki/bad.key` does not belong to the certificate `/pki/bad.pem`
      fix: put the key back that the certificate was made for, or make both anew
✓ bad.pem   leaf bad.test                      ok      2027-02-20 00:00   90d
✓ good.key  paired key P-256 0600
✓ good.pem  leaf good.test                     ok      2027-02-20 00:00   90d
            intermediate Home Intermediate I1  ok      2029-11-21 00:00    3y

✗ 1 critical finding, 1 warning
";
    let wide = Screen {
        width: 200,
        ..PLAIN
    };
    let text = inspected(&dir, wide);
    assert_eq!(text.split_once('\n').unwrap().1, expected);
    // At 80 columns messages wrap, where the temporary directory's name decides;
    // the table stays as it is.
    let narrow = inspected(&dir, PLAIN);
    for line in expected.lines().filter(|line| !line.contains("/pki")) {
        assert!(narrow.contains(line), "{line}\n{narrow}");
    }
}

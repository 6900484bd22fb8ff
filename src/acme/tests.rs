//! What no test CA can be brought to do, against a CA in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{FakeCa, Reply};
use super::*;
use crate::bundle::Certificate;
use crate::challenge::{Challenge, ChallengeKind, Solver, SolverError};
use crate::clock::{Clock, Duration as Span, ManualClock, Timestamp};
use crate::finding::words::causes;
use crate::identifier::{CertId, EmailAddress, Identifier};
use crate::issuer::{
    BoxFuture, IssueError, Issued, Issuer as _, Obtained, Predecessor, Profile, Usage, Wanted,
};
use crate::key::{KeyType, PrivateKey};

fn problem(kind: &str) -> Value {
    json!({ "type": format!("urn:ietf:params:acme:error:{kind}"), "detail": "\u{1b}[31mno" })
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH + Span::HOUR))
}

fn limits() -> Limits {
    Limits {
        first_delay: Duration::from_millis(1),
        last_delay: Duration::from_millis(2),
        total: Duration::from_secs(5),
        ..Limits::default()
    }
}

fn registration() -> Registration {
    Registration {
        agree_to_terms: true,
        ..Registration::default()
    }
}

fn issuer(ca: &Arc<FakeCa>, solvers: Vec<Arc<dyn Solver>>, wishes: Wishes) -> AcmeIssuer {
    let home = tempfile::tempdir().unwrap();
    let http: Arc<dyn HttpClient> = Arc::<FakeCa>::clone(ca);
    let directory = FakeCa::DIRECTORY.parse().unwrap();
    let authority = Authority::new(directory, http, registration(), home.path());
    AcmeIssuer::new(Arc::new(authority), solvers, wishes, clock()).limits(limits())
}

async fn ask(issuer: &AcmeIssuer, replaces: Option<Predecessor<'_>>) -> Result<Issued, IssueError> {
    let profile = Profile {
        names: vec![Identifier::parse("a.test").unwrap()],
        key_type: KeyType::P256,
        usage: Usage::Server,
        lifetime_seconds: None,
    };
    let wanted = Wanted {
        id: &CertId::for_name(&profile.names[0]),
        profile: &profile,
        replaces,
    };
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    issuer.issue(wanted, key).await
}

async fn issue(ca: &Arc<FakeCa>, wishes: Wishes) -> Result<Issued, IssueError> {
    ask(&issuer(ca, Vec::new(), wishes), None).await
}

async fn session(ca: &Arc<FakeCa>) -> Session {
    let http: Arc<dyn HttpClient> = Arc::<FakeCa>::clone(ca);
    let directory = FakeCa::DIRECTORY.parse().unwrap();
    let opened = Session::open(http, &directory, limits(), clock()).await;
    opened.unwrap()
}

/// A certificate with serial 00:87:65 and an authority key identifier.
fn leaf() -> Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["a.test".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(vec![0x87, 0x65].into());
    let issuer = rcgen::Issuer::from_params(&params, &key);
    let der = params.signed_by(&key, &issuer).unwrap();
    Certificate::from_der(der.der()).unwrap()
}

/// Orders whose name is to be shown control of first, by any of these.
fn with_challenges(kinds: &'static [&'static str]) -> impl Fn(&str, &Value, usize) -> Reply {
    move |path, _, before| {
        let order = |status: &str| {
            json!({ "status": status, "finalize": "https://ca.test/finalize",
                "authorizations": ["https://ca.test/authorization"],
                "certificate": "https://ca.test/certificate" })
        };
        let challenges: Vec<Value> = kinds
            .iter()
            .map(|kind| {
                json!({ "type": kind, "status": "pending", "token": "0123456789abcdef",
                    "url": "https://ca.test/challenge" })
            })
            .collect();
        let authorization = |status: &str| {
            json!({ "status": status, "challenges": challenges,
                "identifier": { "type": "dns", "value": "a.test" } })
        };
        match (path, before) {
            ("/new-order", _) => Some((201, order("pending"))),
            ("/authorization", 0) => Some((200, authorization("pending"))),
            ("/authorization", _) => Some((200, authorization("valid"))),
            ("/location", 0) => Some((200, order("ready"))),
            _ => None,
        }
    }
}

/// Counts what it is asked to do; may be unable to do it.
#[derive(Debug)]
struct Counting {
    kind: ChallengeKind,
    able: bool,
    open: AtomicUsize,
    swept: AtomicUsize,
}

impl Counting {
    fn new(kind: ChallengeKind, able: bool) -> Arc<Self> {
        Arc::new(Self {
            kind,
            able,
            open: AtomicUsize::new(0),
            swept: AtomicUsize::new(0),
        })
    }
}

impl Solver for Counting {
    fn kind(&self) -> ChallengeKind {
        self.kind
    }

    fn present<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        self.open.fetch_add(challenges.len(), Ordering::SeqCst);
        let error = SolverError::new(format!("the port of {} is taken", self.kind));
        let presented = if self.able { Ok(()) } else { Err(error) };
        Box::pin(async { presented })
    }

    fn clean_up<'a>(
        &'a self,
        challenges: &'a [Challenge],
    ) -> BoxFuture<'a, Result<(), SolverError>> {
        self.open.fetch_sub(challenges.len(), Ordering::SeqCst);
        Box::pin(async { Ok(()) })
    }

    fn sweep<'a>(&'a self) -> BoxFuture<'a, Result<(), SolverError>> {
        self.swept.fetch_add(1, Ordering::SeqCst);
        Box::pin(async { Err(SolverError::new("cannot be swept")) })
    }
}

const ARI: &str = "https://ca.test/ari/";

#[tokio::test]
async fn replaces_and_profile_go_out_when_offered_and_replaces_is_dropped_when_refused() {
    let more = json!({ "renewalInfo": ARI,
        "meta": { "profiles": { "shortlived": "six days" } } });
    let wishes = || Wishes {
        profile: Some("shortlived".to_owned()),
        preferred_chain: None,
    };
    let leaf = leaf();
    let obtained = |directory: &str, account: &str| Obtained {
        directory: directory.parse().unwrap(),
        account: account.to_owned(),
    };
    let ours = obtained(FakeCa::DIRECTORY, FakeCa::LOCATION);
    let renew = async |ca: &Arc<FakeCa>, wishes: Wishes, obtained: &Obtained| {
        let leaf = &leaf;
        let issuer = issuer(ca, Vec::new(), wishes);
        ask(&issuer, Some(Predecessor { leaf, obtained })).await
    };
    let ca = Arc::new(FakeCa::new(&more, |_, _, _| None));
    let issued = renew(&ca, wishes(), &ours).await.unwrap();
    assert_eq!(issued.obtained.as_ref(), Some(&ours));
    let orders = ca.payloads("/new-order");
    assert_eq!(orders.len(), 1);
    // RFC 9773 §4.1: serial 00:87:65 is `AIdl`.
    assert!(orders[0]["replaces"].as_str().unwrap().ends_with(".AIdl"));
    assert_eq!(orders[0]["profile"], "shortlived");
    for stranger in [
        obtained("https://ca.test/other", FakeCa::LOCATION),
        obtained(FakeCa::DIRECTORY, "https://ca.test/lost"),
    ] {
        let ca = Arc::new(FakeCa::new(&more, |_, _, _| None));
        renew(&ca, wishes(), &stranger).await.unwrap();
        assert!(ca.payloads("/new-order")[0]["replaces"].is_null());
    }
    for (status, kind) in [
        (409, "alreadyReplaced"),
        (400, "malformed"),
        (403, "unauthorized"),
    ] {
        let objects = move |path: &str, payload: &Value, _| -> Reply {
            let refuse = path == "/new-order" && !payload["replaces"].is_null();
            refuse.then(|| (status, problem(kind)))
        };
        let ca = Arc::new(FakeCa::new(&more, objects));
        renew(&ca, wishes(), &ours).await.unwrap();
        let orders = ca.payloads("/new-order");
        assert_eq!(orders.len(), 2, "{kind}");
        assert!(orders[1]["replaces"].is_null());
    }
    let plain = Arc::new(FakeCa::new(&json!({}), |_, _, _| None));
    let without = Wishes::default();
    renew(&plain, without, &ours).await.unwrap();
    assert!(plain.payloads("/new-order")[0]["replaces"].is_null());
    let error = renew(&plain, wishes(), &ours).await.unwrap_err();
    assert!(error.permanent && error.hint.unwrap().contains("has none"));
}

#[tokio::test]
async fn an_order_whose_replaces_was_overlooked_is_taken_up_and_not_placed_again() {
    let overlooks = |path: &str, _: &Value, _| -> Reply {
        let order = json!({ "status": "ready", "finalize": "https://ca.test/finalize",
            "authorizations": [] });
        (path == "/new-order").then_some((201, order))
    };
    let waits = move |path: &str, payload: &Value, before| match (path, before) {
        ("/location", 0) => overlooks("/new-order", payload, 0),
        _ => overlooks(path, payload, before),
    };
    let ca = Arc::new(FakeCa::new(&json!({ "renewalInfo": ARI }), waits));
    let obtained = Obtained {
        directory: FakeCa::DIRECTORY.parse().unwrap(),
        account: FakeCa::LOCATION.to_owned(),
    };
    let leaf = leaf();
    let replaces = Predecessor {
        leaf: &leaf,
        obtained: &obtained,
    };
    let issuer = issuer(&ca, Vec::new(), Wishes::default());
    ask(&issuer, Some(replaces)).await.unwrap();
    let orders = ca.payloads("/new-order");
    assert!(orders.len() == 1 && orders[0]["replaces"].is_string());
    assert_eq!(ca.payloads("/finalize").len(), 1);
}

#[tokio::test]
async fn a_lost_answer_to_finalize_is_looked_up_and_not_repeated() {
    let lost = |path: &str, _: &Value, before| -> Reply {
        (path == "/finalize" && before == 0).then_some((0, Value::Null))
    };
    // The request did not reach this CA, and its order is valid all the same: what
    // counts is that the order is asked before anything is sent again.
    let ca = Arc::new(FakeCa::new(&json!({}), lost));
    let error = issue(&ca, Wishes::default()).await.unwrap_err();
    assert!(causes(&error).contains("not usable"), "{error:?}");
    assert_eq!(ca.payloads("/finalize").len(), 1);
    assert_eq!(ca.payloads("/location").len(), 1);
}

#[tokio::test]
async fn no_nonce_is_used_twice_and_one_is_asked_for_only_when_none_is_left() {
    let ca = Arc::new(FakeCa::new(
        &json!({}),
        with_challenges(&["http-01", "odd"]),
    ));
    let solver = Counting::new(ChallengeKind::Http01, true);
    let issuer = issuer(&ca, vec![solver], Wishes::default());
    ask(&issuer, None).await.unwrap();
    assert_eq!(ca.payloads("/nonce").len(), 1);
    assert_eq!(ca.payloads("/dir").len(), 1);
    let signed = ca.headers("/location");
    assert!(
        signed
            .iter()
            .all(|header| header["kid"] == FakeCa::LOCATION)
    );
    let unsigned = ca.headers("/account");
    assert!(unsigned[0]["kid"].is_null() && unsigned[0]["jwk"].is_object());
}

#[tokio::test]
async fn an_endless_order_meets_the_budget_of_requests() {
    let endless = |path: &str, _: &Value, _| -> Reply {
        let order = json!({ "status": "processing", "finalize": "https://ca.test/finalize",
            "authorizations": [] });
        (path == "/location").then_some((200, order))
    };
    let ca = Arc::new(FakeCa::new(&json!({}), endless));
    // On a busy machine so many requests take their time.
    let patient = Limits {
        total: Duration::from_secs(60),
        ..limits()
    };
    let issuer = issuer(&ca, Vec::new(), Wishes::default()).limits(patient);
    let error = ask(&issuer, None).await.unwrap_err();
    let text = causes(&error);
    assert!(text.contains("gave up after 240 requests"), "{text}");
}

#[tokio::test]
async fn urls_of_strangers_are_not_followed_wherever_they_stand() {
    const STRANGERS: [&str; 7] = [
        "http://ca.test/x",
        "https://evil.test/x",
        "https://ca.test:444/x",
        "https://ca.test@evil.test/x",
        "file:///x",
        "//x",
        "",
    ];
    for (member, url) in [
        ("newNonce", STRANGERS[0]),
        ("newOrder", ""),
        ("keyChange", "x"),
    ] {
        let ca = Arc::new(FakeCa::new(&json!({ member: url }), |_, _, _| None));
        let text = causes(&issue(&ca, Wishes::default()).await.unwrap_err());
        assert!(text.contains(&format!("sent us to `{url}`")), "{text}");
        assert_eq!(ca.payloads("/x").len(), 0);
    }
    for url in STRANGERS {
        for member in ["finalize", "certificate", "authorizations"] {
            let foreign = move |path: &str, _: &Value, _| -> Reply {
                let mut order = json!({ "status": "pending", "authorizations": [],
                    "finalize": "https://ca.test/finalize" });
                order["status"] = match member {
                    "finalize" => "ready",
                    "certificate" => "valid",
                    _ => "pending",
                }
                .into();
                order[member] = match member {
                    "authorizations" => json!([url]),
                    _ => json!(url),
                };
                (path == "/new-order").then_some((201, order))
            };
            let ca = Arc::new(FakeCa::new(&json!({}), foreign));
            let text = causes(&issue(&ca, Wishes::default()).await.unwrap_err());
            assert!(text.contains("sent us to"), "{member}: {url}: {text}");
            assert_eq!(ca.payloads("/x").len(), 0, "{url}");
        }
    }
    // What is odd and harmless is followed: these are of the CA's own hosts.
    for (url, path) in [
        ("https://CA.test:443/finalize", "/finalize"),
        ("https://ca.test/./finalize", "/./finalize"),
    ] {
        let odd = move |path: &str, _: &Value, _| -> Reply {
            let order = json!({ "status": "ready", "authorizations": [], "finalize": url });
            (path == "/new-order").then_some((201, order))
        };
        let ca = Arc::new(FakeCa::new(&json!({}), odd));
        let _ = issue(&ca, Wishes::default()).await;
        assert_eq!(ca.payloads(path).len(), 1, "{url}");
    }
}

#[tokio::test]
async fn instant_acme_reaches_nothing_that_was_not_checked() {
    let ca = Arc::new(FakeCa::new(&json!({}), |_, _, _| None));
    let session = session(&ca).await;
    let (_, key) = instant_acme::Key::generate_pkcs8().unwrap();
    let account = transport::builder(&session)
        .from_parts("kid".to_owned(), key, transport::DIRECTORY.to_owned())
        .await
        .unwrap();
    for (url, followed) in [
        ("https://ca.test/location", true),
        ("https://ca.test:443/location", true),
        ("https://CA.TEST/location", true),
        ("https://ca.test:444/location", false),
        ("https://ca.test.evil.test/location", false),
        ("https://ca.test@evil.test/location", false),
        ("https://ca.test\\@evil.test/location", false),
        ("http://ca.test/location", false),
        ("/location", false),
        ("ca.test", false),
    ] {
        let before = ca.payloads("/location").len();
        let asked = transport::through("ask", account.order(url.to_owned())).await;
        assert_eq!(asked.is_ok(), followed, "{url}");
        let after = ca.payloads("/location").len();
        assert_eq!(after - before, usize::from(followed), "{url}");
    }
}

#[tokio::test]
async fn hostile_tokens_and_texts_end_in_errors_without_escapes() {
    let escape = "a\u{1b}]0;x\u{7}\r\n\u{202e}";
    let hostile = |member: &'static str, value: Value| {
        move |path: &str, payload: &Value, before: usize| -> Reply {
            let usual = with_challenges(&["http-01"]);
            let (status, mut body) = usual(path, payload, before)?;
            if path == "/authorization" {
                body["challenges"][0][member] = value.clone();
                body["status"] = "pending".into();
            }
            Some((status, body))
        }
    };
    let error = json!({ "type": escape, "detail": escape });
    for (member, value, says) in [
        ("token", json!("../../../../etc/cron.d/x"), "base64url"),
        ("token", json!(escape), "characters"),
        ("token", json!(""), "characters"),
        ("token", json!("x".repeat(5000)), "characters"),
        ("url", json!(escape), "sent us to"),
        ("type", json!(escape), "the CA offers a\\u{1b}"),
        ("error", error, ""),
    ] {
        let ca = Arc::new(FakeCa::new(&json!({}), hostile(member, value)));
        let solver = Counting::new(ChallengeKind::Http01, true);
        let issuer = issuer(
            &ca,
            vec![Arc::<Counting>::clone(&solver)],
            Wishes::default(),
        );
        let text = causes(&ask(&issuer, None).await.unwrap_err());
        assert!(text.contains(says), "{member}: {text}");
        assert!(!text.contains(char::is_control), "{member}: {text:?}");
        assert!(!text.contains('\u{202e}') && text.len() < 700, "{text:?}");
        assert_eq!(solver.open.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn what_cannot_be_presented_is_shown_in_another_way_within_the_same_order() {
    let kinds = &["http-01", "tls-alpn-01"];
    let ca = Arc::new(FakeCa::new(&json!({}), with_challenges(kinds)));
    let taken = Counting::new(ChallengeKind::TlsAlpn01, false);
    let free = Counting::new(ChallengeKind::Http01, true);
    let solvers: Vec<Arc<dyn Solver>> = vec![
        Arc::<Counting>::clone(&taken),
        Arc::<Counting>::clone(&free),
    ];
    let both = issuer(&ca, solvers, Wishes::default());
    ask(&both, None).await.unwrap();
    assert_eq!(ca.payloads("/new-order").len(), 1);
    assert_eq!(ca.payloads("/challenge").len(), 1);
    for solver in [&taken, &free] {
        assert_eq!(solver.open.load(Ordering::SeqCst), 0);
    }
    // With no other way, or none that works either, the error is about the first.
    let unable = Counting::new(ChallengeKind::Http01, false);
    for others in [vec![], vec![unable as Arc<dyn Solver>]] {
        let ca = Arc::new(FakeCa::new(&json!({}), with_challenges(kinds)));
        let first: Arc<dyn Solver> = Arc::<Counting>::clone(&taken);
        let solvers = [vec![first], others].concat();
        let alone = issuer(&ca, solvers, Wishes::default());
        let text = causes(&ask(&alone, None).await.unwrap_err());
        assert!(text.contains("port of tls-alpn-01 is taken"), "{text}");
        assert_eq!(ca.payloads("/challenge").len(), 0);
    }
}

#[tokio::test]
async fn what_killed_runs_left_is_swept_once_before_the_first_order() {
    let ca = Arc::new(FakeCa::new(&json!({}), |_, _, _| None));
    let solver = Counting::new(ChallengeKind::Http01, true);
    let issuer = issuer(
        &ca,
        vec![Arc::<Counting>::clone(&solver)],
        Wishes::default(),
    );
    assert_eq!(solver.swept.load(Ordering::SeqCst), 0);
    for _ in 0..2 {
        ask(&issuer, None).await.unwrap();
    }
    assert_eq!(solver.swept.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_rollover_whose_answer_is_lost_ends_with_the_key_that_the_ca_has() {
    for changed in [true, false] {
        let home = tempfile::tempdir().unwrap();
        let directory: Directory = FakeCa::DIRECTORY.parse().unwrap();
        let replies = move |path: &str, payload: &Value, _| -> Reply {
            match path {
                "/change" => Some((0, Value::Null)),
                "/account" if payload["onlyReturnExisting"] == true && !changed => {
                    Some((400, problem("accountDoesNotExist")))
                }
                _ => None,
            }
        };
        let session = session(&Arc::new(FakeCa::new(&json!({}), replies))).await;
        let accounts = AccountHome::new(home.path(), &directory);
        accounts.register(&session, &registration()).await.unwrap();
        let before = std::fs::read(accounts.path()).unwrap();
        let rolled = accounts.roll_over(&session).await;
        assert_eq!(rolled.is_ok(), changed);
        let after = std::fs::read(accounts.path()).unwrap();
        assert_eq!(before != after, changed);
        assert!(!accounts.path().with_file_name("account.next.json").exists());
        let saved = format!("{:?}", accounts.load().unwrap());
        assert!(
            saved.contains("location") && !saved.contains("PRIVATE"),
            "{saved}"
        );
    }
}

#[tokio::test]
async fn an_account_that_did_not_end_is_not_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let directory: Directory = FakeCa::DIRECTORY.parse().unwrap();
    let session = session(&Arc::new(FakeCa::new(&json!({}), |_, _, _| None))).await;
    let accounts = AccountHome::new(home.path(), &directory);
    accounts.register(&session, &registration()).await.unwrap();
    let error = accounts.deactivate(&session).await.unwrap_err();
    assert!(
        error.to_string().contains("the account is valid"),
        "{error}"
    );
    assert!(accounts.path().exists());
}

#[tokio::test]
async fn an_account_is_made_with_its_address_and_binding_in_the_one_request() {
    for (contact, bound) in [(false, false), (true, false), (false, true), (true, true)] {
        let home = tempfile::tempdir().unwrap();
        let ca = Arc::new(FakeCa::new(&json!({}), |_, _, _| None));
        let accounts = AccountHome::new(home.path(), &FakeCa::DIRECTORY.parse().unwrap());
        let external = ExternalAccount::new("kid-1", "aGVsbG8").unwrap();
        let ada = EmailAddress::parse("ada@example.com").unwrap();
        let registration = Registration {
            contact: contact.then_some(ada).into_iter().collect(),
            external: bound.then_some(external),
            ..registration()
        };
        let session = session(&ca).await;
        accounts.register(&session, &registration).await.unwrap();
        let payloads = ca.payloads("/account");
        assert_eq!(payloads.len(), 1);
        let addresses: &[&str] = if contact {
            &["mailto:ada@example.com"]
        } else {
            &[]
        };
        assert_eq!(payloads[0]["contact"], json!(addresses));
        assert_eq!(payloads[0]["termsOfServiceAgreed"], true);
        assert!(payloads[0]["onlyReturnExisting"].is_null());
        let binding = &payloads[0]["externalAccountBinding"];
        assert_eq!(binding["signature"].is_string(), bound);
    }
}

#[tokio::test]
async fn an_account_that_is_valid_no_more_is_not_taken_up() {
    let ended = |path: &str, _: &Value, _| -> Reply {
        let state = json!({ "status": "deactivated\u{7}" });
        (path == "/account").then_some((200, state))
    };
    let ca = Arc::new(FakeCa::new(&json!({}), ended));
    let text = causes(&issue(&ca, Wishes::default()).await.unwrap_err());
    assert!(text.contains("the account is deactivated\\u{7}"), "{text}");
}

#[tokio::test]
async fn renewal_information_is_read_with_retry_after_in_every_form_and_without() {
    let now = clock().now();
    let certificate = leaf();
    let id = ari::certificate_id(&certificate).unwrap().to_string();
    // RFC 9773 §4.1: serial 00:87:65 is `AIdl`.
    assert!(id.ends_with(".AIdl"), "{id}");
    for (wish, seconds) in [
        (Value::Null, 6 * 3600),
        (json!("7200"), 7200),
        (json!("Thu, 01 Jan 1970 04:00:00 GMT"), 3 * 3600),
        (json!("0"), 60),
        (json!("99999999999"), 24 * 3600),
        (json!("soon"), 6 * 3600),
    ] {
        let window = json!({ "retry-after": wish, "explanationURL": "https://ca.test/\u{7}",
            "suggestedWindow":
                { "start": "1970-02-01T00:00:00Z", "end": "1970-02-02T00:00:00Z" } });
        let replies = move |path: &str, _: &Value, before| -> Reply {
            let busy = (503, json!("<html>"));
            let answer = if before == 0 {
                busy
            } else {
                (200, window.clone())
            };
            path.starts_with("/ari/").then_some(answer)
        };
        let ca = Arc::new(FakeCa::new(&json!({ "renewalInfo": ARI }), replies));
        let session = session(&ca).await;
        let info = ari::renewal_info(&session, &certificate).await;
        let info = info.unwrap().unwrap();
        assert_eq!(info.end - info.start, Span::DAY);
        assert_eq!((info.ask_again - now).whole_seconds(), seconds, "{wish}");
        assert_eq!(info.explanation.unwrap(), "https://ca.test/\\u{7}");
        // One slash, however many there were in the directory; and nothing else asked.
        assert_eq!(ca.payloads(&format!("/ari/{id}")).len(), 2);
        assert_eq!(
            ca.payloads("/nonce").len() + ca.payloads("/account").len(),
            0
        );
    }
    let silent = session(&Arc::new(FakeCa::new(&json!({}), |_, _, _| None))).await;
    let none = ari::renewal_info(&silent, &certificate).await.unwrap();
    assert_eq!(none, None);
}

#[tokio::test]
async fn a_refused_nonce_is_replaced_and_one_that_is_refused_forever_is_given_up() {
    for (refusals, fails) in [(19, false), (usize::MAX, true)] {
        for path in ["/account", "/new-order", "/finalize", "/certificate"] {
            let refuse = move |asked: &str, _: &Value, before: usize| -> Reply {
                (asked == path && before < refusals).then(|| (400, problem("badNonce")))
            };
            let ca = Arc::new(FakeCa::new(&json!({}), refuse));
            let issued = issue(&ca, Wishes::default()).await;
            assert_eq!(issued.is_err(), fails, "{path}: {issued:?}");
            if let Err(error) = issued {
                assert!(causes(&error).contains("badNonce"), "{error:?}");
                assert_eq!(ca.payloads(path).len(), 21);
            }
        }
    }
}

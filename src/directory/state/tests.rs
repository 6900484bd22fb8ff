//! The directory's memory: every object through its life, shared, interrupted, old
//! and large.

use std::sync::Barrier;
use std::thread;

use super::status::AccountEvent;
use super::*;
use crate::challenge::ChallengeKind;
use crate::clock::Duration;
use crate::directory::asked::AskedIdentifier;
use crate::directory::jwk::Jwk;
use crate::identifier::{Identifier, NameConstraints};
use crate::key::{KeyType, PrivateKey};
use crate::pki::ledger::Entry;
use crate::pki::ledger::tests::{leaf, now};

const DAY: Duration = Duration::DAY;

struct Fixture {
    dir: tempfile::TempDir,
    state: State,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State::open(&dir.path().join("ca.sqlite")).unwrap();
        Self { dir, state }
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("ca.sqlite")
    }

    /// As after a crash: nothing but the file is left.
    fn reopened(self) -> Self {
        let Self { dir, state } = self;
        drop(state);
        let state = State::open(&dir.path().join("ca.sqlite")).unwrap();
        Self { dir, state }
    }

    fn account(&self) -> Account {
        let key = key();
        match self.state.register(&plain(&key), now()).unwrap() {
            Registered::New(account) => account,
            Registered::Existing(other) => panic!("{other:?}"),
        }
    }

    fn order(&self, account: &Account, names: &[&str]) -> Order {
        self.try_order(account, names, None).unwrap()
    }

    fn try_order(
        &self,
        account: &Account,
        names: &[&str],
        replaces: Option<&str>,
    ) -> Result<Order, StateError> {
        let asked: Vec<_> = names.iter().copied().map(AskedIdentifier::dns).collect();
        let authorizations: Vec<_> = names.iter().map(|name| wanted(name, None)).collect();
        let new = NewOrder {
            replaces,
            ..new_order(&account.id, &asked, &authorizations)
        };
        self.state.create_order(&new, now())
    }

    /// Answers the first challenge of each authorization rightly.
    fn prove(&self, order: &Order) {
        for id in &order.authorizations {
            let challenge = self.state.authorization(id, now()).unwrap().challenges[0]
                .id
                .clone();
            assert!(matches!(
                self.state.start_challenge(&challenge, now()).unwrap(),
                Started::Now(_)
            ));
            self.state
                .finish_challenge(&challenge, &right(), now())
                .unwrap();
        }
    }

    fn status(&self, order: &Order) -> OrderStatus {
        self.state.order(&order.id, now()).unwrap().status
    }

    fn ready(&self, account: &Account, names: &[&str]) -> Order {
        let order = self.order(account, names);
        self.prove(&order);
        self.state.order(&order.id, now()).unwrap()
    }

    fn issued(&self, order: &Order, serial: &[u8], days: i64) -> Order {
        self.state.begin_issuance(&order.id, b"csr", now()).unwrap();
        let entry = Entry {
            serial: serial.to_vec(),
            not_after: now() + DAY * days as i32,
            ..leaf(1, "a.test", 1)
        };
        self.issue(order, &entry).unwrap()
    }

    fn issue(&self, order: &Order, entry: &Entry) -> Result<Order, StateError> {
        let mut answers = self.state.issue([(&order.id, entry)], now()).unwrap();
        answers.pop().unwrap()
    }
}

fn key() -> Jwk {
    let key = PrivateKey::generate(KeyType::P256).unwrap();
    Jwk::from_spki(&key.public_key_der()).unwrap()
}

fn plain(key: &Jwk) -> NewAccount<'_> {
    NewAccount {
        key,
        contacts: &[],
        terms_agreed: true,
        eab_kid: None,
    }
}

fn wanted(name: &str, trusted_until: Option<Timestamp>) -> NewAuthorization {
    NewAuthorization {
        identifier: Identifier::parse(name).unwrap(),
        challenges: ChallengeKind::ALL.to_vec(),
        trusted_until,
    }
}

fn new_order<'a>(
    account: &'a AccountId,
    asked: &'a [AskedIdentifier],
    authorizations: &'a [NewAuthorization],
) -> NewOrder<'a> {
    NewOrder {
        account,
        identifiers: asked,
        authorizations,
        not_before: None,
        not_after: None,
        profile: None,
        replaces: None,
        expires_at: now() + DAY,
    }
}

fn right() -> Outcome {
    Outcome::Right {
        valid_until: now() + DAY * 30,
    }
}

fn wrong() -> Outcome {
    Outcome::Wrong(Problem::new(
        ProblemType::IncorrectResponse,
        "not the answer",
    ))
}

/// Runs `work` in `count` threads at the same moment, and says how many were told true.
fn at_once(count: usize, work: impl Fn() -> bool + Sync) -> usize {
    let start = Barrier::new(count);
    thread::scope(|scope| {
        let threads: Vec<_> = (0..count)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    work()
                })
            })
            .collect();
        threads
            .into_iter()
            .filter_map(|t| t.join().unwrap().then_some(()))
            .count()
    })
}

#[test]
fn a_key_has_one_account_and_keeps_it() {
    let fixture = Fixture::new();
    let key = key();
    let contacts = ["mailto:ada@a.test".to_owned()];
    let new = NewAccount {
        contacts: &contacts,
        ..plain(&key)
    };
    let Registered::New(account) = fixture.state.register(&new, now()).unwrap() else {
        panic!("it is new")
    };
    assert_eq!((&account.key, account.status), (&key, AccountStatus::Valid));
    assert_eq!(account.contacts, contacts);
    let again = fixture.state.register(&plain(&key), now()).unwrap();
    assert_eq!(again, Registered::Existing(account.clone()));
    let fixture = fixture.reopened();
    assert_eq!(fixture.state.account(&account.id).unwrap(), account);
    assert_eq!(
        fixture.state.account_by_key(&key.thumbprint()).unwrap(),
        Some(account.clone())
    );
    let changed = fixture
        .state
        .update_account(&account.id, Some(&[]), None)
        .unwrap();
    assert!(changed.contacts.is_empty() && changed.terms_agreed);

    // Closed, for good: the key stays taken.
    let order = fixture.ready(&account, &["a.test"]);
    let closed = fixture
        .state
        .close_account(&account.id, AccountEvent::Deactivate)
        .unwrap();
    assert_eq!(closed.status, AccountStatus::Deactivated);
    assert_eq!(fixture.status(&order), OrderStatus::Invalid);
    let name = [Identifier::parse("a.test").unwrap()];
    assert!(
        !fixture
            .state
            .is_authorized_for(&account.id, &name, now())
            .unwrap()
    );
    let again = fixture.state.register(&plain(&key), now()).unwrap();
    assert_eq!(again, Registered::Existing(closed));
    assert!(matches!(
        fixture.try_order(&account, &["b.test"], None),
        Err(StateError::AccountClosed(AccountStatus::Deactivated))
    ));
    let twice = fixture
        .state
        .close_account(&account.id, AccountEvent::Deactivate);
    assert!(matches!(twice, Err(StateError::Impossible(_))));
    assert!(
        fixture
            .state
            .update_account(&account.id, None, Some(false))
            .is_err()
    );
}

#[test]
fn of_many_who_register_one_key_one_is_first() {
    let fixture = Fixture::new();
    let key = key();
    let path = fixture.path();
    let new = at_once(8, || {
        // Each as another process would.
        let state = State::open(&path).unwrap();
        matches!(
            state.register(&plain(&key), now()).unwrap(),
            Registered::New(_)
        )
    });
    assert_eq!(new, 1);
}

#[test]
fn a_key_changes_to_a_free_one_and_only_from_the_present_one() {
    let fixture = Fixture::new();
    let (first, second) = (fixture.account(), fixture.account());
    let new = key();
    let change = |account: &Account, old: &Jwk, new: &Jwk| {
        fixture
            .state
            .change_key(&account.id, &old.thumbprint(), new)
    };
    let taken = change(&first, &first.key, &second.key).unwrap();
    assert_eq!(taken, KeyChanged::Taken(second.id.clone()));
    assert!(change(&first, &second.key, &new).is_err());
    let KeyChanged::Done(changed) = change(&first, &first.key, &new).unwrap() else {
        panic!("the key is free")
    };
    assert_eq!((&changed.id, &changed.key), (&first.id, &new));
    assert!(
        change(&first, &first.key, &key()).is_err(),
        "from a key that it had"
    );
    // The old key is free, for a new account.
    assert!(matches!(
        fixture.state.register(&plain(&first.key), now()).unwrap(),
        Registered::New(_)
    ));
}

#[test]
fn an_external_key_binds_one_account_until_it_is_revoked() {
    let fixture = Fixture::new();
    let names: NameConstraints = serde_json::from_str(r#"["home.arpa","10.0.0.0/8"]"#).unwrap();
    let wanted = NewEabKey {
        names,
        trust: Trust::SkipValidation,
    };
    let made = fixture.state.add_eab_key(&wanted, now()).unwrap();
    assert_eq!(
        fixture.state.eab_key(&made.kid).unwrap().as_ref(),
        Some(&made)
    );
    assert_eq!((&made.names, made.trust), (&wanted.names, wanted.trust));
    let boundless = NewEabKey {
        trust: Trust::SkipValidation,
        ..NewEabKey::default()
    };
    assert!(matches!(
        fixture.state.add_eab_key(&boundless, now()),
        Err(StateError::BoundlessTrust)
    ));

    let keys: Vec<Jwk> = (0..6).map(|_| key()).collect();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let bound = at_once(6, || {
        let at = next.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let new = NewAccount {
            eab_kid: Some(&made.kid),
            ..plain(&keys[at])
        };
        fixture.state.register(&new, now()).is_ok()
    });
    assert_eq!(bound, 1);
    let seen = fixture.state.eab_key(&made.kid).unwrap().unwrap();
    let (account, since) = seen.bound.clone().unwrap();
    assert_eq!(since, now());
    assert_eq!(fixture.state.eab_key_of(&account).unwrap(), Some(seen));
    assert_eq!(
        fixture.state.eab_key_of(&fixture.account().id).unwrap(),
        None
    );

    let other = fixture
        .state
        .add_eab_key(&NewEabKey::default(), now())
        .unwrap();
    let revoked = fixture.state.revoke_eab_key(&other.kid, now()).unwrap();
    let later = fixture
        .state
        .revoke_eab_key(&other.kid, now() + DAY)
        .unwrap();
    assert_eq!(later, revoked);
    for kid in [other.kid.as_str(), "unknown", ""] {
        let new_key = key();
        let new = NewAccount {
            eab_kid: Some(kid),
            ..plain(&new_key)
        };
        let error = fixture.state.register(&new, now()).unwrap_err();
        assert!(matches!(error, StateError::EabUnusable(_)), "{kid}");
        assert_eq!(Problem::from(&error).kind(), ProblemType::Unauthorized);
        assert_eq!(
            fixture.state.account_by_key(&new_key.thumbprint()).unwrap(),
            None
        );
    }
    assert_eq!(fixture.state.eab_keys().unwrap().len(), 2);
    assert!(fixture.state.revoke_eab_key("unknown", now()).is_err());
}

#[test]
fn an_order_goes_its_way_step_by_step() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let order = fixture.order(&account, &["A.test", "*.a.test"]);
    assert_eq!(order.identifiers[0].value, "A.test", "word for word");
    assert_eq!(
        (order.status, order.authorizations.len()),
        (OrderStatus::Pending, 2)
    );
    assert_eq!(fixture.state.open_orders(&account.id, now()).unwrap(), 1);
    let second = fixture
        .state
        .authorization(&order.authorizations[1], now())
        .unwrap();
    assert_eq!(second.identifier, Identifier::parse("*.a.test").unwrap());
    assert_eq!(second.challenges.len(), 3);
    assert_eq!((&second.order, &second.account), (&order.id, &account.id));

    let first = &order.authorizations[0];
    let challenge = fixture
        .state
        .authorization(first, now())
        .unwrap()
        .challenges[1]
        .clone();
    let Started::Now(validation) = fixture.state.start_challenge(&challenge.id, now()).unwrap()
    else {
        panic!("nobody has looked")
    };
    assert_eq!(validation.kind, ChallengeKind::TlsAlpn01);
    assert_eq!(
        validation.key_authorization.as_str(),
        format!("{}.{}", challenge.token, account.key.thumbprint())
    );
    assert_eq!(
        fixture.state.unfinished_challenges(now()).unwrap(),
        [validation]
    );
    assert_eq!(
        fixture.state.start_challenge(&challenge.id, now()).unwrap(),
        Started::Already(ChallengeStatus::Processing)
    );
    let seen = fixture
        .state
        .finish_challenge(&challenge.id, &right(), now())
        .unwrap();
    assert_eq!(seen.status, AuthorizationStatus::Valid);
    assert_eq!(seen.challenges[1].validated_at, Some(now()));
    assert_eq!(seen.expires_at, now() + DAY * 30);
    assert!(
        fixture
            .state
            .finish_challenge(&challenge.id, &wrong(), now())
            .is_err()
    );
    assert!(matches!(
        fixture.state.start_challenge(&seen.challenges[0].id, now()),
        Err(StateError::AuthorizationClosed(AuthorizationStatus::Valid))
    ));
    assert_eq!(fixture.status(&order), OrderStatus::Pending);
    let early = fixture.state.begin_issuance(&order.id, b"csr", now());
    assert!(matches!(
        early,
        Err(StateError::NotReady(OrderStatus::Pending))
    ));

    let challenge = &second.challenges[2].id;
    fixture.state.start_challenge(challenge, now()).unwrap();
    fixture
        .state
        .finish_challenge(challenge, &right(), now())
        .unwrap();
    assert_eq!(fixture.status(&order), OrderStatus::Ready);

    let begun = at_once(6, || {
        fixture
            .state
            .begin_issuance(&order.id, b"csr", now())
            .is_ok()
    });
    assert_eq!(begun, 1);
    let processing = fixture.state.order(&order.id, now() + DAY * 2).unwrap();
    assert_eq!(
        processing.status,
        OrderStatus::Processing,
        "it does not run out"
    );
    assert_eq!(processing.csr.as_deref(), Some(&b"csr"[..]));

    let (first, second) = (leaf(1, "a.test", 90), leaf(2, "a.test", 90));
    let valid = fixture.issue(&order, &first).unwrap();
    assert_eq!(
        (valid.status, valid.serial.as_deref()),
        (OrderStatus::Valid, Some(&first.serial[..]))
    );
    assert_eq!(fixture.state.order(&order.id, now()).unwrap(), valid);
    // Signed twice, by whatever mishap: the second is nobody's.
    assert!(matches!(
        fixture.issue(&order, &second),
        Err(StateError::Impossible(_))
    ));
    assert_eq!(fixture.state.certificate(&second.serial).unwrap(), None);
    let kept = fixture.state.certificate(&first.serial).unwrap().unwrap();
    assert_eq!(kept.der, first.der);
    assert!(
        fixture
            .state
            .fail_order(&order.id, &Problem::server_internal(), now())
            .is_err()
    );
    let owner = fixture
        .state
        .order_of_certificate(&first.serial)
        .unwrap()
        .unwrap();
    assert_eq!(
        (owner.order, owner.account),
        (order.id.clone(), account.id.clone())
    );
    assert_eq!(
        fixture.state.order_of_certificate(&[0x40, 2]).unwrap(),
        None
    );
    assert_eq!(fixture.state.open_orders(&account.id, now()).unwrap(), 0);
    assert_eq!(
        fixture
            .state
            .order(&order.id, first.not_after + DAY)
            .unwrap()
            .status,
        OrderStatus::Valid
    );
}

#[test]
fn a_failed_challenge_ends_its_authorization_and_its_order_at_once() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let order = fixture.order(&account, &["a.test", "b.test"]);
    let of = |n: usize| {
        fixture
            .state
            .authorization(&order.authorizations[n], now())
            .unwrap()
    };
    let challenge = of(0).challenges[0].id.clone();
    fixture.state.start_challenge(&challenge, now()).unwrap();
    let seen = fixture
        .state
        .finish_challenge(&challenge, &wrong(), now())
        .unwrap();
    assert_eq!(seen.status, AuthorizationStatus::Invalid);
    assert_eq!(seen.challenges[0].status, ChallengeStatus::Invalid);
    let Outcome::Wrong(problem) = wrong() else {
        unreachable!()
    };
    assert_eq!(seen.challenges[0].error.as_ref(), Some(&problem));
    let failed = fixture.state.order(&order.id, now()).unwrap();
    assert_eq!(
        (failed.status, failed.error),
        (OrderStatus::Invalid, Some(problem))
    );
    assert!(
        fixture
            .state
            .start_challenge(&seen.challenges[1].id, now())
            .is_err()
    );
    // The other name may still be shown, and helps nobody.
    let other = of(1).challenges[0].id.clone();
    fixture.state.start_challenge(&other, now()).unwrap();
    fixture
        .state
        .finish_challenge(&other, &right(), now())
        .unwrap();
    assert_eq!(fixture.status(&order), OrderStatus::Invalid);
    assert!(
        fixture
            .state
            .orders_of(&account.id, None, 10, now())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn what_was_given_up_or_ran_out_while_it_was_looked_at_stays_so() {
    let fixture = Fixture::new();
    let account = fixture.account();
    for (outcome, later) in [
        (right(), DAY * 2),
        (wrong(), DAY * 2),
        (right(), Duration::ZERO),
    ] {
        let order = fixture.order(&account, &["a.test"]);
        let id = &order.authorizations[0];
        let challenge = fixture.state.authorization(id, now()).unwrap().challenges[0]
            .id
            .clone();
        fixture.state.start_challenge(&challenge, now()).unwrap();
        let want = if later == Duration::ZERO {
            fixture
                .state
                .deactivate_authorization(id, now())
                .unwrap()
                .status
        } else {
            AuthorizationStatus::Invalid
        };
        let seen = fixture
            .state
            .finish_challenge(&challenge, &outcome, now() + later)
            .unwrap();
        assert_eq!(seen.status, want);
        let order = fixture.state.order(&order.id, now() + later).unwrap();
        assert_eq!(order.status, OrderStatus::Invalid);
        assert!(
            fixture
                .state
                .unfinished_challenges(now())
                .unwrap()
                .is_empty()
        );
    }
    // Valid once, then expired: the order cannot be finalized with it.
    let order = fixture.ready(&account, &["a.test"]);
    let id = &order.authorizations[0];
    let after = now() + DAY * 31;
    let seen = fixture.state.authorization(id, after).unwrap();
    assert_eq!(seen.status, AuthorizationStatus::Expired);
    fixture.state.deactivate_authorization(id, now()).unwrap();
    assert_eq!(fixture.status(&order), OrderStatus::Invalid);
    assert!(fixture.state.deactivate_authorization(id, now()).is_err());
}

#[test]
fn an_authorization_that_ended_before_its_order_keeps_it_from_being_issued() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let order = fixture.order(&account, &["a.test"]);
    let challenge = fixture
        .state
        .authorization(&order.authorizations[0], now())
        .unwrap()
        .challenges[0]
        .id
        .clone();
    fixture.state.start_challenge(&challenge, now()).unwrap();
    let short = Outcome::Right {
        valid_until: now() + Duration::HOUR,
    };
    fixture
        .state
        .finish_challenge(&challenge, &short, now())
        .unwrap();
    let later = now() + Duration::HOUR * 2;
    assert!(matches!(
        fixture.state.begin_issuance(&order.id, b"csr", later),
        Err(StateError::NotReady(OrderStatus::Invalid))
    ));
    assert_eq!(fixture.status(&order), OrderStatus::Invalid, "and stays so");
}

#[test]
fn a_believed_account_has_nothing_to_show() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let asked = [
        AskedIdentifier::dns("a.test"),
        AskedIdentifier::dns("b.test"),
    ];
    let until = Some(now() + DAY);
    let one = [wanted("a.test", until), wanted("b.test", None)];
    let order = fixture
        .state
        .create_order(&new_order(&account.id, &asked, &one), now())
        .unwrap();
    assert_eq!(order.status, OrderStatus::Pending);
    let both = [wanted("a.test", until), wanted("b.test", until)];
    let order = fixture
        .state
        .create_order(&new_order(&account.id, &asked, &both), now())
        .unwrap();
    assert_eq!(order.status, OrderStatus::Ready);
    let seen = fixture
        .state
        .authorization(&order.authorizations[0], now())
        .unwrap();
    assert_eq!(
        (seen.status, seen.challenges.len()),
        (AuthorizationStatus::Valid, 0)
    );
    for (asked, wanted) in [
        (&asked[..0], &both[..0]),
        (&asked[..1], &both[..]),
        (
            &asked[..],
            &[wanted("a.test", None), wanted("A.test", None)],
        ),
    ] {
        let refused = fixture
            .state
            .create_order(&new_order(&account.id, asked, wanted), now());
        assert!(matches!(refused, Err(StateError::UnfitNames)));
    }
}

#[test]
fn a_certificate_is_replaced_by_one_order_that_did_not_fail() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let first = fixture
        .try_order(&account, &["a.test"], Some("aki.1"))
        .unwrap();
    let refused = fixture
        .try_order(&account, &["a.test"], Some("aki.1"))
        .unwrap_err();
    assert!(matches!(&refused, StateError::AlreadyReplaced(id) if *id == first.id));
    assert_eq!(Problem::from(&refused).status(), 409);
    fixture
        .try_order(&account, &["a.test"], Some("aki.2"))
        .unwrap();

    fixture
        .state
        .deactivate_authorization(&first.authorizations[0], now())
        .unwrap();
    let second = fixture
        .try_order(&account, &["a.test"], Some("aki.1"))
        .unwrap();
    // One that ran out unseen is in nobody's way either.
    let asked = [AskedIdentifier::dns("a.test")];
    let wanted = [wanted("a.test", None)];
    let new = NewOrder {
        replaces: Some("aki.1"),
        expires_at: now() + DAY * 3,
        ..new_order(&account.id, &asked, &wanted)
    };
    let third = fixture.state.create_order(&new, now() + DAY * 2).unwrap();
    assert_eq!(third.replaces.as_deref(), Some("aki.1"));
    assert_eq!(fixture.status(&second), OrderStatus::Invalid);
    let won = at_once(6, || {
        fixture
            .try_order(&account, &["b.test"], Some("aki.3"))
            .is_ok()
    });
    assert_eq!(won, 1);
}

#[test]
fn an_account_may_revoke_what_it_holds_all_authorizations_for() {
    let fixture = Fixture::new();
    let (account, other) = (fixture.account(), fixture.account());
    fixture.ready(&account, &["a.test", "*.a.test"]);
    fixture.order(&account, &["pending.test"]);
    let table: [(&Account, &[&str], Duration, bool); 8] = [
        (&account, &["a.test"], Duration::ZERO, true),
        (&account, &["a.test", "*.a.test"], Duration::ZERO, true),
        (&account, &["a.test", "b.test"], Duration::ZERO, false),
        (&account, &["b.a.test"], Duration::ZERO, false),
        (&account, &["pending.test"], Duration::ZERO, false),
        (&account, &["a.test"], DAY * 31, false),
        (&account, &[], Duration::ZERO, false),
        (&other, &["a.test"], Duration::ZERO, false),
    ];
    for (who, names, later, want) in table {
        let list: Vec<_> = names
            .iter()
            .map(|n| Identifier::parse(n).unwrap())
            .collect();
        let may = fixture
            .state
            .is_authorized_for(&who.id, &list, now() + later)
            .unwrap();
        assert_eq!(may, want, "{names:?}");
    }
}

#[test]
fn a_crash_at_any_step_of_issuing_loses_no_certificate() {
    for died_after in 0..3 {
        let fixture = Fixture::new();
        let account = fixture.account();
        let order = fixture.ready(&account, &["a.test"]);
        let issued = leaf(1, "a.test", 90);
        let steps: [&dyn Fn(); 2] = [
            &|| {
                let begun = fixture.state.begin_issuance(&order.id, b"csr", now());
                assert_eq!(begun.unwrap().csr.as_deref(), Some(&b"csr"[..]));
            },
            &|| drop(fixture.issue(&order, &issued).unwrap()),
        ];
        steps.iter().take(died_after).for_each(|step| step());

        let fixture = fixture.reopened();
        let adopted = fixture.state.adopt(now()).unwrap();
        let seen = fixture.state.order(&order.id, now()).unwrap();
        let kept = fixture.state.certificate(&issued.serial).unwrap();
        match died_after {
            0 => assert_eq!((adopted.len(), seen.status), (0, OrderStatus::Ready)),
            1 => {
                assert_eq!(seen.status, OrderStatus::Processing);
                assert_eq!(adopted, [seen]);
            }
            _ => assert_eq!((adopted.len(), seen.status), (0, OrderStatus::Valid)),
        }
        assert_eq!(kept.is_some(), died_after == 2);
    }
}

#[test]
fn a_batch_is_taken_down_with_its_orders_or_not_at_all() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let orders: Vec<_> = (0..3)
        .map(|_| fixture.ready(&account, &["a.test"]))
        .collect();
    for order in &orders[..2] {
        let begun = fixture.state.begin_issuance(&order.id, b"csr", now());
        begun.unwrap();
    }
    let entries = [1, 2, 3].map(|number| leaf(number, "a.test", 90));
    let batch = || orders.iter().map(|order| &order.id).zip(&entries);
    let held = fixture.state.held();
    let broken = "CREATE TRIGGER full BEFORE UPDATE OF serial ON acme_orders WHEN NEW.number = 2
        BEGIN SELECT RAISE(ABORT, 'full'); END";
    held.ledger.connection().execute_batch(broken).unwrap();
    drop(held);
    assert!(fixture.state.issue(batch(), now()).is_err());
    assert_eq!(count(&fixture.state, "certificates"), 0);
    assert_eq!(fixture.status(&orders[0]), OrderStatus::Processing);

    let held = fixture.state.held();
    held.ledger
        .connection()
        .execute_batch("DROP TRIGGER full")
        .unwrap();
    drop(held);
    let answers = fixture.state.issue(batch(), now()).unwrap();
    let issued: Vec<_> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(
        issued,
        [true, true, false],
        "nobody asked for the third yet"
    );
    assert_eq!(count(&fixture.state, "certificates"), 2);
    assert_eq!(fixture.status(&orders[2]), OrderStatus::Ready);
}

#[test]
fn a_change_that_fails_half_way_changes_nothing() {
    let fixture = Fixture::new();
    let account = fixture.account();
    fixture
        .state
        .held()
        .ledger
        .connection()
        .execute_batch(
            "CREATE TRIGGER no_dns BEFORE INSERT ON acme_challenges WHEN new.kind = 'dns-01'
             BEGIN SELECT RAISE(ABORT, 'disk full'); END",
        )
        .unwrap();
    let error = fixture
        .try_order(&account, &["a.test"], Some("aki.1"))
        .unwrap_err();
    assert!(
        error.is_internal() && matches!(error, StateError::Ledger(_)),
        "{error:?}"
    );
    let problem = Problem::from(&error);
    assert_eq!(problem.kind(), ProblemType::ServerInternal);
    assert!(!problem.detail().contains("disk"));
    for table in ["acme_orders", "acme_authorizations", "acme_challenges"] {
        assert_eq!(count(&fixture.state, table), 0, "{table}");
    }
}

fn count(state: &State, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    let held = state.held();
    held.ledger
        .connection()
        .query_row(&sql, [], |row| row.get(0))
        .unwrap()
}

#[test]
fn a_sweep_takes_what_nothing_depends_on_and_all_that_belongs_to_it() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let lost = fixture.order(&account, &["a.test"]);
    let shown = fixture.ready(&account, &["b.test"]);
    let issued = fixture.ready(&account, &["c.test"]);
    fixture.issued(&issued, &[0x41], 90);
    let stuck = fixture.ready(&account, &["d.test"]);
    fixture
        .state
        .begin_issuance(&stuck.id, b"csr", now())
        .unwrap();
    for (days, gone, left) in [
        (0, 0, 4),
        (2, 1, 3),
        (31, 1, 2),
        (89, 0, 2),
        (119, 0, 2),
        (121, 1, 1),
        (4000, 0, 1),
    ] {
        assert_eq!(
            fixture.state.sweep(now() + DAY * days).unwrap(),
            gone,
            "{days}"
        );
        assert_eq!(count(&fixture.state, "acme_orders"), left, "{days}");
    }
    for order in [lost, shown, issued] {
        assert!(matches!(
            fixture.state.order(&order.id, now()),
            Err(StateError::NotFound("order"))
        ));
    }
    assert_eq!(count(&fixture.state, "acme_authorizations"), 1);
    assert_eq!(count(&fixture.state, "acme_challenges"), 3);
    fixture.state.account(&account.id).unwrap();
}

#[test]
fn orders_are_listed_page_by_page_without_the_invalid_ones() {
    let fixture = Fixture::new();
    let (account, other) = (fixture.account(), fixture.account());
    fixture.order(&other, &["x.test"]);
    let made: Vec<_> = (0..7)
        .map(|n| fixture.order(&account, &[&format!("a{n}.test")]).id)
        .collect();
    let failed = fixture.order(&account, &["bad.test"]);
    fixture
        .state
        .deactivate_authorization(&failed.authorizations[0], now())
        .unwrap();
    let mut seen = Vec::new();
    loop {
        let page = fixture
            .state
            .orders_of(&account.id, seen.last(), 3, now())
            .unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    assert_eq!(seen, made);
    assert!(
        fixture
            .state
            .orders_of(&account.id, None, 9, now() + DAY * 2)
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        fixture
            .state
            .open_orders(&account.id, now() + DAY * 2)
            .unwrap(),
        0
    );
}

#[test]
fn what_was_signed_for_others_is_told_with_the_account_it_was_ordered_by() {
    let fixture = Fixture::new();
    let account = fixture.account();
    let order = fixture.ready(&account, &["a.test"]);
    let names = ["b.test", "a.test"].map(|name| Identifier::parse(name).unwrap());
    let elsewhere = |number, days| Entry {
        id: None,
        names: names.to_vec(),
        ..leaf(number, "a.test", days)
    };
    fixture
        .state
        .begin_issuance(&order.id, b"csr", now())
        .unwrap();
    fixture.issue(&order, &elsewhere(1, 1)).unwrap();
    let ledger = Ledger::open(&fixture.path()).unwrap();
    let kept_here = leaf(3, "a.test", 1);
    ledger
        .record(&[elsewhere(2, 1), kept_here, elsewhere(4, -2)])
        .unwrap();
    let revoked = elsewhere(1, 1).serial;
    ledger.revoke(&revoked, Reason::Superseded, now()).unwrap();
    let seen = |ledger: &Ledger, moment| {
        let mut seen = Vec::new();
        visit_signed(ledger, moment, |one| seen.push(one)).unwrap();
        seen.sort_by_key(|one| one.number);
        seen
    };
    let found = seen(&ledger, now());
    let [first, second] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (&first.account, first.is_revoked),
        (&Some(account.id), true)
    );
    assert_eq!((&second.account, second.is_revoked), (&None, false));
    assert_eq!(first.serial, revoked);
    assert_eq!(
        first.names, "a.test\nb.test",
        "in whatever order they were asked for"
    );
    assert_eq!(first.names, Signed::names_key(&names));
    assert_eq!(seen(&ledger, now() - DAY * 3).len(), 3);

    // Where no directory was ever run, nothing is made of it.
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ca.sqlite")).unwrap();
    ledger.record(&[elsewhere(1, 1)]).unwrap();
    assert_eq!(seen(&ledger, now())[0].account, None);
    let tables = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'acme%'";
    let made: i64 = ledger
        .connection()
        .query_row(tables, [], |row| row.get(0))
        .unwrap();
    assert_eq!(made, 0);
}

/// Fills the tables with past orders, each with two names and six challenges.
fn many(state: &State, account: &AccountId, orders: i64) {
    let past = now() - Duration::days(100);
    let held = state.held();
    held.ledger
        .connection()
        .execute_batch(&format!(
            "BEGIN;
             CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS
                 (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {orders}) SELECT i FROM n;
             INSERT INTO acme_orders (id, account, status, created_at, expires_at, keep_until,
                 identifiers, serial, replaces)
                 SELECT printf('%022d', i), (SELECT number FROM acme_accounts WHERE id = '{account}'),
                 CASE i % 5 WHEN 0 THEN 'invalid' ELSE 'valid' END, {past}, {past}, {past} + i,
                 '[]', printf('77%06x', i), printf('aki.%d', i) FROM n;
             INSERT INTO acme_authorizations (id, acme_order, account, identifier, status, expires_at)
                 SELECT printf('%022d', 2 * number + k), number, account,
                 printf('n%d.test', number % 100), 'valid', {past}
                 FROM acme_orders, (SELECT 0 AS k UNION SELECT 1);
             INSERT INTO acme_challenges (id, authorization, kind, token, status)
                 SELECT printf('%022d', 3 * number + k), number, 'dns-01', 'token', 'valid'
                 FROM acme_authorizations, (SELECT 0 AS k UNION SELECT 1 UNION SELECT 2);
             COMMIT",
            past = past.unix_timestamp(),
        ))
        .unwrap();
}

/// How many steps the database's machine takes for a query.
fn steps(state: &State, sql: &str, params: &[&dyn rusqlite::ToSql]) -> i32 {
    let held = state.held();
    let mut statement = held.ledger.connection().prepare(sql).unwrap();
    let mut rows = statement.query(params).unwrap();
    while rows.next().unwrap().is_some() {}
    drop(rows);
    statement.get_status(rusqlite::StatementStatus::VmStep)
}

#[test]
fn past_orders_do_not_slow_a_new_one() {
    const PAST: i64 = 30_000;
    let fixture = Fixture::new();
    let busy = fixture.account();
    let account: i64 = 1;
    let at = now().unix_timestamp();
    let id = "0000000000000000000007";
    let runner = 1;
    let queries: [(&str, Vec<&dyn rusqlite::ToSql>); 10] = [
        (order::OPEN_ORDERS, vec![&account, &at]),
        (order::ORDERS_OF, vec![&account, &-1, &at, &10]),
        (order::AUTHORIZED, vec![&account, &"n7.test", &at]),
        (runner::LEFT, vec![]),
        (runner::AT_WORK, vec![&runner]),
        (certificate::OF_CERTIFICATE, vec![&"77000007"]),
        (challenge::UNFINISHED, vec![&runner]),
        (
            "SELECT id FROM acme_authorizations WHERE acme_order = 7",
            vec![],
        ),
        (
            "SELECT id FROM acme_challenges WHERE authorization = 7",
            vec![],
        ),
        (
            "SELECT o.* FROM acme_orders o WHERE o.replaces = ?1 AND o.replaces IS NOT NULL
             AND o.status <> 'invalid'",
            vec![&"aki.7"],
        ),
    ];
    many(&fixture.state, &busy.id, 30);
    let few: Vec<i32> = queries
        .iter()
        .map(|(sql, p)| steps(&fixture.state, sql, p))
        .collect();
    let fixture = Fixture::new();
    let busy = fixture.account();
    many(&fixture.state, &busy.id, PAST);
    for ((sql, params), few) in queries.iter().zip(few) {
        let now = steps(&fixture.state, sql, params);
        assert!(now <= few + 40, "{few} steps became {now}: {sql}");
    }
    let held = fixture.state.held();
    for sql in [
        order::SWEEP,
        "SELECT * FROM acme_orders WHERE id = 'x'",
        "SELECT * FROM acme_challenges WHERE id = 'x'",
        "SELECT * FROM acme_authorizations WHERE id = 'x'",
        "SELECT * FROM acme_accounts WHERE thumbprint = 'x'",
        account::CLOSE_ORDERS,
        account::CLOSE_AUTHORIZATIONS,
        account::SERIALS,
        certificate::SIGNED,
    ] {
        let mut plan = held
            .ledger
            .connection()
            .prepare(&format!("EXPLAIN QUERY PLAN {sql}"))
            .unwrap();
        let unset = plan.parameter_count();
        let lines: Vec<String> = plan
            .query_map(rusqlite::params_from_iter(vec![0; unset]), |row| row.get(3))
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert!(
            lines.iter().all(|line| !line.starts_with("SCAN")),
            "{sql}: {lines:?}"
        );
    }
    drop(held);
    // And the whole way, for an account with a past.
    let order = fixture.ready(&busy, &["new.test"]);
    assert_eq!(
        fixture
            .state
            .order(&order.id, now())
            .unwrap()
            .id
            .as_str()
            .len(),
        id.len()
    );
    fixture.issued(&order, &[0x41], 1);
    let long_ago = now() - DAY * 90;
    let swept = fixture.state.sweep(long_ago).unwrap();
    assert_eq!(swept, PAST as u64);
    assert_eq!(count(&fixture.state, "acme_challenges"), 3);
}

#[test]
fn accounts_are_listed_with_what_they_have_and_no_others_order_is_looked_at() {
    let fixture = Fixture::new();
    let state = &fixture.state;
    let list = |closed| {
        let mut found = Vec::new();
        let visited = state.visit_accounts(closed, |one| {
            found.push(one);
            std::ops::ControlFlow::Continue(())
        });
        visited.unwrap();
        found
    };
    assert_eq!(list(true), []);
    let new = NewEabKey {
        names: NameConstraints::new(vec!["test".parse().unwrap()]),
        trust: Trust::SkipValidation,
    };
    let (eab, jwk) = (state.add_eab_key(&new, now()).unwrap(), key());
    let bound = NewAccount {
        contacts: &["mailto:ada@home.test".to_owned()],
        eab_kid: Some(&eab.kid),
        ..plain(&jwk)
    };
    let Registered::New(bound) = state.register(&bound, now()).unwrap() else {
        panic!("it is there")
    };
    let (busy, idle) = (fixture.account(), fixture.account());
    let later = fixture.ready(&busy, &["a.test"]);
    fixture.issued(&later, &[0x41], 90);
    let second = fixture.ready(&busy, &["b.test"]);
    fixture.issued(&second, &[0x42], 90);
    fixture.order(&busy, &["c.test"]);
    let failed = fixture.ready(&busy, &["d.test"]);
    let begin = state.begin_issuance(&failed.id, b"csr", now());
    begin.unwrap();
    let problem = Problem::malformed("no");
    state.fail_order(&failed.id, &problem, now()).unwrap();

    let [first, second, third] = &list(false)[..] else {
        panic!("three accounts")
    };
    assert_eq!(
        (&first.id, &first.eab_kid, first.trust, first.certificates),
        (&bound.id, &Some(eab.kid.clone()), Trust::SkipValidation, 0)
    );
    assert_eq!(first.contacts, bound.contacts);
    assert_eq!((first.last_ordered_at, first.last_issued_at), (None, None));
    assert_eq!((&second.id, second.certificates), (&busy.id, 2));
    assert_eq!(second.trust, Trust::Validate);
    assert_eq!(second.last_ordered_at, Some(now()));
    assert_eq!(second.last_issued_at, Some(now()));
    assert_eq!((&third.id, third.eab_revoked_at), (&idle.id, None));
    let serials = state.certificates_of(&busy.id).unwrap();
    assert_eq!(serials, [[0x41], [0x42]]);
    state
        .certificates_of(&AccountId::random().unwrap())
        .unwrap_err();

    // What was taken away is not there without asking, and what it had stays.
    state.revoke_eab_key(&eab.kid, now()).unwrap();
    let closed = state.close_account(&busy.id, AccountEvent::Revoke).unwrap();
    assert_eq!(closed.status, AccountStatus::Revoked);
    let twice = state.close_account(&busy.id, AccountEvent::Revoke);
    assert!(matches!(twice, Err(StateError::Impossible(_))));
    let ids = |list: Vec<AccountSummary>| list.into_iter().map(|a| a.id).collect::<Vec<_>>();
    assert_eq!(list(false)[0].eab_revoked_at, Some(now()));
    assert_eq!(ids(list(false)), [bound.id.clone(), idle.id.clone()]);
    assert_eq!(ids(list(true)), [bound.id, busy.id.clone(), idle.id]);
    assert_eq!(list(true)[1].certificates, 2);
    let mut seen = 0;
    let stop = |_| {
        seen += 1;
        std::ops::ControlFlow::Break(())
    };
    state.visit_accounts(true, stop).unwrap();
    assert_eq!(seen, 1);

    let held = state.held();
    let sql = format!("EXPLAIN QUERY PLAN {}", account::SUMMARIES);
    let mut plan = held.ledger.connection().prepare(&sql).unwrap();
    let lines = plan.query_map([true], |row| row.get::<_, String>(3));
    let lines: Vec<_> = lines.unwrap().map(Result::unwrap).collect();
    let scans = lines.iter().filter(|line| line.starts_with("SCAN"));
    assert_eq!(scans.collect::<Vec<_>>(), ["SCAN a"], "{lines:?}");
}

#[test]
fn the_tables_stand_beside_the_inventorys_and_go_into_its_copies() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ca.sqlite");
    let ledger = Ledger::open(&path).unwrap();
    ledger.record(&[leaf(1, "a.test", 1)]).unwrap();
    assert_eq!(at_once(6, || State::open(&path).is_ok()), 6);
    let state = State::open(&path).unwrap();
    let key = key();
    state.register(&plain(&key), now()).unwrap();
    assert!(
        Ledger::open(&path)
            .unwrap()
            .by_serial(&leaf(1, "a.test", 1).serial)
            .unwrap()
            .is_some()
    );

    let copy = dir.path().join("copy.sqlite");
    ledger.snapshot_to(&copy).unwrap();
    let copied = State::open(&copy).unwrap();
    assert!(copied.account_by_key(&key.thumbprint()).unwrap().is_some());

    // Tables of the first version become these.
    let old = dir.path().join("old.sqlite");
    let first = Ledger::open(&old).unwrap();
    let made = format!(
        "{}; CREATE TABLE acme_schema (version INTEGER NOT NULL);
         INSERT INTO acme_schema VALUES (1)",
        schema::MIGRATIONS[0]
    );
    first.connection().execute_batch(&made).unwrap();
    let updated = State::open(&old).unwrap();
    assert_eq!(updated.adopt(now()).unwrap(), []);

    let sql = "UPDATE acme_schema SET version = 99";
    state.held().ledger.connection().execute_batch(sql).unwrap();
    let refused = State::open(&path).unwrap_err();
    assert!(matches!(refused, StateError::NewerSchema { found: 99, .. }));
    Ledger::open(&path).unwrap();
}

#[test]
fn commits_wait_for_the_disk_where_it_is_said() {
    let fixture = Fixture::new();
    let account = fixture.account();
    assert!(fixture.state.held().waits);
    let order = fixture.order(&account, &["a.test"]);
    assert!(!fixture.state.held().waits);
    fixture
        .state
        .deactivate_authorization(&order.authorizations[0], now())
        .unwrap();
    assert!(fixture.state.held().waits);
    assert!(synchronous(fixture.state.held().ledger.connection()));
}

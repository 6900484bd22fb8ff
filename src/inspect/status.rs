//! What `ca status` knows: the hierarchy, and everything issued, worst first.
//!
//! Pure: plain inputs and a moment in, data out. Whoever keeps the CA and the
//! store fills [`CaInput`] and [`CertInput`]; nothing here knows where they came
//! from.

use std::cmp::Reverse;
use std::path::PathBuf;

use serde::Serialize;

use super::model::{Cert, CertState, ChainInfo, Overall, moment, optional_moment};
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp};
use crate::finding::rules::{self, Context, KeyHome, Life, Role, Stage, Subject};
use crate::finding::{Finding, Severity, words, worst};

/// The CA as it lies on disk.
#[derive(Debug, Clone, Default)]
pub struct CaInput {
    /// How commands in fixes begin: `certmint`, with `--home` when it is not the default.
    pub program: String,
    /// The state directory.
    pub home: PathBuf,
    /// The CA's name, as given to `ca init`.
    pub name: String,
    /// Roots, oldest first.
    pub roots: Vec<AuthorityInput>,
    /// Intermediates, oldest first; the last one signs.
    pub intermediates: Vec<AuthorityInput>,
    /// What it may issue for; empty when that is everything.
    pub name_constraints: Vec<String>,
    /// The CRL, when one was ever made.
    pub crl: Option<CrlInput>,
    /// Trust stores that were looked at.
    pub trust: Vec<TrustInput>,
    /// The ACME directory's URL, when it is known.
    pub acme: Option<String>,
    /// Everything ever issued, by the ledger.
    pub counts: Counts,
    /// Whatever else the caller found.
    pub findings: Vec<Finding>,
}

/// A root or an intermediate.
#[derive(Debug, Clone)]
pub struct AuthorityInput {
    /// `R1`, `I2`.
    pub name: String,
    /// Its certificate.
    pub certificate: Certificate,
    /// Where that lies.
    pub path: PathBuf,
    /// Where its key is.
    pub key: KeyPlace,
    /// When it is to be replaced, if that is not four fifths of its life.
    pub renew_at: Option<Timestamp>,
    /// Still trusted, but no longer in use: its dates are its own affair.
    pub retired: bool,
}

/// Where a CA's private key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyPlace {
    /// On this machine.
    Here {
        /// The file.
        path: PathBuf,
        /// Whether it needs a passphrase.
        encrypted: bool,
        /// The file's permission bits.
        mode: Option<u32>,
    },
    /// Somewhere else, offline as a rule.
    Elsewhere,
}

/// The newest CRL.
#[derive(Debug, Clone)]
pub struct CrlInput {
    /// Where it lies.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// How many certificates it lists.
    pub revoked: u64,
    /// When it was made.
    pub this_update: Timestamp,
    /// When the next is promised.
    pub next_update: Option<Timestamp>,
}

/// One trust store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustInput {
    /// `system`, `nss`, `java`.
    pub store: String,
    /// `ok`, `missing`, `absent`, `1/2`.
    pub state: String,
    /// Where it lies.
    pub path: Option<PathBuf>,
}

/// How many certificates the ledger holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// All leaves ever issued and not swept.
    pub issued: u64,
    /// Of those, valid now.
    pub valid: u64,
    /// Of those, past their life.
    pub expired: u64,
    /// Of those, revoked.
    pub revoked: u64,
}

/// One certificate that matters: the newest of its id, or of its names.
#[derive(Debug, Clone)]
pub struct CertInput {
    /// Its id, or its first name when it is not kept here.
    pub name: String,
    /// The certificate; none when its files are damaged beyond reading.
    pub certificate: Option<Certificate>,
    /// The intermediates kept with it.
    pub chain: Vec<Certificate>,
    /// Where it lies.
    pub path: Option<PathBuf>,
    /// Its key's file, with the permission bits.
    pub key: Option<(PathBuf, u32)>,
    /// Whether certmint renews it (it holds the key), or somebody else does.
    pub managed: bool,
    /// The account of the private ACME directory whose client renews it; none when it is
    /// managed, or a person renews it.
    pub account: Option<String>,
    /// Why only an old root leads to it, when that has to be told.
    pub old_root: Option<String>,
    /// When it is due, if that is not two thirds of its life.
    pub renew_at: Option<Timestamp>,
    /// When and why it was revoked.
    pub revoked: Option<(Timestamp, Option<String>)>,
    /// Failed attempts to renew it.
    pub failures: Option<Failures>,
    /// What was wrong with newer generations of it.
    pub damage: Vec<String>,
    /// The command that mends it, when renewing would not.
    pub fix: Option<String>,
}

impl CertInput {
    /// A certificate of which nothing more is known.
    pub fn new(name: impl Into<String>, certificate: Certificate, managed: bool) -> Self {
        Self {
            certificate: Some(certificate),
            managed,
            ..Self::damaged(name, Vec::new())
        }
    }

    /// An id none of whose generations can be read.
    pub fn damaged(name: impl Into<String>, damage: Vec<String>) -> Self {
        Self {
            name: name.into(),
            certificate: None,
            chain: Vec::new(),
            path: None,
            key: None,
            managed: true,
            account: None,
            old_root: None,
            renew_at: None,
            revoked: None,
            failures: None,
            damage,
            fix: None,
        }
    }
}

/// Failed attempts to renew.
#[derive(Debug, Clone)]
pub struct Failures {
    /// Since the last success.
    pub count: u32,
    /// What the last one said.
    pub error: Option<String>,
    /// Not to be tried again before this.
    pub next_try: Option<Timestamp>,
}

/// Everything about the CA at one moment. Serializes to `certmint.ca-status/1`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaStatus {
    /// `certmint.ca-status/1`.
    pub schema: &'static str,
    /// When it was looked at.
    #[serde(serialize_with = "moment")]
    pub generated_at: Timestamp,
    /// The worst of all findings.
    pub overall: Overall,
    /// The hierarchy.
    pub ca: CaBlock,
    /// Certificates, worst first.
    pub certificates: Vec<CertStatus>,
}

/// The hierarchy and what belongs to it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaBlock {
    /// The CA's name.
    pub name: String,
    /// The state directory.
    pub home: PathBuf,
    /// Roots, newest first.
    pub roots: Vec<Authority>,
    /// Intermediates, newest first.
    pub intermediates: Vec<Authority>,
    /// What it may issue for; empty when that is everything.
    pub name_constraints: Vec<String>,
    /// The CRL, when one was ever made.
    pub crl: Option<CrlStatus>,
    /// The ACME directory's URL.
    pub acme: Option<String>,
    /// Trust stores that were looked at.
    pub trust: Vec<TrustInput>,
    /// How many certificates the ledger holds.
    pub counts: Counts,
    /// What is wrong with the CA itself.
    pub findings: Vec<Finding>,
}

/// A root or an intermediate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Authority {
    /// `R1`, `I2`.
    pub generation: String,
    /// Whether the newest of its kind, which signs.
    pub active: bool,
    /// No longer in use, though still trusted.
    pub retired: bool,
    /// SHA-256 over the DER, in pairs joined by colons, as browsers show it.
    pub fingerprint: String,
    /// `here` or `elsewhere`.
    pub key_location: &'static str,
    /// The certificate, with its findings.
    #[serde(flatten)]
    pub cert: Cert,
}

/// The newest CRL.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CrlStatus {
    /// Where it lies.
    pub path: PathBuf,
    /// Its number.
    pub number: u64,
    /// How many certificates it lists.
    pub revoked: u64,
    /// When it was made.
    #[serde(serialize_with = "moment")]
    pub this_update: Timestamp,
    /// When the next is promised.
    #[serde(serialize_with = "optional_moment")]
    pub next_update: Option<Timestamp>,
}

/// One certificate among those issued.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CertStatus {
    /// Whether certmint renews it.
    pub managed: bool,
    /// The account of the private ACME directory whose client renews it.
    pub account: Option<String>,
    /// The certificate, or what is left of it.
    #[serde(flatten)]
    pub entry: CertEntry,
}

/// A certificate that can be read, or one that cannot.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum CertEntry {
    /// Its name is its id.
    Readable(Box<Cert>),
    /// None of its generations can be used.
    Damaged {
        /// Its id.
        name: String,
        /// [`CertState::Damaged`].
        status: CertState,
        /// Where it lies.
        path: Option<PathBuf>,
        /// What is wrong with it.
        findings: Vec<Finding>,
    },
}

impl CertStatus {
    /// Its id, or its first name.
    pub fn id(&self) -> &str {
        match &self.entry {
            CertEntry::Readable(cert) => &cert.name,
            CertEntry::Damaged { name, .. } => name,
        }
    }

    /// Where it stands.
    pub fn state(&self) -> CertState {
        match &self.entry {
            CertEntry::Readable(cert) => cert.status,
            CertEntry::Damaged { status, .. } => *status,
        }
    }

    /// What is wrong with it, worst first.
    pub fn findings(&self) -> &[Finding] {
        match &self.entry {
            CertEntry::Readable(cert) => &cert.findings,
            CertEntry::Damaged { findings, .. } => findings,
        }
    }

    /// The certificate; none when damaged.
    pub fn cert(&self) -> Option<&Cert> {
        match &self.entry {
            CertEntry::Readable(cert) => Some(cert),
            CertEntry::Damaged { .. } => None,
        }
    }

    /// How bad it is: the worst of state and findings.
    pub fn severity(&self) -> Option<Severity> {
        // Where somebody else's client renews, that state is no fault of the CA's.
        let by_state = self.state().severity().filter(|_| self.account.is_none());
        by_state.max(worst(self.findings()))
    }

    /// For sorting: severity, state, then what ends first.
    fn rank(&self) -> (Reverse<(Option<Severity>, CertState)>, Option<Timestamp>) {
        let end = self.cert().map(|cert| cert.not_after);
        (Reverse((self.severity(), self.state())), end)
    }
}

impl CaStatus {
    /// The schema's name and version.
    pub const SCHEMA: &'static str = "certmint.ca-status/1";

    /// Judges a CA and what it issued, as of `now`.
    pub fn new(ca: &CaInput, certificates: &[CertInput], now: Timestamp) -> Self {
        let mut certificates: Vec<CertStatus> = certificates
            .iter()
            .map(|input| certificate(&ca.program, input, now))
            .collect();
        certificates.sort_by(|a, b| a.rank().cmp(&b.rank()).then_with(|| a.id().cmp(b.id())));
        let mut status = Self {
            schema: Self::SCHEMA,
            generated_at: now,
            overall: Overall::Ok,
            ca: block(ca, now),
            certificates,
        };
        status.overall = status.worst().into();
        status
    }

    /// Every finding, of the CA and of what it issued.
    pub fn all_findings(&self) -> impl Iterator<Item = &Finding> {
        let authorities = self.ca.roots.iter().chain(&self.ca.intermediates);
        self.ca
            .findings
            .iter()
            .chain(authorities.flat_map(|a| &a.cert.findings))
            .chain(self.certificates.iter().flat_map(CertStatus::findings))
    }

    /// The worst severity; decides the exit code.
    pub fn worst(&self) -> Option<Severity> {
        worst(self.all_findings())
    }
}

fn block(ca: &CaInput, now: Timestamp) -> CaBlock {
    let mut findings = ca.findings.clone();
    let crl = ca.crl.as_ref().map(|crl| {
        let place = words::path(&crl.path);
        let renew = words::command(&ca.program, ["ca", "crl"]);
        let subject = Subject {
            name: &place,
            renew: Some(&renew),
        };
        findings.extend(rules::stale_crl(
            subject,
            crl.this_update,
            crl.next_update,
            now,
        ));
        CrlStatus {
            path: crl.path.clone(),
            number: crl.number,
            revoked: crl.revoked,
            this_update: crl.this_update,
            next_update: crl.next_update,
        }
    });
    let kind = |inputs: &[AuthorityInput], role, word| -> Vec<Authority> {
        let newest = inputs.len().saturating_sub(1);
        let judged = inputs.iter().enumerate().map(|(position, input)| {
            let rotate = words::command(&ca.program, ["ca", "rotate", word]);
            let mut authority = authority(input, role, &rotate, now);
            authority.active = position == newest;
            authority
        });
        judged.rev().collect()
    };
    CaBlock {
        name: ca.name.clone(),
        home: ca.home.clone(),
        roots: kind(&ca.roots, Role::Root, "root"),
        intermediates: kind(&ca.intermediates, Role::Intermediate, "intermediate"),
        name_constraints: ca.name_constraints.clone(),
        crl,
        acme: ca.acme.clone(),
        trust: ca.trust.clone(),
        counts: ca.counts,
        findings,
    }
}

fn authority(input: &AuthorityInput, role: Role, rotate: &str, now: Timestamp) -> Authority {
    let certificate = &input.certificate;
    let mut cert = Cert::of(certificate, role, now);
    cert.path = Some(input.path.clone());
    cert.renew_at = input.renew_at.or(cert.renew_at);
    let subject = Subject {
        name: &cert.name,
        renew: Some(rotate),
    };
    if input.retired {
        cert.renew_at = None;
        cert.status = match cert.status {
            CertState::Expired => CertState::Expired,
            _ => CertState::Ok,
        };
    } else {
        let life = Life::of(certificate);
        cert.findings
            .extend(life_or_early(subject, life, role, cert.renew_at, now));
        if !cert.findings.is_empty() {
            cert.status = cert.status.max(CertState::Due);
        }
        cert.findings.extend(rules::profile(certificate, role));
    }
    let key_location = match &input.key {
        KeyPlace::Elsewhere => "elsewhere",
        KeyPlace::Here {
            path,
            encrypted,
            mode,
        } => {
            cert.key.path = Some(path.clone());
            cert.key.encrypted = Some(*encrypted);
            cert.key.mode = mode.map(|mode| format!("{:04o}", mode & 0o7777));
            let exposed = mode.and_then(|mode| rules::key_mode(path, mode, KeyHome::Ours));
            cert.findings.extend(exposed);
            "here"
        }
    };
    cert.status = cert.status.with(&cert.findings);
    Authority {
        generation: input.name.clone(),
        active: false,
        retired: input.retired,
        fingerprint: certificate.fingerprint(),
        key_location,
        cert,
    }
}

/// The rule about life, also when a caller's moment comes before the rule's own.
fn life_or_early(
    subject: Subject<'_>,
    life: Life,
    role: Role,
    renew_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Finding> {
    if life.stage(role, now) != Stage::Fresh {
        return rules::life(subject, life, role, now);
    }
    early(subject, life, renew_at, now)
}

/// What falls due by the caller's word.
fn early(
    subject: Subject<'_>,
    life: Life,
    renew_at: Option<Timestamp>,
    now: Timestamp,
) -> Option<Finding> {
    let early = renew_at.is_some_and(|at| at <= now);
    early.then(|| rules::due(subject, life, now))
}

fn certificate(program: &str, input: &CertInput, now: Timestamp) -> CertStatus {
    let renewed = || {
        let renewable = input.managed && input.fix.is_none();
        renewable.then(|| words::command(program, ["renew", &input.name]))
    };
    let renew = input
        .fix
        .clone()
        .or_else(renewed)
        .or_else(|| input.certificate.as_ref().map(|c| again(program, c)));
    let subject = Subject {
        name: &input.name,
        renew: renew.as_deref(),
    };
    let mut findings = Vec::new();
    let later = input.certificate.as_ref().filter(|c| now < c.not_before());
    // A client may have ordered it for later, which is no fault.
    let mut state = match later.and(input.account.as_ref()) {
        Some(_) => CertState::NotYetValid,
        None => CertState::Ok,
    };
    let mut notice = |worse: CertState, finding: Finding| {
        state = state.max(worse);
        findings.push(finding);
    };
    if let Some((at, reason)) = &input.revoked {
        notice(
            CertState::Revoked,
            rules::revoked(subject, *at, reason.as_deref()),
        );
    } else if let Some(certificate) = &input.certificate {
        let life = Life::of(certificate);
        let stage = CertState::from(life.stage(Role::Leaf, now)).max(CertState::Due);
        let found = match input.account {
            Some(_) => rules::life_by_client(subject, life, now)
                .or_else(|| early(subject, life, input.renew_at, now)),
            None => life_or_early(subject, life, Role::Leaf, input.renew_at, now),
        };
        if let Some(finding) = found {
            notice(stage, finding);
        }
        if let Some(why) = &input.old_root {
            notice(CertState::Due, rules::old_root(subject, why));
        }
    }
    if let Some(failures) = input.failures.as_ref().filter(|f| f.count > 0) {
        let error = failures.error.as_deref();
        let finding = rules::failing(subject, failures.count, error, failures.next_try, now);
        notice(CertState::Failing, finding);
    }
    let usable = input.certificate.is_some();
    for reason in &input.damage {
        let worse = if usable {
            CertState::Ok
        } else {
            CertState::Damaged
        };
        notice(worse, rules::damaged(subject, reason, usable));
    }
    if let Some((path, mode)) = &input.key {
        findings.extend(rules::key_mode(path, *mode, KeyHome::Ours));
    }
    let Some(certificate) = &input.certificate else {
        return CertStatus {
            managed: input.managed,
            account: input.account.clone(),
            entry: CertEntry::Damaged {
                name: input.name.clone(),
                status: state.max(CertState::Damaged),
                path: input.path.clone(),
                findings,
            },
        };
    };
    let mut cert = described(input, certificate, now);
    findings.extend(rules::profile(certificate, Role::Leaf));
    cert.chain = chain(certificate, &input.chain, &mut findings);
    findings.sort_by_key(|finding| Reverse(finding.severity));
    cert.status = state.with(&findings);
    cert.findings = findings;
    CertStatus {
        managed: input.managed,
        account: input.account.clone(),
        entry: CertEntry::Readable(Box::new(cert)),
    }
}

fn described(input: &CertInput, certificate: &Certificate, now: Timestamp) -> Cert {
    let mut cert = Cert::of(certificate, Role::Leaf, now);
    cert.name.clone_from(&input.name);
    cert.path.clone_from(&input.path);
    cert.renew_at = input.renew_at.or(cert.renew_at).filter(|_| input.managed);
    if let Some((path, mode)) = &input.key {
        cert.key.path = Some(path.clone());
        cert.key.mode = Some(format!("{:04o}", mode & 0o7777));
    }
    cert
}

/// How to issue again what nobody here renews.
fn again(program: &str, certificate: &Certificate) -> String {
    let names: Vec<String> = certificate
        .names()
        .iter()
        .map(ToString::to_string)
        .collect();
    let words = ["ca", "issue"]
        .into_iter()
        .chain(names.iter().map(String::as_str));
    words::command(program, words)
}

fn chain(
    certificate: &Certificate,
    above: &[Certificate],
    findings: &mut Vec<Finding>,
) -> Option<ChainInfo> {
    if above.is_empty() {
        return None;
    }
    let all: Vec<Certificate> = std::iter::once(certificate).chain(above).cloned().collect();
    let linked = rules::link(&all);
    let found = rules::chain(&all, &[], Context::File);
    let info = super::judge::chain_info(&all, &linked, &found);
    findings.extend(found);
    Some(info)
}

/// How long something is overdue at `now`, when it is.
pub fn overdue_by(renew_at: Timestamp, now: Timestamp) -> Option<Duration> {
    (renew_at <= now).then(|| now - renew_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::rules::tests::{now, root};

    const DAY: Duration = Duration::days(1);

    fn authority(name: &str, certificate: &Certificate) -> AuthorityInput {
        AuthorityInput {
            name: name.into(),
            certificate: certificate.clone(),
            path: PathBuf::from(format!("{name}.pem")),
            key: KeyPlace::Elsewhere,
            renew_at: None,
            retired: false,
        }
    }

    fn ca(roots: Vec<AuthorityInput>, intermediates: Vec<AuthorityInput>) -> CaInput {
        CaInput {
            program: "certmint --home /srv/ca".into(),
            roots,
            intermediates,
            ..CaInput::default()
        }
    }

    fn found(status: &CaStatus) -> Vec<(&'static str, Severity)> {
        status.all_findings().map(|f| (f.id, f.severity)).collect()
    }

    #[test]
    fn a_ca_that_ages_is_due_with_its_rotation_as_the_fix() {
        let old = |used: i32| {
            root("Root R1", |p| {
                p.not_before = now() - DAY * used;
                p.not_after = now() + DAY * (1000 - used);
            })
        };
        for (used, expected) in [
            (799, None),
            (800, Some(("due", Severity::Warn))),
            (950, Some(("overdue", Severity::Critical))),
            (1001, Some(("expired", Severity::Critical))),
        ] {
            let root = old(used);
            let mut input = ca(vec![authority("R1", &root.certificate)], Vec::new());
            let status = CaStatus::new(&input, &[], now());
            assert_eq!(found(&status).first().copied(), expected, "{used}");
            if expected.is_some() {
                let fix = status.all_findings().next().unwrap().fix.clone();
                assert_eq!(
                    fix.as_deref(),
                    Some("certmint --home /srv/ca ca rotate root")
                );
            }
            input.roots[0].retired = true;
            assert_eq!(
                found(&CaStatus::new(&input, &[], now())),
                [],
                "retired: {used}"
            );
        }
    }

    #[test]
    fn an_earlier_moment_of_the_callers_makes_an_intermediate_due() {
        let root = root("Root R1", |_| {});
        let middle = root.intermediate("I1", |_| {});
        let mut input = ca(
            vec![authority("R1", &root.certificate)],
            vec![authority("I1", &middle.certificate)],
        );
        assert_eq!(found(&CaStatus::new(&input, &[], now())), []);
        input.intermediates[0].renew_at = Some(now());
        let status = CaStatus::new(&input, &[], now());
        assert_eq!(found(&status), [("due", Severity::Warn)]);
        assert_eq!(status.ca.intermediates[0].cert.status, CertState::Due);
        assert!(status.ca.intermediates[0].active);
    }

    #[test]
    fn states_are_worst_first_and_each_says_how_to_mend_it() {
        let root = root("Root R1", |_| {});
        let leaf = |name: &str, before: i32, after: i32| {
            let (leaf, _) = root.leaf(name, |p| {
                p.not_before = now() - DAY * before;
                p.not_after = now() + DAY * after;
            });
            CertInput::new(name, leaf, true)
        };
        let mut revoked = leaf("revoked.test", 80, 10);
        revoked.revoked = Some((now() - DAY, None));
        let mut failing = leaf("failing.test", 10, 80);
        failing.failures = Some(Failures {
            count: 1,
            error: None,
            next_try: None,
        });
        let mut fallback = leaf("fallback.test", 10, 80);
        fallback.damage = vec!["generation 3 is torn".into()];
        let mut early = leaf("early.test", 10, 80);
        early.renew_at = Some(now() - DAY);
        let by_hand = CertInput {
            managed: false,
            ..leaf("hand.test", 91, -1)
        };
        let inputs = [
            leaf("ok.test", 10, 80),
            leaf("due.test", 60, 30),
            leaf("overdue.test", 81, 9),
            leaf("soon.test", -1, 91),
            revoked,
            failing,
            fallback,
            early,
            by_hand,
            CertInput::damaged("damaged.test", vec!["nothing verifies".into()]),
        ];
        let status = CaStatus::new(&ca(Vec::new(), Vec::new()), &inputs, now());
        let seen: Vec<(&str, &str)> = status
            .certificates
            .iter()
            .map(|c| (c.id(), c.state().as_str()))
            .collect();
        let expected = [
            ("hand.test", "expired"),
            ("revoked.test", "revoked"),
            ("damaged.test", "damaged"),
            ("soon.test", "not-yet-valid"),
            ("overdue.test", "overdue"),
            ("failing.test", "failing"),
            ("due.test", "due"),
            ("early.test", "due"),
            ("fallback.test", "flawed"),
            ("ok.test", "ok"),
        ];
        assert_eq!(seen, expected);
        assert_eq!(status.overall, Overall::Critical);
        let fix = |n: usize| status.certificates[n].findings()[0].fix.clone().unwrap();
        assert_eq!(fix(0), "certmint --home /srv/ca ca issue hand.test");
        assert_eq!(fix(1), "certmint --home /srv/ca renew revoked.test");
        for cert in &status.certificates[..9] {
            assert!(cert.findings().iter().all(|f| f.fix.is_some()), "{cert:?}");
        }
    }

    #[test]
    fn what_a_client_renews_is_a_warning_at_most_and_advice_is_about_the_client() {
        let root = root("Root R1", |_| {});
        let leaf = |name: &str, before: i32, after: i32| {
            let (leaf, _) = root.leaf(name, |p| {
                p.not_before = now() - DAY * before;
                p.not_after = now() + DAY * after;
            });
            CertInput {
                account: Some("an-account".to_owned()),
                fix: Some("look at its client".to_owned()),
                ..CertInput::new(name, leaf, false)
            }
        };
        let old = CertInput {
            old_root: Some("its issuer I1 is under R1".to_owned()),
            ..leaf("old.test", 10, 80)
        };
        let early = CertInput {
            renew_at: Some(now()),
            ..leaf("early.test", 10, 80)
        };
        let inputs = [
            leaf("due.test", 70, 20),
            leaf("overdue.test", 81, 9),
            leaf("expired.test", 91, -1),
            leaf("later.test", -1, 91),
            old,
            early,
        ];
        let status = CaStatus::new(&ca(Vec::new(), Vec::new()), &inputs, now());
        let seen: Vec<(&str, &str, Option<Severity>)> = status
            .certificates
            .iter()
            .map(|c| (c.id(), c.state().as_str(), c.severity()))
            .collect();
        let warn = Some(Severity::Warn);
        let expected = [
            ("expired.test", "expired", warn),
            ("overdue.test", "overdue", warn),
            ("early.test", "due", warn),
            ("old.test", "due", warn),
            ("later.test", "not-yet-valid", None),
            ("due.test", "ok", None),
        ];
        assert_eq!(seen, expected);
        assert_eq!(status.overall, Overall::Warn);
        for finding in status.all_findings() {
            assert_eq!(finding.fix.as_deref(), Some("look at its client"));
        }
        let json = serde_json::to_value(&status.certificates[0]).unwrap();
        assert_eq!(
            (&json["managed"], &json["account"]),
            (&false.into(), &"an-account".into())
        );
    }

    #[test]
    fn a_stale_crl_and_a_loose_key_are_the_cas_own_findings() {
        let root = root("Root R1", |_| {});
        let mut input = ca(vec![authority("R1", &root.certificate)], Vec::new());
        input.roots[0].key = KeyPlace::Here {
            path: PathBuf::from("key.pem"),
            encrypted: false,
            mode: Some(0o100_640),
        };
        input.crl = Some(CrlInput {
            path: PathBuf::from("crl.pem"),
            number: 1,
            revoked: 0,
            this_update: now() - DAY * 8,
            next_update: Some(now() - DAY),
        });
        let status = CaStatus::new(&input, &[], now());
        let critical = Severity::Critical;
        assert_eq!(
            found(&status),
            [("stale-crl", critical), ("key-mode", critical)]
        );
        assert_eq!(status.ca.roots[0].cert.status, CertState::Flawed);
        assert_eq!(
            status.ca.findings[0].fix.as_deref(),
            Some("certmint --home /srv/ca ca crl")
        );
    }
}

//! Who may have a certificate, decided before anything is made or fetched.
//!
//! Rules kept here: every rule that is given has to agree; what can be told without
//! asking anybody is told first; whoever gives no answer has said no; a question about
//! one name is asked once, however many wait for it.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::Shared;

use super::caps::{Cap, is_public_suffix};
use super::policy::Refusal;
use crate::clock::{Clock, Throttle, Timestamp};
use crate::finding::words::causes;
use crate::identifier::{DnsName, Identifier, NameConstraints, quoted};
use crate::issuer::BoxFuture;

/// Names that may have a certificate: `*` stands for any letters of one label, `**.` at
/// the start for one label or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    text: String,
    /// From the last to the first.
    labels: Vec<String>,
    /// It began with `**.`.
    deep: bool,
}

impl NamePattern {
    /// Whether it covers `name`.
    pub fn covers(&self, name: &DnsName) -> bool {
        let mut asked = name.as_str().rsplit('.');
        let all = self.labels.iter().all(|pattern| {
            let label = asked.next();
            label.is_some_and(|label| matches(pattern, label))
        });
        all && asked.next().is_some() == self.deep
    }
}

/// Whether `label` is what `pattern` describes, in which `*` stands for any letters.
fn matches(pattern: &str, label: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == label;
    };
    let Some(mut left) = label.strip_prefix(head) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let tail = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(tail)
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = |reason| InvalidPattern {
            text: quoted(text),
            reason,
        };
        let lower = text.to_ascii_lowercase();
        let (deep, below) = match lower.strip_prefix("**.") {
            Some(below) => (true, below),
            None => (false, lower.as_str()),
        };
        if below.is_empty() || below.contains("**") {
            return Err(invalid("`**.` stands once, at the start"));
        }
        // Stars that stand for something make it a name, or it never covers one.
        let stars = below.contains('*');
        let name = DnsName::parse(&below.replace('*', "x"));
        let name = name.map_err(|_| invalid("it is no name with stars in it"))?;
        let below = if stars { below } else { name.as_str() };
        let last = below.rsplit('.').next().unwrap_or_default();
        if last.contains('*') {
            return Err(invalid("it would let everybody in"));
        }
        Ok(Self {
            labels: below.rsplit('.').map(str::to_owned).collect(),
            text: text.to_owned(),
            deep,
        })
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern of names that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{text} is no pattern of names: {reason}; write `*.example.com`, or `**.example.com`")]
pub struct InvalidPattern {
    text: String,
    reason: &'static str,
}

/// Somebody who is asked whether a name may have a certificate.
pub trait Permission: Send + Sync + fmt::Debug {
    /// Asks, and is done within [`ASK_DEADLINE`].
    fn ask<'a>(
        &'a self,
        name: &'a DnsName,
        client: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<Decision, NoDecision>>;
}

/// How long whoever is asked for permission may take.
pub const ASK_DEADLINE: Duration = Duration::from_secs(5);

/// What somebody said who was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The name may have a certificate.
    pub allowed: bool,
    /// For how long this holds.
    pub fresh: Duration,
}

impl Decision {
    /// For how long a yes holds when nothing else is said.
    pub const FRESH_YES: Duration = Duration::from_secs(3600);
    /// For how long a no does.
    pub const FRESH_NO: Duration = Duration::from_secs(300);
    /// Longer than this nothing holds.
    pub const FRESH_LONGEST: Duration = Duration::from_secs(86_400);

    /// With the usual freshness.
    pub fn new(allowed: bool) -> Self {
        let fresh = if allowed {
            Self::FRESH_YES
        } else {
            Self::FRESH_NO
        };
        Self { allowed, fresh }
    }
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
#[error("{who} gave no answer that can be used: {why}")]
pub struct NoDecision {
    /// Who was asked.
    pub who: String,
    /// What happened instead.
    pub why: String,
}

/// Everything that a name has to get past.
#[derive(Debug)]
pub struct Gate {
    rules: Rules,
    permissions: Arc<[Box<dyn Permission>]>,
    clock: Arc<dyn Clock>,
    memory: Mutex<Memory>,
    unanswered: Arc<Throttle>,
}

/// What can be told of a name without asking.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// One of them covers it; all names when there is none.
    pub allow: Vec<NamePattern>,
    /// What the CA may issue for.
    pub constraints: NameConstraints,
    /// A public CA issues: never for a public suffix.
    pub public: bool,
}

impl Rules {
    /// The name, when it may have a certificate as far as this goes.
    pub fn check(&self, name: &str) -> Result<DnsName, Refusal> {
        // A trailing dot, upper case and the like are other spellings of a name, but
        // what clients send has none of them but the case.
        let name = DnsName::parse(&name.to_ascii_lowercase()).map_err(|_| Refusal::NoName)?;
        if self.public && is_public_suffix(&name) {
            return Err(Refusal::NoName);
        }
        let listed = self.allow.is_empty() || self.allow.iter().any(|p| p.covers(&name));
        let permitted = self.constraints.check(&Identifier::Dns(name.clone()));
        if listed && permitted.is_ok() {
            Ok(name)
        } else {
            Err(Refusal::NotListed)
        }
    }
}

type Asking = Shared<BoxFuture<'static, Option<Decision>>>;

/// Answers that still hold, and questions that are open.
#[derive(Debug, Default)]
struct Memory {
    /// Until when. Apart from each other, so that strangers' names that are denied do
    /// not displace those that are not.
    allowed: HashMap<DnsName, Timestamp>,
    denied: HashMap<DnsName, (Timestamp, Refusal)>,
    open: HashMap<DnsName, Asking>,
}

/// Most answers of a kind that are remembered.
const MAX_ANSWERS: usize = 10_000;

/// Most questions at the same time.
const MAX_OPEN: usize = 32;

/// For how long it is remembered that there was no answer.
const FRESH_NOTHING: Duration = Duration::from_secs(30);

/// How often it is said that nobody answers.
const SAY_AGAIN: Duration = Duration::from_secs(60);

impl Gate {
    /// A gate of `rules` and of everybody who is to be asked.
    pub fn new(rules: Rules, permissions: Vec<Box<dyn Permission>>, clock: Arc<dyn Clock>) -> Self {
        Self {
            rules,
            permissions: permissions.into(),
            clock,
            memory: Mutex::default(),
            unanswered: Arc::new(Throttle::new(SAY_AGAIN)),
        }
    }

    /// What can be told without asking.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Whether every name gets through.
    pub fn is_open(&self) -> bool {
        self.rules.allow.is_empty()
            && self.rules.constraints.is_unlimited()
            && self.permissions.is_empty()
    }

    /// What is known already: an answer that holds; nobody is asked.
    pub fn known(&self, name: &DnsName) -> Option<Result<(), Refusal>> {
        if self.permissions.is_empty() {
            return Some(Ok(()));
        }
        let now = self.clock.now();
        let memory = self.memory();
        if memory.allowed.get(name).is_some_and(|until| now < *until) {
            return Some(Ok(()));
        }
        let denied = memory.denied.get(name);
        let denied = denied.filter(|(until, _)| now < *until);
        denied.map(|(_, why)| Err(*why))
    }

    /// Asks everybody who is to be asked, unless the answer is known.
    pub async fn permission(&self, name: &DnsName, client: Option<IpAddr>) -> Result<(), Refusal> {
        if let Some(known) = self.known(name) {
            return known;
        }
        let asking = self.open(name, client)?;
        let decision = asking.await;
        self.remember(name, decision)
    }

    /// The question that is open about `name`, or a new one.
    fn open(&self, name: &DnsName, client: Option<IpAddr>) -> Result<Asking, Refusal> {
        let mut memory = self.memory();
        if let Some(open) = memory.open.get(name) {
            return Ok(open.clone());
        }
        if memory.open.len() >= MAX_OPEN {
            // Whoever asked may be gone, and its question with it.
            memory
                .open
                .retain(|_, asking| asking.strong_count().is_some_and(|count| count > 1));
        }
        if memory.open.len() >= MAX_OPEN {
            return Err(Refusal::Over(Cap::Asking));
        }
        let (permissions, asked) = (Arc::clone(&self.permissions), name.clone());
        let unanswered = Arc::clone(&self.unanswered);
        let asking: BoxFuture<'static, _> = Box::pin(async move {
            let answer = ask_all(&permissions, &asked, client).await;
            let said = answer.inspect_err(|error| {
                if let Some(held) = unanswered.admit() {
                    tracing::warn!(name = %asked, error = causes(error), held, "no certificate without permission");
                }
            });
            said.ok()
        });
        let asking = asking.shared();
        memory.open.insert(name.clone(), asking.clone());
        Ok(asking)
    }

    fn remember(&self, name: &DnsName, decision: Option<Decision>) -> Result<(), Refusal> {
        let now = self.clock.now();
        let mut memory = self.memory();
        memory.open.remove(name);
        let until = |fresh: Duration| now + fresh;
        let refusal = match decision {
            Some(Decision {
                allowed: true,
                fresh,
            }) => {
                insert(&mut memory.allowed, name, until(fresh), |until| {
                    *until > now
                });
                memory.denied.remove(name);
                return Ok(());
            }
            Some(Decision { fresh, .. }) => (until(fresh), Refusal::Denied),
            None => (until(FRESH_NOTHING), Refusal::NoAnswer),
        };
        insert(&mut memory.denied, name, refusal, |(until, _)| *until > now);
        memory.allowed.remove(name);
        Err(refusal.1)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Remembers an answer; when there are too many, those that hold no more are forgotten,
/// and if there are none, all.
fn insert<V>(
    answers: &mut HashMap<DnsName, V>,
    name: &DnsName,
    answer: V,
    holds: impl Fn(&V) -> bool,
) {
    if answers.len() >= MAX_ANSWERS {
        answers.retain(|_, answer| holds(answer));
    }
    if answers.len() >= MAX_ANSWERS {
        answers.clear();
    }
    answers.insert(name.clone(), answer);
}

/// Everybody has to say yes; the first no ends it.
async fn ask_all(
    permissions: &[Box<dyn Permission>],
    name: &DnsName,
    client: Option<IpAddr>,
) -> Result<Decision, NoDecision> {
    let mut all = Decision {
        allowed: true,
        fresh: Decision::FRESH_LONGEST,
    };
    for permission in permissions {
        let one = permission.ask(name, client).await?;
        if !one.allowed {
            return Ok(one);
        }
        all.fresh = all.fresh.min(one.fresh);
    }
    Ok(all)
}

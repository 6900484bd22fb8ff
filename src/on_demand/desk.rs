//! Where clients ask: the state of every name that is not served yet, and what each
//! client sees meanwhile.
//!
//! Rules kept here: nothing is made before the gate and the caps have let the name
//! through; a name is asked for once, however many want it; what is remembered is
//! bounded; a client that goes away changes nothing.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::caps::{Cap, Caps};
use super::gate::Gate;
use super::policy::{ASK_AGAIN, Effect, Happening, Refusal, Reply, State, Step, Verdict, step};
use super::{Observer, OnMiss};
use crate::certificates::{Answer, Asked, CertificateTable, Certificates, Demand, Identity, Miss};
use crate::clock::{Clock, Throttle, Timestamp};
use crate::event::{Event, Trigger};
use crate::identifier::{CertId, DnsName, quoted};

/// A name whose certificate is to be fetched or made.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) name: DnsName,
    /// Who asked for it.
    pub(super) client: IpAddr,
    pub(super) trigger: Trigger,
    /// There should be one in the store.
    pub(super) stored: bool,
}

/// Answers those who ask for names without a certificate; for all others it is the table
/// that it was made with.
#[derive(Debug)]
pub struct Desk {
    table: Arc<CertificateTable>,
    gate: ArcSwap<Gate>,
    on_miss: OnMiss,
    stand_in: Arc<dyn Certificates>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    jobs: mpsc::Sender<Job>,
    book: Mutex<Book>,
    rejections: Throttle,
}

/// What is known of names.
#[derive(Debug)]
struct Book {
    /// Those that are on their way, or were put off. What is served is in the table.
    names: HashMap<DnsName, watch::Sender<State>>,
    /// What the store has and the table has not.
    stored: HashSet<CertId>,
    caps: Caps,
}

/// Most names that are on their way or put off. Those that came so far have passed the
/// gate and the caps.
const MAX_NAMES: usize = 20_000;

/// How often a rejection is an event.
const SAY_AGAIN: Duration = Duration::from_secs(1);

/// How long a client waits for a certificate that only has to be fetched.
const FETCHING: Duration = Duration::from_secs(2);

/// Asks for the default.
const NOBODY: Asked<'static> = Asked {
    server_name: None,
    local: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
};

/// What a desk is made of.
pub(super) struct Parts {
    pub(super) table: Arc<CertificateTable>,
    pub(super) gate: Gate,
    pub(super) on_miss: OnMiss,
    pub(super) stand_in: Arc<dyn Certificates>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) jobs: mpsc::Sender<Job>,
    pub(super) stored: HashSet<CertId>,
    pub(super) caps: Caps,
}

impl Desk {
    pub(super) fn new(parts: Parts) -> Self {
        let Parts {
            table,
            gate,
            on_miss,
            stand_in,
            clock,
            observer,
            jobs,
            stored,
            caps,
        } = parts;
        Self {
            table,
            gate: ArcSwap::from_pointee(gate),
            on_miss,
            stand_in,
            clock,
            observer,
            jobs,
            book: Mutex::new(Book {
                names: HashMap::new(),
                stored,
                caps,
            }),
            rejections: Throttle::new(SAY_AGAIN),
        }
    }

    pub(super) fn table(&self) -> &Arc<CertificateTable> {
        &self.table
    }

    pub(super) fn gate(&self) -> Arc<Gate> {
        self.gate.load_full()
    }

    /// Has `gate` decide from now on; what is being made is made.
    pub fn change_gate(&self, gate: Gate) {
        self.gate.store(Arc::new(gate));
    }

    pub(super) fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// Notes what became of `name`, for those who wait for it and those who come later.
    pub(super) fn settle(&self, name: &DnsName, happening: Happening) {
        let now = self.clock.now();
        let mut book = self.book();
        let state = book.state(name);
        let next = step(state, happening, now).next;
        match next {
            State::Issued => {
                book.stored.remove(&CertId::on_demand(name));
                // Whoever waits sees the last state also once the sender is gone.
                if let Some(entry) = book.names.remove(name) {
                    entry.send_replace(next);
                }
            }
            State::Unknown => _ = book.names.remove(name),
            _ => book.set(name, next),
        }
    }

    /// Notes that the store has a certificate for `name`, which was made at `moment`.
    pub(super) fn note_stored(&self, name: &DnsName, moment: Option<Timestamp>) {
        let now = self.clock.now();
        let mut book = self.book();
        book.stored.insert(CertId::on_demand(name));
        if let Some(moment) = moment {
            book.caps.note(name, moment, now);
        }
    }

    /// Notes that the store has no certificate `id` any more.
    pub(super) fn note_removed(&self, id: &CertId) {
        self.book().stored.remove(id);
    }

    async fn decide(&self, miss: Miss<'_>) -> Answer {
        let gate = self.gate();
        let replied = match gate.rules().check(miss.name) {
            Ok(name) => self
                .reply(&gate, &name, &miss)
                .await
                .map(|reply| (name, reply)),
            Err(why) => Err(why),
        };
        match replied {
            Ok((name, reply)) => self.show(&name, reply, &miss).await,
            Err(why) => self.reject(&miss, why),
        }
    }

    /// What a client sees that asks for `name`, which the rules allow; sets in motion
    /// what has to be.
    async fn reply(&self, gate: &Gate, name: &DnsName, miss: &Miss<'_>) -> Result<Reply, Refusal> {
        let now = self.clock.now();
        if let Some(reply) = self.book().standing(name, now) {
            self.observer.decided("coalesced");
            return Ok(reply);
        }
        let known = gate.known(name);
        let stored = self.book().stored.contains(&CertId::on_demand(name));
        if let Some(Err(why)) = known {
            return Err(why);
        }
        if !stored {
            let knocked = self.book().caps.knock(name, miss.client.into(), now);
            knocked.map_err(Refusal::Over)?;
        }
        if known.is_none() {
            gate.permission(name, Some(miss.client)).await?;
        }
        self.begin(name, miss)
    }

    /// Hands a name on, unless somebody else has done so meanwhile.
    fn begin(&self, name: &DnsName, miss: &Miss<'_>) -> Result<Reply, Refusal> {
        let now = self.clock.now();
        let mut book = self.book();
        let stored = book.stored.contains(&CertId::on_demand(name));
        let Step {
            next,
            reply,
            effect,
        } = step(
            book.state(name),
            Happening::Asked(Verdict::Allowed { stored }),
            now,
        );
        let begins = match effect {
            Effect::Begin => true,
            Effect::Load => false,
            Effect::None | Effect::Reject(_) => return Ok(reply),
        };
        let place = self.jobs.try_reserve();
        let place = place.map_err(|_| Refusal::Over(Cap::Queue))?;
        if begins {
            book.caps.take(name, now).map_err(Refusal::Over)?;
        }
        book.make_room(now);
        book.set(name, next);
        drop(book);
        if begins {
            self.requested(name, miss.trigger);
        }
        place.send(Job {
            name: name.clone(),
            client: miss.client,
            trigger: miss.trigger,
            stored: !begins,
        });
        Ok(reply)
    }

    /// Tells that a certificate is going to be made.
    pub(super) fn requested(&self, name: &DnsName, trigger: Trigger) {
        tracing::info!(%name, ?trigger, "having a certificate made");
        self.observer.emit(&Event::CertificateRequested {
            domain: name.to_string(),
            trigger,
        });
    }

    /// Waits where that is wanted.
    async fn show(&self, name: &DnsName, reply: Reply, miss: &Miss<'_>) -> Answer {
        let reply = match reply {
            Reply::Fetch => {
                let within = miss.patience.min(FETCHING);
                self.outwait(name, within, |state| *state == State::Loading)
                    .await
            }
            reply => reply,
        };
        let waits = self.on_miss == OnMiss::Wait && miss.trigger == Trigger::Tls;
        let reply = match reply {
            Reply::StandIn(_) if waits => {
                let on_its_way = |state: &State| matches!(state, State::Loading | State::Pending);
                self.outwait(name, miss.patience, on_its_way).await
            }
            reply => reply,
        };
        match reply {
            Reply::Serve => Answer::Ready,
            Reply::Fetch => self.pending(ASK_AGAIN),
            Reply::StandIn(retry_after) => self.pending(retry_after),
            Reply::Refuse => Answer::Refused,
        }
    }

    fn pending(&self, retry_after: Duration) -> Answer {
        let stand_in = match self.on_miss {
            OnMiss::Placeholder | OnMiss::Wait => self.stand_in.find(NOBODY),
            OnMiss::Reject => None,
        };
        Answer::Pending {
            stand_in,
            retry_after,
        }
    }

    /// Waits until `name` is in another state, but no longer than `within`.
    async fn outwait(
        &self,
        name: &DnsName,
        within: Duration,
        in_state: impl Fn(&State) -> bool,
    ) -> Reply {
        let changes = self.book().names.get(name).map(watch::Sender::subscribe);
        let Some(mut changes) = changes else {
            return self.served(name);
        };
        let waiting = timeout(within, changes.wait_for(|state| !in_state(state)));
        // An error is the end of the sender; what it said last is still there to see.
        let _ = waiting.await;
        let now = self.clock.now();
        let standing = self.book().standing(name, now);
        standing.unwrap_or_else(|| self.served(name))
    }

    /// What is seen of a name that is not on its way.
    fn served(&self, name: &DnsName) -> Reply {
        match self.identity(name) {
            Some(_) => Reply::Serve,
            None => Reply::StandIn(ASK_AGAIN),
        }
    }

    /// What `name` is served with; looking is no use of it.
    pub(super) fn identity(&self, name: &DnsName) -> Option<Identity> {
        self.table.find(Asked {
            server_name: Some(name.as_str()),
            ..NOBODY
        })
    }

    fn reject(&self, miss: &Miss<'_>, why: Refusal) -> Answer {
        self.observer.decided(why.outcome());
        if let Some(held) = self.rejections.admit() {
            let mut words = why.words();
            if held > 0 {
                words.push_str(&format!("; {held} others were refused since the last time"));
            }
            let name = quoted(miss.name);
            tracing::info!(name, why = words, "no certificate is made");
            self.observer
                .emit(&Event::rejected(miss.name, miss.trigger, words));
        }
        Answer::Refused
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn state(&self, name: &DnsName) -> State {
        self.names
            .get(name)
            .map(|entry| *entry.borrow())
            .unwrap_or_default()
    }

    fn set(&mut self, name: &DnsName, state: State) {
        match self.names.get(name) {
            Some(entry) => _ = entry.send_replace(state),
            None => _ = self.names.insert(name.clone(), watch::Sender::new(state)),
        }
    }

    /// What is seen of a name that is on its way or put off, whoever asks for it; `None`
    /// when it is neither.
    fn standing(&self, name: &DnsName, now: Timestamp) -> Option<Reply> {
        let state = self.state(name);
        let refused = Happening::Asked(Verdict::Refused(Refusal::NotListed));
        let step = step(state, refused, now);
        (state != State::Unknown && step.effect == Effect::None).then_some(step.reply)
    }

    /// Forgets those that may be tried again anyway, when too many are remembered.
    fn make_room(&mut self, now: Timestamp) {
        if self.names.len() < MAX_NAMES {
            return;
        }
        let is_over = |state: State| matches!(state, State::Backoff { until } if until <= now);
        self.names.retain(|_, entry| !is_over(*entry.borrow()));
    }
}

impl Certificates for Desk {
    fn find(&self, asked: Asked<'_>) -> Option<Identity> {
        let found = self.table.find(asked);
        found.inspect(Identity::note_use)
    }

    fn demand(&self) -> Option<&dyn Demand> {
        Some(self)
    }
}

impl Demand for Desk {
    fn ask<'a>(&'a self, miss: Miss<'a>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>> {
        Box::pin(self.decide(miss))
    }
}

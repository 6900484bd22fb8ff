//! Certificates on demand under a server: the desk and the worker of [`crate::on_demand`]
//! with what they stand on here, beside a certificate for names that are known from the
//! start.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::plan::{NamedLeaf, OnDemand};
#[cfg(feature = "acme")]
use super::public;
use super::{CustomFiles, First, ServeError, Shown, at_once, custom, pool, private, self_signed};
use crate::bundle::Certificate;
use crate::certificates::{CertificateTable, Certificates};
use crate::challenge::{ChallengeTable, ServedAt};
use crate::clock::{Clock, Timestamp};
use crate::event::Event;
use crate::on_demand::gate::{Gate, Permission, Rules};
use crate::on_demand::{self, Desk, Issuance, Means, Observer, Worker};
use crate::pki::Authority;
use crate::renew::Issuers;
use crate::renew::issuers::HomeIssuers;
use crate::server::{Provisioning, Redirect, Security, Telemetry};
use crate::store::file::FileStore;
use crate::store::{Lock, Store};

/// What serves on demand, once the ports are bound.
pub(super) struct Prepared {
    desk: Arc<Desk>,
    worker: Worker,
    issuance: Arc<HomeIssuance>,
    challenges: Arc<ChallengeTable>,
    /// Where these are answered.
    pub(super) served: ServedAt,
    named: Option<Named>,
    stand_in: StandIn,
    /// Says that this server makes certificates on demand, and looks after them.
    _serving: Lock,
}

/// The certificate of names that are known from the start.
enum Named {
    Private(private::Loaded),
    #[cfg(feature = "acme")]
    Public(Box<public::Prepared>),
}

/// What stands in for certificates that are being made.
enum StandIn {
    SelfSigned(self_signed::Made),
    Files(Box<custom::Loaded>),
}

/// The lock of whoever makes certificates on demand in a state directory.
const LOCK: &str = "on-demand";

/// Puts it together. Asks no CA, unless a certificate of the private CA is missing for
/// names that are known from the start.
pub(super) fn prepare(site: OnDemand, means: &pool::Means) -> Result<Prepared, ServeError> {
    let (clock, telemetry) = (&means.clock, &means.telemetry);
    let store = FileStore::open(&site.cache_dir, Arc::clone(clock))?;
    let serving = store.try_lock(LOCK)?;
    let serving = serving.ok_or_else(|| ServeError::OnDemandByAnother(site.cache_dir.clone()))?;
    let gate = gate(&site, clock)?;
    if gate.is_open() {
        tracing::warn!(
            "whoever connects can have certificates made for any name; `--allow` says for which"
        );
    }
    let stand_in = StandIn::load(site.stand_in.clone(), &**clock, telemetry)?;
    let table = Arc::new(CertificateTable::strict());
    let named = site.named.clone();
    let named = named.map(|leaf| Named::load(leaf, Arc::clone(&table), means));
    let named = named.transpose()?;
    let challenges = named.as_ref().map(Named::challenges).unwrap_or_default();
    let served = named.as_ref().map(Named::served).unwrap_or_default();
    let issuance = HomeIssuance::new(&site, Arc::clone(&challenges), &served, clock);
    let means = Means {
        store: Arc::new(store),
        table,
        gate,
        stand_in: stand_in.certificates(),
        issuance: Arc::clone(&issuance) as _,
        clock: Arc::clone(clock),
        observer: Arc::new(telemetry.clone()),
    };
    let (desk, worker) = on_demand::open(means, site.settings)?;
    Ok(Prepared {
        desk,
        worker,
        issuance,
        challenges,
        served,
        named,
        stand_in,
        _serving: serving,
    })
}

/// Who may have a certificate; asks nobody yet.
pub(super) fn gate(site: &OnDemand, clock: &Arc<dyn Clock>) -> Result<Gate, ServeError> {
    let constraints = match site.is_public() {
        true => Default::default(),
        false => Authority::open(&site.home)?.config().permit.clone(),
    };
    let rules = Rules {
        allow: site.allow.clone(),
        constraints,
        public: site.is_public(),
    };
    let mut permissions: Vec<Box<dyn Permission>> = Vec::new();
    if let Some(hook) = &site.allow_hook {
        permissions.push(Box::new(hook.clone()));
    }
    #[cfg(feature = "acme")]
    if let Some((url, roots)) = &site.ask {
        let ask = on_demand::AskUrl::new(url.clone(), roots).map_err(ServeError::AskRoots)?;
        permissions.push(Box::new(ask));
    }
    #[cfg(not(feature = "acme"))]
    if site.ask.is_some() {
        return Err(ServeError::WithoutAcme);
    }
    Ok(Gate::new(rules, permissions, Arc::clone(clock)))
}

impl Prepared {
    pub(super) fn desk(&self) -> Arc<Desk> {
        Arc::clone(&self.desk)
    }

    pub(super) fn security(&self) -> Security {
        Security::TlsWithChallenges {
            certificates: Arc::<Desk>::clone(&self.desk),
            challenges: Arc::clone(&self.challenges),
        }
    }

    pub(super) fn redirect(&self) -> Redirect {
        Redirect {
            certificates: Arc::<Desk>::clone(&self.desk),
            challenges: Arc::clone(&self.challenges),
            provisioning: self
                .named
                .as_ref()
                .map(Named::provisioning)
                .unwrap_or_default(),
            to: 0,
        }
    }

    /// What serving begins with, when that is known already.
    pub(super) fn first(&self) -> Option<First> {
        match &self.named {
            None => Some(at_once(Shown::OnDemand)),
            Some(Named::Private(loaded)) => {
                let leaf = loaded.kept.serving.clone();
                Some(at_once(Shown::Certificate(leaf)))
            }
            #[cfg(feature = "acme")]
            Some(Named::Public(_)) => None,
        }
    }

    /// Makes certificates and keeps all of them fresh until `stop`.
    pub(super) async fn keep(
        self,
        clock: Arc<dyn Clock>,
        stop: CancellationToken,
        again: Arc<Notify>,
        #[cfg(feature = "acme")] first: public::First,
    ) {
        let Self {
            worker,
            issuance,
            named,
            stand_in,
            _serving,
            ..
        } = self;
        let named = async {
            match named {
                None => {}
                Some(Named::Private(loaded)) => {
                    private::keep(loaded, Arc::clone(&clock), stop.clone()).await;
                }
                #[cfg(feature = "acme")]
                Some(Named::Public(prepared)) => {
                    let (clock, again) = (Arc::clone(&clock), Arc::clone(&again));
                    public::keep(*prepared, clock, stop.clone(), again, first).await;
                }
            }
        };
        let stand_in = async {
            match stand_in {
                StandIn::SelfSigned(_) => {}
                StandIn::Files(loaded) => {
                    let (clock, again) = (Arc::clone(&clock), Arc::clone(&again));
                    custom::keep(*loaded, clock, stop.clone(), again).await;
                }
            }
        };
        let work = async {
            stop.run_until_cancelled(worker.run()).await;
            issuance.settle().await;
        };
        tokio::join!(named, stand_in, work);
    }
}

impl Named {
    fn load(
        leaf: NamedLeaf,
        table: Arc<CertificateTable>,
        means: &pool::Means,
    ) -> Result<Self, ServeError> {
        match leaf {
            NamedLeaf::Private(leaf) => {
                let (clock, telemetry) = (&means.clock, &means.telemetry);
                private::load_into(table, leaf, clock, telemetry).map(Self::Private)
            }
            #[cfg(feature = "acme")]
            NamedLeaf::Public(leaf) => {
                let prepared = public::prepare_into(table, *leaf, means)?;
                Ok(Self::Public(Box::new(prepared)))
            }
            #[cfg(not(feature = "acme"))]
            NamedLeaf::Public(_) => Err(ServeError::WithoutAcme),
        }
    }

    fn challenges(&self) -> Arc<ChallengeTable> {
        match self {
            Self::Private(_) => Arc::default(),
            #[cfg(feature = "acme")]
            Self::Public(prepared) => Arc::clone(&prepared.challenges),
        }
    }

    fn served(&self) -> ServedAt {
        match self {
            Self::Private(_) => ServedAt::default(),
            #[cfg(feature = "acme")]
            Self::Public(prepared) => prepared.served.clone(),
        }
    }

    fn provisioning(&self) -> Provisioning {
        match self {
            Self::Private(_) => Provisioning::default(),
            #[cfg(feature = "acme")]
            Self::Public(prepared) => prepared.provisioning.clone(),
        }
    }
}

impl StandIn {
    /// The operator's, or one that is made now.
    fn load(
        files: Option<CustomFiles>,
        clock: &dyn Clock,
        telemetry: &Telemetry,
    ) -> Result<Self, ServeError> {
        Ok(match files {
            Some(files) => Self::Files(Box::new(custom::load(files, telemetry)?)),
            None => Self::SelfSigned(self_signed::make_placeholder(clock)?),
        })
    }

    fn certificates(&self) -> Arc<dyn Certificates> {
        let table = match self {
            Self::SelfSigned(made) => &made.table,
            Self::Files(loaded) => &loaded.table,
        };
        Arc::<CertificateTable>::clone(table)
    }
}

/// The issuers of a state directory, made anew when nothing is being made: a CA may be
/// rotated and an account changed in between.
struct HomeIssuance {
    make: Box<dyn Fn() -> HomeIssuers + Send + Sync>,
    last: Mutex<Arc<HomeIssuers>>,
}

impl HomeIssuance {
    fn new(
        site: &OnDemand,
        challenges: Arc<ChallengeTable>,
        served: &ServedAt,
        clock: &Arc<dyn Clock>,
    ) -> Arc<Self> {
        let (home, passphrase) = (site.home.clone(), site.passphrase.clone());
        let clock = Arc::clone(clock);
        #[cfg(feature = "acme")]
        let surroundings = crate::acme::Surroundings {
            home: home.clone(),
            clock: Arc::clone(&clock),
            variables: Arc::clone(&site.variables),
            operator: None,
            table: Some(challenges),
            served: served.clone(),
            agree_to_terms: site.agree_to_terms,
            own: own_directory(site, &clock),
        };
        #[cfg(not(feature = "acme"))]
        drop((challenges, served));
        let make = move || {
            let issuers = HomeIssuers::new(home.clone(), passphrase.clone(), Arc::clone(&clock));
            #[cfg(feature = "acme")]
            let issuers = issuers.acme(Arc::new(crate::acme::Opener::new(surroundings.clone())));
            issuers
        };
        Arc::new(Self {
            last: Mutex::new(Arc::new(make())),
            make: Box::new(make),
        })
    }

    /// Waits until what was presented for what was given up is taken back.
    async fn settle(&self) {
        let last = Arc::clone(&self.last.lock().unwrap_or_else(PoisonError::into_inner));
        last.settle().await;
    }
}

/// Our own CA, if it is asked; for which names is what the gate decides.
#[cfg(feature = "acme")]
fn own_directory(
    site: &OnDemand,
    clock: &Arc<dyn Clock>,
) -> Option<Arc<crate::acme::OwnDirectory>> {
    use crate::directory::{Permit, embedded::Embedded};
    let embedded = || Embedded {
        home: site.home.clone(),
        passphrase: site.passphrase.clone(),
        clock: Arc::clone(clock),
        permit: Permit::Any,
    };
    let asked = site.settings.issuer.may_be_ours();
    asked.then(|| embedded().directory())
}

impl Issuance for HomeIssuance {
    fn issuers(&self) -> Arc<dyn Issuers> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // Ours is the only one when nobody is at work with it.
        if Arc::strong_count(&last) == 1 {
            *last = Arc::new((self.make)());
        }
        Arc::<HomeIssuers>::clone(&last)
    }
}

impl Observer for Telemetry {
    fn emit(&self, event: &Event) {
        Self::emit(self, event);
    }

    fn decided(&self, decision: &'static str) {
        self.on_demand(decision);
    }

    fn serves(&self, id: &str, leaf: &Certificate, renewal: Option<Timestamp>) {
        Self::serves(self, id, leaf, renewal);
    }

    fn withdrawn(&self, id: &str) {
        Self::withdrawn(self, id);
    }
}

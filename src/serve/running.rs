//! A server at work: its start, what it is told meanwhile, and its end.
//!
//! Rules kept here: every port is bound before anything is served; one listener that
//! cannot be keeps all from starting, and once they serve, no change of settings that
//! fails harms any of them.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;

use super::keeper::Keeper;
use super::operation::Attending;
use super::pool::{Coming, Means, Pool, Tended};
use super::reload::{Reload, Reloads};
use super::{Beside, Plan, Ready, Reread, ServeError, Shown, Site, Supervisor};
use crate::challenge::ChallengeKind;
use crate::event::Event;
use crate::finding::words::causes;
use crate::issuer::BoxFuture;
use crate::server::{
    Control, Controls, Ended, Listener, Provisioning, Redirect, Security, Server, Shutdown, Sockets,
};
use crate::settings::{Content, ListenAddr, ListenerSettings};

/// What a server starts with.
pub(super) struct Start {
    pub(super) plan: Plan,
    pub(super) pool: Pool,
    pub(super) means: Means,
    /// Those of every listener.
    pub(super) sockets: Sockets,
    pub(super) shutdown: Shutdown,
    pub(super) reload: Reload,
    pub(super) reloads: Reloads,
    pub(super) supervisor: Supervisor,
    pub(super) reread: Arc<Reread>,
}

/// A server that is starting or serving.
struct Running {
    sites: Vec<Site>,
    pool: Pool,
    /// What is bound: where the sites listen, in their order, and the rest.
    addresses: Vec<SocketAddr>,
    admin: Option<ListenAddr>,
    keepers: Vec<Keeper>,
    firsts: FuturesUnordered<BoxFuture<'static, Arrived>>,
    control: Control,
    shutdown: Shutdown,
    means: Means,
    supervisor: Supervisor,
    reread: Arc<Reread>,
}

/// A certificate that was waited for.
struct Arrived {
    tended: Arc<Tended>,
    result: Result<Shown, ServeError>,
}

/// Serves until told to stop, or until it is known that there will never be a
/// certificate.
pub(super) async fn run(start: Start, on_ready: impl FnMut(&Ready)) -> Result<Ended, ServeError> {
    let Start {
        plan,
        pool,
        means,
        sockets,
        shutdown,
        reload,
        reloads,
        supervisor,
        reread,
    } = start;
    let (clock, telemetry) = (Arc::clone(&means.clock), means.telemetry.clone());
    let listeners = listeners(
        &plan.sites,
        &pool,
        plan.operation.admin,
        &means.provisioning,
    );
    let server = Server::bind_with(sockets, listeners, &clock, shutdown.clone(), &telemetry)?;
    let controls = Controls {
        telemetry: telemetry.clone(),
        provisioning: means.provisioning.clone(),
        shutdown: shutdown.clone(),
        reload: reload.for_others(),
    };
    let socket = plan.operation.admin_socket.as_deref();
    let attending = Attending::start(socket, controls, &supervisor)?;
    supervisor.stopping_on(shutdown.graceful().clone());
    let running = Running {
        addresses: server.addresses(),
        control: server.control(),
        sites: plan.sites,
        pool: Pool::default(),
        admin: plan.operation.admin,
        keepers: Vec::new(),
        firsts: FuturesUnordered::new(),
        shutdown,
        means,
        supervisor,
        reread,
    };
    let ended = running.serve(server, pool, reloads, on_ready).await;
    attending.end().await;
    let ended = ended?;
    let cut = match ended {
        Ended::Drained => 0,
        Ended::Cut(connections) => connections,
    };
    telemetry.emit(&Event::Stopped { cut });
    Ok(ended)
}

/// What a socket is there for.
#[derive(Debug, Clone, Copy)]
enum Duty {
    /// The site with this number.
    Serve(usize),
    /// To answer in plain HTTP beside the site with this number.
    Beside(usize),
    /// To be looked after.
    Admin,
}

/// Every socket of `sites`: first those that serve, in their order, then the plain ones
/// beside them, then that of administration.
fn duties(sites: &[Site], admin: Option<ListenAddr>) -> Vec<(ListenerSettings, Duty)> {
    let numbered = || sites.iter().enumerate();
    let serving = numbered().map(|(n, site)| (site.listener.clone(), Duty::Serve(n)));
    let plain =
        numbered().filter_map(|(n, site)| Some((beside(site, site.http?, true), Duty::Beside(n))));
    let admin = admin.zip(sites.first());
    let admin = admin.map(|(address, site)| (beside(site, address, false), Duty::Admin));
    serving.chain(plain).chain(admin).collect()
}

/// Where the server listens, in the order of [`duties`].
pub(super) fn addresses(plan: &Plan) -> Vec<ListenerSettings> {
    let duties = duties(&plan.sites, plan.operation.admin).into_iter();
    duties.map(|(settings, _)| settings).collect()
}

/// Every listener, in the order of [`duties`].
fn listeners(
    sites: &[Site],
    pool: &Pool,
    admin: Option<ListenAddr>,
    provisioning: &Provisioning,
) -> Vec<Listener> {
    let listener = |(settings, duty)| {
        let security = match duty {
            Duty::Serve(n) => pool.of_site(n).security.clone(),
            Duty::Beside(to) => match pool.of_site(to).beside.clone()? {
                Beside::Redirect(redirect) => Security::Redirect(Redirect { to, ..redirect }),
                #[cfg(feature = "acme")]
                Beside::Application(application) => Security::Application {
                    application,
                    certificates: None,
                },
            },
            Duty::Admin => Security::Admin(provisioning.clone()),
        };
        Some(Listener { settings, security })
    };
    let duties = duties(sites, admin).into_iter();
    duties.filter_map(listener).collect()
}

/// A listener with other duties than `site`, within the same limits; behind the same
/// balancers where it answers the same clients.
fn beside(site: &Site, address: ListenAddr, for_clients: bool) -> ListenerSettings {
    let balancers = match for_clients {
        true => site.listener.proxy_protocol.clone(),
        false => Vec::new(),
    };
    ListenerSettings {
        limits: site.listener.limits.clone(),
        proxy_protocol: balancers,
        ..ListenerSettings::new(address, Content::Page)
    }
}

impl Running {
    /// Serves with `pool` until the end, and waits for whoever is at work for it.
    async fn serve(
        mut self,
        server: Server,
        pool: Pool,
        mut reloads: Reloads,
        mut on_ready: impl FnMut(&Ready),
    ) -> Result<Ended, ServeError> {
        self.keep(pool)?;
        self.tell_addresses();
        // It accepts while the first certificates are on their way: that may need answers
        // to challenges.
        let mut serving = pin!(server.run());
        let supervisor = self.supervisor.clone();
        let starting = self.start(&mut reloads, &mut on_ready);
        let started = tokio::select! {
            ended = &mut serving => Err(ended),
            started = supervisor.starting("obtaining the certificate", starting) => Ok(started),
        };
        let ended = match started {
            Ok(Ok(())) => loop {
                tokio::select! {
                    ended = &mut serving => break ended,
                    asked = reloads.next() => {
                        let answer = self.reload(&mut on_ready).await;
                        // Whoever asked may have gone away.
                        let _ = asked.send(answer);
                    }
                    Some(arrived) = self.firsts.next() => {
                        self.arrived_late(arrived, &mut on_ready);
                    }
                }
            },
            Ok(Err(error)) => {
                self.end().await;
                // Nobody is served whom forcing would cut.
                self.shutdown.force();
                serving.await?;
                return Err(error);
            }
            Err(ended) => {
                tracing::info!("stopped before there was a certificate");
                ended
            }
        };
        self.end().await;
        Ok(ended?)
    }

    /// Keeps `pool` fresh from now on, in place of what was before.
    fn keep(&mut self, mut pool: Pool) -> Result<(), ServeError> {
        self.tell_bound(&pool);
        let (keepers, coming) = pool.replace(self.pool.tended(), &self.means)?;
        self.pool = pool;
        self.keepers.extend(keepers);
        for Coming { tended, first } in coming {
            self.firsts.push(Box::pin(async {
                Arrived {
                    tended,
                    result: first.await,
                }
            }));
        }
        Ok(())
    }

    /// Tells whoever obtains certificates where challenges are answered, before it does.
    fn tell_bound(&self, pool: &Pool) {
        for ((_, duty), address) in duties(&self.sites, self.admin).iter().zip(&self.addresses) {
            let (site, kind) = match duty {
                Duty::Serve(site) => (site, ChallengeKind::TlsAlpn01),
                Duty::Beside(site) => (site, ChallengeKind::Http01),
                Duty::Admin => continue,
            };
            let served = &pool.of_site(*site).served;
            served.tell(kind, *address);
            if let Some(site) = self.sites.get(*site) {
                served.behind(&site.listener.proxy_protocol);
            }
        }
    }

    /// Waits for every certificate; each listener is told of when it has its own.
    async fn start(
        &mut self,
        reloads: &mut Reloads,
        on_ready: &mut impl FnMut(&Ready),
    ) -> Result<(), ServeError> {
        loop {
            tokio::select! {
                biased;
                arrived = self.firsts.next() => match arrived {
                    Some(arrived) => self.arrived(arrived, on_ready)?,
                    None => break,
                },
                asked = reloads.next() => {
                    let words = "the settings are not read again while the server starts";
                    tracing::warn!("{words}");
                    let _ = asked.send(Err(words.to_owned()));
                }
            }
        }
        self.means.provisioning.finish();
        self.means.telemetry.emit(&Event::Ready {
            addresses: self.addresses.clone(),
        });
        self.supervisor.ready("serving");
        Ok(())
    }

    fn arrived(
        &self,
        arrived: Arrived,
        on_ready: &mut impl FnMut(&Ready),
    ) -> Result<(), ServeError> {
        let Arrived { tended, result } = arrived;
        let shown = result.inspect_err(|_| tended.abandon())?;
        tended.first.get_or_init(|| shown);
        self.tell_ready(|n, _| Arc::ptr_eq(self.pool.of_site(n), &tended), on_ready);
        Ok(())
    }

    /// A listener that a reload brought has its certificate, or will not have one.
    fn arrived_late(&self, arrived: Arrived, on_ready: &mut impl FnMut(&Ready)) {
        if let Err(error) = self.arrived(arrived, on_ready) {
            let problem = with_hint(&error);
            tracing::error!("a new listener is not served: {problem}; the next reload tries again");
        }
    }

    /// Tells of the sites, by number and address, that `of` and that can be served.
    fn tell_ready(
        &self,
        of: impl Fn(usize, SocketAddr) -> bool,
        on_ready: &mut impl FnMut(&Ready),
    ) {
        let sites = self.addresses.iter().take(self.sites.len());
        for (n, &address) in sites.enumerate() {
            if let Some(shown) = self.pool.of_site(n).first.get()
                && of(n, address)
            {
                on_ready(&Ready {
                    address,
                    shown: shown.clone(),
                });
            }
        }
    }

    /// Says where it listens besides what `on_ready` is told.
    fn tell_addresses(&self) {
        for ((_, duty), address) in duties(&self.sites, self.admin).iter().zip(&self.addresses) {
            match duty {
                Duty::Serve(_) => {}
                Duty::Beside(n) => match self.pool.of_site(*n).beside {
                    #[cfg(feature = "acme")]
                    Some(Beside::Application(_)) => tracing::info!(
                        "http://{address} publishes the CRLs, the issuers' certificates and the \
                         roots"
                    ),
                    _ => tracing::info!("http://{address} sends clients to https"),
                },
                Duty::Admin => {
                    tracing::info!("http://{address} answers /health, /ready and /metrics");
                }
            }
        }
    }

    /// Reads the settings again and serves by them; what fails changes nothing. Says
    /// what became of it.
    async fn reload(&mut self, on_ready: &mut impl FnMut(&Ready)) -> Result<String, String> {
        self.supervisor.reloading();
        // Whoever moves logs away says so in the same way.
        if let Err(error) = self.means.telemetry.reopen() {
            tracing::error!("{}; it goes on in the file of before", causes(&error));
        }
        let reloaded = self.reread(on_ready).await;
        self.supervisor.ready("serving");
        let reloaded = reloaded.inspect_err(|problems| {
            for problem in problems {
                tracing::error!("{problem}");
            }
            tracing::error!("the settings are not taken over; serving on with those of before");
        });
        let reloaded = reloaded.map_err(|problems| problems.join("\n"));
        self.means.telemetry.emit(&match &reloaded {
            Ok(said) => {
                tracing::info!("{said}");
                Event::Reloaded
            }
            Err(error) => Event::ReloadFailed {
                error: error.clone(),
            },
        });
        reloaded
    }

    async fn reread(&mut self, on_ready: &mut impl FnMut(&Ready)) -> Result<String, Vec<String>> {
        let reread = Arc::clone(&self.reread);
        let plan = blocking(move || reread()).await?;
        let told = |error: ServeError| vec![with_hint(&error)];
        plan.check().map_err(told)?;
        let (sites, means) = (plan.sites.clone(), self.means.clone());
        let known = self.pool.tended().to_vec();
        let pool = blocking(move || Pool::of(&sites, &known, &means)).await;
        let pool = pool.map_err(told)?;
        let listeners = listeners(&plan.sites, &pool, self.admin, &self.means.provisioning);
        let control = self.control.clone();
        let addresses = blocking(move || control.apply(listeners)).await;
        let addresses = addresses.map_err(|error| told(error.into()))?;
        let before = std::mem::replace(&mut self.addresses, addresses);
        let mut later = plan.for_next_start;
        later.extend(pool.for_next_start.iter().cloned());
        self.sites = plan.sites;
        self.keep(pool).map_err(told)?;
        self.tell_ready(|_, address| !before.contains(&address), on_ready);
        for what in &later {
            tracing::warn!("{what}: takes effect at the next start");
        }
        Ok(self.summary(&before, &later))
    }

    /// What a reload has brought.
    fn summary(&self, before: &[SocketAddr], later: &[String]) -> String {
        let without = |these: &[SocketAddr], those: &[SocketAddr]| {
            these.iter().filter(|a| !those.contains(a)).count()
        };
        let mut text = format!(
            "the settings are read again: {} listener{}; of the ports, {} new, {} closed",
            self.sites.len(),
            if self.sites.len() == 1 { "" } else { "s" },
            without(&self.addresses, before),
            without(before, &self.addresses),
        );
        for what in later {
            text.push_str(&format!("\n{what}: takes effect at the next start"));
        }
        text
    }

    /// Ends whatever keeps certificates fresh, and waits until it has taken back what it
    /// presented to CAs.
    async fn end(&mut self) {
        self.shutdown.stop();
        let keepers = std::mem::take(&mut self.keepers);
        let forced = self.shutdown.forced();
        join_all(keepers.into_iter().map(|keeper| keeper.ended(forced))).await;
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work)
        .await
        .expect("it does not panic, and the runtime lives")
}

fn with_hint(error: &ServeError) -> String {
    match error.hint() {
        Some(hint) => format!("{}; {hint}", causes(error)),
        None => causes(error),
    }
}

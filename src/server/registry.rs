//! The listeners of a running server, and how they change.
//!
//! Rules kept here: a change is made as a whole or not at all; a socket that stays
//! never stops listening; one that goes makes way for another that overlaps it; a
//! connection keeps to the settings that it began with.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::accept::{self, Serving};
use super::{Listener, ServerError, Shutdown, Sockets, Tasks, Telemetry, duties};
use crate::clock::Clock;
use crate::finding::words::causes;
use crate::settings::{ClientAuth, ListenAddr, ListenerSettings};

/// Every listener, and what it takes to set up others.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<State>,
    accepting: TaskTracker,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
    shutdown: Shutdown,
    telemetry: Telemetry,
}

#[derive(Debug, Default)]
struct State {
    bound: Vec<Bound>,
    /// The accept loops run.
    started: bool,
}

/// A socket that listens.
#[derive(Debug)]
struct Bound {
    settings: ListenerSettings,
    address: SocketAddr,
    socket: Socket,
    /// Somebody else may listen on it as well.
    shared: bool,
    serving: Arc<ArcSwap<Serving>>,
    closed: CancellationToken,
}

#[derive(Debug)]
enum Socket {
    /// Clients wait in the backlog.
    Waiting(TcpListener),
    Accepting(Arc<tokio::net::TcpListener>),
}

/// Where a listener of a change gets its socket from.
enum Place {
    /// The one of before with this number.
    Kept(usize),
    New(TcpListener),
}

/// A change that can be made.
struct Prepared {
    places: Vec<(Place, SocketAddr)>,
    servings: Vec<Serving>,
}

impl Registry {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        tasks: Tasks,
        shutdown: Shutdown,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            state: Mutex::default(),
            accepting: TaskTracker::new(),
            clock,
            tasks,
            shutdown,
            telemetry,
        }
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.state().bound.iter().map(|b| b.address).collect()
    }

    /// Accepts on everything that is bound, and from now on at once on what will be.
    pub(super) fn start(&self) -> Result<(), ServerError> {
        let mut state = self.state();
        state.started = true;
        state
            .bound
            .iter_mut()
            .try_for_each(|bound| bound.accept(&self.accepting, &self.telemetry))
    }

    /// Closes every socket, and says how long requests in flight may take.
    pub(super) async fn stop(&self) -> Duration {
        let bound = std::mem::take(&mut self.state().bound);
        for bound in &bound {
            bound.closed.cancel();
        }
        self.accepting.close();
        self.accepting.wait().await;
        let drain = bound.iter().map(|b| b.settings.limits.drain).max();
        drain.unwrap_or_default()
    }

    /// Makes `listeners` all there are, on sockets that are `open` already where there
    /// are such; nothing changes when one of them fails.
    pub(super) fn apply(
        &self,
        listeners: Vec<Listener>,
        open: &mut Sockets,
    ) -> Result<Vec<SocketAddr>, ServerError> {
        let mut state = self.state();
        let mut aside = Vec::new();
        let prepared = self.prepare(&state.bound, &listeners, open, &mut aside);
        let Prepared { places, servings } = prepared.inspect_err(|_| {
            for n in aside {
                self.go_back(&mut state.bound[n]);
            }
        })?;
        let addresses: Vec<SocketAddr> = places.iter().map(|(_, address)| *address).collect();
        // From here on nothing fails that could leave half a change, save for the
        // runtime's refusal to know a new socket.
        let mut old: Vec<_> = std::mem::take(&mut state.bound)
            .into_iter()
            .map(Some)
            .collect();
        for (((place, address), listener), serving) in
            places.into_iter().zip(listeners).zip(servings)
        {
            let bound = match place {
                Place::Kept(n) => {
                    let mut kept = old[n].take().expect("each is kept once");
                    kept.change(listener.settings, serving);
                    kept
                }
                Place::New(socket) => Bound {
                    settings: listener.settings,
                    address,
                    shared: open.is_shared(address),
                    socket: Socket::Waiting(socket),
                    serving: Arc::new(ArcSwap::from_pointee(serving)),
                    closed: self.shutdown.graceful().child_token(),
                },
            };
            state.bound.push(bound);
        }
        for removed in old.into_iter().flatten() {
            removed.close();
        }
        if state.started {
            for bound in &mut state.bound {
                bound.accept(&self.accepting, &self.telemetry)?;
            }
        }
        Ok(addresses)
    }

    /// All that can fail of a change.
    fn prepare(
        &self,
        bound: &[Bound],
        listeners: &[Listener],
        open: &mut Sockets,
        aside: &mut Vec<usize>,
    ) -> Result<Prepared, ServerError> {
        let places = places(bound, listeners, open, aside)?;
        let ports: Vec<u16> = places.iter().map(|(_, address)| address.port()).collect();
        let servings = listeners
            .iter()
            .zip(&places)
            .map(|(listener, (_, address))| self.serving(listener, *address, &ports))
            .collect::<Result<_, _>>()?;
        Ok(Prepared { places, servings })
    }

    /// Has one listen again that made way in vain.
    fn go_back(&self, bound: &mut Bound) {
        let address = bound.address;
        let closed = self.shutdown.graceful().child_token();
        let again = bound.listen_again(closed).map_err(|source| {
            let ListenAddr(address) = bound.settings.address;
            ServerError::Bind { address, source }
        });
        match again.and_then(|()| bound.accept(&self.accepting, &self.telemetry)) {
            Ok(()) => tracing::warn!("{address} made way for a moment, and listens again"),
            Err(error) => tracing::error!(
                "{address} made way, and cannot listen again: {}; restart the server",
                causes(&error)
            ),
        }
    }

    fn serving(
        &self,
        listener: &Listener,
        address: SocketAddr,
        ports: &[u16],
    ) -> Result<Serving, ServerError> {
        let admin = (&self.shutdown, &self.telemetry);
        let (handler, tls) = duties(listener, ports, &self.clock, &self.tasks, admin)?;
        let settings = listener.settings.clone();
        let witness = self.telemetry.listener(&address.to_string());
        let (tasks, shutdown) = (self.tasks.clone(), self.shutdown.child());
        Ok(Serving::new(
            handler, tls, settings, tasks, shutdown, witness,
        ))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Finds for each listener the socket of before, or one that is open, or binds one. Those
/// that had to make way for a new one are `aside`, by number.
fn places(
    bound: &[Bound],
    listeners: &[Listener],
    open: &mut Sockets,
    aside: &mut Vec<usize>,
) -> Result<Vec<(Place, SocketAddr)>, ServerError> {
    let mut free: Vec<bool> = vec![true; bound.len()];
    // Port 0 may stand several times: they are told apart by their order.
    let kept = listeners.iter().map(|listener| {
        let found = bound.iter().zip(&free).position(|(bound, free)| {
            *free && bound.settings.address == listener.settings.address
        })?;
        free[found] = false;
        Some(found)
    });
    let kept: Vec<Option<usize>> = kept.collect();
    let mut place = |(listener, kept): (&Listener, Option<usize>)| match kept {
        Some(n) => Ok((Place::Kept(n), bound[n].address)),
        None => {
            let settings = &listener.settings;
            let taken = open.take(settings).or_else(|error| {
                if !error.is_in_use() {
                    return Err(error);
                }
                let going = bound.iter().enumerate().filter(|(n, _)| free[*n]);
                let before = aside.len();
                aside.extend(
                    going
                        .filter(|(_, bound)| bound.makes_way(settings.address))
                        .map(|(n, _)| n),
                );
                if aside.len() == before {
                    return Err(error);
                }
                open.take(settings)
            });
            taken.map(|(socket, at)| (Place::New(socket), at))
        }
    };
    listeners.iter().zip(kept).map(&mut place).collect()
}

impl Bound {
    /// Accepts unless it does already.
    fn accept(
        &mut self,
        accepting: &TaskTracker,
        telemetry: &Telemetry,
    ) -> Result<(), ServerError> {
        let Socket::Waiting(socket) = &self.socket else {
            return Ok(());
        };
        let ListenAddr(address) = self.settings.address;
        let failed = |source| ServerError::Bind { address, source };
        let socket = socket.try_clone().map_err(failed)?;
        let socket = Arc::new(tokio::net::TcpListener::from_std(socket).map_err(failed)?);
        self.socket = Socket::Accepting(Arc::clone(&socket));
        let (serving, closed) = (Arc::clone(&self.serving), self.closed.clone());
        let telemetry = telemetry.clone();
        accepting.spawn(async move {
            let accepting = accept::accept_loop(socket, serving, closed);
            telemetry.watched(accepting).await;
        });
        Ok(())
    }

    /// Serves new connections by `serving`.
    fn change(&mut self, settings: ListenerSettings, serving: Serving) {
        let old = self.serving.load_full();
        let told = match &self.socket {
            Socket::Waiting(socket) => accept::set_stall(socket, &settings.limits),
            Socket::Accepting(socket) => accept::set_stall(socket, &settings.limits),
        };
        if let Err(error) = told {
            tracing::warn!(address = %self.address, %error, "the kernel keeps to the old limits");
        }
        self.serving.store(Arc::new(serving.succeeding(&old)));
        let told_who = |settings: &ListenerSettings| settings.tls.clients != ClientAuth::Anybody;
        if told_who(&self.settings) || told_who(&settings) {
            // Trust may have been taken away from somebody who is connected.
            old.shutdown.stop();
        }
        self.settings = settings;
    }

    /// Stops listening if that is in the way of `address`; says whether it did.
    fn makes_way(&self, address: ListenAddr) -> bool {
        // What another process holds as well would not listen there either.
        if self.shared || !address.collides(ListenAddr(self.address)) {
            return false;
        }
        let stopped = match &self.socket {
            Socket::Waiting(socket) => accept::stand_aside(socket),
            Socket::Accepting(socket) => accept::stand_aside(socket),
        };
        stopped.is_ok()
    }

    /// Listens where it made way, on a socket of its own: the runtime takes the old one
    /// for closed for good, and would try it without end.
    fn listen_again(&mut self, closed: CancellationToken) -> io::Result<()> {
        let socket = accept::bind(self.address, &self.settings.limits)?;
        self.socket = Socket::Waiting(socket);
        std::mem::replace(&mut self.closed, closed).cancel();
        Ok(())
    }

    fn close(self) {
        self.closed.cancel();
        self.serving.load().shutdown.stop();
    }
}

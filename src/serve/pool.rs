//! The certificates of a server's listeners, each with what keeps it fresh.
//!
//! Rules kept here: listeners that get the same certificate in the same way share it;
//! what a change of settings leaves as it is goes on undisturbed.

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::plan::told_of;
use super::{Beside, First, ServeError, ServeMode, Shown, Site, Source, demand};
use crate::clock::Clock;
use crate::on_demand::Desk;
use crate::on_demand::gate::Gate;
use crate::server::{Provisioning, Security, Telemetry};

/// What each site is served with.
#[derive(Default)]
pub(super) struct Pool {
    tended: Vec<Arc<Tended>>,
    /// What each of them is for, as the settings say now.
    modes: Vec<ServeMode>,
    /// For each site, which of them.
    of_site: Vec<usize>,
    /// Still to be kept fresh.
    fresh: Vec<(Arc<Tended>, Source)>,
    /// Who may have certificates on demand from now on.
    gates: Vec<(Arc<Desk>, Gate)>,
    /// What stays as it is although the settings say otherwise.
    pub(super) for_next_start: Vec<String>,
}

/// One certificate, or what is served in place of one, as listeners use it.
pub(super) struct Tended {
    mode: ServeMode,
    pub(super) security: Security,
    /// What a plain port beside it does, if there may be one.
    pub(super) beside: Option<Beside>,
    /// What serving began with, once there is something.
    pub(super) first: OnceLock<Shown>,
    /// Who answers those who ask for other names.
    desk: Option<Arc<Desk>>,
    stop: CancellationToken,
    again: Arc<Notify>,
}

/// Something to be served soon: its certificate.
pub(super) struct Coming {
    pub(super) tended: Arc<Tended>,
    pub(super) first: First,
}

/// What loading takes besides settings.
#[derive(Clone)]
pub(super) struct Means {
    pub(super) clock: Arc<dyn Clock>,
    /// Ends whatever is kept fresh.
    pub(super) stop: CancellationToken,
    /// Sees what is done.
    pub(super) telemetry: Telemetry,
    /// Whether the server as a whole is still starting.
    pub(super) provisioning: Provisioning,
}

impl Pool {
    /// The pool for `sites`: with what is `known` already, and with what is loaded for
    /// those that are not. Blocks. What is known is not touched before
    /// [`Self::replace`].
    pub(super) fn of(
        sites: &[Site],
        known: &[Arc<Tended>],
        means: &Means,
    ) -> Result<Self, ServeError> {
        let mut pool = Self::default();
        for site in sites {
            let n = pool
                .place(known, site, means)
                .map_err(|error| told_of(site, sites.len(), error))?;
            pool.of_site.push(n);
        }
        Ok(pool)
    }

    fn place(
        &mut self,
        known: &[Arc<Tended>],
        site: &Site,
        means: &Means,
    ) -> Result<usize, ServeError> {
        let same = |mode: &ServeMode| mode.is_same_as(&site.mode);
        if let Some(n) = self.modes.iter().position(same) {
            return Ok(n);
        }
        let alive = || known.iter().filter(|tended| !tended.stop.is_cancelled());
        let rival = |tended: &&Arc<Tended>| tended.mode.rivals(&site.mode);
        let taken = |tended: &Arc<Tended>| self.tended.iter().any(|t| Arc::ptr_eq(t, tended));
        let goes_on = |tended: &&Arc<Tended>| tended.mode.goes_on_as(&site.mode) && !taken(tended);
        let tended = if let Some(tended) = alive().find(goes_on) {
            if let (Some(desk), ServeMode::OnDemand(site)) = (&tended.desk, &site.mode) {
                let gate = demand::gate(site, &means.clock)?;
                self.gates.push((Arc::clone(desk), gate));
            }
            Arc::clone(tended)
        } else if let Some(rival) = alive().find(rival) {
            let place = site.place.as_deref().map(|place| format!("{place}: "));
            self.for_next_start.push(format!(
                "{}how the certificate of this listener is obtained",
                place.unwrap_or_default()
            ));
            Arc::clone(rival)
        } else {
            self.load(site, means)?
        };
        self.tended.push(tended);
        self.modes.push(site.mode.clone());
        Ok(self.tended.len() - 1)
    }

    fn load(&mut self, site: &Site, means: &Means) -> Result<Arc<Tended>, ServeError> {
        let source = Source::load(site.mode.clone(), means)?;
        let tended = Arc::new(Tended {
            mode: site.mode.clone(),
            security: source.security(),
            beside: source.beside(),
            first: OnceLock::new(),
            desk: source.desk(),
            stop: means.stop.child_token(),
            again: Arc::default(),
        });
        self.fresh.push((Arc::clone(&tended), source));
        Ok(tended)
    }

    /// What the site with this number is served with.
    pub(super) fn of_site(&self, n: usize) -> &Arc<Tended> {
        &self.tended[self.of_site[n]]
    }

    /// Everything in it.
    pub(super) fn tended(&self) -> &[Arc<Tended>] {
        &self.tended
    }

    /// Takes the place of a pool with `old`: keeps fresh what is new, lets go of what is
    /// not needed any more, and has the rest looked at again.
    pub(super) fn replace(
        &mut self,
        old: &[Arc<Tended>],
        means: &Means,
    ) -> Result<(Vec<Keeper>, Vec<Coming>), ServeError> {
        let (mut keepers, mut coming) = (Vec::new(), Vec::new());
        for (tended, source) in std::mem::take(&mut self.fresh) {
            let (stop, again) = (tended.stop.clone(), Arc::clone(&tended.again));
            let (keeper, first) = source.keep(Arc::clone(&means.clock), stop, again)?;
            keepers.extend(keeper);
            coming.push(Coming { tended, first });
        }
        for (desk, gate) in std::mem::take(&mut self.gates) {
            desk.change_gate(gate);
        }
        for before in old {
            if self.tended.iter().any(|now| Arc::ptr_eq(before, now)) {
                before.again.notify_one();
            } else {
                before.stop.cancel();
                if let Some(id) = before.mode.id() {
                    means.telemetry.withdrawn(&id);
                }
            }
        }
        Ok((keepers, coming))
    }
}

impl Tended {
    /// Gives up: the next change of settings begins anew.
    pub(super) fn abandon(&self) {
        self.stop.cancel();
    }
}

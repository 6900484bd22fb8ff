//! What a server asks when it has no certificate for a name that a client wants.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::time::Duration;

use super::Identity;
use crate::event::Trigger;

/// Has certificates made for the names that clients ask for.
pub trait Demand: Send + Sync + fmt::Debug {
    /// Decides about a name that [`super::Certificates::find`] has nothing for.
    ///
    /// Done within [`Miss::patience`], whoever else is slow. What was set in motion goes
    /// on when the future is dropped.
    fn ask<'a>(&'a self, miss: Miss<'a>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;
}

/// A client that asks for a name without a certificate.
#[derive(Debug, Clone, Copy)]
pub struct Miss<'a> {
    /// As the client wrote it.
    pub name: &'a str,
    /// Whose limits count.
    pub client: IpAddr,
    /// How it asks.
    pub trigger: Trigger,
    /// How long it can wait.
    pub patience: Duration,
}

/// What the client is to see.
#[derive(Debug, Clone)]
pub enum Answer {
    /// The certificate is there: looking again finds it.
    Ready,
    /// The certificate is still to come.
    Pending {
        /// What stands in for it; `None` refuses the client meanwhile.
        stand_in: Option<Identity>,
        /// After how long there may be one.
        retry_after: Duration,
    },
    /// None is made for this name.
    Refused,
}

//! Certificates from any CA that speaks ACME (RFC 8555).
//!
//! Rules kept here: the CA is hostile until proven otherwise. Every URL is https and
//! of the directory's own hosts, every answer is capped, every wait has a deadline,
//! every run a budget of requests; nothing the CA says is printed unescaped; no
//! certificate is handed on before key, names, dates and chain were checked.
//! What passes by itself (a rate limit, a 503, a lost answer, a refused nonce, a
//! vanished account) is survived within the run.
//!
//! The protocol is instant-acme's; the `transport` below it is ours, and what it cannot
//! say is said by `signed`.

mod account;
pub mod ari;
mod chain;
pub mod dns;
mod error;
#[cfg(test)]
mod fake;
mod http;
mod issuer;
mod open;
mod order;
mod own;
mod proof;
mod retry;
mod revocations;
mod revoke;
mod signed;
#[cfg(test)]
mod tests;
mod transport;
mod wire;

pub use account::{
    AccountHome, AccountInfo, BadExternalAccount, ExternalAccount, Registration, Saved,
};
pub use chain::ChainError;
pub use error::{AcmeError, Failure};
pub use http::{HttpClient, Limits, Session};
pub use issuer::{AcmeIssuer, Authority, Wishes};
pub use open::{Opener, Surroundings};
pub use own::{OwnAnswers, OwnDirectory};
pub use revocations::{Revocation, Revocations};
pub use revoke::{Reason, Revoker, revoke};
pub use wire::{Endpoints, Meta, Problem};

pub use crate::issuer::Directory;

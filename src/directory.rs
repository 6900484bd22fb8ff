//! The private CA's own ACME server (RFC 8555, server side): what its endpoints
//! stand on.
//!
//! Rules kept here: no payload is read before the signature over it is verified; a
//! peer's number, text and list has a named cap; state changes only by the
//! transitions of RFC 8555 §7.1.6, each in one transaction; nothing a peer sent, and
//! nothing fetched on its behalf, is repeated unescaped.

pub mod asked;
pub mod caa;
#[cfg(feature = "acme")]
pub mod embedded;
pub mod jwk;
pub mod jws;
pub mod limits;
pub mod nonce;
pub mod problem;
mod observer;
mod service;
mod settings;
pub mod state;
pub mod validate;

pub use observer::{Asker, Happening, Observer};
pub use service::{OpenError, Service, Surroundings};
pub use settings::{Limits, Permit, Profile, Settings};

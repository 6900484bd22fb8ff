//! Clients of the network, each with caps and deadlines.

pub mod client;
#[cfg(feature = "acme")]
pub mod dns;
#[cfg(feature = "acme")]
pub mod http;
pub mod roots;

//! Clients of the network, each with caps and deadlines.

#[cfg(feature = "acme")]
pub mod dns;
pub mod roots;

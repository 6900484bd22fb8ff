//! certmint owns a certificate's whole life on a machine.
//!
//! The modules stand in layers, lowest first; a module uses only what stands
//! before it, and `tests/it/layers.rs` holds that. The library never prints,
//! exits or reads the environment: `cli` is told all of it by `main`.

// Vocabulary: pure values that are correct when they exist.
pub mod clock;
pub mod identifier;
pub mod key;
pub mod bundle;
pub mod event;

// Ports: what the layers above and below agree on.
pub mod settings;
pub mod finding;
pub mod net;
pub mod issuer;
pub mod store;
pub mod challenge;
pub mod certificates;

// Issuers; strangers to each other.
pub mod pki;
#[cfg(feature = "acme")]
pub mod acme;

// Life cycle: deciding what is due, and doing it.
pub mod renew;
pub mod on_demand;

// The private CA's own ACME server, without its sockets.
pub mod directory;

// The server knows certificates by name, never who issued them.
pub mod server;

// Inspection: what is there, and who trusts it.
pub mod inspect;
pub mod trust;

// Composition: one match over what a server may be.
pub mod serve;

// The edge: flags in, words and exit codes out.
pub mod cli;

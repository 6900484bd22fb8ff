//! The private CA: a root, intermediates under it, and the leaves they sign.
//!
//! Rules kept here: policy is written out field by field in `profile`, never left
//! to a library's default; leaves are signed by one function, which demands an
//! `Authorized` that only `policy` can make; everything is linted before it is
//! signed and in the ledger before it is handed out; a request contributes names
//! and a public key, nothing else.
//!
//! On disk (all under `ca/` of the state directory): `ca.json`, whose presence
//! means that there is a CA; `root/R1/…`, `intermediate/I1/…` with `cert.pem`,
//! `key.pem` and, for a root that replaces another, `cross.pem`; the ledger
//! `ca.sqlite`; `crl/`; and the exports `root.pem` and `chain.pem`.

pub mod backup;
pub mod crl;
pub mod ledger;
#[cfg(feature = "p12")]
pub mod p12;

mod authority;
mod config;
mod csr;
mod error;
mod init;
mod issue;
mod key_file;
mod lint;
mod paths;
mod policy;
mod profile;
mod publication;
mod request;
mod revocation;
mod rotate;
mod sign;
#[cfg(test)]
mod test_ca;

pub use authority::{Authority, Intermediate, KeyLocation, Root};
pub use config::{CaConfig, CaName, Country, CrlUrl, InvalidSetting, Organization};
pub use csr::{CsrError, CsrNames, CsrRequest, ForeignCsr, SignedCsr, read_request};
pub use error::CaError;
pub use init::{InitOutcome, InitRequest, init};
pub use issue::{Issued, Order, PrivateCa, Unrecorded};
pub use paths::CaPaths;
pub use policy::{Clamped, Refused, WeakKey};
pub use publication::Publication;
pub use request::request;
pub use revocation::{Published, PublishedCrl};
pub use rotate::{
    IntermediateRotation, RootRotation, RotateIntermediate, RotateRoot, finish_root_rotation,
    rotate_intermediate, rotate_root,
};

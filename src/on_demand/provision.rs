//! A program that may have a certificate already, asked before one is made.

use std::net::IpAddr;
use std::time::Duration;

use super::ask::about;
use crate::bundle::{BundleError, CertBundle};
use crate::clock::{Timestamp, rfc3339};
use crate::identifier::{DnsName, Identifier, summary};
use crate::renew::hook::{Hook, HookFailure};

/// What the program said.
#[derive(Debug)]
pub(super) enum Provided {
    /// This is to be served.
    Certificate(Box<CertBundle>),
    /// It has none: the CA is to be asked.
    Acme,
}

/// How long the program may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Most of its output that is read, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Asks `hook` for a certificate for `name`: key and chain as PEM, or the word `acme`, on
/// its standard output. What it gives is checked.
pub(super) async fn ask(
    hook: &Hook,
    name: &DnsName,
    client: Option<IpAddr>,
    now: Timestamp,
) -> Result<Provided, ProvisionError> {
    let context = about(name, client);
    let output = hook.run_for_output(&context, DEADLINE, LONGEST).await?;
    if output.trim_ascii() == b"acme" {
        return Ok(Provided::Acme);
    }
    let bundle = CertBundle::from_pem(&output, &output, None)?;
    let leaf = bundle.leaf();
    if !bundle.covers(&[Identifier::Dns(name.clone())]) {
        return Err(ProvisionError::OtherName(summary(leaf.names())));
    }
    if !leaf.is_valid_at(now) {
        let (from, to) = (rfc3339(leaf.not_before()), rfc3339(leaf.not_after()));
        return Err(ProvisionError::NotValid { from, to });
    }
    Ok(Provided::Certificate(Box::new(bundle)))
}

/// Why the program is of no help.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProvisionError {
    /// It failed, or took too long.
    #[error(transparent)]
    Hook(#[from] HookFailure),
    /// What it wrote is no certificate with its key.
    #[error("the provision hook wrote no certificate with its key, nor `acme`")]
    Malformed(#[from] BundleError),
    /// The certificate is for something else.
    #[error("the provision hook gave a certificate for {0}")]
    OtherName(String),
    /// The certificate is not valid now.
    #[error("the provision hook gave a certificate that is valid from {from} to {to}")]
    NotValid {
        /// Its first second.
        from: String,
        /// Its last.
        to: String,
    },
}

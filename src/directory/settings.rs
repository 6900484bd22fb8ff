//! How a directory is run: its policy, what it offers, and how much of it.

use std::collections::BTreeSet;

use url::Url;

use super::validate::Policy;
use crate::challenge::ChallengeKind;
use crate::clock::Duration;
use crate::identifier::{DnsName, Identifier, NameConstraints};
use crate::issuer::Usage;
use crate::pki::Publication;

/// How a directory is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What every URL begins with, such as `https://ca.example`; `None` means the host
    /// that each request asks for.
    pub public_url: Option<Url>,
    /// The terms of service, which accounts must then agree to.
    pub terms_of_service: Option<Url>,
    /// A page about this CA.
    pub website: Option<Url>,
    /// Names of this CA in CAA records (RFC 8659), which are looked up if there are any.
    pub caa_identities: Vec<DnsName>,
    /// Whether an account must be bound to an external one (RFC 8555 §7.3.4).
    pub require_eab: bool,
    /// For which names certificates are issued, within the CA's own constraints.
    pub permit: Permit,
    /// The kinds of challenge offered.
    pub challenges: Vec<ChallengeKind>,
    /// What can be had; the first is the default.
    pub profiles: Vec<Profile>,
    /// How much of what.
    pub limits: Limits,
    /// How challenges are looked at.
    pub validation: Policy,
    /// Where the CRLs and the issuers' certificates can be had, if anywhere.
    pub publication: Option<Publication>,
    /// Whether this serves its own process alone: beside another directory of the same
    /// CA, and leaving to that one what one that died has begun.
    pub embedded: bool,
}

/// For which names certificates are issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Those below these, which are some.
    Within(NameConstraints),
    /// Exactly these.
    Exactly(BTreeSet<Identifier>),
    /// All that the CA's own constraints allow.
    Any,
}

/// A kind of certificate that can be ordered by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// One line about it, for people.
    pub description: String,
    /// Life of a certificate when the order says nothing.
    pub lifetime: Duration,
    /// The longest life that an order may ask for.
    pub longest: Duration,
    /// What the certificates are for.
    pub usage: Usage,
}

impl Profile {
    /// Life of a certificate when neither the order nor the operator says anything, in
    /// days: whatever asks by ACME renews by itself.
    pub const DAYS: u32 = 7;
    /// The longest life that an order may ask for, in days.
    const LONGEST_DAYS: u32 = 90;

    /// What can be ordered; without a choice certificates live `days` days.
    pub fn usual(days: u32) -> Vec<Self> {
        let profile = |name: &str, description: &str, days: u32, longest: u32| Self {
            name: name.to_owned(),
            description: description.to_owned(),
            lifetime: Duration::days(days.into()),
            longest: Duration::days(longest.into()),
            usage: Usage::Server,
        };
        let lasting = match days {
            1 => "1 day".to_owned(),
            days => format!("{days} days"),
        };
        let first = format!("{lasting} unless the order says when it ends");
        vec![
            profile("default", &first, days, days.max(Self::LONGEST_DAYS)),
            profile("classic", "90 days", 90, 90),
            profile("shortlived", "1 day", 1, 1),
        ]
    }
}

/// How much the directory does for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// New accounts per client address (IPv6: /64) and hour.
    pub accounts_per_address: u32,
    /// New orders per account and hour; one for several names counts once for each.
    pub orders_per_account: u32,
    /// New orders per client address (IPv6: /64) and hour, counted likewise.
    pub orders_per_address: u32,
    /// Orders of one account that are not finished.
    pub open_orders: u32,
    /// Failed validations per account and name and hour; one that goes on counts until it
    /// succeeds.
    pub failures_per_name: u32,
    /// Certificates per name and hour; as many again that replace one that is due.
    pub certificates_per_name: u32,
    /// Validations going on at a time, over all accounts; a sixteenth of them for each,
    /// and a quarter for all of one client address (IPv6: /64).
    pub validations: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            accounts_per_address: 100,
            // Thirty of the largest.
            orders_per_account: 3000,
            orders_per_address: 10_000,
            open_orders: 300,
            failures_per_name: 20,
            certificates_per_name: 100,
            validations: 256,
        }
    }
}

//! Records written by dynamic update (RFC 2136), signed with a shared key (RFC 8945).
//!
//! A message goes over TCP and its answer counts only with a good signature; an error
//! that the server may not sign (a key it does not know) is told as what it is.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::op::{Message, ResponseCode, update_message};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::rdata::{TXT, tsig};
use hickory_proto::rr::{RData, Record, RecordSet, TSigner};
use zeroize::Zeroizing;

use super::{DnsProvider, TxtRecord};
use crate::challenge::SolverError;
use crate::clock::Clock;
use crate::issuer::BoxFuture;
use crate::net::dns::{DomainName, NoAnswer, exchange_tcp};

/// A server that takes signed updates.
#[derive(Debug)]
pub struct Rfc2136 {
    server: ServerAddress,
    key: TsigKey,
    clock: Arc<dyn Clock>,
}

/// `host`, `host:port`, `address` or `[address]:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// A shared key. Its `Debug` shows the name alone.
pub struct TsigKey {
    /// What both sides call it.
    pub name: DomainName,
    /// How it signs.
    pub algorithm: TsigAlgorithm,
    /// The key itself, decoded.
    pub secret: Zeroizing<Vec<u8>>,
}

/// How a shared key signs; weaker ones are not offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TsigAlgorithm {
    /// hmac-sha256, what `tsig-keygen` makes unless told.
    #[default]
    HmacSha256,
    /// hmac-sha384.
    HmacSha384,
    /// hmac-sha512.
    HmacSha512,
}

impl TsigAlgorithm {
    /// Every algorithm, with its name in BIND's configuration.
    pub const ALL: [(Self, &'static str); 3] = [
        (Self::HmacSha256, "hmac-sha256"),
        (Self::HmacSha384, "hmac-sha384"),
        (Self::HmacSha512, "hmac-sha512"),
    ];
}

impl FromStr for TsigAlgorithm {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL
            .into_iter()
            .find(|(_, name)| name.eq_ignore_ascii_case(text));
        found
            .map(|(algorithm, _)| algorithm)
            .ok_or("not one of hmac-sha256, hmac-sha384, hmac-sha512")
    }
}

impl FromStr for ServerAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::new(&address.ip().to_string(), address.port()));
        }
        if let Ok(ip) = text.parse::<std::net::IpAddr>() {
            return Ok(Self::new(&ip.to_string(), DNS_PORT));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().map_err(|_| "its port is no number")?),
            None => (text, DNS_PORT),
        };
        DomainName::parse(host).map_err(|_| "neither an address nor a host name")?;
        Ok(Self::new(host, port))
    }
}

impl ServerAddress {
    fn new(host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, UpdateError> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found = found.map_err(|source| UpdateError::Unresolved {
            host: self.host.clone(),
            source,
        })?;
        Ok(found.take(MAX_ADDRESSES).collect())
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = self.host.contains(':');
        let (open, close) = if bracketed { ("[", "]") } else { ("", "") };
        write!(f, "{open}{}{close}:{}", self.host, self.port)
    }
}

impl fmt::Debug for TsigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            algorithm,
            secret: _,
        } = self;
        let mut shown = f.debug_struct("TsigKey");
        shown.field("name", name).field("algorithm", algorithm);
        shown.finish_non_exhaustive()
    }
}

impl Rfc2136 {
    /// A provider that sends its updates to `server`.
    pub fn new(server: ServerAddress, key: TsigKey, clock: Arc<dyn Clock>) -> Self {
        Self { server, key, clock }
    }

    async fn update(&self, mut message: Message, zone: &DomainName) -> Result<(), UpdateError> {
        let signer = self.signer()?;
        let now = u64::try_from(self.clock.now().unix_timestamp()).unwrap_or_default();
        let verifier = message
            .finalize(&signer, now)
            .map_err(|e| UpdateError::Unsignable(e.to_string()))?;
        let bytes = message
            .to_vec()
            .map_err(|e| UpdateError::Unsignable(e.to_string()))?;
        let mut unreached = None;
        for address in self.server.resolve().await? {
            match exchange_tcp(address, &bytes, DEADLINE).await {
                Ok(answer) => {
                    let mut verifier = verifier.expect("a signer gives a verifier");
                    let signed = verifier.verify(&answer).is_ok();
                    return self.judge(&answer, &message, signed, zone);
                }
                // The next address is another way to the same server.
                Err(error) => unreached = Some(error),
            }
        }
        Err(UpdateError::Unreachable {
            server: self.server.to_string(),
            answer: unreached.unwrap_or(NoAnswer::NoRoute),
        })
    }

    fn signer(&self) -> Result<TSigner, UpdateError> {
        let algorithm = match self.key.algorithm {
            TsigAlgorithm::HmacSha256 => tsig::TsigAlgorithm::HmacSha256,
            TsigAlgorithm::HmacSha384 => tsig::TsigAlgorithm::HmacSha384,
            TsigAlgorithm::HmacSha512 => tsig::TsigAlgorithm::HmacSha512,
        };
        let (secret, name) = (self.key.secret.to_vec(), self.key.name.as_name().clone());
        TSigner::new(secret, algorithm, name, FUDGE)
            .map_err(|e| UpdateError::Unsignable(e.to_string()))
    }

    /// What the server's answer means.
    fn judge(
        &self,
        answer: &[u8],
        sent: &Message,
        signed: bool,
        zone: &DomainName,
    ) -> Result<(), UpdateError> {
        let server = || self.server.to_string();
        let garbled = || UpdateError::Unreachable {
            server: server(),
            answer: NoAnswer::Garbled,
        };
        let answer = Message::from_vec(answer).map_err(|_| garbled())?;
        if answer.metadata.id != sent.metadata.id {
            return Err(garbled());
        }
        let key = || self.key.name.to_string();
        let error = answer.signature().and_then(|tsig| tsig.data.error);
        match (error, answer.metadata.response_code) {
            (Some(TsigError::BadKey), _) => Err(UpdateError::UnknownKey {
                server: server(),
                key: key(),
            }),
            (Some(TsigError::BadSig), _) => Err(UpdateError::WrongSecret {
                server: server(),
                key: key(),
            }),
            (Some(TsigError::BadTime), _) => Err(UpdateError::WrongTime { server: server() }),
            (_, ResponseCode::NoError) if signed => Ok(()),
            (_, ResponseCode::NoError) => Err(UpdateError::Unsigned { server: server() }),
            (_, ResponseCode::Refused) => Err(UpdateError::Refused {
                server: server(),
                key: key(),
                zone: zone.clone(),
            }),
            (_, ResponseCode::NotAuth | ResponseCode::NotZone) => Err(UpdateError::NotItsZone {
                server: server(),
                zone: zone.clone(),
            }),
            (_, code) => Err(UpdateError::Unreachable {
                server: server(),
                answer: NoAnswer::Code(code),
            }),
        }
    }
}

impl DnsProvider for Rfc2136 {
    fn add<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async move {
            let message = update_message::append(
                rrset(record, TTL)?,
                record.zone.as_name().clone(),
                false,
                true,
            );
            Ok(self.update(message, &record.zone).await?)
        })
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        Box::pin(async move {
            let zone = record.zone.as_name().clone();
            let message = update_message::delete_by_rdata(rrset(record, 0)?, zone, true);
            Ok(self.update(message, &record.zone).await?)
        })
    }
}

fn rrset(record: &TxtRecord, ttl: u32) -> Result<RecordSet, UpdateError> {
    // The library asserts it; a journal is read from disk.
    if !record.name.is_within(&record.zone) {
        return Err(UpdateError::Outside(record.clone()));
    }
    let data = RData::TXT(TXT::new(vec![record.value.clone()]));
    Ok(Record::from_rdata(record.name.as_name().clone(), ttl, data).into())
}

/// Why an update was not made.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// The server's host name has no address.
    #[error("could not find the address of the DNS server `{host}`")]
    Unresolved {
        /// The host name.
        host: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// No usable answer.
    #[error("the DNS server {server} {answer}")]
    Unreachable {
        /// Where it was asked.
        server: String,
        /// What it did instead.
        answer: NoAnswer,
    },
    /// BADKEY.
    #[error(
        "the DNS server {server} does not know the TSIG key `{key}`, or not with this algorithm"
    )]
    UnknownKey {
        /// Where it was asked.
        server: String,
        /// The key's name.
        key: String,
    },
    /// BADSIG.
    #[error("the DNS server {server} has another secret for the TSIG key `{key}`")]
    WrongSecret {
        /// Where it was asked.
        server: String,
        /// The key's name.
        key: String,
    },
    /// BADTIME.
    #[error(
        "the clocks of this machine and of the DNS server {server} differ by more than {FUDGE} s"
    )]
    WrongTime {
        /// Where it was asked.
        server: String,
    },
    /// The answer is not from who holds the key.
    #[error("the answer of the DNS server {server} has no valid TSIG signature")]
    Unsigned {
        /// Where it was asked.
        server: String,
    },
    /// REFUSED.
    #[error("the DNS server {server} refuses updates of the zone `{zone}` by the TSIG key `{key}`")]
    Refused {
        /// Where it was asked.
        server: String,
        /// The key's name.
        key: String,
        /// The zone.
        zone: DomainName,
    },
    /// NOTAUTH or NOTZONE without a TSIG error.
    #[error("the DNS server {server} is not the primary of the zone `{zone}`")]
    NotItsZone {
        /// Where it was asked.
        server: String,
        /// The zone.
        zone: DomainName,
    },
    /// A record whose name is not in its zone.
    #[error("`{}` is not in the zone `{}`", .0.name, .0.zone)]
    Outside(TxtRecord),
    /// The message could not be made.
    #[error("could not sign the update: {0}")]
    Unsignable(String),
}

impl UpdateError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unresolved { .. } => "correct `server` in the credential",
            Self::Unreachable { .. } => {
                "does it listen there, over TCP too, and may this machine ask it?"
            }
            Self::UnknownKey { .. } => {
                "compare `key-name` and `algorithm` with the `key` block of the server"
            }
            Self::WrongSecret { .. } => "compare `secret` with the `key` block of the server",
            Self::WrongTime { .. } => "set both clocks right, for instance with NTP",
            Self::Unsigned { .. } => "is that the server itself? something may stand between",
            Self::Refused { .. } => {
                "allow it in the server's `update-policy` of that zone: `grant KEY zonesub TXT;`"
            }
            Self::NotItsZone { .. } => "give the zone's primary as `server` in the credential",
            Self::Outside(_) | Self::Unsignable(_) => return None,
        })
    }

    /// Whether trying again without a change is useless.
    fn is_permanent(&self) -> bool {
        !matches!(self, Self::Unresolved { .. } | Self::Unreachable { .. })
    }
}

impl From<UpdateError> for SolverError {
    fn from(error: UpdateError) -> Self {
        let solver = Self {
            hint: error.hint().map(str::to_owned),
            permanent: error.is_permanent(),
            ..Self::new(error.to_string())
        };
        match error {
            UpdateError::Unresolved { source, .. } => solver.caused_by(source),
            _ => solver,
        }
    }
}

/// Where DNS servers listen.
const DNS_PORT: u16 = 53;

/// Addresses of the server's name that are tried.
const MAX_ADDRESSES: usize = 4;

/// How long one update may take, connecting included.
const DEADLINE: Duration = Duration::from_secs(10);

/// How far the clocks may differ, in seconds; what RFC 8945 §10 recommends.
const FUDGE: u16 = 300;

/// Life of a challenge's record in caches, in seconds: the next one has another value.
const TTL: u32 = 60;

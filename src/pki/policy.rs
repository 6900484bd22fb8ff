//! Who may have which certificate: the only place that says yes.
//!
//! [`authorize`] turns a wish into an [`Authorized`], whose fields nobody else can
//! set; the one function that signs leaves takes nothing less. Keys that strangers
//! bring become an [`AcceptedKey`] here, or are refused.

use rcgen::PublicKeyData;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::profile;
use crate::bundle::Certificate;
use crate::clock::{Duration, Timestamp, rfc3339};
use crate::identifier::{Identifier, NameConstraints, OutsideConstraints};
use crate::issuer::Usage;

/// Most names in one certificate.
pub(super) const MAX_NAMES: usize = 100;
/// Life of a leaf when nothing was said.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::days(90);
/// Longest life of a leaf: Apple's limit for certificates of any root.
pub(super) const MAX_LIFETIME: Duration = Duration::days(825);
/// Life of a leaf that says nothing of where its revocation can be looked up.
const SHORT_LIVED: Duration = Duration::days(7);
/// How far a leaf's life starts in the past, for clocks that are behind.
const BACKDATE: Duration = Duration::minutes(5);
/// How far in the past a leaf's life may start when somebody asks for its first second:
/// a certificate says nothing about the time before it was made (BR §7.1.2.7).
const MAX_BACKDATE: Duration = Duration::DAY;

/// What somebody wants.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) names: &'a [Identifier],
    pub(super) usage: Usage,
    pub(super) dates: Dates,
}

/// When somebody wants a leaf to be valid; what is not said is up to the policy.
///
/// The ends are granted exactly or refused (RFC 8555 §7.4). They have whole seconds,
/// since X.509 knows no others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Dates {
    /// Clamped to the issuer's end.
    pub(super) lifetime: Option<Duration>,
    pub(super) not_before: Option<Timestamp>,
    /// Overrides `lifetime`.
    pub(super) not_after: Option<Timestamp>,
}

impl Dates {
    /// From now, for so long.
    pub(super) fn lasting(lifetime: Option<Duration>) -> Self {
        Self {
            lifetime,
            ..Self::default()
        }
    }
}

/// What can be given.
#[derive(Debug)]
pub(super) struct Limits<'a> {
    pub(super) constraints: &'a NameConstraints,
    pub(super) issuer: &'a Certificate,
    pub(super) now: Timestamp,
}

/// Proof that a leaf with these names, uses and dates may be signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authorized {
    names: Vec<Identifier>,
    usage: Usage,
    not_before: Timestamp,
    not_after: Timestamp,
    clamped: Option<Clamped>,
}

impl Authorized {
    pub(super) fn names(&self) -> &[Identifier] {
        &self.names
    }

    pub(super) fn usage(&self) -> Usage {
        self.usage
    }

    pub(super) fn not_before(&self) -> Timestamp {
        self.not_before
    }

    pub(super) fn not_after(&self) -> Timestamp {
        self.not_after
    }

    pub(super) fn lifetime(&self) -> Duration {
        self.not_after - self.not_before
    }

    /// Whether it is gone before anybody would look for its revocation. What its life
    /// starts in the past does not count.
    pub(super) fn is_short_lived(&self) -> bool {
        self.lifetime() <= SHORT_LIVED + BACKDATE
    }

    pub(super) fn clamped(&self) -> Option<&Clamped> {
        self.clamped.as_ref()
    }
}

/// A certificate ends earlier than was asked, since its issuer does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clamped {
    /// What was asked.
    pub wanted: Timestamp,
    /// The issuer's end, which is now also the certificate's.
    pub granted: Timestamp,
}

impl std::fmt::Display for Clamped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "it ends at {}, with its issuer, instead of {}",
            rfc3339(self.granted),
            rfc3339(self.wanted)
        )
    }
}

/// Says yes to what is wanted, within the limits, or why not.
///
/// Names keep their order; repeated ones are dropped.
pub(super) fn authorize(wanted: &Wanted<'_>, limits: &Limits<'_>) -> Result<Authorized, Refused> {
    let names = check_names(wanted, limits.constraints)?;
    let life = check_dates(&wanted.dates, limits)?;
    Ok(Authorized {
        names,
        usage: wanted.usage,
        not_before: life.not_before,
        not_after: life.not_after,
        clamped: life.clamped,
    })
}

/// The dates that can be given.
#[derive(Debug)]
pub(super) struct Life {
    not_before: Timestamp,
    not_after: Timestamp,
    clamped: Option<Clamped>,
}

/// The dates of a leaf, or why not.
pub(super) fn check_dates(wanted: &Dates, limits: &Limits<'_>) -> Result<Life, Refused> {
    let lifetime = check_lifetime(wanted.lifetime)?;
    let (issuer, now) = (limits.issuer, limits.now);
    check_issuer(issuer, now)?;
    let not_before = match wanted.not_before {
        Some(start) => check_start(start, limits)?,
        None => (now - BACKDATE).max(issuer.not_before()),
    };
    if let Some(end) = wanted.not_after {
        return Ok(Life {
            not_before,
            not_after: check_end(end, not_before, limits)?,
            clamped: None,
        });
    }
    // Both ends count (RFC 5280 §4.1.2.5), hence the second.
    let longest = not_before + MAX_LIFETIME - Duration::SECOND;
    let asked = (wanted.not_before.unwrap_or(now) + lifetime).min(longest);
    let not_after = asked.min(issuer.not_after());
    Ok(Life {
        not_before,
        not_after,
        clamped: (not_after < asked).then_some(Clamped {
            wanted: asked,
            granted: not_after,
        }),
    })
}

fn check_lifetime(wanted: Option<Duration>) -> Result<Duration, Refused> {
    let lifetime = wanted.unwrap_or(DEFAULT_LIFETIME);
    if !lifetime.is_positive() {
        return Err(Refused::NoLife);
    }
    if lifetime > MAX_LIFETIME {
        return Err(Refused::TooLong {
            days: lifetime.whole_days(),
        });
    }
    Ok(lifetime)
}

fn check_issuer(issuer: &Certificate, now: Timestamp) -> Result<(), Refused> {
    if now < issuer.not_before() {
        return Err(Refused::IssuerNotYetValid {
            issuer: issuer.subject().to_owned(),
            not_before: issuer.not_before(),
        });
    }
    if now >= issuer.not_after() {
        return Err(Refused::IssuerExpired {
            issuer: issuer.subject().to_owned(),
            not_after: issuer.not_after(),
        });
    }
    Ok(())
}

/// The first second as asked, which is never moved.
fn check_start(start: Timestamp, limits: &Limits<'_>) -> Result<Timestamp, Refused> {
    let issuer = limits.issuer;
    let earliest = limits.now - MAX_BACKDATE;
    if start.nanosecond() != 0 {
        return Err(Refused::Fraction(start));
    }
    if start < earliest {
        return Err(Refused::StartsTooEarly {
            not_before: start,
            earliest,
        });
    }
    if start < issuer.not_before() {
        return Err(Refused::StartsBeforeIssuer {
            not_before: start,
            issuer: issuer.subject().to_owned(),
            issued: issuer.not_before(),
        });
    }
    if start >= issuer.not_after() {
        return Err(Refused::OutlivesIssuer {
            moment: start,
            issuer: issuer.subject().to_owned(),
            not_after: issuer.not_after(),
        });
    }
    Ok(start)
}

/// The last second as asked, which is never moved.
fn check_end(
    end: Timestamp,
    not_before: Timestamp,
    limits: &Limits<'_>,
) -> Result<Timestamp, Refused> {
    let issuer = limits.issuer;
    if end.nanosecond() != 0 {
        return Err(Refused::Fraction(end));
    }
    if end <= limits.now {
        return Err(Refused::Over {
            not_after: end,
            now: limits.now,
        });
    }
    if end <= not_before {
        return Err(Refused::EndsBeforeItStarts {
            not_before,
            not_after: end,
        });
    }
    if end - not_before >= MAX_LIFETIME {
        return Err(Refused::EndsTooLate {
            not_before,
            not_after: end,
        });
    }
    if end > issuer.not_after() {
        return Err(Refused::OutlivesIssuer {
            moment: end,
            issuer: issuer.subject().to_owned(),
            not_after: issuer.not_after(),
        });
    }
    Ok(end)
}

fn check_names(
    wanted: &Wanted<'_>,
    constraints: &NameConstraints,
) -> Result<Vec<Identifier>, Refused> {
    let mut names: Vec<Identifier> = Vec::new();
    for name in wanted.names.iter().take(MAX_NAMES + 1) {
        constraints.check(name)?;
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    if wanted.names.len() > MAX_NAMES {
        return Err(Refused::TooManyNames(wanted.names.len()));
    }
    if names.is_empty() {
        return Err(Refused::NoNames);
    }
    let only_people = names.iter().all(|n| matches!(n, Identifier::Email(_)));
    if wanted.usage == Usage::Server && only_people {
        return Err(Refused::NoServer(names.swap_remove(0)));
    }
    Ok(names)
}

/// Why a certificate may not be issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A certificate without a name is good for nothing.
    #[error("no name was given")]
    NoNames,
    /// More than 100 names.
    #[error("{0} names are too many; one certificate has at most {MAX_NAMES}")]
    TooManyNames(usize),
    /// A name outside the CA's name constraints.
    #[error(transparent)]
    Outside(#[from] OutsideConstraints),
    /// Only e-mail addresses, yet for a server.
    #[error("no server is called `{0}`")]
    NoServer(Identifier),
    /// A life of zero or less.
    #[error("a certificate must live for at least one second")]
    NoLife,
    /// More than 825 days.
    #[error("{days} days are too long; a certificate lives at most {max} days", max = MAX_LIFETIME.whole_days())]
    TooLong {
        /// What was asked.
        days: i64,
    },
    /// The clock is behind the intermediate.
    #[error("the issuer `{issuer}` is valid only from {}", rfc3339(*.not_before))]
    IssuerNotYetValid {
        /// Its subject.
        issuer: String,
        /// When it becomes valid.
        not_before: Timestamp,
    },
    /// The intermediate has expired.
    #[error("the issuer `{issuer}` expired at {}", rfc3339(*.not_after))]
    IssuerExpired {
        /// Its subject.
        issuer: String,
        /// When it expired.
        not_after: Timestamp,
    },
    /// Asked to start or end within a second.
    #[error("{} does not fall on a whole second, and a certificate knows no others", exact(*.0))]
    Fraction(Timestamp),
    /// Asked to start more than a day ago.
    #[error(
        "it cannot start at {}, which is before {}: at most a day in the past",
        rfc3339(*.not_before),
        rfc3339(*.earliest)
    )]
    StartsTooEarly {
        /// What was asked.
        not_before: Timestamp,
        /// The earliest that can be had.
        earliest: Timestamp,
    },
    /// Asked to start before its issuer.
    #[error(
        "it cannot start at {}: the issuer `{issuer}` is valid only from {}",
        rfc3339(*.not_before),
        rfc3339(*.issued)
    )]
    StartsBeforeIssuer {
        /// What was asked.
        not_before: Timestamp,
        /// The issuer's subject.
        issuer: String,
        /// When the issuer becomes valid.
        issued: Timestamp,
    },
    /// Asked to end in the past.
    #[error("it cannot end at {}: it is {} already", rfc3339(*.not_after), rfc3339(*.now))]
    Over {
        /// What was asked.
        not_after: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
    /// Asked to end before it starts.
    #[error(
        "it cannot end at {} and start at {}",
        rfc3339(*.not_after),
        rfc3339(*.not_before)
    )]
    EndsBeforeItStarts {
        /// When it would start.
        not_before: Timestamp,
        /// What was asked.
        not_after: Timestamp,
    },
    /// Asked to live longer than 825 days.
    #[error(
        "from {} to {} is too long; a certificate lives at most {max} days",
        rfc3339(*.not_before),
        rfc3339(*.not_after),
        max = MAX_LIFETIME.whole_days()
    )]
    EndsTooLate {
        /// When it would start.
        not_before: Timestamp,
        /// What was asked.
        not_after: Timestamp,
    },
    /// Asked to start or end when its issuer has expired.
    #[error(
        "it cannot be valid at {}: the issuer `{issuer}` ends at {}",
        rfc3339(*.moment),
        rfc3339(*.not_after)
    )]
    OutlivesIssuer {
        /// What was asked.
        moment: Timestamp,
        /// The issuer's subject.
        issuer: String,
        /// The issuer's end.
        not_after: Timestamp,
    },
}

/// A moment with its fraction.
fn exact(moment: Timestamp) -> String {
    let fraction = f64::from(moment.nanosecond()) / 1e9;
    format!("{} and {fraction} s", rfc3339(moment))
}

impl Refused {
    /// Whether other dates could be had.
    pub fn is_about_dates(&self) -> bool {
        match self {
            Self::NoLife
            | Self::TooLong { .. }
            | Self::Fraction(_)
            | Self::StartsTooEarly { .. }
            | Self::StartsBeforeIssuer { .. }
            | Self::Over { .. }
            | Self::EndsBeforeItStarts { .. }
            | Self::EndsTooLate { .. }
            | Self::OutlivesIssuer { .. } => true,
            Self::NoNames
            | Self::TooManyNames(_)
            | Self::Outside(_)
            | Self::NoServer(_)
            | Self::IssuerNotYetValid { .. }
            | Self::IssuerExpired { .. } => false,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NoNames => Some("name at least one host, address or user".to_owned()),
            Self::TooManyNames(_) => Some("use several certificates, or a wildcard".to_owned()),
            Self::Outside(_) => Some(
                "a CA's constraints cannot be widened; make another with `ca init --permit …` \
                 in another `--home`"
                    .to_owned(),
            ),
            Self::NoServer(_) => {
                Some("add `--client` for a certificate that identifies a user".to_owned())
            }
            Self::NoLife | Self::TooLong { .. } | Self::EndsTooLate { .. } => {
                Some(format!("use 1 to {} days", MAX_LIFETIME.whole_days()))
            }
            Self::Fraction(_) => Some("leave out the fraction of the second".to_owned()),
            Self::StartsTooEarly { .. } | Self::StartsBeforeIssuer { .. } => {
                Some("use a later start, or leave it out for now".to_owned())
            }
            Self::Over { .. } | Self::EndsBeforeItStarts { .. } => {
                Some("use a later end".to_owned())
            }
            Self::OutlivesIssuer { .. } => Some(
                "use an earlier date, or make a new intermediate with \
                 `certmint ca rotate intermediate`"
                    .to_owned(),
            ),
            Self::IssuerNotYetValid { .. } => Some("set this machine's clock".to_owned()),
            Self::IssuerExpired { .. } => {
                Some("make a new one with `certmint ca rotate intermediate`".to_owned())
            }
        }
    }
}

/// A public key that a certificate may carry.
#[derive(Debug)]
pub(super) struct AcceptedKey {
    key: rcgen::SubjectPublicKeyInfo,
    der: Vec<u8>,
    kind: String,
}

impl AcceptedKey {
    /// Largest RSA modulus; more is beyond what verifiers take.
    const MAX_RSA_BITS: usize = 8192;
    /// Smallest RSA modulus.
    const MIN_RSA_BITS: usize = 2048;
    /// Smallest public exponent (CA/Browser Forum BR §6.1.6).
    const MIN_RSA_EXPONENT: u64 = 65_537;

    /// Accepts a DER SubjectPublicKeyInfo, or says what is weak about it.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, WeakKey> {
        let (rest, info) = x509_parser::x509::SubjectPublicKeyInfo::from_der(der)
            .map_err(|_| WeakKey::Malformed)?;
        if !rest.is_empty() || info.subject_public_key.unused_bits != 0 {
            return Err(WeakKey::Malformed);
        }
        // Knows rsaEncryption, the three NIST curves by name and Ed25519.
        let key = rcgen::SubjectPublicKeyInfo::from_der(der).map_err(|_| WeakKey::Unknown)?;
        let kind = match info.parsed().map_err(|_| WeakKey::Malformed)? {
            PublicKey::RSA(rsa) => check_rsa(&rsa)?,
            PublicKey::EC(point) => check_point(point.data(), &key)?.to_owned(),
            _ if key.algorithm() == &rcgen::PKCS_ED25519 => "ed25519".to_owned(),
            _ => return Err(WeakKey::Unknown),
        };
        // The key is written again from its parts: what is not DER would change.
        if key.subject_public_key_info() != der {
            return Err(WeakKey::Malformed);
        }
        Ok(Self {
            key,
            der: der.to_vec(),
            kind,
        })
    }

    /// DER SubjectPublicKeyInfo.
    pub(super) fn spki(&self) -> &[u8] {
        &self.der
    }

    /// The kind, as a `KeyType` is written; other RSA sizes likewise.
    pub(super) fn kind(&self) -> &str {
        &self.kind
    }
}

impl PublicKeyData for AcceptedKey {
    fn der_bytes(&self) -> &[u8] {
        self.key.der_bytes()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        PublicKeyData::algorithm(&self.key)
    }
}

fn check_rsa(rsa: &x509_parser::public_key::RSAPublicKey<'_>) -> Result<String, WeakKey> {
    let modulus = rsa.modulus;
    let negative = modulus.first().is_none_or(|first| first & 0x80 != 0);
    let even = modulus.last().is_none_or(|last| last & 1 == 0);
    if negative || even {
        return Err(WeakKey::Malformed);
    }
    let digits = modulus
        .iter()
        .position(|byte| *byte != 0)
        .map_or(&[][..], |start| &modulus[start..]);
    let unused = digits.first().map_or(0, |byte| byte.leading_zeros());
    let bits = digits.len() * 8 - unused as usize;
    if bits < AcceptedKey::MIN_RSA_BITS {
        return Err(WeakKey::SmallRsa(bits));
    }
    if bits > AcceptedKey::MAX_RSA_BITS {
        return Err(WeakKey::HugeRsa(bits));
    }
    let exponent = rsa.try_exponent().map_err(|_| WeakKey::Exponent)?;
    if exponent < AcceptedKey::MIN_RSA_EXPONENT || exponent.is_multiple_of(2) {
        return Err(WeakKey::Exponent);
    }
    Ok(format!("rsa{bits}"))
}

fn check_point(point: &[u8], key: &rcgen::SubjectPublicKeyInfo) -> Result<&'static str, WeakKey> {
    let (kind, octets) = match point.len() {
        65 => ("p256", 65),
        97 => ("p384", 97),
        133 => ("p521", 133),
        _ => return Err(WeakKey::Compressed),
    };
    // RFC 5480 §2.2: uncompressed is what everybody reads.
    if point.first() != Some(&4) || point.len() != octets {
        return Err(WeakKey::Compressed);
    }
    let curve = PublicKeyData::algorithm(key);
    let same = match kind {
        "p256" => curve == &rcgen::PKCS_ECDSA_P256_SHA256,
        "p384" => curve == &rcgen::PKCS_ECDSA_P384_SHA384,
        _ => ![
            &rcgen::PKCS_ECDSA_P256_SHA256,
            &rcgen::PKCS_ECDSA_P384_SHA384,
        ]
        .contains(&curve),
    };
    if same {
        Ok(kind)
    } else {
        Err(WeakKey::Malformed)
    }
}

/// Why a public key is not put into a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    /// Not the DER of a public key.
    #[error("the public key is malformed")]
    Malformed,
    /// DSA, an unusual curve, or something newer.
    #[error("the public key is of an unknown kind; use P-256, P-384, P-521, Ed25519 or RSA")]
    Unknown,
    /// A compressed or malformed point.
    #[error("the public key's point is not in the uncompressed form")]
    Compressed,
    /// Fewer than 2048 bits.
    #[error("the RSA key has {0} bits; at least {min} are needed", min = AcceptedKey::MIN_RSA_BITS)]
    SmallRsa(usize),
    /// More than 8192 bits.
    #[error("the RSA key has {0} bits; at most {max} are taken", max = AcceptedKey::MAX_RSA_BITS)]
    HugeRsa(usize),
    /// Even, below 65537, or above what verifiers take.
    #[error("the RSA key's public exponent is not an odd number from 65537 to 2^64")]
    Exponent,
}

/// The common name of a leaf with these names: a courtesy to people who look.
///
/// Never an address: OpenSSL holds a common name that might be a host name against
/// the permitted domains when there is no DNS name beside it.
pub(super) fn common_name(names: &[Identifier]) -> Option<String> {
    let text = match names.first()? {
        name @ (Identifier::Dns(_) | Identifier::Wildcard(_) | Identifier::Email(_)) => {
            name.to_string()
        }
        Identifier::Ip(_) | Identifier::Uri(_) => return None,
    };
    (text.chars().count() <= profile::MAX_COMMON_NAME).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::test_ca;

    fn wanted(names: &[Identifier], usage: Usage, days: Option<i64>) -> Wanted<'_> {
        Wanted {
            names,
            usage,
            dates: Dates::lasting(days.map(Duration::days)),
        }
    }

    fn names(texts: &[&str]) -> Vec<Identifier> {
        let parsed = texts.iter().map(|t| Identifier::parse(t).unwrap());
        parsed.collect()
    }

    #[test]
    fn only_what_is_within_the_limits_is_authorized() {
        let ca = test_ca::Hierarchy::new(&["home.arpa", "10.0.0.0/8"]);
        let limits = ca.limits();
        let many: Vec<String> = (0..101).map(|n| format!("h{n}.home.arpa")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let ask = |texts: &[&str], usage, days| {
            let names = names(texts);
            authorize(&wanted(&names, usage, days), &limits)
        };
        for (texts, usage, days) in [
            (&["a.home.arpa"][..], Usage::Server, None),
            (&["*.home.arpa", "10.1.2.3"], Usage::Both, Some(825)),
            (&["ada@home.arpa"], Usage::Client, Some(1)),
            (&["ada@home.arpa", "a.home.arpa"], Usage::Server, None),
            (&many[..100], Usage::Server, None),
        ] {
            let authorized = ask(texts, usage, days).unwrap();
            assert_eq!(authorized.names(), names(texts));
            assert_eq!(authorized.clamped(), None);
            assert!(authorized.lifetime() < MAX_LIFETIME);
        }
        for (texts, usage, days, reason) in [
            (&[][..], Usage::Server, None, "no name"),
            (&many, Usage::Server, None, "101 names"),
            (&["evil.test"], Usage::Server, None, "outside"),
            (&["a.home.arpa", "::1"], Usage::Server, None, "outside"),
            (&["ada@home.arpa"], Usage::Server, None, "no server"),
            (&["a.home.arpa"], Usage::Server, Some(0), "one second"),
            (&["a.home.arpa"], Usage::Server, Some(-1), "one second"),
            (&["a.home.arpa"], Usage::Server, Some(826), "826 days"),
        ] {
            let refused = ask(texts, usage, days).unwrap_err();
            assert!(refused.to_string().contains(reason), "{refused}");
            assert!(refused.hint().is_some(), "{refused}");
        }
    }

    #[test]
    fn a_leaf_never_outlives_its_issuer_and_says_so() {
        let ca = test_ca::Hierarchy::new(&[]);
        let issuer = &ca.intermediate;
        let names = names(&["a.test"]);
        let ask = |now, days| {
            let limits = Limits { now, ..ca.limits() };
            authorize(&wanted(&names, Usage::Server, days), &limits)
        };
        let late = ask(issuer.not_after() - Duration::days(10), None).unwrap();
        assert_eq!(late.not_after(), issuer.not_after());
        let clamped = late.clamped().unwrap();
        assert_eq!(clamped.granted, issuer.not_after());
        assert_eq!(clamped.wanted - clamped.granted, Duration::days(80));

        let early = ask(issuer.not_before() + Duration::MINUTE, None).unwrap();
        assert_eq!(early.not_before(), issuer.not_before());
        assert_eq!(early.clamped(), None);
        let expired = ask(issuer.not_after(), None).unwrap_err();
        assert!(matches!(expired, Refused::IssuerExpired { .. }));
        let ahead = ask(issuer.not_before() - Duration::SECOND, None).unwrap_err();
        assert!(matches!(ahead, Refused::IssuerNotYetValid { .. }));
    }

    #[test]
    fn dates_asked_for_are_granted_to_the_second_or_refused() {
        let ca = test_ca::Hierarchy::new(&[]);
        let (start, end) = (ca.intermediate.not_before(), ca.intermediate.not_after());
        let names = names(&["a.test"]);
        // A day before is within the issuer's life, and 825 days later as well.
        let now = start + Duration::days(2);
        let ask = |now, not_before, not_after, lifetime| {
            let wanted = Wanted {
                names: &names,
                usage: Usage::Server,
                dates: Dates {
                    lifetime,
                    not_before,
                    not_after,
                },
            };
            authorize(&wanted, &Limits { now, ..ca.limits() })
        };
        let (second, day) = (Duration::SECOND, Duration::DAY);
        let usual = now - BACKDATE;
        let ago = now - day;
        let longest = ago + MAX_LIFETIME - second;
        let late = end - Duration::days(100);
        for (now, not_before, not_after, granted) in [
            (now, Some(now), Some(now + second), (now, now + second)),
            (now, Some(ago), Some(now + second), (ago, now + second)),
            (now, None, Some(now + day), (usual, now + day)),
            (late, None, Some(end), (late - BACKDATE, end)),
            (late, Some(late + day), Some(end), (late + day, end)),
            (now, Some(ago), Some(longest), (ago, longest)),
            (now, Some(end - day), None, (end - day, end)),
            (
                now,
                Some(now + day),
                None,
                (now + day, now + day + DEFAULT_LIFETIME),
            ),
        ] {
            let given = ask(now, not_before, not_after, None).unwrap();
            assert_eq!((given.not_before(), given.not_after()), granted);
            let is_clamped = given.clamped().is_some();
            assert_eq!(is_clamped, not_before == Some(end - day), "{given:?}");
        }
        // An end overrides a life; a life counts from the start.
        let both = ask(now, None, Some(now + day), Some(day * 9)).unwrap();
        assert_eq!(both.not_after(), now + day);
        let later = ask(now, Some(now + day), None, Some(day * 2)).unwrap();
        assert_eq!(later.not_after(), now + day * 3);
        let zone = time::UtcOffset::from_hms(5, 30, 0).unwrap();
        let abroad = ask(now, None, Some((now + day).to_offset(zone)), None).unwrap();
        assert_eq!(abroad.not_after(), now + day);

        let early = start + Duration::MINUTE;
        for (now, not_before, not_after, reason) in [
            (now, None, Some(now), "already"),
            (now, None, Some(now - day * 9), "already"),
            (now, Some(now + day), Some(now + day), "and start at"),
            (now, Some(now + day), Some(now + second), "and start at"),
            (now, Some(ago), Some(ago + MAX_LIFETIME), "825 days"),
            (now, None, Some(now + MAX_LIFETIME), "825 days"),
            (late, Some(late), Some(end + second), "ends at"),
            (late, None, Some(end + second), "ends at"),
            (now, Some(end), None, "ends at"),
            (now, Some(end + day), Some(end + day * 2), "ends at"),
            (now, Some(ago - second), Some(end), "a day in the past"),
            (now, Some(now - day * 900), None, "a day in the past"),
            (early, Some(start - second), None, "valid only from"),
            (now, Some(now + second / 2), None, "whole second"),
            (now, None, Some(now + day + second / 2), "whole second"),
        ] {
            let refused = ask(now, not_before, not_after, None).unwrap_err();
            assert!(refused.to_string().contains(reason), "{refused}");
            assert!(refused.hint().is_some() && refused.is_about_dates());
        }
    }

    #[test]
    fn repeated_names_are_dropped_and_the_first_one_titles() {
        let ca = test_ca::Hierarchy::new(&[]);
        let twice = names(&["b.test", "a.test", "B.test"]);
        let authorized = authorize(&wanted(&twice, Usage::Server, None), &ca.limits()).unwrap();
        assert_eq!(authorized.names(), names(&["b.test", "a.test"]));
        let title = |text: &str| common_name(&names(&[text, "z.test"]));
        assert_eq!(title("a.test").as_deref(), Some("a.test"));
        assert_eq!(title("*.a.test").as_deref(), Some("*.a.test"));
        assert_eq!(title("ada@a.test").as_deref(), Some("ada@a.test"));
        assert_eq!(title("10.0.0.1"), None);
        assert_eq!(title("spiffe://a.test/x"), None);
        let long = |n: usize| format!("{}.{}", "a".repeat(58), "b".repeat(n));
        assert!(title(&long(5)).is_some(), "64 characters");
        assert_eq!(title(&long(6)), None, "65 characters");
    }
}

//! What the inventory holds, as values.

use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;
use crate::identifier::{CertId, Identifier};

/// One certificate that the CA has issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The serial number, big endian, without leading zeros.
    pub serial: Vec<u8>,
    /// Which of the CA's certificates signed it: `R1`, `I1`.
    pub issuer: String,
    /// What it is.
    pub role: Role,
    /// The id it is kept under on this machine; none for one signed from a CSR.
    pub id: Option<CertId>,
    /// Its subject alternative names, in order.
    pub names: Vec<Identifier>,
    /// Its subject, `CN=…, O=…`.
    pub subject: String,
    /// What it may be used for: `server`, `client`, `both`, `ca`.
    pub usage: String,
    /// The kind of its key.
    pub key_type: String,
    /// Start of validity, inclusive.
    pub not_before: Timestamp,
    /// End of validity, inclusive.
    pub not_after: Timestamp,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// SHA-256 over the public key (SubjectPublicKeyInfo), lower-case hex.
    pub spki_sha256: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// When and why it was revoked, if it was.
    pub revoked: Option<Revocation>,
}

impl Entry {
    /// The serial number as lower-case hex, as the inventory and `ca list` show it.
    pub fn serial_hex(&self) -> String {
        serial_to_hex(&self.serial)
    }
}

/// What a certificate is in the hierarchy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A root.
    Root,
    /// A new root signed by an old one, for clients that know only the old.
    Cross,
    /// What signs leaves.
    Intermediate,
    /// What servers and clients use.
    Leaf,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Root, Self::Cross, Self::Intermediate, Self::Leaf];

    /// The word in the inventory and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Cross => "cross",
            Self::Intermediate => "intermediate",
            Self::Leaf => "leaf",
        }
    }

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// That a certificate was revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// When the CA took note of it.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// Why a certificate was revoked (RFC 5280 §5.3.1).
///
/// `certificateHold` and `removeFromCRL` are left out: here a revocation is for
/// good. So is `aACompromise`, which speaks of attribute certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reason {
    /// None given; absent from the CRL, as RFC 5280 §5.3.1 wants it.
    #[default]
    Unspecified,
    /// Somebody else has the key.
    KeyCompromise,
    /// Somebody else has the CA's key.
    CaCompromise,
    /// The subject's name or organisation changed.
    AffiliationChanged,
    /// Another certificate took its place.
    Superseded,
    /// It is needed no more.
    CessationOfOperation,
    /// What it allowed is no longer allowed.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason, as they are offered.
    pub const ALL: [Self; 7] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::CaCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The name in RFC 5280.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "keyCompromise",
            Self::CaCompromise => "cACompromise",
            Self::AffiliationChanged => "affiliationChanged",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessationOfOperation",
            Self::PrivilegeWithdrawn => "privilegeWithdrawn",
        }
    }

    /// The CRLReason number, as in CRLs and in ACME (RFC 8555 §7.6).
    pub fn code(self) -> u8 {
        match self {
            Self::Unspecified => 0,
            Self::KeyCompromise => 1,
            Self::CaCompromise => 2,
            Self::AffiliationChanged => 3,
            Self::Superseded => 4,
            Self::CessationOfOperation => 5,
            Self::PrivilegeWithdrawn => 9,
        }
    }

    /// The reason with this CRLReason number.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Reason {
    type Err = UnknownReason;

    /// Takes RFC 5280's names in any case, with or without hyphens.
    fn from_str(text: &str) -> Result<Self, UnknownReason> {
        let plain = text.replace('-', "");
        Self::ALL
            .into_iter()
            .find(|reason| reason.as_str().eq_ignore_ascii_case(&plain))
            .ok_or_else(|| UnknownReason(crate::identifier::quoted(text)))
    }
}

impl serde::Serialize for Reason {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// A word that is no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a reason for revocation; use one of unspecified, keyCompromise, cACompromise, \
     affiliationChanged, superseded, cessationOfOperation and privilegeWithdrawn"
)]
pub struct UnknownReason(String);

/// What became of a wish to revoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoke {
    /// It is revoked now.
    Done(Revocation),
    /// It was revoked before; date and reason are the first ones.
    Already(Revocation),
}

/// A revoked certificate, as far as a CRL needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The serial number, big endian, without leading zeros.
    pub serial: Vec<u8>,
    /// End of validity, after which a CRL may leave it out.
    pub not_after: Timestamp,
    /// When and why.
    pub revocation: Revocation,
}

/// The CRL of one issuer that was published last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastCrl {
    /// Its number.
    pub number: u64,
    /// Its thisUpdate.
    pub this_update: Timestamp,
}

/// Which entries are wanted: those that meet every condition given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// Validity ends before this.
    pub expiring_before: Option<Timestamp>,
    /// Validity has not ended at this moment.
    pub not_expired_at: Option<Timestamp>,
    /// Revoked, or not revoked.
    pub revoked: Option<bool>,
    /// Has a name that matches: `*` any text, `?` one character, `[a-z]` one of a
    /// set. Upper and lower case differ, and names are in lower case.
    pub name_glob: Option<String>,
    /// Has exactly this name.
    pub name: Option<Identifier>,
    /// Has this role.
    pub role: Option<Role>,
    /// No more than this many.
    pub limit: Option<u64>,
}

/// How many leaves there are; each is counted once, but `expiring` within `valid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counts {
    /// Neither expired nor revoked.
    pub valid: u64,
    /// Those of `valid` that expire before the moment asked for.
    pub expiring: u64,
    /// Expired, and never revoked.
    pub expired: u64,
    /// Revoked, expired or not.
    pub revoked: u64,
}

/// A serial number as lower-case hex without leading zero octets.
pub fn serial_to_hex(serial: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(minimal(serial))
}

/// Reads a serial number that a person copied: hex in any case, with or without
/// `0x` and colons. `None` for anything else, or more than the 20 octets that a
/// serial number may have (RFC 5280 §4.1.2.2).
pub fn serial_from_hex(text: &str) -> Option<Vec<u8>> {
    const MAX: usize = 20;
    let digits = text
        .strip_prefix("0x")
        .unwrap_or(text)
        .replace(':', "")
        .to_ascii_lowercase();
    let padded = if digits.len().is_multiple_of(2) {
        digits
    } else {
        format!("0{digits}")
    };
    let octets = data_encoding::HEXLOWER.decode(padded.as_bytes()).ok()?;
    let serial = minimal(&octets);
    (!octets.is_empty() && serial.len() <= MAX).then(|| serial.to_vec())
}

/// The number without leading zero octets, so that DER's sign octet and another
/// program's padding make no difference.
fn minimal(serial: &[u8]) -> &[u8] {
    let zeros = serial.iter().take_while(|octet| **octet == 0).count();
    match serial.get(zeros..) {
        Some([]) | None => serial.get(..1).unwrap_or_default(),
        Some(rest) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_read_as_people_copy_them() {
        for (text, octets) in [
            ("0a", Some(vec![10])),
            ("A", Some(vec![10])),
            ("0x0A", Some(vec![10])),
            ("4F:00:01", Some(vec![0x4f, 0, 1])),
            ("00ff", Some(vec![0xff])),
            ("0", Some(vec![0])),
            // bad values
            ("", None),
            ("0x", None),
            ("xyz", None),
            ("a.example", None),
            (&"ff".repeat(21), None),
        ] {
            assert_eq!(serial_from_hex(text), octets, "{text:?}");
        }
        assert_eq!(serial_to_hex(&[0, 0xff]), "ff");
        assert_eq!(serial_to_hex(&[0, 0]), "00");
    }

    #[test]
    fn reasons_are_those_of_rfc_5280_in_any_spelling() {
        for reason in Reason::ALL {
            assert_eq!(reason.to_string().parse(), Ok(reason));
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
        }
        assert_eq!("key-compromise".parse(), Ok(Reason::KeyCompromise));
        assert_eq!("CACOMPROMISE".parse(), Ok(Reason::CaCompromise));
        for bad in [
            "",
            "certificateHold",
            "removeFromCRL",
            "1",
            "key compromise",
        ] {
            assert!(bad.parse::<Reason>().is_err(), "{bad:?}");
        }
        for bad in [6, 7, 8, 10] {
            assert_eq!(Reason::from_code(bad), None);
        }
    }
}

//! Making certification requests (PKCS#10), for somebody else's CA.

use rcgen::{CertificateParams, DistinguishedName};

use super::profile;
use crate::identifier::Identifier;
use crate::key::{PrivateKey, encode_pem};

use super::error::CaError;

/// A request for `names`, signed by `key`, as PEM. It carries names and nothing
/// else: the rest is the CA's policy.
pub fn request(key: &PrivateKey, names: &[Identifier]) -> Result<String, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names.iter().map(profile::san).collect::<Result<_, _>>()?;
    let request = params
        .serialize_request(key)
        .map_err(profile::ProfileError::Write)?;
    Ok(encode_pem("CERTIFICATE REQUEST", request.der()))
}

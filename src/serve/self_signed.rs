//! A certificate that nobody vouches for, made at start and never written: to try
//! things out.

use std::sync::Arc;
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SerialNumber,
};
use tokio_util::sync::CancellationToken;

use super::ServeError;
use super::keeper::ExpiryNotice;
use crate::bundle::{CertBundle, Certificate};
use crate::certificates::{CertificateTable, SourceId};
use crate::clock::{self, Clock, Timestamp};
use crate::identifier::Identifier;
use crate::key::{KeyType, PrivateKey};

/// How long it is valid; a restart makes another.
const LIFE: clock::Duration = clock::Duration::days(30);

/// The name in what stands in for others (RFC 6761 §6.4).
const PLACEHOLDER: &str = "placeholder.invalid";

/// How long that is valid.
const PLACEHOLDER_LIFE: clock::Duration = clock::Duration::days(3650);

/// How far back it begins: clocks differ.
const BACK: clock::Duration = clock::Duration::hours(1);

/// How often the dates are looked at.
const LOOK: Duration = Duration::from_secs(60);

/// A certificate that can be served, with what serves it.
pub(super) struct Made {
    pub(super) table: Arc<CertificateTable>,
    pub(super) serving: Certificate,
}

/// Makes one for `names`, which is also served to those who ask for other names.
pub(super) fn make(names: &[Identifier], clock: &dyn Clock) -> Result<Made, ServeError> {
    let words = "certmint self-signed, for trying out";
    serve(&sign(names, words, clock.now(), LIFE)?)
}

fn serve(bundle: &CertBundle) -> Result<Made, ServeError> {
    let source = SourceId::new("self-signed");
    let table = Arc::new(CertificateTable::with_default(source.clone()));
    table.replace(source, std::slice::from_ref(bundle))?;
    Ok(Made {
        table,
        serving: bundle.leaf().clone(),
    })
}

/// Makes one that stands in for others for as long as a server may run; nobody is to
/// trust it, and it has no name that anybody asks for.
pub(super) fn make_placeholder(clock: &dyn Clock) -> Result<Made, ServeError> {
    let name = Identifier::parse(PLACEHOLDER).expect("it is a host name");
    let words = "certmint placeholder: the certificate is being issued";
    serve(&sign(&[name], words, clock.now(), PLACEHOLDER_LIFE)?)
}

fn sign(
    names: &[Identifier],
    words: &str,
    now: Timestamp,
    life: clock::Duration,
) -> Result<CertBundle, ServeError> {
    let is_host = |name: &&Identifier| !matches!(name, Identifier::Email(_) | Identifier::Uri(_));
    let hosts: Vec<String> = names
        .iter()
        .filter(is_host)
        .map(Identifier::to_string)
        .collect();
    if hosts.is_empty() || hosts.len() < names.len() {
        let words = "a server is named by hosts and addresses";
        return Err(ServeError::SelfSigned(words.to_owned()));
    }
    let failed = |e: &dyn std::fmt::Display| ServeError::SelfSigned(e.to_string());
    let key = PrivateKey::generate(KeyType::P256).map_err(|e| failed(&e))?;
    let mut params = CertificateParams::new(hosts).map_err(|e| failed(&e))?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, words);
    params.not_before = now - BACK;
    params.not_after = now + life;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.serial_number = Some(serial().map_err(|e| failed(&e))?);
    let certificate = params.self_signed(&key).map_err(|e| failed(&e))?;
    let certificate = Certificate::from_der(certificate.der()).map_err(|e| failed(&e))?;
    CertBundle::new(key, vec![certificate]).map_err(|e| failed(&e))
}

/// At random, and positive: certificates of two runs are never the same one.
fn serial() -> Result<SerialNumber, aws_lc_rs::error::Unspecified> {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes)?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

/// Says when it has run out.
pub(super) async fn keep(made: Made, clock: Arc<dyn Clock>, stop: CancellationToken) {
    let mut expiry = ExpiryNotice::default();
    loop {
        expiry.tell(&made.serving, clock.now());
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

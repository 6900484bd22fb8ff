//! Certificates for these tests: a root, an intermediate, and leaves on demand.

use certmint::bundle::{CertBundle, Certificate};
use certmint::key::{KeyType, PrivateKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};

pub(crate) struct Pki {
    pub(crate) root: Certificate,
    intermediate: Certificate,
    issuer: Issuer<'static, PrivateKey>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let root_key = PrivateKey::generate(KeyType::P256).unwrap();
        let root = ca_params("Test Root");
        let root_certificate = root.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root, root_key);
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let params = ca_params("Test Intermediate");
        let intermediate = params.signed_by(&key, &root_issuer).unwrap();
        Self {
            root: Certificate::from_der(root_certificate.der()).unwrap(),
            intermediate: Certificate::from_der(intermediate.der()).unwrap(),
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn leaf(&self, kind: KeyType, names: &[&str]) -> CertBundle {
        let key = PrivateKey::generate(kind).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        dates(&mut params);
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = rcgen::DistinguishedName::new();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let leaf = Certificate::from_der(leaf.der()).unwrap();
        CertBundle::new(key, vec![leaf, self.intermediate.clone()]).unwrap()
    }
}

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    dates(&mut params);
    params
}

fn dates(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
}

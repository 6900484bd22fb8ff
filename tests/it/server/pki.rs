//! Certificates for these tests: a root, an intermediate, and leaves on demand.

use certmint::bundle::{CertBundle, Certificate};
use certmint::key::{KeyType, PrivateKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyUsagePurpose, RevokedCertParams,
    SerialNumber,
};

pub(crate) struct Pki {
    pub(crate) root: Certificate,
    pub(crate) intermediate: Certificate,
    root_issuer: Issuer<'static, PrivateKey>,
    issuer: Issuer<'static, PrivateKey>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        Self::named("Test")
    }

    /// One whose authorities have other names.
    pub(crate) fn named(name: &str) -> Self {
        let root_key = PrivateKey::generate(KeyType::P256).unwrap();
        let root = ca_params(&format!("{name} Root"));
        let root_certificate = root.self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(root, root_key);
        let key = PrivateKey::generate(KeyType::P256).unwrap();
        let params = ca_params(&format!("{name} Intermediate"));
        let intermediate = params.signed_by(&key, &root_issuer).unwrap();
        Self {
            root: Certificate::from_der(root_certificate.der()).unwrap(),
            intermediate: Certificate::from_der(intermediate.der()).unwrap(),
            root_issuer,
            issuer: Issuer::new(params, key),
        }
    }

    pub(crate) fn leaf(&self, kind: KeyType, names: &[&str]) -> CertBundle {
        self.signed(kind, names, |_| ())
    }

    /// A certificate for clients.
    pub(crate) fn client(&self, kind: KeyType, names: &[&str]) -> CertBundle {
        self.signed(kind, names, |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        })
    }

    /// A leaf that `change` makes a special one.
    pub(crate) fn signed(
        &self,
        kind: KeyType,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertBundle {
        let key = PrivateKey::generate(kind).unwrap();
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        dates(&mut params);
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = rcgen::DistinguishedName::new();
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let leaf = Certificate::from_der(leaf.der()).unwrap();
        CertBundle::new(key, vec![leaf, self.intermediate.clone()]).unwrap()
    }

    /// The intermediate's revocation list, valid until the end of `year`.
    pub(crate) fn crl(&self, revoked: &[&Certificate], year: i32) -> String {
        list(&self.issuer, revoked, year)
    }

    /// The root's, which revokes nothing.
    pub(crate) fn root_crl(&self) -> String {
        list(&self.root_issuer, &[], 2045)
    }
}

fn list(issuer: &Issuer<'static, PrivateKey>, revoked: &[&Certificate], year: i32) -> String {
    let revoked = revoked.iter().map(|certificate| RevokedCertParams {
        serial_number: SerialNumber::from_slice(certificate.serial()),
        revocation_time: rcgen::date_time_ymd(2025, 2, 1),
        reason_code: None,
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: rcgen::date_time_ymd(2025, 1, 1),
        next_update: rcgen::date_time_ymd(year, 12, 31),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(issuer).unwrap().pem().unwrap()
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

pub(crate) fn dates(params: &mut CertificateParams) {
    params.not_before = rcgen::date_time_ymd(2025, 1, 1);
    params.not_after = rcgen::date_time_ymd(2045, 1, 1);
}

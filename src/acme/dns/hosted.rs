//! Records written through the APIs of DNS providers, by the crate dns-update.
//!
//! One table names the providers and their fields; the names are the crate's own, in
//! the form of the configuration. Answers of an API are data: they are shown escaped.

use std::sync::Arc;
use std::time::Duration;

use dns_update::providers::azuredns::{AzureDnsConfig, AzureEnvironment};
use dns_update::providers::bluecatv2::BluecatV2Config;
use dns_update::providers::edgedns::EdgeDnsConfig;
use dns_update::providers::google_cloud_dns::GoogleCloudDnsConfig;
use dns_update::providers::infoblox::InfobloxConfig;
use dns_update::providers::joker::JokerAuth;
use dns_update::providers::lightsail::LightsailConfig;
use dns_update::providers::oraclecloud::OracleCloudConfig;
use dns_update::providers::ovh::OvhEndpoint;
use dns_update::providers::route53::Route53Config;
use dns_update::providers::volcengine::VolcengineConfig;
use dns_update::providers::yandexcloud::YandexCloudConfig;
use dns_update::{DnsRecord, DnsRecordType, DnsUpdater, Error};

use super::credential::{Field, Kind, Maker, Values};
use super::{DnsProvider, TxtRecord};
use crate::challenge::SolverError;
use crate::identifier::quoted;
use crate::issuer::BoxFuture;

/// Makes a client of the fields of a credential.
pub(super) type Make = fn(&Values) -> dns_update::Result<DnsUpdater>;

/// A provider with an API.
struct Hosted {
    name: &'static str,
    client: DnsUpdater,
}

/// The provider `name` that `make` opens.
pub(super) fn open(
    name: &'static str,
    make: Make,
    values: &Values,
) -> Result<Arc<dyn DnsProvider>, String> {
    let client = make(values).map_err(|error| describe(&error))?;
    Ok(Arc::new(Hosted { name, client }))
}

impl Hosted {
    async fn within_deadline(
        &self,
        change: impl Future<Output = dns_update::Result<()>>,
    ) -> Result<(), SolverError> {
        let name = self.name;
        match tokio::time::timeout(DEADLINE, change).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                let failed = SolverError::new(format!("`{name}` answers: {}", describe(&error)));
                Err(match error {
                    Error::Unauthorized => failed
                        .hint("check the credential and what its token may change")
                        .permanent(),
                    Error::NotFound => failed
                        .hint("does this account hold the zone, and may the credential see it?")
                        .permanent(),
                    _ => failed,
                })
            }
            Err(_) => Err(SolverError::new(format!(
                "`{name}` did not answer within {} s",
                DEADLINE.as_secs()
            ))),
        }
    }
}

impl DnsProvider for Hosted {
    fn add<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        let (name, zone) = (record.name.to_string(), record.zone.to_string());
        Box::pin(async move {
            let texts = vec![DnsRecord::TXT(record.value.clone())];
            let kind = DnsRecordType::TXT;
            let change = self.client.add_to_rrset(name, kind, TTL, texts, zone);
            self.within_deadline(change).await
        })
    }

    fn remove<'a>(&'a self, record: &'a TxtRecord) -> BoxFuture<'a, Result<(), SolverError>> {
        let (name, zone) = (record.name.to_string(), record.zone.to_string());
        Box::pin(async move {
            let texts = vec![DnsRecord::TXT(record.value.clone())];
            let kind = DnsRecordType::TXT;
            let change = async {
                let client = &self.client;
                match client.remove_from_rrset(name, kind, texts, zone).await {
                    // It is gone already.
                    Err(Error::NotFound) => Ok(()),
                    done => done,
                }
            };
            self.within_deadline(change).await
        })
    }
}

// The client holds the credential.
impl std::fmt::Debug for Hosted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, client: _ } = self;
        f.debug_struct("Hosted")
            .field("name", name)
            .finish_non_exhaustive()
    }
}

/// Every provider of the crate but three: RFC 2136 has its own module, Hurricane
/// Electric wants a password per name, and test doubles are none.
#[rustfmt::skip]
pub(super) const KINDS: &[Kind] = &[
    hosted(
        "alidns",
        &[Field::secret("access-key"), Field::secret("secret-key"), Field::open("region").optional(), Field::secret("security-token").optional(), Field::open("line").optional()],
        |v| DnsUpdater::new_alidns(v.text("access-key"), v.text("secret-key"), v.optional("region"), v.optional("security-token"), v.optional("line"), TIMEOUT),
    ),
    hosted(
        "arvancloud",
        &[Field::secret("api-key")],
        |v| DnsUpdater::new_arvancloud(v.text("api-key"), TIMEOUT),
    ),
    hosted(
        "autodns",
        &[Field::open("username"), Field::secret("password"), Field::open("context").optional()],
        |v| { let context = optional_number(v, "context")?; DnsUpdater::new_autodns(v.text("username"), v.text("password"), context, TIMEOUT) },
    ),
    hosted(
        "azuredns",
        &[Field::open("tenant-id"), Field::open("client-id"), Field::secret("client-secret"), Field::open("subscription-id"), Field::open("resource-group"), Field::open("environment").optional()],
        |v| DnsUpdater::new_azuredns(AzureDnsConfig { tenant_id: v.text("tenant-id").into(), client_id: v.text("client-id").into(), client_secret: v.text("client-secret").into(), subscription_id: v.text("subscription-id").into(), resource_group: v.text("resource-group").into(), environment: azure_environment(v)?, request_timeout: TIMEOUT }),
    ),
    hosted(
        "baiducloud",
        &[Field::secret("access-key"), Field::secret("secret-key")],
        |v| DnsUpdater::new_baiducloud(v.text("access-key"), v.text("secret-key"), TIMEOUT),
    ),
    hosted(
        "bluecatv2",
        &[Field::open("server-url"), Field::open("username"), Field::secret("password"), Field::open("config-name"), Field::open("view-name"), Field::open("skip-deploy").optional()],
        |v| DnsUpdater::new_bluecatv2(BluecatV2Config { server_url: v.text("server-url").into(), username: v.text("username").into(), password: v.text("password").into(), config_name: v.text("config-name").into(), view_name: v.text("view-name").into(), skip_deploy: flag(v, "skip-deploy")?, request_timeout: TIMEOUT }),
    ),
    hosted("bunny", &[Field::secret("api-key")], |v| DnsUpdater::new_bunny(v.text("api-key"), TIMEOUT)),
    hosted(
        "cloudflare",
        &[Field::secret("api-token")],
        |v| DnsUpdater::new_cloudflare(v.text("api-token"), TIMEOUT),
    ),
    hosted(
        "cloudns",
        &[Field::open("auth-id").optional(), Field::open("sub-auth-id").optional(), Field::secret("auth-password")],
        cloudns,
    ),
    hosted(
        "constellix",
        &[Field::secret("api-key"), Field::secret("secret-key")],
        |v| DnsUpdater::new_constellix(v.text("api-key"), v.text("secret-key"), TIMEOUT),
    ),
    hosted(
        "cpanel",
        &[Field::open("base-url"), Field::open("username"), Field::secret("token")],
        |v| DnsUpdater::new_cpanel(v.text("base-url"), v.text("username"), v.text("token"), TIMEOUT),
    ),
    hosted("ddnss", &[Field::secret("key")], |v| DnsUpdater::new_ddnss(v.text("key"), TIMEOUT)),
    hosted("desec", &[Field::secret("auth-token")], |v| DnsUpdater::new_desec(v.text("auth-token"), TIMEOUT)),
    hosted(
        "digitalocean",
        &[Field::secret("auth-token")],
        |v| DnsUpdater::new_digitalocean(v.text("auth-token"), TIMEOUT),
    ),
    hosted(
        "dnsimple",
        &[Field::secret("auth-token"), Field::open("account-id")],
        |v| DnsUpdater::new_dnsimple(v.text("auth-token"), v.text("account-id"), TIMEOUT),
    ),
    hosted(
        "dnsmadeeasy",
        &[Field::secret("api-key"), Field::secret("api-secret")],
        |v| DnsUpdater::new_dnsmadeeasy(v.text("api-key"), v.text("api-secret"), TIMEOUT),
    ),
    hosted(
        "domeneshop",
        &[Field::secret("api-token"), Field::secret("api-secret")],
        |v| DnsUpdater::new_domeneshop(v.text("api-token"), v.text("api-secret"), TIMEOUT),
    ),
    hosted(
        "dreamhost",
        &[Field::secret("api-key")],
        |v| DnsUpdater::new_dreamhost(v.text("api-key"), TIMEOUT),
    ),
    hosted("duckdns", &[Field::secret("token")], |v| DnsUpdater::new_duckdns(v.text("token"), TIMEOUT)),
    hosted("dynu", &[Field::secret("api-key")], |v| DnsUpdater::new_dynu(v.text("api-key"), TIMEOUT)),
    hosted(
        "easydns",
        &[Field::secret("token"), Field::secret("key")],
        |v| DnsUpdater::new_easydns(v.text("token"), v.text("key"), TIMEOUT),
    ),
    hosted(
        "edgedns",
        &[Field::open("host"), Field::secret("client-token"), Field::secret("client-secret"), Field::secret("access-token"), Field::open("account-switch-key").optional()],
        |v| DnsUpdater::new_edgedns(EdgeDnsConfig { host: v.text("host").into(), client_token: v.text("client-token").into(), client_secret: v.text("client-secret").into(), access_token: v.text("access-token").into(), account_switch_key: owned(v, "account-switch-key"), request_timeout: TIMEOUT }),
    ),
    hosted(
        "exoscale",
        &[Field::secret("api-key"), Field::secret("api-secret")],
        |v| DnsUpdater::new_exoscale(v.text("api-key"), v.text("api-secret"), TIMEOUT),
    ),
    hosted("freemyip", &[Field::secret("token")], |v| DnsUpdater::new_freemyip(v.text("token"), TIMEOUT)),
    hosted(
        "gandiv5",
        &[Field::secret("personal-access-token")],
        |v| DnsUpdater::new_gandiv5(v.text("personal-access-token"), TIMEOUT),
    ),
    hosted("gcore", &[Field::secret("api-token")], |v| DnsUpdater::new_gcore(v.text("api-token"), TIMEOUT)),
    hosted(
        "glesys",
        &[Field::open("api-user"), Field::secret("api-key")],
        |v| DnsUpdater::new_glesys(v.text("api-user"), v.text("api-key"), TIMEOUT),
    ),
    hosted(
        "godaddy",
        &[Field::secret("api-key"), Field::secret("api-secret")],
        |v| DnsUpdater::new_godaddy(v.text("api-key"), v.text("api-secret"), TIMEOUT),
    ),
    hosted(
        "google-cloud-dns",
        &[Field::secret("service-account-json"), Field::open("project-id"), Field::open("managed-zone").optional(), Field::open("private-zone").optional(), Field::open("impersonate-service-account").optional()],
        |v| DnsUpdater::new_google_cloud_dns(GoogleCloudDnsConfig { service_account_json: v.text("service-account-json").into(), project_id: v.text("project-id").into(), managed_zone: owned(v, "managed-zone"), private_zone: flag(v, "private-zone")?, impersonate_service_account: owned(v, "impersonate-service-account"), request_timeout: TIMEOUT }),
    ),
    hosted(
        "hetzner",
        &[Field::secret("api-token")],
        |v| DnsUpdater::new_hetzner(v.text("api-token"), TIMEOUT),
    ),
    hosted(
        "hostingde",
        &[Field::secret("api-key")],
        |v| DnsUpdater::new_hostingde(v.text("api-key"), TIMEOUT),
    ),
    hosted(
        "hostinger",
        &[Field::secret("api-token")],
        |v| DnsUpdater::new_hostinger(v.text("api-token"), TIMEOUT),
    ),
    hosted(
        "huaweicloud",
        &[Field::secret("access-key"), Field::secret("secret-key"), Field::open("region")],
        |v| DnsUpdater::new_huaweicloud(v.text("access-key"), v.text("secret-key"), v.text("region"), TIMEOUT),
    ),
    hosted(
        "ibmcloud",
        &[Field::open("username"), Field::secret("api-key")],
        |v| DnsUpdater::new_ibmcloud(v.text("username"), v.text("api-key"), TIMEOUT),
    ),
    hosted(
        "infoblox",
        &[Field::open("host"), Field::open("port").optional(), Field::open("username"), Field::secret("password"), Field::open("wapi-version").optional(), Field::open("dns-view").optional()],
        |v| DnsUpdater::new_infoblox(InfobloxConfig { host: v.text("host").into(), port: owned(v, "port"), username: v.text("username").into(), password: v.text("password").into(), wapi_version: owned(v, "wapi-version"), dns_view: owned(v, "dns-view"), request_timeout: TIMEOUT }),
    ),
    hosted(
        "infomaniak",
        &[Field::secret("access-token")],
        |v| DnsUpdater::new_infomaniak(v.text("access-token"), TIMEOUT),
    ),
    hosted(
        "inwx",
        &[Field::open("username"), Field::secret("password"), Field::open("sandbox").optional()],
        |v| DnsUpdater::new_inwx(v.text("username"), v.text("password"), flag(v, "sandbox")?, TIMEOUT),
    ),
    hosted("ionos", &[Field::secret("api-key")], |v| DnsUpdater::new_ionos(v.text("api-key"), TIMEOUT)),
    hosted("ipv64", &[Field::secret("api-key")], |v| DnsUpdater::new_ipv64(v.text("api-key"), TIMEOUT)),
    hosted(
        "joker",
        &[Field::secret("api-key").optional(), Field::open("username").optional(), Field::secret("password").optional()],
        |v| DnsUpdater::new_joker(joker(v)?, TIMEOUT),
    ),
    hosted(
        "lightsail",
        &[Field::open("access-key-id"), Field::secret("secret-access-key"), Field::secret("session-token").optional(), Field::open("region").optional(), Field::open("domain").optional()],
        |v| DnsUpdater::new_lightsail(LightsailConfig { access_key_id: v.text("access-key-id").into(), secret_access_key: v.text("secret-access-key").into(), session_token: owned(v, "session-token"), region: owned(v, "region"), domain: owned(v, "domain"), request_timeout: TIMEOUT }),
    ),
    hosted(
        "linode",
        &[Field::secret("auth-token")],
        |v| DnsUpdater::new_linode(v.text("auth-token"), TIMEOUT),
    ),
    hosted(
        "luadns",
        &[Field::open("api-username"), Field::secret("api-token")],
        |v| DnsUpdater::new_luadns(v.text("api-username"), v.text("api-token"), TIMEOUT),
    ),
    hosted(
        "mythicbeasts",
        &[Field::open("username"), Field::secret("password")],
        |v| DnsUpdater::new_mythicbeasts(v.text("username"), v.text("password"), TIMEOUT),
    ),
    hosted(
        "namecheap",
        &[Field::open("api-user"), Field::secret("api-key"), Field::open("client-ip"), Field::open("username").optional()],
        |v| DnsUpdater::new_namecheap(v.text("api-user"), v.text("api-key"), v.text("client-ip"), v.optional("username"), TIMEOUT),
    ),
    hosted(
        "namedotcom",
        &[Field::open("username"), Field::secret("api-token")],
        |v| DnsUpdater::new_namedotcom(v.text("username"), v.text("api-token"), TIMEOUT),
    ),
    hosted("namesilo", &[Field::secret("api-key")], |v| DnsUpdater::new_namesilo(v.text("api-key"), TIMEOUT)),
    hosted(
        "netcup",
        &[Field::open("customer-number"), Field::secret("api-key"), Field::secret("api-password")],
        |v| DnsUpdater::new_netcup(v.text("customer-number"), v.text("api-key"), v.text("api-password"), TIMEOUT),
    ),
    hosted(
        "netlify",
        &[Field::secret("access-token")],
        |v| DnsUpdater::new_netlify(v.text("access-token"), TIMEOUT),
    ),
    hosted(
        "nifcloud",
        &[Field::secret("access-key"), Field::secret("secret-key")],
        |v| DnsUpdater::new_nifcloud(v.text("access-key"), v.text("secret-key"), TIMEOUT),
    ),
    hosted("ns1", &[Field::secret("api-key")], |v| DnsUpdater::new_ns1(v.text("api-key"), TIMEOUT)),
    hosted(
        "oraclecloud",
        &[Field::open("tenancy-ocid"), Field::open("user-ocid"), Field::open("fingerprint"), Field::secret("private-key-pem"), Field::secret("private-key-password").optional(), Field::open("region"), Field::open("compartment-ocid")],
        |v| DnsUpdater::new_oraclecloud(OracleCloudConfig { tenancy_ocid: v.text("tenancy-ocid").into(), user_ocid: v.text("user-ocid").into(), fingerprint: v.text("fingerprint").into(), private_key_pem: v.text("private-key-pem").into(), private_key_password: owned(v, "private-key-password"), region: v.text("region").into(), compartment_ocid: v.text("compartment-ocid").into(), request_timeout: TIMEOUT }),
    ),
    hosted(
        "ovh",
        &[Field::secret("application-key"), Field::secret("application-secret"), Field::secret("consumer-key"), Field::open("endpoint")],
        |v| { let endpoint: OvhEndpoint = v.text("endpoint").parse()?; DnsUpdater::new_ovh(v.text("application-key"), v.text("application-secret"), v.text("consumer-key"), endpoint, TIMEOUT) },
    ),
    hosted(
        "pdns",
        &[Field::secret("api-key"), Field::open("endpoint").optional(), Field::open("server-name").optional()],
        |v| DnsUpdater::new_pdns(v.text("api-key"), v.optional("endpoint"), v.optional("server-name"), TIMEOUT),
    ),
    hosted(
        "plesk",
        &[Field::open("base-url"), Field::secret("api-key")],
        |v| DnsUpdater::new_plesk(v.text("base-url"), v.text("api-key"), TIMEOUT),
    ),
    hosted(
        "porkbun",
        &[Field::secret("api-key"), Field::secret("secret-api-key")],
        |v| DnsUpdater::new_porkbun(v.text("api-key"), v.text("secret-api-key"), TIMEOUT),
    ),
    hosted(
        "route53",
        &[Field::open("access-key-id"), Field::secret("secret-access-key"), Field::secret("session-token").optional(), Field::open("region").optional(), Field::open("hosted-zone-id").optional(), Field::open("private-zone-only").optional(), Field::open("endpoint").optional()],
        |v| DnsUpdater::new_route53(Route53Config { access_key_id: v.text("access-key-id").into(), secret_access_key: v.text("secret-access-key").into(), session_token: owned(v, "session-token"), region: owned(v, "region"), hosted_zone_id: owned(v, "hosted-zone-id"), private_zone_only: Some(flag(v, "private-zone-only")?), endpoint: owned(v, "endpoint") }),
    ),
    hosted(
        "safedns",
        &[Field::secret("auth-token")],
        |v| DnsUpdater::new_safedns(v.text("auth-token"), TIMEOUT),
    ),
    hosted(
        "scaleway",
        &[Field::secret("api-token")],
        |v| DnsUpdater::new_scaleway(v.text("api-token"), TIMEOUT),
    ),
    hosted(
        "selectel",
        &[Field::open("username"), Field::secret("password"), Field::open("account-id"), Field::open("project-id")],
        |v| DnsUpdater::new_selectel(v.text("username"), v.text("password"), v.text("account-id"), v.text("project-id"), TIMEOUT),
    ),
    hosted(
        "simplycom",
        &[Field::open("account-name"), Field::secret("api-key")],
        |v| DnsUpdater::new_simplycom(v.text("account-name"), v.text("api-key"), TIMEOUT),
    ),
    hosted(
        "spaceship",
        &[Field::secret("api-key"), Field::secret("api-secret")],
        |v| DnsUpdater::new_spaceship(v.text("api-key"), v.text("api-secret"), TIMEOUT),
    ),
    hosted(
        "tencentcloud",
        &[Field::secret("secret-id"), Field::secret("secret-key"), Field::open("region").optional(), Field::secret("session-token").optional()],
        |v| DnsUpdater::new_tencentcloud(v.text("secret-id"), v.text("secret-key"), v.optional("region"), v.optional("session-token"), TIMEOUT),
    ),
    hosted(
        "transip",
        &[Field::open("login"), Field::secret("private-key-pem"), Field::open("global-key").optional()],
        |v| DnsUpdater::new_transip(v.text("login"), v.text("private-key-pem"), flag(v, "global-key")?, TIMEOUT),
    ),
    hosted(
        "ultradns",
        &[Field::open("username"), Field::secret("password"), Field::open("endpoint").optional()],
        |v| DnsUpdater::new_ultradns(v.text("username"), v.text("password"), owned(v, "endpoint"), TIMEOUT),
    ),
    hosted(
        "vercel",
        &[Field::secret("auth-token"), Field::open("team-id").optional()],
        |v| DnsUpdater::new_vercel(v.text("auth-token"), v.optional("team-id"), TIMEOUT),
    ),
    hosted(
        "volcengine",
        &[Field::secret("access-key"), Field::secret("secret-key"), Field::open("region").optional(), Field::open("host").optional(), Field::open("scheme").optional()],
        |v| DnsUpdater::new_volcengine(VolcengineConfig { access_key: v.text("access-key").into(), secret_key: v.text("secret-key").into(), region: owned(v, "region"), host: owned(v, "host"), scheme: owned(v, "scheme"), request_timeout: TIMEOUT }),
    ),
    hosted("vultr", &[Field::secret("api-key")], |v| DnsUpdater::new_vultr(v.text("api-key"), TIMEOUT)),
    hosted(
        "websupport",
        &[Field::secret("api-key"), Field::secret("secret")],
        |v| DnsUpdater::new_websupport(v.text("api-key"), v.text("secret"), TIMEOUT),
    ),
    hosted(
        "yandexcloud",
        &[Field::secret("iam-token-base64"), Field::open("folder-id")],
        |v| DnsUpdater::new_yandexcloud(YandexCloudConfig { iam_token_b64: v.text("iam-token-base64").into(), folder_id: v.text("folder-id").into(), request_timeout: TIMEOUT }),
    ),
    hosted(
        "zoneeu",
        &[Field::open("username"), Field::secret("api-key")],
        |v| DnsUpdater::new_zoneeu(v.text("username"), v.text("api-key"), TIMEOUT),
    ),
];

const fn hosted(name: &'static str, fields: &'static [Field], make: Make) -> Kind {
    Kind {
        name,
        fields,
        maker: Maker::Hosted(make),
    }
}

fn owned(values: &Values, field: &str) -> Option<String> {
    values.optional(field).map(str::to_owned)
}

fn flag(values: &Values, field: &str) -> dns_update::Result<bool> {
    match values.optional(field) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(Error::Parse(format!("`{field}` is neither true nor false"))),
    }
}

fn optional_number(values: &Values, field: &str) -> dns_update::Result<Option<u32>> {
    let parse = |text: &str| text.parse();
    let number = values.optional(field).map(parse).transpose();
    number.map_err(|_| Error::Parse(format!("`{field}` is not a number")))
}

fn azure_environment(values: &Values) -> dns_update::Result<AzureEnvironment> {
    match values.optional("environment") {
        None | Some("public") => Ok(AzureEnvironment::Public),
        Some("china") => Ok(AzureEnvironment::China),
        Some("usgovernment") => Ok(AzureEnvironment::UsGovernment),
        Some(_) => Err(Error::Parse(
            "`environment` is none of public, china, usgovernment".to_owned(),
        )),
    }
}

fn cloudns(values: &Values) -> dns_update::Result<DnsUpdater> {
    let (id, sub_id) = (values.optional("auth-id"), values.optional("sub-auth-id"));
    if id.is_none() && sub_id.is_none() {
        let problem = "give `auth-id` or `sub-auth-id`";
        return Err(Error::Parse(problem.to_owned()));
    }
    DnsUpdater::new_cloudns(id, sub_id, values.text("auth-password"), TIMEOUT)
}

fn joker(values: &Values) -> dns_update::Result<JokerAuth> {
    let pair = (values.optional("username"), values.optional("password"));
    match (values.optional("api-key"), pair) {
        (Some(key), (None, None)) => Ok(JokerAuth::ApiKey(key.to_owned())),
        (None, (Some(username), Some(password))) => Ok(JokerAuth::UsernamePassword {
            username: username.to_owned(),
            password: password.to_owned(),
        }),
        _ => Err(Error::Parse(
            "give `api-key`, or `username` and `password`".to_owned(),
        )),
    }
}

/// What the crate says, without what a hostile answer could put on a terminal.
fn describe(error: &Error) -> String {
    match error {
        // Ours, or of the same kind.
        Error::Parse(problem) => quoted(problem),
        other => quoted(&other.to_string()),
    }
}

/// How long one request may take.
const TIMEOUT: Option<Duration> = Some(Duration::from_secs(30));

/// How long a change may take, of several requests.
const DEADLINE: Duration = Duration::from_secs(120);

/// Life of a challenge's record in caches, in seconds; what most providers allow.
const TTL: u32 = 300;

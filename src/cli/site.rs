//! From the flags of a listener to its settings, whether they were typed or stand in a
//! file.
//!
//! Rules kept here: what contradicts itself is refused with what to do about it, all of
//! it at once; messages name flags, and [`Misfit::in_file`] spells them as keys.

use std::fs;
use std::path::Path;

use ipnet::IpNet;

use super::args::{
    ClientAuthKind, ContentArgs, LimitArgs, OperationArgs, SiteArgs, TlsArgs, UpstreamLimitArgs,
};
use super::report::CliError;
use crate::finding::words::causes;
use crate::issuer::IssuerRef;
use crate::key::PrivateKey;
use crate::net::roots::Roots;
use crate::serve::{Operation, ServeError, ServeMode, Site};
use crate::settings::{
    ByteSize, ClientAuth, Content, Demand, Limit, Limits, ListenAddr, ListenerSettings, TlsPolicy,
    Upstream, UpstreamProtocol,
};
use crate::store::disk;

/// A setting that does not fit the others, or the machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The flag without its dashes.
    pub(super) key: &'static str,
    text: String,
}

impl Misfit {
    fn new(key: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { key, text }
    }

    /// As it is told of a file, where flags are keys.
    pub(super) fn in_file(&self) -> String {
        as_keys(&self.text)
    }
}

/// The same words about keys instead of flags.
pub(super) fn as_keys(text: &str) -> String {
    text.replace("`--", "`")
}

/// Everything in one usage error.
impl From<Vec<Misfit>> for CliError {
    fn from(misfits: Vec<Misfit>) -> Self {
        let texts: Vec<String> = misfits.into_iter().map(|misfit| misfit.text).collect();
        Self::usage(texts.join("\n"))
    }
}

/// The settings of a listener on `address`; `tls` is none for plain HTTP.
pub(super) fn settings(
    address: ListenAddr,
    site: &SiteArgs,
    tls: Option<&TlsArgs>,
) -> Result<ListenerSettings, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let content = content(&site.content, &mut misfits);
    let clients = tls.map(|tls| clients(tls, &mut misfits));
    if !misfits.is_empty() {
        return Err(misfits);
    }
    Ok(ListenerSettings {
        address,
        content,
        limits: with_upstreams(&site.upstream, limits(&site.limits, tls)),
        tls: TlsPolicy {
            clients: clients.unwrap_or_default(),
            hsts: tls.and_then(|tls| tls.hsts),
        },
        proxy_protocol: site.content.proxy_protocol_from.clone(),
    })
}

/// The settings of a listener on `address` whose content is none of these.
#[cfg(feature = "acme")]
pub(super) fn settings_without_content(
    address: ListenAddr,
    limit_args: &LimitArgs,
    tls: &TlsArgs,
    proxy_protocol: &[IpNet],
) -> Result<ListenerSettings, Vec<Misfit>> {
    let mut misfits = Vec::new();
    let clients = clients(tls, &mut misfits);
    if !misfits.is_empty() {
        return Err(misfits);
    }
    Ok(ListenerSettings {
        limits: limits(limit_args, Some(tls)),
        tls: TlsPolicy {
            clients,
            hsts: tls.hsts,
        },
        proxy_protocol: proxy_protocol.to_vec(),
        ..ListenerSettings::new(address, Content::Page)
    })
}

fn content(args: &ContentArgs, misfits: &mut Vec<Misfit>) -> Content {
    let upstream = args.upstream.iter().cloned().reduce(Upstream::and);
    let is_https = |upstream: &Upstream| {
        let mut servers = upstream.servers().iter();
        servers.any(|server| server.protocol() == UpstreamProtocol::Https)
    };
    if args.upstream_ca.is_some() && !upstream.as_ref().is_some_and(is_https) {
        misfits.push(Misfit::new(
            "upstream-ca",
            "`--upstream-ca` is for https upstreams, and there is none: leave it out, or begin \
             an `--upstream` with https://",
        ));
    }
    if !args.trusted_proxy.is_empty() && upstream.is_none() {
        misfits.push(Misfit::new(
            "trusted-proxy",
            "`--trusted-proxy` is about what an upstream is told, and there is none: leave it \
             out, or name an `--upstream`",
        ));
    }
    match (upstream, &args.root) {
        (Some(upstream), _) => {
            let trusted: &[IpNet] = &args.trusted_proxy;
            let upstream = upstream.trusting(trusted.iter().copied());
            Content::Upstream(match &args.upstream_ca {
                Some(path) => upstream.with_roots(path.clone()),
                None => upstream,
            })
        }
        (None, Some(root)) => Content::Root(root.clone()),
        (None, None) => Content::Page,
    }
}

fn clients(args: &TlsArgs, misfits: &mut Vec<Misfit>) -> ClientAuth {
    use ClientAuthKind::{Fingerprint, Request, Require};
    let mut refuse = |key, text: &str| misfits.push(Misfit::new(key, text));
    let by_authority = matches!(args.client_auth, Some(Require | Request));
    if !by_authority && args.client_ca.is_some() {
        refuse(
            "client-ca",
            "`--client-ca` is for clients that show a certificate: say `--client-auth` require \
             or request",
        );
    }
    if !args.crl.is_empty() && args.client_ca.is_none() {
        refuse(
            "crl",
            "`--crl` is a list of an authority: name that with `--client-ca`",
        );
    }
    if args.client_auth != Some(Fingerprint) && !args.allow_fingerprint.is_empty() {
        refuse(
            "allow-fingerprint",
            "`--allow-fingerprint` is for clients that are known one by one: say \
             `--client-auth` fingerprint",
        );
    }
    let roots = args.client_ca.clone();
    let authorities = |demand| {
        roots.map(|roots| ClientAuth::Authorities {
            roots,
            crls: args.crl.clone(),
            demand,
        })
    };
    let clients = match args.client_auth {
        None => Some(ClientAuth::Anybody),
        Some(Require) => authorities(Demand::Require),
        Some(Request) => authorities(Demand::Request),
        Some(Fingerprint) => Some(args.allow_fingerprint.clone())
            .filter(|known| !known.is_empty())
            .map(ClientAuth::Fingerprints),
    };
    // Never open in doubt: without it there is no listener.
    clients.unwrap_or_else(|| {
        refuse(
            "client-auth",
            if by_authority {
                "`--client-auth` needs the authorities whose clients are taken: name them with \
                 `--client-ca`"
            } else {
                "`--client-auth` fingerprint needs to know whom: name them with \
                 `--allow-fingerprint`"
            },
        );
        ClientAuth::Anybody
    })
}

fn limits(args: &LimitArgs, tls: Option<&TlsArgs>) -> Limits {
    let usual = Limits::default();
    let time = |given: Option<Limit>, usual| given.map_or(usual, |Limit(time)| time);
    let count = |given: Option<u32>, usual| given.map_or(usual, |count| count as usize);
    Limits {
        handshake: time(tls.and_then(|tls| tls.handshake_timeout), usual.handshake),
        header: time(args.header_timeout, usual.header),
        idle: time(args.idle_timeout, usual.idle),
        stall: time(args.stall_timeout, usual.stall),
        connections: count(args.max_connections, usual.connections),
        drain: time(args.drain_timeout, usual.drain),
        connections_per_client: count(
            args.max_connections_per_client,
            usual.connections_per_client,
        ),
        body: args.max_body.map_or(usual.body, |ByteSize(bytes)| bytes),
        rate: args.rate_limit,
        ..usual
    }
}

fn with_upstreams(args: &UpstreamLimitArgs, mut limits: Limits) -> Limits {
    if let Some(Limit(time)) = args.upstream_connect_timeout {
        limits.upstream_connect = time;
    }
    if let Some(Limit(time)) = args.upstream_answer_timeout {
        limits.upstream_answer = time;
    }
    limits
}

impl OperationArgs {
    /// What is said here, and where nothing is, what `below` says.
    pub(super) fn over(self, below: Self) -> Self {
        Self {
            admin: self.admin.or(below.admin),
            admin_socket: self.admin_socket.or(below.admin_socket),
            access_log: self.access_log.or(below.access_log),
            events: self.events.or(below.events),
            user: self.user.or(below.user),
        }
    }

    pub(super) fn operation(self) -> Operation {
        Operation {
            admin: self.admin.and_then(|beside| beside.0),
            admin_socket: self.admin_socket,
            access_log: self.access_log,
            events: self.events,
            user: self.user,
        }
    }
}

/// What the files named by a site do not hold; the server would find it out when it
/// starts.
pub(super) fn unfit_files(site: &Site) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    if let Err(error) = site.check() {
        let hint = error.hint().unwrap_or_default();
        misfits.push(Misfit::new("http", format!("{}; {hint}", causes(&error))));
    }
    match &site.listener.content {
        Content::Root(root) => misfits.extend(fs::read_dir(root).err().map(|error| {
            let text = format!(
                "`{}` cannot be served: {error}; name a directory that exists",
                root.display()
            );
            Misfit::new("root", text)
        })),
        Content::Upstream(upstream) => {
            let roots = upstream.roots();
            misfits.extend(roots.and_then(|path| unfit_roots("upstream-ca", path)));
        }
        Content::Page => {}
    }
    if let ClientAuth::Authorities { roots, crls, .. } = &site.listener.tls.clients {
        misfits.extend(unfit_roots("client-ca", roots));
        misfits.extend(crls.iter().filter_map(|path| unfit_list(path)));
    }
    match &site.mode {
        // Nobody has said yet what unlocks it.
        ServeMode::Custom(files) if files.passphrase.is_none() && is_locked(&files.key) => {}
        ServeMode::Custom(files) => misfits.extend(unfit("cert", files.check())),
        ServeMode::RawKey(file) if file.passphrase.is_none() && is_locked(&file.key) => {}
        ServeMode::RawKey(file) => misfits.extend(unfit("raw-key", file.check())),
        ServeMode::Acme(leaf) => {
            let roots = leaf.issuer.ca_file.as_deref();
            misfits.extend(roots.and_then(|path| unfit_roots("ca-file", path)));
        }
        ServeMode::OnDemand(site) => {
            misfits.extend(
                site.stand_in
                    .as_ref()
                    .and_then(|files| unfit("default-cert", files.check())),
            );
            if let Some((_, Roots::File(roots))) = &site.ask {
                misfits.extend(unfit_roots("ask-ca", roots));
            }
            if let IssuerRef::Acme(issuer) = &site.settings.issuer {
                let roots = issuer.ca_file.as_deref();
                misfits.extend(roots.and_then(|path| unfit_roots("ca-file", path)));
            }
        }
        ServeMode::Ca(_)
        | ServeMode::Directory(_)
        | ServeMode::SelfSigned(_)
        | ServeMode::Insecure { .. } => {}
    }
    misfits
}

fn unfit(key: &'static str, found: Result<(), ServeError>) -> Option<Misfit> {
    let error = found.err()?;
    let hint = error.hint().map(|hint| format!("; {hint}"));
    let text = format!("{}{}", causes(&error), hint.unwrap_or_default());
    Some(Misfit::new(key, text))
}

/// Whether a key is encrypted.
fn is_locked(key: &Path) -> bool {
    let key = disk::read(key).map(zeroize::Zeroizing::new);
    key.is_ok_and(|key| PrivateKey::is_encrypted(&key))
}

fn unfit_roots(key: &'static str, path: &Path) -> Option<Misfit> {
    let error = Roots::File(path.to_owned()).load().err()?;
    let text = format!("{}; {}", causes(&error), error.hint());
    Some(Misfit::new(key, text))
}

fn unfit_list(path: &Path) -> Option<Misfit> {
    let bytes = match disk::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return Some(Misfit::new("crl", causes(&error))),
    };
    let der = pem::parse(&bytes).map_or(bytes, pem::Pem::into_contents);
    webpki::OwnedCertRevocationList::from_der(&der)
        .err()
        .map(|error| {
            let text = format!(
                "`{}` is no revocation list ({error:?}): name a CRL in PEM or DER",
                path.display()
            );
            Misfit::new("crl", text)
        })
}

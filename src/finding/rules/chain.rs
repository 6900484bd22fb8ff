//! Rules about certificates together: what a server sends, or a file holds.

use super::super::{Finding, Severity, words};
use super::profile::{may_serve, several};
use super::{Role, label};
use crate::bundle::{BadSignature, Certificate};
use crate::identifier::{DnsName, Identifier, summary};

/// Where a chain was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// In a file, where a leaf alone may be meant.
    File,
    /// On the wire, where a client has to do with it.
    Served,
}

/// How certificates hang together, as positions in what was given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Linked {
    /// The leaf, its issuer, that one's issuer, as far as it goes.
    pub path: Vec<usize>,
    /// What the path does not use.
    pub stray: Vec<usize>,
    /// Positions that name an issuer whose key did not sign them.
    pub forged: Vec<(usize, usize)>,
}

/// Orders `certificates` into a path that begins with the first that is no CA.
pub fn link(certificates: &[Certificate]) -> Linked {
    let mut linked = Linked::default();
    let mut left: Vec<usize> = (0..certificates.len()).collect();
    let first = certificates.iter().position(|c| !c.is_ca()).unwrap_or(0);
    let mut next = (first < certificates.len()).then_some(first);
    while let Some(position) = next {
        left.retain(|other| *other != position);
        linked.path.push(position);
        next = issuer_among(certificates, position, &left, &mut linked.forged);
    }
    linked.stray = left;
    linked
}

fn issuer_among(
    certificates: &[Certificate],
    position: usize,
    candidates: &[usize],
    forged: &mut Vec<(usize, usize)>,
) -> Option<usize> {
    let lower = certificates.get(position)?;
    if lower.is_self_issued() {
        return None;
    }
    let mut refused = None;
    for candidate in candidates {
        match lower.verify_signed_by(certificates.get(*candidate)?) {
            // An algorithm that cannot be checked is another rule's matter.
            Ok(()) | Err(BadSignature::Algorithm | BadSignature::Key) => return Some(*candidate),
            Err(BadSignature::Mismatch) => refused = Some(*candidate),
            Err(BadSignature::Issuer) => {}
        }
    }
    forged.extend(refused.map(|issuer| (position, issuer)));
    None
}

/// Every finding about how `certificates` hang together.
///
/// `anchors` are the roots that are known; with them a leaf signed by a root
/// directly is not called incomplete.
pub fn chain(
    certificates: &[Certificate],
    anchors: &[Certificate],
    context: Context,
) -> Vec<Finding> {
    let linked = link(certificates);
    let path: Vec<&Certificate> = linked
        .path
        .iter()
        .filter_map(|n| certificates.get(*n))
        .collect();
    let mut findings = Vec::new();
    forged(certificates, &linked, &mut findings);
    order(certificates, &linked, &mut findings);
    completeness(
        &path,
        &linked,
        certificates.len(),
        anchors,
        context,
        &mut findings,
    );
    for pair in path.windows(2) {
        let [lower, upper] = pair else { continue };
        outlives(lower, upper, &mut findings);
    }
    path_lengths(&path, &mut findings);
    constraints(&path, &mut findings);
    if context == Context::Served {
        served(&path, &mut findings);
    }
    findings
}

/// `self-signed`, for a leaf that vouches for itself.
pub(super) fn is_self_signed(certificate: &Certificate) -> bool {
    certificate.is_self_issued()
        && !matches!(
            certificate.verify_signed_by(certificate),
            Err(BadSignature::Mismatch)
        )
}

fn forged(certificates: &[Certificate], linked: &Linked, findings: &mut Vec<Finding>) {
    for (lower, upper) in &linked.forged {
        let (Some(lower), Some(upper)) = (certificates.get(*lower), certificates.get(*upper))
        else {
            continue;
        };
        let text = format!(
            "`{}` names `{}` as its issuer, but that one's key did not sign it",
            label(lower),
            label(upper)
        );
        findings.push(
            Finding::new("bad-signature", Severity::Critical, text)
                .with_fix("put the issuer's certificate of the same generation in its place"),
        );
    }
}

fn order(certificates: &[Certificate], linked: &Linked, findings: &mut Vec<Finding>) {
    let labels = |positions: &[usize]| -> Vec<String> {
        positions
            .iter()
            .filter_map(|n| certificates.get(*n))
            .map(label)
            .collect()
    };
    if !linked.path.iter().copied().eq(0..linked.path.len()) {
        let text = format!(
            "the chain is out of order; it should be {}",
            several(&labels(&linked.path))
        );
        findings.push(
            Finding::new("misordered-chain", Severity::Warn, text)
                .with_fix("put the leaf first, then each one's issuer"),
        );
    }
    if !linked.stray.is_empty() {
        let text = format!(
            "the chain does not need {}",
            several(&labels(&linked.stray))
        );
        findings.push(Finding::new("stray-certificate", Severity::Info, text));
    }
}

fn completeness(
    path: &[&Certificate],
    linked: &Linked,
    given: usize,
    anchors: &[Certificate],
    context: Context,
    findings: &mut Vec<Finding>,
) {
    let (Some(leaf), Some(top)) = (path.first(), path.last()) else {
        return;
    };
    if top.is_self_issued() {
        if path.len() > 1 {
            let text = format!(
                "the chain carries its root `{}`, which clients do not need",
                label(top)
            );
            findings.push(Finding::new("root-in-chain", Severity::Info, text));
        } else if !top.is_ca() || Role::of(top) == Role::Leaf {
            self_signed(leaf, context, findings);
        }
        return;
    }
    // Above an intermediate stands a root that clients have, or another verdict.
    let known = anchors.iter().any(|anchor| top.names_as_issuer(anchor));
    if path.len() > 1 || known || top.is_ca() || !linked.forged.is_empty() {
        return;
    }
    let severity = match (context, given) {
        (Context::Served, _) => Severity::Critical,
        (Context::File, 1) => Severity::Info,
        (Context::File, _) => Severity::Warn,
    };
    let text = format!(
        "`{}` was issued by `{}`, whose certificate is not in the chain",
        label(leaf),
        leaf.issuer()
    );
    let fix = match context {
        Context::Served => "let the server send the whole chain: `fullchain.pem`, not `cert.pem`",
        Context::File => "append the issuer's certificate to the file",
    };
    findings.push(Finding::new("missing-intermediate", severity, text).with_fix(fix));
}

fn self_signed(leaf: &Certificate, context: Context, findings: &mut Vec<Finding>) {
    if !is_self_signed(leaf) {
        let text = format!(
            "`{}` names itself as its issuer, but its key did not sign it",
            label(leaf)
        );
        findings.push(Finding::new("bad-signature", Severity::Critical, text));
        return;
    }
    let severity = match context {
        Context::File => Severity::Info,
        Context::Served => Severity::Warn,
    };
    let text = format!(
        "`{}` vouches for itself: clients have to be told to trust just this one",
        label(leaf)
    );
    findings.push(
        Finding::new("self-signed", severity, text)
            .with_fix("issue it from a CA that clients trust: `certmint ca issue NAME`"),
    );
}

fn outlives(lower: &Certificate, upper: &Certificate, findings: &mut Vec<Finding>) {
    if lower.not_after() <= upper.not_after() {
        return;
    }
    let text = format!(
        "`{}` is valid until {} UTC, but its issuer `{}` only until {} UTC",
        label(lower),
        words::minute(lower.not_after()),
        label(upper),
        words::minute(upper.not_after())
    );
    findings.push(Finding::new("leaf-outlives-issuer", Severity::Warn, text));
}

/// RFC 5280 §4.2.1.9: self-issued intermediates do not count.
fn path_lengths(path: &[&Certificate], findings: &mut Vec<Finding>) {
    for (position, authority) in path.iter().enumerate().skip(1) {
        let below = path
            .iter()
            .take(position)
            .skip(1)
            .filter(|c| !c.is_self_issued())
            .count();
        let allowed = authority.basic_constraints().and_then(|b| b.path_len);
        if allowed.is_some_and(|allowed| below > allowed as usize) {
            let text = format!(
                "`{}` allows {} intermediates below it, and {below} follow",
                label(authority),
                allowed.unwrap_or_default()
            );
            findings.push(Finding::new("path-length", Severity::Critical, text));
        }
    }
}

fn constraints(path: &[&Certificate], findings: &mut Vec<Finding>) {
    let Some(leaf) = path.first() else { return };
    for authority in path.iter().skip(1) {
        let Some(constraints) = authority.name_constraints() else {
            continue;
        };
        let subtrees = |texts: &[String]| texts.iter().filter_map(|t| Tree::parse(t)).collect();
        let permitted: Vec<Tree> = subtrees(&constraints.permitted);
        let excluded: Vec<Tree> = subtrees(&constraints.excluded);
        for name in leaf.names() {
            let of_kind = || permitted.iter().filter_map(|tree| tree.holds(name));
            let outside = of_kind().next().is_some() && !of_kind().any(|holds| holds);
            if outside || excluded.iter().any(|tree| tree.holds(name) == Some(true)) {
                let list = constraints.permitted.join(", ");
                let text = format!(
                    "`{name}` is outside what `{}` may speak for (`{list}`)",
                    label(authority)
                );
                findings.push(Finding::new("name-constraints", Severity::Critical, text));
            }
        }
    }
}

/// One subtree of a nameConstraints extension, of the two kinds that matter here.
enum Tree {
    Everything,
    Dns(DnsName),
    Ip(ipnet::IpNet),
}

impl Tree {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(net) = text.parse() {
            return Some(Self::Ip(net));
        }
        match text.strip_prefix('.').unwrap_or(text) {
            "" => Some(Self::Everything),
            name => DnsName::parse(name).ok().map(Self::Dns),
        }
    }

    /// Whether it holds `name`; `None` when it speaks of another kind.
    fn holds(&self, name: &Identifier) -> Option<bool> {
        match (self, name) {
            (Self::Dns(domain), Identifier::Dns(dns) | Identifier::Wildcard(dns)) => {
                Some(dns.is_within(domain))
            }
            (Self::Everything, Identifier::Dns(_) | Identifier::Wildcard(_)) => Some(true),
            // IPv4 and IPv6 are one kind of name (RFC 5280 §4.2.1.10).
            (Self::Ip(net), Identifier::Ip(address)) => Some(net.contains(address)),
            _ => None,
        }
    }
}

fn served(path: &[&Certificate], findings: &mut Vec<Finding>) {
    let Some(leaf) = path.first() else { return };
    if !may_serve(leaf) {
        let text = format!(
            "`{}` is sent by a server, but its extended key usage is not for servers",
            label(leaf)
        );
        findings.push(Finding::new("no-server-auth", Severity::Critical, text));
    }
}

/// `name-mismatch`: `certificate` is not good for the host that was asked for.
pub fn name_mismatch(certificate: &Certificate, wanted: &Identifier) -> Option<Finding> {
    if certificate.covers(wanted) {
        return None;
    }
    let text = format!(
        "asked for `{wanted}`, but the certificate is for {}",
        summary(certificate.names())
    );
    Some(
        Finding::new("name-mismatch", Severity::Critical, text)
            .with_fix("ask for a name it has (`--servername`), or issue it with this name too"),
    )
}

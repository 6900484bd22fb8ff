//! `ca status`: the hierarchy, then everything issued, worst first.

use std::collections::BTreeMap;

use super::super::table::{Cell, Column, Screen, Table, bold, counted, dim, grouped, style_of};
use super::{findings, fix, heading, labelled, left, message, serious};
use crate::clock::Timestamp;
use crate::finding::{Finding, Severity, words};
use crate::inspect::status::{Authority, CaStatus, CertStatus, overdue_by};
use crate::inspect::{Cert, CertState};

/// How much of the inventory to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listing {
    /// Most rows; the rest is counted in one line.
    pub(crate) rows: usize,
    /// Show every row, and every note.
    pub(crate) all: bool,
}

impl Default for Listing {
    fn default() -> Self {
        Self {
            rows: 20,
            all: false,
        }
    }
}

/// The whole screen of `ca status`.
pub(crate) fn ca_status(status: &CaStatus, screen: Screen, listing: Listing) -> String {
    let name = format!("Private CA {}", screen.clean(&status.ca.name));
    let mut out = heading(screen, &name, status.worst());
    out.push_str(&hierarchy(status, screen, listing));
    out.push('\n');
    out.push_str(&certificates(status, screen, listing));
    out.push_str(&summary(status, screen));
    out
}

fn hierarchy(status: &CaStatus, screen: Screen, listing: Listing) -> String {
    let ca = &status.ca;
    let mut table = Table::new(vec![
        Column::fixed(""),
        Column::fixed("KEY"),
        Column::fixed("EXPIRES (UTC)"),
        Column::right("LEFT"),
        Column::fixed("STATUS"),
        Column::flexible("PRIVATE KEY"),
    ]);
    for (authorities, branch) in [(&ca.roots, "root"), (&ca.intermediates, "int.")] {
        for authority in authorities {
            table.push(
                authority_row(authority, branch),
                authority_notes(authority, screen, listing),
            );
        }
    }
    let mut out = table.render(screen);
    out.push_str(&labelled(screen, 2, "home", &words::path(&ca.home)));
    let names = match ca.name_constraints.as_slice() {
        [] => "any (no name constraints)".to_owned(),
        permitted => permitted.join(", "),
    };
    out.push_str(&labelled(screen, 2, "may name", &names));
    if let Some(crl) = &ca.crl {
        let next = crl
            .next_update
            .map_or_else(String::new, |at| when("next", at, status.generated_at));
        let text = format!("#{}, {} revoked{next}", crl.number, grouped(crl.revoked));
        out.push_str(&labelled(screen, 2, "crl", &text));
    }
    if let Some(url) = &ca.acme {
        out.push_str(&labelled(screen, 2, "acme", url));
    }
    if !ca.trust.is_empty() {
        let stores: Vec<String> = ca
            .trust
            .iter()
            .map(|t| format!("{} {}", t.store, t.state))
            .collect();
        out.push_str(&labelled(screen, 2, "trust", &stores.join(", ")));
    }
    for root in ca.roots.iter().filter(|root| !root.retired) {
        out.push_str(&fingerprint(root, screen));
    }
    for line in findings(screen, 2, shown(&ca.findings, listing)) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

fn when(word: &str, at: Timestamp, now: Timestamp) -> String {
    let span = words::span(at - now);
    if at < now {
        format!(", {word} was due {span} ago")
    } else {
        format!(", {word} in {span}")
    }
}

fn authority_row(authority: &Authority, branch: &str) -> Vec<Cell> {
    let cert = &authority.cert;
    let state = cert.status.severity().filter(|_| !authority.retired);
    let severity = state.max(serious(&cert.findings));
    let word = if authority.retired {
        "retired"
    } else {
        cert.status.as_str()
    };
    let key = match (authority.key_location, cert.key.encrypted) {
        ("elsewhere", _) => "kept elsewhere",
        (_, Some(true)) => "here, encrypted",
        (_, _) => "here, not encrypted",
    };
    vec![
        Cell::styled(format!("  {branch} {}", authority.generation), bold()),
        Cell::new(cert.key.alg.clone().unwrap_or_default()),
        Cell::new(words::day(cert.not_after)),
        Cell::new(left(cert.seconds_left)),
        Cell::styled(word, style_of(severity)),
        Cell::new(key),
    ]
}

fn authority_notes(authority: &Authority, screen: Screen, listing: Listing) -> Vec<String> {
    findings(screen, 4, shown(&authority.cert.findings, listing))
}

/// Never cut, since people compare it digit by digit.
fn fingerprint(root: &Authority, screen: Screen) -> String {
    const HALF: usize = 16 * 3;
    const INDENT: usize = 13;
    let label = format!("{} sha256", root.generation);
    let text = &root.fingerprint;
    if screen.columns() >= INDENT + text.len() {
        return labelled(screen, 2, &label, text);
    }
    let (first, second) = text.split_at(HALF.min(text.len()));
    let mut out = labelled(screen, 2, &label, first);
    out.push_str(&format!("{}{second}\n", " ".repeat(INDENT)));
    out
}

fn shown(findings: &[Finding], listing: Listing) -> impl Iterator<Item = &Finding> {
    let least = if listing.all {
        Severity::Info
    } else {
        Severity::Warn
    };
    findings
        .iter()
        .filter(move |finding| finding.severity >= least)
}

fn certificates(status: &CaStatus, screen: Screen, listing: Listing) -> String {
    let all = &status.certificates;
    if all.is_empty() {
        return "  No certificate yet; `ca issue NAME` makes one.\n".to_owned();
    }
    let rows = if listing.all {
        all.len()
    } else {
        listing.rows.min(all.len())
    };
    let (shown, hidden) = all.split_at(rows);
    let mut out = layout(shown, screen, listing, status.generated_at).render(screen);
    if !hidden.is_empty() {
        out.push_str(&format!("  {}\n", screen.clean(&rest(hidden))));
    }
    out
}

/// `… and 9,980 more, all ok`.
fn rest(hidden: &[CertStatus]) -> String {
    let number = grouped(hidden.len() as u64);
    let mut states: BTreeMap<std::cmp::Reverse<CertState>, usize> = BTreeMap::new();
    for cert in hidden {
        *states.entry(std::cmp::Reverse(cert.state())).or_default() += 1;
    }
    if let (1, Some((state, _))) = (states.len(), states.first_key_value()) {
        return format!(
            "… and {number} more, all {} (--all shows them)",
            state.0.as_str()
        );
    }
    let parts: Vec<String> = states
        .iter()
        .map(|(state, count)| format!("{} {}", grouped(*count as u64), state.0.as_str()))
        .collect();
    format!(
        "… and {number} more: {} (--all shows them)",
        parts.join(", ")
    )
}

/// How much is said of each certificate; less where there is less room.
#[derive(Debug, Clone, Copy)]
struct Detail {
    names: bool,
    minutes: bool,
    cells: usize,
}

/// The richest layout that shows the names uncut, else the poorest.
fn layout(certs: &[CertStatus], screen: Screen, listing: Listing, now: Timestamp) -> Table {
    const RICHEST_FIRST: [Detail; 5] = [
        Detail {
            names: true,
            minutes: true,
            cells: 10,
        },
        Detail {
            names: true,
            minutes: true,
            cells: 6,
        },
        Detail {
            names: false,
            minutes: true,
            cells: 6,
        },
        Detail {
            names: false,
            minutes: false,
            cells: 6,
        },
        Detail {
            names: false,
            minutes: false,
            cells: 0,
        },
    ];
    let mut table = Table::default();
    for detail in RICHEST_FIRST {
        table = build(certs, detail, screen, listing, now);
        if table.shortage(screen) == 0 {
            break;
        }
    }
    table
}

fn build(
    certs: &[CertStatus],
    detail: Detail,
    screen: Screen,
    listing: Listing,
    now: Timestamp,
) -> Table {
    let mut columns = vec![Column::flexible("  NAME")];
    if detail.names {
        columns.push(Column::flexible("NAMES"));
    }
    columns.extend([
        Column::fixed("STATUS"),
        Column::fixed("EXPIRES (UTC)"),
        Column::right("LEFT"),
        Column::fixed("USED"),
        Column::fixed("RENEWS"),
    ]);
    let mut table = Table::new(columns);
    for cert in certs {
        table.push(row(cert, detail, screen, now), notes(cert, screen, listing));
    }
    table
}

fn row(status: &CertStatus, detail: Detail, screen: Screen, now: Timestamp) -> Vec<Cell> {
    let severity = status.severity().filter(|s| *s > Severity::Info);
    let style = style_of(severity);
    let more = status
        .cert()
        .map_or(0, |cert| cert.sans.all().count().saturating_sub(1));
    let mut name = format!("{} {}", screen.symbol(severity), status.id());
    if !detail.names && more > 0 {
        name.push_str(&format!(" +{more}"));
    }
    let mut cells = vec![Cell::styled(name, style)];
    if detail.names {
        cells.push(Cell::new(names(status.cert())));
    }
    cells.push(Cell::styled(status.state().as_str(), style));
    let Some(cert) = status.cert() else {
        return cells;
    };
    let expires = if detail.minutes {
        words::minute(cert.not_after)
    } else {
        words::day(cert.not_after)
    };
    cells.extend([
        Cell::new(expires),
        Cell::new(left(cert.seconds_left)),
        Cell::new(screen.bar(cert.lifetime_used, detail.cells)),
        Cell::new(renews(status, now)),
    ]);
    cells
}

fn names(cert: Option<&Cert>) -> String {
    /// More than these are counted.
    const SHOWN: usize = 3;
    let Some(cert) = cert else {
        return String::new();
    };
    let all: Vec<&str> = cert.sans.all().collect();
    let more = all.len().saturating_sub(SHOWN);
    let mut text = all
        .iter()
        .take(SHOWN)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    if more > 0 {
        text.push_str(&format!(" +{more}"));
    }
    text
}

fn renews(status: &CertStatus, now: Timestamp) -> String {
    let Some(cert) = status.cert() else {
        return String::new();
    };
    match cert.renew_at {
        _ if status.account.is_some() => "by its client".to_owned(),
        _ if !status.managed => "by hand".to_owned(),
        None => "-".to_owned(),
        Some(at) => match overdue_by(at, now) {
            Some(late) => format!("overdue {}", largest(late)),
            None => format!("in {}", largest(at - now)),
        },
    }
}

/// A span's largest unit.
fn largest(span: crate::clock::Duration) -> String {
    let text = words::span(span);
    text.split(' ').next().unwrap_or_default().to_owned()
}

/// What the row does not say by itself, and what to do.
fn notes(status: &CertStatus, screen: Screen, listing: Listing) -> Vec<String> {
    const SAID_BY_THE_ROW: [&str; 3] = ["expired", "overdue", "due"];
    let mut lines = Vec::new();
    let mut fixes: Vec<&str> = Vec::new();
    for finding in shown(status.findings(), listing) {
        if !SAID_BY_THE_ROW.contains(&finding.id) {
            lines.extend(message(screen, 4, finding));
        }
        if let Some(command) = finding.fix.as_deref()
            && !fixes.contains(&command)
        {
            fixes.push(command);
        }
    }
    lines.extend(fixes.into_iter().map(|command| fix(screen, 4, command)));
    lines
}

fn summary(status: &CaStatus, screen: Screen) -> String {
    let all = &status.certificates;
    let healthy = status.worst().is_none_or(|worst| worst == Severity::Info);
    let counts = status.ca.counts;
    let mut out = String::from("\n");
    if healthy {
        let text = match all.len() {
            0 => "the CA is healthy".to_owned(),
            n => format!("the CA is healthy, and so is {}", every(n)),
        };
        let symbol = screen.paint(style_of(None), screen.symbol(None));
        out.push_str(&format!("{symbol} {text}\n"));
    } else {
        let of = |severity| {
            let number = all
                .iter()
                .filter(|c| c.severity() == Some(severity))
                .count();
            (number, severity)
        };
        let (critical, warned) = (of(Severity::Critical).0, of(Severity::Warn).0);
        let fine = all.len() - critical - warned;
        let mut parts = Vec::new();
        if critical > 0 {
            parts.push(format!("{} critical", grouped(critical as u64)));
        }
        if warned > 0 {
            let verb = if warned == 1 { "needs" } else { "need" };
            parts.push(format!("{} {verb} attention", grouped(warned as u64)));
        }
        parts.push(format!("{} ok", grouped(fine as u64)));
        out.push_str(&format!(
            "{}: {}\n",
            counted(all.len(), "certificate"),
            parts.join(", ")
        ));
    }
    if counts.issued > 0 {
        let text = format!(
            "issued so far: {}, of which {} valid, {} expired, {} revoked",
            grouped(counts.issued),
            grouped(counts.valid),
            grouped(counts.expired),
            grouped(counts.revoked)
        );
        out.push_str(&format!("{}\n", screen.paint(dim(), &text)));
    }
    out
}

fn every(number: usize) -> String {
    match number {
        1 => "its one certificate".to_owned(),
        n => format!("every one of its {}", counted(n, "certificate")),
    }
}

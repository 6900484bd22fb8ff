//! `inspect`: what is wrong first, then what is there.

use super::super::table::{Cell, Column, Screen, Table, bold, counted, style_of};
use super::{findings, heading, labelled, left, state_word, tally};
use crate::finding::{Finding, Severity, words};
use crate::inspect::{Cert, Connection, Crl, Item, Key, Report, Request, TargetKind};

/// More certificates than this in one report are shown one a line.
const MANY: usize = 8;

/// The whole screen of `inspect`.
pub(crate) fn report(report: &Report, screen: Screen) -> String {
    let mut out = heading(screen, &screen.clean(&report.target), report.worst());
    if let Some(connection) = &report.connection {
        out.push_str(&wire(connection, screen));
    }
    out.push('\n');
    // The messages say which certificate or file they are about; in a directory
    // they stand below their files.
    let before = out.len();
    if report.kind == TargetKind::Directory {
        push_all(&mut out, findings(screen, 2, &report.findings));
    } else {
        push_all(&mut out, findings(screen, 2, report.all_findings()));
    }
    if out.len() > before {
        out.push('\n');
    }
    if report.kind == TargetKind::Directory {
        out.push_str(&files(report, screen));
    } else {
        for item in &report.items {
            out.push_str(&one_item(item, screen));
        }
    }
    out.push('\n');
    out.push_str(&last_line(report, screen));
    out
}

fn last_line(report: &Report, screen: Screen) -> String {
    let severity = super::serious(report.all_findings());
    let symbol = screen.paint(style_of(severity), screen.symbol(severity));
    let all: Vec<&Finding> = report.all_findings().collect();
    match severity {
        None if all.is_empty() => format!("{symbol} nothing is wrong\n"),
        None => format!("{symbol} nothing is wrong; {}\n", tally(&all)),
        Some(_) => format!("{symbol} {}\n", tally(&all)),
    }
}

fn push_all(out: &mut String, lines: Vec<String>) {
    for line in lines {
        out.push_str(&line);
        out.push('\n');
    }
}

/// A directory: what is in each file, the worst file first.
fn files(report: &Report, screen: Screen) -> String {
    let mut table = Table::new(vec![
        Column::flexible("  FILE"),
        Column::flexible("HOLDS"),
        Column::fixed("STATUS"),
        Column::fixed("EXPIRES (UTC)"),
        Column::right("LEFT"),
    ]);
    let mut items: Vec<&Item> = report.items.iter().collect();
    items.sort_by_key(|item| std::cmp::Reverse(super::serious(item.all_findings())));
    for item in items {
        file(item, &report.target, screen, &mut table);
    }
    if report.items.is_empty() {
        String::new()
    } else {
        table.render(screen)
    }
}

fn file(item: &Item, directory: &str, screen: Screen, table: &mut Table) {
    let severity = super::serious(item.all_findings());
    let path = item.path.as_deref().map(words::path).unwrap_or_default();
    let short = path
        .strip_prefix(directory)
        .map(|rest| rest.trim_start_matches('/'));
    let name = format!("{} {}", screen.symbol(severity), short.unwrap_or(&path));
    let mut rows: Vec<Vec<Cell>> = item.certificates.iter().map(certificate_cells).collect();
    rows.extend(item.keys.iter().map(|key| vec![Cell::new(short_key(key))]));
    rows.extend(
        item.requests
            .iter()
            .map(|_| vec![Cell::new("certificate signing request")]),
    );
    rows.extend(item.crls.iter().map(|crl| vec![Cell::new(crl_title(crl))]));
    rows.extend(
        item.other
            .iter()
            .map(|other| vec![Cell::new(other.as_str())]),
    );
    if rows.is_empty() {
        rows.push(vec![Cell::new("nothing that can be read")]);
    }
    let last = rows.len() - 1;
    for (number, holds) in rows.into_iter().enumerate() {
        let first = match number {
            0 => Cell::styled(name.as_str(), style_of(severity)),
            _ => Cell::default(),
        };
        let serious = item.all_findings().filter(|f| f.severity > Severity::Info);
        let below = if number == last {
            findings(screen, 4, serious)
        } else {
            Vec::new()
        };
        table.push(std::iter::once(first).chain(holds).collect(), below);
    }
}

fn certificate_cells(cert: &Cert) -> Vec<Cell> {
    let severity = cert.status.severity().max(super::serious(&cert.findings));
    vec![
        Cell::new(format!("{} {}", cert.role.as_str(), cert.name)),
        Cell::styled(cert.status.as_str(), style_of(severity)),
        Cell::new(words::minute(cert.not_after)),
        Cell::new(left(cert.seconds_left)),
    ]
}

fn one_item(item: &Item, screen: Screen) -> String {
    let mut out = String::new();
    if item.certificates.len() > MANY {
        out.push_str(&overview(&item.certificates, screen));
    } else {
        for (position, cert) in item.certificates.iter().enumerate() {
            out.push_str(&certificate(cert, position + 1, screen));
        }
    }
    for key in &item.keys {
        out.push_str(&labelled(screen, 2, "key", &private_key(key)));
    }
    for request in &item.requests {
        out.push_str(&signing_request(request, screen));
    }
    for crl in &item.crls {
        out.push_str(&revocation_list(crl, screen));
    }
    for other in &item.other {
        out.push_str(&labelled(screen, 2, "also", other));
    }
    // Of a server, what the connection says is the same.
    if let Some(verified) = item.verified.as_ref().filter(|_| item.format != "TLS") {
        let text = verification(verified, screen);
        out.push_str(&labelled(screen, 2, "verified", &text));
    }
    out
}

/// A bundle: one line a certificate, the worst first.
fn overview(certs: &[Cert], screen: Screen) -> String {
    let mut table = Table::new(vec![
        Column::flexible("  CERTIFICATE"),
        Column::fixed("STATUS"),
        Column::fixed("EXPIRES (UTC)"),
        Column::right("LEFT"),
    ]);
    let severity = |cert: &Cert| cert.status.severity().max(super::serious(&cert.findings));
    let mut sorted: Vec<&Cert> = certs.iter().collect();
    sorted.sort_by_key(|cert| std::cmp::Reverse(severity(cert)));
    for cert in sorted {
        let name = format!(
            "{} {} {}",
            screen.symbol(severity(cert)),
            cert.role.as_str(),
            cert.name
        );
        let mut cells = certificate_cells(cert);
        if let Some(first) = cells.first_mut() {
            *first = Cell::styled(name, style_of(severity(cert)));
        }
        table.push(cells, Vec::new());
    }
    table.render(screen)
}

fn certificate(cert: &Cert, number: usize, screen: Screen) -> String {
    let name = screen.paint(bold(), &screen.clean(&cert.name));
    let state = state_word(screen, cert.status);
    let mut out = format!("  {number} {} {name}  {state}\n", cert.role.as_str());
    let mut line = |label: &str, text: &str| {
        if !text.is_empty() {
            out.push_str(&labelled(screen, 4, label, text));
        }
    };
    let names: Vec<&str> = cert.sans.all().collect();
    line("names", &names.join(", "));
    line("subject", &cert.subject);
    line(
        "issuer",
        if cert.issuer == cert.subject {
            "itself"
        } else {
            &cert.issuer
        },
    );
    line("valid", &validity(cert));
    line("left", &share_left(cert, screen));
    line("key", &key(cert));
    line("signature", &cert.signature);
    line("usage", &usage(cert));
    if let Some(constraints) = &cert.name_constraints {
        line("may name", &constraints.permitted.join(", "));
        line("may not", &constraints.excluded.join(", "));
    }
    line("crl", &cert.crl_urls.join(", "));
    line("ocsp", &cert.ocsp_urls.join(", "));
    line("serial", &cert.serial_hex);
    line("sha256", &cert.sha256);
    out
}

fn validity(cert: &Cert) -> String {
    let (start, end) = (
        words::minute(cert.not_before),
        words::minute(cert.not_after),
    );
    format!("{start} to {end} UTC")
}

fn share_left(cert: &Cert, screen: Screen) -> String {
    let bar = screen.bar(cert.lifetime_used, 10);
    let bar = bar.split_whitespace().collect::<Vec<_>>().join(" ");
    match cert.seconds_left {
        ..0 => format!(
            "nothing, since {} {bar}",
            left(cert.seconds_left).trim_start_matches('-')
        ),
        seconds => format!("{} {bar} used", left(seconds)),
    }
}

fn key(cert: &Cert) -> String {
    let alg = cert.key.alg.as_deref().unwrap_or("unknown");
    match (&cert.key.path, cert.key.matches) {
        (Some(path), Some(true)) => format!("{alg}, private key in {}", words::path(path)),
        _ => alg.to_owned(),
    }
}

fn usage(cert: &Cert) -> String {
    let mut parts = cert.key_usage.join(", ");
    if let Some(extended) = &cert.extended_key_usage {
        parts.push_str("; for ");
        parts.push_str(&extended.join(", "));
    }
    if let Some(below) = cert.path_len {
        parts.push_str(&format!("; pathLen {below}"));
    }
    parts.trim_start_matches("; ").to_owned()
}

/// `paired key P-256 0600`: what matters first, since the end may be cut.
fn short_key(key: &Key) -> String {
    let kind = match key.matches {
        Some(true) => "paired key",
        Some(false) => "another's key",
        None => "key",
    };
    let locked = key.encrypted == Some(true);
    let parts = [
        Some(kind),
        locked.then_some("encrypted"),
        key.alg.as_deref(),
        key.mode.as_deref(),
    ];
    let text: Vec<&str> = parts.into_iter().flatten().collect();
    text.join(" ")
}

fn private_key(key: &Key) -> String {
    let alg = key.alg.as_deref().unwrap_or("private key");
    let lock = if key.encrypted == Some(true) {
        ", encrypted"
    } else {
        ""
    };
    let mode = key
        .mode
        .as_ref()
        .map_or_else(String::new, |mode| format!(", mode {mode}"));
    let pair = match key.matches {
        Some(true) => ", belongs to the certificate",
        Some(false) => ", belongs to another certificate",
        None => "",
    };
    format!("{alg}{lock}{mode}{pair}")
}

fn signing_request(request: &Request, screen: Screen) -> String {
    let signed = if request.signature_ok {
        "signed by its key"
    } else {
        "not signed by its key"
    };
    let names: Vec<&str> = request.sans.all().collect();
    let key = request.key.alg.as_deref().unwrap_or("unknown");
    let mut out = format!("  certificate signing request, {signed}\n");
    for (label, text) in [
        ("names", names.join(", ").as_str()),
        ("subject", &request.subject),
        ("key", key),
    ] {
        if !text.is_empty() {
            out.push_str(&labelled(screen, 4, label, text));
        }
    }
    out
}

fn crl_title(crl: &Crl) -> String {
    let number = crl
        .number
        .as_ref()
        .map_or_else(String::new, |n| format!(" #{n}"));
    format!(
        "revocation list{number}, {} revoked",
        counted(crl.revoked, "certificate")
    )
}

fn revocation_list(crl: &Crl, screen: Screen) -> String {
    let mut out = format!("  {}\n", screen.clean(&crl_title(crl)));
    out.push_str(&labelled(screen, 4, "issuer", &crl.issuer));
    let next = crl
        .next_update
        .map_or_else(|| "for ever".to_owned(), words::minute);
    let text = format!("{} to {next} UTC", words::minute(crl.this_update));
    out.push_str(&labelled(screen, 4, "valid", &text));
    out
}

fn verification(verified: &crate::inspect::Verification, screen: Screen) -> String {
    let symbol = |ok| screen.symbol(if ok { None } else { Some(Severity::Critical) });
    match (&verified.root, &verified.error) {
        (Some(root), _) => format!("{} leads to `{root}` ({})", symbol(true), verified.roots),
        (None, Some(error)) => format!("{} {error} ({})", symbol(false), verified.roots),
        (None, None) => verified.roots.clone(),
    }
}

fn wire(connection: &Connection, screen: Screen) -> String {
    let mut out = String::new();
    let mut line = |label: &str, text: String| out.push_str(&labelled(screen, 2, label, &text));
    line("address", connection.address.clone());
    line(
        "asked for",
        connection
            .server_name
            .clone()
            .unwrap_or_else(|| "no name (an address)".to_owned()),
    );
    let parts = [
        &connection.protocol,
        &connection.cipher_suite,
        &connection.key_exchange,
    ];
    let parts: Vec<&str> = parts
        .into_iter()
        .filter_map(|part| part.as_deref())
        .collect();
    if !parts.is_empty() {
        line("protocol", parts.join(", "));
    }
    if let Some(error) = &connection.error {
        line("handshake", format!("did not end: {error}"));
    }
    let offered = connection.alpn_offered.join(", ");
    line(
        "alpn",
        match &connection.alpn {
            Some(chosen) => format!("{chosen} (offered: {offered})"),
            None => format!("none (offered: {offered})"),
        },
    );
    line(
        "ocsp",
        if connection.ocsp_stapled {
            "a response is stapled"
        } else {
            "nothing is stapled"
        }
        .to_owned(),
    );
    if connection.client_certificate_requested {
        line("client", "a certificate is asked for".to_owned());
    }
    line(
        "time",
        format!(
            "{} ms to connect, {} ms for the handshake",
            connection.connect_ms, connection.handshake_ms
        ),
    );
    if let Some(verified) = &connection.verified {
        line("verified", verification(verified, screen));
    }
    out
}

//! The report in words, for a terminal.

use std::fmt::Write as _;

use super::Report;

pub(super) fn render(report: &Report) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let title = match &report.tls {
        None => "This connection is not encrypted: plain HTTP, without TLS.".to_owned(),
        Some(tls) => {
            lines.push(("protocol", format!("{} over {}", report.http, tls.version)));
            lines.push(("cipher suite", tls.cipher_suite.clone()));
            let group = tls.key_exchange.as_deref();
            let kept = if tls.post_quantum {
                ", post-quantum"
            } else {
                ""
            };
            let group = group.map_or_else(|| "none, resumed".to_owned(), |g| format!("{g}{kept}"));
            lines.push(("key exchange", group));
            format!("This connection is encrypted with {}.", tls.version)
        }
    };
    if let Some(certificate) = &report.certificate {
        lines.push(("names", certificate.names.join(", ")));
        lines.push(("issuer", certificate.issuer.clone()));
        let until = format!("{} ({})", certificate.not_after, certificate.left());
        lines.push(("valid until", until));
        lines.push(("serial", certificate.serial.clone()));
        lines.push(("sha256", certificate.sha256.clone()));
    }
    lines.push(("you", report.client.clone()));
    let mut text = format!("{title}\n\n");
    for (label, value) in lines {
        let _ = writeln!(text, "{label:>13}  {value}");
    }
    text
}

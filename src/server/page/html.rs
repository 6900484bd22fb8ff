//! The report as a page.

use std::fmt::{self, Display, Write as _};

use super::{CertificateReport, Report, TlsReport};

/// The style sheet; the policy names its hash.
pub(super) const STYLE: &str = include_str!("style.css");

/// A lock, as the page's icon.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' \
viewBox='0 0 16 16'%3E%3Cpath d='M4.5 7V5a3.5 3.5 0 0 1 7 0v2' fill='none' stroke='%2316825d' \
stroke-width='2'/%3E%3Crect x='2.5' y='7' width='11' height='8' rx='2' \
fill='%2316825d'/%3E%3C/svg%3E";

pub(super) fn render(report: &Report) -> String {
    let mut page = String::with_capacity(16 * 1024);
    // Writing to a String does not fail.
    let _ = write_page(&mut page, report);
    page
}

fn write_page(page: &mut String, report: &Report) -> fmt::Result {
    let title = report
        .certificate
        .as_ref()
        .and_then(|certificate| certificate.names.first())
        .map_or("Connection", String::as_str);
    write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{} · certmint</title>\n<link rel=\"icon\" href=\"{ICON}\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<main>\n",
        Text(title)
    )?;
    match (&report.tls, &report.certificate) {
        (Some(tls), Some(certificate)) => {
            write_banner(page, tls, certificate)?;
            write_validity(page, certificate, &report.time)?;
            write_certificate(page, certificate)?;
            write_chain(page, certificate)?;
        }
        _ => page.push_str(
            "<header class=\"bare\"><p class=\"state\">Not encrypted</p>\n\
             <h1>Plain HTTP</h1>\n<p>There is no TLS on this connection: whoever is on \
             the way can read and change it.</p></header>\n",
        ),
    }
    write_connection(page, report)?;
    write!(
        page,
        "<footer>Served by certmint at <time>{}</time>. Programs get this as JSON with \
         <code>Accept: application/json</code>.</footer>\n</main>\n</body>\n</html>\n",
        Text(&report.time)
    )
}

fn write_banner(
    page: &mut String,
    tls: &TlsReport,
    certificate: &CertificateReport,
) -> fmt::Result {
    let (class, state) = if certificate.remaining_seconds < 0 {
        ("expired", "Encrypted, with an expired certificate")
    } else {
        ("good", "Encrypted")
    };
    write!(
        page,
        "<header class=\"{class}\"><p class=\"state\">{state} · {}</p>\n<h1>{}</h1>\n",
        Text(&tls.version),
        Text(certificate.names.first().unwrap_or(&certificate.subject)),
    )?;
    if certificate.names.len() > 1 {
        page.push_str("<ul class=\"names\">");
        for name in &certificate.names[1..] {
            write!(page, "<li>{}</li>", Text(name))?;
        }
        page.push_str("</ul>\n");
    }
    writeln!(
        page,
        "<p>Issued by <strong>{}</strong></p></header>",
        Text(common_name(&certificate.issuer))
    )
}

fn write_validity(page: &mut String, certificate: &CertificateReport, now: &str) -> fmt::Result {
    let used = certificate.life_used * 100.0;
    let left = certificate.left();
    // The width is an attribute of the drawing: the policy allows no style here.
    write!(
        page,
        "<section>\n<h2>Validity <span class=\"left\">{left}</span></h2>\n\
         <svg class=\"bar\" role=\"img\" aria-label=\"{used:.0}% of its life is over\">\
         <rect class=\"track\" width=\"100%\" height=\"100%\"/>\
         <rect class=\"used\" width=\"{used:.1}%\" height=\"100%\"/></svg>\n\
         <p class=\"ends\"><span>{}</span><span>{}</span></p>\n\
         <p class=\"note\">{used:.0}% of its life is over, by this server's clock ({}).</p>\n\
         </section>\n",
        Text(&short(&certificate.not_before)),
        Text(&short(&certificate.not_after)),
        Text(&short(now)),
    )
}

fn write_certificate(page: &mut String, certificate: &CertificateReport) -> fmt::Result {
    page.push_str("<section>\n<h2>Certificate</h2>\n<dl>\n");
    if !certificate.subject.is_empty() {
        row(page, "Subject", &certificate.subject)?;
    }
    row(page, "Issuer", &certificate.issuer)?;
    row(page, "Public key", &certificate.public_key)?;
    row(page, "Signature", &certificate.signature)?;
    code_row(page, "Serial", &certificate.serial)?;
    code_row(page, "SHA-256", &certificate.sha256)?;
    code_row(page, "Key SHA-256", &certificate.public_key_sha256)?;
    page.push_str("</dl>\n</section>\n");
    Ok(())
}

fn write_chain(page: &mut String, certificate: &CertificateReport) -> fmt::Result {
    page.push_str("<section>\n<h2>Chain as sent</h2>\n<ol class=\"chain\">\n");
    let leaf = certificate.names.first().unwrap_or(&certificate.subject);
    writeln!(
        page,
        "<li><strong>{}</strong><span>until {}</span></li>",
        Text(leaf),
        Text(&short(&certificate.not_after))
    )?;
    for above in &certificate.chain {
        writeln!(
            page,
            "<li><strong>{}</strong><span>until {}</span><code>{}</code></li>",
            Text(common_name(&above.subject)),
            Text(&short(&above.not_after)),
            breakable(&above.sha256)
        )?;
    }
    let (subject, issuer) = match certificate.chain.last() {
        Some(last) => (&last.subject, &last.issuer),
        None => (&certificate.subject, &certificate.issuer),
    };
    if subject != issuer {
        writeln!(
            page,
            "<li class=\"anchor\"><strong>{}</strong><span>not sent: the client has it, \
             or does not trust this</span></li>",
            Text(common_name(issuer))
        )?;
    }
    page.push_str("</ol>\n</section>\n");
    Ok(())
}

fn write_connection(page: &mut String, report: &Report) -> fmt::Result {
    page.push_str("<section>\n<h2>Connection</h2>\n<dl>\n");
    row(page, "HTTP", report.http)?;
    if let Some(tls) = &report.tls {
        row(page, "Protocol", &tls.version)?;
        row(page, "Cipher suite", &tls.cipher_suite)?;
        let note = if tls.post_quantum {
            " (post-quantum hybrid)"
        } else {
            ""
        };
        let group = tls.key_exchange.as_deref().unwrap_or("none: resumed");
        row(page, "Key exchange", &format!("{group}{note}"))?;
        row(page, "ALPN", tls.alpn.as_deref().unwrap_or("not used"))?;
        row(
            page,
            "Server name",
            tls.server_name.as_deref().unwrap_or("not sent"),
        )?;
        let resumed = if tls.resumed {
            "resumed: the certificate was checked in an earlier connection"
        } else {
            "full handshake"
        };
        row(page, "Session", resumed)?;
    }
    code_row(page, "Your address", &report.client)?;
    code_row(page, "Our address", &report.server)?;
    page.push_str("</dl>\n</section>\n");
    Ok(())
}

fn row(page: &mut String, label: &str, value: &str) -> fmt::Result {
    writeln!(page, "<div><dt>{label}</dt><dd>{}</dd></div>", Text(value))
}

fn code_row(page: &mut String, label: &str, value: &str) -> fmt::Result {
    writeln!(
        page,
        "<div><dt>{label}</dt><dd><code>{}</code></dd></div>",
        breakable(value)
    )
}

/// A number, an address or a fingerprint, which may be broken after its colons, or else
/// after each eighth digit: what is copied has no break in it.
fn breakable(value: &str) -> String {
    if value.bytes().all(|b| b.is_ascii_hexdigit()) {
        let digits: Vec<char> = value.chars().collect();
        let groups: Vec<String> = digits.chunks(8).map(|g| g.iter().collect()).collect();
        return groups.join("<wbr>");
    }
    Text(value).to_string().replace(':', ":<wbr>")
}

/// `2026-11-22T01:34:11Z` as `2026-11-22 01:34 UTC`.
fn short(time: &str) -> String {
    let day_and_minute = time.get(..16).unwrap_or(time);
    format!("{} UTC", day_and_minute.replace('T', " "))
}

/// The CN of a distinguished name, or all of it.
fn common_name(subject: &str) -> &str {
    subject
        .split(", ")
        .find_map(|part| part.strip_prefix("CN="))
        .unwrap_or(subject)
}

/// Text that is only text, whatever it says.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_numbers_may_be_broken_into_equal_parts() {
        for (value, expected) in [
            ("AB:CD:EF", "AB:<wbr>CD:<wbr>EF"),
            ("0123456789abcdef01", "01234567<wbr>89abcdef<wbr>01"),
            ("[::1]:80", "[:<wbr>:<wbr>1]:<wbr>80"),
            ("0a", "0a"),
            ("<a>", "&lt;a&gt;"),
            ("", ""),
        ] {
            assert_eq!(breakable(value), expected);
        }
    }

    #[test]
    fn what_others_wrote_stays_text() {
        let text = Text("<script>\"a\" & 'b'</script>").to_string();
        assert_eq!(
            text,
            "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;&lt;/script&gt;"
        );
    }
}

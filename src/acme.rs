//! Certificates from ACME CAs (RFC 8555).

pub mod dns;

//! Which certificate authorities this process believes: one setting for its own calls, its callbacks and its mail.
//!
//! Mozilla's list, which is built in; besides it what `SSL_CERT_FILE` or `SSL_CERT_DIR` name (a private authority, as
//! PEM), and with `PLACET_TRUST=system` the system's own store.

#![expect(clippy::disallowed_methods, reason = "certificates are named in the environment")]

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

use crate::failure::Failure;

/// A file of certificates, and a folder of them: the names that OpenSSL, curl and Python read.
const FILE_VARIABLE: &str = "SSL_CERT_FILE";
const FOLDER_VARIABLE: &str = "SSL_CERT_DIR";

/// `system` adds the system's store.
const TRUST_VARIABLE: &str = "PLACET_TRUST";

/// Where certificates come from, besides the list that is built in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extra {
    /// Nowhere.
    Nothing,
    /// From the variables' file and folder, or else from the system's store: `rustls-native-certs` reads both.
    Native,
}

/// The certificates, as DER, that are trusted besides the built-in list.
///
/// Fails where a file that is named cannot be read or holds none: who names one wants it to be used.
pub(crate) fn extra_roots() -> Result<Vec<CertificateDer<'static>>, Failure> {
    let named = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let variables =
        [FILE_VARIABLE, FOLDER_VARIABLE].into_iter().filter(|name| named(name)).collect::<Vec<_>>();
    let wanted = std::env::var(TRUST_VARIABLE).unwrap_or_default();
    if wants(&wanted, &variables)? == Extra::Nothing {
        return Ok(Vec::new());
    }
    let found = rustls_native_certs::load_native_certs();
    let source = if variables.is_empty() { "the system's store".to_owned() } else { variables.join(" or ") };
    if found.certs.is_empty() {
        let why = found.errors.first().map_or_else(|| "none is there".to_owned(), ToString::to_string);
        return Err(Failure::usage(format!("no certificate can be read from {source}: {why}"))
            .advise("name a file of certificates as PEM, such as /etc/ssl/certs/ca-certificates.crt"));
    }
    Ok(found.certs)
}

fn wants(trust: &str, variables: &[&str]) -> Result<Extra, Failure> {
    match (trust, variables) {
        ("" | "builtin", []) => Ok(Extra::Nothing),
        ("" | "builtin" | "system", _) => Ok(Extra::Native),
        (other, _) => Err(Failure::usage(format!("{TRUST_VARIABLE} is `{other}`"))
            .advise("it is `system`, for the system's store besides the built-in list, or left out")),
    }
}

/// What TLS connections of this process are made with.
pub(crate) fn client_config() -> Result<ClientConfig, Failure> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    // A store of the system may hold certificates that rustls does not read: those are not trusted.
    roots.add_parsable_certificates(extra_roots()?);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::fault(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// What callbacks are sent with.
pub(crate) fn webhook_sender() -> Result<placet_webhook::Sender, Failure> {
    let extra_roots = extra_roots()?.iter().map(|root| root.as_ref().to_vec()).collect();
    Ok(placet_webhook::Sender::new(placet_webhook::Options { extra_roots, ..Default::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_for_is_trusted_besides_the_list() {
        assert_eq!(wants("", &[]), Ok(Extra::Nothing));
        assert_eq!(wants("", &[FILE_VARIABLE]), Ok(Extra::Native));
        assert_eq!(wants("system", &[]), Ok(Extra::Native));
        assert_eq!(wants("all", &[]).unwrap_err().code(), 2);
    }
}

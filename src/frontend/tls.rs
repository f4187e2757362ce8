//! TLS towards clients.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;

use super::config::TlsConfig;
use crate::backend::tls::{TlsError, read_authorities, read_certificates, read_key};

/// Reads the files that the configuration names; `None` if it names no certificate.
pub fn server_config(settings: &TlsConfig) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let (cert, key) = match (&settings.cert, &settings.key) {
        (Some(cert), Some(key)) => (cert, key),
        (None, None) if settings.required => {
            return Err(TlsError::Settings(
                "frontend.tls.required needs frontend.tls.cert and frontend.tls.key",
            ));
        }
        (None, None) => return Ok(None),
        _ => return Err(TlsError::Settings("frontend.tls.cert and frontend.tls.key belong together")),
    };
    let fault = |error: &dyn std::fmt::Display| TlsError::Rustls(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?;
    let builder = match &settings.client_ca {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = read_authorities(file)?;
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| fault(&error))?)
        }
    };
    let config = builder.with_single_cert(read_certificates(cert)?, read_key(key)?);
    config.map(|config| Some(Arc::new(config))).map_err(|error| fault(&error))
}

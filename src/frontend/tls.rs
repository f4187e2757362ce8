//! TLS towards clients.

use std::sync::Arc;

use parking_lot::RwLock;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;

use super::config::TlsConfig;
use crate::backend::tls::{TlsError, read_authorities, read_certificates, read_key};

/// The TLS configuration in force; replaced as a whole when its files are read again.
pub struct Tls {
    settings: TlsConfig,
    current: RwLock<Option<Arc<ServerConfig>>>,
}

impl Tls {
    /// Reads the files that the configuration names.
    pub fn new(settings: &TlsConfig) -> Result<Self, TlsError> {
        let current = RwLock::new(server_config(settings)?);
        Ok(Self { settings: settings.clone(), current })
    }

    /// What new connections use; `None` without a certificate.
    pub fn current(&self) -> Option<Arc<ServerConfig>> {
        self.current.read().clone()
    }

    /// Reads the files again; connections made from now on use them. On an error the old ones stay.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = server_config(&self.settings)?;
        *self.current.write() = fresh;
        Ok(())
    }
}

fn server_config(settings: &TlsConfig) -> Result<Option<Arc<ServerConfig>>, TlsError> {
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

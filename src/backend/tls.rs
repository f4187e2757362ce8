//! TLS towards the server.
//!
//! Without verification (`preferred`, `required`) the connection is encrypted, but nothing says to whom;
//! `verify_ca` and `verify_identity` say it, as the modes of the same names do in MySQL's clients.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use thiserror::Error;
use tokio_rustls::TlsConnector;

use super::config::{Config, TlsConfig, TlsMode};
use super::endpoint::Endpoint;
use super::stream::Stream;

/// Certificates or keys cannot be used. The text names the file.
#[derive(Debug, Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{}: {reason}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Settings do not fit together.
    #[error("{0}")]
    Settings(&'static str),
    /// rustls refuses.
    #[error("TLS: {0}")]
    Rustls(String),
}

/// Makes TLS sessions with the server.
pub struct Connector {
    name: ServerName<'static>,
    config: Arc<ClientConfig>,
}

impl Connector {
    /// Reads the files that the configuration names.
    pub fn new(config: &Config) -> Result<Self, TlsError> {
        let name = server_name(&config.tls, &config.address)?;
        Ok(Self { name, config: Arc::new(client_config(&config.tls)?) })
    }

    /// The TLS handshake on a connection to the server.
    pub async fn connect(&self, stream: Stream) -> io::Result<Stream> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let tls = connector.connect(self.name.clone(), stream.into_socket()?).await?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }
}

/// The certificates of a PEM file, in order; at least one.
pub fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |reason: String| TlsError::File { file: file.to_owned(), reason };
    let certificates = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| fault(error.to_string()))?;
    if certificates.is_empty() { Err(fault("no certificate in it".to_owned())) } else { Ok(certificates) }
}

/// The private key of a PEM file.
pub fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(file)
        .map_err(|error| TlsError::File { file: file.to_owned(), reason: error.to_string() })
}

/// The authorities of a PEM file.
pub fn read_authorities(file: &Path) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(file)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::File { file: file.to_owned(), reason: error.to_string() })?;
    }
    Ok(Arc::new(roots))
}

fn client_config(settings: &TlsConfig) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = verifier(settings, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::Rustls(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    match (&settings.cert, &settings.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(read_certificates(cert)?, read_key(key)?)
            .map_err(|error| TlsError::Rustls(error.to_string())),
        _ => Err(TlsError::Settings("upstream.tls.cert and upstream.tls.key belong together")),
    }
}

/// The name that the server's certificate is compared with, and that is asked for (SNI).
fn server_name(settings: &TlsConfig, address: &Endpoint) -> Result<ServerName<'static>, TlsError> {
    let name = match (&settings.server_name, address) {
        (Some(name), _) => name.clone(),
        (None, Endpoint::Tcp { host, .. }) => host.clone(),
        (None, Endpoint::Unix(_)) if settings.mode == TlsMode::VerifyIdentity => {
            return Err(TlsError::Settings(
                "verify_identity over a Unix socket needs upstream.tls.server_name",
            ));
        }
        (None, Endpoint::Unix(_)) => "localhost".to_owned(),
    };
    ServerName::try_from(name)
        .map_err(|_| TlsError::Settings("upstream.tls.server_name, or upstream.address, is no host name"))
}

fn verifier(settings: &TlsConfig, provider: &Arc<CryptoProvider>) -> Result<Verifier, TlsError> {
    let chain = match (&settings.ca, settings.mode.verifies()) {
        (Some(ca), true) => {
            let roots = read_authorities(ca)?;
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build();
            Some(chain.map_err(|error| TlsError::Rustls(error.to_string()))?)
        }
        (None, true) => return Err(TlsError::Settings("upstream.tls.ca is needed to verify the server")),
        (_, false) => None,
    };
    Ok(Verifier { chain, name: settings.mode == TlsMode::VerifyIdentity, provider: Arc::clone(provider) })
}

/// Verifies as much as the mode says; that the server has the certificate's key, always.
#[derive(Debug)]
struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        match chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The name is looked at last: everything else was good.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.name => Ok(ServerCertVerified::assertion()),
            outcome => outcome,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

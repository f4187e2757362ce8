//! Authorities and certificates made for a test, as files.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A certificate authority, and the directory that holds what it has issued.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
    /// Its own certificate (PEM).
    pub ca: PathBuf,
}

/// A certificate and its key, as two PEM files.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new authority that nobody trusts yet.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are good names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        // Each with a name of its own: authorities are looked up by name, then by key.
        let name = format!("test authority {:02x?}", &key.public_key_raw()[1..9]);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, key).expect("it signs itself");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ca = directory.path().join("ca.pem");
        write(&ca, &issuer.pem());
        Authority { issuer, directory, ca }
    }

    /// A certificate for one name (or IP address), for either end of a connection. Issued again under the
    /// same `file`, it replaces the first one.
    pub fn issue(&self, file: &str, name: &str) -> Identity {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a host name or an address");
        params.distinguished_name.push(DnType::CommonName, file);
        let pair = KeyPair::generate().expect("a key can be made");
        let signed = params.signed_by(&pair, &self.issuer).expect("the authority signs");
        let path = |kind| self.directory.path().join(format!("{file}-{kind}.pem"));
        let identity = Identity { cert: path("cert"), key: path("key") };
        write(&identity.cert, &signed.pem());
        write(&identity.key, &pair.serialize_pem());
        identity
    }
}

impl Identity {
    /// Puts another certificate and key into this one's files.
    pub fn replace_by(&self, other: &Identity) {
        for (to, from) in [(&self.cert, &other.cert), (&self.key, &other.key)] {
            write(to, &fs::read_to_string(from).expect("it was written before"));
        }
    }
}

/// Writes a file as a whole.
pub fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a temporary directory takes files");
}

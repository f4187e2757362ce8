//! The RSA step of caching_sha2_password and sha256_password: OAEP with SHA-1, as the server does it.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA1_MGF1SHA1, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;

use crate::wire::auth::Secret;

/// Encrypts a mixed password with the server's public key.
pub fn encrypt(pem: &[u8], mixed: &[u8]) -> Result<Vec<u8>, &'static str> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| "the server's key is no PEM")?;
    let key = PublicEncryptingKey::from_der(&der).map_err(|_| "the server's key is no RSA key")?;
    let key = OaepPublicEncryptingKey::new(key).map_err(|_| "the server's key cannot be used")?;
    let mut block = vec![0; key.ciphertext_size()];
    key.encrypt(&OAEP_SHA1_MGF1SHA1, mixed, &mut block, None)
        .map(|block| block.to_vec())
        .map_err(|_| "the password is too long for the server's key")
}

/// interlock's own key, for clients without TLS whose server leg is secure. It lives as long as the process,
/// so that a client that remembers it finds it again.
pub struct OwnKey {
    private: OaepPrivateDecryptingKey,
    pem: String,
}

impl OwnKey {
    /// A new key of 2048 bits. Takes some tenths of a second.
    pub fn generate() -> Result<Self, Unspecified> {
        let private = PrivateDecryptingKey::generate(KeySize::Rsa2048)?;
        let der: PublicKeyX509Der<'_> = private.public_key().as_der()?;
        let base64 = STANDARD.encode(der.as_ref());
        let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
        let mut rest = base64.as_str();
        while !rest.is_empty() {
            let (line, next) = rest.split_at(rest.len().min(64));
            pem.push_str(line);
            pem.push('\n');
            rest = next;
        }
        pem.push_str("-----END PUBLIC KEY-----\n");
        Ok(Self { private: OaepPrivateDecryptingKey::new(private)?, pem })
    }

    /// The public half.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Decrypts what a client has encrypted with the public half.
    pub fn decrypt(&self, block: &[u8]) -> Result<Secret, Unspecified> {
        let mut clear = Secret(vec![0; self.private.min_output_size()]);
        let len = self.private.decrypt(&OAEP_SHA1_MGF1SHA1, block, &mut clear.0, None)?.len();
        clear.0.truncate(len);
        Ok(clear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_encrypts_the_other_decrypts() {
        let key = OwnKey::generate().expect("a key can be made");
        let block = encrypt(key.pem().as_bytes(), b"secret\0").expect("the key is good");
        assert_eq!(key.decrypt(&block).expect("the block is whole").0, b"secret\0");
        assert!(key.decrypt(&block[1..]).is_err());
        assert!(encrypt(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", b"x").is_err());
        assert!(encrypt(b"", b"x").is_err());
    }
}

//! Who may log in to the console: names with the hashes of `mysql_native_password`.
//!
//! The hash is `SHA1(SHA1(password))`. The client sends `SHA1(password) XOR SHA1(scramble, hash)`, so neither
//! the password nor anything that could be sent again is on the wire. With no account at all everybody who can reach the port
//! may look (it is a loopback port then, the configuration sees to it), and nobody may change anything.

use std::collections::HashMap;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, digest};

/// All accounts.
#[derive(Debug, Default)]
pub struct Accounts(HashMap<String, Vec<u8>>);

/// What somebody may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Look.
    Reader,
    /// Look, and change something.
    Operator,
}

impl Accounts {
    /// From `name:*HASH`; what is written otherwise is left out (the configuration refuses it).
    pub fn new<'a>(accounts: impl IntoIterator<Item = &'a str>) -> Accounts {
        let account = |text: &str| {
            let (name, hash) = text.rsplit_once(":*")?;
            let digits = hash.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).ok());
            let bytes: Option<Vec<u8>> = digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect();
            Some((name.to_owned(), bytes?))
        };
        Accounts(accounts.into_iter().filter_map(account).collect())
    }

    /// What the user may do after this proof; `None`: nothing.
    pub(super) fn check(&self, user: &str, scramble: &[u8], proof: &[u8]) -> Option<Role> {
        if self.0.is_empty() {
            return Some(Role::Reader);
        }
        // An unknown user costs the same work.
        let hash = self.0.get(user).map_or(&[0; 20][..], |hash| hash.as_slice());
        let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
        context.update(scramble);
        context.update(hash);
        let mask = context.finish();
        let once: Vec<u8> = proof.iter().zip(mask.as_ref()).map(|(a, b)| a ^ b).collect();
        let twice = digest(&SHA1_FOR_LEGACY_USE_ONLY, &once);
        let right = verify_slices_are_equal(twice.as_ref(), hash).is_ok() && proof.len() == 20;
        (right && self.0.contains_key(user)).then_some(Role::Operator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sha1(parts: &[&[u8]]) -> Vec<u8> {
        digest(&SHA1_FOR_LEGACY_USE_ONLY, &parts.concat()).as_ref().to_vec()
    }

    #[test]
    fn a_proof_shows_that_the_password_is_known() {
        // SELECT PASSWORD('secret') of MariaDB.
        let accounts = Accounts::new(["dba:*14E65567ABDB5135D0CFD9A70B3032C179A49EE7"]);
        let scramble = [7; 20];
        let check = |user: &str, password: &[u8], role: Option<Role>| {
            let once = sha1(&[password]);
            let mask = sha1(&[&scramble, &sha1(&[&once])]);
            let proof: Vec<u8> = once.iter().zip(mask).map(|(a, b)| a ^ b).collect();
            assert_eq!(accounts.check(user, &scramble, &proof), role, "{user} {password:?}");
        };
        check("dba", b"secret", Some(Role::Operator));
        check("dba", b"Secret", None);
        check("root", b"secret", None);
        assert_eq!(accounts.check("dba", &scramble, b""), None);
        assert_eq!(Accounts::default().check("anybody", &scramble, b""), Some(Role::Reader));
    }
}

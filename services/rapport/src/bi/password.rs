//! Passwords of readers. Postgres is told the verifier of SCRAM-SHA-256 (RFC 5802, RFC 7677) and
//! never the password, which would stand in its log.

use std::num::NonZeroU32;

use anyhow::Context as _;
use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// What Postgres itself takes; the password has 192 random bits, which need no more.
const ITERATIONS: NonZeroU32 = NonZeroU32::MIN.saturating_add(4_095);

/// A random password. Never printed but where it is handed over.
pub struct Password(String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password")
    }
}

impl Password {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn random() -> anyhow::Result<Self> {
        Ok(Self(URL_SAFE_NO_PAD.encode(random::<24>()?)))
    }

    /// To be handed over.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What Postgres keeps, with a fresh salt.
    pub(super) fn verifier(&self) -> anyhow::Result<String> {
        Ok(self.verifier_with(&random::<16>()?))
    }

    fn verifier_with(&self, salt: &[u8]) -> String {
        let mut salted = [0; 32];
        let password = self.0.as_bytes();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ITERATIONS, salt, password, &mut salted);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &salted);
        let client_key = hmac::sign(&key, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let server_key = hmac::sign(&key, b"Server Key");
        format!(
            "SCRAM-SHA-256${ITERATIONS}:{}${}:{}",
            STANDARD.encode(salt),
            STANDARD.encode(stored_key),
            STANDARD.encode(server_key)
        )
    }
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).ok().context("the system has no randomness")?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7677, section 3: the server's signature of that exchange follows from the server key.
    #[test]
    fn the_verifier_is_that_of_the_standard() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("the salt");
        let verifier = Password("pencil".to_owned()).verifier_with(&salt);
        let (_, server_key) = verifier.rsplit_once(':').expect("a server key");
        let key = STANDARD.decode(server_key).expect("the key");
        let said = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), said.as_bytes());
        assert_eq!(STANDARD.encode(signature), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }
}

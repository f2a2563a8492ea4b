//! Passwords: kept as argon2id hashes (RFC 9106).
//!
//! A check takes 7 MiB and some hundredths of a second on purpose. Whose turn it is to have one is for the logins to say.

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher as _, PasswordVerifier as _, Version};
use daemon::problem::Problem;

/// OWASP's Password Storage Cheat Sheet names 7 MiB and five passes as good as 19 MiB and two: see
/// docs/adr/0006-memory.md.
const MEMORY_KIB: u32 = 7 * 1024;
const PASSES: u32 = 5;
const LANES: u32 = 1;

/// The form of a hash with nobody's password: its salt and its output are random octets. Checking against it takes
/// as long as against a real one.
const NOBODY: &str =
    "$argon2id$v=19$m=7168,t=5,p=1$jlmQISBYTSzFqxGA+4X0Pw$fG7koDyish097sqkN/xWbsAv7IP9LvWtFE8t4Np/0OM";

/// Hashes a new password.
pub(super) fn hash(password: &str) -> Result<String, Problem> {
    let problem =
        |error: &dyn std::fmt::Display| Problem::failed(format!("can't hash the password: {error}"), "");
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| problem(&error))?;
    let hashed = Argon2::new(Algorithm::Argon2id, Version::V0x13, params).hash_password(password.as_bytes());
    hashed.map(|hash: PasswordHash| hash.to_string()).map_err(|error| problem(&error))
}

/// Whether this is the password of that hash. Without a hash the answer is no, and takes as long.
pub(super) fn is_right(password: &str, hash: Option<&str>) -> bool {
    verify(password, hash.unwrap_or(NOBODY)) && hash.is_some()
}

/// With the memory and the passes that the hash was made with.
fn verify(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash)
        .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_hash_is_right_for_its_password_only() {
        let hash = hash("correct horse").unwrap();
        assert!(is_right("correct horse", Some(&hash)));
        assert!(!is_right("wrong horse", Some(&hash)));
        assert!(!is_right("correct horse", None));
    }

    #[test]
    fn hashes_made_with_other_memory_stay_good() {
        let old =
            Argon2::default().hash_password(b"correct horse").map(|hash: PasswordHash| hash.to_string());
        assert!(verify("correct horse", &old.unwrap()));
    }

    #[test]
    fn nobody_costs_as_much_as_somebody() {
        let parameters = |text: &str| PasswordHash::new(text).unwrap().params.to_string();
        assert_eq!(parameters(NOBODY), parameters(&hash("correct horse").unwrap()));
    }
}

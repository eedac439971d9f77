//! API keys: a file holds the hash of each, and whom it is for.
//!
//! A key is random and long, so that one round of SHA-256 hides it as well as any number would; what is stolen with the
//! file is not worth anything.

use std::{collections::HashMap, path::Path};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Tenant;
use crate::ConfigError;

/// The most keys of a file. All of them are compared with each that is shown.
const MAX_KEYS: usize = 10_000;

/// What keys begin with, so that scanners of repositories find those that were committed.
const PREFIX: &str = "trivium_";

/// Whom a key or a token is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Whose data it reaches.
    pub tenant: Tenant,
    /// Whether it may change what all tenants share: models and the policy.
    pub is_operator: bool,
}

/// The keys of a file.
#[derive(Debug)]
pub struct Keys(Vec<([u8; 32], Holder)>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    keys: Vec<Entry>,
}

/// A key as the file has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// What people call it. It is only for them.
    #[serde(default)]
    name: String,
    /// The SHA-256 of the key, in hexadecimal digits.
    sha256: String,
    tenant: String,
    #[serde(default)]
    operator: bool,
}

impl Keys {
    /// Reads a file.
    ///
    /// # Errors
    /// Says which entry will not do, by its place.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let bad = |why: String| ConfigError::new("keys_file", path.display(), why);
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        Self::parse(&text).map_err(bad)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Says which entry will not do, by its place, and quotes nothing.
    pub fn parse(text: &str) -> Result<Self, String> {
        // What the parser quotes may be a key that somebody wrote there instead of its hash.
        let file: File = toml::from_str(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            let line = before.map_or(0, |before| before.lines().count().max(1));
            format!("is wrong at line {line}: each [[keys]] has sha256 and tenant, and may have name and operator")
        })?;
        if file.keys.len() > MAX_KEYS {
            return Err(format!("has {} keys; the limit is {MAX_KEYS}", file.keys.len()));
        }
        let mut seen = HashMap::new();
        let mut keys = Vec::with_capacity(file.keys.len());
        for (place, entry) in (1..).zip(file.keys) {
            let hash =
                digest(&entry.sha256).ok_or_else(|| format!("key {place} has no sha256 of 64 hexadecimal digits"))?;
            let tenant =
                Tenant::named(&entry.tenant).ok_or_else(|| format!("key {place} names no tenant that can be"))?;
            if let Some(first) = seen.insert(hash, place) {
                return Err(format!("keys {first} and {place} are the same"));
            }
            keys.push((hash, Holder { tenant, is_operator: entry.operator }));
        }
        Ok(Self(keys))
    }

    /// Whom a key is for. It takes the same time whichever key it is and however much of it is right.
    pub fn holder(&self, key: &str) -> Option<&Holder> {
        let shown: [u8; 32] = Sha256::digest(key).into();
        let mut found = None;
        for (hash, holder) in &self.0 {
            if bool::from(hash.ct_eq(&shown)) {
                found = Some(holder);
            }
        }
        found
    }
}

fn digest(digits: &str) -> Option<[u8; 32]> {
    if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 32];
    for (place, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(hash)
}

/// A new key, and its entry for the file.
pub struct NewKey {
    /// The key, which nothing keeps.
    pub key: String,
    /// What goes into the file.
    pub entry: String,
}

/// Makes a key with 244 random bits.
///
/// # Errors
/// When the tenant cannot have that name.
pub fn new_key(name: &str, tenant: &str, operator: bool) -> Result<NewKey, ConfigError> {
    let Some(tenant) = Tenant::named(tenant) else {
        let why = "must be 1 to 63 lower-case letters, digits and \"-\", beginning with a letter or digit";
        return Err(ConfigError::new("tenant", tenant, why));
    };
    let key = format!("{PREFIX}{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
    let sha256 = Sha256::digest(&key).iter().map(|byte| format!("{byte:02x}")).collect();
    let entry = Entry { name: name.to_owned(), sha256, tenant: tenant.name().to_owned(), operator };
    let entry = toml::to_string(&entry).map_err(|error| ConfigError::new("name", name, error.to_string()))?;
    Ok(NewKey { key, entry: format!("[[keys]]\n{entry}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Keys, ConfigError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("written");
        Keys::read(file.path())
    }

    #[test]
    fn a_key_is_found_by_its_hash_and_by_nothing_else() {
        let (acme, other) = (new_key("a", "acme", false).expect("made"), new_key("b", "other", true).expect("made"));
        assert_ne!(acme.key, other.key);
        assert!(!acme.entry.contains(&acme.key[PREFIX.len()..]));
        let keys = read(&format!("{}\n{}", acme.entry, other.entry)).expect("right");
        let holder = keys.holder(&acme.key).expect("found");
        assert_eq!((holder.tenant.name(), holder.is_operator), ("acme", false));
        let holder = keys.holder(&other.key).expect("found");
        assert_eq!((holder.tenant.name(), holder.is_operator), ("other", true));
        for wrong in ["", PREFIX, &acme.key[1..], &format!("{}0", acme.key), &acme.key.to_uppercase()] {
            assert!(keys.holder(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_is_refused_and_not_quoted() {
        let hash = "0".repeat(64);
        let entry = format!("[[keys]]\nsha256 = \"{hash}\"\ntenant = \"a\"\n");
        let table = [
            ("[[keys]]\nkey = \"MARKER\"\n".to_owned(), "line"),
            ("MARKER".to_owned(), "line 1"),
            ("[[keys]]\nsha256 = \"MARKER\"\ntenant = \"a\"\n".to_owned(), "key 1 has no sha256"),
            (entry.replace("\"a\"", "\"MARKER\""), "key 1 names no tenant"),
            (format!("{entry}{entry}"), "keys 1 and 2 are the same"),
        ];
        for (text, expected) in table {
            let said = read(&text).expect_err(&text).to_string();
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains("MARKER"), "{said}");
        }
        assert!(read("").expect("a file without keys lets nobody in").holder("").is_none());
    }
}

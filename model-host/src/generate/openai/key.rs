//! The key that a server asks for: where it lives, and how it is kept out of sight.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

use fs_err as fs;
use reqwest::header::HeaderValue;
use trivium_service_kit::ConfigError;

use super::OpenAiOptions;

/// The longest file that is taken for a key, in bytes.
const LONGEST_KEY_BYTES: u64 = 16 << 10;

/// The key of one server.
pub(super) enum Key {
    /// The server wants none.
    None,
    /// Read from the environment, which does not change while the process runs.
    Fixed(HeaderValue),
    /// Kept in a file that may be replaced at any time.
    File { path: PathBuf, last: Mutex<HeaderValue> },
}

impl Key {
    /// Reads the key for the first time.
    ///
    /// # Errors
    /// When it is not there, or could be no header.
    pub(super) fn read(options: &OpenAiOptions) -> Result<Self, ConfigError> {
        match (&options.api_key_env, &options.api_key_file) {
            (Some(variable), _) => std::env::var(variable)
                .map_err(|error| error.to_string())
                .and_then(|secret| header(&secret))
                .map(Self::Fixed)
                .map_err(|why| unusable_variable(variable, why)),
            (None, Some(path)) => file(path)
                .map(|header| Self::File { path: path.clone(), last: Mutex::new(header) })
                .map_err(|why| ConfigError::new("api_key_file", path.display(), why)),
            (None, None) => Ok(Self::None),
        }
    }

    /// The value of the `Authorization` header as of now. A file that cannot be read any
    /// more is in the middle of being replaced, or gone: the key that it held last is used,
    /// and the server decides. Reads a small file: call it where blocking is allowed.
    pub(super) fn current(&self, generator: &str) -> Option<HeaderValue> {
        match self {
            Self::None => None,
            Self::Fixed(header) => Some(header.clone()),
            Self::File { path, last } => {
                // The lock is held for a copy only, so no panic can poison it half-way.
                let mut last = last.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                match file(path) {
                    Ok(header) => *last = header,
                    Err(error) => tracing::warn!(generator, error, "key file cannot be read: the last key is used"),
                }
                Some(last.clone())
            }
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::None => "none",
            Self::Fixed(_) | Self::File { .. } => "set",
        })
    }
}

/// Some write the key itself where its variable should be named. What does not look like such a name is not repeated.
fn unusable_variable(variable: &str, why: String) -> ConfigError {
    let is_name = variable.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_');
    if is_name {
        return ConfigError::new("api_key_env", variable, why);
    }
    ConfigError::new(
        "api_key_env",
        "",
        format!("the variable that it names cannot be used: {why}; it holds no key itself"),
    )
}

fn file(path: &PathBuf) -> Result<HeaderValue, String> {
    let bytes = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if bytes > LONGEST_KEY_BYTES {
        return Err(format!("has {bytes} bytes, which is no key"));
    }
    header(&fs::read_to_string(path).map_err(|error| error.to_string())?)
}

fn header(secret: &str) -> Result<HeaderValue, String> {
    let secret = secret.trim();
    if secret.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {secret}"))
        .map_err(|_| "holds characters that no header may have".to_owned())?;
    // Keeps the key out of every debug print of the request.
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_file(path: PathBuf) -> Result<Key, ConfigError> {
        Key::read(&OpenAiOptions { api_key_file: Some(path), ..OpenAiOptions::default() })
    }

    #[test]
    fn a_key_is_never_printed_and_may_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        fs::write(&path, "s3cret\n").unwrap();
        let key = from_file(path.clone()).unwrap();
        let header = key.current("gpt").unwrap();
        assert_eq!(header, "Bearer s3cret");
        assert!(!format!("{key:?} {header:?}").contains("s3cret"));
        fs::write(&path, "another").unwrap();
        assert_eq!(key.current("gpt").unwrap(), "Bearer another");
        for unusable in ["", "a\nb"] {
            fs::write(&path, unusable).unwrap();
            assert_eq!(key.current("gpt").unwrap(), "Bearer another");
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(key.current("gpt").unwrap(), "Bearer another");
    }

    #[test]
    fn a_key_that_cannot_be_had_is_an_error_without_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        for (content, why) in [("", "empty"), ("se\ncret", "no header"), (&"x".repeat(17 << 10), "no key")] {
            fs::write(&path, content).unwrap();
            let error = from_file(path.clone()).unwrap_err();
            assert_eq!(error.key, "api_key_file");
            assert!(error.why.contains(why) && !error.to_string().contains("cret"), "{error}");
        }
        assert_eq!(from_file(folder.path().join("absent")).unwrap_err().key, "api_key_file");
        let absent = OpenAiOptions { api_key_env: Some("TRIVIUM_NO_SUCH_KEY".to_owned()), ..OpenAiOptions::default() };
        let error = Key::read(&absent).unwrap_err();
        assert_eq!((error.key.as_str(), error.value.as_str()), ("api_key_env", "TRIVIUM_NO_SUCH_KEY"));
        let pasted = OpenAiOptions { api_key_env: Some("sk-s3cret".to_owned()), ..OpenAiOptions::default() };
        let error = Key::read(&pasted).unwrap_err();
        assert_eq!(error.key, "api_key_env");
        assert!(!error.to_string().contains("s3cret"), "{error}");
    }
}

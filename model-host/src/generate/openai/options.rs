//! How a language model's server is configured.

use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use serde::{Deserialize, Serialize};
use trivium_service_kit::ConfigError;
use trivium_service_kit::config::at_least;

/// One configured server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpenAiOptions {
    /// Where the protocol's paths begin, for instance `http://127.0.0.1:11434/v1`.
    pub base_url: String,
    /// The model to ask for.
    pub model: String,
    /// The environment variable that holds the key, if the server wants one. It is read
    /// once, at the start.
    pub api_key_env: Option<String>,
    /// The file that holds the key, if the server wants one. It is read anew for each
    /// answer, so a key may be replaced without a restart.
    pub api_key_file: Option<PathBuf>,
    /// The prompt for requests that name none, a key of `model_host.prompts`. Unset means
    /// the built-in one.
    pub prompt: Option<String>,
    /// The most tokens of a prompt, as [`crate::generate::estimated_tokens`] counts them.
    /// Passages that do not fit are left out, the last ones first.
    pub max_prompt_tokens: usize,
    /// The most tokens to write, unless the request asks for fewer.
    pub max_output_tokens: u32,
    /// The longest answer, in bytes of the server's events. A server that sends more is
    /// not sending an answer.
    pub max_response_bytes: usize,
    /// How freely the model chooses its words, 0 to 2.
    pub temperature: f32,
    /// How long a connection may take, in milliseconds.
    pub connect_timeout_ms: u64,
    /// How long the first token may take once the connection stands, in milliseconds. The
    /// model reads the whole prompt in this time.
    pub first_token_timeout_ms: u64,
    /// How long the server may be silent after its first token, in milliseconds.
    pub idle_timeout_ms: u64,
    /// How long an answer may take with all retries, in milliseconds.
    pub total_timeout_ms: u64,
    /// How often a request that failed before its first token is sent again.
    pub max_retries: u32,
    /// The pause before the first retry, in milliseconds. It doubles with each, and a
    /// random part of up to one half is taken off.
    pub retry_backoff_ms: u64,
}

impl Default for OpenAiOptions {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            model: String::new(),
            api_key_env: None,
            api_key_file: None,
            prompt: None,
            max_prompt_tokens: 6_000,
            max_output_tokens: 512,
            max_response_bytes: 4 << 20,
            temperature: 0.1,
            connect_timeout_ms: 2_000,
            first_token_timeout_ms: 30_000,
            idle_timeout_ms: 15_000,
            total_timeout_ms: 120_000,
            max_retries: 2,
            retry_backoff_ms: 250,
        }
    }
}

impl OpenAiOptions {
    /// Checks what can be checked without reaching for files or servers.
    ///
    /// # Errors
    /// Names the key, its value and why.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.completions_url()?;
        if self.model.is_empty() {
            return Err(ConfigError::new("model", "", "must name the model to ask for"));
        }
        if self.api_key_env.is_some() && self.api_key_file.is_some() {
            return Err(ConfigError::new("api_key_file", "", "only one of api_key_env and api_key_file may be set"));
        }
        if !(0.0..=2.0).contains(&self.temperature) {
            return Err(ConfigError::new("temperature", self.temperature, "must be 0 to 2"));
        }
        if self.max_retries > MOST_RETRIES {
            return Err(ConfigError::new("max_retries", self.max_retries, format!("must be at most {MOST_RETRIES}")));
        }
        at_least("max_prompt_tokens", self.max_prompt_tokens, 64)?;
        at_least("max_output_tokens", self.max_output_tokens, 1)?;
        at_least("max_response_bytes", self.max_response_bytes, 1 << 10)?;
        for (key, value) in [
            ("connect_timeout_ms", self.connect_timeout_ms),
            ("first_token_timeout_ms", self.first_token_timeout_ms),
            ("idle_timeout_ms", self.idle_timeout_ms),
            ("total_timeout_ms", self.total_timeout_ms),
            ("retry_backoff_ms", self.retry_backoff_ms),
        ] {
            at_least(key, value, 1)?;
        }
        Ok(())
    }

    pub(super) fn completions_url(&self) -> Result<Url, ConfigError> {
        // Credentials belong to the key's place: a URL is printed and logged.
        let bad = |why: String| ConfigError::new("base_url", shown(&self.base_url), why);
        let url = format!("{}/chat/completions", self.base_url.trim_end_matches('/'));
        let url = Url::parse(&url).map_err(|error| bad(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad("must begin with http:// or https://".to_owned()));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("must not hold credentials; use api_key_env or api_key_file".to_owned()));
        }
        Ok(url)
    }

    pub(super) fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn first_token_timeout(&self) -> Duration {
        Duration::from_millis(self.first_token_timeout_ms)
    }

    pub(super) fn idle_timeout(&self) -> Duration {
        Duration::from_millis(self.idle_timeout_ms)
    }

    pub(super) fn total_timeout(&self) -> Duration {
        Duration::from_millis(self.total_timeout_ms)
    }
}

/// More would hammer a server that is down.
const MOST_RETRIES: u32 = 10;

/// A URL as it may be printed: without what stands between the scheme and the host.
fn shown(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> OpenAiOptions {
        OpenAiOptions {
            base_url: "http://127.0.0.1:1/v1/".to_owned(),
            model: "m".to_owned(),
            ..OpenAiOptions::default()
        }
    }

    #[test]
    fn bad_options_are_named() {
        assert_eq!(options().validate(), Ok(()));
        assert_eq!(options().completions_url().unwrap().as_str(), "http://127.0.0.1:1/v1/chat/completions");
        type Change = fn(&mut OpenAiOptions);
        let table: [(Change, &str); 13] = [
            (|o| o.base_url = "ftp://host".to_owned(), "base_url"),
            (|o| o.base_url = "http://me:secret@host/v1".to_owned(), "base_url"),
            (|o| o.base_url.clear(), "base_url"),
            (|o| o.model.clear(), "model"),
            (|o| o.temperature = f32::NAN, "temperature"),
            (|o| o.idle_timeout_ms = 0, "idle_timeout_ms"),
            (|o| o.first_token_timeout_ms = 0, "first_token_timeout_ms"),
            (|o| o.total_timeout_ms = 0, "total_timeout_ms"),
            (|o| o.retry_backoff_ms = 0, "retry_backoff_ms"),
            (|o| o.max_retries = 11, "max_retries"),
            (|o| o.max_prompt_tokens = 63, "max_prompt_tokens"),
            (|o| o.max_response_bytes = 1023, "max_response_bytes"),
            (
                |o| {
                    o.api_key_env = Some("A".to_owned());
                    o.api_key_file = Some("b".into());
                },
                "api_key_file",
            ),
        ];
        for (change, key) in table {
            let mut options = options();
            change(&mut options);
            let error = options.validate().unwrap_err();
            assert_eq!(error.key, key);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}

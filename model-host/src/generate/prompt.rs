//! What a language model is told: templates, filled with the query and as many passages as
//! fit.

mod fit;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;

use fs_err as fs;
use serde::{Deserialize, Serialize};
use trivium_service_kit::ConfigError;

use self::template::{Template, TemplateError};
use super::{Passage, Request};

pub use fit::estimated_tokens;

/// The name of the prompt that is used where none is named. Configuring a prompt of this
/// name replaces it.
const BUILT_IN: &str = "default";

const SYSTEM: &str = include_str!("prompt/system.jinja");
const USER: &str = include_str!("prompt/user.jinja");

/// One configured prompt: two templates in the language of Jinja. What is left out is that
/// of the built-in prompt; an empty system template sends no system message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptOptions {
    /// The system message.
    pub system: Option<String>,
    /// The file that holds it.
    pub system_file: Option<PathBuf>,
    /// The user's message.
    pub user: Option<String>,
    /// The file that holds it.
    pub user_file: Option<PathBuf>,
}

impl PromptOptions {
    /// Checks what can be checked without reading files.
    ///
    /// # Errors
    /// Names the key, and the line of a template that is wrong.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, inline, file) in self.parts() {
            if inline.is_some() && file.is_some() {
                let why = format!("only one of {key} and {key}_file may be set");
                return Err(ConfigError::new(format!("{key}_file"), "", why));
            }
            if let Some(text) = inline {
                Template::new(text).map_err(|error| bad_template(key, &error))?;
            }
        }
        Ok(())
    }

    fn parts(&self) -> [(&'static str, Option<&String>, Option<&PathBuf>); 2] {
        [
            ("system", self.system.as_ref(), self.system_file.as_ref()),
            ("user", self.user.as_ref(), self.user_file.as_ref()),
        ]
    }
}

/// The compiled prompts, by name.
#[derive(Debug)]
pub struct Prompts {
    prompts: BTreeMap<String, Prompt>,
}

#[derive(Debug)]
struct Prompt {
    system: Template,
    user: Template,
}

/// One message to a language model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// `system` or `user`.
    pub(super) role: &'static str,
    pub(super) content: String,
}

/// A prompt that fits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) messages: Vec<Message>,
    /// The passages in the prompt, as far as they are in it.
    pub(super) passages: Vec<Passage>,
    /// Numbers of the passages that did not fit.
    pub(super) left_out: Vec<u32>,
    /// Numbers of the passages whose text was cut.
    pub(super) cut: Vec<u32>,
}

/// Why a prompt cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Without any passage it is already too long.
    #[error("without any passage the prompt takes about {tokens} tokens; max_prompt_tokens is {limit}")]
    TooLong {
        /// What it takes, estimated.
        tokens: usize,
        /// The generator's limit.
        limit: usize,
    },
    /// A template fails on this request.
    #[error("the prompt {prompt:?} cannot be written: {why}")]
    Template {
        /// The prompt's name.
        prompt: String,
        /// The line, and what is wrong with it.
        why: String,
    },
}

impl Prompts {
    /// The built-in prompt alone.
    pub fn built_in() -> Self {
        let compiled = |text| Template::new(text).expect("the built-in templates are checked by a test");
        let prompt = Prompt { system: compiled(SYSTEM), user: compiled(USER) };
        Self { prompts: BTreeMap::from([(BUILT_IN.to_owned(), prompt)]) }
    }

    /// The built-in prompt and the configured ones. Reads the files that hold templates.
    ///
    /// # Errors
    /// Names the key, relative to `prompts`, and the line of a template that is wrong.
    pub fn load(configured: &BTreeMap<String, PromptOptions>) -> Result<Self, ConfigError> {
        let mut all = Self::built_in();
        for (name, options) in configured {
            options.validate().map_err(|error| error.within(name))?;
            let [system, user] = options.parts().map(|(key, inline, file)| {
                let built_in = if key == "system" { SYSTEM } else { USER };
                compile(key, inline, file, built_in).map_err(|error| error.within(name))
            });
            all.prompts.insert(name.clone(), Prompt { system: system?, user: user? });
        }
        Ok(all)
    }

    /// Whether there is a prompt of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.prompts.contains_key(name)
    }

    /// The names, for people.
    pub fn names(&self) -> String {
        self.prompts.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Writes the messages of a request within `max_tokens`: the last passages are left out
    /// first, and the text of the only one that is left is cut. `name` must be known; without
    /// one the built-in prompt is used.
    pub(super) fn prepare(
        &self,
        name: Option<&str>,
        request: &Request,
        max_tokens: usize,
    ) -> Result<Prepared, PromptError> {
        let name = name.unwrap_or(BUILT_IN);
        let failed = |why: String| PromptError::Template { prompt: name.to_owned(), why };
        let prompt = self.prompts.get(name).ok_or_else(|| failed(format!("there are {}", self.names())))?;
        let write =
            |passages: &[Passage]| prompt.messages(&request.query, passages).map_err(|error| failed(error.to_string()));
        fit::fit(&request.passages, max_tokens, write)
    }
}

impl Prompt {
    fn messages(&self, query: &str, passages: &[Passage]) -> Result<Vec<Message>, TemplateError> {
        let message = |role, template: &Template| -> Result<Message, TemplateError> {
            let content = template.render(query, passages)?.trim().to_owned();
            Ok(Message { role, content })
        };
        let (system, user) = (message("system", &self.system)?, message("user", &self.user)?);
        Ok([system, user].into_iter().filter(|message| !message.content.is_empty()).collect())
    }
}

fn compile(
    key: &'static str,
    inline: Option<&String>,
    file: Option<&PathBuf>,
    built_in: &str,
) -> Result<Template, ConfigError> {
    match (inline, file) {
        (Some(text), _) => Template::new(text).map_err(|error| bad_template(key, &error)),
        (None, Some(path)) => {
            let bad = |why: String| ConfigError::new(format!("{key}_file"), path.display(), why);
            let text = fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
            Template::new(&text).map_err(|error| bad(error.to_string()))
        }
        (None, None) => Template::new(built_in).map_err(|error| bad_template(key, &error)),
    }
}

fn bad_template(key: &str, error: &TemplateError) -> ConfigError {
    ConfigError::new(key, "", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(number: u32, text: &str) -> Passage {
        Passage { number, title: "T".to_owned(), uri: "doc".to_owned(), text: text.to_owned() }
    }

    fn request(passages: Vec<Passage>) -> Request {
        Request {
            query: "why {{ not }}?".to_owned(),
            passages,
            prompt: None,
            max_output_tokens: None,
            deadline: None,
            span: tracing::Span::none(),
        }
    }

    fn options(system: &str, user: &str) -> PromptOptions {
        PromptOptions { system: Some(system.to_owned()), user: Some(user.to_owned()), ..PromptOptions::default() }
    }

    #[test]
    fn passages_are_numbered_as_given_and_what_they_say_is_no_template() {
        let request = request(vec![passage(4, "four {{ 1 + 1 }}"), passage(2, "two")]);
        let prepared = Prompts::built_in().prepare(None, &request, 1000).unwrap();
        let [system, user] = &prepared.messages[..] else { panic!("{prepared:?}") };
        assert_eq!((system.role, user.role), ("system", "user"));
        let parts = ["[4] T", "four {{ 1 + 1 }}", "[2] T", "two", "why {{ not }}?"];
        let places: Vec<usize> = parts.map(|part| user.content.find(part).expect(part)).to_vec();
        assert!(places.is_sorted(), "{}", user.content);
        assert_eq!((prepared.passages.len(), prepared.left_out.len()), (2, 0));
    }

    #[test]
    fn without_passages_none_are_mentioned() {
        let prepared = Prompts::built_in().prepare(None, &request(Vec::new()), 1000).unwrap();
        assert_eq!(prepared.messages[1].content, "why {{ not }}?");
        assert!(!prepared.messages[0].content.contains("passage"));
    }

    #[test]
    fn prompts_are_chosen_by_name_and_replace_the_built_in_one() {
        let user = "{% for p in passages %}{{ p.number }}:{{ p.uri }} {% endfor %}{{ query }}";
        let configured =
            BTreeMap::from([("support".to_owned(), options("", user)), ("default".to_owned(), options("s", "u"))]);
        let prompts = Prompts::load(&configured).unwrap();
        assert_eq!(prompts.names(), "default, support");
        let request = request(vec![passage(3, "x")]);
        let prepared = prompts.prepare(Some("support"), &request, 1000).unwrap();
        let only = Message { role: "user", content: "3:doc why {{ not }}?".to_owned() };
        assert_eq!(prepared.messages, [only]);
        assert_eq!(prompts.prepare(None, &request, 1000).unwrap().messages[1].content, "u");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let table = [
            (options("x\n{% for p in %}", ""), "support.system", "line 2"),
            (options("", "\n\n{{ passage }}"), "support.user", "passage"),
            (options("", "{% for p in passages %}{{ p.txet }}{% endfor %}"), "support.user", "line 1"),
            (options("", "{{ passages[0].text }}"), "support.user", "line 1"),
            (
                PromptOptions { user_file: Some("/nonexistent".into()), ..PromptOptions::default() },
                "support.user_file",
                "",
            ),
            (PromptOptions { user_file: Some("x".into()), ..options("", "") }, "support.user_file", "only one"),
        ];
        for (options, key, why) in table {
            let error = Prompts::load(&BTreeMap::from([("support".to_owned(), options)])).unwrap_err();
            assert_eq!(error.key, key);
            assert!(error.why.contains(why), "{error}");
        }
    }

    #[test]
    fn templates_may_live_in_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("user.jinja");
        fs::write(&path, "Frage: {{ query }}").unwrap();
        let options = PromptOptions { user_file: Some(path), ..PromptOptions::default() };
        let prompts = Prompts::load(&BTreeMap::from([("german".to_owned(), options)])).unwrap();
        let prepared = prompts.prepare(Some("german"), &request(Vec::new()), 1000).unwrap();
        assert_eq!(prepared.messages[1].content, "Frage: why {{ not }}?");
    }
}

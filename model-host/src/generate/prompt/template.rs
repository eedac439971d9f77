//! One template. Strict: a variable that does not exist is a mistake, and is found when the
//! template is read.

use std::collections::BTreeSet;
use std::sync::Arc;

use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value, context};

use super::super::Passage;

/// The variables that templates have.
const VARIABLES: [&str; 2] = ["passages", "query"];

/// The steps that one rendering may take. A loop over the most passages of a request, with a
/// dozen expressions for each, takes about a thousand.
const MOST_STEPS: u64 = 100_000;

/// The only template of an environment.
const NAME: &str = "template";

/// A template that was read and tried.
#[derive(Clone, Debug)]
pub(super) struct Template {
    environment: Arc<Environment<'static>>,
}

/// Why a template is refused, or fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TemplateError {
    #[error("it uses {name}, which there is not; there are {}", VARIABLES.join(" and "))]
    Unknown { name: String },
    #[error("line {line}: {why}")]
    Wrong { line: usize, why: String },
}

impl Template {
    /// Reads a template, and tries it with and without passages.
    ///
    /// # Errors
    /// With the line, when it cannot be read or fails; with the name, when it uses a variable
    /// that does not exist, even where the trial does not come by.
    pub(super) fn new(text: &str) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(MOST_STEPS));
        environment.add_template_owned(NAME, text.to_owned()).map_err(|error| wrong(&error))?;
        refuse_unknown_variables(&environment)?;
        let template = Self { environment: Arc::new(environment) };
        let passage =
            |number| Passage { number, title: "title".to_owned(), uri: "uri".to_owned(), text: "text".to_owned() };
        for passages in [&[][..], &[passage(1), passage(2)]] {
            template.render("query", passages)?;
        }
        Ok(template)
    }

    /// Fills the template in.
    ///
    /// # Errors
    /// With the line, when it fails on these values.
    pub(super) fn render(&self, query: &str, passages: &[Passage]) -> Result<String, TemplateError> {
        let shown: Vec<Value> = passages
            .iter()
            .map(|passage| {
                let (title, uri, text) = (passage.title.as_str(), passage.uri.as_str(), passage.text.as_str());
                context! { number => passage.number, title, uri, text }
            })
            .collect();
        let variables = context! { query, passages => shown };
        let template = self.environment.get_template(NAME).map_err(|error| wrong(&error))?;
        template.render(variables).map_err(|error| wrong(&error))
    }
}

fn refuse_unknown_variables(environment: &Environment<'_>) -> Result<(), TemplateError> {
    let template = environment.get_template(NAME).map_err(|error| wrong(&error))?;
    let globals: BTreeSet<&str> = environment.globals().map(|(name, _)| name).collect();
    // Sorted, so that the same template is always refused for the same name.
    let used: BTreeSet<String> = template.undeclared_variables(false).into_iter().collect();
    let is_known = |name: &str| VARIABLES.contains(&name) || globals.contains(name);
    match used.into_iter().find(|name| !is_known(name)) {
        Some(name) => Err(TemplateError::Unknown { name }),
        None => Ok(()),
    }
}

/// The engine's error without its content: `detail` speaks of the template alone.
fn wrong(error: &Error) -> TemplateError {
    let why = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    TemplateError::Wrong { line: error.line().unwrap_or(1), why }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_that_never_ends_is_refused() {
        let text = "{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}";
        let error = Template::new(text).unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn names_are_checked_where_the_trial_does_not_come_by() {
        let unknown = |name: &str| TemplateError::Unknown { name: name.to_owned() };
        assert_eq!(Template::new("{% if query == 'x' %}{{ langauge }}{% endif %}").unwrap_err(), unknown("langauge"));
        assert!(Template::new("{% set n = passages | length %}{{ n }} {{ range(2) | length }}").is_ok());
    }

    #[test]
    fn nothing_is_escaped() {
        let text = Template::new("{{ query }}").unwrap().render("<b> & \"c\"", &[]);
        assert_eq!(text.as_deref(), Ok("<b> & \"c\""));
    }
}

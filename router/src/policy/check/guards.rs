//! The guards of a policy.

use toml::Spanned;

use super::Checker;
use crate::policy::{
    PolicyError,
    file::{self, GuardHead},
    guard::{Condition, Guard, Language, MAX_GUARDS, Pattern},
    step::Settings,
};

/// The longest name of a guard, in bytes.
const MAX_NAME_BYTES: usize = 63;

impl Checker<'_> {
    pub(super) fn guards(
        &self,
        sections: Vec<Spanned<file::Guard>>,
        defaults: &Settings,
    ) -> Result<Vec<Guard>, PolicyError> {
        if let Some(extra) = sections.get(MAX_GUARDS) {
            return self
                .refuse(extra.span(), format!("there are {} guards; the limit is {MAX_GUARDS}", sections.len()));
        }
        let mut guards: Vec<Guard> = Vec::with_capacity(sections.len());
        for section in sections {
            let guard = self.guard(section, defaults, &guards)?;
            guards.push(guard);
        }
        Ok(guards)
    }

    fn guard(
        &self,
        section: Spanned<file::Guard>,
        defaults: &Settings,
        before: &[Guard],
    ) -> Result<Guard, PolicyError> {
        let span = section.span();
        let (head, section) = section.into_inner().split();
        let Some(name) = &head.name else {
            return self.refuse(span, "the guard has no `name`, which decisions tell it by");
        };
        self.check_name(name, before)?;
        let conditions = self.conditions(&head)?;
        if conditions.is_empty() {
            let why = "the guard has no condition: `regex`, `quoted`, `identifier` or `language`";
            return self.refuse(name.span(), why);
        }
        let action = self.rule(&section, &name.span(), defaults)?.action;
        Ok(Guard { name: name.get_ref().clone(), conditions, action })
    }

    fn check_name(&self, name: &Spanned<String>, before: &[Guard]) -> Result<(), PolicyError> {
        let text = name.get_ref();
        if text.trim().is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) {
            let why = format!("the name of a guard has 1 to {MAX_NAME_BYTES} bytes, and no control characters");
            return self.refuse(name.span(), why);
        }
        match before.iter().any(|guard| guard.name == *text) {
            true => self.refuse(name.span(), format!("two guards are named {text:?}")),
            false => Ok(()),
        }
    }

    fn conditions(&self, head: &GuardHead) -> Result<Vec<Condition>, PolicyError> {
        let mut conditions = Vec::new();
        if self.wants("quoted", head.quoted.as_ref())? {
            conditions.push(Condition::Quoted);
        }
        if self.wants("identifier", head.identifier.as_ref())? {
            conditions.push(Condition::Identifier);
        }
        if let Some(expression) = &head.regex {
            conditions.push(Condition::Pattern(self.pattern(expression)?));
        }
        // The dearest comes last: the others may spare it.
        if let Some(codes) = &head.language {
            conditions.push(Condition::Language(self.languages(codes)?));
        }
        Ok(conditions)
    }

    /// A condition can be asked for, and not be asked against.
    fn wants(&self, key: &str, value: Option<&Spanned<bool>>) -> Result<bool, PolicyError> {
        match value {
            None => Ok(false),
            Some(value) if *value.get_ref() => Ok(true),
            Some(value) => self.refuse(value.span(), format!("`{key}` can only be true; remove it")),
        }
    }

    fn pattern(&self, expression: &Spanned<String>) -> Result<Pattern, PolicyError> {
        if expression.get_ref().is_empty() {
            return self.refuse(expression.span(), "`regex` is empty, and would match every query");
        }
        match Pattern::new(expression.get_ref()) {
            Ok(pattern) => Ok(pattern),
            Err(why) => self.refuse(expression.span(), format!("`regex` is no regular expression: {why}")),
        }
    }

    fn languages(&self, codes: &Spanned<Vec<String>>) -> Result<Vec<Language>, PolicyError> {
        if codes.get_ref().is_empty() {
            return self.refuse(codes.span(), "`language` names none");
        }
        let mut languages = Vec::new();
        for code in codes.get_ref() {
            let Some(language) = Language::of(code) else {
                let known: Vec<_> = Language::all().collect();
                let why = format!("{code:?} is no language that can be told; these can: {}", known.join(" "));
                return self.refuse(codes.span(), why);
            };
            languages.push(language);
        }
        Ok(languages)
    }
}

#[cfg(test)]
mod tests {
    use crate::policy::{Policy, Position};

    #[test]
    fn what_is_wrong_with_a_guard_is_named_with_its_place() {
        let table = [
            ("identifier = true\nroute = \"lexical\"", (2, 1), "no `name`"),
            ("name = \"\"\nidentifier = true\nroute = \"lexical\"", (3, 8), "1 to 63 bytes"),
            ("name = \"a\"\nroute = \"lexical\"", (3, 8), "no condition"),
            ("name = \"a\"\nidentifier = true", (3, 8), "no `route`"),
            ("name = \"a\"\nquoted = false\nroute = \"lexical\"", (4, 10), "can only be true"),
            ("name = \"a\"\nregex = \"\"\nroute = \"lexical\"", (4, 9), "match every query"),
            ("name = \"a\"\nregex = \"(x\"\nroute = \"lexical\"", (4, 9), "unclosed group"),
            ("name = \"a\"\nregex = \"x{9999}{9999}\"\nroute = \"lexical\"", (4, 9), "size limit"),
            ("name = \"a\"\nlanguage = []\nroute = \"lexical\"", (4, 12), "names none"),
            ("name = \"a\"\nlanguage = [\"xx\"]\nroute = \"lexical\"", (4, 12), "no language"),
            ("name = \"a\"\nquoted = true\nthreshold = 0.5\nroute = \"lexical\"", (5, 1), "threshold"),
            ("name = \"a\"\nquoted = true\nroute = \"lexical\"\nreply = \"x\"", (6, 9), "no effect"),
            ("name = \"a\"\nquoted = true\nroute = \"reply\"", (5, 9), "needs its text"),
        ];
        for (guard, (line, column), why) in table {
            let text = format!("version = 1\n[[guards]]\n{guard}\n");
            let error = Policy::parse(&text, &["docs".to_owned()]).expect_err(guard);
            assert!(error.why.contains(why), "{guard}\n{error}");
            assert_eq!(error.at, Position { line, column }, "{guard}\n{error}");
        }
    }

    #[test]
    fn a_name_stands_for_one_guard() {
        let guard = "[[guards]]\nname = \"a\"\nquoted = true\nroute = \"lexical\"\n";
        let error = Policy::parse(&format!("version = 1\n{guard}{guard}"), &["docs".to_owned()]).expect_err("twice");
        assert_eq!((error.at, error.why.as_str()), (Position { line: 7, column: 8 }, "two guards are named \"a\""));
    }

    #[test]
    fn guards_are_limited() {
        let guards: String = (0..65)
            .map(|number| format!("[[guards]]\nname = \"g{number}\"\nquoted = true\nroute = \"lexical\"\n"))
            .collect();
        let error = Policy::parse(&format!("version = 1\n{guards}"), &["docs".to_owned()]).expect_err("too many");
        assert!(error.why.contains("the limit is 64"), "{error}");
    }
}

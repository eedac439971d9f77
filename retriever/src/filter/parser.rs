//! From tokens to a typed tree.
//!
//! The parser calls itself for each level of nesting, and refuses a level too many before it calls, so that no filter
//! can exhaust the stack.

use super::field::known_names;
use super::lexer::{Lexer, Spanned, Token, shortened};
use super::{Comparison, Condition, Field, Filter, FilterError, Scalar, Test, literal};
use super::{MAX_COMPARISONS, MAX_FILTER_BYTES, MAX_FILTER_DEPTH};
use crate::metadata::{MetadataField, MetadataType};

const KEYWORDS: [&str; 9] = ["AND", "OR", "NOT", "IN", "HAS", "IS", "NULL", "TRUE", "FALSE"];
const COMPARISONS: [(&str, Comparison); 6] = [
    ("=", Comparison::Equal),
    ("!=", Comparison::NotEqual),
    ("<", Comparison::Less),
    ("<=", Comparison::LessOrEqual),
    (">", Comparison::Greater),
    (">=", Comparison::GreaterOrEqual),
];

/// Parses a whole filter.
pub(super) fn parse(text: &str, fields: &[MetadataField]) -> Result<Filter, FilterError> {
    if text.len() > MAX_FILTER_BYTES {
        return Err(FilterError::TooLong { bytes: text.len() });
    }
    let mut lexer = Lexer::new(text);
    let current = lexer.next()?;
    let mut parser = Parser { lexer, current, fields, comparisons: 0 };
    let filter = parser.any(0)?;
    match parser.current.token {
        Token::End => Ok(filter),
        _ => Err(parser.expected("AND, OR or the end")),
    }
}

/// Whether a name has to stand between backticks.
pub(super) fn is_keyword(name: &str) -> bool {
    KEYWORDS.iter().any(|keyword| keyword.eq_ignore_ascii_case(name))
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token that is looked at.
    current: Spanned<'a>,
    fields: &'a [MetadataField],
    comparisons: usize,
}

impl<'a> Parser<'a> {
    /// Parts with OR between them.
    fn any(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_keyword("OR")? {
            parts.push(self.all(depth)?);
        }
        Ok(alone_or(parts, Filter::Any))
    }

    /// Parts with AND between them.
    fn all(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.part(depth)?];
        while self.takes_keyword("AND")? {
            parts.push(self.part(depth)?);
        }
        Ok(alone_or(parts, Filter::All))
    }

    fn part(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let start = self.current.start;
        if self.takes_keyword("NOT")? {
            return Ok(Filter::Not(Box::new(self.part(self.deeper(depth, start)?)?)));
        }
        if !self.takes_symbol("(")? {
            return self.test();
        }
        let filter = self.any(self.deeper(depth, start)?)?;
        if !self.takes_symbol(")")? {
            return Err(self.expected("AND, OR or \")\""));
        }
        Ok(filter)
    }

    fn deeper(&self, depth: usize, start: usize) -> Result<usize, FilterError> {
        match depth < MAX_FILTER_DEPTH {
            true => Ok(depth + 1),
            false => Err(FilterError::TooDeep { offset: self.lexer.offset(start) }),
        }
    }

    /// A condition on one field.
    fn test(&mut self) -> Result<Filter, FilterError> {
        let start = self.current.start;
        let field = self.field()?;
        self.comparisons += 1;
        if self.comparisons > MAX_COMPARISONS {
            return Err(FilterError::TooManyComparisons { offset: self.lexer.offset(start) });
        }
        if self.takes_keyword("IS")? {
            let negated = !self.takes_keyword("NOT")?;
            if !self.takes_keyword("NULL")? {
                return Err(self.expected(if negated { "NULL or NOT NULL" } else { "NULL" }));
            }
            let present = Filter::Test(Test { field, condition: Condition::Present });
            return Ok(if negated { Filter::Not(Box::new(present)) } else { present });
        }
        let condition = self.condition(&field)?;
        Ok(Filter::Test(Test { field, condition }))
    }

    fn field(&mut self) -> Result<Field, FilterError> {
        let name = match self.current.token {
            Token::Word(word) if !is_keyword(word) => word,
            Token::QuotedName(name) => name,
            _ => return Err(self.expected("a field, NOT or \"(\"")),
        };
        let field = Field::find(name, self.fields).ok_or_else(|| FilterError::UnknownField {
            offset: self.lexer.offset(self.current.start),
            name: shortened(name),
            known: known_names(self.fields),
        })?;
        self.advance()?;
        Ok(field)
    }

    fn condition(&mut self, field: &Field) -> Result<Condition, FilterError> {
        let operator = self.current.clone();
        if self.takes_keyword("HAS")? {
            return self.has(field, &operator);
        }
        if self.takes_keyword("IN")? {
            self.check(field, Comparison::Equal, &operator)?;
            return Ok(Condition::OneOf(self.list(field)?));
        }
        let comparison = COMPARISONS.into_iter().find(|(symbol, _)| operator.token == Token::Symbol(symbol));
        let Some((_, comparison)) = comparison else {
            return Err(self.expected("=, !=, <, <=, >, >=, IN, HAS or IS"));
        };
        self.advance()?;
        self.check(field, comparison, &operator)?;
        Ok(Condition::Compare(comparison, self.scalar(field)?))
    }

    fn has(&mut self, field: &Field, operator: &Spanned<'a>) -> Result<Condition, FilterError> {
        if field.kind() != MetadataType::StringList {
            return Err(self.wrong_type(field, "=, !=, IN or IS NULL", operator));
        }
        match self.advance()? {
            Spanned { token: Token::Text(text), .. } => Ok(Condition::Has(text)),
            other => Err(self.wrong_type(field, "a text in double quotes", &other)),
        }
    }

    /// Values between parentheses, at least one.
    fn list(&mut self, field: &Field) -> Result<Vec<Scalar>, FilterError> {
        if !self.takes_symbol("(")? {
            return Err(self.expected("\"(\""));
        }
        let mut values = vec![self.scalar(field)?];
        while self.takes_symbol(",")? {
            values.push(self.scalar(field)?);
        }
        if !self.takes_symbol(")")? {
            return Err(self.expected("\",\" or \")\""));
        }
        Ok(values)
    }

    fn scalar(&mut self, field: &Field) -> Result<Scalar, FilterError> {
        let value = literal::scalar(field.kind(), &self.current.token);
        let value = value.map_err(|expected| self.wrong_type(field, expected, &self.current))?;
        self.advance()?;
        Ok(value)
    }

    fn check(&self, field: &Field, comparison: Comparison, operator: &Spanned<'a>) -> Result<(), FilterError> {
        literal::check_comparison(field.kind(), comparison)
            .map_err(|expected| self.wrong_type(field, expected, operator))
    }

    fn wrong_type(&self, field: &Field, expected: &'static str, found: &Spanned<'a>) -> FilterError {
        FilterError::WrongType {
            offset: self.lexer.offset(found.start),
            field: field.name().to_owned(),
            kind: field.kind().describe(),
            expected,
            found: self.lexer.shown(found.start, found.end),
        }
    }

    fn takes_keyword(&mut self, keyword: &str) -> Result<bool, FilterError> {
        let is_it = matches!(self.current.token, Token::Word(word) if word.eq_ignore_ascii_case(keyword));
        if is_it {
            self.advance()?;
        }
        Ok(is_it)
    }

    fn takes_symbol(&mut self, symbol: &'static str) -> Result<bool, FilterError> {
        let is_it = self.current.token == Token::Symbol(symbol);
        if is_it {
            self.advance()?;
        }
        Ok(is_it)
    }

    /// Moves on to the next token, and gives the one before.
    fn advance(&mut self) -> Result<Spanned<'a>, FilterError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.current, next))
    }

    fn expected(&self, expected: &str) -> FilterError {
        FilterError::Unexpected {
            offset: self.lexer.offset(self.current.start),
            expected: expected.to_owned(),
            found: self.lexer.shown(self.current.start, self.current.end),
        }
    }
}

/// One part alone needs no node around it.
fn alone_or(mut parts: Vec<Filter>, many: impl FnOnce(Vec<Filter>) -> Filter) -> Filter {
    match parts.len() {
        1 => parts.remove(0),
        _ => many(parts),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields() -> Vec<MetadataField> {
        let field = |name: &str, kind| MetadataField { name: name.into(), kind };
        vec![
            field("lang", MetadataType::String),
            field("stars", MetadataType::Integer),
            field("price", MetadataType::Float),
            field("public", MetadataType::Boolean),
            field("at", MetadataType::Timestamp),
            field("tags", MetadataType::StringList),
            field("null", MetadataType::Integer),
        ]
    }

    fn refusal(text: &str) -> String {
        parse(text, &fields()).expect_err(text).to_string()
    }

    #[test]
    fn filters_are_read_as_their_printed_form_says() {
        let table = [
            (r#"lang="en""#, r#"lang = "en""#),
            (r#"lang = "a\"b\\c""#, r#"lang = "a\"b\\c""#),
            ("stars>=-3", "stars >= -3"),
            ("stars IN(1,2 , 3)", "stars IN (1, 2, 3)"),
            ("price < 5", "price < 5.0"),
            ("price < -0.0", "price < 0.0"),
            ("price != 1e3", "price != 1000.0"),
            ("price = 12.5e-1", "price = 1.25"),
            ("public = TRUE", "public = true"),
            (r#"at > "2026-01-01""#, r#"at > "2026-01-01T00:00:00Z""#),
            (r#"at > "2026-01-01t01:00:00.5+01:00""#, r#"at > "2026-01-01T00:00:00.500000Z""#),
            (r#"tags has "x""#, r#"tags HAS "x""#),
            ("tags is null", "tags IS NULL"),
            ("not tags is not null", "tags IS NULL"),
            ("NOT NOT stars = 1", "NOT NOT stars = 1"),
            ("`null` = 1", "`null` = 1"),
            ("`lang` IS NULL", "lang IS NULL"),
            ("stars = 1 or stars = 2 and stars = 3", "stars = 1 OR (stars = 2 AND stars = 3)"),
            ("(stars = 1 or stars = 2) and stars = 3", "(stars = 1 OR stars = 2) AND stars = 3"),
            ("not stars = 1 and stars = 2", "NOT stars = 1 AND stars = 2"),
            ("not (stars = 1 and stars = 2)", "NOT (stars = 1 AND stars = 2)"),
            ("((stars = 1))", "stars = 1"),
            ("\tstars\n=\r\n1 ", "stars = 1"),
        ];
        for (text, printed) in table {
            let filter = parse(text, &fields()).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(filter.to_string(), printed, "{text}");
            assert_eq!(parse(printed, &fields()), Ok(filter), "{printed}");
        }
    }

    #[test]
    fn faults_name_their_place_and_what_was_expected() {
        let table = [
            ("", "at offset 0: expected a field, NOT or \"(\", found the end"),
            ("lang", "at offset 4: expected =, !=, <, <=, >, >=, IN, HAS or IS, found the end"),
            ("lang == \"a\"", "at offset 6: lang is a string: expected a text in double quotes, found \"=\""),
            ("lang = 'a'", "at offset 7: expected a text in double quotes, found \"'a'\""),
            ("lang = \"a", "at offset 7: expected a text that ends in double quotes, found \"\\\"a\""),
            (r#"lang = "é\n""#, r#"at offset 9: expected \" or \\, the only escapes, found "\\n\"""#),
            ("lang = \"a\" lang = \"b\"", "at offset 11: expected AND, OR or the end, found \"lang\""),
            ("(stars = 1", "at offset 10: expected AND, OR or \")\", found the end"),
            ("stars = 1)", "at offset 9: expected AND, OR or the end, found \")\""),
            ("stars IN ()", "at offset 10: stars is a whole number: expected a whole number of 64 bits, found \")\""),
            ("stars IN 1", "at offset 9: expected \"(\", found \"1\""),
            ("stars IN (1 2)", "at offset 12: expected \",\" or \")\", found \"2\""),
            ("stars = 9223372036854775808", "expected a whole number of 64 bits, found \"9223372036854775808\""),
            ("stars = 1.5", "expected a whole number of 64 bits, found \"1.5\""),
            ("stars = -", "at offset 8: expected a number, found \"-\""),
            ("stars = 1x", "at offset 9: expected AND, OR or the end, found \"x\""),
            ("price = 1e999", "expected a finite number, found \"1e999\""),
            ("public = 1", "expected true or false, found \"1\""),
            ("public < true", "at offset 7: public is true or false: expected = or !=, found \"<\""),
            ("at = 5", "expected an RFC 3339 timestamp or a date in double quotes, found \"5\""),
            ("at = \"2026-02-30\"", "expected an RFC 3339 timestamp or a date in double quotes"),
            ("tags = \"x\"", "at offset 5: tags is a list of strings: expected HAS or IS NULL, found \"=\""),
            ("tags IN (\"x\")", "expected HAS or IS NULL, found \"IN\""),
            ("tags HAS 5", "expected a text in double quotes, found \"5\""),
            ("stars HAS \"x\"", "stars is a whole number: expected =, !=, IN or IS NULL, found \"HAS\""),
            ("stars IS 5", "at offset 9: expected NULL or NOT NULL, found \"5\""),
            ("stars IS NOT 5", "at offset 13: expected NULL, found \"5\""),
            ("stars NOT IN (1)", "expected =, !=, <, <=, >, >=, IN, HAS or IS, found \"NOT\""),
            ("null = 1", "at offset 0: expected a field, NOT or \"(\", found \"null\""),
            ("`lang = 1", "at offset 0: expected a name that ends in a backtick"),
            (
                "Stars = 1",
                "at offset 0: there is no field \"Stars\"; the fields are lang, stars, price, public, at, tags, null, document_id, uri, language",
            ),
            ("stars = 1 ; DROP", "at offset 10: expected a name, a value or an operator, found \";\""),
            ("\u{0}", "at offset 0: expected a name, a value or an operator, found \"\\0\""),
        ];
        for (text, expected) in table {
            let message = refusal(text);
            assert!(message.contains(expected), "{text:?}: {message:?} lacks {expected:?}");
        }
    }

    #[test]
    fn limits_are_kept_exactly() {
        let nested = |open: &str, levels: usize, close: &str| {
            format!("{}stars = 1{}", open.repeat(levels), close.repeat(levels))
        };
        let wide = |tests: usize| vec!["stars = 1"; tests].join(" OR ");
        for text in [nested("(", 64, ")"), nested("NOT ", 64, ""), nested("NOT(", 32, ")"), wide(256)] {
            assert!(parse(&text, &fields()).is_ok(), "{text}");
        }
        assert!(refusal(&nested("(", 65, ")")).starts_with("at offset 64: parentheses and NOT are nested deeper"));
        assert!(refusal(&nested("NOT ", 65, "")).starts_with("at offset 256: "));
        assert!(refusal(&"(".repeat(8_192)).contains("nested deeper than 64 levels"));
        assert!(refusal(&wide(257)).contains("more than 256 comparisons"));
        let padded = |bytes: usize| format!("stars = 1{}", " ".repeat(bytes - 9));
        assert!(parse(&padded(8_192), &fields()).is_ok());
        assert_eq!(refusal(&padded(8_193)), "it has 8193 bytes, and the limit is 8192");
        assert_eq!(refusal(&nested("(", 10_000, ")")), "it has 20009 bytes, and the limit is 8192");
    }

    #[test]
    fn long_findings_are_shortened() {
        assert!(refusal(&format!("{} = 1", "x".repeat(8_000))).len() < 250);
        assert!(refusal(&format!("stars = \"{}\"", "é".repeat(4_000))).len() < 250);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_parsed_or_refused(
            text in "\\PC{0,60}|((stars|lang|tags|AND|OR|NOT|IN|IS|NULL|HAS|=|<|\\(|\\)|,|\"a\"|1|-|`|\\\\) ?){0,20}",
        ) {
            if let Ok(filter) = parse(&text, &fields()) {
                proptest::prop_assert_eq!(parse(&filter.to_string(), &fields()), Ok(filter));
            }
        }
    }
}

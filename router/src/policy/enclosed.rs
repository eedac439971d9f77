//! Filters that stay between the parentheses that are put around them.
//!
//! A policy's filter and a caller's are joined as texts, for only the retriever knows the fields that they name. A
//! caller's `a = 1) OR (b = 2` would then reach beyond its parentheses, and undo the condition that it was joined to.
//! So both are looked at first, as far as that question goes: parentheses, texts between double quotes and names between
//! backticks. What is refused here the retriever would refuse by itself.

/// Why a filter does not stay where it is put. Offsets count code points from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotEnclosed {
    /// A parenthesis that closes none of its own.
    #[error("at offset {0}: \")\" closes nothing")]
    ClosesNothing(usize),
    /// A parenthesis that is not closed.
    #[error("at offset {0}: \"(\" is not closed")]
    Open(usize),
    /// A text or a name without its end.
    #[error("at offset {0}: what is quoted here does not end")]
    Unquoted(usize),
}

/// Refuses a filter that would reach beyond parentheses around it.
///
/// # Errors
/// [`NotEnclosed`] names the first place at fault.
pub fn check_enclosed(filter: &str) -> Result<(), NotEnclosed> {
    let mut open = Vec::new();
    let mut characters = filter.chars().enumerate();
    while let Some((place, character)) = characters.next() {
        match character {
            '(' => open.push(place),
            ')' => drop(open.pop().ok_or(NotEnclosed::ClosesNothing(place))?),
            '"' | '`' => skip_quoted(&mut characters, character).ok_or(NotEnclosed::Unquoted(place))?,
            _ => {}
        }
    }
    open.pop().map_or(Ok(()), |place| Err(NotEnclosed::Open(place)))
}

/// Goes on behind the quotation mark that ends what one has begun. Only in texts a backslash hides the next character.
fn skip_quoted(characters: &mut impl Iterator<Item = (usize, char)>, mark: char) -> Option<()> {
    loop {
        match characters.next()?.1 {
            '\\' if mark == '"' => drop(characters.next()?),
            character if character == mark => return Some(()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reaches_beyond_its_parentheses_is_refused() {
        let table = [
            ("", Ok(())),
            ("a = 1", Ok(())),
            ("(a = 1 OR (b = 2)) AND c = 3", Ok(())),
            ("a = \")\" OR `(` = 1", Ok(())),
            (r#"a = "\")" OR b = "\\""#, Ok(())),
            (r"`\` = 1", Ok(())),
            ("a = 1) OR (a != 1", Err(NotEnclosed::ClosesNothing(5))),
            ("é = \"é\")", Err(NotEnclosed::ClosesNothing(7))),
            (r#"a = "\\") OR (b = 1"#, Err(NotEnclosed::ClosesNothing(8))),
            ("(a = 1 OR (b = 2)", Err(NotEnclosed::Open(0))),
            ("a = \"b", Err(NotEnclosed::Unquoted(4))),
            (r#"a = "b\""#, Err(NotEnclosed::Unquoted(4))),
            ("`a = 1", Err(NotEnclosed::Unquoted(0))),
        ];
        for (filter, expected) in table {
            assert_eq!(check_enclosed(filter), expected, "{filter}");
        }
    }
}

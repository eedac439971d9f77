//! Words of scripts that do not part them by spaces: Chinese, Japanese, Thai, Lao, Khmer, Burmese.

use icu_segmenter::WordSegmenter;
use icu_segmenter::options::WordBreakInvariantOptions;
use std::ops::Range;

/// Characters of a Han word above which its pairs are terms as well.
const MAX_WHOLE_CHARS: usize = 2;

/// Whether `character` is of such a script.
pub(super) fn is_unspaced(character: char) -> bool {
    matches!(
        character,
        '\u{0e00}'..='\u{0eff}' // Thai, Lao
        | '\u{1000}'..='\u{109f}' // Myanmar
        | '\u{1780}'..='\u{17ff}' // Khmer
        | '\u{3040}'..='\u{30ff}' // Hiragana, Katakana
    ) || is_han(character)
}

/// The terms of a run of such characters: the words that a dictionary finds. Where it knows a long Han word as one, a
/// query may know a part of it, so its pairs of characters are terms too.
pub(super) fn terms(run: &str) -> Vec<Range<usize>> {
    let segmenter = WordSegmenter::new_dictionary(WordBreakInvariantOptions::default());
    let mut terms = Vec::new();
    let mut start = 0;
    for end in segmenter.segment_str(run).filter(|end| *end > 0) {
        push_word(run, start..end, &mut terms);
        start = end;
    }
    terms
}

fn push_word(run: &str, word: Range<usize>, terms: &mut Vec<Range<usize>>) {
    let text = &run[word.clone()];
    // Between words there may be a middle dot, which is of the script and no word.
    if !text.chars().any(char::is_alphanumeric) {
        return;
    }
    if text.chars().all(is_han) && text.chars().count() > MAX_WHOLE_CHARS {
        let bounds: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        terms.extend(bounds.windows(3).map(|pair| word.start + pair[0]..word.start + pair[2]));
    }
    terms.push(word);
}

fn is_han(character: char) -> bool {
    matches!(
        character,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_dictionary_and_long_han_words_give_their_pairs() {
        let table: [(&str, &[&str]); 6] = [
            ("東京タワーへ行く", &["東京", "タワー", "へ", "行く"]),
            ("搜索引擎的索引", &["搜索", "引擎", "的", "索引"]),
            ("共和国", &["共和", "和国", "共和国"]),
            ("データベース・エンジン", &["データベース", "エンジン"]),
            ("ภาษาไทย", &["ภาษา", "ไทย"]),
            ("・", &[]),
        ];
        for (run, expected) in table {
            let found: Vec<&str> = terms(run).into_iter().map(|term| &run[term]).collect();
            assert_eq!(found, expected, "{run}");
        }
    }
}

//! Characters of which nothing can be seen.

/// Unicode's property Default_Ignorable_Code_Point (DerivedCoreProperties.txt): characters that
/// control others, join them or fill their place, and code points that are kept for more of them.
const DEFAULT_IGNORABLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// A symbol without dots, as the space of a braille text.
const BRAILLE_BLANK: char = '\u{2800}';

/// Whether the character is white space, a control character, default-ignorable, or the blank of
/// braille.
pub(super) fn is(character: char) -> bool {
    let ignorable = || DEFAULT_IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&character));
    character.is_whitespace() || character.is_control() || character == BRAILLE_BLANK || ignorable()
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::{Class, HirKind};

    /// The ranges of characters that a regular expression's class has.
    fn class(pattern: &str) -> Vec<(char, char)> {
        let parsed = regex_syntax::parse(pattern).unwrap();
        let HirKind::Class(Class::Unicode(class)) = parsed.kind() else { panic!("{parsed:?}") };
        class.ranges().iter().map(|range| (range.start(), range.end())).collect()
    }

    #[test]
    fn it_is_as_unicode_has_it() {
        let invisible =
            class(r"[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{General_Category=Cc}\u{2800}]");
        for character in '\0'..=char::MAX {
            let expected = invisible.iter().any(|(first, last)| (*first..=*last).contains(&character));
            assert_eq!(super::is(character), expected, "U+{:04X}", u32::from(character));
        }
    }
}

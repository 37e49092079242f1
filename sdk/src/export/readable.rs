//! Text that comes from users, made fit for people's eyes.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::ops::RangeInclusive;

/// Characters that show nothing themselves: marks of writing direction, joiners and spaces without
/// a width, separators of lines, tags, selectors of variants, fillers. Source: Unicode 16,
/// `DerivedCoreProperties.txt` (Default_Ignorable_Code_Point) and `UnicodeData.txt` (Cf, Zl, Zp),
/// without the format characters that can be seen.
const INVISIBLE: [RangeInclusive<char>; 18] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{61c}'..='\u{61c}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

/// Whether a character acts on those around it, or on the terminal, instead of being seen.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control() || (c > '\u{7f}' && INVISIBLE.iter().any(|range| range.contains(&c)))
}

/// A text from outside, such as a label's value, as it may be shown. One with control characters,
/// or invisible ones such as marks that turn the direction of writing, becomes a literal in quotes,
/// with escapes as Rust has them: `"two\nlines"`. So does one that begins with a quote and could be
/// taken for such a literal: texts that differ are always shown differently. All others stay as
/// they are.
///
/// All exporters and renderers show texts by this function; only JSON, which has escapes of its
/// own, keeps values as they are.
///
/// ```
/// use stagelight::export::readable;
/// assert_eq!(readable("select 'ü' -- 🦀"), "select 'ü' -- 🦀");
/// assert_eq!(readable("red\u{1b}[31m\u{202e}"), r#""red\u{1b}[31m\u{202e}""#);
/// ```
///
/// It allocates only if it has to change something.
#[must_use]
pub fn readable(text: &str) -> Cow<'_, str> {
    if !text.starts_with('"') && !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut literal = String::with_capacity(text.len() + 16);
    literal.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            '\r' => literal.push_str("\\r"),
            '\t' => literal.push_str("\\t"),
            c if is_hidden(c) => {
                // A string takes all that is written to it.
                let _ = write!(literal, "\\u{{{:x}}}", u32::from(c));
            }
            c => literal.push(c),
        }
    }
    literal.push('"');
    Cow::Owned(literal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a literal stands for.
    fn read(shown: &str) -> String {
        let Some(literal) = shown.strip_prefix('"') else { return shown.to_owned() };
        let mut rest = literal.strip_suffix('"').unwrap().chars();
        let mut text = String::new();
        while let Some(c) = rest.next() {
            text.push(match (c, c == '\\') {
                (c, false) => c,
                (_, true) => match rest.next().unwrap() {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'u' => {
                        let number: String = rest.by_ref().take_while(|c| *c != '}').collect();
                        let number = u32::from_str_radix(number.strip_prefix('{').unwrap(), 16).unwrap();
                        char::from_u32(number).unwrap()
                    }
                    c => c,
                },
            });
        }
        text
    }

    #[test]
    fn what_everybody_writes_stays_as_it_is() {
        for text in
            ["", "acme", "CORP\\nick", "select 'ü', \"a\" from ß -- 日本 🦀", "a b", "a\u{a0}b", "עברית"]
        {
            assert!(matches!(readable(text), Cow::Borrowed(_)), "{text:?}");
        }
    }

    #[test]
    fn what_is_hidden_is_shown() {
        for (text, shown) in [
            ("two\nlines\tand \"more\"\r", r#""two\nlines\tand \"more\"\r""#),
            ("\u{1b}]0;title\u{7}", r#""\u{1b}]0;title\u{7}""#),
            ("acme\u{202e}emca\u{2066}", r#""acme\u{202e}emca\u{2066}""#),
            ("a\u{200b}b\u{feff}\u{2028}\u{e0041}\u{9b}", r#""a\u{200b}b\u{feff}\u{2028}\u{e0041}\u{9b}""#),
            ("\"quoted\"", r#""\"quoted\"""#),
        ] {
            assert_eq!(readable(text), shown);
        }
    }

    #[test]
    fn what_the_compiler_holds_for_unprintable_and_formatting_is_hidden() {
        // Unassigned, private and spaces it escapes as well.
        let formatting =
            "\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{2067}\u{2068}\u{2069}\u{2064}\u{e0001}";
        for c in formatting.chars() {
            assert!(c.escape_debug().len() > 1 && is_hidden(c), "{c:?}");
        }
    }

    fn odd() -> impl Strategy<Value = String> {
        let chars = prop_oneof![
            any::<char>(),
            prop::sample::select(vec!['\\', '"', 'n', 'u', '{', '}', '\n', '\u{202e}', '\u{7f}']),
        ];
        prop::collection::vec(chars, 0..12).prop_map(String::from_iter)
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_shown_and_all_of_it_can_be_read_back(text in odd()) {
            let shown = readable(&text);
            prop_assert!(!shown.chars().any(is_hidden), "{:?}", shown);
            prop_assert_eq!(read(&shown), text);
        }
    }
}

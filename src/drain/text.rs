//! Text from clients: cut when it is kept, escaped when it is shown.

use std::fmt::{self, Write};

/// The first `N` bytes of a text, in place: keeping it allocates nothing. `N` is at most 255.
#[derive(Clone, Copy)]
pub(crate) struct Text<const N: usize> {
    length: u8,
    bytes: [u8; N],
}

impl<const N: usize> Text<N> {
    pub(crate) const EMPTY: Self = Self {
        length: 0,
        bytes: [0; N],
    };

    #[cfg_attr(not(any(feature = "tracing", test)), expect(dead_code))]
    pub(crate) fn new(text: &str) -> Self {
        let mut new = Self::EMPTY;
        new.set(text);
        new
    }

    /// Copies as much of `text` as fits, in whole characters.
    pub(crate) fn set(&mut self, text: &str) {
        let mut length = text.len();
        if length > N {
            length = N;
            while !text.is_char_boundary(length) {
                length -= 1;
            }
        }
        self.bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        // At most N, which fits.
        self.length = length as u8;
    }

    pub(crate) fn as_str(&self) -> &str {
        // Always UTF-8, because `set` copies whole characters.
        std::str::from_utf8(&self.bytes[..self.length.into()]).unwrap_or_default()
    }
}

/// Escapes what a terminal or a log must not see raw: control characters, line separators, and
/// invisible or direction-changing characters.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.as_str().chars() {
            match character {
                '\'' | '"' => f.write_char(character)?,
                // Letters and a symbol by category, but blank.
                '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' => {
                    write!(f, "{}", character.escape_unicode())?;
                }
                // Leaves what is printable as it is.
                other => write!(f, "{}", other.escape_debug())?,
            }
        }
        Ok(())
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

impl<const N: usize> PartialEq for Text<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Eq for Text<N> {}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn a_text_is_cut_in_whole_characters() {
        let long = format!("/{}", "é".repeat(100));
        let mut text = Text::<128>::new(&long);
        assert_eq!(text.as_str(), &long[..127]);
        text.set("/short");
        assert_eq!(text.as_str(), "/short");
        text.set(&"x".repeat(128));
        assert_eq!(text.as_str().len(), 128);
        assert_ne!(text, Text::EMPTY);
    }

    #[test]
    fn what_is_not_printable_is_escaped() {
        // C0, DEL, C1, zero width, bidi, line and paragraph separators, byte order mark, fillers.
        for character in [
            '\0', '\n', '\u{1b}', '\u{7f}', '\u{9b}', '\u{200b}', '\u{200d}', '\u{200e}',
            '\u{202e}', '\u{2066}', '\u{2028}', '\u{2029}', '\u{feff}', '\u{ad}', '\u{61c}',
            '\u{115f}', '\u{1160}', '\u{3164}', '\u{ffa0}', '\u{2800}',
        ] {
            let text = Text::<8>::new(&format!("a{character}b"));
            for shown in [format!("{text}"), format!("{text:?}")] {
                assert!(!shown.contains(character), "{character:?}");
                assert!(shown.contains('\\'), "{shown}");
            }
        }
        let plain = "/it's/\"größe\"/日本";
        assert_eq!(Text::<128>::new(plain).to_string(), plain);
    }
}

//! Snapshots of requests in flight, and text from clients: truncated when stored, escaped when shown.

use std::fmt::{self, Write};
use std::time::Duration;

/// The part of a method that is stored and shown.
pub(crate) type MethodText = Text<20>;
/// The part of a path that is stored and shown.
pub(crate) type PathText = Text<128>;

/// A snapshot of a request in flight.
///
/// Returned by [`Drain::requests`](crate::Drain::requests) if the layer
/// [tracks requests](crate::DrainLayer::track_requests).
///
/// `Display` writes one line for a log: method, path, stage and age. `Display` and `Debug` escape
/// characters that are not printable. [`method`](Self::method) and [`path`](Self::path) return what
/// the client sent.
///
/// # Examples
///
/// ```
/// # let drain = tower_drain::Drain::new();
/// for request in drain.requests() {
///     // GET /export (body, 64.1s)
///     println!("{request}");
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightRequest {
    method: MethodText,
    path: PathText,
    age: Duration,
    stage: RequestStage,
}

/// Stage of a request in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RequestStage {
    /// There is no response yet: the handler runs, or waits for the rest of the request's body.
    Handler,
    /// The handler has responded. The response body has not been dropped.
    Body,
}

/// The first few requests of a list, in one line.
pub(crate) struct OldestRequests<'a>(pub(crate) &'a [InFlightRequest]);

// === impl InFlightRequest ===

impl InFlightRequest {
    pub(super) fn new(
        method: MethodText,
        path: PathText,
        age: Duration,
        stage: RequestStage,
    ) -> Self {
        Self {
            method,
            path,
            age,
            stage,
        }
    }

    /// Returns the first 20 bytes of the method.
    pub fn method(&self) -> &str {
        self.method.as_str()
    }

    /// Returns the first 128 bytes of the path.
    ///
    /// The query is left out, because it may contain secrets. For a `CONNECT` request this is the
    /// authority, without user and password.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// Returns the time since the layer's service was called. The time that the request waited before is not included.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns the stage of the request.
    pub fn stage(&self) -> RequestStage {
        self.stage
    }
}

impl fmt::Display for InFlightRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            method,
            path,
            stage,
            age,
        } = self;
        write!(f, "{method} {path} ({stage}, {age:.1?})")
    }
}

// === impl OldestRequests ===

impl OldestRequests<'_> {
    pub(crate) const MAX_SHOWN: usize = 5;
}

impl fmt::Display for OldestRequests<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, request) in self.0.iter().take(Self::MAX_SHOWN).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{request}")?;
        }
        Ok(())
    }
}

// === impl RequestStage ===

impl fmt::Display for RequestStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
            Self::Body => "body",
        })
    }
}

/// The first `N` bytes of a text, stored inline without an allocation. `N` is at most 255.
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

/// Escapes text that must not reach a terminal or a log raw: control characters, line separators, and
/// invisible or direction-changing characters.
impl<const N: usize> fmt::Display for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.as_str().chars() {
            match character {
                '\'' | '"' => f.write_char(character)?,
                // Letters and a symbol by category, but shown blank.
                '\u{115f}' | '\u{1160}' | '\u{3164}' | '\u{ffa0}' | '\u{2800}' => {
                    write!(f, "{}", character.escape_unicode())?;
                }
                // Leaves printable characters unchanged.
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
    fn unprintable_characters_are_escaped() {
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

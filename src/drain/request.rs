use std::fmt;
use std::time::Duration;

use http::Method;

/// A request in flight, as it was when somebody looked.
///
/// From [`Drain::requests`](crate::Drain::requests), if the layer
/// [tracks](crate::DrainLayer::track_requests) them. `Display` is what a log wants: method, path,
/// stage and age, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InFlightRequest {
    method: Method,
    path: Path,
    age: Duration,
    stage: Stage,
}

/// How far a request in flight has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The handler runs: there is no response yet.
    Handler,
    /// The head of the response is there, and its body has not been dropped.
    Body,
}

/// The first few of a list, in one line.
pub(crate) struct Names<'a>(pub(crate) &'a [InFlightRequest]);

/// The path of a request, cut: in place, so that to keep it takes no allocation.
#[derive(Clone, Copy)]
pub(super) struct Path {
    length: u8,
    bytes: [u8; Path::LONGEST],
}

// === impl InFlightRequest ===

impl InFlightRequest {
    pub(super) fn new(method: Method, path: Path, age: Duration, stage: Stage) -> Self {
        Self {
            method,
            path,
            age,
            stage,
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, without its query, which can hold secrets; the first 128 bytes of it.
    pub fn path(&self) -> &str {
        self.path.as_str()
    }

    /// How long it had been in flight: since the layer's service was called.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// How far it had come.
    pub fn stage(&self) -> Stage {
        self.stage
    }
}

impl fmt::Display for InFlightRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            method, stage, age, ..
        } = self;
        write!(f, "{method} {} ({stage}, {age:.1?})", self.path())
    }
}

// === impl Names ===

impl Names<'_> {
    pub(crate) const MOST: usize = 5;
}

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, request) in self.0.iter().take(Self::MOST).enumerate() {
            let separator = if nth == 0 { "" } else { ", " };
            write!(f, "{separator}{request}")?;
        }
        Ok(())
    }
}

// === impl Stage ===

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
            Self::Body => "body",
        })
    }
}

// === impl Path ===

impl Path {
    const LONGEST: usize = 128;

    pub(super) const EMPTY: Self = Self {
        length: 0,
        bytes: [0; Self::LONGEST],
    };

    /// Copies as much of `path` as there is room for, in whole characters.
    pub(super) fn set(&mut self, path: &str) {
        let mut length = path.len().min(Self::LONGEST);
        while !path.is_char_boundary(length) {
            length -= 1;
        }
        self.bytes[..length].copy_from_slice(&path.as_bytes()[..length]);
        // At most LONGEST, which fits.
        self.length = length as u8;
    }

    fn as_str(&self) -> &str {
        // Always UTF-8, for `set` copies whole characters.
        std::str::from_utf8(&self.bytes[..self.length.into()]).unwrap_or_default()
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Path {}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::Path;

    #[test]
    fn a_path_is_cut_in_whole_characters() {
        let mut path = Path::EMPTY;
        assert_eq!(path.as_str(), "");
        let long = format!("/{}", "é".repeat(100));
        path.set(&long);
        assert_eq!(path.as_str(), &long[..127]);
        let before = path;
        path.set("/short");
        assert_eq!(path.as_str(), "/short");
        assert_eq!(format!("{path:?}"), r#""/short""#);
        assert_ne!(path, before);
        path.set(&"x".repeat(128));
        assert_eq!(path.as_str().len(), 128);
    }
}

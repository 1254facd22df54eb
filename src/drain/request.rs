use std::fmt;
use std::time::Duration;

use super::text::Text;

/// As much of a method as is kept and shown.
pub(crate) type MethodText = Text<20>;
/// As much of a path as is kept and shown.
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

/// How far a request in flight has come.
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

    /// Returns the time since the layer's service was called.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Returns how far the request has come.
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

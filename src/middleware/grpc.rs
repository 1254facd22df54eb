//! Recognizes gRPC calls, and answers them with the status `UNAVAILABLE`.

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `UNAVAILABLE`: the only status on which gRPC clients retry elsewhere.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// The message for a new call.
pub(super) const DRAINING: &str = "server is draining";
/// The message for a stream that ends.
pub(super) const CLOSING: &str = "server is closing";
/// The message for a call that was in flight.
pub(super) const CANCELLED: &str = "cancelled: server is shutting down";

const GRPC: &[u8] = b"application/grpc";

/// The content type of each [`Kind`], less specific ones first.
const CONTENT_TYPES: [&str; 9] = [
    "application/grpc",
    "application/grpc-web",
    "application/grpc-web-text",
    "application/grpc+proto",
    "application/grpc+json",
    "application/grpc-web+proto",
    "application/grpc-web+json",
    "application/grpc-web-text+proto",
    "application/grpc-web-text+json",
];

/// The kind of gRPC that a call uses, small enough to store with each call in flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind(u8);

impl Kind {
    /// Returns the kind of a call, or `None` if the request is not a gRPC call.
    #[inline]
    pub(super) fn of<B>(request: &Request<B>) -> Option<Self> {
        if request.method() != Method::POST {
            return None;
        }
        content_type(request.headers()).map(Self::of_content_type)
    }

    fn of_content_type(value: &HeaderValue) -> Self {
        let value = value.as_bytes();
        // The longest known type that `value` starts with. Every gRPC type starts with the first.
        let starts = |known: &&str| {
            let start = value.get(..known.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
        };
        let known = CONTENT_TYPES.iter().enumerate();
        let longest = known
            .filter(|(_, known)| starts(known))
            .max_by_key(|(_, known)| known.len());
        Self(longest.map_or(0, |(index, _)| index as u8))
    }

    pub(super) fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(
            CONTENT_TYPES
                .get(usize::from(self.0))
                .unwrap_or(&CONTENT_TYPES[0]),
        )
    }

    /// Whether the status goes into trailers. gRPC-Web encodes trailers in the body, at a position that only
    /// the writer of the body knows.
    pub(super) fn has_trailers(self) -> bool {
        !self
            .content_type()
            .as_bytes()
            .starts_with(b"application/grpc-web")
    }

    pub(super) fn to_bits(kind: Option<Self>) -> u8 {
        kind.map_or(0, |kind| kind.0 + 1)
    }

    pub(super) fn from_bits(bits: u8) -> Option<Self> {
        bits.checked_sub(1).map(Self)
    }
}

/// Returns the content type if it is gRPC's: `application/grpc`, alone or followed by `+…`, `-web…` or
/// `;…`.
fn content_type(headers: &HeaderMap) -> Option<&HeaderValue> {
    let value = headers.get(CONTENT_TYPE)?;
    let (essence, rest) = value.as_bytes().split_at_checked(GRPC.len())?;
    let follows = match rest.trim_ascii_start() {
        [] | [b'+' | b';', ..] => true,
        rest => rest
            .get(..4)
            .is_some_and(|web| web.eq_ignore_ascii_case(b"-web")),
    };
    (essence.eq_ignore_ascii_case(GRPC) && follows).then_some(value)
}

/// Inserts the status, into the headers of a response without a body or into trailers.
pub(super) fn insert_unavailable(headers: &mut HeaderMap, message: &'static str) {
    headers.insert(STATUS, UNAVAILABLE);
    headers.insert(MESSAGE, HeaderValue::from_static(message));
}

/// Returns the trailers of a response that ends early.
pub(super) fn unavailable_trailers(message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    insert_unavailable(&mut trailers, message);
    trailers
}

/// Whether a response with these headers ends with trailers that carry the status.
pub(super) fn has_trailers(headers: &HeaderMap) -> bool {
    content_type(headers).is_some_and(|value| Kind::of_content_type(value).has_trailers())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: Method, content_type: &str) -> Option<HeaderValue> {
        let request = Request::builder()
            .method(method)
            .header(CONTENT_TYPE, content_type);
        Kind::of(&request.body(()).unwrap()).map(Kind::content_type)
    }

    #[test]
    fn a_call_is_a_post_with_its_content_type() {
        for (sent, answered) in [
            ("application/grpc", "application/grpc"),
            ("application/grpc+proto", "application/grpc+proto"),
            ("application/grpc+thrift", "application/grpc"),
            ("application/grpc;charset=utf-8", "application/grpc"),
            ("application/grpc ; charset=utf-8", "application/grpc"),
            ("application/grpc-web", "application/grpc-web"),
            ("application/grpc-web+proto", "application/grpc-web+proto"),
            (
                "application/grpc-web-text+proto",
                "application/grpc-web-text+proto",
            ),
            ("Application/GRPC", "application/grpc"),
        ] {
            assert_eq!(kind(Method::POST, sent).unwrap(), answered, "{sent}");
            assert_eq!(kind(Method::GET, sent), None, "{sent}");
        }
        for other in [
            "",
            "application/grp",
            "application/grpcx",
            "application/grpc-we",
            "application/grpc-x",
            "application/json",
            "text/plain; application/grpc",
        ] {
            assert_eq!(kind(Method::POST, other), None, "{other}");
        }
        let untyped = Request::post("/").body(()).unwrap();
        assert_eq!(Kind::of(&untyped), None);
    }

    #[test]
    fn a_kind_survives_its_bits() {
        for index in 0..CONTENT_TYPES.len() as u8 {
            let kind = Some(Kind(index));
            assert_eq!(Kind::from_bits(Kind::to_bits(kind)), kind);
        }
        assert_eq!(Kind::from_bits(Kind::to_bits(None)), None);
    }
}

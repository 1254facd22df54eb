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

/// The content types of answers, less specific ones first.
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

/// Returns the content type of the answer to a call, or `None` if the request is not a gRPC call.
pub(super) fn answer_type<B>(request: &Request<B>) -> Option<&'static str> {
    if request.method() != Method::POST {
        return None;
    }
    known_type(request.headers())
}

/// Whether a response with these headers ends with trailers that carry the status.
pub(super) fn has_trailers(headers: &HeaderMap) -> bool {
    known_type(headers).is_some_and(is_with_trailers)
}

/// Whether the status goes into trailers. gRPC-Web encodes trailers in the body, at a position that only the writer of
/// the body knows.
pub(super) fn is_with_trailers(content_type: &str) -> bool {
    !content_type.starts_with("application/grpc-web")
}

/// Returns the longest known type that the content type starts with, if it is gRPC's.
fn known_type(headers: &HeaderMap) -> Option<&'static str> {
    let value = content_type(headers)?.as_bytes();
    let starts = |known: &&str| {
        let start = value.get(..known.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(known.as_bytes()))
    };
    let known = CONTENT_TYPES.into_iter().filter(starts);
    known.max_by_key(|known| known.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(method: Method, content_type: &str) -> Option<&'static str> {
        let request = Request::builder()
            .method(method)
            .header(CONTENT_TYPE, content_type);
        answer_type(&request.body(()).unwrap())
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
            assert_eq!(answer(Method::POST, sent), Some(answered), "{sent}");
            assert_eq!(answer(Method::GET, sent), None, "{sent}");
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
            assert_eq!(answer(Method::POST, other), None, "{other}");
        }
        let untyped = Request::post("/").body(()).unwrap();
        assert_eq!(answer_type(&untyped), None);
    }
}

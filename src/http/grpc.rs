//! How gRPC is told from other requests, and says that a server is not there for one.

use http::HeaderMap;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `UNAVAILABLE`: the one status on which gRPC clients retry elsewhere.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// Why: a newcomer was refused.
pub(super) const DRAINING: &str = "server is draining";
/// Why: a request in flight was cancelled.
pub(super) const CANCELLED: &str = "cancelled: server is shutting down";

const GRPC: &[u8] = b"application/grpc";

/// The request's content type, if that is gRPC's: `application/grpc`, alone or followed by `+…`,
/// `-web…` or `;…`.
pub(super) fn content_type(headers: &HeaderMap) -> Option<&HeaderValue> {
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

/// The status, which is in the headers of a response without a body, and in the trailers of others.
pub(super) fn say_unavailable(headers: &mut HeaderMap, why: &'static str) {
    headers.insert(STATUS, UNAVAILABLE);
    headers.insert(MESSAGE, HeaderValue::from_static(why));
}

/// The trailers by which a response ends whose body is cut off. `None` if it cannot say so, as
/// gRPC-Web's: its trailers are in the body, at a place that only its writer knows.
pub(super) fn cut_off(content_type: &HeaderValue) -> Option<HeaderMap> {
    let rest = content_type.as_bytes().get(GRPC.len()..)?;
    let web = rest.trim_ascii_start().starts_with(b"-");
    (!web).then(|| {
        let mut trailers = HeaderMap::new();
        say_unavailable(&mut trailers, CANCELLED);
        trailers
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_grpc(value: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, value.parse().unwrap());
        content_type(&headers).is_some()
    }

    #[test]
    fn it_is_told_by_its_content_type() {
        for yes in [
            "application/grpc",
            "application/grpc+proto",
            "application/grpc;charset=utf-8",
            "application/grpc ; charset=utf-8",
            "application/grpc-web",
            "application/grpc-web-text+proto",
            "Application/GRPC",
        ] {
            assert!(is_grpc(yes), "{yes}");
        }
        for no in [
            "",
            "application/grp",
            "application/grpcx",
            "application/grpc-we",
            "application/grpc-x",
            "application/json",
            "text/plain; application/grpc",
        ] {
            assert!(!is_grpc(no), "{no}");
        }
        assert!(content_type(&HeaderMap::new()).is_none());
    }
}

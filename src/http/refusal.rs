//! What a newcomer is told while draining, in the words of its own protocol.

use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, Version};

use super::body::ResponseBody;
use crate::drain::Reply;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
/// `UNAVAILABLE`: the one status on which gRPC clients retry elsewhere.
const UNAVAILABLE: HeaderValue = HeaderValue::from_static("14");

/// Makes the response that refuses a request. Implemented by
/// `Fn(&Request<ReqBody>) -> Response<ResBody>`, and not to be implemented outside this crate.
pub trait Refuse<ReqBody, ResBody>: sealed::Sealed<ReqBody, ResBody> {
    #[doc(hidden)]
    fn refuse(&self, request: &Request<ReqBody>) -> Response<ResponseBody<ResBody>>;
}

/// Refuses with an empty 503, or for gRPC with status 14, `UNAVAILABLE`: the default of
/// [`DrainLayer`](crate::DrainLayer).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Unavailable;

impl<ReqBody, ResBody> Refuse<ReqBody, ResBody> for Unavailable {
    fn refuse(&self, request: &Request<ReqBody>) -> Response<ResponseBody<ResBody>> {
        unavailable(grpc_content_type(request.headers()), "server is draining")
    }
}

fn unavailable<B>(grpc: Option<&HeaderValue>, why: &'static str) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    match grpc {
        Some(content_type) => {
            let headers = response.headers_mut();
            // The request's own: a gRPC-Web client wants an answer of its own kind.
            headers.insert(CONTENT_TYPE, content_type.clone());
            say_unavailable(headers, why);
        }
        None => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    response
}

/// gRPC's status, which is headers where there is no body, and trailers where there is.
fn say_unavailable(headers: &mut HeaderMap, why: &'static str) {
    headers.insert(GRPC_STATUS, UNAVAILABLE);
    headers.insert(GRPC_MESSAGE, HeaderValue::from_static(why));
}

/// What a request has to be remembered by, should it be cancelled.
pub(super) fn reply(headers: &HeaderMap, retry_after: u64) -> Reply {
    let grpc = grpc_content_type(headers).cloned();
    Reply { grpc, retry_after }
}

const CANCELLED: &str = "cancelled: server is shutting down";

/// The refusal of a request that had been admitted, and whose handler has been dropped. Never
/// `refuse_with`'s: that wants to see the request, which is gone.
pub(super) fn cancelled<B>(reply: &Reply, version: Version) -> Response<ResponseBody<B>> {
    let mut response = unavailable(reply.grpc.as_ref(), CANCELLED);
    send_away(response.headers_mut(), version, reply.retry_after);
    response
}

/// The trailers by which a gRPC response ends that is cut off; `None` for a body that cannot say so.
/// gRPC-Web is one of these: its trailers are in the body, at a place that only its writer knows.
pub(super) fn cut_off(reply: &Reply) -> Option<HeaderMap> {
    let grpc = reply.grpc.as_ref()?.as_bytes();
    let web = grpc
        .get(GRPC.len()..)
        .is_some_and(|rest| rest.starts_with(b"-"));
    (!web).then(|| {
        let mut trailers = HeaderMap::new();
        say_unavailable(&mut trailers, CANCELLED);
        trailers
    })
}

impl<F, ReqBody, ResBody> Refuse<ReqBody, ResBody> for F
where
    F: Fn(&Request<ReqBody>) -> Response<ResBody>,
{
    fn refuse(&self, request: &Request<ReqBody>) -> Response<ResponseBody<ResBody>> {
        self(request).map(|body| ResponseBody::new(body, None, None))
    }
}

/// What every refusal carries, whoever made it, so that its client goes elsewhere.
pub(super) fn send_away(headers: &mut HeaderMap, version: Version, retry_after: u64) {
    if version <= Version::HTTP_11 {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    } else {
        headers.remove(CONNECTION);
    }
    headers
        .entry(RETRY_AFTER)
        .or_insert_with(|| HeaderValue::from(retry_after));
}

const GRPC: &[u8] = b"application/grpc";

/// The request's content type, if that is gRPC's: `application/grpc`, alone or followed by `+…`,
/// `-web…` or `;…`.
fn grpc_content_type(headers: &HeaderMap) -> Option<&HeaderValue> {
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

mod sealed {
    use http::{Request, Response};

    pub trait Sealed<ReqBody, ResBody> {}
    impl<ReqBody, ResBody> Sealed<ReqBody, ResBody> for super::Unavailable {}
    impl<F, ReqBody, ResBody> Sealed<ReqBody, ResBody> for F where
        F: Fn(&Request<ReqBody>) -> Response<ResBody>
    {
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_grpc(content_type: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, content_type.parse().unwrap());
        grpc_content_type(&headers).is_some()
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
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
        assert!(grpc_content_type(&HeaderMap::new()).is_none());
    }
}

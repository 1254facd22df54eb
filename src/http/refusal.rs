//! What a newcomer is told while draining, in the words of its own protocol.

use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Request, Response, StatusCode, Version};

use super::body::ResponseBody;
use super::grpc;
use crate::drain::Reply;

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
        unavailable(grpc::content_type(request.headers()), grpc::DRAINING)
    }
}

fn unavailable<B>(grpc: Option<&HeaderValue>, why: &'static str) -> Response<ResponseBody<B>> {
    let mut response = Response::new(ResponseBody::empty());
    match grpc {
        Some(content_type) => {
            let headers = response.headers_mut();
            // The request's own: a gRPC-Web client wants an answer of its own kind.
            headers.insert(CONTENT_TYPE, content_type.clone());
            grpc::say_unavailable(headers, why);
        }
        None => *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE,
    }
    response
}

/// What a request has to be remembered by, should it be cancelled.
pub(super) fn reply(headers: &HeaderMap, retry_after: u64) -> Reply {
    let grpc = grpc::content_type(headers).cloned();
    Reply { grpc, retry_after }
}

/// The refusal of a request that had been admitted, and whose handler has been dropped. Never
/// `refuse_with`'s: that wants to see the request, which is gone.
pub(super) fn cancelled<B>(reply: &Reply, version: Version) -> Response<ResponseBody<B>> {
    let mut response = unavailable(reply.grpc.as_ref(), grpc::CANCELLED);
    send_away(response.headers_mut(), version, reply.retry_after);
    response
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

mod sealed {
    use http::{Request, Response};

    pub trait Sealed<ReqBody, ResBody> {}
    impl<ReqBody, ResBody> Sealed<ReqBody, ResBody> for super::Unavailable {}
    impl<F, ReqBody, ResBody> Sealed<ReqBody, ResBody> for F where
        F: Fn(&Request<ReqBody>) -> Response<ResBody>
    {
    }
}

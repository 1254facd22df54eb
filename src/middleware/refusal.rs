//! Refusals in the client's own protocol, and exemptions from them.

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode, Version};

use super::grpc;
use super::headers::ConnectionRule;
use crate::drain::CancelReply;

/// Makes the response that refuses a request.
///
/// Implemented for `Fn(&Request<ReqBody>) -> Response<ResBody>`. Cannot be implemented outside this crate.
pub trait Refuse<ReqBody, ResBody>: sealed::Refuse<ReqBody, ResBody> {
    /// `None` is an empty body.
    #[doc(hidden)]
    fn refuse(&self, request: &Request<ReqBody>) -> Response<Option<ResBody>>;
}

/// Refuses requests with an empty 503, and gRPC calls with status 14, `UNAVAILABLE`. The default of
/// [`DrainLayer`](crate::DrainLayer).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DefaultRefusal;

impl<ReqBody, ResBody> Refuse<ReqBody, ResBody> for DefaultRefusal {
    fn refuse(&self, request: &Request<ReqBody>) -> Response<Option<ResBody>> {
        unavailable(grpc::answer_type(request), grpc::DRAINING)
    }
}

impl<F, ReqBody, ResBody> Refuse<ReqBody, ResBody> for F
where
    F: Fn(&Request<ReqBody>) -> Response<ResBody>,
{
    fn refuse(&self, request: &Request<ReqBody>) -> Response<Option<ResBody>> {
        self(request).map(Some)
    }
}

/// Chooses the requests that a layer neither counts nor refuses.
///
/// Implemented for `Fn(&Request<ReqBody>) -> bool`. Cannot be implemented outside this crate.
pub trait Exempt<ReqBody>: sealed::Exempt<ReqBody> {
    #[doc(hidden)]
    fn is_exempt(&self, request: &Request<ReqBody>) -> bool;
}

/// Exempts no request: the default of [`DrainLayer`](crate::DrainLayer).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct NeverExempt;

impl<ReqBody> Exempt<ReqBody> for NeverExempt {
    #[inline]
    fn is_exempt(&self, _: &Request<ReqBody>) -> bool {
        false
    }
}

impl<F, ReqBody> Exempt<ReqBody> for F
where
    F: Fn(&Request<ReqBody>) -> bool,
{
    #[inline]
    fn is_exempt(&self, request: &Request<ReqBody>) -> bool {
        self(request)
    }
}

fn unavailable<B>(grpc: Option<&'static str>, message: &'static str) -> Response<Option<B>> {
    let mut response = Response::new(None);
    if let Some(content_type) = grpc {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        grpc::insert_unavailable(headers, message);
    } else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// Returns how to answer the request if it is cancelled.
pub(super) fn cancel_reply<B>(request: &Request<B>, retry_after: u32) -> CancelReply {
    let grpc = grpc::answer_type(request);
    // HTTP/1 servers drop trailers that were not announced.
    let is_http2 = request.version() > Version::HTTP_11;
    CancelReply {
        grpc,
        has_trailers: is_http2 && grpc.is_some_and(grpc::is_with_trailers),
        retry_after,
    }
}

/// Makes the response to a cancelled request: the default refusal. `refuse_with` does not apply, because its closure takes
/// the request, which is gone.
pub(super) fn cancelled<B>(reply: CancelReply, rule: ConnectionRule) -> Response<Option<B>> {
    let mut response = unavailable(reply.grpc, grpc::CANCELLED);
    rule.finish_refusal(&mut response, reply.retry_after);
    response
}

mod sealed {
    use http::{Request, Response};

    pub trait Refuse<ReqBody, ResBody> {}
    impl<ReqBody, ResBody> Refuse<ReqBody, ResBody> for super::DefaultRefusal {}
    impl<F, ReqBody, ResBody> Refuse<ReqBody, ResBody> for F where
        F: Fn(&Request<ReqBody>) -> Response<ResBody>
    {
    }

    pub trait Exempt<ReqBody> {}
    impl<ReqBody> Exempt<ReqBody> for super::NeverExempt {}
    impl<F: Fn(&Request<ReqBody>) -> bool, ReqBody> Exempt<ReqBody> for F {}
}

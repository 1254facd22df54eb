//! Refusals in the client's own protocol, and exemptions from them.

use http::header::CONTENT_TYPE;
use http::{Request, Response, StatusCode, Version};

use super::grpc::{self, Kind};
use super::headers::ConnectionRule;
use crate::drain::Tag;

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
        unavailable(Kind::of(request), grpc::DRAINING)
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

fn unavailable<B>(kind: Option<Kind>, message: &'static str) -> Response<Option<B>> {
    let mut response = Response::new(None);
    if let Some(kind) = kind {
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, kind.content_type());
        grpc::insert_unavailable(headers, message);
    } else {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// How to answer a cancelled request. The registry stores it as the request's tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CancelReply {
    kind: Option<Kind>,
    /// Whether a response that is being sent can end with trailers that carry the status. HTTP/1 servers drop
    /// trailers that were not announced.
    has_trailers: bool,
    /// In seconds.
    retry_after: u64,
}

/// In a tag, below the seconds: `has_trailers`.
const TRAILERS: u8 = 1 << 7;

impl CancelReply {
    pub(super) fn new<B>(request: &Request<B>, retry_after: u64) -> Self {
        let kind = Kind::of(request);
        let has_trailers =
            request.version() > Version::HTTP_11 && kind.is_some_and(Kind::has_trailers);
        Self {
            kind,
            has_trailers,
            retry_after,
        }
    }

    /// Packs the reply into a tag. 56 bits of seconds hold two billion years.
    pub(super) fn to_tag(self) -> Tag {
        let trailers = if self.has_trailers { TRAILERS } else { 0 };
        let low = Kind::to_bits(self.kind) | trailers;
        self.retry_after.min(u64::MAX >> 8) << 8 | u64::from(low)
    }

    pub(super) fn from_tag(tag: Tag) -> Self {
        // The low 8 bits.
        let low = tag as u8;
        Self {
            kind: Kind::from_bits(low & !TRAILERS),
            has_trailers: low & TRAILERS != 0,
            retry_after: tag >> 8,
        }
    }

    pub(super) fn has_trailers(self) -> bool {
        self.has_trailers
    }

    /// Makes the default refusal. `refuse_with` does not apply: its closure takes the request, which is gone.
    pub(super) fn refusal<B>(self, rule: ConnectionRule) -> Response<Option<B>> {
        let mut response = unavailable(self.kind, grpc::CANCELLED);
        rule.set_refusal_headers(response.headers_mut(), self.retry_after);
        response
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_survives_its_tag() {
        let call = |version| {
            let call = Request::post("/").header(CONTENT_TYPE, "application/grpc+proto");
            CancelReply::new(&call.version(version).body(()).unwrap(), 7)
        };
        let (http1, http2) = (call(Version::HTTP_11), call(Version::HTTP_2));
        assert!(http2.has_trailers() && !http1.has_trailers());
        let plain = CancelReply::new(&Request::new(()), 0);
        for reply in [http1, http2, plain] {
            assert_eq!(CancelReply::from_tag(reply.to_tag()), reply);
        }
        let longest = CancelReply::new(&Request::new(()), u64::MAX);
        let longest = CancelReply::from_tag(longest.to_tag());
        assert_eq!((longest.kind, longest.retry_after), (None, u64::MAX >> 8));
    }
}

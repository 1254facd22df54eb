use http::Request;

/// Chooses the requests that a layer neither counts nor refuses.
///
/// Implemented for `Fn(&Request<ReqBody>) -> bool`. Cannot be implemented outside this crate.
pub trait Exempt<ReqBody>: sealed::Sealed<ReqBody> {
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

mod sealed {
    use http::Request;

    pub trait Sealed<ReqBody> {}
    impl<ReqBody> Sealed<ReqBody> for super::NeverExempt {}
    impl<F: Fn(&Request<ReqBody>) -> bool, ReqBody> Sealed<ReqBody> for F {}
}

use http::Request;

/// Which requests a layer lets pass, neither counted nor refused. Implemented by
/// `Fn(&Request<ReqBody>) -> bool`, and not to be implemented outside this crate.
pub trait Exempt<ReqBody>: sealed::Sealed<ReqBody> {
    #[doc(hidden)]
    fn is_exempt(&self, request: &Request<ReqBody>) -> bool;
}

/// Exempts nothing: the default of [`DrainLayer`](crate::DrainLayer).
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct ExemptNone;

impl<ReqBody> Exempt<ReqBody> for ExemptNone {
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
    impl<ReqBody> Sealed<ReqBody> for super::ExemptNone {}
    impl<F: Fn(&Request<ReqBody>) -> bool, ReqBody> Sealed<ReqBody> for F {}
}

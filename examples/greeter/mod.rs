//! A gRPC service, written by hand so that building needs no protoc. `tonic-build` would generate it from
//! `service Greeter { rpc Greet(Name) returns (Greeting); }`. A call takes two seconds.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

#[derive(Clone, PartialEq, prost::Message)]
struct Name {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Greeting {
    #[prost(string, tag = "1")]
    text: String,
}

type BoxFuture<T, E> = Pin<Box<dyn Future<Output = Result<T, E>> + Send>>;

struct Greet;

impl UnaryService<Name> for Greet {
    type Response = Greeting;
    type Future = BoxFuture<tonic::Response<Greeting>, tonic::Status>;

    fn call(&mut self, request: tonic::Request<Name>) -> Self::Future {
        Box::pin(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let text = format!("Hello, {}!", request.into_inner().name);
            Ok(tonic::Response::new(Greeting { text }))
        })
    }
}

#[derive(Clone)]
pub(crate) struct Greeter;

impl NamedService for Greeter {
    const NAME: &'static str = "greeter.Greeter";
}

impl tower::Service<Request<Body>> for Greeter {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Response<Body>, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move {
            Ok(match request.uri().path() {
                "/greeter.Greeter/Greet" => {
                    let codec = ProstCodec::<Greeting, Name>::default();
                    Grpc::new(codec).unary(Greet, request).await
                }
                _ => tonic::Status::unimplemented("no such method").into_http(),
            })
        })
    }
}

//! A gRPC server with tonic: its health service says NOT_SERVING from the lame duck on, and once
//! draining has started new calls get status 14, `UNAVAILABLE`, on which clients retry elsewhere.
//!
//! ```sh
//! cargo run --example tonic                 # serves on 127.0.0.1:50051 until Ctrl-C
//! ```
//!
//! The service is written by hand so that building needs no protoc: it is what `tonic-build` makes of
//! `service Greeter { rpc Greet(Name) returns (Greeting); }`.

use std::convert::Infallible;
use std::env;
use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_health::ServingStatus;
use tonic_prost::ProstCodec;
use tower_drain::{Drain, Phase, Shutdown};

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
struct Greeter;

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

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let drain = Drain::new();
    let (mut health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<Greeter>().await;

    let phases = drain.clone();
    tokio::spawn(async move {
        phases.reached(Phase::LameDuck).await;
        // The server as a whole, which is what most probes ask for, and the service.
        for service in ["", Greeter::NAME] {
            let status = ServingStatus::NotServing;
            health.set_service_status(service, status).await;
        }
        phases.drained().await;
        // This ends the health streams, without which their connections would stay open.
        for service in ["", Greeter::NAME] {
            health.clear_service_status(service).await;
        }
    });

    // Health is exempt: its `Watch` streams never end, and probes are no work to wait for.
    let layer = drain
        .layer()
        .exempt(|request: &Request<Body>| request.uri().path().starts_with("/grpc.health.v1."));
    let address = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:50051".into());
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    // With an address, and not a listener, this is `serve_with_shutdown(address, drain.draining())`.
    let server = tonic::transport::Server::builder()
        .layer(layer)
        .add_service(health_service)
        .add_service(Greeter)
        .serve_with_incoming_shutdown(TcpListenerStream::new(listener), drain.draining());
    let report = Shutdown::new(&drain)
        .lame_duck(Duration::from_secs(5))
        .run(async {
            eprintln!("listening on {address}");
            server.await
        })
        .await?;
    eprintln!("{} were in flight", report.in_flight_at_start());
    Ok(())
}

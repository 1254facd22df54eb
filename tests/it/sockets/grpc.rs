//! The layer around a tonic server.

use tonic::body::Body;
use tonic::transport::{Channel, Server};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::*;

async fn start(
    drain: &Drain,
    layer: DrainLayer,
) -> (
    HealthClient<Channel>,
    JoinHandle<Result<(), tonic::transport::Error>>,
) {
    let (_, health) = tonic_health::server::health_reporter();
    let (listener, address) = bind().await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = Server::builder()
        .layer(layer)
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, drain.reached(Phase::Drained));
    let serving = tokio::spawn(server);
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    (HealthClient::new(channel.connect().await.unwrap()), serving)
}

#[tokio::test]
async fn a_new_call_is_unavailable_while_a_stream_goes_on() {
    let drain = Drain::new();
    let (mut client, serving) = start(&drain, drain.layer()).await;
    let ask = HealthCheckRequest::default;
    let mut watch = client.watch(ask()).await.unwrap().into_inner();
    assert!(watch.message().await.unwrap().is_some());
    assert_eq!(drain.in_flight(), 1);
    let wait = drain.drain(LONG);
    let status = client.check(ask()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "server is draining");
    assert_eq!(drain.phase(), Phase::Draining);
    drop(watch);
    assert_eq!(wait.await.unwrap().refused(), 1);
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_cancelled_stream_ends_with_status_14() {
    let drain = Drain::new();
    let (mut client, _serving) = start(&drain, drain.layer().track_requests()).await;
    let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    assert!(watch.message().await.unwrap().is_some());
    assert_eq!(drain.requests()[0].path(), "/grpc.health.v1.Health/Watch");
    assert_eq!(drain.cancel(), 1);
    let status = watch.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "cancelled: server is shutting down");
}

#[tokio::test]
async fn a_stream_that_is_to_end_ends_with_status_14() {
    let drain = Drain::new();
    // This applies to all streams; `Watch` is the one that this client opens.
    let layer = drain.layer().end_streams(|_, _, _| true);
    let (mut client, serving) = start(&drain, layer).await;
    let watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    assert!(watch.message().await.unwrap().is_some());
    drain.close();
    let status = watch.message().await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable);
    assert_eq!(status.message(), "server is closing");
    drain.drain(LONG).await.unwrap();
    serving.await.unwrap().unwrap();
}

#[test]
fn the_layer_fits_tonic_with_closures_too() {
    let drain = Drain::new();
    let layer = drain
        .layer()
        .exempt(|request: &Request<Body>| request.uri().path().starts_with("/grpc.health"));
    let (_, health) = tonic_health::server::health_reporter();
    let address = "127.0.0.1:0".parse().unwrap();
    drop(
        Server::builder()
            .layer(layer)
            .add_service(health)
            .serve(address),
    );
}

/// Calls a server while it leaves, and another one accepts on its port. Returns how calls failed until the other one has
/// answered.
async fn failed_calls(layer: fn(&Drain) -> DrainLayer) -> Vec<tonic::Code> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async |drain: &Drain, name: &str| {
        let listener = TcpListener::from_std(listener.try_clone().unwrap()).unwrap();
        let (reporter, health) = tonic_health::server::health_reporter();
        let status = tonic_health::ServingStatus::Serving;
        reporter.set_service_status(name, status).await;
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let server = Server::builder().layer(layer(drain)).add_service(health);
        tokio::spawn(server.serve_with_incoming_shutdown(incoming, drain.closing()));
    };
    let (old, new) = (Drain::new(), Drain::new());
    serve(&old, "old").await;
    let channel = Channel::from_shared(format!("http://{address}")).unwrap();
    let mut client = HealthClient::new(channel.connect().await.unwrap());
    let mut watch = client.watch(HealthCheckRequest::default()).await.unwrap();
    assert!(watch.get_mut().message().await.unwrap().is_some());
    old.close();
    serve(&new, "new").await;
    let mut failed = Vec::new();
    loop {
        let service = "new".into();
        match client.check(HealthCheckRequest { service }).await {
            Ok(_) => return failed,
            Err(status) if status.code() == tonic::Code::NotFound => {}
            Err(status) => failed.push(status.code()),
        }
    }
}

/// With any server: the channel fails the first call after a GOAWAY, without sending it, while a stream keeps the old
/// connection open.
#[tokio::test]
async fn a_stream_that_ends_saves_the_first_call_after_the_goaway() {
    let failed = failed_calls(|drain| drain.layer()).await;
    assert_eq!(failed, [tonic::Code::Cancelled]);
    let failed = failed_calls(|drain| {
        drain
            .layer()
            .end_streams(|_, uri, _| uri.path().ends_with("/Watch"))
    });
    assert_eq!(failed.await, []);
}

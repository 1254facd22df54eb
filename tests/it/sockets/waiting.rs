//! Requests that wait behind a limit when draining starts: all of them are served, as without the layer.

use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::limit::ConcurrencyLimitLayer;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use super::*;

const REQUESTS: usize = 6;
const LIMIT: usize = 2;

/// Lets requests continue that wait in a handler.
#[derive(Clone)]
struct Gate(Arc<Semaphore>);

impl Gate {
    fn new() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    async fn pass(&self) -> &'static str {
        self.0.acquire().await.unwrap().forget();
        "done"
    }

    fn open(&self) {
        self.0.add_permits(REQUESTS);
    }
}

/// Waits until all requests are in flight, starts draining, and lets them continue.
async fn drain_while_they_wait(drain: &Drain, gate: &Gate) {
    until(|| drain.in_flight() == REQUESTS).await;
    drain.close();
    drain.start_draining();
    assert_eq!(drain.in_flight(), REQUESTS);
    gate.open();
}

/// Sends requests, each on a connection of its own, and returns how many were served.
async fn served<T: Send + 'static>(server: &Server<T>) -> usize {
    let one = async || {
        let response = server.get(Version::HTTP_11, "/slow").await.unwrap();
        response.status() == StatusCode::OK && text(response.into_body()).await == "done"
    };
    let all = futures_util::future::join_all((0..REQUESTS).map(|_| one())).await;
    all.into_iter().filter(|served| *served).count()
}

#[tokio::test]
async fn in_an_axum_router_behind_one_stack_of_layers() {
    let (drain, gate) = (Drain::new(), Gate::new());
    let slow = gate.clone();
    let layers = ServiceBuilder::new()
        .layer(drain.layer())
        .layer(ConcurrencyLimitLayer::new(LIMIT));
    let app = Router::new()
        .route("/slow", get(async move || slow.pass().await))
        .layer(layers);
    let server = Server::axum(&drain, app, drain.closing()).await;
    let (served, ()) = tokio::join!(served(&server), drain_while_they_wait(&drain, &gate));
    assert_eq!(served, REQUESTS);
    drain.drained().await;
    server.serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn in_an_accept_loop_with_watched_connections() {
    let (drain, gate) = (Drain::new(), Gate::new());
    let slow = gate.clone();
    let service = ServiceBuilder::new()
        .layer(drain.layer())
        .layer(ConcurrencyLimitLayer::new(LIMIT))
        .service(service_fn(move |_: Request<hyper::body::Incoming>| {
            let slow = slow.clone();
            async move { Ok::<_, Infallible>(http::Response::new(slow.pass().await.to_owned())) }
        }));
    let watch = drain.clone();
    let server = Server::start(&drain, async move |listener: TcpListener| -> Infallible {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = TowerToHyperService::new(service.clone());
            let server = auto::Builder::new(TokioExecutor::new());
            let connection = server.serve_connection(TokioIo::new(stream), service);
            tokio::spawn(watch.watch(connection.into_owned()));
        }
    })
    .await;
    let (served, ()) = tokio::join!(served(&server), drain_while_they_wait(&drain, &gate));
    assert_eq!(served, REQUESTS);
    drain.drained().await;
}

#[tokio::test]
async fn in_a_tonic_server_with_two_layers() {
    let (drain, gate) = (Drain::new(), Gate::new());
    let slow = gate.clone();
    let (_, health) = tonic_health::server::health_reporter();
    let wait = tower::layer::layer_fn(move |inner: tonic::service::Routes| {
        let slow = slow.clone();
        service_fn(move |call: Request<tonic::body::Body>| {
            let (slow, mut inner) = (slow.clone(), inner.clone());
            async move {
                slow.pass().await;
                inner.call(call).await
            }
        })
    });
    let (listener, address) = bind().await;
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder()
        .layer(drain.layer())
        .layer(ConcurrencyLimitLayer::new(LIMIT))
        .layer(wait)
        .add_service(health)
        .serve_with_incoming_shutdown(incoming, drain.closing());
    let server = tokio::spawn(server);
    let channel = tonic::transport::Channel::from_shared(format!("http://{address}")).unwrap();
    let client = HealthClient::new(channel.connect().await.unwrap());
    let call = async || {
        let mut client = client.clone();
        client.check(HealthCheckRequest::default()).await
    };
    let calls = futures_util::future::join_all((0..REQUESTS).map(|_| call()));
    let (answers, ()) = tokio::join!(calls, drain_while_they_wait(&drain, &gate));
    for answer in answers {
        answer.unwrap();
    }
    drain.drained().await;
    server.await.unwrap().unwrap();
}

#[tokio::test]
async fn as_one_shots_of_clones() {
    let (drain, gate) = (Drain::new(), Gate::new());
    let slow = gate.clone();
    let service = ServiceBuilder::new()
        .layer(drain.layer())
        .layer(ConcurrencyLimitLayer::new(LIMIT))
        .service(service_fn(move |_: Request<()>| {
            let slow = slow.clone();
            async move { Ok::<_, Infallible>(http::Response::new(slow.pass().await.to_owned())) }
        }));
    let shots = (0..REQUESTS).map(|_| service.clone().oneshot(Request::new(())));
    let shots = futures_util::future::join_all(shots);
    let (answers, ()) = tokio::join!(shots, drain_while_they_wait(&drain, &gate));
    for answer in answers {
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    assert_eq!(drain.phase(), Phase::Drained);
}

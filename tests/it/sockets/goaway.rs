//! HTTP/2 peers during a `Shutdown`.

use tokio::sync::oneshot;
use tower_drain::{Shutdown, ShutdownError, ShutdownReport};

use super::*;
use crate::http2_peer::{GOAWAY, HEADERS, Peer};

struct Running {
    server: Server<Result<ShutdownReport, ShutdownError>>,
    stop: oneshot::Sender<()>,
    force: oneshot::Sender<()>,
}

/// An axum server under a `Shutdown` whose closing lasts until the test ends it.
async fn run() -> Running {
    let drain = Drain::new();
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(drain.layer());
    let (stop, stopped) = oneshot::channel();
    let (force, forced) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, async { stopped.await.unwrap() })
        .force_on(forced)
        .closing(Duration::MAX)
        .timeout(Duration::MAX);
    let server = Server::start(&drain, |listener| {
        shutdown.run(|closing| axum::serve(listener, router).with_graceful_shutdown(closing))
    });
    Running {
        server: server.await,
        stop,
        force,
    }
}

#[tokio::test]
async fn streams_that_cross_the_goodbye_are_served() {
    let Running {
        server,
        stop,
        force: _force,
    } = run().await;
    let mut peer = Peer::connect(server.connect().await).await;
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);

    stop.send(()).unwrap();
    let ping = peer.goodbye().await;
    // Sent by a client that the GOAWAY has not reached.
    for _ in 0..3 {
        let stream = peer.send_request().await;
        assert!(peer.is_served(stream).await);
    }
    assert_eq!(server.drain.phase(), Phase::Closing);
    peer.answer(ping).await;
    let goaway = peer.read(GOAWAY).await;
    assert_eq!(goaway.payload[..4], 7_u32.to_be_bytes(), "the last stream");
    assert!(peer.try_read(HEADERS).await.is_none(), "it closes");
    let report = server.serving.await.unwrap().unwrap();
    assert_eq!(report.refused(), 0);
}

#[tokio::test]
async fn a_peer_that_ignores_the_goodbye_is_served_while_closing_and_refused_after_it() {
    let Running {
        server,
        stop,
        force,
    } = run().await;
    let mut peer = Peer::connect(server.connect().await).await;
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);

    stop.send(()).unwrap();
    let _never_answered = peer.goodbye().await;
    for _ in 0..3 {
        let stream = peer.send_request().await;
        assert!(peer.is_served(stream).await);
    }
    assert_eq!(server.drain.phase(), Phase::Closing);
    assert!(server.drain.start_draining(), "as the end of closing does");
    for _ in 0..3 {
        let stream = peer.send_request().await;
        assert!(!peer.is_served(stream).await);
    }
    assert_eq!(server.drain.refused(), 3);

    // Nothing is in flight, and the connection keeps the server from ending.
    force.send(()).unwrap();
    let error = server.serving.await.unwrap().unwrap_err();
    assert!(matches!(error, ShutdownError::Forced(left) if left.in_flight() == 0));
}

#[tokio::test]
async fn a_peer_that_ignores_the_goodbye_is_no_failure() {
    let drain = Drain::new();
    let router = Router::new()
        .route("/", get(|| async {}))
        .layer(drain.layer());
    let (listener, address) = bind().await;
    let (connected, is_connected) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, async { is_connected.await.unwrap() });
    let run = shutdown
        .flush(Duration::from_millis(50))
        .run(move |closing| axum::serve(listener, router).with_graceful_shutdown(closing));
    let peer = async {
        let mut peer = Peer::connect(TcpStream::connect(address).await.unwrap()).await;
        let stream = peer.send_request().await;
        assert!(peer.is_served(stream).await);
        connected.send(()).unwrap();
        peer.goodbye().await;
        peer
    };
    let (outcome, _peer) = tokio::join!(run, peer);
    assert_eq!(outcome.unwrap().ended_after(), None);
}

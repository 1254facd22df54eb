//! HTTP/2 peers written in raw frames, which do what no client library does.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tower_drain::{Shutdown, ShutdownError, ShutdownReport};

use super::*;

const HEADERS: u8 = 0x1;
const SETTINGS: u8 = 0x4;
const PING: u8 = 0x6;
const GOAWAY: u8 = 0x7;

const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// Static entries of HPACK: `:method: GET`, `:scheme: http`, `:path: /`, and `:authority` with a value.
const GET: &[u8] = b"\x82\x86\x84\x41\x04here";
/// Static entry of HPACK: `:status: 200`.
const STATUS_200: u8 = 0x88;

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

struct Peer {
    socket: TcpStream,
    next_stream: u32,
}

impl Peer {
    async fn connect(address: std::net::SocketAddr) -> Self {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        socket.write_all(preface).await.unwrap();
        let mut peer = Self {
            socket,
            next_stream: 1,
        };
        peer.write(SETTINGS, 0, 0, &[]).await;
        peer.read(SETTINGS).await;
        peer.write(SETTINGS, ACK, 0, &[]).await;
        peer
    }

    async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        // Three bytes of length, then type, flags and stream.
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.socket.write_all(&frame).await.unwrap();
    }

    /// Reads up to a frame of this kind. `None` at the end of the connection.
    async fn try_read(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let mut head = [0; 9];
            self.socket.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            self.socket.read_exact(&mut payload).await.ok()?;
            let frame = Frame {
                kind: head[3],
                flags: head[4],
                stream: u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
                payload,
            };
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    async fn read(&mut self, kind: u8) -> Frame {
        self.try_read(kind).await.expect("the connection has ended")
    }

    /// Sends a request on the next stream.
    async fn send_request(&mut self) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let flags = END_STREAM | END_HEADERS;
        self.write(HEADERS, flags, stream, GET).await;
        stream
    }

    /// Returns whether the request on this stream got a 200.
    async fn is_served(&mut self, stream: u32) -> bool {
        loop {
            let head = self.read(HEADERS).await;
            if head.stream == stream {
                return head.payload[0] == STATUS_200;
            }
        }
    }

    /// Reads the server's goodbye: GOAWAY for all streams, and the PING that is to be answered.
    async fn goodbye(&mut self) -> Frame {
        let goaway = self.read(GOAWAY).await;
        assert_eq!(goaway.payload[..4], 0x7fff_ffff_u32.to_be_bytes());
        let ping = self.read(PING).await;
        assert_eq!(ping.flags & ACK, 0);
        ping
    }
}

struct Running {
    drain: Drain,
    address: std::net::SocketAddr,
    run: JoinHandle<Result<ShutdownReport, ShutdownError>>,
    stop: oneshot::Sender<()>,
    force: oneshot::Sender<()>,
}

/// An axum server under a `Shutdown` whose closing lasts until the test ends it.
async fn run() -> Running {
    let drain = Drain::new();
    let router = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(drain.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let (force, forced) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, async { stopped.await.unwrap() })
        .force_on(forced)
        .closing(Duration::MAX)
        .timeout(Duration::MAX);
    let serve = move |closing| axum::serve(listener, router).with_graceful_shutdown(closing);
    Running {
        drain,
        address,
        run: tokio::spawn(shutdown.run(serve)),
        stop,
        force,
    }
}

#[tokio::test]
async fn streams_that_cross_the_goodbye_are_served() {
    let server = run().await;
    let mut peer = Peer::connect(server.address).await;
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);

    server.stop.send(()).unwrap();
    let ping = peer.goodbye().await;
    // Sent by a client that the GOAWAY has not reached.
    for _ in 0..3 {
        let stream = peer.send_request().await;
        assert!(peer.is_served(stream).await);
    }
    assert_eq!(server.drain.phase(), Phase::Closing);
    peer.write(PING, ACK, 0, &ping.payload).await;
    let goaway = peer.read(GOAWAY).await;
    assert_eq!(goaway.payload[..4], 7_u32.to_be_bytes(), "the last stream");
    assert!(peer.try_read(HEADERS).await.is_none(), "it closes");
    let report = server.run.await.unwrap().unwrap();
    assert_eq!(report.refused(), 0);
}

#[tokio::test]
async fn a_peer_that_ignores_the_goodbye_is_served_while_closing_and_refused_after_it() {
    let server = run().await;
    let mut peer = Peer::connect(server.address).await;
    let stream = peer.send_request().await;
    assert!(peer.is_served(stream).await);

    server.stop.send(()).unwrap();
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
    server.force.send(()).unwrap();
    let error = server.run.await.unwrap().unwrap_err();
    assert!(matches!(error, ShutdownError::Forced(left) if left.in_flight() == 0));
}

#[tokio::test]
async fn a_peer_that_ignores_the_goodbye_is_named_at_the_deadline() {
    let drain = Drain::new();
    let router = Router::new()
        .route("/", get(|| async {}))
        .layer(drain.layer());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, is_connected) = oneshot::channel::<()>();
    let shutdown = Shutdown::new(&drain, async { is_connected.await.unwrap() });
    let run = shutdown
        .timeout(Duration::from_millis(50))
        .run(move |closing| axum::serve(listener, router).with_graceful_shutdown(closing));
    let peer = async {
        let mut peer = Peer::connect(address).await;
        let stream = peer.send_request().await;
        assert!(peer.is_served(stream).await);
        connected.send(()).unwrap();
        peer.goodbye().await;
        peer
    };
    let (outcome, _peer) = tokio::join!(run, peer);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("connections are still open"), "{error}");
}

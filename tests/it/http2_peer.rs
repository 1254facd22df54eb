//! An HTTP/2 peer on raw frames, for behavior that no client library has.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;

pub(crate) const ACK: u8 = 0x1;
const END_STREAM: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

/// HPACK: `:method: GET` and `:scheme: http`, `:authority` with a value, and `:path` up to its value.
const GET: &[u8] = b"\x82\x86\x41\x04here\x04";
/// Static entry of HPACK: `:status: 200`.
const STATUS_200: u8 = 0x88;

pub(crate) struct Frame {
    kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Peer<T> {
    socket: T,
    next_stream: u32,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Peer<T> {
    /// Opens a connection: the preface, and settings both ways.
    pub(crate) async fn connect(mut socket: T) -> Self {
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

    pub(crate) async fn write(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        // Three bytes of length, then type, flags and stream.
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        self.socket.write_all(&frame).await.unwrap();
    }

    /// Reads up to a frame of this kind. Returns `None` at the end of the connection.
    pub(crate) async fn try_read(&mut self, kind: u8) -> Option<Frame> {
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

    pub(crate) async fn read(&mut self, kind: u8) -> Frame {
        self.try_read(kind).await.expect("the connection has ended")
    }

    /// Sends a request for `/` on the next stream.
    pub(crate) async fn send_request(&mut self) -> u32 {
        self.send_request_for("/").await
    }

    pub(crate) async fn send_request_for(&mut self, path: &str) -> u32 {
        let stream = self.next_stream;
        self.next_stream += 2;
        let mut head = GET.to_vec();
        head.push(path.len() as u8);
        head.extend(path.as_bytes());
        self.write(HEADERS, END_STREAM | END_HEADERS, stream, &head)
            .await;
        stream
    }

    /// Returns whether the request on this stream got a 200.
    pub(crate) async fn is_served(&mut self, stream: u32) -> bool {
        loop {
            let head = self.read(HEADERS).await;
            if head.stream == stream {
                return head.payload[0] == STATUS_200;
            }
        }
    }

    /// Reads the server's goodbye: GOAWAY for all streams, and the PING to answer.
    pub(crate) async fn goodbye(&mut self) -> Frame {
        let goaway = self.read(GOAWAY).await;
        assert_eq!(goaway.payload[..4], 0x7fff_ffff_u32.to_be_bytes());
        let ping = self.read(PING).await;
        assert_eq!(ping.flags & ACK, 0);
        ping
    }

    /// Answers the PING of a goodbye.
    pub(crate) async fn answer(&mut self, ping: Frame) {
        self.write(PING, ACK, 0, &ping.payload).await;
    }
}

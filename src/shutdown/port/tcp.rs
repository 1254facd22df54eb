//! A TCP socket, as the kernel describes it.

use std::time::Duration;

#[derive(Clone, Debug, Default)]
pub(super) struct TcpSocket {
    /// Identifies the connection, from its first segment until all is over.
    pub(super) cookie: u64,
    pub(super) state: TcpState,
    /// Zero if no process has it open: it is not accepted yet, or is closed already.
    pub(super) inode: u32,
    /// Bytes that the server has not read.
    pub(super) unread: u32,
    /// Bytes that the peer has not acknowledged, without the end of the stream.
    pub(super) unacknowledged: u32,
    /// Bytes that have arrived, ever.
    pub(super) received: u64,
    /// Bytes that the peer has acknowledged, ever.
    pub(super) acknowledged: u64,
    /// Time since something arrived, or since the handshake.
    pub(super) quiet: Duration,
    pub(super) rtt: Duration,
    /// Time until a segment that is lost is sent again.
    pub(super) rto: Duration,
    /// How many segments were sent again.
    pub(super) retransmitted: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum TcpState {
    Listening,
    /// The last segment of the handshake has not arrived.
    HalfOpen,
    #[default]
    Open,
    /// Closed on this side. The peer has not acknowledged everything.
    Closing,
    /// Closed on this side. The peer has acknowledged everything.
    Closed,
}

/// The phase of a drain. Later phases compare greater.
///
/// ```text
///       lame_duck()       close()       start_draining()       last permit
/// Serving ──────▶ LameDuck ────▶ Closing ────────────▶ Draining ──────▶ Drained
///    ▲─── resume() ──┘
/// ```
///
/// A call may skip phases: [`close`](crate::Drain::close) works from `Serving`,
/// [`start_draining`](crate::Drain::start_draining) from any phase, and with nothing in flight it goes
/// straight to `Drained`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Ready. Requests are served.
    Serving,
    /// Announced as not ready. The port is open and requests are served. HTTP/1 responses ask clients to
    /// close their connections.
    LameDuck,
    /// The server has been asked to close its port and its connections. Requests that still arrive on
    /// open connections are served.
    Closing,
    /// New requests are refused. Those in flight finish.
    Draining,
    /// New requests are refused, and nothing is in flight. Final.
    Drained,
}

/// How far the server is on its way out, in order: later phases compare greater.
///
/// ```text
/// Serving ──lame_duck()──▶ LameDuck ──start()──▶ Draining ──last permit──▶ Drained
///    ▲───────resume()─────────┘
/// ```
///
/// `start()` also goes straight from `Serving`, and with nothing in flight straight to `Drained`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Ready, and serving what comes.
    Serving,
    /// Announced as not ready, and still serving what comes: balancers take notice, and keep-alive
    /// clients are told to leave (`Connection: close` on HTTP/1).
    LameDuck,
    /// Refusing what comes, waiting for what is in flight. There is no way back.
    Draining,
    /// Refusing what comes, and nothing is in flight. Final.
    Drained,
}

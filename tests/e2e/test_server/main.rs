//! The server that process tests start, with a route for each way in which a shutdown can be difficult. To
//! learn the crate, see `examples/` instead.
//!
//! Environment variables: `ADDR` (a path for `unix-drain` and `unix-plain`) and `BACKLOG`, unless a socket is passed as systemd does; `SERVER` (`drain`, or `plain`
//! for axum alone; `grpc-drain` or `grpc-plain` for tonic; `watch-drain` for an accept loop with watched
//! connections, and `spread-drain` if all of them are HTTP/2; `until-lame-duck` stops accepting when the lame duck begins); `TRACK` to track requests; `STARTUP` for the
//! seconds between listening for signals and running the server; `DUPLICATE` to use a duplicate of a passed socket; and, in seconds, `LAME_DUCK`, `QUIET`,
//! `SETTLE`, `CLOSING`, `TIMEOUT` and `FLUSH`.
//!
//! It is for Unix.

#[cfg(unix)]
mod long_lived;
#[cfg(unix)]
mod routes;
#[cfg(unix)]
mod server;
#[cfg(unix)]
mod until_lame_duck;

#[cfg(unix)]
fn main() {
    server::main();
}

#[cfg(not(unix))]
fn main() {
    eprintln!("This server is for Unix.");
}

//! Tests in one process, by topic. Tests that need their own process are separate binaries.
//!
//! Where each promise is tested. The numbers are those of the semantics in the project's design.
//!
//! | | promise | tests |
//! |---|---|---|
//! | 1 | admission and draining are one step | `misuse::draining_from_many_tasks_while_requests_come_and_go`, `refusal::an_unsent_refusal_does_not_delay_the_drain`; tests/loom.rs |
//! | 2 | in flight from arrival until the body is dropped | `release::`, `backpressure::`, `sockets::waiting::` |
//! | 3 | bodies pass untouched, large last frames are in flight | `body::`, `sockets::large_frames::` |
//! | 4 | no wake-up is lost | `wakers::`, `phases::dropped_waiters_do_not_consume_the_wake_up` |
//! | 5 | a drain starts when it is called | `waits::` |
//! | 6 | a refusal lets a keep-alive client go | `refusal::`, `sockets::a_new_request_on_a_kept_alive_connection` |
//! | 7 | responses ask to close from the lame duck on | `refusal::a_response_made_in_the_lame_duck`, `refusal::an_upgrade_keeps` |
//! | 8 | backpressure passes, refusals do not wait for it | `backpressure::readiness_is_that`, `backpressure::a_saturated_inner_service` |
//! | 9 | only permits keep a drain from finishing | `release::layers_and_services`, `lifecycle::` |
//! | 10 | zero in flight is not the end of the server | `shutdown::flush::`, `shutdown::port::linux::delivery::` |
//! | 11 | forcing ends every wait; nothing is starved | `shutdown::force::`, `shutdown::server::`, `shutdown::sequence::a_server_that_uses_up_its_budget` |
//! | 12 | what `cancel` does | `tracking::cancel::`, `sockets::cancelled::` |
//! | 13 | exempt requests and probes hold nothing open | `refusal::exempt_requests`, `readiness::` |
//! | 14 | when closing ends | `shutdown::sequence::closing_`, `shutdown::flush::closing_is_not_cut_short` |
//! | 15 | the order by hand, and the report | `sockets::without_a_shutdown`, `shutdown::sequence::from_the_signal_to_the_report` |
//! | 16 | a drain that was never started | `lifecycle::a_service_whose_drain_was_never_started` |
//! | 17 | nothing in flight is no failure | `shutdown::flush::`, `events::abandoned_connections`, `events::if_nothing_was_ever_counted` |
//! | 18 | at the deadline | `shutdown::expiry::` |
//! | 19 | CONNECT | `refusal::a_tunnel_is_not_closed`, `tracking::list::a_connect_is_named` |
//! | 20 | a shutdown that has started is not taken back | `shutdown::lame_duck::a_shutdown_that_has_started`, `shutdown::lame_duck::the_maximum_counts` |
//! | 21 | signals | `shutdown::misuse::listening_for_signals`; tests/e2e/sequence.rs |
//! | 22 | the process ends | tests/e2e/sequence.rs, tests/e2e/gin_equivalent.rs |
//! | 24 | what a client sends is bounded and harmless | `tracking::list::a_long_`, `tracking::list::unprintable_characters`, `events::client_text` |
//! | 25 | a gRPC answer only to a gRPC call | `refusal::a_request_with_a_grpc_type`, `refusal::grpc_calls` |
//! | 26 | `Connection: close` and HTTP/1.0 | `refusal::close_is_added`, `sockets::http1_0::` |
//! | 28 | `cancel` while draining misses no request | `tracking::race::cancelling_while_draining` |
//! | 29 | nested drains share permits | `release::a_shared_permit_of_nested_drains` |
//! | 30 | one `Shutdown` at a time | `shutdown::misuse::a_drain_has_one_shutdown` |
//! | 31 | no cost after a burst | benches/tracking.rs |
//! | 32 | panics of users' code | `wakers::a_waker_that_panics`, `tracking::race::a_waker_that_panics`, `goodbye::a_waker_that_panics` |
//! | | the port | `shutdown::port::`; tests/e2e/restarts |
//! | | long-lived work | `goodbye::`, `end_streams::`, `sockets::streams::` |
//! | | connections | `connections::` |
//! | | events | `events::` |
//!
//! 23 and 27 are documented limits: "Where to add it" at `DrainLayer`, and "Limits" in the documentation of the crate.

#![allow(missing_docs)]

mod autotraits;
mod backpressure;
mod body;
mod connections;
mod end_streams;
mod events;
mod goodbye;
mod http2_peer;
mod lifecycle;
mod misuse;
mod model;
mod module_boundaries;
mod phases;
mod readiness;
mod refusal;
mod release;
mod server;
mod shutdown;
mod sockets;
mod support;
mod tracking;
mod waits;
mod wakers;

/// Each name in the table above begins the name of a test.
#[test]
fn the_table_names_tests() {
    let list = std::process::Command::new(std::env::current_exe().unwrap())
        .arg("--list")
        .output()
        .unwrap();
    let tests = String::from_utf8(list.stdout).unwrap();
    let rows = include_str!("main.rs").lines();
    let rows = rows.filter(|line| line.starts_with("//! | "));
    let names = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    for name in names.filter(|name| name.contains("::")) {
        // The names of Linux are not there on other systems.
        let is_there = tests.lines().any(|test| test.starts_with(name));
        assert!(is_there || name.contains("linux"), "no test {name}");
    }
}

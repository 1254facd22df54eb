//! `spread_goodbye`, on a paused clock.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower_drain::{Phase, Shutdown, ShutdownReport};

use crate::goodbye::assert_spread;

use super::*;
use crate::http2_peer::{GOAWAY, Peer};

const LAME_DUCK: Duration = Duration::from_secs(100);
/// The time from the beginning of closing to the goodbye, plus the timer's resolution.
const LAST_LOOK: Duration = Duration::from_millis(11);

/// A connection that says goodbye early. Returns when its client gets the GOAWAY.
async fn connect(drain: &Drain) -> JoinHandle<Instant> {
    let (connection, client) = http2_connection(drain);
    tokio::spawn(drain.watch(connection).spread_goodbye());
    let mut peer = Peer::connect(client).await;
    tokio::spawn(async move {
        let ping = peer.goodbye().await;
        let at = Instant::now();
        peer.answer(ping).await;
        peer.read(GOAWAY).await;
        at
    })
}

async fn connect_many(drain: &Drain, count: usize) -> Vec<JoinHandle<Instant>> {
    join_all((0..count).map(|_| connect(drain))).await
}

/// Runs a shutdown with a lame duck of 100 seconds, starting now.
fn shut_down(drain: &Drain) -> JoinHandle<ShutdownReport> {
    let shutdown = Shutdown::new(drain, async {}).lame_duck(LAME_DUCK);
    let run = shutdown.run(async |closing| closing.await);
    tokio::spawn(async { run.await.unwrap() })
}

/// Returns the time of each goodbye since `start`.
async fn times(goodbyes: Vec<JoinHandle<Instant>>, start: Instant) -> Vec<Duration> {
    let goodbyes = join_all(goodbyes).await;
    goodbyes.into_iter().map(|at| at.unwrap() - start).collect()
}

/// Asserts that each goodbye followed as soon as closing began.
fn assert_at_once(times: &[Duration]) {
    assert!(times.iter().all(|time| *time <= LAST_LOOK), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn a_thousand_goodbyes_are_spread_over_the_second_half_of_the_lame_duck() {
    let drain = Drain::new();
    let goodbyes = connect_many(&drain, 1_000).await;
    let start = Instant::now();
    let run = shut_down(&drain);
    let times = times(goodbyes, start).await;
    assert_spread(&times, LAME_DUCK / 2, LAME_DUCK + LAST_LOOK);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_shutdown_the_goodbye_is_in_closing() {
    let drain = Drain::new();
    let goodbyes = connect_many(&drain, 10).await;
    drain.lame_duck();
    sleep(LAME_DUCK).await;
    assert!(goodbyes.iter().all(|goodbye| !goodbye.is_finished()));
    let start = Instant::now();
    drain.close();
    assert_at_once(&times(goodbyes, start).await);
}

#[tokio::test(start_paused = true)]
async fn a_connection_opened_in_the_lame_duck_is_not_asked_for_a_second() {
    let drain = Drain::new();
    let run = shut_down(&drain);
    sleep(LAME_DUCK - Duration::from_millis(1_500)).await;
    let start = Instant::now();
    let goodbyes = connect_many(&drain, 20).await;
    let times = times(goodbyes, start).await;
    assert!(
        times.iter().all(|time| *time >= Duration::from_secs(1)),
        "{times:?}"
    );
    // Two thirds of them have a goodbye in the first second.
    let early = times
        .iter()
        .filter(|time| **time <= Duration::from_millis(1_001));
    assert!(early.count() > 5, "{times:?}");
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_interrupt_has_no_lame_duck_to_spread_over() {
    let drain = Drain::new();
    let goodbyes = connect_many(&drain, 10).await;
    let (stop, stopped) = oneshot::channel();
    let shutdown = Shutdown::new(&drain, async { stopped.await.unwrap() }).lame_duck(LAME_DUCK);
    let run = tokio::spawn(shutdown.run(async |closing| closing.await));
    sleep(LAME_DUCK).await;
    let start = Instant::now();
    stop.send(tower_drain::Signal::Interrupt).unwrap();
    assert_at_once(&times(goodbyes, start).await);
    run.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_that_was_dropped_in_its_lame_duck_is_forgotten_after_it() {
    let drain = Drain::new();
    let run = shut_down(&drain);
    sleep(Duration::from_secs(1)).await;
    run.abort();
    sleep(LAME_DUCK).await;
    let goodbyes = connect_many(&drain, 10).await;
    sleep(LAME_DUCK).await;
    assert_eq!(drain.phase(), Phase::LameDuck);
    assert!(goodbyes.iter().all(|goodbye| !goodbye.is_finished()));
    let start = Instant::now();
    drain.close();
    assert_at_once(&times(goodbyes, start).await);
}

/// Its client has connected, and what it sends is still on its way.
#[tokio::test(start_paused = true)]
async fn a_goodbye_before_the_first_bytes_of_a_client_loses_nothing() {
    let drain = Drain::new();
    let run = shut_down(&drain);
    sleep(LAME_DUCK - Duration::from_secs(1)).await;
    let (connection, client) = http2_connection(&drain);
    tokio::spawn(drain.watch(connection).spread_goodbye());
    sleep(Duration::from_millis(1_020)).await;
    let mut peer = Peer::connect(client).await;
    let stream = peer.send_request().await;
    let ping = peer.goodbye().await;
    assert!(peer.is_served(stream).await);
    peer.answer(ping).await;
    run.await.unwrap();
}

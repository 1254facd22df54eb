//! `spread_goodbye`, on a paused clock.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tower_drain::{Phase, Shutdown, ShutdownReport};

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

/// Asserts that no tenth of the first half has more than a fifth of the goodbyes.
fn assert_spread(times: &[Duration]) {
    let tenth = LAME_DUCK / 2 / 10;
    for n in 0..10 {
        let of_this = |time: &&Duration| (tenth * n..=tenth * (n + 1)).contains(*time);
        let count = times.iter().filter(of_this).count();
        assert!(count > 0, "none in the tenth {n}");
        assert!(count <= times.len() / 5, "{count} in the tenth {n}");
    }
    // A timer fires up to a millisecond late.
    let last = times.iter().max().unwrap();
    assert!(*last <= LAME_DUCK / 2 + Duration::from_millis(1));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_goodbyes_are_spread_over_the_first_half_of_the_lame_duck() {
    let drain = Drain::new();
    let goodbyes = connect_many(&drain, 1_000).await;
    let start = Instant::now();
    let run = shut_down(&drain);
    assert_spread(&times(goodbyes, start).await);
    assert_eq!(drain.phase(), Phase::LameDuck);
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn in_a_lame_duck_without_an_end_there_is_no_goodbye_until_a_shutdown_starts() {
    let drain = Drain::new();
    let goodbyes = connect_many(&drain, 200).await;
    drain.lame_duck();
    sleep(LAME_DUCK / 4).await;
    assert!(goodbyes.iter().all(|goodbye| !goodbye.is_finished()));
    // A quarter of the lame duck has passed. Only the rest counts.
    let start = Instant::now();
    let run = shut_down(&drain);
    let times = times(goodbyes, start).await;
    let last = *times.iter().max().unwrap();
    assert!(
        last <= LAME_DUCK * 3 / 8 + Duration::from_millis(1),
        "{last:?}"
    );
    assert!(last > LAME_DUCK / 4, "{last:?}");
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
async fn a_lame_duck_that_ends_early_leaves_the_rest_to_closing() {
    let drain = Drain::new();
    let goodbyes = connect_many(&drain, 100).await;
    let start = Instant::now();
    let run = shut_down(&drain);
    sleep(LAME_DUCK / 10).await;
    drain.close();
    let closed = start.elapsed();
    let times = times(goodbyes, start).await;
    assert!(times.iter().any(|time| *time < closed));
    let after: Vec<_> = times.iter().filter(|time| **time >= closed).collect();
    assert!(after.len() > 50, "{times:?}");
    assert!(after.iter().all(|time| **time <= closed + LAST_LOOK));
    run.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_connection_opened_in_the_lame_duck_is_not_asked_for_100_ms() {
    let drain = Drain::new();
    let run = shut_down(&drain);
    // So late that half of the time left is less than the minimum age.
    sleep(LAME_DUCK - Duration::from_millis(150)).await;
    let start = Instant::now();
    let goodbyes = connect_many(&drain, 20).await;
    for time in times(goodbyes, start).await {
        let time = time.as_millis();
        assert!((100..=101).contains(&time), "{time} ms");
    }
    assert_eq!(drain.phase(), Phase::LameDuck);
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
    sleep(LAME_DUCK - Duration::from_millis(150)).await;
    let (connection, client) = http2_connection(&drain);
    tokio::spawn(drain.watch(connection).spread_goodbye());
    sleep(Duration::from_millis(120)).await;
    let mut peer = Peer::connect(client).await;
    let stream = peer.send_request().await;
    let ping = peer.goodbye().await;
    assert!(peer.is_served(stream).await);
    peer.answer(ping).await;
    run.await.unwrap();
}

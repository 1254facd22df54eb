//! Streams end one by one, on a paused clock.

use futures_util::future::join_all;
use tokio::time::{Duration, Instant, sleep};
use tower_drain::Shutdown;

use super::*;
use crate::goodbye::assert_spread;

#[tokio::test(start_paused = true)]
async fn streams_end_one_by_one_in_the_second_half_of_the_lame_duck() {
    let lame_duck = Duration::from_secs(100);
    let drain = Drain::new();
    let layer = drain.layer().end_streams(|_, _, _| true);
    let mut ends = Vec::new();
    let start = Instant::now();
    for n in 0..1_000 {
        let content_type = [EVENTS, "application/grpc"][n % 2];
        let inner = service(CONTENT_TYPE, content_type, &Stream::default());
        let call = layer.layer(inner).call(get_over(Version::HTTP_2));
        let mut body = call.await.unwrap().into_body();
        ends.push(tokio::spawn(async move {
            if content_type != EVENTS {
                let trailers = body.frame().await.unwrap().unwrap().into_trailers();
                assert_eq!(trailers.unwrap()["grpc-status"], "14");
            }
            assert!(body.frame().await.is_none());
            start.elapsed()
        }));
    }
    let shutdown = Shutdown::new(&drain, async {}).lame_duck(lame_duck);
    let run = tokio::spawn(shutdown.run(async |closing| closing.await));
    let ends: Vec<_> = join_all(ends).await;
    let ends: Vec<_> = ends.into_iter().map(Result::unwrap).collect();
    assert_spread(&ends, lame_duck / 2, lame_duck);
    run.await.unwrap().unwrap();
}

/// A body that is never pending: it has more than its client takes.
struct Torrent;

impl http_body::Body for Torrent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"more")))))
    }
}

#[tokio::test(start_paused = true)]
async fn streams_that_always_have_a_frame_end_one_by_one_too() {
    let lame_duck = Duration::from_secs(100);
    let drain = Drain::new();
    let layer = drain.layer().end_streams(|_, _, _| true);
    let start = Instant::now();
    let torrent = |_: Request<Body>| ready(Ok::<_, Infallible>(Response::new(Torrent)));
    let mut ends = Vec::new();
    for _ in 0..200 {
        let mut service = layer.layer(tower::service_fn(torrent));
        let mut body = service.call(get("/")).await.unwrap().into_body();
        ends.push(tokio::spawn(async move {
            while body.frame().await.is_some() {
                sleep(Duration::from_millis(100)).await;
            }
            start.elapsed()
        }));
    }
    let shutdown = Shutdown::new(&drain, async {}).lame_duck(lame_duck);
    let run = tokio::spawn(shutdown.run(async |closing| closing.await));
    let ends: Vec<_> = join_all(ends).await;
    let ends: Vec<_> = ends.into_iter().map(Result::unwrap).collect();
    let pause = Duration::from_millis(300);
    assert_spread(&ends, lame_duck / 2, lame_duck + pause);
    run.await.unwrap().unwrap();
}

//! The readiness service, phase by phase.

use http::StatusCode;
use tower::Service;
use tower_drain::{Drain, Phase};

use crate::support::{get, text};

#[tokio::test]
async fn readiness_fails_from_the_lame_duck_on_and_holds_nothing_open() {
    let drain = Drain::new();
    let mut readiness = drain.readiness();
    let mut probe = async || {
        let response = readiness.call(get("/readyz")).await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store");
        let closes = response.headers().contains_key("connection");
        assert_eq!(closes, response.status() != StatusCode::OK);
        (response.status(), text(response.into_body()).await)
    };
    let permit = drain.try_acquire().unwrap();
    assert_eq!(probe().await, (StatusCode::OK, "serving\n".into()));
    drain.lame_duck();
    assert_eq!(
        probe().await,
        (StatusCode::SERVICE_UNAVAILABLE, "lame duck\n".into())
    );
    drain.resume();
    assert_eq!(probe().await, (StatusCode::OK, "serving\n".into()));
    drain.close();
    assert_eq!(
        probe().await,
        (StatusCode::SERVICE_UNAVAILABLE, "closing\n".into())
    );
    drain.start_draining();
    assert_eq!(
        probe().await,
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n".into())
    );
    drop(permit);
    assert_eq!(drain.phase(), Phase::Drained);
    assert_eq!(
        probe().await,
        (StatusCode::SERVICE_UNAVAILABLE, "drained\n".into())
    );
}

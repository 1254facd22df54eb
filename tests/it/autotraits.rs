//! Auto traits, sizes and `Debug` of the public types.

use std::error::Error;
use std::mem::size_of;

use tokio::time::Instant;
use tower::Layer;
use tower_drain::future::ResponseFuture;
use tower_drain::*;

use crate::support::{Body, Hello, get};

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send + 'static>() {}
fn copied<T: Copy>() {}
fn cloned<T: Clone>() {}
fn error<T: Error + Send + Sync + 'static>() {}

#[test]
fn handles_and_futures_are_send_and_sync() {
    shared::<Drain>();
    shared::<DrainLayer>();
    shared::<DrainService<()>>();
    shared::<Permit>();
    shared::<Readiness>();
    shared::<Reached>();
    shared::<Goodbye>();
    shared::<DrainWait>();
    shared::<DrainReport>();
    shared::<ResponseBody<()>>();
    shared::<InFlightRequest>();
    shared::<DrainStatus>();
    shared::<Unfinished>();
    shared::<ConnectionClosed>();
    shared::<WatchedConnection<()>>();
    shared::<ShutdownReport>();
    shared::<Shutdown<()>>();
    shared::<signal::ShutdownSignal>();
    shared::<signal::ForceSignal>();
    sent::<ResponseFuture<(), ()>>();
}

#[test]
fn debug_says_what_it_is() {
    let drain = Drain::new();
    let response = tower::Service::call(&mut drain.layer().layer(Hello), get("/"));
    let body = ResponseBody::<Body>::default();
    let shutdown = Shutdown::new(&drain, std::future::pending::<()>());
    for (debug, name) in [
        (format!("{:?}", drain.reached(Phase::Drained)), "Reached"),
        (
            format!("{:?}", drain.drain_until(Instant::now())),
            "DrainWait",
        ),
        (
            format!("{:?}", {
                drain.start_draining();
                drain.try_acquire()
            }),
            "Err(TryAcquireError)",
        ),
        (format!("{:?}", drain.readiness()), "Readiness"),
        (format!("{:?}", drain.layer().layer(Hello)), "DrainService"),
        (format!("{:?}", drain.layer()), "DrainLayer"),
        (format!("{response:?}"), "ResponseFuture(\"called\")"),
        (format!("{body:?}"), "ResponseBody"),
        (format!("{shutdown:?}"), "Shutdown"),
    ] {
        assert!(debug.starts_with(name), "{debug}");
    }
}

#[test]
fn copies_and_clones() {
    copied::<Phase>();
    copied::<TryAcquireError>();
    copied::<RequestStage>();
    copied::<Signal>();
    copied::<Cancelled>();
    cloned::<Drain>();
    cloned::<Permit>();
    cloned::<DrainLayer>();
    cloned::<DrainService<()>>();
    cloned::<Readiness>();
}

#[test]
fn errors_are_errors() {
    error::<TryAcquireError>();
    error::<Unfinished>();
    error::<Cancelled>();
    error::<ShutdownError>();
}

#[test]
fn running_a_shutdown_may_be_spawned() {
    fn spawned<F: Future<Output = Result<ShutdownReport, ShutdownError>> + Send + 'static>(_: F) {}
    let drain = Drain::new();
    let shutdown = Shutdown::new(&drain, std::future::pending::<()>());
    spawned(shutdown.run(|closing| async {
        closing.await;
        Ok::<_, std::io::Error>(())
    }));
}

#[test]
fn a_layer_can_be_named_with_function_pointers() {
    type IsExempt = fn(&http::Request<Body>) -> bool;
    let layer: DrainLayer<DefaultRefusal, IsExempt> = Drain::new().layer().exempt(|_| false);
    let _: DrainService<Hello, DefaultRefusal, IsExempt> = layer.layer(Hello);
}

#[test]
fn a_service_gives_access_to_the_inner_one() {
    let mut service = DrainService::new(String::from("inner"), &Drain::new());
    service.get_mut().push('!');
    assert_eq!(service.get_ref(), "inner!");
    assert_eq!(service.into_inner(), "inner!");
}

#[test]
fn phases_are_in_order() {
    assert!(Phase::Serving < Phase::LameDuck);
    assert!(Phase::LameDuck < Phase::Closing);
    assert!(Phase::Closing < Phase::Draining);
    assert!(Phase::Draining < Phase::Drained);
}

#[test]
fn a_permit_is_two_words() {
    assert_eq!(size_of::<Permit>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Option<Permit>>(), size_of::<Permit>());
}

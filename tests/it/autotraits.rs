//! What the public types are, beyond what they do.

use std::error::Error;
use std::mem::size_of;

use tokio::time::Instant;
use tower::Layer;
use tower_drain::*;

use crate::support::{Body, Hello, get};

fn shared<T: Send + Sync + 'static>() {}
fn sent<T: Send + 'static>() {}
fn copied<T: Copy>() {}
fn cloned<T: Clone>() {}
fn error<T: Error + Send + Sync + 'static>() {}

#[test]
fn handles_and_futures_may_go_anywhere() {
    shared::<Drain>();
    shared::<DrainLayer>();
    shared::<DrainService<()>>();
    shared::<Permit>();
    shared::<Readiness>();
    shared::<Reached>();
    shared::<DrainWait>();
    shared::<Report>();
    shared::<ResponseBody<()>>();
    shared::<InFlightRequest>();
    shared::<Status>();
    shared::<Shutdown>();
    shared::<signal::ShutdownSignal>();
    sent::<Run<(), (), (), ()>>();
    sent::<ResponseFuture<(), ()>>();
    sent::<ReadinessFuture>();
}

#[test]
fn debug_says_what_it_is() {
    let drain = Drain::new();
    let response = tower::Service::call(&mut drain.layer().layer(Hello), get("/"));
    let body = ResponseBody::<Body>::default();
    let run = Shutdown::new(&drain).on(std::future::pending());
    for (debug, name) in [
        (format!("{:?}", drain.reached(Phase::Drained)), "Reached"),
        (
            format!("{:?}", drain.drain_until(Instant::now())),
            "DrainWait",
        ),
        (format!("{:?}", drain.try_enter()), "Err(Closed)"),
        (format!("{:?}", drain.readiness()), "Readiness"),
        (format!("{:?}", drain.layer().layer(Hello)), "DrainService"),
        (format!("{:?}", drain.layer()), "DrainLayer"),
        (format!("{response:?}"), "ResponseFuture(\"called\")"),
        (format!("{body:?}"), "ResponseBody"),
        (format!("{run:?}"), "Shutdown"),
        (format!("{:?}", run.run(async { Ok::<_, ()>(()) })), "Run"),
    ] {
        assert!(debug.starts_with(name), "{debug}");
    }
}

#[test]
fn copies_and_clones() {
    copied::<Phase>();
    copied::<Closed>();
    copied::<Stage>();
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
    error::<Closed>();
    error::<TimedOut>();
    error::<Cancelled>();
    error::<ShutdownError<std::io::Error>>();
}

#[test]
fn a_body_error_becomes_what_servers_want_whatever_the_inner_one_is() {
    type Boxed = Box<dyn Error + Send + Sync>;
    fn into<E: Into<Boxed>>() {}
    into::<BodyError<std::io::Error>>();
    into::<BodyError<std::convert::Infallible>>();
    into::<BodyError<Boxed>>();
}

#[test]
fn phases_are_in_order() {
    assert!(Phase::Serving < Phase::LameDuck);
    assert!(Phase::LameDuck < Phase::Draining);
    assert!(Phase::Draining < Phase::Drained);
}

#[test]
fn a_permit_is_two_words() {
    assert_eq!(size_of::<Permit>(), 2 * size_of::<usize>());
    assert_eq!(size_of::<Option<Permit>>(), size_of::<Permit>());
}

//! async-graphql's subscriptions. `GraphQLSubscription` upgrades the connection by itself, and no permit can be moved into
//! it. A handler with `GraphQLWebSocket` can hold the permit, and close the socket.

use std::sync::Arc;

use async_graphql::futures_util::stream::{self, BoxStream};
use async_graphql::http::ALL_WEBSOCKET_PROTOCOLS;
use async_graphql::parser::types::OperationType;
use async_graphql::{Data, EmptyMutation, Executor, Object, Request, Schema, Subscription};
use async_graphql_axum::{GraphQLProtocol, GraphQLWebSocket};
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message as Frame, WebSocketUpgrade, close_code};
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, Stream};
use tokio::time::sleep;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_util::task::TaskTracker;
use tower_drain::Permit;

use super::*;

struct Query(CancellationToken);

#[Object]
impl Query {
    /// The shutdown begins while it runs.
    async fn slow(&self) -> i32 {
        self.0.cancel();
        sleep(Duration::from_secs(1)).await;
        7
    }
}

struct Events;

#[Subscription]
impl Events {
    async fn numbers(&self) -> impl Stream<Item = i32> {
        stream::once(async { 1 }).chain(stream::pending())
    }
}

type Api = Schema<Query, EmptyMutation, Events>;

/// Counts queries and mutations, so that their answers come before the close.
#[derive(Clone)]
struct Counted(Api, TaskTracker);

impl Executor for Counted {
    async fn execute(&self, request: Request) -> async_graphql::Response {
        self.0.execute(request).await
    }

    fn execute_stream(
        &self,
        mut request: Request,
        data: Option<Arc<Data>>,
    ) -> BoxStream<'static, async_graphql::Response> {
        let is_endless = request.parsed_query().is_ok_and(|document| {
            let mut operations = document.operations.iter();
            operations.any(|(_, operation)| operation.node.ty == OperationType::Subscription)
        });
        let counted = (!is_endless).then(|| self.1.token());
        let responses = Executor::execute_stream(&self.0, request, data);
        Box::pin(responses.inspect(move |_| {
            let _counted = &counted;
        }))
    }
}

async fn subscribe(
    State((api, drain)): State<(Api, Drain)>,
    Extension(permit): Extension<Permit>,
    protocol: GraphQLProtocol,
    upgrade: WebSocketUpgrade,
) -> Response {
    let upgrade = upgrade.protocols(ALL_WEBSOCKET_PROTOCOLS);
    upgrade.on_upgrade(async move |socket| {
        let (mut sink, mut stream) = socket.split();
        let operations = TaskTracker::new();
        let api = Counted(api, operations.clone());
        let leave = async {
            drain.goodbye().await;
            operations.close();
            operations.wait().await;
        };
        // The end of its input ends `serve()`, and cuts off nothing that it sends.
        let input = stream.by_ref().take_until(leave);
        let served = GraphQLWebSocket::new_with_pair(&mut sink, input, api, protocol);
        served.serve().await;
        // A client resumes its subscriptions after 1001. A `complete` for each would end them for good.
        let away = CloseFrame {
            code: close_code::AWAY,
            reason: "the server is going away".into(),
        };
        // If the socket were dropped before the client's own close, a reset could overtake this one.
        let close = async {
            let _ = sink.send(Frame::Close(Some(away))).await;
            while let Some(Ok(_)) = stream.next().await {}
        };
        let _ = timeout(Duration::from_secs(2), close).await;
        drop(permit);
    })
}

#[tokio::test]
async fn a_subscription_ends_with_1001_after_the_answers_on_its_socket() {
    let (drain, stop) = (Drain::new(), CancellationToken::new());
    let api = Schema::new(Query(stop.clone()), EmptyMutation, Events);
    let app = Router::new()
        .route("/", any(subscribe))
        .with_state((api, drain.clone()))
        .layer(drain.layer().share_permit());
    let server = Server::start(&drain, app, &stop).await;

    let url = format!("ws://{}/", server.address);
    let mut request = url.into_client_request().unwrap();
    let protocol = "graphql-transport-ws".parse().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", protocol);
    let (mut client, _) = connect_async(request).await.unwrap();
    for (message, answer) in [
        (r#"{"type":"connection_init"}"#, "connection_ack"),
        (
            r#"{"type":"subscribe","id":"a","payload":{"query":"subscription { numbers }"}}"#,
            r#""numbers":1"#,
        ),
        (
            r#"{"type":"subscribe","id":"b","payload":{"query":"{ slow }"}}"#,
            r#""slow":7"#,
        ),
    ] {
        client.send(message.into()).await.unwrap();
        read_to(&mut client, answer).await;
    }
    let rest = rest(&mut client).await;
    assert_eq!(rest[0], Message::text(r#"{"type":"complete","id":"b"}"#));
    assert!(
        matches!(&rest[1..], [Message::Close(Some(frame))] if u16::from(frame.code) == 1001),
        "{rest:?}"
    );
    server.ends().await;
}

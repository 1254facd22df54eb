//! An MCP server, with rmcp. A tool call is a POST that is answered by an event stream, and must not be cut off. The stream
//! of a GET is endless (up to protocol version 2025-11-25), and so is that of `subscriptions/listen` (from 2026-07-28),
//! which is a POST: no layer can tell it from a tool call, so its handler ends it.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ServerCapabilities,
    ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;
use tower_drain::is_event_stream;

use super::*;

struct Tools {
    drain: Drain,
    stop: CancellationToken,
}

impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools();
        ServerConfig::new(capabilities.enable_tool_list_changed().build())
    }

    async fn call_tool(
        &self,
        _: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        // The shutdown begins while it runs.
        self.stop.cancel();
        sleep(Duration::from_secs(3)).await;
        Ok(CallToolResult::success(vec![ContentBlock::text("finished")]).into())
    }

    fn accepted_subscription_filter(
        &self,
        filter: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(filter.clone())
    }

    // Returning ends the subscription with a last message, so that the client sees that it is over.
    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        tokio::select! {
            () = subscription.cancelled() => {}
            () = self.drain.goodbye() => {}
        }
        Ok(())
    }
}

/// The last chunk of a body, which is missing if it is cut off.
const END: &str = "\r\n0\r\n\r\n";

/// Sends a request on a connection of its own, and reads the response until `end`.
async fn send(
    address: SocketAddr,
    (method, headers, body): (&str, &str, &str),
    end: &str,
) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{method} /mcp HTTP/1.1\r\nhost: localhost\r\naccept: application/json, text/event-stream\r\n{headers}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let response = read(&mut stream, end).await;
    (stream, response)
}

async fn read(stream: &mut TcpStream, end: &str) -> String {
    let mut response = String::new();
    while !response.contains(end) {
        let byte = timeout(LIMIT, stream.read_u8()).await.unwrap();
        response.push(byte.expect(&response).into());
    }
    response
}

#[tokio::test]
async fn a_tool_call_is_answered_and_endless_streams_end() {
    let (drain, stop) = (Drain::new(), CancellationToken::new());
    let (handle, started) = (drain.clone(), stop.clone());
    let tools = move || {
        Ok(Tools {
            drain: handle.clone(),
            stop: started.clone(),
        })
    };
    // Its `cancellation_token` cuts off tool calls: do not cancel it before `run` has returned.
    let config = StreamableHttpServerConfig::default();
    let mcp: StreamableHttpService<_, LocalSessionManager> =
        StreamableHttpService::new(tools, Arc::default(), config);
    let app = Router::new()
        .route_service("/mcp", mcp)
        .layer(drain.layer().end_streams(is_event_stream));
    let server = Server::start(&drain, app, &stop).await;
    let address = server.address;

    let body = r#"{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;
    let (_, response) = send(address, ("POST", "", body), END).await;
    let session = response
        .lines()
        .find(|line| line.starts_with("mcp-session-id:"))
        .unwrap();
    let session = format!("{session}\r\nmcp-protocol-version: 2025-06-18\r\n");
    let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    send(address, ("POST", &session, body), "202 Accepted").await;
    let (mut endless, _) = send(address, ("GET", &session, ""), "text/event-stream").await;

    let version = "mcp-protocol-version: 2026-07-28\r\nmcp-method: subscriptions/listen\r\n";
    let body = r#"{"jsonrpc":"2.0","id":2,"method":"subscriptions/listen","params":{"notifications":{"toolsListChanged":true},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"test","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}}}"#;
    let (mut listening, _) = send(address, ("POST", version, body), "acknowledged").await;

    let body =
        r#"{"jsonrpc":"2.0","id":3,"method":"tools/call","params":{"name":"slow","arguments":{}}}"#;
    let (_, answer) = send(address, ("POST", &session, body), END).await;
    assert!(answer.contains("finished"), "{answer}");
    read(&mut endless, END).await;
    let last = read(&mut listening, END).await;
    assert!(last.contains(r#""resultType":"complete""#), "{last}");
    server.ends().await;
}

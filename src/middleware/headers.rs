//! Response headers that tell a client to leave.

use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use std::task::Poll;

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// What decides whether the response to a request carries `Connection: close`.
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionRule {
    version: Version,
    is_connect: bool,
}

impl ConnectionRule {
    #[inline]
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self {
            version: request.version(),
            is_connect: request.method() == Method::CONNECT,
        }
    }

    /// Whether there is a `Connection` header. HTTP/2 and later have none.
    pub(super) fn is_http1(self) -> bool {
        self.version <= Version::HTTP_11
    }

    /// Asks the client to leave, in a response that is served.
    #[cold]
    #[inline(never)]
    pub(super) fn ask_to_close<B, E>(self, polled: &mut Poll<Result<Response<B>, E>>) {
        let Poll::Ready(Ok(response)) = polled else {
            return;
        };
        let status = response.status();
        // A connection that is handed over has no next request.
        let is_handed_over =
            status == StatusCode::SWITCHING_PROTOCOLS || self.is_connect && status.is_success();
        if self.is_http1() && !is_handed_over {
            self.close(response);
        }
    }

    /// Sets the headers of a refusal, so that the client goes elsewhere and no cache stores it.
    pub(super) fn finish_refusal<B>(self, response: &mut Response<B>, retry_after: u32) {
        if self.is_http1() {
            self.close(response);
        } else {
            response.headers_mut().remove(CONNECTION);
        }
        let headers = response.headers_mut();
        headers
            .entry(RETRY_AFTER)
            .or_insert_with(|| HeaderValue::from(retry_after));
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
    }

    pub(super) fn close<B>(self, response: &mut Response<B>) {
        add_close(response.headers_mut());
        // hyper adds `keep-alive` to a later version if the client asked for it, and a client of HTTP/1.0 then sends
        // its next request on the connection.
        if self.version < Version::HTTP_11 {
            *response.version_mut() = self.version;
        }
    }
}

/// Adds `close` to the tokens of `Connection`, in place of `keep-alive`.
fn add_close(headers: &mut HeaderMap) {
    let mut tokens = Vec::new();
    for value in headers.get_all(CONNECTION) {
        for token in value.as_bytes().split(|byte| *byte == b',') {
            let token = token.trim_ascii();
            let dropped = [&b""[..], b"keep-alive", b"close"];
            if !dropped
                .iter()
                .any(|other| token.eq_ignore_ascii_case(other))
            {
                tokens.extend_from_slice(token);
                tokens.extend_from_slice(b", ");
            }
        }
    }
    tokens.extend_from_slice(b"close");
    // Never an error: the tokens come from header values.
    let value = HeaderValue::from_bytes(&tokens).unwrap_or(CLOSE);
    headers.insert(CONNECTION, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_is_added_to_the_other_tokens() {
        for (before, after) in [
            (&[][..], "close"),
            (&["keep-alive"], "close"),
            (&["close"], "close"),
            (&["Keep-Alive, x-hop"], "x-hop, close"),
            (&["upgrade, x-hop"], "upgrade, x-hop, close"),
            (&["x-one", "x-two,,Close"], "x-one, x-two, close"),
        ] {
            let mut headers = HeaderMap::new();
            for value in before {
                headers.append(CONNECTION, HeaderValue::from_static(value));
            }
            add_close(&mut headers);
            let values: Vec<_> = headers.get_all(CONNECTION).iter().collect();
            assert_eq!(values, [after]);
        }
    }
}

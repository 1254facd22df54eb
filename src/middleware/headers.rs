//! Response headers that tell a client to leave.

use std::task::Poll;

use http::header::{CACHE_CONTROL, CONNECTION, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};

const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// Whether the response to a request may carry `Connection: close`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionRule {
    /// HTTP/1: `Connection: close` ends the connection after the response.
    MayClose,
    /// HTTP/1 `CONNECT`: the same, unless the response opens a tunnel.
    MayCloseUnlessTunnel,
    /// HTTP/2 and later have no `Connection` header.
    NoHeader,
}

impl ConnectionRule {
    #[inline]
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        if request.version() > Version::HTTP_11 {
            Self::NoHeader
        } else if request.method() == Method::CONNECT {
            Self::MayCloseUnlessTunnel
        } else {
            Self::MayClose
        }
    }

    /// Asks the client to leave, in a response that is served.
    #[cold]
    #[inline(never)]
    pub(super) fn close<B, E>(self, polled: &mut Poll<Result<Response<B>, E>>) {
        let Poll::Ready(Ok(response)) = polled else {
            return;
        };
        let status = response.status();
        // A connection that is handed over has no next request.
        let is_handed_over = status == StatusCode::SWITCHING_PROTOCOLS
            || self == Self::MayCloseUnlessTunnel && status.is_success();
        if self != Self::NoHeader && !is_handed_over {
            add_close(response.headers_mut());
        }
    }

    /// Sets the headers of a refusal, so that the client goes elsewhere and no cache stores it.
    pub(super) fn set_refusal_headers(self, headers: &mut HeaderMap, retry_after: u64) {
        if self == Self::NoHeader {
            headers.remove(CONNECTION);
        } else {
            add_close(headers);
        }
        headers
            .entry(RETRY_AFTER)
            .or_insert_with(|| HeaderValue::from(retry_after));
        headers
            .entry(CACHE_CONTROL)
            .or_insert(HeaderValue::from_static("no-store"));
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

//! The lines of a streamed answer, as a watch sends one event in each.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use kube::client::Body;
use rota_api::ApiError;

use crate::remote::unreachable_error;

/// The longest line that is read: an object of the largest size a server takes, and its frame.
const LINE_BYTES_MAX: usize = 16 << 20;

/// The lines of a body, read as they arrive.
pub struct Lines {
    body: Body,
    buffer: BytesMut,
    /// How much of the buffer is known to hold no line end.
    scanned: usize,
}

impl Lines {
    /// The lines of `body`.
    pub fn of(body: Body) -> Self {
        Self {
            body,
            buffer: BytesMut::new(),
            scanned: 0,
        }
    }

    /// The next line that is not empty, without its end; `None` when the body has ended. A last line without an end is cut
    /// off by the server's close and not shown.
    ///
    /// Errors: the connection broke, or a line is longer than any object may be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(end) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.scanned + end).freeze();
                self.buffer.advance(1);
                self.scanned = 0;
                if !line.is_empty() {
                    return Ok(Some(line));
                }
                continue;
            }
            self.scanned = self.buffer.len();
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ApiError::internal(
                    "a line of the watch is longer than any object may be",
                ));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(error)) => return Err(unreachable_error(&error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_whole_however_the_body_is_cut() {
        let body = Body::from(b"{\"a\":1}\n\n{\"b\":2}\ncut off".to_vec());
        let mut lines = Lines::of(body);
        assert_eq!(lines.next().await.unwrap().unwrap(), &b"{\"a\":1}"[..]);
        assert_eq!(lines.next().await.unwrap().unwrap(), &b"{\"b\":2}"[..]);
        assert!(lines.next().await.unwrap().is_none());
    }
}

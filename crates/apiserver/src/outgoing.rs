//! Replies on their way: how much memory those may hold that their clients have not taken yet, and for how long.
//!
//! A reply is made at once and taken at the client's pace, and a client may have many under way. Beyond the budget further large
//! replies are refused; a connection that does not take one in time is closed, as upstream's deadline ends a request that is not
//! answered to its end. Streams have limits of their own.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rota_api::{ApiError, Reason};
use serde_json::json;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::body::Body;
use crate::reply::Reply;

/// Replies from this size on count. Unit: bytes.
const LARGE: usize = 64 << 10;
/// In what the budget is counted. Unit: bytes.
const UNIT: usize = 1 << 10;

/// The budget of all connections.
pub(crate) struct Outgoing {
    room: Arc<Semaphore>,
    units: u32,
    timeout: Duration,
}

/// What requests and their connection know of each other.
#[derive(Default)]
pub(crate) struct Connection {
    stuck: Notify,
}

impl Connection {
    /// Ends when the client has not taken a reply in time.
    pub(crate) async fn stuck(&self) {
        self.stuck.notified().await;
    }
}

/// A body that gives its part of the budget back when the last of it was sent.
struct Held {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
    _taken: oneshot::Sender<()>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Outgoing {
    /// A budget of so many bytes; replies have to be taken within `timeout`.
    pub(crate) fn new(bytes: usize, timeout: Duration) -> Self {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).max(1);
        Self {
            room: Arc::new(Semaphore::new(units as usize)),
            units,
            timeout,
        }
    }

    /// Counts a large reply until it was sent. What tells of something done goes out, room or not: whoever is refused tries again.
    ///
    /// Errors: 429, too much is under way.
    pub(crate) fn hold(
        &self,
        mut reply: Reply,
        tells_of_write: bool,
        connection: &Arc<Connection>,
    ) -> Result<Reply, ApiError> {
        let bytes = match reply.body_mut() {
            Body::Whole(Some(bytes)) if bytes.len() >= LARGE => std::mem::take(bytes),
            _ => return Ok(reply),
        };
        // One that is larger than the budget goes alone.
        let units = u32::try_from(bytes.len() / UNIT).unwrap_or(u32::MAX).min(self.units);
        let room = Arc::clone(&self.room).try_acquire_many_owned(units).ok();
        if room.is_none() && !tells_of_write {
            return Err(ApiError::new(
                Reason::TooManyRequests,
                "too many replies wait for their clients to take them, please try again later",
            )
            .with_details(json!({"retryAfterSeconds": 1})));
        }
        let (taken, is_taken) = oneshot::channel::<()>();
        let (connection, timeout) = (Arc::clone(connection), self.timeout);
        tokio::spawn(async move {
            if tokio::time::timeout(timeout, is_taken).await.is_err() {
                connection.stuck.notify_one();
            }
        });
        let held = Held {
            bytes,
            _room: room,
            _taken: taken,
        };
        *reply.body_mut() = Bytes::from_owner(held).into();
        Ok(reply)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    fn reply(size: usize) -> Reply {
        crate::reply::text(StatusCode::OK, vec![b'a'; size])
    }

    #[tokio::test]
    async fn a_connection_that_does_not_take_its_reply_in_time_is_known_and_gives_the_room_back() {
        let outgoing = Outgoing::new(1 << 20, Duration::from_millis(1));
        let connection = Arc::new(Connection::default());
        let held = outgoing
            .hold(reply(1 << 20), false, &connection)
            .expect("there is room");
        connection.stuck().await;
        let refused = outgoing.hold(reply(LARGE), false, &connection).map(drop);
        assert_eq!(refused.unwrap_err().code(), 429);
        assert!(
            outgoing.hold(reply(LARGE - 1), false, &connection).is_ok(),
            "small ones do not count"
        );
        drop(held);
        let larger = outgoing.hold(reply(2 << 20), false, &connection);
        assert!(larger.is_ok(), "one that is larger than all of the room goes alone");
    }
}

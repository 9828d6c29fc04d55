//! Connections that outlive their request: sessions in containers over WebSocket.
//!
//! [`websocket`] is the protocol of messages, [`session`] carries the streams of a process in them.

pub(crate) mod session;
pub(crate) mod websocket;

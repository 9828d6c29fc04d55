//! Does the server answer as upstream's does? Replays recorded requests, and runs `kubectl`, against a server in process.
//!
//! Never shipped; nothing depends on it. [`cluster`] starts a server, [`client`] speaks to it, [`case`] and [`pattern`] are
//! the recorded cases and the labels in them ([`verbatim`]: bodies as they were sent), [`replay`] carries them out.

pub mod case;
pub mod client;
pub mod cluster;
pub mod compare;
pub mod pattern;
pub mod replay;
pub mod verbatim;

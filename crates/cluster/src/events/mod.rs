//! Events for users: notes of controllers, scheduler and agents become `Event` objects.
//!
//! [`correlate`] decides, without clock or I/O, what is said again, counted up or dropped; [`recorder`] writes it in
//! batches beside the real work, which never waits for an event.

pub mod correlate;
pub mod recorder;

pub use recorder::Recorder;

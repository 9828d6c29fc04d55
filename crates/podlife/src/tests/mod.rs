//! Lives of pods as transcripts: what a pod asked for, was told and reported, second by second.

mod bench;
mod endings;
mod ephemeral;
mod restarts;
mod starts;

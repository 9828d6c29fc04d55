//! The wall clock and the randomness of this machine: the one place where they enter.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use rota_api::Timestamp;
use rota_registry::Env;

/// The machine.
#[derive(Debug)]
pub(crate) struct SystemEnv {
    /// SplitMix64, seeded from the kernel: names and uids must not repeat, but guard no secret.
    state: AtomicU64,
}

impl SystemEnv {
    /// Seeds from the kernel.
    ///
    /// Errors: the kernel has no randomness to give.
    pub(crate) fn new() -> Result<Self> {
        let seed = getrandom::u64().context("reading randomness from the kernel")?;
        Ok(Self {
            state: AtomicU64::new(seed),
        })
    }
}

impl Env for SystemEnv {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn random(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut bits = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }
}

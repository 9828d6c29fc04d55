//! What the registry takes from outside: the time and randomness. Nothing else in this crate reads a clock or entropy.

use rota_api::Timestamp;

/// The only source of time and randomness.
pub trait Env: Send + Sync + 'static {
    /// The wall clock.
    fn now(&self) -> Timestamp;

    /// 64 random bits.
    fn random(&self) -> u64;
}

/// A random (version 4) UUID.
pub(crate) fn uuid(env: &dyn Env) -> String {
    let bits = (u128::from(env.random()) << 64) | u128::from(env.random());
    let version_4 = (bits & !(0xf << 76)) | (0x4 << 76);
    let variant_1 = (version_4 & !(0b11 << 62)) | (0b10 << 62);
    let hex = format!("{variant_1:032x}");
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

/// An instant as `metadata` shows it: whole seconds, UTC.
pub(crate) fn whole_seconds(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Ones;
    impl Env for Ones {
        fn now(&self) -> Timestamp {
            Timestamp::UNIX_EPOCH
        }
        fn random(&self) -> u64 {
            u64::MAX
        }
    }

    #[test]
    fn a_uuid_carries_version_4_and_the_standard_variant() {
        assert_eq!(uuid(&Ones), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn metadata_times_have_no_fraction() {
        let at: Timestamp = "2026-01-02T03:04:05.678Z".parse().unwrap();
        assert_eq!(whole_seconds(at), "2026-01-02T03:04:05Z");
    }
}

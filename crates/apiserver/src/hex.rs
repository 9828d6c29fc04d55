//! Bytes as hexadecimal text.

use std::fmt::Write;

/// Two lower-case digits for each byte.
pub(crate) fn lower(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

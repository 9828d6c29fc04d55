//! Answers that came compressed.

use std::io::{self, Read as _};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// The largest answer that is unpacked. A page of a list is far smaller.
const UNPACKED_BYTES_MAX: u64 = 1 << 30;

/// The body as it was before it was compressed.
///
/// Errors: it is no gzip stream, or longer than any answer may be.
pub(super) fn unpacked(headers: &HeaderMap, body: Bytes) -> io::Result<Bytes> {
    if headers.get(CONTENT_ENCODING).is_none_or(|coding| coding != "gzip") {
        return Ok(body);
    }
    let mut whole = Vec::with_capacity(body.len() * 4);
    let mut limited = GzDecoder::new(&body[..]).take(UNPACKED_BYTES_MAX);
    limited.read_to_end(&mut whole)?;
    if whole.len() as u64 == UNPACKED_BYTES_MAX {
        return Err(io::Error::other("the answer is longer than any may be"));
    }
    Ok(whole.into())
}

//! The files that hold recordings: one JSON object per line, compressed by gzip or not.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use serde_json::Value;

/// What every file compressed by gzip begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// The scenarios of a file.
///
/// Errors: it is no text, or a line is no JSON.
pub fn read(bytes: &[u8]) -> io::Result<Vec<Value>> {
    let mut text = String::new();
    if bytes.starts_with(&GZIP) {
        GzDecoder::new(bytes).read_to_string(&mut text)?;
    } else {
        text.push_str(std::str::from_utf8(bytes).map_err(io::Error::other)?);
    }
    let lines = text.lines().filter(|line| !line.is_empty());
    lines.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The ids of a list of lines `<id> <reason>`, such as the scenarios that are known to differ.
pub fn ids(list: &str) -> Vec<&str> {
    let lines = list.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_whitespace().next()).collect()
}

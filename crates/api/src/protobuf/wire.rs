//! The wire format of protocol buffers: varints, keys, length-delimited fields. What the fields mean is not known here.

use super::ProtobufError;

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "only the low seven bits are kept")]
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the loop leaves less than 0x80")]
    out.push(value as u8);
}

/// Appends a varint field.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u32, value: i64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value.cast_unsigned());
}

/// Appends a length-delimited field.
pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a 64-bit field.
pub(crate) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_varint(out, u64::from(number) << 3 | 1);
    out.extend_from_slice(&value.to_le_bytes());
}

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Content<'a> {
    /// A varint.
    Number(u64),
    /// Eight bytes.
    Fixed(u64),
    /// A string, bytes, a message or a packed list.
    Bytes(&'a [u8]),
}

impl Content<'_> {
    /// The integer of a varint field.
    pub(super) fn as_integer(self) -> Option<i64> {
        match self {
            Self::Number(value) => Some(value.cast_signed()),
            Self::Fixed(_) | Self::Bytes(_) => None,
        }
    }
}

/// Reads the fields of a message one after the other.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's number and content; `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<(u32, Content<'a>)>, ProtobufError> {
        loop {
            if self.0.is_empty() {
                return Ok(None);
            }
            let key = self.varint()?;
            let number = u32::try_from(key >> 3).map_err(|_| ProtobufError::Malformed)?;
            let content = match key & 7 {
                0 => Content::Number(self.varint()?),
                1 => {
                    let bytes = self.take(8)?;
                    Content::Fixed(bytes.iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte)))
                }
                2 => {
                    let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Malformed)?;
                    Content::Bytes(self.take(length)?)
                }
                // No message of the API has 32-bit fields: whatever it is, it is skipped.
                5 => {
                    self.take(4)?;
                    continue;
                }
                _ => return Err(ProtobufError::Malformed),
            };
            return Ok(Some((number, content)));
        }
    }

    /// The next varint, also of a packed list.
    pub(super) fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(ProtobufError::Malformed)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Malformed)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], ProtobufError> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }
}

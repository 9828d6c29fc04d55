//! SPDY/3.1 as far as Kubernetes uses it: many byte streams, opened by the client, over one connection. Both sides, as the
//! server is a client of nodes.
//!
//! Streams are not limited by windows: the peers do not announce any. What streams are for is not known here.
//!
//! Source: `spec/api.md` §4.2; SPDY protocol, draft 3.1.

use std::collections::BTreeMap;

use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use tokio::io::{self, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The largest frame that is read. Unit: bytes.
const FRAME_SIZE_MAX: usize = 1024 * 1024;
/// The largest block of headers, uncompressed. Unit: bytes.
const HEADERS_SIZE_MAX: usize = 64 * 1024;
/// The version in control frames.
const VERSION: u16 = 3;
const FLAG_FIN: u8 = 1;

const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;

/// A stream's number.
pub(crate) type StreamId = u32;

/// What the peer sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// A new stream.
    Open {
        stream: StreamId,
        headers: BTreeMap<String, String>,
    },
    /// Bytes of a stream.
    Data {
        stream: StreamId,
        bytes: Bytes,
        is_last: bool,
    },
    /// The peer gives a stream up.
    Reset { stream: StreamId },
    /// To be sent back.
    Ping(u32),
    /// The peer is about to leave.
    GoAway,
}

/// What is sent to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A new stream; the client's numbers are odd and rise.
    Open {
        stream: StreamId,
        headers: Vec<(&'static str, String)>,
    },
    /// A stream is accepted.
    Accept(StreamId),
    /// Bytes of a stream.
    Data {
        stream: StreamId,
        bytes: Bytes,
        is_last: bool,
    },
    /// The answer to a ping.
    Ping(u32),
}

/// The words that both sides know before the first header, so that they compress well.
fn dictionary() -> Vec<u8> {
    const NAMES: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
        accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
        content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
        if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
        proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
        user-agent vary via warning www-authenticate method get status";
    const TAIL: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505\
        203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden\
        404 Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug \
        Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
        application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,\
        sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0.";
    let rest = [
        "200 OK",
        "version",
        "HTTP/1.1",
        "url",
        "public",
        "set-cookie",
        "keep-alive",
        "origin",
    ];
    let mut words = Vec::with_capacity(1423);
    for word in NAMES.split_whitespace().chain(rest) {
        text(word.as_bytes(), &mut words);
    }
    words.extend_from_slice(TAIL.as_bytes());
    words
}

/// A text behind its length.
fn text(text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(text);
}

fn broken(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Reads frames.
pub(crate) struct Reader<R> {
    input: R,
    headers: Decompress,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self {
            input,
            headers: Decompress::new(true),
        }
    }

    /// The next frame that matters.
    ///
    /// Errors: the connection ends, or breaks the protocol or its limits.
    pub(crate) async fn next(&mut self) -> io::Result<Frame> {
        loop {
            let head = self.input.read_u32().await?;
            let flags_and_size = self.input.read_u32().await?;
            let (flags, size) = ((flags_and_size >> 24) as u8, (flags_and_size & 0x00ff_ffff) as usize);
            if size > FRAME_SIZE_MAX {
                return Err(broken("a frame too large"));
            }
            let mut payload = vec![0; size];
            self.input.read_exact(&mut payload).await?;
            if head & 0x8000_0000 == 0 {
                return Ok(Frame::Data {
                    stream: head,
                    bytes: payload.into(),
                    is_last: flags & FLAG_FIN != 0,
                });
            }
            let number = |at: usize| {
                payload
                    .get(at..at + 4)
                    .and_then(|b| Some(u32::from_be_bytes(b.try_into().ok()?)))
            };
            let number = |at: usize| number(at).ok_or_else(|| broken("a frame too short"));
            match (head & 0xffff) as u16 {
                SYN_STREAM => {
                    const BLOCK_AT: usize = 10;
                    let stream = number(0)? & 0x7fff_ffff;
                    let block = payload.get(BLOCK_AT..).ok_or_else(|| broken("a frame too short"))?;
                    let headers = parse_headers(&self.inflate(block)?)?;
                    return Ok(Frame::Open { stream, headers });
                }
                RST_STREAM => {
                    return Ok(Frame::Reset {
                        stream: number(0)? & 0x7fff_ffff,
                    });
                }
                PING => return Ok(Frame::Ping(number(0)?)),
                GOAWAY => return Ok(Frame::GoAway),
                _ => {}
            }
        }
    }

    /// All headers of a connection are one compressed stream.
    fn inflate(&mut self, block: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::with_capacity(1024);
        let mut rest = block;
        while !rest.is_empty() {
            let before = (self.headers.total_in(), self.headers.total_out());
            out.reserve(1024);
            let result = self.headers.decompress_vec(rest, &mut out, FlushDecompress::Sync);
            let read = (self.headers.total_in() - before.0) as usize;
            rest = rest.get(read..).unwrap_or_default();
            match result {
                Ok(_) if read > 0 || self.headers.total_out() > before.1 => {}
                Ok(_) => return Err(broken("headers that cannot be decompressed")),
                Err(error) if error.needs_dictionary().is_some() => {
                    self.headers
                        .set_dictionary(&dictionary())
                        .map_err(|_| broken("headers compressed with another dictionary"))?;
                }
                Err(_) => return Err(broken("headers that cannot be decompressed")),
            }
            if out.len() > HEADERS_SIZE_MAX {
                return Err(broken("headers too large"));
            }
        }
        Ok(out)
    }
}

fn parse_headers(block: &[u8]) -> io::Result<BTreeMap<String, String>> {
    let mut rest = block;
    let count = take_number(&mut rest)?;
    let mut headers = BTreeMap::new();
    for _ in 0..count {
        let name = take_text(&mut rest)?;
        headers.insert(name, take_text(&mut rest)?);
    }
    Ok(headers)
}

fn take_number(rest: &mut &[u8]) -> io::Result<u32> {
    let (number, left) = rest
        .split_first_chunk::<4>()
        .ok_or_else(|| broken("headers too short"))?;
    *rest = left;
    Ok(u32::from_be_bytes(*number))
}

fn take_text(rest: &mut &[u8]) -> io::Result<String> {
    let size = take_number(rest)? as usize;
    let (text, left) = rest.split_at_checked(size).ok_or_else(|| broken("headers too short"))?;
    *rest = left;
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Writes frames.
pub(crate) struct Writer<W> {
    output: W,
    headers: Compress,
}

impl<W: AsyncWrite + Unpin> Writer<W> {
    pub(crate) fn new(output: W) -> Self {
        let mut headers = Compress::new(Compression::fast(), true);
        // A compressor that has compressed nothing yet takes any dictionary.
        let _ = headers.set_dictionary(&dictionary());
        Self { output, headers }
    }

    /// Writes a frame.
    ///
    /// Errors: the connection ends.
    pub(crate) async fn write(&mut self, reply: Reply) -> io::Result<()> {
        match reply {
            Reply::Open { stream, headers } => {
                // The stream, none that it belongs to, no priority, no slot.
                let mut payload = [stream.to_be_bytes().as_slice(), &[0; 6]].concat();
                let count = u32::try_from(headers.len()).unwrap_or_default();
                let mut block = count.to_be_bytes().to_vec();
                for (name, value) in headers {
                    text(name.as_bytes(), &mut block);
                    text(value.as_bytes(), &mut block);
                }
                self.deflate(&block, &mut payload)?;
                self.control(SYN_STREAM, &payload).await?;
            }
            Reply::Accept(stream) => {
                let mut payload = stream.to_be_bytes().to_vec();
                self.deflate(&0_u32.to_be_bytes(), &mut payload)?;
                self.control(SYN_REPLY, &payload).await?;
            }
            Reply::Ping(id) => self.control(PING, &id.to_be_bytes()).await?,
            Reply::Data { stream, bytes, is_last } => {
                let mut pieces: Vec<Bytes> = Vec::new();
                let mut rest = bytes;
                while rest.len() > FRAME_SIZE_MAX {
                    pieces.push(rest.split_to(FRAME_SIZE_MAX));
                }
                pieces.push(rest);
                let last = pieces.len() - 1;
                for (at, piece) in pieces.iter().enumerate() {
                    let fin = is_last && at == last;
                    self.output.write_u32(stream).await?;
                    self.output
                        .write_u32(flags_and_size(u8::from(fin) * FLAG_FIN, piece.len()))
                        .await?;
                    self.output.write_all(piece).await?;
                }
            }
        }
        self.output.flush().await
    }

    async fn control(&mut self, kind: u16, payload: &[u8]) -> io::Result<()> {
        let head = 0x8000_0000 | u32::from(VERSION) << 16 | u32::from(kind);
        self.output.write_u32(head).await?;
        self.output.write_u32(flags_and_size(0, payload.len())).await?;
        self.output.write_all(payload).await
    }

    fn deflate(&mut self, block: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        out.reserve(block.len() + 256);
        self.headers
            .compress_vec(block, out, FlushCompress::Sync)
            .map_err(|_| broken("headers cannot be compressed"))?;
        Ok(())
    }

    /// Says that nothing follows, and closes.
    pub(crate) async fn close(mut self) {
        let _ = self.control(GOAWAY, &[0; 8]).await;
        let _ = self.output.shutdown().await;
    }
}

fn flags_and_size(flags: u8, size: usize) -> u32 {
    u32::from(flags) << 24 | u32::try_from(size).unwrap_or_default() & 0x00ff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dictionary_is_the_one_of_the_protocol() {
        let words = dictionary();
        let (mut a, mut b) = (1_u32, 0_u32);
        for byte in &words {
            a = (a + u32::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        assert_eq!((words.len(), b << 16 | a), (1423, 0xe3c6_a7c2));
    }

    #[tokio::test]
    async fn what_one_side_opens_the_other_reads() {
        let mut sent = Vec::new();
        let mut writer = Writer::new(&mut sent);
        for (stream, kind) in [(1, "error"), (3, "stdin")] {
            let headers = vec![("streamtype", kind.to_owned())];
            writer.write(Reply::Open { stream, headers }).await.unwrap();
        }
        let mut reader = Reader::new(sent.as_slice());
        for (stream, kind) in [(1, "error"), (3, "stdin")] {
            let headers = [("streamtype".to_owned(), kind.to_owned())].into();
            assert_eq!(reader.next().await.unwrap(), Frame::Open { stream, headers });
        }
    }

    fn syn_stream(compressor: &mut Compress, stream: u32, name: &str, value: &str) -> Vec<u8> {
        let mut block = 1_u32.to_be_bytes().to_vec();
        text(name.as_bytes(), &mut block);
        text(value.as_bytes(), &mut block);
        let mut payload = [stream.to_be_bytes().as_slice(), &[0; 6]].concat();
        payload.reserve(1024);
        compressor
            .compress_vec(&block, &mut payload, FlushCompress::Sync)
            .unwrap();
        let mut frame = 0x8003_0001_u32.to_be_bytes().to_vec();
        frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
        frame.extend_from_slice(&payload);
        frame
    }

    #[tokio::test]
    async fn headers_of_all_streams_are_read_with_one_decompressor() {
        let mut compressor = Compress::new(Compression::default(), true);
        compressor.set_dictionary(&dictionary()).unwrap();
        let mut input = syn_stream(&mut compressor, 1, "streamtype", "error");
        input.extend(syn_stream(&mut compressor, 3, "streamtype", "stdout"));
        input.extend_from_slice(&[0, 0, 0, 3, FLAG_FIN, 0, 0, 2, b'h', b'i']);
        let mut reader = Reader::new(input.as_slice());
        for (stream, kind) in [(1, "error"), (3, "stdout")] {
            let headers = [("streamtype".to_owned(), kind.to_owned())].into();
            assert_eq!(reader.next().await.unwrap(), Frame::Open { stream, headers });
        }
        let data = Frame::Data {
            stream: 3,
            bytes: "hi".into(),
            is_last: true,
        };
        assert_eq!(reader.next().await.unwrap(), data);
        assert!(reader.next().await.is_err());
    }
}

//! Standard streams of a process in a container, carried over a connection to its shim.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};

use super::protocol::{CHUNK_BYTES, Envelope, FrameKind, Frames, Reply, Request, put_frame, put_message};
use crate::runtime::{RuntimeError, Streams};

/// What the caller wants of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    /// To write its standard input.
    pub stdin: bool,
    /// To have it all through a terminal.
    pub tty: bool,
    /// To have it end when nobody waits for it any more.
    pub kill_when_left: bool,
}

/// Asks for a process over a fresh connection and hands out its streams.
///
/// Errors: the shim's refusal, such as a command that is not there.
pub(crate) async fn open(mut stream: UnixStream, request: Request, wanted: Wanted) -> Result<Streams, RuntimeError> {
    let mut bytes = Vec::new();
    put_message(&mut bytes, 1, request);
    stream.write_all(&bytes).await.map_err(|e| node(&e))?;
    let mut frames = Frames::default();
    accepted(&mut stream, &mut frames).await?;

    let (stdin, stdin_inner) = duplex(CHUNK_BYTES);
    let (stdout, stdout_inner) = duplex(CHUNK_BYTES);
    let (stderr, stderr_inner) = duplex(CHUNK_BYTES);
    let (resize, sizes) = mpsc::channel(4);
    let (mut exited, exit) = oneshot::channel();
    let (reader, writer) = stream.into_split();
    let mut sender = tokio::spawn(send_input(writer, wanted.stdin.then_some(stdin_inner), sizes));
    tokio::spawn(async move {
        let code = tokio::select! {
            code = deliver_output(reader, frames, stdout_inner, stderr_inner) => code,
            // Nobody waits any more. What was said to it last is still handed on; then the connection is closed, which is what
            // the shim goes by.
            () = exited.closed() => {
                if !wanted.kill_when_left {
                    let _ = (&mut sender).await;
                }
                None
            }
        };
        sender.abort();
        if let Some(code) = code {
            let _ = exited.send(code);
        }
    });
    Ok(Streams {
        stdin: if wanted.stdin { Some(Box::pin(stdin)) } else { None },
        stdout: Some(Box::pin(stdout)),
        stderr: if wanted.tty { None } else { Some(Box::pin(stderr)) },
        // Whether a process that is attached to has a terminal, the shim knows; to others their size means nothing.
        resize: Some(resize),
        exit,
    })
}

/// Waits for the shim's word on the request; stream data cannot come before it.
async fn accepted(stream: &mut UnixStream, frames: &mut Frames) -> Result<(), RuntimeError> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        if let Some((FrameKind::Message, payload)) = frames.next().map_err(|e| node(&e))? {
            let envelope: Envelope<Reply> = serde_json::from_slice(&payload).map_err(|e| node(&e.into()))?;
            return match envelope.body {
                Reply::Failed(failure) => Err(failure.into()),
                _ => Ok(()),
            };
        }
        match stream.read(&mut buffer).await.map_err(|e| node(&e))? {
            0 => return Err(RuntimeError::Gone("the sandbox's shim".to_owned())),
            count => frames.push(&buffer[..count]),
        }
    }
}

async fn send_input(
    mut writer: tokio::net::unix::OwnedWriteHalf,
    mut stdin: Option<DuplexStream>,
    mut sizes: mpsc::Receiver<(u16, u16)>,
) -> io::Result<tokio::net::unix::OwnedWriteHalf> {
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut resizable = true;
    while stdin.is_some() || resizable {
        let mut bytes = Vec::new();
        tokio::select! {
            count = read_some(&mut stdin, &mut buffer), if stdin.is_some() => {
                let count = count.unwrap_or(0);
                put_frame(&mut bytes, FrameKind::Stdin, &buffer[..count]);
                if count == 0 {
                    stdin = None;
                }
            }
            size = sizes.recv(), if resizable => match size {
                Some((columns, rows)) => put_message(&mut bytes, 0, Request::Resize { columns, rows }),
                None => resizable = false,
            },
        }
        writer.write_all(&bytes).await?;
    }
    // To be held until the process has ended: closing the connection would be read as nobody listening any more.
    Ok(writer)
}

async fn read_some(stdin: &mut Option<DuplexStream>, buffer: &mut [u8]) -> io::Result<usize> {
    match stdin {
        Some(stdin) => stdin.read(buffer).await,
        None => Ok(0),
    }
}

/// Delivers output until the process has ended, or is left to itself; its exit code, unless the shim is gone first.
async fn deliver_output(
    mut reader: tokio::net::unix::OwnedReadHalf,
    mut frames: Frames,
    mut stdout: DuplexStream,
    mut stderr: DuplexStream,
) -> Option<i32> {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        while let Some((kind, payload)) = frames.next().ok()? {
            match kind {
                // A reader that went away is no reason to keep the process from writing.
                FrameKind::Stdout => drop(stdout.write_all(&payload).await),
                FrameKind::Stderr => drop(stderr.write_all(&payload).await),
                FrameKind::Stdin => {}
                FrameKind::Message => {
                    let envelope: Envelope<Reply> = serde_json::from_slice(&payload).ok()?;
                    match envelope.body {
                        Reply::ProcessExited { code } => return Some(code),
                        Reply::Left => return Some(0),
                        _ => {}
                    }
                }
            }
        }
        match reader.read(&mut buffer).await {
            Ok(count @ 1..) => frames.push(&buffer[..count]),
            _ => return None,
        }
    }
}

fn node(error: &io::Error) -> RuntimeError {
    RuntimeError::Node {
        what: "talking to the sandbox's shim".to_owned(),
        source: io::Error::new(error.kind(), error.to_string()),
    }
}

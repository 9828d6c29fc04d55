//! Bodies: what replies are made of, and how request bodies are read within their limit.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::Stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use rota_api::{ApiError, Reason};

/// The largest request body that is read. Unit: bytes.
pub(crate) const REQUEST_SIZE_MAX: usize = 3 * 1024 * 1024;

/// The body of a reply.
pub(crate) enum Body {
    /// All of it; `None` once it was taken or when it is empty.
    Whole(Option<Bytes>),
    /// Pieces, each sent as soon as it is there.
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
    /// What somebody else answers. Where that breaks off, so does the reply: nobody shall take a part for the whole.
    PassedOn(Incoming),
}

impl Body {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self::Whole(None)
    }

    /// A body that is sent piece by piece.
    pub(crate) fn stream(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Self {
        Self::Stream(Box::pin(pieces))
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        Self::Whole(Some(bytes.into()).filter(|bytes| !bytes.is_empty()))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => pieces
                .as_mut()
                .poll_next(context)
                .map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
            Self::PassedOn(body) => Pin::new(body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Stream(_) => false,
            Self::PassedOn(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64)),
            Self::Stream(_) => SizeHint::default(),
            Self::PassedOn(body) => body.size_hint(),
        }
    }
}

/// Reads a whole request body.
///
/// Errors: 413 when it is too large, 400 when the client stops sending.
pub(crate) async fn read<B>(body: B) -> Result<Bytes, ApiError>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(body, REQUEST_SIZE_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::new(
            Reason::RequestEntityTooLarge,
            format!("Request entity too large: limit is {REQUEST_SIZE_MAX}"),
        )),
        Err(error) => Err(ApiError::bad_request(format!("the request body ended early: {error}"))),
    }
}

//! The body of a request as the HTTP client takes it.

use std::io::Error as IoError;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::sign::SignedRequest;
use super::stream::UploadBody;

/// The body of a request: there already, or piece by piece when there is room on the wire.
pub(super) enum OutgoingBody {
    Whole(Option<Bytes>),
    Poured(UploadBody),
}

impl OutgoingBody {
    pub(super) fn of(signed: &SignedRequest) -> Self {
        match &signed.upload {
            Some(upload) if signed.body.is_none() => Self::Poured(upload.clone()),
            _ => Self::Whole(signed.body.clone().filter(|body| !body.is_empty())),
        }
    }
}

impl http_body::Body for OutgoingBody {
    type Data = Bytes;
    type Error = IoError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<http_body::Frame<Bytes>>>> {
        let piece = match self.get_mut() {
            Self::Whole(body) => Poll::Ready(body.take().map(Ok)),
            Self::Poured(upload) => upload.poll(cx),
        };
        piece.map(|piece| piece.map(|piece| piece.map(http_body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> http_body::SizeHint {
        let length = match self {
            Self::Whole(body) => Some(body.as_ref().map_or(0, |body| body.len() as u64)),
            Self::Poured(upload) => upload.length(),
        };
        length.map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}

//! Bounds what a client can make the server keep: a message is refused by its header, before its body
//! is read. Without this a client could claim a gigabyte and send it byte by byte into our memory.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Type and length of a message after the startup.
const HEADER: usize = 5;
/// The length counts itself.
const LENGTH_MIN: usize = 4;

/// Follows the messages of a client by their headers.
#[derive(Debug)]
struct Frames {
    header: [u8; HEADER],
    /// Bytes of the header that are there.
    have: usize,
    /// Bytes of the body that are still to come.
    body: usize,
    bytes_max: usize,
}

impl Frames {
    fn follow(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len());
                self.body -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEADER - self.have).min(bytes.len());
            self.header[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEADER {
                let [_, a, b, c, d] = self.header;
                let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
                if length < LENGTH_MIN {
                    return Err(format!("invalid message length: {length}"));
                }
                if length > self.bytes_max {
                    return Err(format!("a message of {length} bytes is longer than {} allow", self.bytes_max));
                }
                (self.have, self.body) = (0, length - LENGTH_MIN);
            }
        }
        Ok(())
    }
}

/// A connection whose messages are no longer than they may be.
#[derive(Debug)]
pub(super) struct Limited<T> {
    inner: T,
    frames: Frames,
}

impl<T> Limited<T> {
    /// `inner` continues after the startup message.
    pub(super) fn new(inner: T, bytes_max: usize) -> Self {
        Self { inner, frames: Frames { header: [0; HEADER], have: 0, body: 0, bytes_max } }
    }

    pub(super) fn into_inner(self) -> T {
        self.inner
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Limited<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = self.frames.follow(&buffer.filled()[before..]);
        Poll::Ready(read.map_err(|message| io::Error::new(io::ErrorKind::InvalidData, message)))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Limited<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![b'Q'];
        bytes.extend(length.to_be_bytes());
        bytes.extend(vec![0; usize::try_from(length.saturating_sub(4)).expect("small")]);
        bytes
    }

    fn frames() -> Frames {
        Frames { header: [0; HEADER], have: 0, body: 0, bytes_max: 100 }
    }

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        let bytes = [message(100), message(4), message(50)].concat();
        for size in 1..bytes.len() {
            let mut frames = frames();
            for part in bytes.chunks(size) {
                assert_eq!(frames.follow(part), Ok(()), "parts of {size}");
            }
            assert_eq!((frames.have, frames.body), (0, 0), "parts of {size}");
        }
    }

    #[test]
    fn a_message_is_refused_by_its_header() {
        assert!(frames().follow(&[b'Q', 0, 0, 0, 101]).is_err_and(|error| error.contains("101 bytes")));
        assert!(frames().follow(&[b'Q', 0xff, 0xff, 0xff, 0xff]).is_err());
        assert!(frames().follow(&[b'Q', 0, 0, 0, 3]).is_err());
    }
}

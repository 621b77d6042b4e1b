//! The messages of a client, read one by one and checked before anything is made of them.
//!
//! A message is refused by its header, before its body is read: a client could claim a gigabyte and send it
//! byte by byte into our memory. Within a message every length and count is checked against the bytes that
//! are there, so that what decodes it can rely on them.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use ebap_stream::MemoryBudget;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::sqlstate::SqlError;

/// The length counts itself.
const LENGTH_BYTES: usize = 4;
/// Given to a message at once; more only as its bytes come.
const FIRST_BYTES: usize = 16 << 10;

/// What a client has sent.
pub(super) enum Frame {
    /// Header and body.
    Message(BytesMut),
    /// It keeps to the protocol no more.
    Broken(SqlError),
    /// It went away.
    Gone,
}

/// What messages may take.
#[derive(Clone, Debug)]
pub(super) struct Bounds {
    /// Of one message.
    pub(super) bytes_max: usize,
    pub(super) memory: MemoryBudget,
}

/// Reads the next message.
pub(super) async fn next(socket: &mut (impl AsyncRead + Unpin), bounds: &Bounds) -> io::Result<Frame> {
    let kind = match socket.read_u8().await {
        Ok(kind) => kind,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Frame::Gone),
        Err(error) => return Err(error),
    };
    let claimed = socket.read_u32().await?;
    let length = usize::try_from(claimed).unwrap_or(usize::MAX);
    let broken = |message: String| Ok(Frame::Broken(SqlError::new("08P01", message)));
    let bytes_max = bounds.bytes_max;
    if length < LENGTH_BYTES {
        return broken(format!("invalid message length: {length}"));
    }
    if length > bytes_max {
        return broken(format!("a message of {length} bytes is longer than {bytes_max} allow"));
    }
    let mut frame = BytesMut::with_capacity((length + 1).min(FIRST_BYTES));
    frame.put_u8(kind);
    frame.put_u32(claimed);
    while frame.len() <= length {
        if frame.len() >= FIRST_BYTES && bounds.memory.is_exceeded_by(frame.len()) {
            let error = SqlError::new("53200", "out of memory").hint("Send less at once, or raise memory_limit.");
            return Ok(Frame::Broken(error));
        }
        let missing = u64::try_from(length + 1 - frame.len()).unwrap_or(u64::MAX);
        if (&mut *socket).take(missing).read_buf(&mut frame).await? == 0 {
            return Ok(Frame::Gone);
        }
    }
    Ok(Frame::Message(frame))
}

/// Whether it belongs to the extended protocol: after an error in one, all up to a Sync is passed over.
pub(super) fn is_extended(frame: &[u8]) -> bool {
    frame.first().is_some_and(|kind| b"PBDECH".contains(kind))
}

/// # Errors
/// 08P01 where its fields are not what it should have, 22021 for text that is no UTF-8.
pub(super) fn check(frame: &[u8]) -> Result<(), SqlError> {
    let (kind, mut body) = match frame {
        [kind, _, _, _, _, body @ ..] => (*kind, Body(body)),
        _ => return Err(malformed()),
    };
    match kind {
        b'Q' => body.text()?,
        b'P' => {
            body.text()?;
            body.text()?;
            let types = body.count()?;
            body.skip(types * size_of::<u32>())?;
        }
        b'B' => {
            body.text()?;
            body.text()?;
            body.formats()?;
            for _ in 0..body.count()? {
                body.value()?;
            }
            body.formats()?;
        }
        b'D' | b'C' => {
            let target = body.0.try_get_u8().map_err(|_| malformed())?;
            if !b"SP".contains(&target) {
                return Err(SqlError::new("08P01", format!("invalid message subtype {target}")));
            }
            body.text()?;
        }
        b'E' => {
            body.text()?;
            body.skip(size_of::<i32>())?;
        }
        b'H' | b'S' | b'X' | b'c' => {}
        b'f' => body.text()?,
        // Of passwords and copied data the bytes are what they are; of others nothing is known.
        _ => return Ok(()),
    }
    if body.0.is_empty() { Ok(()) } else { Err(malformed()) }
}

fn malformed() -> SqlError {
    SqlError::new("08P01", "invalid message format")
}

struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn text(&mut self) -> Result<(), SqlError> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or_else(malformed)?;
        let (text, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        std::str::from_utf8(text).map(drop).map_err(|error| {
            let byte = text.get(error.valid_up_to()).copied().unwrap_or(0);
            SqlError::new("22021", format!("invalid byte sequence for encoding \"UTF8\": 0x{byte:02x}"))
        })
    }

    fn count(&mut self) -> Result<usize, SqlError> {
        self.0.try_get_u16().map(usize::from).map_err(|_| malformed())
    }

    fn formats(&mut self) -> Result<(), SqlError> {
        let count = self.count()?;
        self.skip(count * size_of::<i16>())
    }

    fn value(&mut self) -> Result<(), SqlError> {
        match self.0.try_get_i32().map_err(|_| malformed())? {
            -1 => Ok(()),
            length => self.skip(usize::try_from(length).map_err(|_| malformed())?),
        }
    }

    fn skip(&mut self, bytes: usize) -> Result<(), SqlError> {
        self.0 = self.0.get(bytes..).ok_or_else(malformed)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds { bytes_max: 100, memory: MemoryBudget::unlimited() }
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + LENGTH_BYTES).expect("short");
        [&[kind], &length.to_be_bytes()[..], body].concat()
    }

    #[tokio::test]
    async fn a_message_is_refused_by_its_header() {
        for (header, expected) in [
            ([b'Q', 0, 0, 0, 101], "a message of 101 bytes is longer than 100 allow"),
            ([b'Q', 0xff, 0xff, 0xff, 0xff], "a message of 4294967295 bytes is longer than 100 allow"),
            ([b'Q', 0, 0, 0, 3], "invalid message length: 3"),
        ] {
            match next(&mut &header[..], &bounds()).await.expect("read") {
                Frame::Broken(error) => assert_eq!(error.message, expected),
                _ => panic!("{header:?}"),
            }
        }
    }

    #[tokio::test]
    async fn messages_are_read_whole() {
        let bytes = [message(b'Q', b"SELECT 1\0"), message(b'S', b""), vec![b'Q', 0, 0]].concat();
        let mut socket = &bytes[..];
        for kind in *b"QS" {
            match next(&mut socket, &bounds()).await.expect("read") {
                Frame::Message(frame) => assert_eq!((frame[0], check(&frame)), (kind, Ok(()))),
                _ => panic!("{}", char::from(kind)),
            }
        }
        assert!(next(&mut socket, &bounds()).await.is_err());
        assert!(matches!(next(&mut &b""[..], &bounds()).await, Ok(Frame::Gone)));
    }

    #[test]
    fn every_field_is_there_before_it_is_decoded() {
        let bind = |parameters: &[u8]| message(b'B', &[b"\0\0\0\0", parameters, b"\0\0"].concat());
        for good in [
            message(b'P', b"\0SELECT $1\0\0\x01\0\0\0\x17"),
            bind(b"\0\x02\xff\xff\xff\xff\0\0\0\x01x"),
            message(b'D', b"S\0"),
            message(b'E', b"\0\0\0\0\0"),
        ] {
            assert_eq!(check(&good), Ok(()), "{good:?}");
            // Without its last byte, and with one more.
            let (cut, more) = (&good[..good.len() - 1], [&good[..], b"\0"].concat());
            assert!(check(cut).is_err() && check(&more).is_err(), "{good:?}");
        }
        for wrong in [
            message(b'Q', b""),
            message(b'Q', b"SELECT 1"),
            message(b'P', b"\0SELECT $1\0\xff\xff\0\0\0\x17"),
            bind(b"\0\x01\x7f\xff\xff\xffx"),
            bind(b"\0\x01\xff\xff\xff\xfex"),
            bind(b"\xff\xff"),
            message(b'D', b"X\0"),
            message(b'C', b""),
            message(b'S', b"\0"),
        ] {
            assert_eq!(check(&wrong).map_err(|error| error.code), Err("08P01"), "{wrong:?}");
        }
        assert_eq!(check(&message(b'Q', b"SELECT '\xff'\0")).map_err(|error| error.code), Err("22021"));
    }
}

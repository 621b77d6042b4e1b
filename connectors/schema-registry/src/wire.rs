//! The wire format: a zero, the id of the schema as four bytes, big-endian, and what was written by it.

pub const MAGIC: u8 = 0;
/// Bytes before the value.
pub const PREFIX_BYTES: usize = 5;

/// The id, and what stands behind it.
///
/// # Errors
/// The reason why it is not in this format.
pub fn split(value: &[u8]) -> Result<(u32, &[u8]), String> {
    match value {
        [MAGIC, a, b, c, d, rest @ ..] => Ok((u32::from_be_bytes([*a, *b, *c, *d]), rest)),
        [MAGIC, ..] => Err(format!(
            "not in the wire format of a schema registry: it has {} bytes, and the id of its schema ends behind \
             {PREFIX_BYTES}",
            value.len()
        )),
        [first, ..] => Err(format!(
            "not in the wire format of a schema registry: it begins with the byte {first:#04x} instead of 0x00"
        )),
        [] => Err("the record is empty".to_owned()),
    }
}

/// What stands before a value.
pub fn prefix(id: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = id.to_be_bytes();
    [MAGIC, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_garbage_is_named() {
        let mut value = prefix(0x0102_0304).to_vec();
        value.push(9);
        assert_eq!(split(&value), Ok((0x0102_0304, &[9][..])));
        let reason = |value: &[u8]| split(value).expect_err("no id");
        assert_eq!(reason(b""), "the record is empty");
        assert!(reason(b"{}").ends_with("it begins with the byte 0x7b instead of 0x00"), "{}", reason(b"{}"));
        assert!(reason(&[0, 1, 2]).contains("it has 3 bytes"), "{}", reason(&[0, 1, 2]));
    }
}

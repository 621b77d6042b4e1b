//! The messages of remote write 1.0, as `prompb/remote.proto` and `types.proto` number their fields.

use ebap_connector::{Error, Result};
use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(crate) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Label {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Sample {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    pub(crate) timestamp: i64,
}

/// The body of a request: the message in one block of snappy, without its framing.
pub(crate) fn body(request: &WriteRequest) -> Result<Vec<u8>> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).map_err(Error::internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_the_specification_says_byte_by_byte() {
        let request = WriteRequest {
            timeseries: vec![TimeSeries {
                labels: vec![Label { name: "a".to_owned(), value: "b".to_owned() }],
                samples: vec![Sample { value: 1.0, timestamp: 3 }],
            }],
        };
        let body = body(&request).expect("a body");
        let bytes = snap::raw::Decoder::new().decompress_vec(&body).expect("one block of snappy");
        let label = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'b'];
        let sample = [0x12, 11, 0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 3];
        assert_eq!(bytes, [&[0x0a, 21][..], &label, &sample].concat());
        assert_eq!(WriteRequest::decode(bytes.as_slice()).expect("decodes"), request);
    }
}

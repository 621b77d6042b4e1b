//! The queue of one partition, emptied many messages at a time.
//!
//! The safe binding hands out one message per call, each in an event of its own behind a counted
//! reference. Here a batch is taken with one call, read in place and destroyed. All that is unsafe in this
//! crate is in this file.
//!
//! # Invariants
//! - `queue` is valid until `Drop`, and librdkafka's handle outlives it: the consumer is held.
//! - A message is owned from the moment it is taken until its `Batch` is dropped, and is not changed
//!   meanwhile; slices and header values borrow from the `Batch`.
//! - librdkafka's queues may be used from any thread; the array of pointers is empty between two batches.

use std::{
    ffi::{CStr, CString},
    marker::PhantomData,
    ptr::{NonNull, null, null_mut},
    slice,
    sync::Arc,
};

use ebap_connector::Headers;
use rdkafka::{
    bindings::{
        rd_kafka_consume_batch_queue, rd_kafka_header_get_all, rd_kafka_headers_t, rd_kafka_message_destroy,
        rd_kafka_message_headers, rd_kafka_message_t, rd_kafka_message_timestamp, rd_kafka_queue_destroy,
        rd_kafka_queue_forward, rd_kafka_queue_get_partition, rd_kafka_queue_t, rd_kafka_resp_err_t,
    },
    consumer::{BaseConsumer, Consumer},
    types::RDKafkaErrorCode,
};

use crate::client::Context;

/// Messages taken with one call.
const BATCH_MAX: usize = 1_024;

pub(crate) struct PartitionQueue {
    queue: NonNull<rd_kafka_queue_t>,
    messages: Vec<*mut rd_kafka_message_t>,
    /// Dropped last.
    _consumer: Arc<BaseConsumer<Context>>,
}

// SAFETY: see the invariants.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Takes the partition out of the consumer's own queue, also where it is assigned only later. `None`
    /// where the name is not one of a topic.
    pub(crate) fn split(consumer: &Arc<BaseConsumer<Context>>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the handle is the consumer's and lives as long; the name ends with a zero and is copied.
        let queue = unsafe { rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        // SAFETY: the queue was just made; forwarding it nowhere is how it is split.
        unsafe { rd_kafka_queue_forward(queue.as_ptr(), null_mut()) };
        Some(Self { queue, messages: Vec::with_capacity(BATCH_MAX), _consumer: Arc::clone(consumer) })
    }

    /// What the queue holds now, at most `most` messages; does not wait.
    pub(crate) fn take(&mut self, most: usize) -> Batch<'_> {
        let most = most.min(BATCH_MAX);
        // SAFETY: there is room for `BATCH_MAX` pointers; librdkafka writes as many as it says, all valid.
        unsafe {
            let taken = rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, self.messages.as_mut_ptr(), most);
            // Below zero on an error, of which there is none for a queue that exists.
            self.messages.set_len(usize::try_from(taken).unwrap_or(0));
        }
        Batch { messages: &mut self.messages }
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody uses it from here on.
        unsafe { rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// Messages and errors in the order of the queue.
pub(crate) struct Batch<'a> {
    messages: &'a mut Vec<*mut rd_kafka_message_t>,
}

impl Batch<'_> {
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn key_bytes(&self) -> usize {
        self.iter().map(|message| message.key().map_or(0, <[u8]>::len)).sum()
    }

    pub(crate) fn value_bytes(&self) -> usize {
        self.iter().map(|message| message.value().map_or(0, <[u8]>::len)).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Taken<'_>> {
        self.messages.iter().map(|message| Taken { message: *message, batch: PhantomData })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        for message in self.messages.drain(..) {
            // SAFETY: owned, and drained, so that it is destroyed once.
            unsafe { rd_kafka_message_destroy(message) };
        }
    }
}

/// A message, or an error that takes the place of one.
pub(crate) struct Taken<'a> {
    message: *const rd_kafka_message_t,
    batch: PhantomData<&'a rd_kafka_message_t>,
}

impl<'a> Taken<'a> {
    fn message(&self) -> &'a rd_kafka_message_t {
        // SAFETY: valid as long as the batch that owns it, which is borrowed; nobody changes it meanwhile.
        unsafe { &*self.message }
    }

    pub(crate) fn error(&self) -> Option<RDKafkaErrorCode> {
        let error = self.message().err;
        (error != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| error.into())
    }

    pub(crate) fn offset(&self) -> i64 {
        self.message().offset
    }

    /// -1 where there is none.
    pub(crate) fn timestamp_ms(&self) -> i64 {
        // SAFETY: a message; who does not ask for the kind of the time gives no place for it.
        unsafe { rd_kafka_message_timestamp(self.message, null_mut()) }
    }

    pub(crate) fn key(&self) -> Option<&'a [u8]> {
        bytes(self.message().key.cast(), self.message().key_len)
    }

    pub(crate) fn value(&self) -> Option<&'a [u8]> {
        bytes(self.message().payload.cast(), self.message().len)
    }

    pub(crate) fn headers(&self) -> Option<Headers> {
        let mut headers: *mut rd_kafka_headers_t = null_mut();
        // SAFETY: a message; the headers stay its own.
        let found = unsafe { rd_kafka_message_headers(self.message, &mut headers) };
        if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        Some((0..).map_while(|at| header(headers, at)).collect())
    }
}

/// The header at this index, copied.
fn header(headers: *const rd_kafka_headers_t, at: usize) -> Option<(String, Option<Vec<u8>>)> {
    let (mut name, mut value, mut size) = (null(), null(), 0);
    // SAFETY: the headers belong to a message that is borrowed; on success the name ends with a zero.
    unsafe {
        let found = rd_kafka_header_get_all(headers, at, &mut name, &mut value, &mut size);
        if found != rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        let name = CStr::from_ptr(name).to_string_lossy().into_owned();
        Some((name, bytes(value.cast(), size).map(<[u8]>::to_vec)))
    }
}

/// What librdkafka says is there; a null pointer says that nothing is. Only for what a message holds.
fn bytes<'a>(start: *const u8, length: usize) -> Option<&'a [u8]> {
    // SAFETY: librdkafka gives pointer and length of bytes that live as long as the message.
    (!start.is_null()).then(|| unsafe { slice::from_raw_parts(start, length) })
}

//! A receiver that answers what it is told to: the faults that a real one has at times, and what stands in a header.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

pub(crate) struct Receiver {
    pub(crate) url: String,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    /// Answers with these, one after the other, and with the last of them from then on.
    pub(crate) async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/api/v1/push", listener.local_addr().expect("an address"));
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (seen, mut statuses) = (Arc::clone(&heads), VecDeque::from(statuses.to_vec()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let status = if statuses.len() > 1 { statuses.pop_front() } else { statuses.front().copied() };
                let head = answer(stream, status.expect("a status")).await;
                seen.lock().unwrap_or_else(PoisonError::into_inner).push(head);
            }
        });
        Self { url, heads }
    }

    /// Of the requests so far: the first line and the headers.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(mut stream: TcpStream, status: u16) -> String {
    let mut request = Vec::new();
    let end = loop {
        if let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        assert!(stream.read_buf(&mut request).await.expect("a request") > 0, "the request ended early");
    };
    let head = String::from_utf8(request[..end].to_vec()).expect("text");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse::<usize>().expect("a length"));
    while request.len() < end + 4 + length {
        assert!(stream.read_buf(&mut request).await.expect("a body") > 0, "the body ended early");
    }
    let answer = format!("HTTP/1.1 {status} told\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.expect("an answer");
    head
}

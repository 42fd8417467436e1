//! HTTP/1.1 by hand: health and metrics, as curl would ask.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::waiting::WAIT;

/// Status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }
}

/// GET from a port in plaintext; none when nobody listens.
pub(crate) async fn get(port: u16, path: &str) -> Option<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    exchange(stream, request.as_bytes()).await
}

/// One request on a connection that ends with the answer; none when it ends before.
async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    request: &[u8],
) -> Option<Answer> {
    let mut bytes = Vec::new();
    let talk = async {
        stream.write_all(request).await?;
        stream.read_to_end(&mut bytes).await
    };
    timeout(WAIT, talk).await.expect("an answer in time").ok()?;
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let body = bytes.split_off(end + 4);
    let head = String::from_utf8(bytes).unwrap();
    assert!(!head.to_lowercase().contains("transfer-encoding"), "{head}");
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Answer { status, body })
}

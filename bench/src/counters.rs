//! Counters of a server, read from its metrics listener.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest exposition that is read, in bytes.
const EXPOSITION_BYTES_MAX: u64 = 16 << 20;

/// The sum of the named counters over all listeners; absent ones count as zero.
///
/// # Errors
/// When a listener does not answer with metrics.
pub async fn sum(listeners: &[String], names: &[String]) -> Result<f64> {
    let mut total = 0.0;
    for listener in listeners {
        let text = fetch(listener)
            .await
            .with_context(|| format!("cannot read the metrics of {listener}"))?;
        total += names.iter().map(|name| sum_in(&text, name)).sum::<f64>();
    }
    Ok(total)
}

async fn fetch(listener: &str) -> Result<String> {
    let address = address(listener);
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0, so that the answer ends with the connection and is not chunked.
    let request = format!("GET /metrics HTTP/1.0\r\nHost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.take(EXPOSITION_BYTES_MAX).read_to_string(&mut answer).await?;
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        bail!("the answer is not HTTP");
    };
    if head.split_whitespace().nth(1) != Some("200") {
        bail!("the answer is {}", head.lines().next().unwrap_or_default());
    }
    Ok(body.to_owned())
}

/// `host:port` of a listener, which may be given as a URL.
fn address(listener: &str) -> &str {
    let rest = listener.strip_prefix("http://").unwrap_or(listener);
    rest.split('/').next().unwrap_or(rest)
}

/// The sum over all series of one name.
fn sum_in(exposition: &str, name: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        // Another name may begin with this one.
        let value = match rest.split_once('}') {
            Some((labels, value)) if labels.starts_with('{') => value,
            _ => rest.strip_prefix(' ')?,
        };
        value.split_whitespace().next()?.parse::<f64>().ok()
    };
    exposition.lines().filter_map(value).sum()
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const TEXT: &str = "# HELP syncs Syncs.\n# TYPE syncs counter\nsyncs 3\n\
        syncs{log=\"raft\"} 4 1700000000\nsyncs_total 100\nsyncs{log=\"audit\"} 5e1\n";

    #[test]
    fn all_series_of_exactly_this_name_count() {
        assert!((sum_in(TEXT, "syncs") - 57.0).abs() < 1e-9);
        assert!(sum_in(TEXT, "sync").abs() < 1e-9);
    }

    #[test]
    fn a_listener_may_be_a_url() {
        assert_eq!(address("http://localhost:9464/metrics"), "localhost:9464");
        assert_eq!(address("localhost:9464"), "localhost:9464");
    }

    async fn answer_once(listener: TcpListener, answer: String) {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 256];
        assert!(stream.read(&mut request).await.unwrap() > 0);
        stream.write_all(answer.as_bytes()).await.unwrap();
    }

    #[tokio::test]
    async fn counters_are_read_over_http() {
        for (status, expected) in [("200 OK", Some(57.0)), ("404 Not Found", None)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let at = [listener.local_addr().unwrap().to_string()];
            let answer = format!("HTTP/1.0 {status}\r\n\r\n{TEXT}");
            let names = ["syncs".to_owned()];
            let (read, ()) = tokio::join!(sum(&at, &names), answer_once(listener, answer));
            assert_eq!(read.ok(), expected);
        }
    }
}

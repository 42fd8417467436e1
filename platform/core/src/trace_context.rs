//! The place of some work in a trace, as processes tell each other (W3C Trace Context).
//!
//! Pure: it is parsed and printed here. What a process works on at this moment is known to whoever
//! records its spans, and asked through one function that is set once; crates that call others need
//! not know who records.

use std::fmt;
use std::sync::OnceLock;

/// The header, and the key of gRPC metadata, that carries it.
pub const TRACEPARENT: &str = "traceparent";
/// The only version of the header that there is.
const VERSION: &str = "00";

/// The place of some work in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace; never all zeros.
    pub trace_id: [u8; 16],
    /// The work; never all zeros.
    pub span_id: [u8; 8],
    /// Whether it is recorded where it is done.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a header; nothing when it is not one.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
        let mut parts = header.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        let (trace_id, span_id) = (bytes::<16>(trace)?, bytes::<8>(span)?);
        let [flags] = bytes::<1>(flags)?;
        let known = trace_id != [0; 16] && span_id != [0; 8];
        known.then_some(Self { trace_id, span_id, sampled: flags & 1 == 1 })
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{VERSION}-")?;
        self.trace_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str("-")?;
        self.span_id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, "-{:02x}", u8::from(self.sampled))
    }
}

/// Lower-case hexadecimal digits, two for each byte.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

static CURRENT: OnceLock<fn() -> Option<TraceContext>> = OnceLock::new();

/// Sets who knows what is worked on. Only the first call counts.
pub fn set_current(current: fn() -> Option<TraceContext>) {
    CURRENT.get_or_init(|| current);
}

/// What the caller is working on; nothing where nobody records.
#[must_use]
pub fn current() -> Option<TraceContext> {
    CURRENT.get()?()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_header_is_read_as_it_is_printed() {
        let context = TraceContext::parse(HEADER).unwrap();
        assert!(context.sampled);
        assert_eq!(context.trace_id[..2], [0x0a, 0xf7]);
        assert_eq!(context.to_string(), HEADER);
        let not = TraceContext { sampled: false, ..context };
        assert_eq!(TraceContext::parse(&not.to_string()), Some(not));
    }

    #[test]
    fn what_is_no_header_is_nothing() {
        for wrong in [
            "",
            "00",
            &HEADER.replace("00-", "ff-"),
            &HEADER.replace("0af7", "0AF7"),
            &HEADER.replace("0af7", "0ag7"),
            &HEADER[1..],
            &format!("{HEADER}-00"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(wrong), None, "{wrong}");
        }
    }
}

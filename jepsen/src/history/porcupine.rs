//! The registers of a history as a table that a few lines of Go can feed to Porcupine.
//!
//! Tab-separated, with a line of names first: client, key, what (`r`, `w` or `c`), the version
//! that is read or written, the version that a `c` demands (else 0), and the order of the call
//! and of the return; `inf` for an operation that may have happened at any time or never.

use std::io::{self, Write};

use super::makers::Makers;
use super::recorded::History;
use super::register::{RegisterAction, register};

/// Writes the table.
///
/// # Errors
/// What the writer says.
pub fn write_table(history: &History, to: &mut impl Write) -> io::Result<()> {
    writeln!(to, "client\tkey\twhat\tversion\tfrom\tcall\treturn")?;
    for op in register(history, &Makers::find(history)) {
        let (what, version, from) = match op.action {
            RegisterAction::Read(version) => ("r", version, 0),
            RegisterAction::Write(version) => ("w", version, 0),
            RegisterAction::Swap { from, to } => ("c", to, from),
        };
        let (client, key, call) = (op.process, op.key, op.invoked.order);
        let returned = op.returned.map_or_else(|| "inf".to_owned(), |at| at.order.to_string());
        writeln!(to, "{client}\t{key}\t{what}\t{version}\t{from}\t{call}\t{returned}")?;
    }
    Ok(())
}

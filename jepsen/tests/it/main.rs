//! Integration tests of the jepsen suite.

#[cfg(test)]
mod report;

//! Integration tests of the suite.

#[cfg(test)]
mod classification;
#[cfg(test)]
mod fake_node;

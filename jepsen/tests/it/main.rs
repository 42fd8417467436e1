//! Integration tests of the suite.

#[cfg(test)]
mod classification;
#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod fake_secrets;
#[cfg(test)]
mod generators;

//! The load generator from its command line to its output.

#[cfg(test)]
mod echo;
#[cfg(test)]
mod report;
#[cfg(test)]
mod support;

//! The suite's own tests on a real kernel: namespaces, the switch, and every class of faults on a
//! small cluster.
//!
//! What this machine cannot do is left out, and said.

#[cfg(test)]
mod cluster;
#[cfg(test)]
mod enclosed;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod network;
#[cfg(test)]
mod power;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod runs;

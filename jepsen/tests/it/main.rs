//! The suite's own tests: its parts against fakes, and on a real kernel namespaces, the switch, and
//! every class of faults on a small cluster.
//!
//! What this machine cannot do is left out, and said.

#[cfg(test)]
mod calm_run;
#[cfg(test)]
mod classification;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod enclosed;
#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod fake_secrets;
#[cfg(test)]
mod generators;
#[cfg(test)]
mod network;
#[cfg(test)]
mod programs;

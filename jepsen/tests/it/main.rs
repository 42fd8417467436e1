//! The suite's own tests: histories and those who judge them; its parts against fakes; and on a
//! real kernel namespaces, the switch, and every class of faults on a small cluster.
//!
//! What this machine cannot do is left out, and said.

#[cfg(test)]
mod bill_books;
#[cfg(test)]
mod brute;
#[cfg(test)]
mod calm_run;
#[cfg(test)]
mod classification;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod enclosed;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod evidence_record;
#[cfg(test)]
mod fake_node;
#[cfg(test)]
mod fake_secrets;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod files;
#[cfg(test)]
mod folders;
#[cfg(test)]
mod generators;
#[cfg(test)]
mod long;
#[cfg(test)]
mod lost_data;
#[cfg(test)]
mod mutate;
#[cfg(test)]
mod mutated_histories;
#[cfg(test)]
mod network;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod planned_run;
#[cfg(test)]
mod power;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod report;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod search;
#[cfg(test)]
mod simulated;

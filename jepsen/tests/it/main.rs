//! Tests of histories and of those who judge them.

#[cfg(test)]
mod brute;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod directory;
#[cfg(test)]
mod files;
#[cfg(test)]
mod long;
#[cfg(test)]
mod mutate;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod report;
#[cfg(test)]
mod search;

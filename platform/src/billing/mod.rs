//! Bills: spans of whole hours, price lists, and how meters are printed.
//!
//! What was counted is the business of whoever counts it.

mod prices;
mod print;
mod span;

pub use prices::{MICROS, Meter, Prices, PricesError, format_micros};
pub use print::{
    JsonMeter, Reading, csv_cell, print_columns, print_meters, print_meters_csv, time,
};
pub use span::{HOUR_MS, Span};

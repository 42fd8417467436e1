//! Fuzz targets: the small languages of the API, and what a sealed payload opens to.
//!
//! `cargo test` runs each on random input; `cargo bolero test` fuzzes them (README).

use bolero::check;
use lockbox::consistency::{Consistency, min_index};
use lockbox::name_filter;
use lockbox::page::List;
use lockbox::payload::Payload;
use lockbox_core::SensitiveBytes;

#[test]
fn a_page_token_is_read_or_refused() {
    let list = List { kind: "secrets", of: "b1gfolder" };
    let good = list.token(7);
    check!().with_type::<(Vec<(u16, u8)>, Vec<u8>)>().for_each(|(changes, tail)| {
        let mut bytes = good.clone().into_bytes();
        for (place, byte) in changes {
            let place = usize::from(*place) % bytes.len();
            bytes[place] = *byte;
        }
        bytes.extend(tail);
        let token = String::from_utf8_lossy(&bytes);
        list.place(&token).ok();
        list.id_place(&token).ok();
    });
}

#[test]
fn a_filter_and_a_header_are_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        name_filter::parse(&text).ok();
        name_filter::parse(&format!("name=\"{text}\"")).ok();
        Consistency::parse(Some(&text)).ok();
        min_index(Some(&text)).ok();
    });
}

#[test]
fn an_opened_payload_is_read_or_refused() {
    check!().for_each(|bytes: &[u8]| {
        for bytes in [bytes.to_vec(), [&[1], bytes].concat()] {
            let Ok(payload) = Payload::decode(&SensitiveBytes::new(bytes)) else { continue };
            let again = Payload::decode(&payload.encode()).unwrap();
            assert_eq!(again.keys(), payload.keys());
        }
    });
}

//! What must be compared in constant time cannot be compared by `==` (`peers.md` S7).

use lockbox_core::{RequestMac, SensitiveBytes, SensitiveString};
use lockbox_kms_sim::mac::MacKey;
use lockbox_kms_sim::material::{KeyMaterial, WrappedMaterial};
use lockbox_kms_sim::root_key::RootKey;
use lockbox_kms_sim::shares::Share;

use crate::compared::{Compared, Otherwise};

#[test]
fn security_s07_no_type_of_the_kms_for_secrets_has_equals() {
    let types = [
        // What this test would see.
        ("plain bytes", Compared::<[u8; 32]>::BY_EQUALS),
        ("RequestMac", Compared::<RequestMac>::BY_EQUALS),
        ("SensitiveBytes", Compared::<SensitiveBytes>::BY_EQUALS),
        ("SensitiveString", Compared::<SensitiveString>::BY_EQUALS),
        ("MacKey", Compared::<MacKey>::BY_EQUALS),
        ("KeyMaterial", Compared::<KeyMaterial>::BY_EQUALS),
        ("WrappedMaterial", Compared::<WrappedMaterial>::BY_EQUALS),
        ("RootKey", Compared::<RootKey>::BY_EQUALS),
        ("Share", Compared::<Share>::BY_EQUALS),
    ];
    let with_equals = types.into_iter().filter(|(_, by_equals)| *by_equals);
    let with_equals: Vec<&str> = with_equals.map(|(name, _)| name).collect();
    assert_eq!(with_equals, ["plain bytes"]);
}

//! The items of `contract §14`, each a function of its own.

mod access;
mod accounting;
mod creation;
mod entrance;
mod kms;
mod lifecycle;
mod lists;
mod repeats;
mod rest;
mod values;
mod versions;

use std::pin::Pin;

use crate::api::Api;

/// One item.
pub(crate) type Item = fn(Api) -> Pin<Box<dyn Future<Output = ()>>>;

macro_rules! items {
    ($( $name:ident = $of:path; )*) => {
        /// All of them, by number.
        pub(crate) const ITEMS: &[(&str, Item)] =
            &[$( (stringify!($name), |api| Box::pin($of(api))), )*];
    };
}

items! {
    item_01_discovery = entrance::discovery;
    item_02_login = entrance::login;
    item_03_create_matrix = creation::matrix;
    item_04_operation_types = creation::operation_types;
    item_05_add_version = versions::add_version;
    item_06_current_version = versions::current_version;
    item_07_destruction = versions::destruction;
    item_08_deactivation = lifecycle::deactivation;
    item_09_deletion_protection = lifecycle::deletion_protection;
    item_10_sizes = values::sizes;
    item_11_passwords = values::passwords;
    item_12_update = lifecycle::update;
    item_13_paging = lists::paging;
    item_14_roles = access::roles;
    item_15_kms = kms::keys;
    item_16_idempotency = repeats::idempotency;
    item_17_rest = rest::every_route;
    item_18_audit = accounting::audit;
    item_19_metering = accounting::metering;
}

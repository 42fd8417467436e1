//! The filter that finds one name in a list.

/// The filter; none for a name that it has no way to write, which nothing is named then.
pub(crate) fn by_name(name: &str) -> Option<String> {
    let writable = !name.contains(['"', '\\']);
    writable.then(|| format!("name=\"{name}\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_in_no_filter() {
        assert_eq!(by_name("a b").as_deref(), Some("name=\"a b\""));
        assert_eq!(by_name("a\" or \"b"), None);
        assert_eq!(by_name("a\\"), None);
    }
}

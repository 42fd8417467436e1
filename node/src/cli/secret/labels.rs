//! `--labels KEY=VALUE,…`.

use std::collections::BTreeMap;

/// Labels by key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels(pub(crate) BTreeMap<String, String>);

/// Reads the flag. What keys and values may hold is for the server to say.
pub(crate) fn parse(text: &str) -> Result<Labels, String> {
    let mut labels = BTreeMap::new();
    for pair in text.split(',').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?} has no ="))?;
        if labels.insert(key.to_owned(), value.to_owned()).is_some() {
            return Err(format!("the label {key:?} is there twice"));
        }
    }
    Ok(Labels(labels))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_pairs_and_values_may_hold_an_equals_sign() {
        let labels = parse("env=prod,note=a=b,empty=").unwrap().0;
        assert_eq!(labels.len(), 3);
        assert_eq!(labels["note"], "a=b");
        assert_eq!(labels["empty"], "");
        assert_eq!(parse(""), Ok(Labels::default()));
    }

    #[test]
    fn a_pair_without_value_or_twice_is_refused() {
        assert_eq!(parse("env"), Err("\"env\" has no =".to_owned()));
        assert!(parse("a=1,a=2").unwrap_err().contains("twice"));
    }
}

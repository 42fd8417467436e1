//! The filter of lists: `name="..."` and nothing else (`contract §1.11`).

use lockbox_platform::status::ApiError;

/// The name that a filter asks for; nothing when there is no filter.
///
/// # Errors
/// INVALID_ARGUMENT for every other expression.
pub fn parse(filter: &str) -> Result<Option<String>, ApiError> {
    if filter.trim().is_empty() {
        return Ok(None);
    }
    let refused = || ApiError::invalid("filter", "must have the form name=\"...\"");
    let value = filter.trim().strip_prefix("name").ok_or_else(refused)?;
    let value = value.trim_start().strip_prefix('=').ok_or_else(refused)?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\'')).ok_or_else(refused)?;
    let name = value[1..].strip_suffix(quote).ok_or_else(refused)?;
    if name.is_empty() || name.contains(['"', '\'', '\\']) {
        return Err(refused());
    }
    Ok(Some(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_quotes_is_all_that_is_understood() {
        for filter in ["name=\"robot\"", " name = 'robot' ", "name=\"robot\" "] {
            assert_eq!(parse(filter).unwrap().as_deref(), Some("robot"), "{filter}");
        }
        assert_eq!(parse("").unwrap(), None);
        for wrong in [
            "name=robot",
            "name!=\"robot\"",
            "name=\"robot",
            "name=\"",
            "name=\"\"",
            "name=\"a\" OR name=\"b\"",
            "id=\"robot\"",
            "names=\"robot\"",
        ] {
            assert_eq!(parse(wrong).unwrap_err().code(), tonic::Code::InvalidArgument, "{wrong}");
        }
    }
}

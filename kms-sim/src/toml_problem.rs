//! What is wrong with a TOML file, on one line: the parser's own text takes five.

/// Line and problem, as a part of a sentence.
pub(crate) fn one_line(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().trim().replace('\n', ", ");
    match error.span().and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_and_problem_are_named_on_one_line() {
        let text = "a = 1\nb = [\n";
        let error = toml::from_str::<toml::Table>(text).unwrap_err();
        let problem = one_line(text, &error);
        assert!(problem.starts_with("line 2: ") || problem.starts_with("line 3: "), "{problem}");
        assert!(!problem.contains('\n'), "{problem}");
    }
}

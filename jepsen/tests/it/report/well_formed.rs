//! Reads markup strictly: what it accepts, a browser reads in one way only.

use std::collections::BTreeMap;

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// Its name.
    pub(crate) tag: String,
    /// Its attributes, with escapes left as they are.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl Element {
    /// Its classes.
    pub(crate) fn classes(&self) -> impl Iterator<Item = &str> {
        self.attributes.get("class").into_iter().flat_map(|all| all.split_whitespace())
    }
}

/// The elements in the order of their beginnings, or what is wrong.
pub(crate) fn elements(content: &str) -> Result<Vec<Element>, String> {
    let (_, mut rest) = content.split_once('\n').ok_or("no first line")?;
    let mut found = Vec::new();
    let mut open: Vec<String> = Vec::new();
    while let Some((text, behind)) = rest.split_once('<') {
        check_text(text)?;
        if let Some(end) = behind.strip_prefix('/') {
            let (tag, after) = end.split_once('>').ok_or("an end without >")?;
            let expected = open.pop();
            if expected.as_deref() != Some(tag) {
                return Err(format!("</{tag}> ends {expected:?}"));
            }
            rest = after;
            continue;
        }
        let (element, closed, after) = start(behind)?;
        if element.tag == "style" {
            rest = after.split_once("</style>").ok_or("a style without end")?.1;
            continue;
        }
        if !closed {
            open.push(element.tag.clone());
        }
        found.push(element);
        rest = after;
    }
    check_text(rest)?;
    if open.is_empty() { Ok(found) } else { Err(format!("left open: {open:?}")) }
}

fn start(text: &str) -> Result<(Element, bool, &str), String> {
    let name_ends = text.find([' ', '>', '/']).ok_or("an element without end")?;
    let tag = text[..name_ends].to_owned();
    if tag.is_empty() || !tag.chars().all(|c| c.is_ascii_alphanumeric()) {
        return Err(format!("no name: {:?}", text.chars().take(20).collect::<String>()));
    }
    let mut attributes = BTreeMap::new();
    let mut rest = &text[name_ends..];
    loop {
        if let Some(after) = rest.strip_prefix("/>") {
            return Ok((Element { tag, attributes }, true, after));
        }
        if let Some(after) = rest.strip_prefix('>') {
            return Ok((Element { tag, attributes }, false, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("an attribute without value")?;
        let (value, after) = after.split_once('"').ok_or("a value without end")?;
        check_text(value)?;
        if value.contains('<') {
            return Err(format!("< in a value of {tag}"));
        }
        if attributes.insert(name.trim_start().to_owned(), value.to_owned()).is_some() {
            return Err(format!("{name} twice in {tag}"));
        }
        rest = after;
    }
}

fn check_text(text: &str) -> Result<(), String> {
    if text.contains('>') {
        return Err(format!("a bare >: {text:?}"));
    }
    for escape in text.split('&').skip(1) {
        let known = ["amp;", "lt;", "gt;", "quot;", "#39;"];
        if !known.iter().any(|known| escape.starts_with(known)) {
            return Err(format!("a bare &: {escape:?}"));
        }
    }
    Ok(())
}

/// How many elements of each name and class there are: what a picture is made of, without its
/// places and texts.
pub(crate) fn outline(content: &str) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for element in elements(content).unwrap() {
        let class = element.attributes.get("class").map_or("", String::as_str);
        *counts.entry(format!("{}.{class}", element.tag)).or_default() += 1;
    }
    let lines = counts.iter().map(|(what, count)| format!("{count:>4} {what}"));
    lines.collect::<Vec<_>>().join("\n")
}

//! Writes markup, and is the only place that does.
//!
//! Promises that every text and attribute is escaped and that every element is closed, so that a
//! message from a server can never become part of the page. Knows nothing of what is drawn.

use std::fmt::{self, Display, Write};

/// Attributes of an element, in the order in which they are written.
pub(super) type Attributes<'a> = &'a [(&'a str, &'a dyn Display)];

/// HTML or SVG under construction.
#[derive(Debug, Default)]
pub(super) struct Markup {
    out: String,
    open: Vec<&'static str>,
}

impl Markup {
    /// Opens an element.
    pub(super) fn open(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.head(tag, attributes);
        self.out.push('>');
        self.open.push(tag);
    }

    /// Closes the element that was opened last.
    pub(super) fn close(&mut self) {
        let tag = self.open.pop();
        // INVARIANT: the calls of `open` and `close` pair up; else the page would be nested wrong.
        assert!(tag.is_some(), "no element is open");
        if let Some(tag) = tag {
            self.put(format_args!("</{tag}>"));
            if BLOCKS.contains(&tag) {
                self.out.push('\n');
            }
        }
    }

    /// An element without content: one of SVG, or a void one of HTML.
    pub(super) fn leaf(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.head(tag, attributes);
        self.out.push_str("/>");
    }

    /// Text of the open element.
    pub(super) fn text(&mut self, text: impl Display) {
        self.put(format_args!("{}", Escaped(&text)));
    }

    /// An element that holds a text alone.
    pub(super) fn element(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        text: impl Display,
    ) {
        self.open(tag, attributes);
        self.text(text);
        self.close();
    }

    /// An element of SVG with a text that a browser shows when the pointer rests on it.
    pub(super) fn with_title(
        &mut self,
        tag: &'static str,
        attributes: Attributes<'_>,
        title: impl Display,
    ) {
        self.open(tag, attributes);
        self.element("title", &[], title);
        self.close();
    }

    /// Finished markup as content of the open element.
    pub(super) fn append(&mut self, markup: &Self) {
        assert!(markup.open.is_empty(), "an element of the part is still open");
        self.out.push_str(&markup.out);
    }

    /// A style sheet; it is ours and holds no text from outside.
    pub(super) fn style(&mut self, sheet: &'static str) {
        self.out.push_str("<style>");
        self.out.push_str(sheet);
        self.out.push_str("</style>\n");
    }

    /// The document, behind the line that says what it is.
    pub(super) fn document(self, kind: &'static str) -> String {
        assert!(self.open.is_empty(), "an element of the document is still open");
        format!("{kind}\n{}\n", self.out.trim_end())
    }

    /// The markup, all of whose elements are closed.
    #[cfg(test)]
    pub(super) fn as_str(&self) -> &str {
        &self.out
    }

    fn head(&mut self, tag: &'static str, attributes: Attributes<'_>) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.put(format_args!(" {name}=\"{}\"", Escaped(*value)));
        }
    }

    fn put(&mut self, arguments: fmt::Arguments<'_>) {
        let written = self.out.write_fmt(arguments);
        assert!(written.is_ok(), "a Display of ours failed");
    }
}

/// Elements after which a line ends, so that the file can be read and compared.
const BLOCKS: [&str; 12] =
    ["svg", "g", "text", "tr", "table", "section", "h2", "h3", "p", "figure", "nav", "header"];

/// Escapes what it displays.
struct Escaped<'a, T: ?Sized>(&'a T);

impl<T: Display + ?Sized> Display for Escaped<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(EscapingWriter(f), "{}", self.0)
    }
}

struct EscapingWriter<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for EscapingWriter<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.write_str("&amp;")?,
                '<' => self.0.write_str("&lt;")?,
                '>' => self.0.write_str("&gt;")?,
                '"' => self.0.write_str("&quot;")?,
                '\'' => self.0.write_str("&#39;")?,
                '\n' | '\t' => self.0.write_char(' ')?,
                // XML has no way to write these at all.
                '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{fffe}' | '\u{ffff}' => {
                    self.0.write_char('\u{fffd}')?;
                }
                // They would turn round the text behind them.
                '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                    self.0.write_char('\u{fffd}')?;
                }
                plain => self.0.write_char(plain)?,
            }
        }
        Ok(())
    }
}

/// A length or coordinate in units of the picture, to a tenth.
#[derive(Debug, Clone, Copy)]
pub(super) struct Px(pub(super) f64);

impl Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = (self.0 * 10.0).round() / 10.0;
        // -0 is 0.
        write!(f, "{}", if tenths == 0.0 { 0.0 } else { tenths })
    }
}

#[cfg(test)]
mod tests {
    use super::{Markup, Px};

    #[test]
    fn text_and_attributes_cannot_leave_their_place() {
        let mut markup = Markup::default();
        markup.open("p", &[("title", &"\"><script>")]);
        markup.text("</p> & 'x'\u{0}\u{202e}");
        markup.close();
        assert_eq!(
            markup.as_str(),
            "<p title=\"&quot;&gt;&lt;script&gt;\">&lt;/p&gt; &amp; &#39;x&#39;\u{fffd}\u{fffd}\
             </p>\n"
        );
    }

    #[test]
    #[should_panic(expected = "still open")]
    fn an_open_element_is_no_document() {
        let mut markup = Markup::default();
        markup.open("p", &[]);
        markup.document("<!doctype html>");
    }

    #[test]
    fn coordinates_are_short() {
        let written: Vec<String> =
            [1.0, 1.25, -0.01, 1234.56].iter().map(|&x| Px(x).to_string()).collect();
        assert_eq!(written, ["1", "1.3", "0", "1234.6"]);
    }
}

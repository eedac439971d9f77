//! The little HTML that a report is made of. Pure.

use std::fmt::Write;

/// Text as it may stand in HTML, between tags or in quoted attributes.
pub fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // Control characters are not allowed in HTML, and show nothing.
            control if control.is_control() && control != '\n' && control != '\t' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

/// The first characters of a text, escaped, with an ellipsis for the rest.
pub fn shortened(text: &str, most: usize) -> String {
    let mut start: String = text.chars().take(most).collect();
    if text.chars().count() > most {
        start.push('…');
    }
    escaped(&start)
}

/// A share as a percentage with one digit.
pub fn percent(share: f32) -> String {
    format!("{:.1} %", share * 100.0)
}

/// A cell of a table.
pub enum Cell {
    /// Words; escaped when they are written.
    Text(String),
    /// A number, which stands to the right.
    Number(String),
}

/// A table under headings; `numbers` says which columns stand to the right.
pub fn table<const N: usize>(headings: [(&str, bool); N], rows: impl IntoIterator<Item = [Cell; N]>) -> String {
    let mut html = String::from("<div class=\"scroll\"><table><thead><tr>");
    for (heading, number) in headings {
        let class = if number { " class=\"number\"" } else { "" };
        // Writing to a string does not fail.
        let _ = write!(html, "<th{class}>{}</th>", escaped(heading));
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = match cell {
                Cell::Text(text) => write!(html, "<td class=\"text\">{}</td>", shortened(&text, 200)),
                Cell::Number(number) => write!(html, "<td class=\"number\">{}</td>", escaped(&number)),
            };
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_text_is_markup() {
        assert_eq!(escaped("<b a=\"1\" c='2'>&\u{0}"), "&lt;b a=&quot;1&quot; c=&#39;2&#39;&gt;&amp;\u{fffd}");
        assert_eq!(shortened("a<bc", 2), "a&lt;…");
        let html = table([("in<tent", false)], [[Cell::Text("<script>".into())], [Cell::Number("<1".into())]]);
        assert!(html.contains("in&lt;tent") && html.contains("&lt;script&gt;") && html.contains("&lt;1"), "{html}");
        assert!(!html.contains("<script>"));
    }
}

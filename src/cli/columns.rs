//! Text in columns: one per session, a line per event, in order of time.

use std::fmt::Write;

/// Writes `content` in its column (from 0), on as many lines as it needs, with `at` in the margin.
pub fn row(text: &mut String, at: &str, column: usize, width: usize, content: &str) {
    for (line, part) in wrap(content, width).into_iter().enumerate() {
        let at = if line == 0 { at } else { "" };
        let skip = column * (width + 2);
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", format!("{at:>8}  {:skip$}{part}", "").trim_end());
    }
}

/// Breaks a text at spaces to the width of a column.
fn wrap(content: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in content.split_whitespace() {
        // There is always a last line: the vector starts with one and only grows.
        let used = lines.last().map_or(0, |line| line.chars().count());
        if used > 0 && used + 1 + word.chars().count() > width {
            lines.push(format!("  {word}"));
        } else if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_wrapped() {
        assert!(wrap(&"word ".repeat(40), 58).iter().all(|line| line.chars().count() <= 58));
    }

    #[test]
    fn columns_stand_beside_each_other() {
        let mut text = String::new();
        row(&mut text, "1", 0, 10, "left");
        row(&mut text, "2", 1, 10, "right");
        assert_eq!(text, "       1  left\n       2              right\n");
    }
}

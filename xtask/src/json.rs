//! The little JSON that chores print: strings.

/// Quotes `text` as a JSON string.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted += "\\\"",
            '\\' => quoted += "\\\\",
            '\n' => quoted += "\\n",
            c if (c as u32) < 0x20 => quoted += &format!("\\u{:04x}", c as u32),
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_string_survives_quotes_and_control_characters() {
        assert_eq!(super::string("a \"b\" \\ \n\t"), r#""a \"b\" \\ \n\u0009""#);
    }
}

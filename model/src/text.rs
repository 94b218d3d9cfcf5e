//! From tokens to text that can be shown at once: whole characters only, and never a piece of a stop text.

use tokenizers::Tokenizer;

use crate::request::GenerateError;

/// Tokens before the answer that are decoded along, so that its first token gets the space it has in the text.
const CONTEXT_TOKENS: usize = 6;
/// A character is four bytes at most, one token each; more pending tokens than this are not a character in the making.
const PENDING_TOKENS_MAX: usize = 8;
/// What a tokenizer writes for bytes that are no character, or not yet.
const REPLACEMENT: char = '\u{fffd}';

/// The text of one answer as it grows.
#[derive(Debug)]
pub(crate) struct AnswerText {
    detokenizer: Detokenizer,
    stops: StopFilter,
}

/// What a token added to the answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Grown {
    /// Text that can be shown; may be empty.
    pub(crate) text: String,
    /// A stop text appeared behind it: the answer is complete.
    pub(crate) is_stopped: bool,
}

impl AnswerText {
    pub(crate) fn new(prompt: &[u32], stops: Vec<String>) -> AnswerText {
        AnswerText {
            detokenizer: Detokenizer::new(prompt),
            stops: StopFilter::new(stops),
        }
    }

    pub(crate) fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<Grown, GenerateError> {
        let piece = self.detokenizer.push(tokenizer, token)?;
        Ok(self.stops.push(&piece))
    }

    /// What was held back, now that nothing follows.
    pub(crate) fn finish(&mut self, tokenizer: &Tokenizer) -> Result<Grown, GenerateError> {
        let piece = self.detokenizer.finish(tokenizer)?;
        let mut grown = self.stops.push(&piece);
        if !grown.is_stopped {
            grown.text.push_str(&self.stops.finish());
        }
        Ok(grown)
    }
}

/// Turns tokens into text piece by piece.
///
/// Tokenizers decide on spaces and characters by looking at neighbours, so a token cannot be decoded alone: a window
/// of tokens is decoded with and without the new ones, and the difference is the piece.
#[derive(Debug)]
struct Detokenizer {
    /// Tokens already shown, for context, then tokens whose text is pending.
    window: Vec<u32>,
    shown: usize,
}

impl Detokenizer {
    fn new(prompt: &[u32]) -> Detokenizer {
        let window = prompt[prompt.len().saturating_sub(CONTEXT_TOKENS)..].to_vec();
        Detokenizer {
            shown: window.len(),
            window,
        }
    }

    /// The text that `token` completes; empty while a character is incomplete.
    fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> Result<String, GenerateError> {
        self.window.push(token);
        let (before, after) = self.decode(tokenizer)?;
        let pending = self.window.len() - self.shown;
        let is_whole = after.len() > before.len() && !after.ends_with(REPLACEMENT);
        if !is_whole && pending <= PENDING_TOKENS_MAX {
            return Ok(String::new());
        }
        self.window.drain(..self.shown);
        self.shown = self.window.len();
        Ok(added(&before, &after))
    }

    fn finish(&mut self, tokenizer: &Tokenizer) -> Result<String, GenerateError> {
        let (before, after) = self.decode(tokenizer)?;
        self.shown = self.window.len();
        Ok(added(&before, &after))
    }

    fn decode(&self, tokenizer: &Tokenizer) -> Result<(String, String), GenerateError> {
        let decode = |tokens: &[u32]| {
            tokenizer
                .decode(tokens, true)
                .map_err(|error| GenerateError::Decode {
                    message: error.to_string(),
                })
        };
        Ok((decode(&self.window[..self.shown])?, decode(&self.window)?))
    }
}

/// What `after` has behind the length of `before`, from the next whole character on.
fn added(before: &str, after: &str) -> String {
    let start = (before.len()..after.len()).find(|&index| after.is_char_boundary(index));
    start.map_or_else(String::new, |start| after[start..].to_owned())
}

/// Ends a text before the first of some stop texts, and holds back whatever might become one.
#[derive(Debug)]
struct StopFilter {
    stops: Vec<String>,
    held: String,
}

impl StopFilter {
    fn new(stops: Vec<String>) -> StopFilter {
        StopFilter {
            stops,
            held: String::new(),
        }
    }

    fn push(&mut self, piece: &str) -> Grown {
        self.held.push_str(piece);
        let hit = self
            .stops
            .iter()
            .filter_map(|stop| self.held.find(stop.as_str()))
            .min();
        if let Some(start) = hit {
            self.held.truncate(start);
            return Grown {
                text: self.finish(),
                is_stopped: true,
            };
        }
        let safe = self.held.len() - self.suspect_bytes();
        let rest = self.held.split_off(safe);
        Grown {
            text: std::mem::replace(&mut self.held, rest),
            is_stopped: false,
        }
    }

    fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// Length of the longest end of the held text that begins a stop text.
    fn suspect_bytes(&self) -> usize {
        let ends = self.held.char_indices().map(|(start, _)| &self.held[start..]);
        let is_suspect = |end: &&str| self.stops.iter().any(|stop| stop.starts_with(end));
        ends.filter(is_suspect).map(str::len).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{byte_tokenizer, word_tokenizer};

    #[track_caller]
    fn check_stops(stops: &[&str], pieces: &[&str], shown: &[&str], is_stopped: bool) {
        let mut filter = StopFilter::new(stops.iter().map(|stop| stop.to_string()).collect());
        let mut texts = Vec::new();
        let mut stopped = false;
        for piece in pieces {
            let grown = filter.push(piece);
            texts.push(grown.text);
            stopped = grown.is_stopped;
            if stopped {
                break;
            }
        }
        if !stopped {
            texts.push(filter.finish());
        }
        assert_eq!(
            (texts.as_slice(), stopped),
            (shown.map_strings().as_slice(), is_stopped)
        );
    }

    trait Strings {
        fn map_strings(&self) -> Vec<String>;
    }

    impl Strings for [&str] {
        fn map_strings(&self) -> Vec<String> {
            self.iter().map(|text| text.to_string()).collect()
        }
    }

    #[test]
    fn text_without_stops_passes_at_once() {
        check_stops(&[], &["ab", "c"], &["ab", "c", ""], false);
    }

    #[test]
    fn a_stop_across_pieces_never_leaks() {
        check_stops(&["END"], &["a E", "N", "D b"], &["a ", "", ""], true);
        check_stops(&["END"], &["a E", "N", "d b"], &["a ", "", "ENd b", ""], false);
        check_stops(&["END"], &["a EN"], &["a ", "EN"], false);
        check_stops(&["aab"], &["a", "a", "a", "b", "x"], &["", "", "a", ""], true);
    }

    #[test]
    fn the_first_of_several_stops_ends_the_text() {
        check_stops(&["\n\n", "two"], &["one two\n\nthree"], &["one "], true);
        check_stops(&["bc", "abcd"], &["xa", "bc"], &["x", "a"], true);
        check_stops(&["\u{e9}\u{e8}"], &["x\u{e9}", "\u{e8}"], &["x", ""], true);
    }

    #[test]
    fn a_character_is_shown_when_its_last_byte_is_there() {
        let tokenizer = byte_tokenizer();
        let mut text = AnswerText::new(&[], vec![]);
        let mut shown = Vec::new();
        for byte in "a\u{1f980}\u{e9}z".bytes() {
            shown.push(text.push(&tokenizer, u32::from(byte)).unwrap().text);
        }
        assert_eq!(shown, ["a", "", "", "", "\u{1f980}", "", "\u{e9}", "z"]);
        assert_eq!(text.finish(&tokenizer).unwrap().text, "");
    }

    #[test]
    fn bytes_that_never_become_a_character_are_shown_as_replacements() {
        let tokenizer = byte_tokenizer();
        let mut text = AnswerText::new(&[], vec![]);
        assert_eq!(text.push(&tokenizer, 0xf0).unwrap().text, "");
        assert_eq!(text.finish(&tokenizer).unwrap().text, "\u{fffd}");

        let mut text = AnswerText::new(&[], vec![]);
        let shown: String = (0..20)
            .map(|_| text.push(&tokenizer, 0x80).unwrap().text)
            .collect();
        assert!(shown.chars().count() >= 9, "{shown:?}");
    }

    #[test]
    fn words_are_joined_as_the_tokenizer_joins_them_with_the_prompt() {
        let tokenizer = word_tokenizer(&["where", "is", "mary", "kitchen"]);
        let word = |word: &str| tokenizer.token_to_id(word).unwrap();
        let mut text = AnswerText::new(&[word("where"), word("is")], vec![]);
        assert_eq!(text.push(&tokenizer, word("mary")).unwrap().text, " mary");
        assert_eq!(text.push(&tokenizer, word("kitchen")).unwrap().text, " kitchen");
    }

    #[test]
    fn special_tokens_have_no_text() {
        let tokenizer = word_tokenizer(&["one"]);
        let end = tokenizer.token_to_id("<end>").unwrap();
        let mut text = AnswerText::new(&[], vec![]);
        let shown: String = (0..20)
            .map(|_| text.push(&tokenizer, end).unwrap().text)
            .collect();
        assert_eq!(shown, "");
        assert_eq!(
            text.push(&tokenizer, tokenizer.token_to_id("one").unwrap())
                .unwrap()
                .text,
            "one"
        );
    }
}

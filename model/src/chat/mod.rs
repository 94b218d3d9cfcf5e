//! Conversations as the text that a model was trained to continue: the template that comes with its tokenizer.
//!
//! Templates are Jinja as transformers runs it: blocks trimmed, Python's methods on texts and lists, `raise_exception`,
//! `tojson` without escapes, the tokenizer's special tokens as variables. They come from a folder, so they run with
//! a limit on their steps and their output, and see nothing but what is passed in: not even the time of day.

mod date;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use minijinja::value::{Kwargs, Value as Variable, ValueKind};
use minijinja::{Environment, ErrorKind};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::load::{LoadError, read_bounded, read_json};

/// The largest templates in use have some 20 KB.
const TEMPLATE_BYTES_MAX: u64 = 1 << 20;
/// Steps of one rendering: a conversation of a thousand messages takes some hundred thousand.
const STEPS_MAX: u64 = 20_000_000;
/// Bytes of one rendering, beyond the context of every model.
const RENDERED_BYTES_MAX: usize = 64 << 20;
/// Messages of one conversation.
const MESSAGES_MAX: usize = 10_000;
/// The template's name in error messages.
const NAME: &str = "chat_template";
/// The special tokens that templates know by name.
const SPECIAL: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Who speaks: `system`, `user`, `assistant`, or whatever else the template knows.
    pub role: String,
    /// What is said.
    pub content: String,
}

impl Message {
    /// A turn of `role`.
    pub fn new(role: &str, content: &str) -> Message {
        Message {
            role: role.to_owned(),
            content: content.to_owned(),
        }
    }
}

/// How a conversation is rendered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChatOptions {
    /// Whether the text ends where the assistant's next turn begins.
    pub opens_answer: bool,
    /// Further variables of the template, such as `enable_thinking`.
    pub variables: BTreeMap<String, Value>,
    /// Seconds since 1970, for templates that tell the model the date; without it they take a fixed one.
    pub now_s: Option<u64>,
}

/// Why a conversation has no text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatError {
    /// The model came without a template.
    #[error("the model has no chat template; send its prompt as text")]
    NoTemplate,
    /// There are too many messages.
    #[error("{count} messages, at most {limit} are taken")]
    TooManyMessages {
        /// How many there are.
        count: usize,
        /// How many would be accepted.
        limit: usize,
    },
    /// The template refuses the conversation, for its order of roles for example.
    #[error("the model's chat template refuses the conversation: {message}")]
    Refused {
        /// The template's own words.
        message: String,
    },
    /// The template is broken, or took too many steps.
    #[error("the model's chat template failed: {message}")]
    Template {
        /// What went wrong and where.
        message: String,
    },
}

/// A model's template, compiled.
pub struct ChatTemplate {
    environment: Environment<'static>,
    special: BTreeMap<String, String>,
}

impl fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ChatTemplate")
            .field("special", &self.special)
            .finish_non_exhaustive()
    }
}

impl ChatTemplate {
    /// The template of a folder: `chat_template.jinja`, else that in `tokenizer_config.json`; `None` without either.
    ///
    /// # Errors
    ///
    /// [`LoadError`] when a file is no JSON or too large, or the template does not parse.
    pub fn of_folder(dir: &Path) -> Result<Option<ChatTemplate>, LoadError> {
        let config_path = dir.join("tokenizer_config.json");
        let config = match config_path.exists() {
            true => read_json(&config_path)?,
            false => Value::Null,
        };
        let (path, source) = match source_of(dir, &config_path, &config)? {
            Some(found) => found,
            None => return Ok(None),
        };
        ChatTemplate::compile(source, special_tokens(&config))
            .map(Some)
            .map_err(|error| LoadError::ChatTemplate {
                path,
                message: error.to_string(),
            })
    }

    fn compile(source: String, special: BTreeMap<String, String>) -> Result<ChatTemplate, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_fuel(Some(STEPS_MAX));
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_formatter(|output, state, value| match python_name(value) {
            Some(name) => Ok(output.write_str(name)?),
            None => minijinja::escape_formatter(output, state, value),
        });
        environment.add_function("raise_exception", raise);
        environment.add_filter("tojson", to_json);
        environment.add_template_owned(NAME, source)?;
        Ok(ChatTemplate { environment, special })
    }

    /// The text of a conversation, to be tokenised as it is: its special tokens are in it.
    ///
    /// # Errors
    ///
    /// [`ChatError`].
    pub fn render(&self, messages: &[Message], options: &ChatOptions) -> Result<String, ChatError> {
        if messages.len() > MESSAGES_MAX {
            return Err(ChatError::TooManyMessages {
                count: messages.len(),
                limit: MESSAGES_MAX,
            });
        }
        let template = self
            .environment
            .get_template(NAME)
            .map_err(|error| failed(&error))?;
        let mut text = Bounded(Vec::new());
        template
            .render_captured_to(self.variables(messages, options), &mut text)
            .map_err(|error| failed(&error))?;
        String::from_utf8(text.0).map_err(|error| ChatError::Template {
            message: error.to_string(),
        })
    }

    fn variables(&self, messages: &[Message], options: &ChatOptions) -> Variable {
        let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
        for name in ["tools", "documents"] {
            variables.insert(name.to_owned(), Variable::from(()));
        }
        for (name, token) in &self.special {
            variables.insert(name.clone(), Variable::from(token.as_str()));
        }
        for (name, value) in &options.variables {
            variables.insert(name.clone(), Variable::from_serialize(value));
        }
        if let Some(now_s) = options.now_s {
            let format = move |pattern: String| date::format(now_s, &pattern);
            variables.insert("strftime_now".to_owned(), Variable::from_function(format));
        }
        variables.insert("messages".to_owned(), Variable::from_serialize(messages));
        let opens = Variable::from(options.opens_answer);
        variables.insert("add_generation_prompt".to_owned(), opens);
        Variable::from_serialize(variables)
    }
}

/// The template with the file that it is in.
fn source_of(dir: &Path, config_path: &Path, config: &Value) -> Result<Option<(PathBuf, String)>, LoadError> {
    let path = dir.join("chat_template.jinja");
    if path.exists() {
        let bytes = read_bounded(&path, TEMPLATE_BYTES_MAX)?;
        let source = String::from_utf8(bytes).map_err(|error| LoadError::ChatTemplate {
            path: path.clone(),
            message: error.to_string(),
        })?;
        return Ok(Some((path, source)));
    }
    let source = match config.get(NAME) {
        Some(Value::String(source)) => Some(source.clone()),
        Some(Value::Array(named)) => default_of(named),
        _ => None,
    };
    Ok(source.map(|source| (config_path.to_owned(), source)))
}

/// Of several templates with names, the one for plain conversations.
fn default_of(named: &[Value]) -> Option<String> {
    let default = named.iter().find(|entry| entry["name"] == "default")?;
    default["template"].as_str().map(str::to_owned)
}

/// A token is a text, or an object that holds it.
fn special_tokens(config: &Value) -> BTreeMap<String, String> {
    let token = |name: &str| {
        let value = config.get(name)?;
        value.as_str().or_else(|| value["content"].as_str())
    };
    SPECIAL
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), token(name)?.to_owned())))
        .collect()
}

/// What Python writes for values that other languages write in lower case.
fn python_name(value: &Variable) -> Option<&'static str> {
    match value.kind() {
        ValueKind::None => Some("None"),
        ValueKind::Bool if value.is_true() => Some("True"),
        ValueKind::Bool => Some("False"),
        _ => None,
    }
}

/// What a template calls when it cannot render a conversation.
fn raise(message: String) -> Result<Variable, minijinja::Error> {
    Err(minijinja::Error::new(ErrorKind::InvalidOperation, message).with_source(Raised))
}

/// Marks an error as the template's own decision.
#[derive(Debug, Error)]
#[error("raised by the template")]
struct Raised;

fn failed(error: &minijinja::Error) -> ChatError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(found) = cause {
        let is_raised = std::error::Error::source(found).is_some_and(<dyn std::error::Error>::is::<Raised>);
        if let Some(raised) = found.downcast_ref::<minijinja::Error>().filter(|_| is_raised) {
            let message = raised.detail().unwrap_or_default().to_owned();
            return ChatError::Refused { message };
        }
        cause = std::error::Error::source(found);
    }
    ChatError::Template {
        message: error.to_string(),
    }
}

/// JSON as Python's `json.dumps` writes it: a blank behind commas and colons, nothing escaped for HTML.
fn to_json(value: &Variable, options: Kwargs) -> Result<String, minijinja::Error> {
    let indent: Option<usize> = options.get("indent")?;
    let _ensure_ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    let broken = |error: String| minijinja::Error::new(ErrorKind::BadSerialization, error);
    let mut bytes = Vec::new();
    match indent {
        Some(indent) => {
            let blanks = vec![b' '; indent.min(16)];
            let formatter = serde_json::ser::PrettyFormatter::with_indent(&blanks);
            let mut writer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
            value
                .serialize(&mut writer)
                .map_err(|error| broken(error.to_string()))?;
        }
        None => {
            let mut writer = serde_json::Serializer::with_formatter(&mut bytes, PythonFormatter);
            value
                .serialize(&mut writer)
                .map_err(|error| broken(error.to_string()))?;
        }
    }
    String::from_utf8(bytes).map_err(|error| broken(error.to_string()))
}

struct PythonFormatter;

impl serde_json::ser::Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }
}

/// A text that refuses to grow without end.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len().saturating_add(bytes.len()) > RENDERED_BYTES_MAX {
            let message = format!("the text has more than {RENDERED_BYTES_MAX} bytes");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

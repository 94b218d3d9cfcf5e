//! Where the hub, its cache and the user's token are: the variables that Hugging Face's own tools read.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::hub::cache::Cache;

/// The hub that is asked where the user names no other.
const ENDPOINT_DEFAULT: &str = "https://huggingface.co";
/// A file of a token holds one line of some forty characters.
const TOKEN_BYTES_MAX: usize = 4096;

/// What is needed to find or fetch a model.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The cache.
    pub cache: Cache,
    /// Address of the hub, without a slash behind.
    pub endpoint: String,
    /// Who asks, for models that are not open to all.
    pub token: Option<Token>,
    /// Whether the hub must not be asked at all.
    pub is_offline: bool,
}

/// A secret that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// A token, if the text can be one: a line of visible ASCII.
    #[must_use]
    pub fn new(text: &str) -> Option<Token> {
        let text = text.trim();
        let is_fine = !text.is_empty()
            && text.len() <= TOKEN_BYTES_MAX
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_fine.then(|| Token(text.to_owned()))
    }

    pub(super) fn as_header(&self) -> String {
        format!("Bearer {}", self.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Token(..)")
    }
}

impl Settings {
    /// Reads the variables of this process.
    #[must_use]
    pub fn from_env() -> Settings {
        let variable = |name: &str| std::env::var(name).ok();
        Settings::read(&variable, std::env::home_dir())
    }

    /// Reads variables through `variable`; unset and empty are the same.
    pub(super) fn read(variable: &dyn Fn(&str) -> Option<String>, home: Option<PathBuf>) -> Settings {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let folder = hugging_face_home(&variable, home);
        let cache = variable("HF_HUB_CACHE")
            .or_else(|| variable("HUGGINGFACE_HUB_CACHE"))
            .map_or_else(|| folder.join("hub"), PathBuf::from);
        let token_path = variable("HF_TOKEN_PATH").map_or_else(|| folder.join("token"), PathBuf::from);
        let is_on =
            |value: String| matches!(value.to_ascii_uppercase().as_str(), "1" | "ON" | "YES" | "TRUE");
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT_DEFAULT.to_owned());
        Settings {
            cache: Cache::new(cache),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: variable("HF_TOKEN")
                .or_else(|| read_token(&token_path))
                .and_then(|text| Token::new(&text)),
            is_offline: variable("HF_HUB_OFFLINE").is_some_and(is_on),
        }
    }
}

/// The folder of everything that Hugging Face's tools keep.
fn hugging_face_home(variable: &dyn Fn(&str) -> Option<String>, home: Option<PathBuf>) -> PathBuf {
    if let Some(folder) = variable("HF_HOME") {
        return PathBuf::from(folder);
    }
    let cache = match variable("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => home.unwrap_or_else(|| PathBuf::from(".")).join(".cache"),
    };
    cache.join("huggingface")
}

fn read_token(path: &Path) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(TOKEN_BYTES_MAX as u64).read_to_string(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Settings {
        let variable = |name: &str| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| value.to_string())
        };
        Settings::read(&variable, Some("/h/one".into()))
    }

    #[track_caller]
    fn check_cache(variables: &[(&str, &str)], cache: &str) {
        assert_eq!(read(variables).cache, Cache::new(cache.into()));
    }

    #[test]
    fn the_cache_is_where_hugging_faces_tools_have_it() {
        check_cache(&[], "/h/one/.cache/huggingface/hub");
        check_cache(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check_cache(&[("HF_HOME", "/hf"), ("XDG_CACHE_HOME", "/x")], "/hf/hub");
        check_cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")], "/c");
        check_cache(&[("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "")], "/old");
    }

    #[test]
    fn token_and_endpoint_come_from_the_environment_or_the_token_file() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "hf_file\n").unwrap();
        let home = ("HF_HOME", dir.path().to_str().unwrap());
        assert_eq!(read(&[home]).token, Token::new("hf_file"));
        assert_eq!(
            read(&[home, ("HF_TOKEN", " hf_env ")]).token,
            Token::new("hf_env")
        );
        assert_eq!(read(&[("HF_HOME", "/nowhere")]).token, None);
        assert_eq!(read(&[]).endpoint, "https://huggingface.co");
        assert_eq!(
            read(&[("HF_ENDPOINT", "http://mirror/")]).endpoint,
            "http://mirror"
        );
        assert!(read(&[("HF_HUB_OFFLINE", "1")]).is_offline);
        assert!(!read(&[("HF_HUB_OFFLINE", "0")]).is_offline);
        assert_eq!(format!("{:?}", Token::new("secret").unwrap()), "Token(..)");
        assert_eq!(Token::new("two\nlines"), None);
    }
}

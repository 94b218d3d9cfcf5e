//! What is to be compared, as it was typed.

use std::time::Duration;

use crate::help::UsageError;

/// The programs that are compared.
pub(super) const ENGINES: [&str; 3] = ["ours", "transformers", "llamacpp"];
/// Random models, by their number of parameters; `models.py` knows their shapes.
pub(super) const MODELS: [&str; 2] = ["25M", "120M"];
/// More threads than any machine has.
const THREADS_MAX: usize = 1024;

/// What is to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) json: bool,
    pub(super) engines: Vec<String>,
    pub(super) models: Vec<String>,
    pub(super) threads: Vec<usize>,
    /// For each model, count of threads and batch.
    pub(super) time: Duration,
    /// Rounds of each measurement, at least and at most.
    pub(super) rounds: (usize, usize),
}

impl Options {
    pub(super) fn parse(args: &[String]) -> anyhow::Result<Options> {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut options = Options {
            json: false,
            engines: all(&ENGINES),
            models: all(&MODELS),
            threads: vec![1, 2],
            time: Duration::from_secs(20),
            rounds: (3, 15),
        };
        let mut args = args.iter();
        while let Some(name) = args.next() {
            let mut value = || {
                args.next()
                    .ok_or_else(|| UsageError(format!("`{name}` needs a value")))
            };
            match name.as_str() {
                "--json" => options.json = true,
                "--quick" => options.rounds = (1, 1),
                "--engines" => options.engines = names(name, value()?, &ENGINES)?,
                "--models" => options.models = names(name, value()?, &MODELS)?,
                "--threads" => options.threads = counts(name, value()?)?,
                "--seconds" => options.time = Duration::from_secs(count(name, value()?, 3600)? as u64),
                _ => return Err(UsageError(format!("unknown argument `{name}`")).into()),
            }
        }
        Ok(options)
    }
}

fn names(option: &str, list: &str, known: &[&str]) -> Result<Vec<String>, UsageError> {
    let check = |name: &str| match known.contains(&name) {
        true => Ok(name.to_owned()),
        false => Err(UsageError(format!(
            "`{option}` takes some of {}, not `{name}`",
            known.join(",")
        ))),
    };
    list.split(',').map(check).collect()
}

fn counts(option: &str, list: &str) -> Result<Vec<usize>, UsageError> {
    list.split(',')
        .map(|text| count(option, text, THREADS_MAX))
        .collect()
}

fn count(option: &str, text: &str, most: usize) -> Result<usize, UsageError> {
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(UsageError(format!("`{option}` takes 1 to {most}, not `{text}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Options::parse(&args).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_narrow_what_is_compared() {
        let options = parse("--engines ours,llamacpp --models 25M --threads 2 --seconds 5 --json").unwrap();
        assert_eq!(options.engines, ["ours", "llamacpp"]);
        assert_eq!(
            (options.models, options.threads),
            (vec!["25M".to_owned()], vec![2])
        );
        assert_eq!((options.time, options.json), (Duration::from_secs(5), true));
        assert_eq!(parse("--quick").unwrap().rounds, (1, 1));
    }

    #[test]
    fn what_is_not_understood_is_refused_with_what_would_be() {
        assert_eq!(parse("--speed").unwrap_err(), "unknown argument `--speed`");
        assert_eq!(parse("--models").unwrap_err(), "`--models` needs a value");
        assert_eq!(
            parse("--models 7B").unwrap_err(),
            "`--models` takes some of 25M,120M, not `7B`"
        );
        assert_eq!(
            parse("--threads 0").unwrap_err(),
            "`--threads` takes 1 to 1024, not `0`"
        );
    }
}

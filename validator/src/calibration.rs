//! The calibration of a model: what honest distances from it are, and the measurements behind that.
//!
//! One JSON file for each model, named by its digest, so that it ships with a subnet and anyone can measure again.

use std::path::{Path, PathBuf};

use agon_protocol::id::Digest;
use agon_runtime::files::{WriteError, write_atomic};
use agon_scoring::verify::{Limit, Limits};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Share of honest distances that lie below the quantiles in the file.
pub const QUANTILE: f64 = 0.9999;
/// Least cap of margins, in logits: what is behind by a quarter of a logit is behind for good.
const MARGIN_CAP_MIN: f64 = 0.25;
/// Least cap of distances of codes.
const CODE_CAP_MIN: f64 = 0.05;
/// The caps are this many times the quantile of honest distances, so that they stand out from them.
const CAP_FACTOR: f64 = 2.0;
/// Parts of one in which caps are written.
const MICRO: f64 = 1e6;
/// Parts of one in which logarithms are written.
const PICO: f64 = 1e12;
/// Most bytes of a file.
const BYTES_MAX: u64 = 1 << 20;

/// A calibration as it is written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Name of the model, for people.
    pub name: String,
    /// Digest of the model, in hex.
    pub model: String,
    /// What honest margins are, in logits.
    pub margin: LimitFile,
    /// What honest distances of activation codes are.
    pub code: LimitFile,
    /// Number formats in which answers are admitted: those that were measured. Files that do not say have both.
    #[serde(default = "all_formats")]
    pub formats: Vec<String>,
    /// The measurements, one for each pair of settings.
    pub pairs: Vec<Pair>,
}

/// What a validator takes from a calibration.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibrated {
    /// What honest distances look like.
    pub limits: Limits,
    /// Number formats in which answers are admitted, as receipts name them.
    pub formats: Vec<String>,
}

fn all_formats() -> Vec<String> {
    vec!["f32".to_owned(), "bf16".to_owned()]
}

/// Honest distances between two settings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Honest {
    /// Of tokens, in logits.
    pub margins: Vec<f64>,
    /// Of activation codes, 0 to 1.
    pub codes: Vec<f64>,
}

/// The limits that honest distances lead to: those of the worst pair, with caps that stand out from what is common.
#[must_use]
pub fn limits(pairs: &[Honest]) -> Limits {
    let margins: Vec<Vec<f64>> = pairs.iter().map(|pair| pair.margins.clone()).collect();
    let codes: Vec<Vec<f64>> = pairs.iter().map(|pair| pair.codes.clone()).collect();
    let largest = |pairs: &[Vec<f64>]| pairs.iter().map(|values| quantile(values)).fold(0.0, f64::max);
    let margin_cap = (CAP_FACTOR * largest(&margins)).max(MARGIN_CAP_MIN);
    let code_cap = (CAP_FACTOR * largest(&codes)).clamp(CODE_CAP_MIN, 1.0);
    Limits {
        margin: Limit::measured(margin_cap, &margins),
        code: Limit::measured(code_cap, &codes),
    }
}

/// The smallest value that a share of [`QUANTILE`] of all values does not exceed.
#[must_use]
pub fn quantile(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * QUANTILE).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(0.0)
}

/// A limit as it is written: in whole numbers, so that everybody reads the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitFile {
    /// Distances count for this much at most, in millionths.
    pub cap_micro: u64,
    /// Logarithms of the means of exponentials, by tilt, in millionths of a millionth, rounded up.
    pub log_means_pico: Vec<u64>,
}

/// What was measured between a miner's setting and the reference's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// How answers were made: number format, device, threads, requests at the same time.
    pub answers: String,
    /// How they were checked.
    pub reference: String,
    /// Tokens that were compared.
    pub tokens: usize,
    /// Tokens that the reference would not have chosen.
    pub tokens_differing: usize,
    /// The quantile of the margins, in logits.
    pub margin_quantile: f64,
    /// The largest margin.
    pub margin_max: f64,
    /// The quantile of the codes' distances.
    pub code_quantile: f64,
    /// The largest distance of a code.
    pub code_max: f64,
}

/// Why there is no calibration.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error(
        "read {}: {source}; agon-validator calibrate --model DIR measures and writes it", path.display()
    )]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a calibration of this model.
    #[error("{} is no calibration: {reason}; agon-validator calibrate --model DIR writes a new one", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl Calibration {
    /// The file of a model's calibration in the folder `dir`.
    #[must_use]
    pub fn path(dir: &Path, model: &Digest) -> PathBuf {
        dir.join(format!("{}.json", hex(model)))
    }

    /// Writes the file of this model into `dir`, and gives its path.
    ///
    /// # Errors
    ///
    /// [`CalibrationError::Write`].
    pub fn write(&self, dir: &Path, model: &Digest) -> Result<PathBuf, CalibrationError> {
        let path = Self::path(dir, model);
        let mut text = serde_json::to_string_pretty(self).expect("numbers and texts");
        text.push('\n');
        write_atomic(&path, text.as_bytes(), 0o644)?;
        Ok(path)
    }

    /// Reads what a validator needs of a model's calibration from `dir`.
    ///
    /// # Errors
    ///
    /// [`CalibrationError`] naming the file and what is wrong with it.
    pub fn read(dir: &Path, model: &Digest) -> Result<Calibrated, CalibrationError> {
        let path = Self::path(dir, model);
        let malformed = |reason: String| CalibrationError::Malformed {
            path: path.clone(),
            reason,
        };
        let read = |source| CalibrationError::Read {
            path: path.clone(),
            source,
        };
        let bytes = std::fs::metadata(&path).map_err(read)?.len();
        if bytes > BYTES_MAX {
            return Err(malformed(format!("{bytes} bytes, at most {BYTES_MAX} are read")));
        }
        let text = std::fs::read(&path).map_err(read)?;
        let file: Self = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
        if file.model != hex(model) {
            return Err(malformed(format!("it is of model {}", file.model)));
        }
        let margin = file
            .margin
            .limit()
            .map_err(|reason| malformed(format!("margin: {reason}")))?;
        let code = file
            .code
            .limit()
            .map_err(|reason| malformed(format!("code: {reason}")))?;
        if file.formats.is_empty() {
            return Err(malformed("no number format is admitted".to_owned()));
        }
        Ok(Calibrated {
            limits: Limits { margin, code },
            formats: file.formats,
        })
    }
}

impl LimitFile {
    fn limit(&self) -> Result<Limit, String> {
        let count = self.log_means_pico.len();
        let log_means = self.log_means_pico.as_slice().try_into();
        let log_means: [u64; 7] = log_means.map_err(|_| format!("{count} log_means, 7 are expected"))?;
        if self.cap_micro == 0 {
            return Err("the cap is to be above 0".to_owned());
        }
        Ok(Limit {
            cap: self.cap_micro as f64 / MICRO,
            log_means: log_means.map(|log_mean| log_mean as f64 / PICO),
        })
    }
}

impl From<&Limit> for LimitFile {
    fn from(limit: &Limit) -> Self {
        Self {
            cap_micro: (limit.cap * MICRO).ceil() as u64,
            log_means_pico: limit
                .log_means
                .iter()
                .map(|log_mean| (log_mean * PICO).ceil() as u64)
                .collect(),
        }
    }
}

fn hex(digest: &Digest) -> String {
    digest.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODEL: Digest = Digest([0xc5; 32]);

    fn calibration() -> (Calibration, Limits) {
        let limits = Limits {
            margin: Limit::measured(0.25, &[vec![0.0; 1_000]]),
            code: Limit::measured(0.1, &[vec![0.01; 1_000]]),
        };
        let file = Calibration {
            name: "large".to_owned(),
            model: hex(&MODEL),
            margin: (&limits.margin).into(),
            code: (&limits.code).into(),
            formats: vec!["f32".to_owned()],
            pairs: Vec::new(),
        };
        (file, limits)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let (file, limits) = calibration();
        let path = file.write(dir.path(), &MODEL).unwrap();
        assert!(path.ends_with(format!("{}.json", "c5".repeat(32))));
        let found = Calibration::read(dir.path(), &MODEL).unwrap();
        assert_eq!(found.formats, ["f32"]);
        let found = found.limits;
        for (found, limit) in [(found.margin, limits.margin), (found.code, limits.code)] {
            assert_eq!(found.cap, limit.cap);
            for (found, written) in found.log_means.iter().zip(limit.log_means) {
                assert!((0.0..1e-11).contains(&(found - written)), "{found} for {written}");
            }
        }
    }

    #[test]
    fn a_file_that_names_no_formats_admits_both() {
        let dir = tempfile::tempdir().unwrap();
        let (file, _) = calibration();
        let path = file.write(dir.path(), &MODEL).unwrap();
        let mut value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        value.as_object_mut().unwrap().remove("formats");
        std::fs::write(&path, value.to_string()).unwrap();
        let found = Calibration::read(dir.path(), &MODEL).unwrap();
        assert_eq!(found.formats, ["f32", "bf16"]);
    }

    #[test]
    fn a_file_that_is_missing_damaged_or_of_another_model_says_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let complaint = || Calibration::read(dir.path(), &MODEL).unwrap_err().to_string();
        assert!(complaint().contains("agon-validator calibrate"));
        let changed = |change: fn(&mut Calibration)| {
            let (mut file, _) = calibration();
            change(&mut file);
            file.write(dir.path(), &MODEL).unwrap();
            complaint()
        };
        assert!(changed(|file| file.model = "00".repeat(32)).contains("it is of model 00"));
        assert!(changed(|file| file.formats.clear()).contains("no number format"));
        assert!(changed(|file| file.margin.cap_micro = 0).contains("margin: the cap"));
        assert!(changed(|file| file.code.log_means_pico.truncate(3)).contains("code: 3 log_means"));
        std::fs::write(Calibration::path(dir.path(), &MODEL), "{").unwrap();
        assert!(complaint().contains("is no calibration"));
    }
}

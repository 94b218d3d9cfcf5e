//! Files that the reference wallet wrote, and files that were changed on the way.

use std::fs;

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::KdfCost;
use super::*;

/// One file of the reference wallet, and what is known of it.
pub(in super::super) struct Sample {
    pub(in super::super) bytes: Vec<u8>,
    case: Value,
}

impl Sample {
    #[track_caller]
    pub(in super::super) fn text(&self, field: &str) -> &str {
        self.case[field].as_str().unwrap()
    }

    fn name(&self) -> &str {
        self.text("path_in_wallets_dir")
    }

    fn is_encrypted(&self) -> bool {
        self.case["encrypted"] == true
    }

    /// What the reference wallet says about the key.
    fn field(&self, field: &str) -> &Value {
        &self.case["fields"][field]
    }
}

fn golden() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/data/keys/keyfiles.json"
    );
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn samples() -> Vec<Sample> {
    let golden = golden();
    let sample = |case: &Value| Sample {
        bytes: base64(case["file_base64"].as_str().unwrap()),
        case: case.clone(),
    };
    golden["files"].as_array().unwrap().iter().map(sample).collect()
}

pub(in super::super) fn encrypted_samples() -> Vec<Sample> {
    samples().into_iter().filter(Sample::is_encrypted).collect()
}

/// The standard alphabet, padded, without line breaks.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let (mut bits, mut count, mut bytes) = (0u32, 0, Vec::new());
    for letter in text.trim_end_matches('=').chars() {
        bits = (bits << 6 | ALPHABET.find(letter).unwrap() as u32) & 0xffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// Writes bytes into a folder of their own and reads them as another wallet's file.
fn foreign(bytes: &[u8]) -> (TempDir, Result<ForeignFile, WalletError>) {
    let here = tempfile::tempdir().unwrap();
    let path = here.path().join("file");
    fs::write(&path, bytes).unwrap();
    let file = ForeignFile::read(&path);
    (here, file)
}

#[track_caller]
fn problem<T>(result: Result<T, WalletError>) -> KeyFileError {
    match result.err().expect("refused") {
        WalletError::KeyFile { problem, .. } => problem,
        other => panic!("not about a key file's contents: {other}"),
    }
}

fn rng() -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(1)
}

const PROTECTION: ColdkeyProtection<'static> = ColdkeyProtection::Password {
    password: "correct horse",
    cost: KdfCost::LEAST,
};

/// The key of a sample; encrypted ones by their plain text, which `nacl` shows to be what they open to.
fn key_of(sample: &Sample) -> ForeignKey {
    let bytes = match sample.is_encrypted() {
        true => sample.text("plaintext").as_bytes(),
        false => &sample.bytes,
    };
    let (_here, file) = foreign(bytes);
    file.unwrap()
        .open(None)
        .unwrap_or_else(|error| panic!("{}: {error}", sample.name()))
}

#[test]
fn every_file_of_the_reference_wallet_gives_its_key() {
    let (mut secrets, mut publics) = (0, 0);
    for sample in samples() {
        let key = key_of(&sample);
        assert_eq!(
            json!(key.account().to_string()),
            *sample.field("ss58Address"),
            "{}",
            sample.name()
        );
        let is_public = sample.name().ends_with("pub.txt");
        assert_eq!(key.has_secret(), !is_public, "{}", sample.name());
        if is_public {
            publics += 1;
            continue;
        }
        secrets += 1;
        let private = hex::encode(&key.file.keypair().unwrap().secret_bytes()[..]);
        assert_eq!(
            json!(format!("0x{private}")),
            *sample.field("privateKey"),
            "{}",
            sample.name()
        );
    }
    assert_eq!((secrets, publics), (7, 7), "all of the file was tried");
}

#[test]
fn encrypted_files_say_so_and_open_with_nothing_less_than_a_password() {
    for sample in samples() {
        let (_here, file) = foreign(&sample.bytes);
        let file = file.unwrap();
        assert_eq!(file.needs_password(), sample.is_encrypted(), "{}", sample.name());
        if sample.is_encrypted() {
            assert_eq!(problem(file.open(None)), KeyFileError::PasswordNeeded);
        }
    }
}

#[test]
fn imported_coldkeys_are_encrypted_here_and_keep_words_and_seed() {
    let wallets = tempfile::tempdir().unwrap();
    for (index, sample) in samples().iter().enumerate() {
        let key = key_of(sample);
        let name = format!("w{index}");
        let wallet = Wallet::import(
            wallets.path(),
            &name,
            &key,
            PROTECTION,
            Existing::Refuse,
            &mut rng(),
        )
        .unwrap();
        assert_eq!(wallet.coldkey_public().unwrap().0, key.public);
        if !key.has_secret() {
            assert!(matches!(wallet.coldkey(None), Err(WalletError::Missing { .. })));
            continue;
        }
        assert!(wallet.coldkey_is_encrypted().unwrap());
        assert_eq!(
            wallet.coldkey(Some("correct horse")).unwrap().public(),
            key.public
        );
        let path = wallets.path().join(format!("{name}.json"));
        wallet
            .export_coldkey(
                Some("correct horse"),
                ExportForm::Plain,
                &path,
                Existing::Refuse,
                &mut rng(),
            )
            .unwrap();
        let exported: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for field in [
            "accountId",
            "publicKey",
            "privateKey",
            "secretPhrase",
            "ss58Address",
            "cryptoType",
        ] {
            assert_eq!(exported[field], *sample.field(field), "{} {field}", sample.name());
        }
    }
}

#[test]
fn hotkeys_are_imported_plain_and_exported_as_they_came() {
    let wallets = tempfile::tempdir().unwrap();
    let wallet = Wallet::create_public(wallets.path(), "host", Coldkey([3; 32])).unwrap();
    for (index, sample) in samples().iter().enumerate() {
        let key = key_of(sample);
        let name = format!("h{index}");
        let imported = wallet.import_hotkey(&name, &key, Existing::Refuse);
        if !key.has_secret() {
            assert_eq!(problem(imported), KeyFileError::NoSecret);
            continue;
        }
        assert_eq!(imported.unwrap().0, key.public);
        assert_eq!(wallet.hotkey(&name).unwrap().public(), key.public);
        let path = wallets.path().join("exported");
        let said = wallet.export_hotkey(&name, ExportForm::Plain, &path, Existing::Replace, &mut rng());
        assert_eq!(said.unwrap(), key.account());
        let again = ForeignFile::read(&path).unwrap().open(None).unwrap();
        assert_eq!((again.public, again.has_secret), (key.public, true));
    }
}

#[test]
fn a_seed_written_as_raw_letters_is_read_where_the_public_key_vouches_for_it() {
    let sample = samples()
        .into_iter()
        .find(|sample| sample.name() == "delta/hotkeys/utf8-seed");
    let sample = sample.unwrap();
    let mut file: Value = serde_json::from_slice(&sample.bytes).unwrap();
    file.as_object_mut().unwrap().remove("privateKey");
    let (_here, opened) = foreign(file.to_string().as_bytes());
    let key = opened.unwrap().open(None).unwrap();
    assert!(key.has_secret());
    assert_eq!(json!(key.account().to_string()), *sample.field("ss58Address"));
    // Written again, the seed is in hex, and any wallet reads it.
    let bytes = key.file.to_bytes();
    let text = std::str::from_utf8(&bytes).unwrap();
    assert!(text.contains(&format!("\"secretSeed\":\"0x{}\"", "02".repeat(32))));

    let alone = json!({ "secretSeed": file["secretSeed"] });
    let (_here, opened) = foreign(alone.to_string().as_bytes());
    assert_eq!(
        problem(opened.unwrap().open(None)),
        KeyFileError::Field { field: "secretSeed" }
    );
}

#[test]
fn older_layouts_are_read() {
    for case in golden()["older_layouts"].as_array().unwrap() {
        let (_here, file) = foreign(case["example"].as_str().unwrap().as_bytes());
        let key = file.unwrap().open(None).unwrap();
        assert!(key.has_secret());
        assert_eq!(json!(key.account().to_string()), case["expect_ss58"]);
    }
}

#[test]
fn older_encryptions_are_refused_with_the_way_to_convert_them() {
    for (start, format) in [
        ("$ANSIBLE_VAULT;1.1;AES256\n3536", "Ansible Vault"),
        ("gAAAAABkabc", "Fernet"),
    ] {
        let (_here, file) = foreign(start.as_bytes());
        let problem = problem(file);
        assert_eq!(problem, KeyFileError::Older { format });
        let text = problem.to_string();
        assert!(
            text.contains(format) && text.contains("agon wallet regenerate"),
            "{text}"
        );
    }
}

#[test]
fn files_that_are_none_are_refused_before_they_are_parsed() {
    let (_here, file) = foreign(&vec![b'{'; 64 * 1024 + 1]);
    assert!(matches!(
        file,
        Err(WalletError::TooLarge {
            bytes_max: 65_536,
            ..
        })
    ));
    let here = tempfile::tempdir().unwrap();
    assert!(matches!(
        ForeignFile::read(here.path()),
        Err(WalletError::NotAFile { .. })
    ));
    assert!(matches!(
        ForeignFile::read(&here.path().join("none")),
        Err(WalletError::Missing { .. })
    ));
    let (_here, file) = foreign(b"[[[[");
    assert!(matches!(
        problem(file.unwrap().open(None)),
        KeyFileError::Json { .. }
    ));
}

/// Every cut and many changes of every file: refused or read, without a panic, and never another key.
#[test]
fn damaged_files_never_give_another_key() {
    for sample in samples().iter().filter(|sample| !sample.is_encrypted()) {
        let public = key_of(sample).public;
        let cuts = (0..sample.bytes.len()).map(|len| sample.bytes[..len].to_vec());
        let flips = (0..sample.bytes.len()).map(|position| {
            let mut bytes = sample.bytes.clone();
            bytes[position] ^= 1 << (position % 8);
            bytes
        });
        for bytes in cuts.chain(flips) {
            if let Ok(key) = KeyFile::parse(&bytes).and_then(|file| ForeignKey::of(&file)) {
                assert_eq!(key.public, public, "{}", sample.name());
            }
        }
    }
}

#[test]
fn an_export_replaces_nothing_unasked_and_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let wallets = tempfile::tempdir().unwrap();
    let wallet = Wallet::create_public(wallets.path(), "host", Coldkey([3; 32])).unwrap();
    let path = wallets.path().join("public.json");
    let export = |existing| wallet.export_coldkey(None, ExportForm::Public, &path, existing, &mut rng());
    assert_eq!(export(Existing::Refuse).unwrap(), Account([3; 32]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(
        export(Existing::Refuse),
        Err(WalletError::Exists { .. })
    ));
    export(Existing::Replace).unwrap();
}

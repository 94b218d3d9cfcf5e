//! Wallet folders on a real file system, each test in a folder of its own.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tempfile::TempDir;

use super::*;

const PASSWORD: &str = "correct horse";

fn rng(seed: u64) -> ChaCha20Rng {
    ChaCha20Rng::seed_from_u64(seed)
}

fn cheap() -> ColdkeyProtection<'static> {
    ColdkeyProtection::Password {
        password: PASSWORD,
        cost: KdfCost::LEAST,
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A wallet `alice` with an encrypted coldkey and a hotkey `miner`.
fn wallet(folder: &TempDir) -> Wallet {
    let (wallet, _) = Wallet::create(folder.path(), "alice", cheap(), &mut rng(1)).unwrap();
    wallet.create_hotkey("miner", &mut rng(2)).unwrap();
    wallet
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[track_caller]
fn problem<T>(result: Result<T, WalletError>) -> KeyFileError {
    match result.err().expect("refused") {
        WalletError::KeyFile { problem, .. } => problem,
        other => panic!("not about a key file's contents: {other}"),
    }
}

/// Every file below a folder, hidden ones included.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path))
        } else {
            found.push(path)
        }
    }
    found.sort();
    found
}

#[test]
fn keys_come_back_from_disk_and_from_their_words() {
    let (here, there) = (folder(), folder());
    let (wallet, words) = Wallet::create(here.path(), "alice", cheap(), &mut rng(1)).unwrap();
    let (hotkey, hotkey_words) = wallet.create_hotkey("miner", &mut rng(2)).unwrap();

    let opened = Wallet::open(here.path(), "alice").unwrap();
    let coldkey = opened.coldkey(Some(PASSWORD)).unwrap();
    assert_eq!(coldkey.coldkey(), opened.coldkey_public().unwrap());
    assert!(opened.coldkey_is_encrypted().unwrap());
    assert_eq!(opened.hotkey("miner").unwrap().hotkey(), hotkey);
    assert_eq!(opened.hotkey_public("miner").unwrap(), hotkey);

    let uri = SecretUri::from_mnemonic(words);
    let again =
        Wallet::regenerate(there.path(), "bob", &uri, cheap(), Existing::Refuse, &mut rng(3)).unwrap();
    assert_eq!(
        again.coldkey(Some(PASSWORD)).unwrap().secret_bytes(),
        coldkey.secret_bytes()
    );
    let uri = SecretUri::from_mnemonic(hotkey_words);
    assert_eq!(
        again.regenerate_hotkey("again", &uri, Existing::Refuse).unwrap(),
        hotkey
    );
}

#[test]
fn keys_of_paths_and_seeds_come_back_from_disk() {
    let here = folder();
    let words = "legal winner thank year wave sausage worth useful legal winner thank yellow";
    let seed = format!("0x{}", "07".repeat(32));
    let uris = [
        words.to_owned(),
        format!("{words}//a/b"),
        format!("{words}///pass"),
        seed,
    ];
    for (index, uri) in uris.iter().enumerate() {
        let uri = SecretUri::parse(uri).unwrap();
        let name = format!("w{index}");
        let wallet =
            Wallet::regenerate(here.path(), &name, &uri, cheap(), Existing::Refuse, &mut rng(1)).unwrap();
        wallet.regenerate_hotkey("hot", &uri, Existing::Refuse).unwrap();
        assert_eq!(
            wallet.hotkey("hot").unwrap().secret_bytes(),
            uri.keypair().secret_bytes()
        );
        assert_eq!(
            wallet.coldkey(Some(PASSWORD)).unwrap().secret_bytes(),
            uri.keypair().secret_bytes()
        );
    }
}

#[test]
fn same_randomness_gives_the_same_files() {
    let (here, there) = (folder(), folder());
    let contents = |folder: &TempDir| {
        files(wallet(folder).folder())
            .iter()
            .map(|path| fs::read(path).unwrap())
            .collect()
    };
    let (first, second): (Vec<_>, Vec<_>) = (contents(&here), contents(&there));
    assert_eq!(first, second);
    assert_eq!(first.len(), 3);
}

#[test]
fn folders_and_files_are_open_to_their_owner_only_and_nothing_else_is_left() {
    let here = folder();
    let wallets = here.path().join("new").join("wallets");
    let (wallet, _) = Wallet::create(&wallets, "alice", cheap(), &mut rng(1)).unwrap();
    wallet.create_hotkey("miner", &mut rng(2)).unwrap();
    for folder in [&wallets, &wallets.join("alice"), &wallets.join("alice/hotkeys")] {
        assert_eq!(mode(folder), 0o700, "{}", folder.display());
    }
    let expected: Vec<_> = ["alice/coldkey", "alice/coldkeypub.txt", "alice/hotkeys/miner"]
        .map(|name| wallets.join(name))
        .into();
    assert_eq!(files(&wallets), expected);
    for file in expected {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn wrong_password_and_damage_are_told_apart() {
    let here = folder();
    let wallet = wallet(&here);
    assert!(
        wallet
            .coldkey(Some("correct house"))
            .unwrap_err()
            .is_wrong_password()
    );
    assert_eq!(problem(wallet.coldkey(None)), KeyFileError::PasswordNeeded);

    let path = wallet.folder().join("coldkey");
    let mut bytes = fs::read(&path).unwrap();
    let last_letter = bytes.len() - 40;
    bytes[last_letter] ^= 1;
    fs::write(&path, bytes).unwrap();
    let error = problem(wallet.coldkey(Some(PASSWORD)));
    assert_eq!(error, KeyFileError::Damaged { what: "checksum" });
}

#[test]
fn plain_coldkey_needs_to_be_asked_for_and_says_so() {
    let here = folder();
    let (wallet, _) =
        Wallet::create(here.path(), "local", ColdkeyProtection::Unprotected, &mut rng(1)).unwrap();
    let path = wallet.folder().join("coldkey");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("{\"unprotected\":true,"), "the mark comes first");
    assert!(!wallet.coldkey_is_encrypted().unwrap());
    assert_eq!(
        wallet.coldkey(None).unwrap().coldkey(),
        wallet.coldkey_public().unwrap()
    );

    fs::write(&path, text.replace("\"unprotected\":true,", "")).unwrap();
    assert_eq!(problem(wallet.coldkey(None)), KeyFileError::NotMarked);
}

#[test]
fn weak_password_leaves_nothing_behind() {
    let here = folder();
    let weak = ColdkeyProtection::password("short");
    let error = problem(Wallet::create(here.path(), "alice", weak, &mut rng(1)));
    assert!(matches!(error, KeyFileError::PasswordLength { chars: 5, .. }));
    assert_eq!(fs::read_dir(here.path()).unwrap().count(), 0);
}

#[test]
fn existing_keys_are_replaced_only_when_asked() {
    let here = folder();
    let wallet = wallet(&here);
    let before: Vec<_> = files(here.path())
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    let uri = SecretUri::from_seed(&[7; 32]);
    let is_refused = |error: WalletError| matches!(error, WalletError::Exists { .. });

    assert!(is_refused(
        Wallet::create(here.path(), "alice", cheap(), &mut rng(9)).unwrap_err()
    ));
    assert!(is_refused(
        wallet.create_hotkey("miner", &mut rng(9)).unwrap_err()
    ));
    assert!(is_refused(
        wallet
            .regenerate_hotkey("miner", &uri, Existing::Refuse)
            .unwrap_err()
    ));
    assert!(is_refused(
        Wallet::create_public(here.path(), "alice", Coldkey([1; 32])).unwrap_err()
    ));
    let after: Vec<_> = files(here.path())
        .iter()
        .map(|path| fs::read(path).unwrap())
        .collect();
    assert_eq!(before, after);

    wallet
        .regenerate_hotkey("miner", &uri, Existing::Replace)
        .unwrap();
    Wallet::regenerate(
        here.path(),
        "alice",
        &uri,
        cheap(),
        Existing::Replace,
        &mut rng(9),
    )
    .unwrap();
    assert_eq!(wallet.hotkey("miner").unwrap().public(), uri.keypair().public());
    assert_eq!(
        wallet.coldkey(Some(PASSWORD)).unwrap().public(),
        uri.keypair().public()
    );
    assert_eq!(files(here.path()).len(), 3);
}

#[test]
fn serving_host_needs_no_coldkey() {
    let here = folder();
    let coldkey = Keypair::from_mini_secret(&[7; 32]).coldkey();
    let wallet = Wallet::create_public(here.path(), "host", coldkey).unwrap();
    wallet.create_hotkey("miner", &mut rng(1)).unwrap();
    assert_eq!(wallet.coldkey_public().unwrap(), coldkey);
    assert!(matches!(
        wallet.coldkey(None).unwrap_err(),
        WalletError::Missing { .. }
    ));
    assert!(wallet.hotkey("miner").is_ok());
}

#[test]
fn coldkey_without_its_public_file_still_names_itself() {
    let here = folder();
    let wallet = wallet(&here);
    let public = wallet.coldkey_public().unwrap();
    fs::remove_file(wallet.folder().join("coldkeypub.txt")).unwrap();
    assert_eq!(wallet.coldkey_public().unwrap(), public);
    assert_eq!(wallet.coldkey(Some(PASSWORD)).unwrap().coldkey(), public);
}

#[test]
fn exchanged_public_file_is_noticed() {
    let here = folder();
    let wallet = wallet(&here);
    let other = Wallet::create_public(here.path(), "other", Coldkey([3; 32])).unwrap();
    fs::copy(
        other.folder().join("coldkeypub.txt"),
        wallet.folder().join("coldkeypub.txt"),
    )
    .unwrap();
    let error = wallet.coldkey(Some(PASSWORD)).unwrap_err();
    assert!(matches!(error, WalletError::PublicMismatch { public: Coldkey(key), .. } if key == [3; 32]));
}

#[test]
fn secret_files_that_others_may_read_are_refused_with_the_way_out() {
    let here = folder();
    let wallet = wallet(&here);
    for bits in [0o640, 0o604, 0o620, 0o610] {
        for name in ["coldkey", "hotkeys/miner"] {
            let path = wallet.folder().join(name);
            set_mode(&path, bits);
            let error = if name == "coldkey" {
                wallet.coldkey(Some(PASSWORD)).unwrap_err()
            } else {
                wallet.hotkey("miner").unwrap_err()
            };
            assert_eq!(
                error.to_string(),
                format!(
                    "{0} has mode {bits:04o} and is open to other users; run: chmod 600 '{0}'",
                    path.display()
                )
            );
            set_mode(&path, 0o600);
        }
    }
    assert!(wallet.coldkey(Some(PASSWORD)).is_ok() && wallet.hotkey("miner").is_ok());
}

#[test]
fn public_file_may_be_read_by_others_but_not_written() {
    let here = folder();
    let wallet = wallet(&here);
    let path = wallet.folder().join("coldkeypub.txt");
    set_mode(&path, 0o644);
    assert!(wallet.coldkey_public().is_ok());
    set_mode(&path, 0o666);
    assert!(matches!(
        wallet.coldkey_public().unwrap_err(),
        WalletError::Mode { mode: 0o666, .. }
    ));
}

#[test]
fn folders_in_which_others_may_write_are_refused() {
    let here = folder();
    let wallet = wallet(&here);
    let is_refused = |error: WalletError| matches!(error, WalletError::Mode { wanted: 0o700, .. });
    set_mode(&wallet.folder().join("hotkeys"), 0o770);
    assert!(is_refused(wallet.hotkey("miner").unwrap_err()));
    assert!(is_refused(
        wallet.create_hotkey("other", &mut rng(3)).unwrap_err()
    ));
    set_mode(wallet.folder(), 0o777);
    assert!(is_refused(wallet.coldkey(Some(PASSWORD)).unwrap_err()));
    assert!(is_refused(Wallet::open(here.path(), "alice").unwrap_err()));
}

#[test]
fn links_are_not_followed() {
    let here = folder();
    let wallet = wallet(&here);
    let hotkeys = wallet.folder().join("hotkeys");
    symlink(hotkeys.join("miner"), hotkeys.join("link")).unwrap();
    assert!(matches!(
        wallet.hotkey("link").unwrap_err(),
        WalletError::NotAFile { .. }
    ));

    // A dangling link must not make a key appear where it points to.
    let outside = here.path().join("outside");
    symlink(&outside, hotkeys.join("dangling")).unwrap();
    assert!(matches!(
        wallet.create_hotkey("dangling", &mut rng(3)).unwrap_err(),
        WalletError::Exists { .. }
    ));
    let uri = SecretUri::from_seed(&[7; 32]);
    wallet
        .regenerate_hotkey("dangling", &uri, Existing::Replace)
        .unwrap();
    assert!(!outside.exists() && wallet.hotkey("dangling").is_ok());

    symlink(wallet.folder(), here.path().join("alias")).unwrap();
    assert!(matches!(
        Wallet::open(here.path(), "alias").unwrap_err(),
        WalletError::NotAFolder { .. }
    ));
}

#[test]
fn what_is_no_key_file_is_refused_without_waiting_or_reading_it_all() {
    let here = folder();
    let wallet = wallet(&here);
    let hotkeys = wallet.folder().join("hotkeys");
    fs::create_dir(hotkeys.join("folder")).unwrap();
    set_mode(&hotkeys.join("folder"), 0o700);
    assert!(matches!(
        wallet.hotkey("folder").unwrap_err(),
        WalletError::NotAFile { .. }
    ));
    let status = std::process::Command::new("mkfifo")
        .arg(hotkeys.join("pipe"))
        .status()
        .unwrap();
    assert!(status.success());
    assert!(matches!(
        wallet.hotkey("pipe").unwrap_err(),
        WalletError::NotAFile { .. }
    ));

    let large = hotkeys.join("large");
    fs::write(&large, vec![b' '; 64 * 1024 + 1]).unwrap();
    set_mode(&large, 0o600);
    assert!(matches!(
        wallet.hotkey("large").unwrap_err(),
        WalletError::TooLarge {
            bytes_max: 65_536,
            ..
        }
    ));
    assert!(matches!(
        wallet.hotkey("none").unwrap_err(),
        WalletError::Missing { .. }
    ));
}

/// What becomes of a hotkey file with these contents.
#[track_caller]
fn check_contents(contents: &str, expected: KeyFileError) {
    let here = folder();
    let wallet = wallet(&here);
    fs::write(wallet.folder().join("hotkeys/miner"), contents).unwrap();
    assert_eq!(problem(wallet.hotkey("miner")), expected);
}

#[test]
fn malformed_key_files_are_refused_by_what_is_wrong() {
    let seed = |byte: &str| format!("\"secretSeed\":\"0x{}\"", byte.repeat(32));
    let public = hex::encode(Keypair::from_mini_secret(&[7; 32]).public());
    check_contents("", KeyFileError::Json { line: 1, column: 0 });
    check_contents("{}", KeyFileError::NoSecret);
    check_contents("{\"secretSeed\":null,\"later\":[1]}", KeyFileError::NoSecret);
    check_contents(
        "{\"secretSeed\":\"0x12\"}",
        KeyFileError::Field { field: "secretSeed" },
    );
    check_contents(
        "{\"secretPhrase\":\"legal winner\"}",
        KeyFileError::Field {
            field: "secretPhrase",
        },
    );
    check_contents(
        "{\"ss58Address\":\"5Grw\"}",
        KeyFileError::Field { field: "ss58Address" },
    );
    check_contents(
        &format!("{{\"privateKey\":\"{}\"}}", "ff".repeat(64)),
        KeyFileError::Field { field: "privateKey" },
    );
    check_contents(
        &format!("{{\"publicKey\":\"0x{public}\",{}}}", seed("08")),
        KeyFileError::Contradiction {
            first: "publicKey",
            second: "secretSeed",
        },
    );
    check_contents(
        &format!("{{{},\"cryptoType\":0}}", seed("07")),
        KeyFileError::CryptoType { found: 0, known: 1 },
    );
    check_contents(
        "$NACL....",
        KeyFileError::Foreign {
            format: "Bittensor's NaCl secretbox",
        },
    );
}

#[test]
fn older_key_files_with_a_seed_alone_are_read() {
    let here = folder();
    let wallet = wallet(&here);
    let path = wallet.folder().join("hotkeys/miner");
    fs::write(path, format!("{{\"secretSeed\": \"{}\"}}\n", "07".repeat(32))).unwrap();
    assert_eq!(
        wallet.hotkey("miner").unwrap().public(),
        Keypair::from_mini_secret(&[7; 32]).public()
    );
    assert_eq!(problem(wallet.hotkey_public("miner")), KeyFileError::NoPublicKey);
}

#[test]
fn encrypted_file_in_place_of_a_hotkey_is_named() {
    let here = folder();
    let wallet = wallet(&here);
    fs::copy(
        wallet.folder().join("coldkey"),
        wallet.folder().join("hotkeys/miner"),
    )
    .unwrap();
    assert_eq!(problem(wallet.hotkey("miner")), KeyFileError::Encrypted);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let here = folder();
    let wallet = wallet(&here);
    let long = "a".repeat(65);
    for name in [
        "", ".", "..", "../alice", "a/b", "/etc", ".hidden", "-flag", "a b", "ä", "a\0b", "xpub.txt", &long,
    ] {
        let is_refused = |error: WalletError| matches!(error, WalletError::Name { .. });
        assert!(
            is_refused(Wallet::open(here.path(), name).unwrap_err()),
            "{name:?}"
        );
        assert!(
            is_refused(Wallet::create(here.path(), name, cheap(), &mut rng(3)).unwrap_err()),
            "{name:?}"
        );
        assert!(
            is_refused(wallet.create_hotkey(name, &mut rng(3)).unwrap_err()),
            "{name:?}"
        );
        assert!(is_refused(wallet.hotkey(name).unwrap_err()), "{name:?}");
    }
    for name in ["a", "_x", "Miner-1.old", "0", &long[..64]] {
        assert!(wallet.create_hotkey(name, &mut rng(3)).is_ok(), "{name:?}");
    }
}

#[test]
fn listing_shows_every_wallet_and_what_is_wrong_with_it() {
    let here = folder();
    let alice = wallet(&here);
    Wallet::create_public(here.path(), "bob", Coldkey([3; 32])).unwrap();
    fs::write(here.path().join("a-file"), "not a wallet").unwrap();
    fs::create_dir(here.path().join(".hidden")).unwrap();
    fs::create_dir(here.path().join("empty")).unwrap();
    set_mode(&here.path().join("empty"), 0o700);
    let broken = alice.folder().join("hotkeys/broken");
    fs::write(&broken, "{").unwrap();
    set_mode(&broken, 0o600);
    // Other wallets keep the public half beside a hotkey; it is not a hotkey.
    fs::write(alice.folder().join("hotkeys/minerpub.txt"), "{}").unwrap();

    let list = Wallet::list(here.path()).unwrap();
    let names: Vec<_> = list.iter().map(|wallet| wallet.name.as_str()).collect();
    assert_eq!(names, ["alice", "bob", "empty"]);
    assert_eq!(
        *list[0].coldkey.as_ref().unwrap(),
        alice.coldkey_public().unwrap()
    );
    assert_eq!(*list[1].coldkey.as_ref().unwrap(), Coldkey([3; 32]));
    assert!(matches!(list[2].coldkey, Err(WalletError::Missing { .. })));

    let hotkeys = list[0].hotkeys.as_ref().unwrap();
    let names: Vec<_> = hotkeys.iter().map(|hotkey| hotkey.name.as_str()).collect();
    assert_eq!(names, ["broken", "miner"]);
    assert!(hotkeys[0].hotkey.is_err());
    assert_eq!(
        *hotkeys[1].hotkey.as_ref().unwrap(),
        alice.hotkey_public("miner").unwrap()
    );
    assert!(list[2].hotkeys.as_ref().unwrap().is_empty());
}

#[test]
fn missing_wallets_folder_lists_as_empty() {
    let here = folder();
    assert!(Wallet::list(&here.path().join("none")).unwrap().is_empty());
    assert!(matches!(
        Wallet::open(here.path(), "none").unwrap_err(),
        WalletError::Missing { .. }
    ));
}

#[test]
fn debug_and_errors_show_no_secret() {
    let here = folder();
    let (wallet, words) = Wallet::create(here.path(), "alice", cheap(), &mut rng(1)).unwrap();
    let mut shown = format!(
        "{:?} {wallet:?} {words:?} {:?}",
        cheap(),
        wallet.coldkey(Some(PASSWORD)).unwrap()
    );
    let path = wallet.folder().join("coldkey");
    for contents in [
        "{\"cryptoType\":\"correct horse\"}",
        "{\"secretPhrase\":\"correct horse\"}",
    ] {
        fs::write(&path, contents).unwrap();
        let error = wallet.coldkey(Some(PASSWORD)).unwrap_err();
        shown.push_str(&format!("{error} {error:?}"));
    }
    let phrase = words.phrase();
    let words = phrase.split(' ').filter(|word| word.len() > 4);
    for secret in words.chain([PASSWORD]) {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

#[test]
fn two_that_create_one_key_at_once_do_not_both_succeed() {
    let here = folder();
    let wallet = wallet(&here);
    let outcomes: Vec<bool> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..8)
            .map(|seed| {
                let wallet = &wallet;
                scope.spawn(move || wallet.create_hotkey("race", &mut rng(seed)).is_ok())
            })
            .collect();
        tries.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(outcomes.iter().filter(|won| **won).count(), 1);
    assert!(wallet.hotkey("race").is_ok());
}

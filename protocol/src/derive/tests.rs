//! Mnemonics, seeds and paths as other wallets have them.

use super::*;

const WORDS: &str = "legal winner thank year wave sausage worth useful legal winner thank yellow";

#[track_caller]
fn check_refused(uri: &str, expected: SecretUriError) {
    let error = SecretUri::parse(uri).unwrap_err();
    assert_eq!(error, expected);
}

#[test]
fn words_and_entropy_are_two_forms_of_one_thing() {
    for entropy in [[0u8; 16], [0x7f; 16], [0xff; 16]] {
        let mnemonic = Mnemonic::twelve_words(&entropy);
        assert_eq!(mnemonic.word_count(), 12);
        assert_eq!(Mnemonic::parse(&mnemonic.phrase()), Ok(mnemonic));
    }
    assert_eq!(*Mnemonic::twelve_words(&[0x7f; 16]).phrase(), WORDS);
    let long = Mnemonic::twenty_four_words(&[9; 32]);
    assert_eq!((long.word_count(), long.phrase().split(' ').count()), (24, 24));
    assert_eq!(Mnemonic::parse(&long.phrase()), Ok(long));
}

#[test]
fn white_space_between_words_does_not_matter() {
    let spaced = format!("  {}\n", WORDS.replace(' ', " \t "));
    assert_eq!(Mnemonic::parse(&spaced), Mnemonic::parse(WORDS));
}

#[test]
fn bad_words_are_told_by_position() {
    let check = |phrase: &str, error| assert_eq!(Mnemonic::parse(phrase), Err(error));
    check("legal winner", MnemonicError::WordCount { count: 2 });
    check(
        &WORDS.replace("sausage", "sossidge"),
        MnemonicError::UnknownWord { position: 6 },
    );
    check(&WORDS.replace("yellow", "year"), MnemonicError::Checksum);
    check(
        &"legal ".repeat(200),
        MnemonicError::TooLong {
            len: 1200,
            len_max: URI_BYTES_MAX,
        },
    );
}

#[test]
fn malformed_uris_are_refused() {
    check_refused("", SecretUriError::Missing);
    check_refused("//Alice", SecretUriError::Missing);
    check_refused("0x12", SecretUriError::Seed { digits: 64 });
    check_refused(&format!("{WORDS}/"), SecretUriError::EmptyPart { position: 1 });
    check_refused(
        &format!("{WORDS}//a//"),
        SecretUriError::EmptyPart { position: 2 },
    );
    check_refused(
        &format!("0x{}///pass", "01".repeat(32)),
        SecretUriError::PasswordOnSeed,
    );
    check_refused(
        &"a".repeat(1025),
        SecretUriError::TooLong {
            len: 1025,
            len_max: URI_BYTES_MAX,
        },
    );
    check_refused(
        &format!("{WORDS} über//a"),
        MnemonicError::WordCount { count: 13 }.into(),
    );
}

#[test]
fn words_and_seed_are_kept_only_where_they_alone_give_the_key() {
    let check = |uri: &str, has_words: bool, has_seed: bool| {
        let uri = SecretUri::parse(uri).unwrap();
        assert_eq!(
            (uri.mnemonic().is_some(), uri.seed().is_some()),
            (has_words, has_seed)
        );
        if let Some(seed) = uri.seed() {
            assert_eq!(Keypair::from_mini_secret(&seed).public(), uri.keypair().public());
        }
    };
    check(WORDS, true, true);
    check(&format!("{WORDS}///pass"), false, true);
    check(&format!("{WORDS}//a"), false, false);
    check(&format!("0x{}", "01".repeat(32)), false, true);
    check(&format!("0x{}/a", "01".repeat(32)), false, false);
}

#[test]
fn one_uri_always_gives_the_same_secret_and_each_part_matters() {
    let secret = |path: &str| {
        SecretUri::parse(&format!("{WORDS}{path}"))
            .unwrap()
            .keypair()
            .secret_bytes()
    };
    let paths = ["", "/a", "//a", "/1", "/01x", "//a/b", "//b/a", "///a", "//a///a"];
    for (index, path) in paths.iter().enumerate() {
        assert_eq!(secret(path), secret(path));
        for other in &paths[..index] {
            assert_ne!(secret(path), secret(other), "{path} {other}");
        }
    }
}

#[test]
fn chain_codes_of_long_parts_follow_their_length() {
    // 31 bytes and a length byte just fit; one more is hashed; from 64 on the length takes two bytes.
    assert_eq!(chain_code(&"a".repeat(31))[0], 31 << 2);
    assert_ne!(chain_code(&"a".repeat(32))[0], 32 << 2);
    assert_eq!(scale_text(&"a".repeat(63))[..2], [63 << 2, b'a']);
    assert_eq!(scale_text(&"a".repeat(64))[..3], [0b01, 1, b'a']);
    assert_eq!(
        chain_code("18446744073709551615")[..9],
        [255, 255, 255, 255, 255, 255, 255, 255, 0]
    );
    assert_eq!(chain_code("18446744073709551616")[0], 20 << 2);
}

#[test]
fn debug_shows_no_secret() {
    let uri = SecretUri::parse(&format!("{WORDS}//path///pass")).unwrap();
    let shown = format!("{uri:?} {:?}", Mnemonic::parse(WORDS).unwrap());
    assert_eq!(shown, "SecretUri(words, 1 parts of path) Mnemonic(12 words)");
}

//! Files that come from elsewhere, or that a crash left: logs, exports, key files.

use std::cell::OnceCell;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use agon_ledger_replay::audit::{Terms, audit};
use agon_ledger_replay::export::{Part, Reader, Writer, unwatched};
use agon_protocol::codec;
use agon_protocol::id::BlockNumber;
use agon_protocol::wallet::{ForeignFile, Wallet};
use agon_runtime::framed_log::{FramedLog, LogOptions};

use super::sample;

/// What the targets' logs are opened with.
const OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: 4_096,
};
/// What an export's log is opened with.
const EXPORT_OPTIONS: LogOptions = LogOptions {
    frame_bytes_max: 1_024 * 1_024,
};

thread_local! {
    static FOLDER: OnceCell<tempfile::TempDir> = const { OnceCell::new() };
}

/// A file of this thread's own folder, in memory where the system has such a place.
fn place(name: &str) -> PathBuf {
    FOLDER.with(|folder| {
        let make = || {
            let memory = Path::new("/dev/shm");
            let made = match memory.is_dir() {
                true => tempfile::tempdir_in(memory),
                false => tempfile::tempdir(),
            };
            made.expect("a folder can be made")
        };
        folder.get_or_init(make).path().join(name)
    })
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).expect("a file can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a file can be closed to others");
}

fn frames(path: &Path) -> Result<Vec<Vec<u8>>, agon_runtime::framed_log::LogError> {
    FramedLog::frames(path, OPTIONS)?
        .map(|frame| Ok(frame?.payload))
        .collect()
}

/// What a reader sees, an opened log keeps; what is appended then is there after it.
pub(super) fn framed_log(bytes: &[u8]) {
    let path = place("log");
    write(&path, bytes);
    let before = frames(&path);
    let opened = FramedLog::open(&path, OPTIONS);
    let Ok((mut log, recovery)) = opened else {
        return;
    };
    let kept = frames(&path).expect("what was opened can be read");
    assert_eq!(kept.len() as u64, recovery.frames);
    if let Ok(before) = before {
        assert_eq!(before, kept, "opening a log loses no whole frame");
    }
    let offset = log.append(b"more").expect("a log that was opened takes more");
    assert_eq!(log.read_at(offset).ok().as_deref(), Some(b"more".as_slice()));
    drop(log);
    let (_, again) = FramedLog::open(&path, OPTIONS).expect("what was appended to opens again");
    assert_eq!((again.frames, again.truncated_bytes), (recovery.frames + 1, 0));
}

pub(super) fn log_seeds() -> Vec<Vec<u8>> {
    let path = place("seed");
    let mut seeds = Vec::new();
    let _ = fs::remove_file(&path);
    let (mut log, _) = FramedLog::open(&path, OPTIONS).expect("a log can be made");
    for payload in [b"".as_slice(), b"one", &[0; 40]] {
        seeds.push(fs::read(&path).expect("a log can be read"));
        log.append(payload).expect("a log can be appended to");
    }
    let whole = fs::read(&path).expect("a log can be read");
    seeds.push(whole[..whole.len() - 5].to_vec());
    seeds.push([whole.as_slice(), &[0; 64]].concat());
    seeds.push(whole);
    seeds
}

/// Reads everything and audits it; both end with a verdict.
fn take_export(path: &Path) {
    let Ok(mut reader) = Reader::open(path) else {
        return;
    };
    let _ = audit(path, &Terms::default(), &mut unwatched);
    while let Ok(Some(part)) = reader.part() {
        let read = match part {
            Part::State(anchor) => reader.state(&anchor, &mut unwatched).map(|read| {
                assert_eq!(read.position.state.check_invariants(), Ok(()));
                assert_eq!(read.position.state.root(), read.position.head.state_root);
            }),
            Part::Blocks { first, last } => (first.0..=last.0).try_for_each(|_| reader.block().map(drop)),
        };
        if read.is_err() {
            return;
        }
    }
}

pub(super) fn export(bytes: &[u8]) {
    let path = place("export");
    write(&path, bytes);
    take_export(&path);
}

/// An export of the sample: the state after block 2, blocks 3 and 4, the state after them.
fn sample_export(sample: &sample::Sample) -> PathBuf {
    use agon_ledger_replay::export::Sealed;
    let path = place("sample");
    let _ = fs::remove_file(&path);
    let mut writer = Writer::create(&path, &sample.genesis).expect("an export can be made");
    let sealed = |height: usize| {
        let block = &sample.blocks[height - 1];
        Some(Sealed {
            header: block.block.header.clone(),
            parent: Some(sample.blocks[height - 2].block.header.clone()),
            committee: sample.states[height - 1].committee(),
            certificate: block.certificate.clone(),
        })
    };
    let state = |writer: &mut Writer, height: usize| {
        writer
            .state(&sample.states[height], sealed(height), &mut unwatched)
            .expect("a state can be exported");
    };
    state(&mut writer, 2);
    writer
        .blocks(BlockNumber(3), BlockNumber(4))
        .expect("a range can be exported");
    for block in &sample.blocks[2..4] {
        writer.block(block.clone()).expect("a block can be exported");
    }
    state(&mut writer, 4);
    writer.finish().expect("an export can be finished");
    path
}

pub(super) fn export_seeds() -> Vec<Vec<u8>> {
    [sample::solo(), sample::decided()]
        .map(|sample| fs::read(sample_export(sample)).expect("an export can be read"))
        .into()
}

/// The input is a list of records; the last one is left to this function, which makes it fit.
pub(super) fn export_records(bytes: &[u8]) {
    let Ok(records) = codec::decode::<Vec<Vec<u8>>>(bytes, 64 * 1_024) else {
        return;
    };
    let path = place("records");
    let _ = fs::remove_file(&path);
    let (mut log, _) = FramedLog::open(&path, EXPORT_OPTIONS).expect("a log can be made");
    let mut hasher = blake3::Hasher::new();
    for record in &records {
        hasher.update(&(record.len() as u64).to_le_bytes());
        hasher.update(record);
        log.append(record).expect("a record fits");
    }
    // The sixth kind of record is the end: how many came before, and their digest.
    let end = codec::encode(&(5_u8, records.len() as u64, *hasher.finalize().as_bytes()));
    log.append(&end).expect("a record fits");
    drop(log);
    take_export(&path);
}

pub(super) fn record_seeds() -> Vec<Vec<u8>> {
    let records = |sample: &'static sample::Sample| {
        let path = sample_export(sample);
        let frames = FramedLog::frames(&path, EXPORT_OPTIONS).expect("an export is a log");
        let mut records: Vec<Vec<u8>> = frames.filter_map(|frame| Some(frame.ok()?.payload)).collect();
        records.pop();
        codec::encode(&records)
    };
    vec![records(sample::solo()), records(sample::decided())]
}

pub(super) fn key_file(bytes: &[u8]) {
    let path = place("key");
    write(&path, bytes);
    let Ok(file) = ForeignFile::read(&path) else {
        return;
    };
    if !file.needs_password() {
        let _ = file.open(None);
    }
}

/// A whole key file, a public one, and how files begin that need a password.
pub(super) fn key_file_seeds() -> Vec<Vec<u8>> {
    use agon_protocol::derive::{Mnemonic, SecretUri};
    let words = Mnemonic::twelve_words(&[9; 16]);
    let uri = SecretUri::from_mnemonic(words.clone());
    let pair = uri.keypair();
    let address = pair.coldkey().to_string();
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::from("0x"), |text, byte| text + &format!("{byte:02x}"))
    };
    let public = serde_json::json!({
        "accountId": hex(&pair.public()),
        "publicKey": hex(&pair.public()),
        "ss58Address": address,
    });
    let mut whole = public.clone();
    whole["privateKey"] = hex(&pair.secret_bytes()[..]).into();
    whole["secretPhrase"] = words.phrase().as_str().into();
    whole["secretSeed"] = uri.seed().map(|seed| hex(&seed[..])).into();
    whole["cryptoType"] = 1.into();
    vec![
        whole.to_string().into_bytes(),
        public.to_string().into_bytes(),
        [b"$NACL".as_slice(), &[5; 80]].concat(),
        b"$ANSIBLE_VAULT;1.1;AES256".to_vec(),
        b"gAAAAAB".to_vec(),
    ]
}

/// One file stands for each of a wallet's; whatever it is, the wallet can be listed.
pub(super) fn wallet(bytes: &[u8]) {
    let wallets = place("wallets");
    let folder = wallets.join("w");
    let hotkeys = folder.join("hotkeys");
    fs::create_dir_all(&hotkeys).expect("a folder can be made");
    for folder in [&wallets, &folder, &hotkeys] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("a folder can be closed");
    }
    for path in [
        folder.join("coldkey"),
        folder.join("coldkeypub.txt"),
        hotkeys.join("h"),
    ] {
        write(&path, bytes);
    }
    let wallet = Wallet::open(&wallets, "w").expect("the folder is there");
    let _ = wallet.coldkey_public();
    let _ = wallet.hotkeys();
    let public = wallet.hotkey_public("h");
    if let Ok(pair) = wallet.hotkey("h") {
        assert_eq!(
            public.ok(),
            Some(pair.hotkey()),
            "a key file names the key that it holds"
        );
    }
    if matches!(wallet.coldkey_is_encrypted(), Ok(false)) {
        let _ = wallet.coldkey(None);
    }
    fs::remove_file(folder.join("coldkeypub.txt")).expect("a file can be removed");
    let _ = wallet.coldkey_public();
    let _ = Wallet::list(&wallets);
}

/// A coldkey under a password, what is said of it in clear, a hotkey, and other wallets' files.
pub(super) fn wallet_seeds() -> Vec<Vec<u8>> {
    use agon_protocol::derive::{Mnemonic, SecretUri};
    use agon_protocol::wallet::{ColdkeyProtection, Existing, KdfCost};
    use rand_core::SeedableRng;
    let wallets = place("made");
    let uri = SecretUri::from_mnemonic(Mnemonic::twelve_words(&[9; 16]));
    let protection = ColdkeyProtection::Password {
        password: "a password",
        cost: KdfCost::LEAST,
    };
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    let wallet = Wallet::regenerate(&wallets, "w", &uri, protection, Existing::Replace, &mut rng);
    let wallet = wallet.expect("a wallet can be made");
    wallet
        .regenerate_hotkey("h", &uri, Existing::Replace)
        .expect("a hotkey can be made");
    let names = ["coldkey", "coldkeypub.txt", "hotkeys/h"];
    let read = |name| fs::read(wallet.folder().join(name)).expect("a wallet can be read");
    names.into_iter().map(read).chain(key_file_seeds()).collect()
}

//! Disks without room, and files that are not what they were.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use agon_ledger_node::folder::Folder;
use rand_chacha::ChaCha20Rng;
use rand_core::RngCore;

use crate::fleet::{Fleet, MEMBERS};
use crate::kills::some_load;
use crate::{below, random, runs};

/// Room of the small disk, MiB: more than a member needs for one test.
const DISK_MIB: u32 = 96;
/// Most bytes that are left when the disk is about to be full.
const LEFT_MAX: u64 = 128 * 1_024;
/// Acknowledgements by the others while one is away.
const WITHOUT: u64 = 10;
/// The member that has the small disk.
const SMALL: usize = 1;

/// A disk of its own under a member's folder.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Moves what is in `dir` to a small disk; `None` where this process may not mount one.
    fn under(dir: &Path) -> Option<Self> {
        let aside = tempfile::tempdir().unwrap();
        copy(dir, aside.path());
        let size = format!("size={DISK_MIB}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(dir)
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return None;
        }
        let disk = Self(dir.to_owned());
        copy(aside.path(), dir);
        Some(disk)
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Takes all room but `left` bytes.
    fn fill(&self, left: u64) {
        let mut filler = File::create(self.filler()).unwrap();
        let zeros = vec![0; 64 * 1_024];
        let mut taken: u64 = 0;
        while let Ok(count @ 1..) = filler.write(&zeros) {
            taken += count as u64;
        }
        filler.set_len(taken.saturating_sub(left)).unwrap();
    }

    fn make_room(&self) {
        fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a member of a test that failed may still use it.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
        let _ = fs::remove_dir(&self.0);
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from.join(".")).arg(to).status();
    assert!(copied.unwrap().success());
}

/// Has writes of a member fail once a file is about as long as its block log is now.
fn limit_files(fleet: &Fleet, index: usize, more: u64) {
    let blocks = fs::metadata(fleet.cluster.places[index].folder.blocks()).unwrap();
    let limited = Command::new("prlimit")
        .arg(format!("--pid={}", fleet.pid(index)))
        .arg(format!("--fsize={}:", blocks.len() + more))
        .status();
    assert!(limited.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_without_room_stops_with_a_reason_and_goes_on_once_there_is_some() {
    let mut random = random();
    let mut fleet = Fleet::begin().await;
    let disk = SmallDisk::under(fleet.cluster.places[SMALL].folder.dir());
    println!(
        "small disk mounted: {}; else only the length of files is limited",
        disk.is_some()
    );
    fleet.run_all();
    for run in 0..runs() {
        some_load(&mut fleet, &mut random).await;
        let left = below(&mut random, LEFT_MAX);
        let full = disk.as_ref().filter(|_| run % 2 == 0);
        match full {
            Some(disk) => disk.fill(left),
            None => limit_files(&fleet, SMALL, left),
        }
        let status = fleet.ended(SMALL).await;
        let tail = fleet.log_tail(SMALL);
        assert_eq!(status.code(), Some(1), "{status}:\n{tail}");
        // The limit is that of the log as well, which then cannot tell.
        assert!(
            full.is_none() || tail.contains("No space left"),
            "no reason in:\n{tail}"
        );
        fleet.progress(WITHOUT).await;
        if let Some(disk) = full {
            disk.make_room();
        }
        fleet.run(SMALL);
        fleet.check().await;
    }
    fleet.finish("full disks").await;
    drop(disk);
}

/// What becomes of files while their member is not there.
#[derive(Clone, Copy, Debug)]
enum Damage {
    /// sled's snapshot has other bytes.
    Snapshot,
    /// sled's own log has other bytes somewhere.
    StoreBytes,
    /// sled's own log ends early.
    StoreCut,
    /// There is no store.
    StoreLost,
    /// The newest blocks are gone, and the store knows of them.
    BlocksCut,
    /// Many blocks are gone, and the store with them.
    BlocksAndStoreCut,
    /// What the engine remembers ends early.
    EngineCut,
    /// What the engine remembers has other bytes somewhere.
    EngineBytes,
    /// What the key signed has other bytes somewhere.
    RecordBytes,
    /// What the key signed is gone, and what the engine remembers with it.
    EngineLost,
    /// Only the genesis and the keys are there.
    AllLost,
}

const DAMAGES: [Damage; 11] = [
    Damage::Snapshot,
    Damage::StoreBytes,
    Damage::StoreCut,
    Damage::StoreLost,
    Damage::BlocksCut,
    Damage::BlocksAndStoreCut,
    Damage::EngineCut,
    Damage::EngineBytes,
    Damage::RecordBytes,
    Damage::EngineLost,
    Damage::AllLost,
];

impl Damage {
    fn strike(self, folder: &Folder, random: &mut ChaCha20Rng) {
        let store = folder.state();
        match self {
            Self::Snapshot => {
                for file in fs::read_dir(&store).unwrap().map(|file| file.unwrap().path()) {
                    let name = file.file_name().unwrap().to_string_lossy().into_owned();
                    if name.starts_with("snap.") {
                        scribble(&file, random);
                    }
                }
            }
            Self::StoreBytes => scribble(&store.join("db"), random),
            Self::StoreCut => cut(&store.join("db"), random),
            Self::StoreLost => fs::remove_dir_all(store).unwrap(),
            Self::BlocksCut => cut(&folder.blocks(), random),
            Self::BlocksAndStoreCut => {
                fs::remove_dir_all(store).unwrap();
                cut(&folder.blocks(), random);
            }
            Self::EngineCut => {
                cut(&folder.engine().join("votes.wal"), random);
                cut(&folder.engine().join("pending.log"), random);
            }
            Self::EngineBytes => scribble(&folder.engine().join("votes.wal"), random),
            Self::RecordBytes => scribble(&record(folder), random),
            Self::EngineLost => fs::remove_dir_all(folder.engine()).unwrap(),
            Self::AllLost => {
                fs::remove_dir_all(store).unwrap();
                fs::remove_dir_all(folder.engine()).unwrap();
                fs::remove_file(folder.blocks()).unwrap();
            }
        }
    }
}

/// The record of what a member's key signed.
fn record(folder: &Folder) -> PathBuf {
    let mut files = fs::read_dir(folder.engine())
        .unwrap()
        .map(|file| file.unwrap().path());
    let is_record = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("signed-") && name.ends_with(".log")
    };
    files.find(is_record).unwrap()
}

/// Other bytes, at some place.
fn scribble(path: &Path, random: &mut ChaCha20Rng) {
    let mut bytes = fs::read(path).unwrap();
    let at = below(random, bytes.len().max(1) as u64) as usize;
    let end = bytes.len().min(at + 64);
    random.fill_bytes(&mut bytes[at..end]);
    fs::write(path, bytes).unwrap();
}

/// An earlier end, after the file's header.
fn cut(path: &Path, random: &mut ChaCha20Rng) {
    let file = File::options().write(true).open(path).unwrap();
    let length = file.metadata().unwrap().len();
    file.set_len(length - below(random, length / 2 + 1)).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_whose_files_were_damaged_fetches_what_is_missing() {
    let mut random = random();
    let mut fleet = Fleet::start().await;
    for run in 0..runs().max(DAMAGES.len() as u32) {
        let damage = DAMAGES[run as usize % DAMAGES.len()];
        let victim = below(&mut random, MEMBERS.into()) as usize;
        some_load(&mut fleet, &mut random).await;
        fleet.kill(victim);
        // The committee goes on, so that what the victim had said is of the past.
        fleet.progress(WITHOUT).await;
        fleet.blocks((victim + 1) % usize::from(MEMBERS), 5).await;
        let folder = fleet.cluster.places[victim].folder.clone();
        damage.strike(&folder, &mut random);
        println!("{damage:?} of member {victim}");
        if let Err(status) = fleet.try_run(victim) {
            // Blocks that were acknowledged are missing: that is for the operator to decide.
            let tail = fleet.log_tail(victim);
            assert!(matches!(damage, Damage::BlocksCut), "{damage:?}:\n{tail}");
            assert_eq!(status.code(), Some(1), "{tail}");
            assert!(tail.contains("blocks were lost"), "{tail}");
            let told = format!(
                "remove the folder {} and start the node again",
                folder.state().display()
            );
            assert!(tail.contains(&told), "{tail}");
            fs::remove_dir_all(folder.state()).unwrap();
            fleet.run(victim);
        }
        fleet.progress(1).await;
        // One member may fail, and one that is silent counts as failed.
        fleet.speaks(victim).await;
        fleet.check().await;
    }
    fleet.finish("damaged files").await;
}

/// Deletes all that a member has but its keys, and begins its ledger anew.
fn lose(fleet: &Fleet, victim: usize) {
    let folder = &fleet.cluster.places[victim].folder;
    for entry in fs::read_dir(folder.dir()).unwrap().map(|entry| entry.unwrap()) {
        let path = entry.path();
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else if path.extension().is_none_or(|it| it != "key") {
            fs::remove_file(path).unwrap();
        }
    }
    folder.begin(&fleet.cluster.genesis).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_lost_its_folder_is_silent_until_it_can_contradict_nothing() {
    let mut random = random();
    let mut fleet = Fleet::start().await;
    for _ in 0..runs() {
        let victim = below(&mut random, MEMBERS.into()) as usize;
        let other = (victim + 1) % usize::from(MEMBERS);
        some_load(&mut fleet, &mut random).await;
        fleet.kill(victim);
        lose(&fleet, victim);
        fleet.run(victim);
        fleet.check().await;
        let tail = fleet.log_tail(victim);
        assert!(
            tail.contains("no record of what the consensus key signed"),
            "{tail}"
        );
        fleet.speaks(victim).await;
        // It votes: with another one away, the committee cannot do without it.
        fleet.load();
        fleet.kill(other);
        fleet.progress(WITHOUT).await;
        fleet.run(other);
        fleet.check().await;
    }
    fleet.finish("lost folders").await;
}

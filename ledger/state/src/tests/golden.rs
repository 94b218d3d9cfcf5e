//! The roots of a scripted run, so that a change of any stored byte is seen.

use std::path::PathBuf;

use super::*;

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/data/ledger/roots.txt")
}

/// Every kind of call, several tempos, a replacement; one line for each checkpoint.
fn script() -> String {
    let mut ledger = Ledger::with_subnet();
    let mut lines = String::from("# height, state root; written by ledger/state, AGON_BLESS=1 rewrites it\n");
    let mut checkpoint = |ledger: &Ledger| {
        lines.push_str(&format!("{} {}\n", ledger.state.height(), ledger.state.root()));
    };
    checkpoint(&ledger);
    ledger.ok(1, set("max_uids", 12));
    ledger.ok(1, set("immunity_blocks", 3));
    ledger.ok(9, transfer(2, units(5)));
    ledger.register(2, [101, 102]);
    ledger.register(3, 103..=112);
    ledger.ok(2, stake(101, units(300)));
    ledger.ok(4, stake(102, units(200)));
    checkpoint(&ledger);
    for round in 0..4 {
        ledger.close_tempo();
        let row = ledger.weights(&[(2, 10 + round), (3, 5), (7, 1)]);
        ledger.transact(101, commit(101, &row)).unwrap();
        ledger.transact(102, commit(102, &row)).unwrap();
        ledger.close_tempo();
        ledger.transact(101, reveal(&row)).unwrap();
        ledger.transact(102, reveal(&row)).unwrap();
        ledger.ok(5, register(120 + u8::try_from(round).unwrap()));
        ledger.ok(4, unstake(102, units(10)));
        checkpoint(&ledger);
    }
    ledger.ok(
        2,
        Call::SetTake {
            hotkey: hotkey(101),
            take_ppm: 90_000,
        },
    );
    ledger.ok(
        2,
        Call::MoveStake {
            from: (SUBNET, hotkey(101)),
            to: (SUBNET, hotkey(102)),
            amount: units(7),
        },
    );
    ledger.ok(
        2,
        Call::SwapHotkey {
            hotkey: hotkey(101),
            new_hotkey: hotkey(130),
        },
    );
    ledger.ok(
        2,
        Call::AnnounceColdkeySwap {
            new_coldkey: coldkey(8),
        },
    );
    ledger.ok(
        3,
        Call::AnnounceColdkeySwap {
            new_coldkey: coldkey(8),
        },
    );
    ledger.ok(3, Call::DisputeColdkeySwap);
    ledger.advance(40);
    ledger.ok(8, Call::ExecuteColdkeySwap { coldkey: coldkey(2) });
    checkpoint(&ledger);
    super::committee::script(&mut ledger);
    checkpoint(&ledger);
    super::evidence::script(&mut ledger, [102, 130]);
    checkpoint(&ledger);
    lines
}

#[test]
fn a_scripted_run_gives_the_roots_on_file() {
    let lines = script();
    if std::env::var_os("AGON_BLESS").is_some() {
        std::fs::create_dir_all(file().parent().unwrap()).unwrap();
        std::fs::write(file(), &lines).unwrap();
    }
    let on_file = std::fs::read_to_string(file()).unwrap();
    assert_eq!(
        lines, on_file,
        "stored bytes changed; if that is meant, bless it and say so in the changelog"
    );
}

#[test]
fn the_same_blocks_give_the_same_state_in_every_run() {
    assert_eq!(script(), script());
}
